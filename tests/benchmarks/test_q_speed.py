"""How fast the Q-learner trains, against drawing random numbers and against plain Python.

    python -m pytest tests/benchmarks/test_q_speed.py --benchmark-enable --benchmark-only

An update is one bucket of one order of `baseline`: its day is drawn, an action chosen, the bucket
played, and a value learned. ``million_updates_per_s`` in the extra info is from the median round. The
yardstick draws 3 normals and 3 uniforms per order and bucket, as the environment's benchmarks do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.q_learning.algorithm import Hyperparameters, Table, q_learning
from agents.q_learning.orders import ORDERS_PER_BLOCK, REPLAYS, Trainer
from agents.q_learning.stages import refine
from agents.q_learning.states import StateSpace, with_estimates, without_estimates
from execution_env import load_scenario
from tests.benchmarks.yardsticks import drawing
from tests.learners.plain_learner import PlainLearner

BUCKETS = 10
EPSILON = 0.75
"""The mean of the default schedule."""

Benchmark = Any


def measure(
    benchmark: Benchmark, function: Callable[[], object], updates: int, rounds: int
) -> None:
    benchmark.group = "training on baseline"
    benchmark.extra_info["updates"] = updates
    benchmark.pedantic(function, rounds=rounds, iterations=1, warmup_rounds=1)
    if benchmark.stats is not None:
        rate = updates / benchmark.stats["median"]
        benchmark.extra_info["million_updates_per_s"] = round(rate / 1e6, 4)


def learned(bins: list[int], double: bool, blocks: int) -> tuple[Trainer, StateSpace, Table]:
    """A trainer in the middle of its work: values, visits and bins as training makes them."""
    scenario = load_scenario("baseline")
    trainer, space = Trainer(scenario, 0), without_estimates(scenario)
    table = Table.start(1 + double, space.size, scenario.grid_size, 0.0)
    steps = Hyperparameters().step_sizes()
    for _ in range(blocks):
        trainer.block(space, table, steps, Hyperparameters(), 1.0)
    trainer.watch(space, table)
    estimates = trainer.notes.estimates.copy()
    if max(bins) > 1:
        fine = with_estimates(scenario, np.array(bins), estimates)
        space, table = fine, refine(space, table, fine, estimates)
    for _ in range(blocks):
        trainer.block(space, table, steps, Hyperparameters(), EPSILON)
    return trainer, space, table


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("bins", [[1, 1, 1], [1, 8, 8], [5, 5, 5]])
def test_compiled(benchmark: Benchmark, bins: list[int], double: bool) -> None:
    blocks = 50 if benchmark.enabled else 2
    trainer, space, table = learned(bins, double, blocks)
    steps = Hyperparameters().step_sizes()

    def train() -> None:
        for _ in range(2):
            trainer.block(space, table, steps, Hyperparameters(), EPSILON)

    measure(benchmark, train, 2 * REPLAYS * ORDERS_PER_BLOCK * BUCKETS, rounds=60)


def test_drawing_3_normals_and_3_uniforms(benchmark: Benchmark) -> None:
    measure(benchmark, drawing(8 * ORDERS_PER_BLOCK), 8 * ORDERS_PER_BLOCK * BUCKETS, rounds=60)


class Discrete(gym.ObservationWrapper[Any, Any, Any]):
    """The environment with numbers of states for observations."""

    def __init__(self, env: gym.Env[Any, Any], space: StateSpace) -> None:
        super().__init__(env)
        self.space = space
        self.observation_space = gym.spaces.Discrete(space.size)

    def observation(self, observation: np.ndarray) -> int:
        if observation[1] == 0:  # the order is over
            return 0
        return int(self.space.states(observation[None])[0])


def test_step_by_step(benchmark: Benchmark) -> None:
    """The textbook loop of ``q_learning`` on the scalar environment."""
    env = gym.make("execution_env/OrderAllocation-v0", disable_env_checker=True)
    discrete = Discrete(env, learned([1, 8, 8], False, 2)[1])
    h, episodes = Hyperparameters(epsilon=EPSILON, final_epsilon=EPSILON, trace=0), 50
    measure(benchmark, lambda: q_learning(discrete, episodes, h), episodes * BUCKETS, rounds=10)


def test_plain_python(benchmark: Benchmark) -> None:
    """The reference that the compiled loop equals bit for bit: no compiled learning at all."""
    orders = 50
    plain = PlainLearner(load_scenario("baseline"), 0, orders, Hyperparameters())
    plain.space = learned([1, 8, 8], False, 2)[1]
    measure(benchmark, lambda: plain.block(EPSILON), orders * REPLAYS * BUCKETS, rounds=10)
