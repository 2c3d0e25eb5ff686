"""A few days of a scenario, the columns of a comparison, and errors of comparing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agents.evaluation import compare
from agents.evaluation.tables import Row
from execution_env import load_scenario

BASELINE = load_scenario("baseline")
DEARER = load_scenario("baseline", {"name": "dearer", "penalties.envelope": 1.0})
SEEDS = range(1_000_000, 1_000_012)
CONTRACT = re.findall(
    r"\w+",
    "policy, scenario, episodes, objective_mean, objective_ci_low, objective_ci_high, objective_sd, "
    "objective_cvar95, posting_cost_mean, envelope_penalty_mean, residual_penalty_mean, "
    "completion_rate, residual_fraction_mean, behind_rate, ahead_rate, fill_ratio, "
    "participation_mean, diff_vs_lp_mean, diff_vs_lp_ci_low, diff_vs_lp_ci_high, win_rate_vs_lp, "
    "gap_to_clairvoyant, gap_to_hindsight, train_seconds, train_steps, decision_us",
)


def by_name(rows: list[Row]) -> dict[Any, Any]:
    return {row["policy"]: row for row in rows}


def refused(given: Any, *words: str, seeds: Any = range(3)) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the words are what is tested
        compare(given, BASELINE, seeds)
    for word in words:
        assert word in str(error.value)
