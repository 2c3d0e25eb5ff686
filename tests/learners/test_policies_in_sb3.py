"""Our policies in Stable-Baselines3's tools: ``evaluate_policy`` measures what our rollouts do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from agents.policy import Policy, load_policy
from agents.q_learning.run import ORDERS, QTraining, Settings, config_of
from agents.rollouts.allocation import play
from agents.storage.run_directory import new_run_directory
from agents.training.run import Run
from execution_env import load_scenario, numbered_days
from execution_env.sb3 import OrderAllocationVecEnv
from tests.learners.faster import faster

SCENARIO = load_scenario(
    "two-algos", {"order.size": 3000, "order.buckets": 4, "volume.total": 12000}
)
NAMES = ["q-learning", "lp", "dp", "twap", "all-passive"]
FIRST, COUNT = 500, 6
ROUNDING = 2e-6
"""Monitor rounds to six decimals; without it, rewards are float32."""


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Policy]:
    run = new_run_directory(tmp_path_factory.mktemp("runs") / "first")
    with pytest.MonkeyPatch.context() as patch:
        faster({"VALIDATION_DAYS": 64, "CURVE_POINTS": 4, "MEASURED_BLOCKS": 2}, patch.setattr)
        settings = Settings(20 * ORDERS, 1)
        training = QTraining(SCENARIO, 0, settings)
        config = config_of(SCENARIO, 0, settings)
        Run(run, config, training, resume=False).go(lambda *_: None)
    return {name: load_policy(run if name == "q-learning" else name, SCENARIO) for name in NAMES}


class OnNumberedDays(gym.Wrapper[Any, Any, Any, Any]):
    """Days FIRST, FIRST + 1 and so on, one for every reset."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.day = FIRST

    def reset(self, **_: Any) -> Any:
        self.day += 1
        return self.env.reset(seed=self.day - 1)


def rewards(policy: Policy, env: Any, deterministic: bool = True, **arguments: Any) -> list[float]:
    """Of COUNT episodes."""
    found, lengths = evaluate_policy(
        policy, env, COUNT, deterministic, return_episode_rewards=True, **arguments
    )
    assert list(lengths) == [SCENARIO.buckets] * COUNT
    return [float(reward) for reward in found]


def expected(policy: Policy) -> Any:
    """Minus the objectives of our own rollout."""
    days = numbered_days(SCENARIO, range(FIRST, FIRST + COUNT))
    objectives = play(policy, SCENARIO, days).objective
    assert np.unique(objectives).size > 3  # days are told apart
    return pytest.approx(-objectives, abs=ROUNDING)


def environments(policy: Policy) -> list[Callable[[], gym.Env[Any, Any]]]:
    return [policy.environment for _ in range(COUNT)]


@pytest.mark.parametrize("name", NAMES)
def test_the_environment_of_a_policy(name: str, policies: dict[str, Policy]) -> None:
    policy = policies[name]
    env = OnNumberedDays(policy.environment())
    assert rewards(policy, Monitor(env)) == expected(policy)


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_without_a_monitor(name: str, policies: dict[str, Policy]) -> None:
    policy = policies[name]
    env = OnNumberedDays(policy.environment())
    assert rewards(policy, env, warn=False) == expected(policy)


@pytest.mark.parametrize("name", NAMES)
def test_several_environments(name: str, policies: dict[str, Policy]) -> None:
    policy = policies[name]
    envs = VecMonitor(DummyVecEnv(environments(policy)))
    envs.seed(FIRST)  # the first order of environment i is day FIRST + i
    assert rewards(policy, envs) == expected(policy)


@pytest.mark.parametrize("name", NAMES)
def test_without_deterministic_only_the_linear_programme_does_otherwise(
    name: str, policies: dict[str, Policy]
) -> None:
    policy = policies[name]
    env = Monitor(OnNumberedDays(policy.environment()))
    found = rewards(policy, env, deterministic=False)
    assert (found != expected(policy)) == (name == "lp")  # it explores


@pytest.mark.parametrize("name", NAMES)
def test_our_vector_environment(name: str, policies: dict[str, Policy]) -> None:
    policy = policies[name]
    envs = OrderAllocationVecEnv(
        COUNT, scenario=SCENARIO, observation=policy.observation, action=policy.action
    )
    envs.seed(FIRST)
    assert rewards(policy, envs) == expected(policy)


def test_a_random_policy_draws_alike(policies: dict[str, Policy]) -> None:
    """Its numbers belong to places in a batch, so it needs as many environments as days."""
    fresh = [load_policy("random", SCENARIO) for _ in range(2)]
    envs = VecMonitor(DummyVecEnv(environments(fresh[0])))
    envs.seed(FIRST)
    assert rewards(fresh[0], envs) == expected(fresh[1])


def test_means_and_more_episodes_than_environments(policies: dict[str, Policy]) -> None:
    """As one would call it: with defaults."""
    for name in ("q-learning", "lp"):
        policy = policies[name]
        env = Monitor(policy.environment())
        mean, spread = evaluate_policy(policy, env, n_eval_episodes=40, reward_threshold=-30.0)
        assert -30.0 < mean < 0.0 < spread
        envs = DummyVecEnv([lambda policy=policy: Monitor(policy.environment()) for _ in range(3)])
        many, lengths = evaluate_policy(
            policy, envs, n_eval_episodes=7, return_episode_rewards=True
        )
        assert len(many) == 7
        assert set(lengths) == {SCENARIO.buckets}


def test_a_policy_says_which_environment_it_needs(policies: dict[str, Policy]) -> None:
    env = Monitor(gym.make("execution_env/OrderAllocation-v0", scenario=SCENARIO))
    with pytest.raises(ValueError, match='make the environment with observation="full"'):
        evaluate_policy(policies["lp"], env, n_eval_episodes=1)
