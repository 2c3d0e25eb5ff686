"""How fast the environment is, as ratios within one run; README.md beside this file has a table.

    python -m pytest tests/benchmarks --benchmark-enable --benchmark-only

Every group compares with a yardstick measured in the same run. Numbers are per 10 vector steps of
all orders, one episode each.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from execution_env import OrderAllocationEnv, OrderAllocationVectorEnv
from tests.benchmarks.yardsticks import BUCKETS, drawing

Benchmark = Any


def measure(benchmark: Benchmark, function: Callable[[], None], steps: int) -> None:
    function()
    benchmark.extra_info["steps"] = steps
    benchmark.pedantic(function, rounds=60, iterations=1, warmup_rounds=3)
    if benchmark.stats is not None:
        benchmark.extra_info["ns_per_step"] = round(1e9 * benchmark.stats["median"] / steps, 1)


def stepping(n: int, info: str, mode: str) -> Callable[[], None]:
    envs = OrderAllocationVectorEnv(n, "baseline", info=info, autoreset_mode=mode)
    envs.reset(options={"training_seed": 0})
    # Under NextStep one step in eleven is the reset.
    calls = BUCKETS + (mode == "NextStep")
    actions = np.random.default_rng(0).integers(0, 35, (calls, n))

    def step() -> None:
        for action in actions:
            envs.step(action)

    return step


@pytest.mark.parametrize("n", [100, 4096])
class TestVector:
    def test_drawing_3_normals_and_3_uniforms(self, benchmark: Benchmark, n: int) -> None:
        benchmark.group = f"vector environment, n = {n}"
        measure(benchmark, drawing(n), n * BUCKETS)

    @pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
    @pytest.mark.parametrize("info", ["full", "none"])
    def test_vector_env(self, benchmark: Benchmark, n: int, info: str, mode: str) -> None:
        benchmark.group = f"vector environment, n = {n}"
        measure(benchmark, stepping(n, info, mode), n * BUCKETS)

    def test_vector_env_with_orders_in_different_buckets(
        self, benchmark: Benchmark, n: int
    ) -> None:
        benchmark.group = f"vector environment, n = {n}"
        measure(benchmark, stepping_out_of_step(n), n * BUCKETS)


def stepping_out_of_step(n: int) -> Callable[[], None]:
    envs = OrderAllocationVectorEnv(n, "baseline", autoreset_mode="SameStep")
    generator = np.random.default_rng(0)
    envs.reset(options={"training_seed": 0})
    for _ in range(BUCKETS):
        envs.step(np.zeros(n, np.int64))
        envs.reset(options={"reset_mask": generator.random(n) < 1 / BUCKETS})
    actions = generator.integers(0, 35, (BUCKETS, n))

    def step() -> None:
        for action in actions:
            envs.step(action)

    return step


def playing(env: gym.Env[Any, Any], actions: list[int]) -> Callable[[], None]:
    env.reset(seed=0)

    def play() -> None:
        for action in actions:
            if env.step(action)[2]:
                env.reset()

    return play


class TestScalar:
    def test_cartpole(self, benchmark: Benchmark) -> None:
        benchmark.group = "scalar environment, resets included"
        actions = np.random.default_rng(0).integers(0, 2, 2000).tolist()
        measure(benchmark, playing(gym.make("CartPole-v1").unwrapped, actions), 2000)

    def test_scalar_env(self, benchmark: Benchmark) -> None:
        benchmark.group = "scalar environment, resets included"
        actions = np.random.default_rng(0).integers(0, 35, 2000).tolist()
        measure(benchmark, playing(OrderAllocationEnv("baseline"), actions), 2000)


class TestImport:
    @pytest.mark.parametrize("module", ["gymnasium, numba", "execution_env"])
    def test_import(self, benchmark: Benchmark, module: str) -> None:
        benchmark.group = "import in a new process"

        def start() -> None:
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

        benchmark.pedantic(start, rounds=5, iterations=1, warmup_rounds=1)
