"""Bounds under depth and shortfall costs: enumeration, and never above any policy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.bounds.clairvoyant_bound import clairvoyant, hindsight
from agents.dynamic_programming.policies import dp
from agents.policy import Lots, Observations, Policy, read_observations
from agents.rollouts.allocation import DAYS_PER_CHUNK, play
from agents.rules import rules
from execution_env import Days, DayStream, Scenario
from execution_env.allocation.market.day_stream import VALIDATION
from tests.allocation.markets import shortfall, with_day_effects
from tests.allocation.strategies import markets_drawn
from tests.planners.whatever import Whatever

TINY = {
    "order__size": 400,
    "order__buckets": 3,
    "volume__total": 3000,
    "envelope__band": 0.1,
    "participation": {"max_posted": 300},
}

FILLED = [
    {"name": "Sweep", "cost": 2.0, "fill_probability": 1.0, "depth": 0.3},
    {
        "name": "Neutral",
        "cost": 0.5,
        "fill_probability": 0.6,
        "depth": 0.05,
        "depth_sd": 1.0,
        "liquidity_loading": 0.5,
    },
    {"name": "Rate", "cost": 0.2, "fill_rate": 0.3, "bucket_sd": 0.5, "day_sd": 0.5},
]


class Fixed(Policy):
    """The lots of order e in bucket b, whatever comes, where they may be posted."""

    def __init__(self, scenario: Scenario, lots: Lots) -> None:
        super().__init__(scenario, "fixed")
        self.lots = lots

    def decide(self, observations: Observations) -> Lots:
        seen = read_observations(self.scenario, observations)
        wanted = self.lots[seen.bucket[0]]
        return np.where(wanted.sum(axis=1) <= seen.postable, wanted.T, 0).T


def least_by_trying_everything(scenario: Scenario, days: Days, day: int) -> float:
    """Play every sequence of allocations, side by side."""
    n, k = scenario.lots, len(scenario.algos)
    each = [x for x in itertools.product(range(n + 1), repeat=k) if sum(x) <= n]
    every = np.array(list(itertools.product(each, repeat=scenario.buckets))).transpose(1, 0, 2)
    least = np.inf
    for first in range(0, every.shape[1], DAYS_PER_CHUNK):
        some = every[:, first : first + DAYS_PER_CHUNK]
        same = days.pick(np.full(some.shape[1], day))
        least = min(least, play(Fixed(scenario, some), scenario, same).objective.min())
    return least


class TestHindsight:
    @settings(max_examples=40)
    @given(markets_drawn(max_buckets=3, max_lots=3, max_algos=2), st.integers(0, 1000))
    @example(shortfall(**TINY, algos__Passive__depth=0.3), 1)
    def test_is_the_best_of_all_allocations(self, scenario: Scenario, seed: int) -> None:
        days = DayStream(scenario, seed, VALIDATION).draw(2)
        found = hindsight(scenario, days)
        window = scenario.participation.window if scenario.participation else None
        for day in range(2):
            least = least_by_trying_everything(scenario, days, day)
            if window is None or window == 1 or window >= scenario.buckets:
                assert found[day] == pytest.approx(least, abs=1e-9)
            else:
                assert found[day] <= least + 1e-9

    @settings(max_examples=40)
    @given(markets_drawn(max_lots=60), st.integers(0, 1000))
    @example(shortfall(), 0)
    @example(with_day_effects(), 0)
    def test_no_policy_gets_below_it_on_any_day(self, scenario: Scenario, seed: int) -> None:
        days = DayStream(scenario, seed, VALIDATION).draw(20)
        least = hindsight(scenario, days)
        for policy in (Whatever(scenario, seed), Whatever(scenario, seed + 1)):
            assert (least <= play(policy, scenario, days).objective + 1e-9).all()

    def test_days_have_prices_of_their_own(self) -> None:
        """As on replayed days: spreads and touches that differ, a day effect that nobody knows."""
        scenario = shortfall(**TINY)
        days = DayStream(scenario, 5, VALIDATION).draw(3)
        generator = np.random.default_rng(0)
        days.spread[...] *= generator.uniform(0.5, 2.0, days.spread.shape)
        days.touch[...] *= generator.uniform(0.5, 2.0, days.touch.shape)
        days.day_effect[...] = np.nan
        found = hindsight(scenario, days)
        for day in range(3):
            least = least_by_trying_everything(scenario, days, day)
            assert found[day] == pytest.approx(least, abs=1e-9)


class TestClairvoyant:
    @pytest.mark.parametrize(
        "scenario",
        [
            pytest.param(shortfall(), id="shortfall", marks=pytest.mark.slow),
            pytest.param(with_day_effects(), id="day effects", marks=pytest.mark.slow),
            pytest.param(
                with_day_effects(liquidity__persistence=0.8, price__sd=20.0), id="persistence"
            ),
            pytest.param(
                shortfall(price__liquidity_correlation=1.0, price__sd=20.0),
                id="correlation 1",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                shortfall(costs__basis="filled", price=None, algos=FILLED),
                id="filled",
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_lies_between_hindsight_and_what_policies_achieve(
        self, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agents.dynamic_programming.policies.WORK", 5e7)
        days = DayStream(scenario, 0, VALIDATION).draw(2000)
        least, between = hindsight(scenario, days), clairvoyant(scenario, days, 32)
        gap = between - least
        assert gap.mean() > 3 * gap.std() / np.sqrt(gap.size)
        for make in (dp, rules(scenario)["random"], rules(scenario)["all-neutral"]):
            gap = play(make(scenario), scenario, days).objective - between
            assert gap.mean() > 3 * gap.std() / np.sqrt(gap.size)

    def test_is_worth_what_dp_is_where_nothing_is_common_or_hidden(self) -> None:
        scenario = shortfall(liquidity__sd=0.0, volume__sd=0.0)
        days = DayStream(scenario, 0, VALIDATION).draw(200)
        found = clairvoyant(scenario, days, 256)
        assert found.std() < 0.1
        assert found.mean() == pytest.approx(dp(scenario).value, abs=0.1)

    @settings(max_examples=40)
    @given(markets_drawn(max_buckets=5, max_lots=30, max_algos=3), st.integers(0, 1000))
    def test_in_expectation_in_any_market(self, scenario: Scenario, seed: int) -> None:
        days = DayStream(scenario, seed, VALIDATION).draw(300)
        between = clairvoyant(scenario, days, 16)
        below = hindsight(scenario, days) - between
        above = between - play(rules(scenario)["random"](scenario), scenario, days).objective
        for gap in (below, above):
            noise = 5 * gap.std() / np.sqrt(gap.size)
            assert gap.mean() <= noise + 0.01 * np.abs(between).mean() + 1e-3

    def test_there_is_none_on_replayed_days(self) -> None:
        scenario = shortfall()
        days = DayStream(scenario, 0, VALIDATION).draw(2)
        days.day_effect[...] = np.nan
        with pytest.raises(ValueError, match="nobody does of replayed days; hindsight bounds"):
            clairvoyant(scenario, days)
        assert np.isfinite(hindsight(scenario, days)).all()

    @settings(max_examples=30)
    @given(markets_drawn(max_buckets=5, max_lots=30, max_algos=3), st.integers(0, 1000))
    def test_exists_in_any_market(self, scenario: Scenario, seed: int) -> None:
        days = DayStream(scenario, seed, VALIDATION).draw(5)
        assert np.isfinite(clairvoyant(scenario, days, 4)).all()
