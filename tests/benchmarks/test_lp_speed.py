"""How fast the linear programme decides, against the same programme through SciPy in the same run.

    python -m pytest tests/benchmarks/test_lp_speed.py --benchmark-enable --benchmark-only

Asked for: one decision (``predict`` of one observation) in at most 150 microseconds, the median over the
buckets of an episode of `baseline`; and in at most an eighth of the time of ``scipy.optimize.linprog``,
whose arguments are built outside the clock. ``us_per_decision`` in the extra info is that median.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from agents.lp.variants import lp, lp_scenario
from execution_env import load_scenario
from tests.planners.reference_lp import Reference, observations_of

DAYS = 8
Benchmark = Any


def episodes() -> np.ndarray:
    """(80, 11) observations, day by day."""
    observations = observations_of("baseline", DAYS)
    return observations.reshape(10, DAYS, -1).swapaxes(0, 1).reshape(10 * DAYS, -1)


def measure(benchmark: Benchmark, functions: list[Callable[[], object]], rounds: int) -> None:
    """Every round calls the next function."""
    following = cycle(functions)

    def one() -> None:
        next(following)()

    benchmark.pedantic(one, rounds=rounds, warmup_rounds=len(functions))
    if benchmark.stats is not None:
        benchmark.extra_info["us_per_decision"] = round(1e6 * benchmark.stats["median"], 1)


@pytest.mark.parametrize("which", ["all buckets", "first bucket"])
class TestDecision:
    def observations(self, which: str) -> np.ndarray:
        return episodes() if which == "all buckets" else episodes()[::10]

    @pytest.mark.parametrize("factory", [lp, lp_scenario])
    def test_ours(self, benchmark: Benchmark, which: str, factory: Any) -> None:
        benchmark.group = f"one decision, {which}"
        policy = factory(load_scenario("baseline"))

        def deciding(observation: np.ndarray) -> Callable[[], object]:
            return lambda: policy.predict(observation)

        measure(benchmark, [deciding(row) for row in self.observations(which)], 4000)

    def test_scipy(self, benchmark: Benchmark, which: str) -> None:
        benchmark.group = f"one decision, {which}"
        scenario = load_scenario("baseline")

        def solving(observation: np.ndarray) -> Callable[[], object]:
            arguments = Reference(scenario, observation).arguments()
            arguments["options"] = {}
            return lambda: linprog(**arguments)

        measure(benchmark, [solving(row) for row in self.observations(which)], 800)
