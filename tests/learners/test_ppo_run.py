"""Runs of PPO: what they keep, and that nothing that stops one changes what it learns."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.policy import load_policy
from agents.ppo.learner import Learner
from agents.ppo.policy import PPOPolicy
from agents.ppo.run import LEARNING_COLUMNS, SAVED, PPOTraining
from agents.ppo.settings import Hyperparameters, Settings, config_of, settings_of
from agents.rollouts.allocation import play
from agents.storage import files as storage
from agents.storage.files import RunError, load_arrays
from agents.storage.run_directory import (
    new_run_directory,
    read_config,
    read_progress,
    write_config,
    write_progress,
)
from agents.training import run as training_run
from agents.training.run import Run
from agents.training.training import OBJECTIVE
from execution_env import DayStream, load_scenario
from execution_env.allocation.market.day_stream import VALIDATION
from tests.learners.faster import faster

ROOT = Path(__file__).parents[2]
FEW = {"order.size": 1500, "order.buckets": 4, "volume.total": 10000}
SCENARIO = load_scenario("two-algos", FEW)
HYPERPARAMETERS = Hyperparameters(n_envs=16, minibatches=2, n_epochs=2, width=8, learning_rate=0.05)
BATCHES = 24
SETTINGS = Settings(BATCHES * 16 * 4, hyperparameters=HYPERPARAMETERS)
FASTER = {"VALIDATION_DAYS": 64, "CURVE_POINTS": 8}


def quiet(*_: Any) -> None:
    pass


def new_run(directory: Path, settings: Settings = SETTINGS) -> Run:
    new_run_directory(directory)
    config = config_of(SCENARIO, 0, settings)
    return Run(directory, config, PPOTraining(SCENARIO, 0, settings), resume=False)


def resumed(directory: Path) -> Run:
    config = read_config(directory)
    training = PPOTraining(config.scenario, config.seed, settings_of(config))
    return Run(directory, config, training, resume=True)


def arrays_in(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file if name not in ("seconds", "checksum")}
    if "best_row" in arrays:
        arrays["best_row"][PPOTraining.columns.index("seconds")] = 0
    return arrays


def learned(directory: Path) -> dict[str, Any]:
    """All that a run ends with, but times."""
    rows = [row | {"seconds": 0} for row in read_progress(directory)]
    files = {name: arrays_in(directory / f"{name}.npz") for name in ("checkpoint", "policy")}
    return files | {"rows": rows}


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    assert first["rows"] == second["rows"]
    for file in ("checkpoint", "policy"):
        assert first[file].keys() == second[file].keys()
        for name, array in first[file].items():
            assert np.array_equal(array, second[file][name]), (file, name)
    return True


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster(FASTER, patch.setattr)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    new_run(directory).go(quiet)
    return directory


@pytest.fixture(scope="module")
def expected(finished: Path) -> dict[str, Any]:
    return learned(finished)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


# What is kept.


def test_progress(finished: Path) -> None:
    rows = read_progress(finished)
    assert tuple(rows[0]) == ("episodes", "steps", "seconds", *OBJECTIVE, *LEARNING_COLUMNS)
    assert [row["episodes"] for row in rows] == [16 * j for j in range(0, BATCHES + 1, 3)]
    assert [row["steps"] for row in rows] == [64 * j for j in range(0, BATCHES + 1, 3)]
    assert rows[0]["entropy"] == 0
    assert all(row["entropy"] > 0 for row in rows[1:])
    assert all(row["explained_variance"] < 1 for row in rows)
    assert len({row["objective_mean"] for row in rows}) > 3
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_the_best_policy_on_the_validation_days_is_kept(finished: Path) -> None:
    rows = read_progress(finished)
    days = DayStream(SCENARIO, 0, VALIDATION).draw(FASTER["VALIDATION_DAYS"])
    policy = load_policy(finished)
    training = PPOTraining(SCENARIO, 0, SETTINGS)
    objectives, networks = [], []
    for _ in rows:
        objectives.append(float(play(training.policy(), SCENARIO, days).objective.mean()))
        networks.append(training.learner.layers())
        training.advance(3)
    assert [row["objective_mean"] for row in rows] == pytest.approx(objectives, abs=1e-12)
    best = int(np.argmin(objectives))
    assert 0 < best < len(rows) - 1  # else this tests nothing
    assert resumed(finished).training.result([]) == rows[best]
    assert isinstance(policy, PPOPolicy)
    for layer, right in zip(policy.layers, networks[best], strict=True):
        assert np.array_equal(layer.weights, right.weights)
        assert np.array_equal(layer.biases, right.biases)


def test_of_equally_good_policies_the_first_is_kept() -> None:
    training = PPOTraining(SCENARIO, 0, SETTINGS)
    rows = [{"objective_mean": mean} for mean in (3.0, 1.0, 2.0, 1.0)]
    assert [training.note(row) for row in rows] == [True, True, False, False]
    assert training.result(rows) is rows[1]


def test_keeping_the_best_leaves_the_networks_alone() -> None:
    training = PPOTraining(SCENARIO, 0, SETTINGS)
    training.note({"objective_mean": 1.0})
    first = training.policy()
    training.advance(1)
    now = training.learner.parameters()
    kept = training.kept()
    assert np.array_equal(kept.layers[0].weights, first.layers[0].weights)
    assert not np.array_equal(kept.layers[0].weights, training.policy().layers[0].weights)
    assert np.array_equal(training.learner.parameters(), now)
    assert kept.train_steps == training.steps == 64


def test_the_policy_took_the_whole_training(finished: Path) -> None:
    policy = load_policy(finished)
    checkpoint = load_arrays(finished / "checkpoint.npz", SAVED)
    assert policy.train_steps == BATCHES * 64
    assert policy.train_seconds == float(checkpoint["seconds"]) > 0
    assert policy.name == "whole"
    assert policy.run == read_config(finished)


def test_a_saved_policy_comes_back_the_same(finished: Path, tmp_path: Path) -> None:
    policy = load_policy(finished)
    assert isinstance(policy, PPOPolicy)
    policy.save(tmp_path)
    assert arrays_in(tmp_path / "policy.npz").keys() == arrays_in(finished / "policy.npz").keys()
    write_config(tmp_path, read_config(finished))
    again = load_policy(tmp_path)
    observations = np.random.default_rng(0).random((99, 9), np.float32)
    observations[:, 1] = 0.5
    assert isinstance(again, PPOPolicy)
    assert np.array_equal(policy.logits(observations), again.logits(observations))
    assert again.train_seconds == policy.train_seconds


@pytest.mark.parametrize("masked", [False, True])
def test_masked_runs_are_masked_when_loaded(masked: bool, tmp_path: Path) -> None:
    settings = Settings(64, "minimal", masked, HYPERPARAMETERS)
    new_run(tmp_path / "run", settings).go(quiet)
    policy = load_policy(tmp_path / "run")
    assert isinstance(policy, PPOPolicy)
    assert (policy.masked, policy.sees) == (masked, "minimal")
    assert policy.observation == ("full" if masked else "minimal")
    assert [row["steps"] for row in read_progress(tmp_path / "run")] == [0, 64]


# Stopped and resumed.


def interrupt_after(monkeypatch: pytest.MonkeyPatch, batch: int, times: int = 1) -> None:
    """Ctrl-C while this batch, from 1, is being learned."""
    original = Learner.learn

    def learn(self: Learner, number: int, learning_rate: float) -> dict[str, float]:
        measured = original(self, number, learning_rate)
        for _ in range(times if number == batch else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return measured

    monkeypatch.setattr(Learner, "learn", learn)


@pytest.mark.parametrize("batch", [1, 3, 7, 13, BATCHES - 1, BATCHES])
def test_ctrl_c_in_the_middle_of_a_batch(
    batch: int, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_after(patch, batch)
        with pytest.raises(KeyboardInterrupt):
            new_run(directory).go(quiet)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert load_policy(directory).train_steps in range(64 * batch + 1)  # the best so far
    again = resumed(directory)
    assert not again.finished
    assert again.training.blocks == batch
    again.go(quiet)
    assert same(expected, learned(directory))
    assert again.finished


@pytest.mark.parametrize("masked", [False, True])
def test_saved_and_restored_between_all_batches(masked: bool, tmp_path: Path) -> None:
    settings = replace(SETTINGS, masked=masked, observation="full")
    whole = PPOTraining(SCENARIO, 3, settings)
    whole.advance(6)
    parts = PPOTraining(SCENARIO, 3, settings)
    for j in range(6):
        parts.save(tmp_path / "checkpoint.npz")
        parts = PPOTraining(SCENARIO, 3, settings)
        parts.restore(tmp_path / "checkpoint.npz")
        assert parts.blocks == j
        parts.advance(1)
    assert np.array_equal(whole.learner.parameters(), parts.learner.parameters())
    for one, other in zip(whole.learner.moments(), parts.learner.moments(), strict=True):
        assert np.array_equal(one, other)
    assert {**whole.facts(), "seconds": 0} == {**parts.facts(), "seconds": 0}


def test_ctrl_c_outside_of_batches(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it validates, writes a checkpoint, or writes the policy."""
    directory = tmp_path / "run"
    run = new_run(directory)
    for patched, name in ((Run, "_validate"), (Run, "_checkpoint"), (PPOPolicy, "save")):
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
        run = resumed(directory)
    run.go(quiet)
    assert same(expected, learned(directory))


def test_a_second_ctrl_c_does_not_wait(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2, times=2)
        with pytest.raises(KeyboardInterrupt):
            new_run(tmp_path / "run").go(quiet)
    assert not (tmp_path / "run" / "checkpoint.npz").exists()
    resumed(tmp_path / "run").go(quiet)
    assert same(expected, learned(tmp_path / "run"))


CHILD = f"""
import sys
import train
from tests.learners.faster import faster
faster({FASTER})
faster({{"CHECKPOINT_SECONDS": 0.0, "CHECKPOINT_SHARE": 1e9}})
sys.exit(train.main(["ppo", *sys.argv[1:]]))
"""
LENGTH = 100
LONG = ["--scenario", "two-algos", "--set", *(f"{key}={value}" for key, value in FEW.items())]
LONG += ["--n-envs", "16", "--minibatches", "2", "--n-epochs", "2", "--width", "8"]
LONG += ["--learning-rate", "0.05", "--timesteps", str(LENGTH * 64)]


@pytest.mark.slow
def test_kill_9_costs_nothing(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    new_run(whole, replace(SETTINGS, timesteps=LENGTH * 64)).go(quiet)
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, "--out", str(parts), *LONG],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not (parts / "checkpoint.npz").exists():
        time.sleep(0.002)
    time.sleep(0.1)
    process.kill()
    assert process.wait() == -signal.SIGKILL  # nobody may be killed by luck only once all is over
    assert isinstance(load_policy(parts), PPOPolicy)
    again = resumed(parts)
    assert 0 < again.training.blocks < LENGTH
    again.go(quiet)
    assert same(learned(whole), learned(parts))


def test_the_row_of_the_checkpoint_is_known_even_if_it_was_written_later(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved after the best batch, validated, progress written; then the disk was full."""
    rows = expected["rows"]
    best = min(range(len(rows)), key=lambda j: rows[j]["objective_mean"])
    assert 0 < best < len(rows) - 1
    directory = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_after(patch, int(rows[best]["episodes"]) // HYPERPARAMETERS.n_envs)
        with pytest.raises(KeyboardInterrupt):
            new_run(directory).go(quiet)
    assert len(read_progress(directory)) == best
    write_progress(directory, rows[: best + 1])
    run = resumed(directory)
    assert len(run.rows) == best + 1
    run.go(quiet)
    assert same(expected, learned(directory))


def test_rows_newer_than_the_checkpoint_are_dropped(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were written, and then somebody pulled the plug."""
    directory = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 7)
        with pytest.raises(KeyboardInterrupt):
            new_run(directory).go(quiet)
    write_progress(directory, expected["rows"][:6])
    run = resumed(directory)
    assert len(run.rows) == 3
    run.go(quiet)
    assert same(expected, learned(directory))


@pytest.mark.parametrize("missing", ["policy.npz", "progress.csv", "checkpoint.npz"])
def test_files_that_somebody_deleted_are_made_again(
    missing: str, copied: Path, expected: dict[str, Any]
) -> None:
    (copied / missing).unlink()
    run = resumed(copied)
    assert not run.finished
    run.go(quiet)
    best = min(expected["rows"], key=lambda row: row["objective_mean"])
    told = run.training.result(run.rows)
    assert told["objective_mean"] == best["objective_mean"]
    found = learned(copied)
    if missing == "progress.csv":
        found["rows"] = expected["rows"][:-1] + found["rows"]
    assert same(expected, found)
    assert resumed(copied).finished


def test_a_damaged_policy_is_made_from_the_checkpoint(
    copied: Path, expected: dict[str, Any]
) -> None:
    policy = copied / "policy.npz"
    policy.write_bytes(policy.read_bytes()[:100])
    run = resumed(copied)
    assert not run.finished
    run.go(quiet)
    assert same(expected, learned(copied))


# What goes wrong.


@pytest.mark.parametrize("rate", [1e3, 1e9])
@pytest.mark.parametrize("masked", [False, True])
def test_a_training_that_diverges_says_so(rate: float, masked: bool, tmp_path: Path) -> None:
    hyperparameters = replace(HYPERPARAMETERS, learning_rate=rate, max_grad_norm=1e9)
    settings = replace(SETTINGS, masked=masked, hyperparameters=hyperparameters)
    run = new_run(tmp_path / "run", settings)
    before = run.training.policy()
    if rate < 1e6:  # wild, but numbers
        run.go(quiet)
    else:
        with pytest.raises(
            RunError, match=r"diverged in batch \d+ .*smaller learning rate"
        ) as error:
            run.go(quiet)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300
        policy = load_policy(tmp_path / "run")
        assert isinstance(policy, PPOPolicy)
        assert np.array_equal(policy.layers[0].weights, before.layers[0].weights)


def test_weights_that_only_the_last_step_spoiled_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = PPOTraining(SCENARIO, 0, SETTINGS)
    spoiled = np.full_like(training.learner.parameters(), np.nan)
    monkeypatch.setattr(
        training.learner, "learn", lambda *_: training.learner.set_parameters(spoiled)
    )
    with pytest.raises(RunError, match=r"diverged in batch 1 \(weights that are not finite\)"):
        training.advance(1)


def test_a_full_disk_leaves_the_old_files(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 7)
        with pytest.raises(KeyboardInterrupt):
            new_run(directory).go(quiet)
    good = {name: (directory / name).read_bytes() for name in ("checkpoint.npz", "policy.npz")}

    def full(path: Any, write: Any) -> None:
        raise storage.unwritable(Path(path), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(storage, "atomic_write", full)
        with pytest.raises(RunError, match=r"No space left on device.*Free some space"):
            resumed(directory).go(quiet)
    assert good == {name: (directory / name).read_bytes() for name in good}
    resumed(directory).go(quiet)
    assert same(expected, learned(directory))
