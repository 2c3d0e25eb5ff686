"""Validation days: the days that learning curves are measured on."""

from __future__ import annotations

from execution_env import Days, DayStream, Scenario
from execution_env.allocation.market.day_stream import VALIDATION
from execution_env.allocation.market.days_file import replayed

VALIDATION_DAYS = 2048
"""Number of days that the learning curve is measured on. Every run uses the same days."""


def validation_days(scenario: Scenario) -> Days:
    """Return the days that the learning curves of a scenario are measured on.

    A scenario that replays days uses those that it trains on, because it has no others.
    """
    if scenario.replay is not None:
        return replayed(scenario, scenario.replay.train)
    return DayStream(scenario, 0, VALIDATION).draw(VALIDATION_DAYS)


def validated_on(scenario: Scenario) -> str:
    """Return a description of the validation days."""
    if scenario.replay is None:
        return f"{VALIDATION_DAYS:,} validation days"
    return f"the {validation_days(scenario).size:,} replayed days that it was trained on"
