"""Dynamic programming under depth and shortfall costs: closed forms, enumeration, what it achieves."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents.dynamic_programming.backward_induction import Draws, filled_prices, solve
from agents.dynamic_programming.laws import laws
from agents.dynamic_programming.policies import dp, dp_adaptive, dp_fine
from agents.dynamic_programming.problem import pose, same_cells
from agents.policy import Lots, Observations, Policy, grid_lots, read_observations
from agents.rollouts.allocation import play
from execution_env import Days, DayStream, Scenario
from execution_env.allocation.adverse_selection import adverse_selection, moves_with_factor
from execution_env.allocation.depth import expected_fill
from execution_env.allocation.market.day_stream import VALIDATION
from execution_env.allocation.parameters import parameters
from tests.allocation.markets import shortfall, with_day_effects
from tests.allocation.strategies import markets_drawn

ONE: dict[str, Any] = {
    "order__size": 1200,
    "order__buckets": 1,
    "envelope__band": 1.0,
    "volume__total": 4000,
    "penalties__residual_quadratic": 0.0,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.dynamic_programming.policies.WORK", 1e8)


class Table(Policy):
    """Grid actions (B, n + 1) by bucket and remaining lots."""

    def __init__(self, scenario: Scenario, actions: NDArray[np.int64]) -> None:
        super().__init__(scenario, "table")
        self.actions = actions

    def decide(self, observations: Observations) -> Lots:
        seen = read_observations(self.scenario, observations)
        actions = self.actions[seen.bucket, seen.remaining]
        return grid_lots(self.scenario, actions, seen.postable.astype(np.int32))


def all_pairs(days: Days) -> Days:
    """Bucket 0 of every day followed by bucket 1 of every day; moves about their mean."""
    first, then = np.divmod(np.arange(days.size**2), days.size)
    pairs = days.pick(first)
    for mine, theirs in zip(pairs, days, strict=True):
        if len(mine) == 2:
            mine[1] = theirs[1][..., then]
    pairs.move[...] -= days.move.mean(axis=1, keepdims=True)
    return pairs


@pytest.mark.parametrize("penalty", [2.0, 12.0])
def test_one_bucket_posts_where_filling_costs_less_than_the_clean_up(penalty: float) -> None:
    none = {f"algos__{name}__fill_probability": 0.0 for name in ("Neutral", "Passive")}
    scenario = shortfall(
        **ONE, **none, price__liquidity_correlation=0.0, penalties__residual=penalty
    )
    n, x = scenario.lots, float(scenario.lots)
    fill = expected_fill(
        x, scenario.fill_probability[0, 0], scenario.depth_location[0, 0], scenario.depth_sd[0]
    )
    expected = min(penalty, (3.8 * fill + penalty * (n - fill)) / n)
    assert dp(scenario).value == pytest.approx(expected, abs=0.05)


def test_is_the_best_of_all_rules_by_enumeration() -> None:
    """Every map from (bucket, remaining) to an action, played on all pairs of draws."""
    scenario = shortfall(
        order__size=300,
        order__buckets=2,
        volume__expected=[3000.0, 1500.0],
        volume__total=None,
        actions__resolution=1,
        price__sd=[8.0, 20.0],
        liquidity__persistence=0.5,
        envelope__band=0.1,
    )
    days = DayStream(scenario, 3, VALIDATION).draw(9)
    pairs = all_pairs(days)
    best = np.inf
    for first, *then in itertools.product(range(scenario.grid_size), repeat=4):
        table = np.array([[first] * 4, [0, *then]])
        best = min(best, play(Table(scenario, table), scenario, pairs).objective.mean())
    days.move[...] -= days.move.mean(axis=1, keepdims=True)
    price = filled_prices(parameters(scenario), days)
    draws = Draws(days.fill_rate, days.rounding, days.depth, same_cells(scenario), price)
    assert solve(pose(scenario), draws).values[0, -1] == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("make", [dp, dp_fine])
def test_achieves_what_it_computed_where_buckets_are_independent(make: Any) -> None:
    scenario = shortfall(volume__persistence=0.0)
    policy = make(scenario)
    days = DayStream(scenario, 0, VALIDATION).draw(40_000)
    objective = play(policy, scenario, days).objective
    noise = objective.std() / np.sqrt(objective.size)
    # The computed value has the noise of its own draws.
    assert objective.mean() == pytest.approx(policy.value, abs=4 * noise + 0.05)


def test_sees_adverse_selection() -> None:
    """Planned without it, the same market is worse."""
    scenario = shortfall(volume__persistence=0.0, price__sd=20.0)
    blind = dp(shortfall(volume__persistence=0.0, price__sd=20.0, price__liquidity_correlation=0.0))
    days = DayStream(scenario, 1, VALIDATION).draw(20_000)
    lost = play(blind, scenario, days).objective - play(dp(scenario), scenario, days).objective
    assert lost.mean() > 4 * lost.std() / np.sqrt(lost.size)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, [0, 0, 0]),
        ({"price__sd": [8.0, 8.0, 9.0]}, [0, 0, 2]),
        ({"liquidity__persistence": 0.5}, [0, 1, 1]),
        ({"liquidity__persistence": 0.5, "price": None}, [0, 0, 0]),
        ({"algos__Passive__depth": [0.1, 0.2, 0.1]}, [0, 1, 0]),
        ({"algos__Passive__fill_probability": [0.1, 0.2, 0.1]}, [0, 1, 0]),
        ({"algos__Passive__half_spread": [-3.0, -3.0, 1.0]}, [0, 0, 2]),
        ({"volume__expected": [1e4, 2e4, 1e4], "volume__total": None}, [0, 1, 0]),
    ],
)
def test_buckets_alike_share_their_draws(overrides: dict[str, Any], expected: list[int]) -> None:
    scenario = shortfall(order__buckets=3, **overrides)
    assert same_cells(scenario).tolist() == expected


def test_day_effects_are_part_of_a_bucket_s_noise() -> None:
    scenario = with_day_effects()
    days = DayStream(scenario, 0, VALIDATION).draw(2000)
    assert play(dp(scenario), scenario, days).objective.mean() < 5.0


@settings(max_examples=12)
@given(markets_drawn(max_buckets=6, max_lots=40, max_algos=3), st.integers(0, 100))
def test_decides_in_any_market(scenario: Scenario, seed: int) -> None:
    days = DayStream(scenario, seed, VALIDATION).draw(10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.dynamic_programming.policies.WORK", 1e6)
        patch.setattr("agents.dynamic_programming.policies.ADAPTIVE_WORK", 1e7)
        for make in (dp, dp_adaptive):
            policy = make(scenario, seed)
            assert np.isfinite(policy.value)
            assert np.isfinite(play(policy, scenario, days).objective).all()


class TestAdaptive:
    def test_laws_fill_what_is_estimated_and_know_what_it_says_of_the_mid(self) -> None:
        scenario = with_day_effects(liquidity__persistence=0.6)
        buckets, grids = np.array([0, 3]), [np.ones(1), np.array([0.5, 1.0]), np.array([0.7, 1.0])]
        found = laws(scenario, buckets, grids)
        x = float(scenario.reference_lots)
        fills = np.minimum(x * found.rates, found.limits)
        moves = moves_with_factor(scenario)[buckets, None] * found.tied[:, None]
        for i, grid in enumerate(grids):
            mine = fills[i, : grid.size]
            wanted = grid[:, None] * scenario.predictions[buckets, i] * x
            assert mine.mean(axis=2) == pytest.approx(wanted, rel=0.03)
            one = mine[list(grid).index(1.0)]
            adverse = -(one * moves[i]).mean(axis=1) / one.mean(axis=1)
            right = adverse_selection(scenario)[buckets, i]
            assert adverse == pytest.approx(right, rel=0.08, abs=0.02)  # basis points

    def test_rates_are_tied_to_the_mid_too(self) -> None:
        rate = {"name": "Rate", "half_spread": 1.0, "fill_rate": 0.4, "bucket_sd": 0.5}
        scenario = shortfall(algos=[rate | {"liquidity_loading": 0.8, "day_sd": 0.3}])
        found, buckets = laws(scenario, np.array([0]), [np.ones(1)]), np.array([0])
        fills = found.rates[0, 0].astype(np.float64)
        moves = moves_with_factor(scenario)[0] * found.tied[0]
        adverse = -(fills * moves).mean() / fills.mean()
        assert adverse == pytest.approx(adverse_selection(scenario)[buckets, 0][0], rel=0.03)

    def test_learns_how_deep_the_day_is(self) -> None:
        scenario = shortfall(algos__Neutral__day_sd=1.5, algos__Passive__day_sd=2.0)
        days = DayStream(scenario, 0, VALIDATION).draw(10_000)
        adaptive = dp_adaptive(scenario)
        gain = play(dp(scenario), scenario, days).objective
        gain -= play(adaptive, scenario, days).objective
        assert gain.mean() > 2.5 * gain.std() / np.sqrt(gain.size)

    def test_is_dp_where_estimates_say_nothing_about_depth(self) -> None:
        scenario = shortfall()
        assert type(dp_adaptive(scenario)) is type(dp(scenario))
