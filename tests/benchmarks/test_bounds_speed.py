"""How long bounds and dynamic programming take; README.md beside this file has a table.

    python -m pytest tests/benchmarks/test_bounds_speed.py --benchmark-enable --benchmark-only

One process, one core. Bounds are measured on 1,000 days; 10,000 take ten times as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.bounds.clairvoyant_bound import clairvoyant, hindsight
from agents.dynamic_programming.policies import dp, dp_adaptive, dp_fine
from agents.policy import Lots, Observations, Policy
from agents.rollouts.allocation import play
from execution_env import load_scenario, numbered_days

Benchmark = Any
DAYS = 1000
SCENARIOS = ["baseline", "textbook", "five-algos"]


def measure(benchmark: Benchmark, function: Any, *arguments: Any) -> Any:
    rounds = 0 if benchmark.disabled else 1
    return benchmark.pedantic(function, arguments, rounds=3, iterations=1, warmup_rounds=rounds)


@pytest.mark.parametrize("name", SCENARIOS)
class TestBounds:
    @pytest.mark.parametrize("bound", [hindsight, clairvoyant])
    def test_of_days(self, benchmark: Benchmark, name: str, bound: Any) -> None:
        benchmark.group = f"bounds of {DAYS} days, {name}"
        scenario = load_scenario(name)
        days = numbered_days(scenario, range(100 if benchmark.disabled else DAYS))
        measure(benchmark, bound, scenario, days)
        if benchmark.stats is not None:
            seconds = benchmark.stats["median"]
            benchmark.extra_info["seconds_per_10000_days"] = round(10_000 * seconds / DAYS, 2)


class TestDynamicProgramming:
    @pytest.mark.parametrize("make", [dp, dp_fine, dp_adaptive])
    def test_solving(self, benchmark: Benchmark, make: Any) -> None:
        benchmark.group = "dynamic programming, solving baseline"
        measure(benchmark, make, load_scenario("baseline"))


class Fixed(Policy):
    """Always the same lots: what playing costs without deciding."""

    def decide(self, observations: Observations) -> Lots:
        return np.ones((len(observations), len(self.scenario.algos)), np.int64)


class TestDeciding:
    @pytest.mark.parametrize("make", [lambda s: Fixed(s, "fixed"), dp, dp_adaptive])
    def test_playing_1000_days(self, benchmark: Benchmark, make: Any) -> None:
        benchmark.group = "1,000 days of baseline, decisions included"
        scenario = load_scenario("baseline")
        days = numbered_days(scenario, range(DAYS))
        measure(benchmark, play, make(scenario), scenario, days)
