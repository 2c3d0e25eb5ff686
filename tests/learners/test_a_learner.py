"""Runs of all learners: their files, and that a stopped run ends like one that never stopped."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.learners import LEARNERS
from agents.policy import load_policy
from agents.storage import files as storage
from agents.storage.files import RunError, load_arrays
from agents.storage.run_directory import (
    FILES,
    package_versions,
    read_config,
    read_progress,
    write_config,
    write_progress,
)
from agents.training import run as training_run
from agents.training.run import Run
from execution_env import load_scenario
from tests.learners.faster import faster
from tests.learners.small_runs import SmallRun, arrays_in, quiet, refused, same, small_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=LEARNERS)
def learner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SmallRun:
    small = small_run(request.param)
    faster(small.constants, monkeypatch.setattr)
    return small


@pytest.fixture(scope="module")
def finished_runs() -> dict[str, Path]:
    """Runs that nothing disturbed, one a learner."""
    return {}


@pytest.fixture
def finished(
    learner: SmallRun, finished_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that nothing disturbed."""
    if learner.kind not in finished_runs:
        directory = tmp_path_factory.mktemp(learner.kind) / "whole"
        learner.new_run(directory).go(quiet)
        finished_runs[learner.kind] = directory
    return finished_runs[learner.kind]


@pytest.fixture
def expected(learner: SmallRun, finished: Path) -> dict[str, Any]:
    return learner.learned(finished)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# Files that a run writes.


def test_a_run_directory(learner: SmallRun, finished: Path) -> None:
    assert sorted(os.listdir(finished)) == sorted(set(FILES) - {"learning_curve.png"})
    config = json.loads((finished / "config.json").read_text())
    assert config["kind"] == learner.kind
    assert config["seed"] == 0
    size = learner.sizes["order.size"]
    assert config["scenario"]["order"] == {"size": size, "lot_size": 100, "buckets": 4}
    assert config["hyperparameters"] == learner.settings.flat()
    assert config["versions"] == package_versions()
    assert config["git_commit"] is None or len(config["git_commit"]) == 40
    assert LEARNERS[learner.kind].settings(read_config(finished)) == learner.settings


def test_progress(learner: SmallRun, finished: Path) -> None:
    with open(finished / "progress.csv", newline="") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == learner.training.columns
    rows = read_progress(finished)
    points = int(learner.constants["CURVE_POINTS"])
    assert len(rows) == len(lines) == points + 1
    orders = learner.settings.orders(learner.scenario)
    blocks = range(0, learner.total + 1, learner.total // points)
    assert [row["episodes"] for row in rows] == [orders * block for block in blocks]
    assert [row["steps"] for row in rows] == [4 * orders * block for block in blocks]
    for row in rows:
        assert row["objective_ci_low"] <= row["objective_mean"] <= row["objective_ci_high"]
    assert len({row["objective_mean"] for row in rows}) > 3
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_the_policy_comes_back_the_same(learner: SmallRun, finished: Path, tmp_path: Path) -> None:
    training = learner.resumed(finished).training
    loaded = load_policy(str(finished))
    assert isinstance(loaded, learner.policy)
    assert loaded.name == "whole"
    assert loaded.run == read_config(finished)
    orders = learner.settings.orders(learner.scenario)
    assert loaded.train_steps == training.steps == learner.total * orders * 4
    seconds = float(load_arrays(finished / "checkpoint.npz", learner.saved)["seconds"])
    assert loaded.train_seconds == training.seconds == seconds > 0
    for number, policy in enumerate((training.kept(), loaded)):
        directory = tmp_path / str(number)
        directory.mkdir()
        policy.save(directory)
        kept, again = (arrays_in(folder / "policy.npz") for folder in (finished, directory))
        assert kept.keys() == again.keys()
        assert all(np.array_equal(kept[name], again[name]) for name in kept)


# Stopped and resumed.


def test_in_one_go_or_block_by_block(
    learner: SmallRun, expected: dict[str, Any], tmp_path: Path
) -> None:
    """Saved and restored between all blocks; only validations tell which policy is best."""
    path = tmp_path / "checkpoint.npz"
    training = learner.training(learner.scenario, 0, learner.settings)
    while training.blocks < training.total:
        training.advance(1)
        training.save(path)
        training = learner.training(learner.scenario, 0, learner.settings)
        training.restore(path)
    arrays = load_arrays(path, learner.saved)
    for name in arrays.keys() - {"seconds", "best", "best_row"}:
        assert np.array_equal(arrays[name], expected["checkpoint"][name]), name


@pytest.mark.parametrize("which", [0, 1])
def test_other_settings_go_on_as_well(learner: SmallRun, which: int, tmp_path: Path) -> None:
    settings, path = learner.others[which], tmp_path / "checkpoint.npz"
    whole, parts = (learner.training(learner.scenario, 4, settings) for _ in range(2))
    whole.advance(sum(learner.pieces))
    done = 0
    for blocks in learner.pieces:
        parts.save(path)
        parts = learner.training(learner.scenario, 4, settings)
        parts.restore(path)
        assert parts.blocks == done
        parts.advance(blocks)
        done += blocks
    whole.save(path)
    right = load_arrays(path, learner.saved)
    parts.save(path)
    found = load_arrays(path, learner.saved)
    for name in right.keys() - {"seconds"}:
        assert np.array_equal(right[name], found[name]), name
    assert {**whole.facts(), "seconds": 0} == {**parts.facts(), "seconds": 0}
    assert parts.seconds > 0


@pytest.mark.parametrize(
    ("learner", "block"),
    [(kind, block) for kind in LEARNERS for block in small_run(kind).stops],
    indirect=["learner"],
)
def test_ctrl_c_in_the_middle_of_a_block(
    learner: SmallRun,
    block: int,
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = tmp_path / "run"
    learner.interrupted(directory, block, monkeypatch)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = learner.resumed(directory)
    assert not again.finished
    assert 0 < again.training.blocks <= learner.total
    if learner.training.at_once == 1:
        assert again.training.blocks == block
    assert (directory / "policy.npz").exists() == learner.keeps_best
    if learner.keeps_best:  # the best so far
        assert load_policy(directory).train_steps in range(again.training.steps + 1)
    again.go(quiet)
    assert same(expected, learner.learned(directory))
    assert again.finished


def test_sigterm_is_like_ctrl_c(
    learner: SmallRun, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent three times, as ``timeout`` and batch systems may: the first counts."""
    directory = tmp_path / "run"
    learner.interrupted(directory, learner.stops[2], monkeypatch, 3, signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert (directory / "checkpoint.npz").exists()
    learner.resumed(directory).go(quiet)
    assert same(expected, learner.learned(directory))


def test_ctrl_c_outside_of_blocks(
    learner: SmallRun, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it validates, writes a checkpoint, or writes the policy."""
    directory = tmp_path / "run"
    run = learner.new_run(directory)
    for patched, name in ((Run, "_validate"), (Run, "_checkpoint"), (learner.policy, "save")):
        original = getattr(patched, name)

        def interrupted(self: Any, *args: Any, original: Any = original, **options: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return original(self, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(patched, name, interrupted)
            patch.setattr(training_run, "CHECKPOINT_SECONDS", 0.0)
            patch.setattr(training_run, "CHECKPOINT_SHARE", 1e9)
            with pytest.raises(KeyboardInterrupt):
                run.go(quiet)
        run = learner.resumed(directory)
    run.go(quiet)
    assert same(expected, learner.learned(directory))


def test_a_second_ctrl_c_does_not_wait_and_saves_nothing(
    learner: SmallRun, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    learner.interrupted(directory, 2, monkeypatch, times=2)
    assert not (directory / "checkpoint.npz").exists()
    learner.resumed(directory).go(quiet)
    assert same(expected, learner.learned(directory))


def test_another_ones_handler_of_ctrl_c_is_left_alone(learner: SmallRun, tmp_path: Path) -> None:
    caught = []
    before = signal.signal(signal.SIGINT, lambda *_: caught.append(1))
    try:
        mine = signal.getsignal(signal.SIGINT)
        learner.new_run(tmp_path / "run", learner.short).go(
            lambda *_: os.kill(os.getpid(), signal.SIGINT)
        )
        assert signal.getsignal(signal.SIGINT) is mine
        assert caught
    finally:
        signal.signal(signal.SIGINT, before)


CHILD = """
import json
import sys
import train
from tests.learners.faster import faster
faster(json.loads(sys.argv.pop()))
sys.exit(train.main(sys.argv[1:]))
"""


def child(learner: SmallRun, directory: Path, *options: str, share: float = 1e9) -> Any:
    """Start a process that trains, with a checkpoint after every block where share is large."""
    often = {"CHECKPOINT_SECONDS": 0.0, "CHECKPOINT_SHARE": share}
    constants = json.dumps({**learner.constants, **often})
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *options, "--out", str(directory), constants],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed(process: Any, path: Path, number: int, since: int) -> int:
    """Kill a process once there is a file that is newer than a time; return its exit code."""
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns > since:
            break
        time.sleep(0.002)
    time.sleep(0.03)
    process.send_signal(number)
    process.communicate()
    return int(process.returncode)


@pytest.mark.slow
def test_kill_9_costs_nothing(learner: SmallRun, tmp_path: Path) -> None:
    """Before the first checkpoint, soon after it, again and again, with Ctrl-C in between."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    learner.new_run(whole, learner.long_settings).go(quiet)
    total = learner.long_settings.blocks(learner.scenario)
    # Nobody may be killed by luck only once the run is over: there must be work left.
    options, blocks = learner.long, []
    for after, number in learner.kills:
        since = time.time_ns()
        code = killed(child(learner, parts, *options), parts / after, number, since)
        assert code == (-number if number == signal.SIGKILL else 128 + number)
        if after == "checkpoint.npz":
            blocks.append(int(load_arrays(parts / after, learner.saved)["blocks"]))
        options = ["--resume"]
    assert blocks == sorted(blocks)
    assert len(set(blocks)) > 1 or len(learner.kills) == 1
    assert 0 < blocks[0] <= blocks[-1] < total
    assert (parts / "policy.npz").exists() == learner.keeps_best
    if learner.keeps_best:
        assert isinstance(load_policy(parts), learner.policy)
    if learner.ends_in_process:
        process = child(learner, parts, *options, share=0.04)
        _, said = process.communicate()
        assert process.returncode == 0, said
        assert f"going on with {learner.kind} on two-algos" in said
    else:
        learner.resumed(parts).go(quiet)
    assert same(learner.learned(whole), learner.learned(parts))


@pytest.mark.parametrize("missing", ["policy.npz", "progress.csv", "checkpoint.npz"])
def test_files_that_are_missing_are_made_again(
    learner: SmallRun, missing: str, copied: Path, expected: dict[str, Any]
) -> None:
    """Killed between the last checkpoint and the policy; or somebody deleted a file."""
    (copied / missing).unlink()
    run = learner.resumed(copied)
    assert not run.finished
    run.go(quiet)
    told = run.training.result(run.rows)
    assert told["objective_mean"] == learner.kept_row(expected["rows"])["objective_mean"]
    found = learner.learned(copied)
    if missing == "progress.csv":
        found["rows"] = expected["rows"][:-1] + found["rows"]
    assert same(expected, found)
    assert learner.resumed(copied).finished


def test_a_damaged_policy_is_made_from_the_checkpoint(
    learner: SmallRun, copied: Path, expected: dict[str, Any]
) -> None:
    policy = copied / "policy.npz"
    policy.write_bytes(policy.read_bytes()[:100])
    with pytest.raises(RunError, match="damaged") as error:
        load_policy(str(copied))
    mending = f"python train.py {learner.kind} --resume --out {copied}"
    assert str(error.value).endswith(f"Or make it from the run's checkpoint: {mending}")
    again = learner.resumed(copied)
    assert not again.finished
    again.go(quiet)
    assert again.finished
    assert same(expected, learner.learned(copied))


def test_rows_newer_than_the_checkpoint_are_dropped(
    learner: SmallRun, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were written, and then somebody pulled the plug."""
    directory = tmp_path / "run"
    learner.interrupted(directory, learner.stops[-3], monkeypatch)
    rows = read_progress(directory)
    later = [row for row in expected["rows"] if row["steps"] > rows[-1]["steps"]]
    assert later
    write_progress(directory, [*rows, *later])
    again = learner.resumed(directory)
    steps = again.training.steps
    assert again.rows == [row for row in [*rows, *later] if row["steps"] <= steps]
    assert len(again.rows) in (len(rows), len(rows) + (learner.training.at_once > 1))
    again.go(quiet)
    assert same(expected, learner.learned(directory))


def test_a_full_disk_leaves_the_old_files(
    learner: SmallRun, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    learner.interrupted(directory, learner.stops[-3], monkeypatch)
    good = content(directory)
    assert "checkpoint.npz" in good
    assert ("policy.npz" in good) == learner.keeps_best

    def full(path: Any, write: Any) -> None:
        raise storage.unwritable(Path(path), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(storage, "atomic_write", full)
        with pytest.raises(RunError, match=r"No space left on device.*Free some space"):
            learner.resumed(directory).go(quiet)
    assert content(directory) == good
    learner.resumed(directory).go(quiet)
    assert same(expected, learner.learned(directory))


# Files of something else.


def test_damaged_checkpoints(learner: SmallRun, copied: Path) -> None:
    path = copied / "checkpoint.npz"
    good = path.read_bytes()
    renamed = good.replace(b"values", b"valves").replace(b"adam", b"adem")
    for damaged in (b"", b"PK", good[:1000], good[:-1], renamed):
        path.write_bytes(damaged)
        refused(learner.resumed, copied, str(path), "train from the start with another --out")
    path.write_bytes((copied / "policy.npz").read_bytes())
    refused(learner.resumed, copied, str(path), "of another program or version")


def test_a_policy_that_is_missing_damaged_or_foreign(learner: SmallRun, copied: Path) -> None:
    path = copied / "policy.npz"
    good = path.read_bytes()
    retyped = good.replace(b"<f4", b"<i4")
    for damaged in (b"", b"PK", good[:200], good[:500], good[:-1], retyped):
        path.write_bytes(damaged)
        refused(load_policy, copied, str(path), "damaged", "train again")
    path.write_bytes((copied / "checkpoint.npz").read_bytes())
    refused(load_policy, copied, str(path), "of another program or version")
    path.unlink()
    refused(load_policy, copied, str(path), "there is no such file")


def edit(directory: Path, values: dict[str, Any]) -> None:
    """Change hyperparameters in ``config.json``."""
    config = read_config(directory)
    write_config(directory, replace(config, hyperparameters={**config.hyperparameters, **values}))


def test_the_checkpoint_of_another_run(learner: SmallRun, copied: Path) -> None:
    config = read_config(copied)
    words = str(copied / "checkpoint.npz"), "does not fit this run's config.json"
    for key, value in (("penalties.envelope", 4.0), ("order.buckets", 5)):
        scenario = load_scenario("two-algos", {**learner.sizes, key: value})
        write_config(copied, replace(config, scenario=scenario))
        refused(learner.resumed, copied, *words)
    write_config(copied, replace(config, seed=1))
    refused(learner.resumed, copied, *words)
    for values in learner.other_runs:
        write_config(copied, config)
        edit(copied, values)
        refused(learner.resumed, copied, *words)


@pytest.mark.parametrize(
    ("learner", "values", "words"),
    [(kind, *wrong) for kind in LEARNERS for wrong in small_run(kind).wrong],
    indirect=["learner"],
)
def test_hyperparameters_that_no_run_has(
    learner: SmallRun, values: dict[str, Any], words: tuple[str, ...], copied: Path
) -> None:
    edit(copied, values)
    refused(learner.resumed, copied, "config.json", *words)


def test_progress_of_something_else(learner: SmallRun, copied: Path) -> None:
    path = copied / "progress.csv"
    for text in ("a,b\n1,2\n", "episodes,steps\n1,2\n"):
        path.write_text(text)
        refused(learner.resumed, copied, str(path), "its columns must be", "Delete it")
