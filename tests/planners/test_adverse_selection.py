"""What filled shares cost because of when they fill: held against draws of the market."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from execution_env import DayStream, load_scenario
from execution_env.allocation.adverse_selection import (
    adverse_selection,
    filled_share_price,
    fills_and_moves,
)
from execution_env.allocation.market.day_stream import POLICY
from tests.allocation.markets import shortfall, with_day_effects

RATE = {"name": "Rate", "half_spread": 1.0, "fill_rate": 0.4, "bucket_sd": 0.5, "day_sd": 0.3}


def of_draws(scenario: Any, posted: float, count: int = 100_000) -> tuple[Any, Any, Any]:
    """Means of fills and of fills times moves, (B, K), and the error of the latter."""
    days = DayStream(scenario, 0, POLICY).draw(count)
    fills = np.minimum(posted * days.fill_rate.astype(np.float64), days.depth)
    moved = fills * days.move[:, None]
    return fills.mean(axis=2), moved.mean(axis=2), moved.std(axis=2) / np.sqrt(count)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"liquidity__persistence": 0.8},
        {"volume__sd": 0.0},
        {"price__liquidity_correlation": 1.0},
        {"liquidity__sd": 0.0},
        {"price__sd": [0.0, 1.0, 50.0, *[8.0] * 7]},
        {"algos__Passive__depth": [0.01, 0.02, *[0.3] * 8]},
        {"algos__Neutral__liquidity_loading": -0.7},
        {"algos__Aggressive__fill_probability": 1.0},
    ],
)
@pytest.mark.parametrize("posted", [3.0, 30.0])
def test_is_what_draws_of_the_market_say(overrides: dict[str, Any], posted: float) -> None:
    scenario = with_day_effects(**overrides)
    fills, moves = fills_and_moves(scenario, np.array([posted]))
    drawn, moved, error = of_draws(scenario, posted)
    assert fills[..., 0] == pytest.approx(drawn, rel=0.03)
    assert (np.abs(moves[..., 0] - moved) < 4.5 * error + 1e-9).all()


@pytest.mark.parametrize("persistence", [0.0, 0.8])
def test_where_a_rate_decides(persistence: float) -> None:
    content = [RATE | {"liquidity_loading": 0.8}, RATE | {"name": "Sure", "fill_rate": 1.0}]
    scenario = shortfall(liquidity__persistence=persistence, algos=content)
    fills, moves = fills_and_moves(scenario, np.array([10.0]))
    drawn, moved, error = of_draws(scenario, 10.0)
    assert fills[..., 0] == pytest.approx(drawn, rel=0.02)
    assert (np.abs(moves[..., 0] - moved) < 4.5 * error + 1e-9).all()
    assert adverse_selection(scenario)[:, 1] == pytest.approx(np.zeros(10), abs=1e-12)
    assert (adverse_selection(scenario)[:, 0] > 0.5).all()


def test_is_a_price_of_filled_shares() -> None:
    scenario = shortfall(algos__Neutral__fill_probability=0.0)
    found = adverse_selection(scenario)
    assert (found[:, 1] == 0.0).all()
    assert (found[:, 2] > found[:, 0]).all()
    assert filled_share_price(scenario) == pytest.approx(scenario.posting_costs + found)


def test_there_is_none_where_no_price_moves() -> None:
    assert (adverse_selection(shortfall(price=None)) == 0.0).all()
    baseline = load_scenario("baseline")
    assert (filled_share_price(baseline) == baseline.posting_costs).all()
