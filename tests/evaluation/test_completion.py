"""Whether orders are completed where the clean-up is priced as the calibration prices it."""

from __future__ import annotations

import pytest

from agents.evaluation import compare
from execution_env import load_scenario
from execution_env.allocation.scenario_file import scenario_to_dict
from tests.evaluation.comparing import by_name

TOUCH = 0.976
"""Mean touch at an order's end on IBM, basis points: less than what crossing pays over the day."""

PRICED = 1.727
"""Price of a share left over that the same data give to a marketable order."""


def completed(residual: float) -> float:
    """Share of orders that ``dp`` completes on ``ibm-2013`` with nothing but Aggressive."""
    content = scenario_to_dict(load_scenario("ibm-2013"))
    content["algos"] = content["algos"][:1]
    content["penalties"]["residual"] = residual
    found = compare(["dp"], content, range(300), bounded=False, keep_rollouts=False)
    return float(by_name(found.rows)["dp"]["completion_rate"])


@pytest.mark.slow
def test_dp_completes_its_orders_unless_leaving_is_cheaper_than_crossing() -> None:
    assert completed(TOUCH) == 0.0
    assert completed(PRICED) > 0.7
