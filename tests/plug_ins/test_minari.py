"""Minari: orders are collected, stored and read back, and played again from what was stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest

from execution_env import ENV_ID
from tests.plug_ins.examples import run_example

# DataCollector leaves its temporary directories to be cleaned up by Python.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")

NAME = "execution_env/tests/orders-v0"
ABOUT = {
    "algorithm_name": "random",
    "author": "A",
    "author_email": "a@example.com",
    "code_permalink": "https://example.com",
    "description": "Orders filled at random.",
}
"""Minari warns about each that is missing."""

Episode = dict[str, Any]


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Minari's directory of datasets, for one test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def play(env: gym.Env[Any, Any], actions: Any, **reset: Any) -> Episode:
    """One order as ``env`` gives it: with the actions given, or at random among those allowed."""
    (observation, info), done = env.reset(**reset), False
    observations, played, rewards, terminations, infos = [observation], [], [], [], [info]
    while not done:
        action = actions(info) if callable(actions) else actions[len(played)]
        observation, reward, done, truncated, info = env.step(action)
        assert not truncated
        played.append(action)
        observations.append(observation)
        rewards.append(reward)
        terminations.append(done)
        infos.append(info)
    return {
        "observations": np.array(observations),
        "actions": np.array(played),
        "rewards": np.array(rewards),
        "terminations": np.array(terminations),
        "infos": {key: np.array([i[key] for i in infos]) for key in infos[0]},
    }


def at_random(env: gym.Env[Any, Any], seed: int = 0) -> Any:
    """A choice among what is allowed; the masks of lots per algo are those of each number."""
    random = np.random.default_rng(seed)

    def choose(info: dict[str, Any]) -> Any:
        if isinstance(env.action_space, gym.spaces.Discrete):
            return random.choice(np.flatnonzero(info["action_mask"]))
        rows = info["action_mask"].reshape(len(env.action_space.nvec), -1)
        return np.array([random.choice(np.flatnonzero(row)) for row in rows])

    return choose


def same(stored: Any, played: Episode) -> None:
    """Bit for bit, and of the same types."""
    for key, expected in played.items():
        values = getattr(stored, key)
        if key == "infos":
            assert sorted(values) == sorted(expected)
            pairs = [(values[k], expected[k]) for k in expected]
        else:
            pairs = [(values, expected)]
        for mine, theirs in pairs:
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
    assert not stored.truncations.any()


def seeds(dataset: minari.MinariDataset) -> list[int]:
    indices = dataset.episode_indices
    return [m["seed"] for m in dataset.storage.get_episode_metadata(indices)]


def test_the_example() -> None:
    names = run_example("Minari")
    dataset, env = names["dataset"], names["env"]
    assert dataset.total_episodes == 50
    assert dataset.total_steps == 500
    assert dataset.spec.env_spec == env.spec
    again = dataset.recover_environment()
    assert again.spec == env.spec
    assert dataset.recover_environment(eval_env=True).spec == env.spec
    assert seeds(dataset) == list(range(50))
    shares = []
    for day, episode in enumerate(dataset.iterate_episodes()):
        same(episode, play(again, episode.actions, seed=day))
        masks = episode.infos["action_mask"][:-1]
        assert masks[np.arange(10), episode.actions].all()
        shares.append(masks.mean())
    assert np.mean(shares) < 0.9  # there were masked actions


@pytest.mark.parametrize("action", ["grid", "lots"])
@pytest.mark.parametrize("observation", ["minimal", "full"])
def test_what_is_read_is_what_was_played(action: str, observation: str) -> None:
    arguments = {"action": action, "observation": observation}
    env = gym.make(ENV_ID, scenario="two-algos", overrides={"order.size": 500}, **arguments)
    collector = minari.DataCollector(env, record_infos=True)
    played = [play(collector, at_random(env, day), seed=day) for day in (3, 1, 2)]
    collector.create_dataset(NAME, eval_env=env, **ABOUT)
    collector.close()
    dataset = minari.load_dataset(NAME)
    assert dataset.spec.observation_space == env.observation_space
    assert dataset.spec.action_space == env.action_space
    assert dataset.recover_environment().spec == env.spec
    assert seeds(dataset) == [3, 1, 2]
    for episode, expected in zip(dataset.iterate_episodes(), played, strict=True):
        same(episode, expected)


def test_without_infos() -> None:
    collector = minari.DataCollector(gym.make(ENV_ID, info="none"), record_infos=True)
    played = play(collector, lambda info: 8, seed=0)
    dataset = collector.create_dataset(NAME, eval_env=collector.env, **ABOUT)
    collector.close()
    (episode,) = dataset.iterate_episodes()
    same(episode, played | {"infos": {}})


def test_seeds_that_minari_draws_are_days() -> None:
    env = gym.make(ENV_ID)
    collector = minari.DataCollector(env)
    played = [play(collector, at_random(env, seed)) for seed in range(4)]
    dataset = collector.create_dataset(NAME, eval_env=env, **ABOUT)
    collector.close()
    assert len(set(seeds(dataset))) == 4
    for day, episode, expected in zip(
        seeds(dataset), dataset.iterate_episodes(), played, strict=True
    ):
        del expected["infos"]
        same(episode, expected)
        again = play(env, episode.actions, seed=day)
        np.testing.assert_array_equal(again["observations"], expected["observations"])


def test_training_days_are_collected_on_request() -> None:
    collector = minari.DataCollector(gym.make(ENV_ID))
    unseeded = {"minari_autoseed": False}
    first = {"training_seed": 0} | unseeded
    mine = [play(collector, [8] * 10, options=options) for options in (first, unseeded)]
    collector.close()
    env = gym.make(ENV_ID)
    theirs = [play(env, [8] * 10, options=options) for options in ({"training_seed": 0}, None)]
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a["observations"], b["observations"])


def test_an_order_left_behind_is_truncated() -> None:
    collector = minari.DataCollector(gym.make(ENV_ID))
    collector.reset(seed=0)
    for _ in range(4):
        collector.step(8)
    play(collector, [8] * 10, seed=1)
    dataset = collector.create_dataset(NAME, eval_env=collector.env, **ABOUT)
    collector.close()
    left, whole = dataset.iterate_episodes()
    assert left.truncations.tolist() == [False] * 3 + [True]
    assert not left.terminations.any()
    assert whole.terminations.tolist() == [False] * 9 + [True]


def test_the_environment_is_recovered_where_nothing_of_ours_was_imported() -> None:
    env = gym.make(ENV_ID, scenario="drifting", overrides={"order.buckets": 7})
    collector = minari.DataCollector(env)
    played = play(collector, [8] * 7, seed=5)
    collector.create_dataset(NAME, eval_env=env, **ABOUT)
    collector.close()
    code = f"""
import minari
dataset = minari.load_dataset({NAME!r})
env = dataset.recover_environment()
env.reset(seed=5)
print([float(env.step(8)[1]) for _ in range(7)])
"""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == str(played["rewards"].tolist())
