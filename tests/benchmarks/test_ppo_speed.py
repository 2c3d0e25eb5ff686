"""How fast PPO trains on the native vector environment, against Stable-Baselines3's DummyVecEnv.

    python -m pytest tests/benchmarks/test_ppo_speed.py --benchmark-enable --benchmark-only

DummyVecEnv steps scalar environments of the same scenario one by one, made by ``make_vec_env`` as users
of Stable-Baselines3 do, with complete infos, which is the default, and without. All else is the same:
learner, hyperparameters, what the networks see. ``thousand_steps_per_s`` in the extra info is from the
median round; a step is one bucket of one order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from agents.ppo.learner import Learner
from agents.ppo.settings import Hyperparameters
from execution_env import ENV_ID, load_scenario
from execution_env.sb3 import OrderAllocationVecEnv

Benchmark = Any

BUCKETS = 10
BUDGET = 1_000_000
"""Environment steps of the training that batches are taken from."""

ENVIRONMENTS: dict[str, Callable[[int], VecEnv]] = {
    "native": lambda n: OrderAllocationVecEnv(n, info="none"),
    "native, complete infos": OrderAllocationVecEnv,
    "DummyVecEnv": lambda n: make_vec_env(ENV_ID, n, env_kwargs={"info": "none"}),
    "DummyVecEnv, complete infos": lambda n: make_vec_env(ENV_ID, n),
}


def measure(
    benchmark: Benchmark, group: str, function: Callable[[], object], steps: int, rounds: int
) -> None:
    benchmark.group = group
    benchmark.pedantic(function, rounds=rounds, iterations=1, warmup_rounds=1)
    if benchmark.stats is not None:
        rate = steps / benchmark.stats["median"]
        benchmark.extra_info["thousand_steps_per_s"] = round(rate / 1e3, 1)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_training(benchmark: Benchmark, name: str) -> None:
    """Batches played and learned from."""
    scenario = load_scenario("baseline")
    hyperparameters = Hyperparameters().chosen(scenario, BUDGET if benchmark.enabled else 1)
    n = hyperparameters.n_envs
    environment = ENVIRONMENTS[name](n)
    learner = Learner(scenario, 0, "default", False, hyperparameters, environment=environment)
    numbers = iter(range(1, 100))
    measure(
        benchmark,
        "PPO on baseline",
        lambda: learner.learn(next(numbers), hyperparameters.learning_rate),
        n * BUCKETS,
        rounds=7,
    )


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_stepping(benchmark: Benchmark, name: str) -> None:
    """The environments alone, one episode of each, random actions."""
    scenario = load_scenario("baseline")
    n = Hyperparameters().chosen(scenario, BUDGET if benchmark.enabled else 1).n_envs
    environment = ENVIRONMENTS[name](n)
    generator = np.random.default_rng(0)
    actions = generator.integers(0, scenario.grid_size, (BUCKETS, n))
    environment.reset()

    def episode() -> None:
        for row in actions:
            environment.step(row)

    measure(benchmark, "stepping baseline", episode, n * BUCKETS, rounds=7)
