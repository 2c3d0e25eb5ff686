"""Fixed rules under depth and shortfall costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.planning.expected_fills import curves, expected_fills, lots_for
from agents.rollouts.allocation import play
from agents.rules import PassiveThenSweep, Twap, rules
from execution_env import DayStream, Scenario
from execution_env.allocation.depth import expected_fill
from execution_env.allocation.market.day_stream import VALIDATION
from tests.allocation.markets import shortfall
from tests.allocation.strategies import markets_drawn

FIRST = np.zeros(1, np.int64)


def start_of(scenario: Scenario) -> np.ndarray:
    return np.ascontiguousarray(scenario.predictions[:1])


@pytest.mark.parametrize("lots", [3, 6, 12, 30])
def test_expects_of_more_lots_what_the_law_of_depth_says(lots: int) -> None:
    scenario = shortfall()
    fills = np.empty((1, 3))
    expected_fills(curves(scenario), FIRST, start_of(scenario), np.array([lots]), fills)
    chance, location = scenario.fill_probability[0], scenario.depth_location[0]
    expected = [
        expected_fill(float(lots), chance[i], location[i], scenario.depth_sd[i]) for i in range(3)
    ]
    assert fills[0] == pytest.approx(expected)


@pytest.mark.parametrize("algo", [0, 1, 2])
@pytest.mark.parametrize("lots", [1, 4, 9, 25])
def test_lots_for_fills_is_the_inverse(algo: int, lots: int) -> None:
    scenario, found = shortfall(), np.empty(1)
    fills = np.empty((1, 3))
    expected_fills(curves(scenario), FIRST, start_of(scenario), np.array([lots]), fills)
    which = np.array([algo])
    lots_for(curves(scenario), FIRST, start_of(scenario), which, fills[:, algo].copy(), found)
    assert found[0] == pytest.approx(lots)


def test_the_cheapest_may_earn_the_spread() -> None:
    scenario = shortfall()
    days = DayStream(scenario, 0, VALIDATION).draw(200)
    posted = play(PassiveThenSweep(scenario), scenario, days).posted
    assert posted[0, 2].min() == scenario.lots
    assert posted[-1, 0].max() > 0  # the sweep


def test_twap_keeps_up_with_its_schedule() -> None:
    scenario = shortfall()
    days = DayStream(scenario, 0, VALIDATION).draw(2000)
    result = play(Twap(scenario), scenario, days)
    filled = result.filled.sum(axis=1).cumsum(axis=0).mean(axis=1)
    # Depth fills all or nothing, and who is ahead of the schedule stays there.
    ahead = filled - 3.0 * np.arange(1, 11)
    assert (ahead > -1.0).all()
    assert (ahead < 5.0).all()
    assert result.residual.mean() < 0.05


@settings(max_examples=20)
@given(markets_drawn(max_buckets=8, max_lots=60), st.integers(0, 100))
def test_play_in_any_market(scenario: Scenario, seed: int) -> None:
    days = DayStream(scenario, seed, VALIDATION).draw(10)
    for make in rules(scenario).values():
        assert np.isfinite(play(make(scenario), scenario, days).objective).all()
