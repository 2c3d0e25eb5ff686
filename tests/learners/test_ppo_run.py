"""Runs of PPO: its progress, the best policy, and trainings that diverge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.learners import PPO
from agents.policy import load_policy
from agents.ppo.policy import PPOPolicy
from agents.ppo.run import LEARNING_COLUMNS, PPOTraining
from agents.ppo.settings import Settings
from agents.rollouts.allocation import play
from agents.storage.files import RunError
from agents.storage.run_directory import read_config, read_progress, write_config, write_progress
from agents.training.training import OBJECTIVE
from execution_env import DayStream
from execution_env.allocation.market.day_stream import VALIDATION
from tests.learners.faster import faster
from tests.learners.small_runs import quiet, same, small_run

LEARNER = small_run(PPO)
SCENARIO, SETTINGS, BATCHES = LEARNER.scenario, LEARNER.settings, LEARNER.total
HYPERPARAMETERS = SETTINGS.hyperparameters


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster(LEARNER.constants, patch.setattr)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    LEARNER.new_run(directory).go(quiet)
    return directory


# What is kept.


def test_progress(finished: Path) -> None:
    rows = read_progress(finished)
    assert tuple(rows[0]) == ("episodes", "steps", "seconds", *OBJECTIVE, *LEARNING_COLUMNS)
    assert rows[0]["entropy"] == 0
    assert all(row["entropy"] > 0 for row in rows[1:])
    assert all(row["explained_variance"] < 1 for row in rows)


def test_the_best_policy_on_the_validation_days_is_kept(finished: Path) -> None:
    rows = read_progress(finished)
    days = DayStream(SCENARIO, 0, VALIDATION).draw(int(LEARNER.constants["VALIDATION_DAYS"]))
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
    assert LEARNER.resumed(finished).training.result([]) == rows[best]
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


def test_a_saved_policy_comes_back_the_same(finished: Path, tmp_path: Path) -> None:
    policy = load_policy(finished)
    assert isinstance(policy, PPOPolicy)
    policy.save(tmp_path)
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
    LEARNER.new_run(tmp_path / "run", settings).go(quiet)
    policy = load_policy(tmp_path / "run")
    assert isinstance(policy, PPOPolicy)
    assert (policy.masked, policy.sees) == (masked, "minimal")
    assert policy.observation == ("full" if masked else "minimal")
    assert [row["steps"] for row in read_progress(tmp_path / "run")] == [0, 64]


def test_the_row_of_the_checkpoint_is_known_even_if_it_was_written_later(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved after the best batch, validated, progress written; then the disk was full."""
    rows = read_progress(finished)
    best = min(range(len(rows)), key=lambda j: rows[j]["objective_mean"])
    assert 0 < best < len(rows) - 1
    directory = tmp_path / "run"
    batch = int(rows[best]["episodes"]) // HYPERPARAMETERS.n_envs
    LEARNER.interrupted(directory, batch, monkeypatch)
    assert len(read_progress(directory)) == best
    write_progress(directory, rows[: best + 1])
    run = LEARNER.resumed(directory)
    assert len(run.rows) == best + 1
    run.go(quiet)
    assert same(LEARNER.learned(finished), LEARNER.learned(directory))


# What goes wrong.


@pytest.mark.parametrize("rate", [1e3, 1e9])
@pytest.mark.parametrize("masked", [False, True])
def test_a_training_that_diverges_says_so(rate: float, masked: bool, tmp_path: Path) -> None:
    hyperparameters = replace(HYPERPARAMETERS, learning_rate=rate, max_grad_norm=1e9)
    settings = replace(SETTINGS, masked=masked, hyperparameters=hyperparameters)
    run = LEARNER.new_run(tmp_path / "run", settings)
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
    with pytest.raises(
        RunError, match=r"diverged in batch 1 \(weights that are not finite, or beyond 1,000,000\)"
    ):
        training.advance(1)
