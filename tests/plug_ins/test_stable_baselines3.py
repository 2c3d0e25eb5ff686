"""Stable-Baselines3 on ``gymnasium.make``; what it does on our own adapter is in ``test_sb3*.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import SubprocVecEnv

from execution_env import ENV_ID
from execution_env.sb3 import OrderAllocationVecEnv
from tests.plug_ins.examples import run_example

ALGORITHMS = {
    "PPO": (PPO, {"n_steps": 250, "batch_size": 50, "learning_rate": 3e-3}),
    "DQN": (DQN, {"learning_starts": 500, "learning_rate": 1e-3, "target_update_interval": 200}),
    "A2C": (A2C, {"n_steps": 10, "learning_rate": 3e-3}),
}
"""With settings at which a minute of training is not needed to see that something was learned."""

algorithms = pytest.mark.parametrize("name", ALGORITHMS)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Networks this small are slower with more."""
    torch.set_num_threads(1)


def new_model(name: str, env: Any, **arguments: Any) -> Any:
    algorithm, settings = ALGORITHMS[name]
    return algorithm("MlpPolicy", env, seed=0, device="cpu", **settings, **arguments)


class AtRandom:
    """Has as much of a model as ``evaluate_policy`` needs."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._count = int(env.action_space.n)  # type: ignore[attr-defined]
        self._random = np.random.default_rng(0)

    def predict(self, observations: np.ndarray, **_: Any) -> tuple[np.ndarray, None]:
        return self._random.integers(self._count, size=len(observations)), None


def objective(model: Any, count: int = 500) -> float:
    """Mean over days 1,000,000 and following."""
    days = OrderAllocationVecEnv(count)
    days.seed(1_000_000)
    return -evaluate_policy(model, days, count)[0]


def play(model: Any, env: gym.Env[Any, Any], day: int) -> float:
    """Objective of one day, played by hand."""
    (observation, _), total, done = env.reset(seed=day), 0.0, False
    while not done:
        action, _ = model.predict(observation, deterministic=True)
        observation, reward, done, _, _ = env.step(action)
        total -= float(reward)
    return total


def outputs(model: Any, states: torch.Tensor) -> list[torch.Tensor]:
    """What the networks say, which tells models apart that act the same."""
    if isinstance(model, DQN):
        return [model.q_net(states)]
    return [model.policy.get_distribution(states).distribution.logits]


def test_the_example() -> None:
    names = run_example("Stable-Baselines3")
    assert list(names["objectives"]) == ["PPO", "DQN", "A2C"]
    env = names["env"].unwrapped
    for name, model in names["models"].items():
        assert isinstance(model, ALGORITHMS[name][0])
        assert model.num_timesteps >= 1_000
        by_hand = np.mean([play(model, env, 1_000_000 + day) for day in range(100)])
        assert names["objectives"][name] == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("info", ["full", "none"])
@pytest.mark.parametrize("observation", ["minimal", "default", "full"])
@pytest.mark.parametrize("action", ["grid", "lots"])
def test_its_checker_has_nothing_to_say(
    action: str, observation: str, info: str, wrapped: bool
) -> None:
    env = gym.make(ENV_ID, action=action, observation=observation, info=info)
    check_env(env if wrapped else env.unwrapped)


@pytest.fixture(scope="module", params=ALGORITHMS)
def trained(request: pytest.FixtureRequest) -> Any:
    """A model of each algorithm after a short training."""
    return new_model(request.param, gym.make(ENV_ID)).learn(2_000)


def test_a_short_training_beats_chance(trained: Any) -> None:
    assert objective(trained) < 0.7 * objective(AtRandom(gym.make(ENV_ID)))


def test_a_saved_model_acts_the_same(trained: Any, tmp_path: Path) -> None:
    trained.save(tmp_path / "model")
    loaded = type(trained).load(tmp_path / "model", env=gym.make(ENV_ID), device="cpu")
    observations = np.random.default_rng(0).random((1_000, 5), np.float32)
    states = trained.policy.obs_to_tensor(observations)[0]
    for mine, theirs in zip(outputs(loaded, states), outputs(trained, states), strict=True):
        assert (mine == theirs).all()
    actions = [m.predict(observations, deterministic=True)[0] for m in (trained, loaded)]
    np.testing.assert_array_equal(*actions)
    loaded.learn(300, reset_num_timesteps=False)
    assert loaded.num_timesteps > trained.num_timesteps


@algorithms
def test_episodes_are_whole_orders(name: str) -> None:
    env = Monitor(gym.make(ENV_ID, overrides={"order.buckets": 7}))
    model = new_model(name, env).learn(500)
    returns, lengths = evaluate_policy(model, env, 5, return_episode_rewards=True)
    assert lengths == [7] * 5
    assert all(-30 < value < 0 for value in returns)
    assert {episode["l"] for episode in model.ep_info_buffer} == {7}


@pytest.mark.parametrize("name", ["PPO", "A2C"])
def test_lots_per_algo_are_actions(name: str) -> None:
    """DQN takes no MultiDiscrete."""
    env = gym.make(ENV_ID, action="lots", observation="full")
    model = new_model(name, env).learn(250)
    assert env.action_space.contains(model.predict(env.reset(seed=0)[0])[0])


def test_make_vec_env_in_processes() -> None:
    """Their processes know the name because it says which module to import."""
    envs = make_vec_env(
        f"execution_env:{ENV_ID}",
        2,
        seed=5,
        env_kwargs={"scenario": "drifting"},
        vec_env_cls=SubprocVecEnv,
    )
    try:
        first = envs.reset()
        expected = gym.make(ENV_ID, scenario="drifting")
        for e in range(2):
            np.testing.assert_array_equal(first[e], expected.reset(seed=5 + e)[0])
        model = PPO("MlpPolicy", envs, n_steps=50, batch_size=50, device="cpu").learn(200)
        assert [episode["l"] for episode in model.ep_info_buffer] == [10] * 20
    finally:
        envs.close()
