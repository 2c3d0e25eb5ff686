"""Training any learner with train.py: messages, files, resuming, and mistakes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pytest
from PIL import Image

import train
from agents.learners import LEARNERS, PPO, Q_LEARNING
from agents.policy import load_policy
from agents.ppo import run as ppo_run
from agents.q_learning import run as q_run
from agents.q_learning.run import ORDERS
from agents.storage import files as storage
from agents.storage.files import load_arrays
from agents.storage.run_directory import FILES, read_progress
from agents.training import run as training_run
from tests.learners.commands import complaint
from tests.learners.faster import faster
from tests.learners.small_runs import sized, small_run


@dataclass(frozen=True)
class Command:
    """A training of a second or less at the command line.

    Attributes:
        kind: name of the learner.
        sizes: overrides of "two-algos".
        options: of the learner, without the length of the training.
        length: option that sets the length.
        short: value of ``length``.
        shortest: value of ``length`` for one block.
        orders: in the training of length ``short``.
        saved: arrays of ``checkpoint.npz``.
        result: what is printed between the validation days and the seconds.
        weights: array of ``checkpoint.npz`` that is learned.
        halfway: a block in the first half, as ``SmallRun.interrupt_in`` counts.
        files: in a run directory.
        fixed: options that differ from the run's, and what the error says the run has.
    """

    kind: str
    sizes: Mapping[str, int]
    options: list[str]
    length: str
    short: int
    shortest: int
    orders: int
    saved: Mapping[str, Any]
    result: str
    weights: str
    halfway: int
    files: list[str]
    fixed: tuple[tuple[list[str], str], ...]

    def words(self, length: int | None = None) -> list[str]:
        """Return a command line."""
        number = str(self.short if length is None else length)
        return [self.kind, *sized(self.sizes), *self.options, self.length, number]

    def checkpoint(self, directory: Path) -> dict[str, Any]:
        return load_arrays(directory / "checkpoint.npz", self.saved)


COMMANDS = {
    Q_LEARNING: Command(
        kind=Q_LEARNING,
        sizes={"order.size": 3000, "order.buckets": 3, "volume.total": 9000},
        options=["--bins", "3"],
        length="--episodes",
        short=20 * ORDERS,
        shortest=1,
        orders=20 * ORDERS,
        saved=q_run.FIELDS,
        result=", after 122,880 updates",
        weights="values",
        halfway=14,
        files=[*FILES],
        fixed=(
            (["--seed", "4"], "seed = 3"),
            (["--seed", "0"], "seed = 3"),  # the default, but said
            (["--scenario=baseline"], "scenario = two-algos"),
            (["--episodes", "25000000"], f"episodes = {20 * ORDERS}"),
            (["--episodes", "99999"], f"episodes = {20 * ORDERS}"),
            (["--bins", "2"], "bins = 3"),
            (["--start", "pessimistic"], "start = optimistic"),
            (["--scenario", "drifting"], "scenario = two-algos"),
            (["--scenario", "two-algos"], "scenario = two-algos (order."),
            (["--set", "order.buckets=4"], "scenario = two-algos"),
            (["--omega", "0.6"], "omega = "),
            (["--step-size", "0.6"], "step-size = None"),
            (["--double"], "double = False"),
            (["--final-epsilon", "0.01"], "final-epsilon = "),
            (["--epsilon-schedule", "exponential"], "epsilon-schedule = linear"),
        ),
    ),
    PPO: Command(
        kind=PPO,
        sizes={"order.size": 1500, "order.buckets": 4, "volume.total": 10000},
        options=["--n-envs", "16", "--minibatches", "2", "--n-epochs", "1", "--width", "8"],
        length="--timesteps",
        short=8 * 64,
        shortest=1,
        orders=8 * 16,
        saved=ppo_run.FIELDS,
        result=" (the best of all evaluations, so it flatters), after 512 environment steps",
        weights="parameters",
        halfway=3,
        files=[*FILES, "tensorboard"],
        fixed=(
            (["--seed", "4"], "seed = 3"),
            (["--scenario", "drifting"], "scenario = two-algos"),
            (["--timesteps", "99999"], "timesteps = 512"),
            (["--observation", "full"], "observation = default"),
            (["--masked"], "masked = False"),
            (["--width", "64"], "width = 8"),  # the default, but said
            (["--n-envs", "32"], "n-envs = 16"),
            (["--learning-rate", "0.1"], "learning-rate = 0.003"),
        ),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster({"VALIDATION_DAYS": 16, "CURVE_POINTS": 4, "MEASURED_BLOCKS": 4}, patch.setattr)
        yield


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be written to the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave learning curves empty: drawing one takes longer than training."""
    monkeypatch.setattr(training_run, "learning_curve", lambda *_: b"")


@pytest.fixture(params=LEARNERS)
def learner(request: pytest.FixtureRequest) -> Command:
    return COMMANDS[request.param]


@pytest.fixture(scope="module")
def finished_runs() -> dict[str, Path]:
    """Runs that nothing disturbed, one a learner."""
    return {}


@pytest.fixture
def finished(
    learner: Command, finished_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of seed 3 that nothing disturbed."""
    if learner.kind not in finished_runs:
        directory = tmp_path_factory.mktemp("trained") / learner.kind
        assert train.main([*learner.words(), "--seed", "3", "--out", str(directory)]) == 0
        finished_runs[learner.kind] = directory
    return finished_runs[learner.kind]


@pytest.fixture
def copied(finished: Path) -> Path:
    return Path(shutil.copytree(finished, "copy"))


def content(directory: Path) -> dict[Path, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.suffix != ".png"}


# What it does.


def test_a_training(learner: Command, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert train.main(learner.words()) == 0
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    out, steps = (
        f"runs/{learner.kind}-two-algos-seed0",
        learner.orders * learner.sizes["order.buckets"],
    )
    assert re.fullmatch(
        rf"{out}: objective \d+\.\d{{4}} \[\d+\.\d{{4}}, \d+\.\d{{4}}\] on 16 validation days"
        rf"{re.escape(learner.result)} in \d+\.\d s",
        line,
    )
    first, last = captured.err.splitlines()
    assert first == (
        f"training {learner.kind} on two-algos, seed 0, {learner.orders:,} orders -> {out}"
    )
    command = last.removeprefix("compare it on held-out days: ")
    assert shlex.split(command) == [
        *("python", "evaluate.py", *sized(learner.sizes)),
        *("--policies", "lp", "dp", out),
    ]
    directory = Path(out)
    assert sorted(os.listdir(directory)) == sorted(learner.files)
    kept = small_run(learner.kind).kept_row(read_progress(directory))
    assert f"objective {kept['objective_mean']:.4f} " in line
    with Image.open(directory / "learning_curve.png") as image:
        image.verify()
    assert load_policy(out).train_steps == steps
    another_seed = learner.checkpoint(finished)[learner.weights]
    assert not np.array_equal(learner.checkpoint(directory)[learner.weights], another_seed)
    assert train.main(learner.words(learner.shortest)) == 0
    assert sorted(os.listdir("runs")) == [directory.name, f"{directory.name}-2"]


@pytest.mark.usefixtures("undrawn")
def test_the_same_seed_gives_the_same_policy(learner: Command, finished: Path) -> None:
    assert train.main([*learner.words(), "--seed", "3", "--out", "again"]) == 0
    ours, theirs = (learner.checkpoint(d)[learner.weights] for d in (Path("again"), finished))
    assert np.array_equal(ours, theirs)


# Resuming.


@pytest.mark.usefixtures("undrawn")
def test_ctrl_c_sigterm_and_resume(
    learner: Command,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twice, by the same command and by the directory alone."""
    command = [*learner.words(), "--seed", "3", "--out", "run"]
    going_on = (
        f"going on with {learner.kind} on two-algos, seed 3, {learner.orders:,} orders -> run"
    )
    stops = (
        (command, "training ", signal.SIGINT, 130),
        ([*command, "--resume"], going_on, signal.SIGTERM, 143),
    )
    for words, beginning, number, code in stops:
        with monkeypatch.context() as patch:
            small_run(learner.kind).interrupt_in(patch, learner.halfway, number=number)
            assert train.main(words) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(beginning)
        assert said.err.splitlines()[-1] == (
            "stopped. What was learned is kept: the same command with --resume goes on."
        )
    assert train.main([learner.kind, "--resume", "--out", "run"]) == 0
    first, last = capsys.readouterr().err.splitlines()
    assert first == going_on
    assert "--scenario two-algos " in last
    for name in ("checkpoint.npz", "policy.npz"):
        with np.load(finished / name) as theirs, np.load(Path("run", name)) as ours:
            for array in set(theirs) - {"seconds", "best_row", "checksum"}:
                assert np.array_equal(ours[array], theirs[array]), array
    rows = [[row | {"seconds": 0} for row in read_progress(d)] for d in ("run", finished)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("learner", "options", "word"),
    [(kind, *fixed) for kind in LEARNERS for fixed in COMMANDS[kind].fixed],
    indirect=["learner"],
)
def test_resuming_cannot_change_a_run(
    learner: Command,
    options: list[str],
    word: str,
    copied: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = complaint(capsys, learner.kind, "--resume", "--out", str(copied), *options)
    assert line.startswith(f"error: --resume: the run in {copied} has {word}")
    assert "Leave the option out, or choose another --out." in line


def test_resuming_a_finished_run_changes_nothing(
    learner: Command, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(copied)
    (copied / "learning_curve.png").unlink()
    command = [*learner.words(), "--seed", "3", "--out", str(copied)]
    assert train.main([*command, "--resume"]) == 0
    captured = capsys.readouterr()
    advice = f"this run is finished; {learner.length} and another --out start a new one."
    assert advice in captured.err
    assert captured.out.startswith(f"{copied}: objective ")
    assert (copied / "learning_curve.png").exists()
    assert content(copied) == before


@pytest.mark.usefixtures("undrawn")
def test_resuming_where_there_is_nothing_starts(
    learner: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command resumes a run that was killed before it wrote anything."""
    words = [*learner.words(learner.shortest), "--resume", "--out", "new"]
    assert train.main(words) == 0
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "--resume: there is no run in new; this starts one."
    assert second.startswith(f"training {learner.kind}")
    Path("new/checkpoint.npz").unlink()
    Path("new/policy.npz").unlink()
    Path("new/.policy.npz.0123abcd.tmp").write_bytes(b"half")
    assert train.main([learner.kind, "--resume", "--out", "new"]) == 0
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "--resume: the run in new has no checkpoint; it starts from the beginning."
    assert second.startswith(f"training {learner.kind}")
    assert sorted(os.listdir("new")) == sorted(learner.files)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("missing", ["progress.csv", "policy.npz"])
def test_files_that_somebody_deleted_are_made_again(
    learner: Command, missing: str, finished: Path, copied: Path
) -> None:
    (copied / missing).unlink()
    assert train.main([learner.kind, "--resume", "--out", str(copied)]) == 0
    assert sorted(os.listdir(copied)) == sorted(learner.files)
    ours, theirs = (learner.checkpoint(d)[learner.weights] for d in (copied, finished))
    assert np.array_equal(ours, theirs)


@pytest.mark.usefixtures("undrawn")
def test_damage(learner: Command, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume, before = [learner.kind, "--resume", "--out", str(copied)], content(copied)

    def after(name: str, wrong: bytes | None) -> str:
        path, good = copied / name, (copied / name).read_bytes()
        path.unlink() if wrong is None else path.write_bytes(wrong)
        line = complaint(capsys, *resume)
        path.write_bytes(good)
        assert name in line
        return line

    config = json.loads((copied / "config.json").read_text())
    checkpoint, policy = (
        (copied / f"{name}.npz").read_bytes() for name in ("checkpoint", "policy")
    )
    columns = ascii_lowercase[: len(read_progress(copied)[0])]
    assert "it has no config.json" in after("config.json", None)
    assert "not valid JSON" in after("config.json", b"{")
    assert "another program" in after("config.json", b"[]")
    other = config | {"hyperparameters": {"learning_rate": 3e-4, "alpha": 1}}
    assert f"not those of {learner.kind}" in after("config.json", json.dumps(other).encode())
    (copied / "config.json").write_text(json.dumps(config | {"seed": 8}))
    line = complaint(capsys, *resume)
    assert "checkpoint.npz: does not fit this run's config.json" in line
    (copied / "config.json").write_bytes(before[copied / "config.json"])
    assert "damaged" in after("checkpoint.npz", checkpoint[: len(checkpoint) // 2])
    assert "damaged" in after("checkpoint.npz", b"")
    assert "another program or version" in after("checkpoint.npz", policy)
    assert "its columns must be" in after("progress.csv", b"x\n1\n")
    numbers = f"must be {len(columns)} numbers"
    assert numbers in after("progress.csv", f"{','.join(columns)}\n1\n".encode())
    assert train.main(resume) == 0
    assert content(copied) == before


def test_runs_of_another_kind_are_not_resumed(
    learner: Command, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(copied)
    for other in LEARNERS.keys() - {learner.kind}:
        line = complaint(capsys, other, "--resume", "--out", str(copied))
        assert f"hyperparameters are not those of {other}" in line
        assert f'it is a run of kind "{learner.kind}"' in line
    assert content(copied) == before
    assert sorted(os.listdir(copied)) == sorted(learner.files)


# Mistakes.


def test_a_directory_that_holds_a_run(
    learner: Command, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint(capsys, *learner.words(), "--out", str(copied))
    assert f"{copied}: holds another run" in line
    assert "--resume" in line


def test_a_directory_that_may_not_be_written(
    learner: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage.tempfile, "TemporaryFile", forbidden)
    line = complaint(capsys, *learner.words(), "--out", "locked")
    assert "locked: cannot be written (Permission denied)" in line


@pytest.mark.usefixtures("undrawn")
def test_a_disk_that_is_full_during_the_training(
    learner: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = storage.atomic_write

    def full(path: Any, write: Any) -> None:
        if Path(path).name == "checkpoint.npz":
            raise storage.unwritable(Path(path), OSError(28, "No space left on device"))
        original(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "atomic_write", full)
        line = complaint(capsys, *learner.words(learner.shortest), "--seed", "3", "--out", "run")
    assert "run/checkpoint.npz: cannot be written (No space left on device)" in line
    assert "Free some space" in line
    assert train.main([learner.kind, "--resume", "--out", "run"]) == 0
