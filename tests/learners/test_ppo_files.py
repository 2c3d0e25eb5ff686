"""Files of PPO's runs: whatever is wrong with one is one clear line, and none is ever run."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from agents.evaluation import compare
from agents.policy import load_policy
from agents.ppo.policy import PPOPolicy
from agents.ppo.run import PPOTraining
from agents.ppo.settings import Hyperparameters, Settings, config_of, settings_of
from agents.rollouts.allocation import play
from agents.storage.files import RunError, save_arrays
from agents.storage.run_directory import new_run_directory, read_config, write_config
from agents.training.run import Run
from execution_env import load_scenario, numbered_days
from tests.learners.faster import faster
from tests.learners.small_runs import arrays_in, refused

ROOT = Path(__file__).parents[2]
FEW = {"order.size": 1500, "order.buckets": 4, "volume.total": 10000}
SCENARIO = load_scenario("two-algos", FEW)
HYPERPARAMETERS = Hyperparameters(n_envs=16, minibatches=2, n_epochs=1, width=8)
SETTINGS = Settings(2 * 64, hyperparameters=HYPERPARAMETERS)


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster({"VALIDATION_DAYS": 16}, patch.setattr)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "whole"
    new_run_directory(directory)
    config = config_of(SCENARIO, 0, SETTINGS)
    Run(directory, config, PPOTraining(SCENARIO, 0, SETTINGS), False).go(lambda *_: None)
    return directory


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def resumed(directory: Path) -> Run:
    config = read_config(directory)
    training = PPOTraining(config.scenario, config.seed, settings_of(config))
    return Run(directory, config, training, resume=True)


# Loading runs no code.


def spring() -> None:
    os.environ["TRAPPED"] = "yes"


class Trap:
    """Notes that it was unpickled."""

    def __reduce__(self) -> Any:
        return spring, ()


def test_loading_unpickles_nothing(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("unpickled")

    with monkeypatch.context() as patch:
        for name in ("load", "loads", "Unpickler"):
            patch.setattr(pickle, name, refuse)
        patch.setattr(torch, "load", refuse)
        assert load_policy(copied).train_steps == 128
        assert resumed(copied).finished


def test_files_with_objects_are_refused_unread(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRAPPED", raising=False)
    for name, array, load in (
        ("policy.npz", "weights_0", load_policy),
        ("checkpoint.npz", "best", resumed),
    ):
        with np.load(copied / name) as file:
            arrays = dict(file)
        arrays[array] = np.array([Trap()], object)
        np.savez(copied / name, **arrays)
        refused(load, copied, str(copied / name), f"{array} is object, not float32")
    assert "TRAPPED" not in os.environ
    pickle.loads(pickle.dumps(Trap()))  # the trap would have worked
    assert os.environ.pop("TRAPPED") == "yes"


def test_loading_and_playing_need_no_torch(finished: Path) -> None:
    code = f"""
import sys
from agents.policy import load_policy
policy = load_policy({str(finished)!r})
observation, _ = policy.environment().reset(seed=0)
policy.predict(observation)
print([name for name in ("torch", "stable_baselines3", "sb3_contrib") if name in sys.modules])
"""
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


# The policy's file.


def damage(name: str, arrays: dict[str, Any]) -> None:
    """Make one thing wrong that checksums do not notice."""
    match name:
        case "fewer features":
            arrays["weights_0"] = arrays["weights_0"][:, :-1]
        case "a wider layer":
            arrays["weights_1"] = np.append(arrays["weights_1"], arrays["weights_1"], axis=1)
        case "fewer biases":
            arrays["biases_1"] = arrays["biases_1"][:-1]
        case "fewer actions":
            arrays["weights_2"], arrays["biases_2"] = (
                arrays[f"{what}_2"][:-1] for what in ("weights", "biases")
            )
        case "double precision":
            arrays["biases_0"] = arrays["biases_0"].astype(np.float64)
        case "no matrix":
            arrays["weights_2"] = arrays["weights_2"].ravel()
        case "a layer less":
            del arrays["weights_2"], arrays["biases_2"]
        case "something else":
            arrays["momentum"] = np.zeros(3)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("fewer features", "weights_0 has shape (8, 7), not (8, 8)"),
        ("a wider layer", "weights_1 has shape (8, 16), not (8, 8)"),
        ("fewer biases", "biases_1 has shape (7,), not (8,)"),
        ("fewer actions", "weights_2 has shape (14, 8), not (15, 8)"),
        ("double precision", "biases_0 is float64, not float32"),
        ("no matrix", "weights_2 has shape (120,), not (15, 8)"),
        ("a layer less", "of another program or version"),
        ("something else", "of another program or version"),
    ],
)
def test_weights_that_do_not_fit(what: str, words: str, copied: Path) -> None:
    arrays = arrays_in(copied / "policy.npz")
    damage(what, arrays)
    save_arrays(copied / "policy.npz", **arrays)
    refused(load_policy, copied, str(copied / "policy.npz"), words, "train again")


def test_weights_that_are_not_finite_are_neither_written_nor_read(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = (copied / "policy.npz").read_bytes()
    policy = load_policy(copied)
    assert isinstance(policy, PPOPolicy)
    policy.layers[1].weights[0, 0] = np.nan
    with pytest.raises(RunError, match="weights_1 has numbers that are not finite"):
        policy.save(copied)
    assert (copied / "policy.npz").read_bytes() == good
    with monkeypatch.context() as patch:
        patch.setattr("agents.storage.files._all_finite", lambda _: True)
        policy.save(copied)
    refused(load_policy, copied, "policy.npz: weights_1 has numbers that are not finite")


# config.json.


def edited(directory: Path, **values: Any) -> None:
    config = read_config(directory)
    write_config(directory, replace(config, hyperparameters={**config.hyperparameters, **values}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"layers": 1}, ["policy.npz: holds the unknown", "weights_2"]),
        ({"layers": 3}, ['policy.npz: lacks "weights_3, biases_3"']),
        ({"layers": -1}, ["config.json has", "layers = -1", "which no ppo run has"]),
        ({"layers": 16}, ["layers = 16"]),
        ({"layers": "2"}, ["layers = 2"]),
        ({"layers": None}, ["layers = None"]),
        ({"observation": "minimal"}, ["policy.npz: weights_0 has shape (8, 8), not (8, 6)"]),
        ({"observation": "all"}, ["config.json has observation = all"]),
        ({"observation": ["full"]}, ["config.json has observation = ['full']"]),
        ({"observation": None}, ["config.json has observation = None"]),
        ({"masked": 1}, ["masked = 1"]),
        ({"masked": "no"}, ["masked = no"]),
    ],
)
def test_configurations_that_do_not_fit_the_policy(
    values: dict[str, Any], words: list[str], copied: Path
) -> None:
    edited(copied, **values)
    refused(load_policy, copied, str(copied), *words)


def test_checkpoints_that_do_not_fit_the_networks(copied: Path) -> None:
    path = copied / "checkpoint.npz"
    arrays = arrays_in(path)
    for name in ("parameters", "adam_means", "adam_squares", "best"):
        save_arrays(path, **arrays | {name: arrays[name][:-1]})
        refused(resumed, copied, str(path), f"{name} has shape")
    save_arrays(path, **arrays | {"measured": arrays["measured"][:-1]})
    refused(resumed, copied, str(path))


# Used like any other policy.


def test_it_is_compared_with_others(finished: Path) -> None:
    seeds = range(1_000_000, 1_000_020)
    result = compare(["twap", finished, f"mine={finished}"], SCENARIO, seeds)
    assert result.names == ["twap", "whole", "mine", "lp"]
    rows = {row["policy"]: row for row in result.rows}
    policy = load_policy(finished)
    for label in ("whole", "mine"):
        assert rows[label]["train_steps"] == 128
        assert rows[label]["train_seconds"] == policy.train_seconds
        assert rows[label]["decision_us"] > 0
    right = play(policy, SCENARIO, numbered_days(SCENARIO, seeds)).objective
    assert np.array_equal(result.objectives[result.names.index("whole")], right)
    assert rows["whole"]["objective_mean"] >= rows["hindsight"]["objective_mean"]


def test_stable_baselines3_evaluates_it(finished: Path) -> None:
    policy = load_policy(finished)
    env = Monitor(policy.environment())
    env.reset(seed=7)
    returns, lengths = evaluate_policy(
        policy,  # type: ignore[arg-type]
        env,
        n_eval_episodes=5,
        return_episode_rewards=True,
    )
    assert lengths == [4] * 5
    assert all(-20 < number < 0 for number in returns)
