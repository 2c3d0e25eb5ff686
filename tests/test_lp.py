"""The linear programme: known answers, an independent solver, prices, rounding, reproducibility."""

from __future__ import annotations

import pytest

from agents.lp import LinearProgramme
from execution_env import OrderAllocationEnv, load_scenario


def first_observation(scenario):
    env = OrderAllocationEnv(scenario, observation="full", action="lots")
    return env.reset(seed=0)[0]


@pytest.mark.parametrize(
    ("costs", "at_most_remaining", "expected"),
    [
        (None, True, 12618.243),
        ([3, 1, 0], True, 18900.338),
        (None, False, 11284.910),
        ([3, 1, 0], False, 16900.338),
    ],
)
def test_known_answers(costs, at_most_remaining, expected):
    scenario = load_scenario("textbook")
    policy = LinearProgramme(scenario, at_most_remaining=at_most_remaining)
    plan = policy.plan(first_observation(scenario), costs)
    assert plan.status == "Optimal"
    assert scenario.order.size * plan.expected_cost == pytest.approx(expected, abs=6e-4)
