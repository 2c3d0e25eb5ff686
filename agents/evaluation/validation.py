"""Validation days: the days that learning curves are measured on."""

from __future__ import annotations

from execution_env import Days, DayStream, Scenario
from execution_env.allocation.market.day_stream import VALIDATION
from execution_env.allocation.market.days_file import replayed

VALIDATION_DAYS = 2048
"""Days that the learning curve is measured on, the same in every run."""


def validation_days(scenario: Scenario) -> Days:
    """The days that the learning curves of a scenario are measured on: of one that replays days, those
    that it trains on, for there are no others.
    """
    if scenario.replay is not None:
        return replayed(scenario, scenario.replay.train)
    return DayStream(scenario, 0, VALIDATION).draw(VALIDATION_DAYS)


def validated_on(scenario: Scenario) -> str:
    """What those days are, in words."""
    if scenario.replay is None:
        return f"{VALIDATION_DAYS:,} validation days"
    return f"the {validation_days(scenario).size:,} replayed days that it was trained on"
