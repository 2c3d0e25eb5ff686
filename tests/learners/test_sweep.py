"""Many runs at once: the same results whoever does them, a killed worker's runs done again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from joblib.externals.loky import get_reusable_executor

from agents import sweep
from agents.q_learning.run import ORDERS, Settings, config_of
from agents.storage.files import RunError
from agents.storage.run_directory import CHECKPOINT, CONFIG, LEARNING_CURVE, POLICY_FILE, RunConfig
from agents.sweep import Job, WorkerDiedError, train, train_all
from agents.training.run import Run
from tests.learners.sweeps import BLOCKS, SCENARIO, Killer, assert_same, contents, ppo_jobs, q_jobs


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of four runs that were done one after the other in this process."""
    folder = tmp_path_factory.mktemp("alone")
    outcomes = train_all(q_jobs(folder, 4), processes=1)
    assert [outcome.error for outcome in outcomes] == [""] * 4
    return folder


ROOT = Path(__file__).parents[2]

FREE = sweep.Stop(Path("no such file"), os.getpid())
"""Nobody asks to stop."""


def a_worker() -> int | None:
    """Its process."""
    return next(iter(get_reusable_executor(reuse=True)._processes), None)


@pytest.mark.slow
def test_a_worker_is_killed(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LOOK_SECONDS", 0.02)
    jobs = q_jobs(tmp_path, 4)
    killer, notes = Killer(jobs, a_worker), list[str]()
    outcomes = train_all(jobs, processes=2, report=killer, note=notes.append)
    assert killer.killed
    (note,) = notes
    assert "a worker died" in note
    assert [outcome.error for outcome in outcomes] == [""] * 4
    for job, outcome in zip(jobs, outcomes, strict=True):
        assert_same(job.directory, alone / job.directory.name)
        assert outcome.row is not None
        assert outcome.row["steps"] == job.steps == job.steps_done

    # And once more: what is finished is left alone, by others than those who did it.
    before = contents(tmp_path)
    reported: list[list[int]] = []
    again = train_all(jobs, processes=1, report=lambda steps: reported.append(list(steps)))
    assert contents(tmp_path) == before
    assert [outcome.row for outcome in again] == [outcome.row for outcome in outcomes]
    assert reported[-1] == [job.steps for job in jobs]


@pytest.mark.slow
def test_networks_do_not_depend_on_who_trains_them(tmp_path: Path) -> None:
    one, two = (ppo_jobs(tmp_path / name, 2) for name in ("one", "two"))
    for jobs, processes in ((one, 1), (two, 2)):
        assert [outcome.error for outcome in train_all(jobs, processes)] == ["", ""]
    for first, second in zip(one, two, strict=True):
        assert_same(first.directory, second.directory)
        assert contents(first.directory).keys() - contents(second.directory).keys() <= {
            name for name in contents(first.directory) if name.startswith("tensorboard")
        }


# What is left of a run.


def test_a_run_goes_on_from_its_checkpoint(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = q_jobs(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr("agents.training.run.CHECKPOINT_SECONDS", 0.0)
        patch.setattr("agents.training.run.CHECKPOINT_SHARE", 1.0)
        stop_after(patch, 5)
        assert train(job, FREE) == sweep.Outcome(None, 0.0, sweep.STOPPED)
    assert 0 < job.steps_done < job.steps
    went_on: list[int] = []
    with monkeypatch.context() as patch:
        usual = Run.go

        def watched(run: Run, *rest: Any) -> None:
            went_on.append(run.training.blocks)
            usual(run, *rest)

        patch.setattr(Run, "go", watched)
        assert train(job, FREE).error == ""
    assert went_on[0] >= 5
    assert_same(job.directory, alone / "seed0")


def stop_after(patch: pytest.MonkeyPatch, blocks: int) -> None:
    """Ctrl-C, as it were, at the first checkpoint after so many blocks."""
    usual = Run._checkpoint

    def checkpoint(run: Run) -> None:
        usual(run)
        if run.training.blocks >= blocks:
            raise KeyboardInterrupt

    patch.setattr(Run, "_checkpoint", checkpoint)


@pytest.mark.parametrize("name", [POLICY_FILE, CHECKPOINT, LEARNING_CURVE])
def test_what_is_missing_is_made_again(alone: Path, tmp_path: Path, name: str) -> None:
    (job,) = q_jobs(tmp_path, 1)
    job.directory.mkdir()
    for path in (alone / "seed0").iterdir():
        if path.name != name:
            (job.directory / path.name).write_bytes(path.read_bytes())
    assert train(job, FREE).error == ""
    assert_same(job.directory, alone / "seed0")
    assert (job.directory / name).exists()


# Stopping.


DRIVER = """
import signal
import sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path.insert(0, sys.argv.pop(1))
import train

sys.exit(train.main(sys.argv[1:]))
"""


def begun(folder: Path, count: int) -> subprocess.Popen[bytes]:
    """A sweep of six long runs by two workers, as from a terminal, when ``count`` of them have begun."""
    command = [sys.executable, "-c", DRIVER, str(ROOT), "sweep", "--out", str(folder)]
    process = subprocess.Popen(
        [*command, "--episodes", "100000000", "--seed", *"012345", "--jobs", "2"],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(list(folder.rglob(CONFIG))) < count:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to"),
    [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.killpg), (signal.SIGTERM, os.kill)],
)
def test_stopping_loses_nothing(
    tmp_path: Path, number: int, to: Callable[[int, int], None]
) -> None:
    """By a signal to all processes, as from a terminal or ``timeout``, or to the driver alone."""
    process = begun(tmp_path / "all", 2)
    time.sleep(2)  # for the workers to be at it
    now = time.time()
    to(process.pid, number)
    assert process.wait(60) == 128 + number
    runs = sorted(path.parent for path in (tmp_path / "all").rglob(CONFIG))
    assert len(runs) == 2
    for run in runs:
        assert (run / CHECKPOINT).stat().st_mtime > now
    assert not list((tmp_path / "all").glob(".stop*"))


@pytest.mark.slow
def test_workers_stop_when_their_driver_is_killed(tmp_path: Path) -> None:
    process = begun(tmp_path / "all", 2)
    time.sleep(2)
    now = time.time()
    process.kill()
    process.wait()
    checkpoints = [path.parent / CHECKPOINT for path in (tmp_path / "all").rglob(CONFIG)]
    deadline = time.monotonic() + 60
    while not all(path.exists() and path.stat().st_mtime > now for path in checkpoints):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = contents(tmp_path)
    time.sleep(7)  # more than there is between two checkpoints
    assert contents(tmp_path) == before
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def test_ctrl_c_where_this_process_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = q_jobs(tmp_path, 3)
    usual = Run._validate

    def interrupted(run: Run) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return usual(run)

    monkeypatch.setattr(Run, "_validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_all(jobs, processes=1)
    assert [job.directory.exists() for job in jobs] == [True, False, False]
    assert (jobs[0].directory / CHECKPOINT).exists()
    assert not list(tmp_path.glob(".stop*"))
    monkeypatch.undo()
    assert [outcome.error for outcome in train_all(jobs, processes=1)] == [""] * 3


# What goes wrong.


def test_another_run_is_in_the_way(alone: Path, tmp_path: Path) -> None:
    (job,) = q_jobs(tmp_path, 1)
    (other,) = q_jobs(tmp_path, 1, blocks=2)
    job.directory.mkdir()
    (job.directory / CONFIG).write_bytes((alone / "seed0" / CONFIG).read_bytes())
    before = contents(tmp_path)
    with pytest.raises(
        RunError, match=rf"seed0: holds a run with episodes = {BLOCKS * ORDERS}\. Choose"
    ):
        sweep.check(other)
    assert "holds a run with episodes" in train(other, FREE).error
    assert contents(tmp_path) == before
    sweep.check(job)  # the versions of packages may have changed, the run has not


def test_a_run_of_another_learner_is_in_the_way(tmp_path: Path) -> None:
    (job,), (other,) = q_jobs(tmp_path, 1, blocks=2), ppo_jobs(tmp_path, 1)
    assert train(job, FREE).error == ""
    with pytest.raises(RunError, match=r"seed0: holds a run of q-learning\. Choose another --out"):
        sweep.check(other._replace(directory=job.directory))


def test_remedies_are_told_however_long_paths_are(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / ("longer" * 20)
    (job,) = q_jobs(folder, 1, blocks=2)
    assert train(job, FREE).error == ""
    (job.directory / CHECKPOINT).write_bytes(b"damaged")
    (job.directory / POLICY_FILE).unlink()
    error = train(job, FREE).error
    assert str(folder) in error
    assert error.endswith("train from the start with another --out.")


def test_a_run_that_fails_leaves_others_alone(tmp_path: Path) -> None:
    jobs = q_jobs(tmp_path, 3, blocks=2)
    jobs[1].directory.write_text("a file")
    outcomes = train_all(jobs, processes=1)
    assert [bool(outcome.error) for outcome in outcomes] == [False, True, False]
    assert str(jobs[1].directory) in outcomes[1].error
    assert outcomes[1].row is None


def test_workers_that_die_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = q_jobs(tmp_path, 3, blocks=2)
    rounds = []

    def fatal(jobs: Sequence[Job], workers: sweep.Workers) -> list[sweep.Outcome]:
        rounds.append(len(jobs))
        if len(rounds) == 2:  # a run gets further: patience starts anew
            train(jobs[0], FREE)
        raise WorkerDiedError("TerminatedWorkerError")

    monkeypatch.setattr(sweep, "_round", fatal)
    notes: list[str] = []
    with pytest.raises(RunError, match=r"died 3 times.*\(TerminatedWorkerError\).*smaller --jobs"):
        train_all(jobs, processes=2, note=notes.append)
    assert len(rounds) == 1 + 1 + 3
    assert len(notes) == len(rounds) - 1


def test_a_finished_run_that_is_not_to_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster whose machines share no storage."""
    outcome = sweep.Outcome({"objective_mean": 1.0}, 1.0, "")
    monkeypatch.setattr(sweep, "_round", lambda *_: [outcome])
    with pytest.raises(RunError, match=r"seed0: .*storage that all machines of the cluster share"):
        train_all(q_jobs(tmp_path, 1))


def test_a_damaged_table_of_progress_counts_for_nothing(tmp_path: Path) -> None:
    (job,) = q_jobs(tmp_path, 1)
    job.directory.mkdir()
    for text in ("", "steps\n", "steps\nx\n", "seconds\n1\n", "steps\ninf\n", "steps\n1,2\n"):
        (job.directory / "progress.csv").write_text(text)
        assert job.steps_done == 0
    (job.directory / "progress.csv").write_text("steps\n1e300\n")
    assert job.steps_done == job.steps


def test_an_engine_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'engine = "dask": must be "local" or "ray"'):
        train_all(q_jobs(tmp_path, 1), engine="dask")


def test_ray_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'--engine ray needs Ray .*pip install "ray\[default\]"'):
        train_all(q_jobs(tmp_path, 1), engine="ray")
    assert not any(tmp_path.iterdir())


def test_a_mistake_of_ours_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise AssertionError("of ours")

    monkeypatch.setattr(Run, "go", wrong)
    with pytest.raises(AssertionError, match="of ours"):
        train_all(q_jobs(tmp_path, 1), processes=1)


def test_lengths_are_those_of_trainings(tmp_path: Path) -> None:
    from agents.learners import LEARNERS

    def config(episodes: int) -> RunConfig:
        return config_of(SCENARIO, 0, Settings(episodes))

    for job in (*q_jobs(tmp_path, 1), *(Job(tmp_path, config(n)) for n in (1, ORDERS, ORDERS + 1))):
        training = LEARNERS[job.config.kind].training(job.config, job.directory)
        assert job.steps == training.total * training.orders * SCENARIO.buckets
