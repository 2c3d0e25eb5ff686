from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.bounds import clairvoyant_bound as bounds
from agents.bounds.clairvoyant_bound import clairvoyant, hindsight
from agents.dynamic_programming.conditional_induction import stratified_normals
from agents.dynamic_programming.policies import dp
from agents.policy import grid_lots
from agents.rollouts.allocation import play
from execution_env import Days, DayStream, Scenario, load_scenario, numbered_days, scenarios
from execution_env.allocation.market.day_stream import VALIDATION
from execution_env.allocation.scenario_file import scenario_from_dict
from tests.allocation.reference import ReferenceOrder
from tests.allocation.strategies import scenario_dicts, scenarios_drawn
from tests.planners.whatever import Whatever

TINY = {
    "name": "tiny",
    "order": {"size": 5, "lot_size": 1, "buckets": 3},
    "algos": [
        {"name": "a", "cost": 2.0, "fill_rate": 0.9, "bucket_sd": 0.3, "day_sd": 0.3},
        {"name": "b", "cost": 0.5, "fill_rate": 0.4, "bucket_sd": 1.0, "day_sd": 0.5},
    ],
    "volume": {"expected": "flat", "total": 15.0, "sd": 0.4},
    "participation": {"max_rate": 0.5},
    "envelope": {"kind": "vwap", "band": 0.1, "track_volume": True, "upper_mode": "hard"},
    "penalties": {"envelope": 3.0, "residual": 6.0, "residual_quadratic": 1.0},
}


def least_by_trying_everything(order: ReferenceOrder) -> float:
    if order.b == order.scenario.buckets:
        return 0.0
    most = order.postable()
    best = np.inf
    for posted in itertools.product(range(most + 1), repeat=len(order.scenario.algos)):
        if sum(posted) > most:
            continue
        following = copy.copy(order)
        following.fills = list(order.fills)
        following.S, following.T, following.m = order.S.copy(), order.T.copy(), order.m.copy()
        costs = following.step(np.array(posted))
        cost = costs["posting_cost"] + costs["envelope_penalty"] + costs["residual_penalty"]
        best = min(best, cost + least_by_trying_everything(following))
    return best


class TestHindsight:
    @settings(max_examples=40)
    @given(
        scenarios_drawn(max_buckets=3, max_lots=4, max_algos=2),
        st.integers(0, 1000),
    )
    @example(scenario_from_dict(TINY), 1)
    def test_is_the_best_of_all_allocations(self, scenario: Scenario, seed: int) -> None:
        days = DayStream(scenario, seed, VALIDATION).draw(2)
        found = hindsight(scenario, days)
        window = scenario.participation.window if scenario.participation else None
        for day in range(2):
            least = least_by_trying_everything(ReferenceOrder(scenario, days, day))
            if window is None or window == 1 or window >= scenario.buckets:
                assert found[day] == pytest.approx(least, abs=1e-9)
            else:
                assert found[day] <= least + 1e-9

    @settings(max_examples=40)
    @given(scenarios_drawn(max_lots=60), st.integers(0, 1000))
    def test_no_policy_gets_below_it_on_any_day(self, scenario: Scenario, seed: int) -> None:
        days = DayStream(scenario, seed, VALIDATION).draw(20)
        least = hindsight(scenario, days)
        for policy in (Whatever(scenario, seed), Whatever(scenario, seed + 1)):
            assert (least <= play(policy, scenario, days).objective + 1e-9).all()

    @pytest.mark.parametrize("name", scenarios())
    def test_dp_does_not_get_below_it_either(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agents.dynamic_programming.policies.WORK", 1e7)
        scenario = load_scenario(name)
        days = numbered_days(scenario, range(200))
        least = hindsight(scenario, days)
        assert (least <= play(dp(scenario), scenario, days).objective + 1e-9).all()

    def test_an_algo_with_a_limited_depth_fills_no_more_than_that(self) -> None:
        scenario = scenario_from_dict(
            TINY
            | {
                "algos": [{"name": "a", "cost": 1.0, "fill_rate": 1.0}],
                "participation": {},
                "envelope": {},
            }
        )
        days = numbered_days(scenario, [1])
        assert hindsight(scenario, days) == pytest.approx(1.0)
        days.depth[:] = 1
        assert hindsight(scenario, days) == pytest.approx((3 * 1 + 2 * 6 + 1 * 2 * 2 / 5) / 5)

    def test_reports_every_day_once(self) -> None:
        scenario = load_scenario("two-algos")
        seen: list[int] = []
        days = numbered_days(scenario, range(600))
        all_at_once = hindsight(scenario, days, seen.append)
        assert sum(seen) == 600
        assert len(seen) > 1
        alone = hindsight(scenario, numbered_days(scenario, [599]))
        assert alone == all_at_once[599:]
        assert hindsight(scenario, Days.empty(10, 2, 0)).shape == (0,)

    def test_says_what_to_do_about_too_many_lots(self) -> None:
        scenario = scenario_from_dict(
            TINY | {"order": {"size": 5000, "lot_size": 1, "buckets": 3}, "participation": {}}
        )
        with pytest.raises(
            ValueError, match=r"5,000 may be posted; choose a larger order\.lot_size"
        ):
            hindsight(scenario, numbered_days(scenario, [0]))


def least_expected(order: ReferenceOrder, known: dict[tuple[int, int], float]) -> float:
    """Of all rules on the action grid, fill rates and volumes being known, rounding being not."""
    if order.b == order.scenario.buckets:
        return 0.0
    state = (order.b, order.remaining)
    if state not in known:
        scenario, bucket = order.scenario, order.b
        actions = np.arange(scenario.grid_size)
        postable = np.full(actions.size, order.postable(), np.int32)
        known[state] = np.inf
        for posted in np.unique(grid_lots(scenario, actions, postable), axis=0):
            up = posted * order.rates[bucket] % 1.0
            expected = 0.0
            for rounded_up in itertools.product([False, True], repeat=posted.size):
                chance = np.where(rounded_up, up, 1.0 - up).prod()
                if chance == 0:
                    continue
                following = copy.copy(order)
                following.fills = list(order.fills)
                following.S, following.T, following.m = (
                    order.S.copy(),
                    order.T.copy(),
                    order.m.copy(),
                )
                following.rounding = np.broadcast_to(
                    np.where(rounded_up, 1.0 - 1e-9, 0.0), order.rates.shape
                )
                costs = following.step(posted)
                cost = costs["posting_cost"] + costs["envelope_penalty"] + costs["residual_penalty"]
                expected += chance * (cost + least_expected(following, known))
            known[state] = min(known[state], expected)
    return known[state]


class TestClairvoyant:
    @settings(max_examples=30)
    @given(scenario_dicts(max_buckets=3, max_lots=6, max_algos=2), st.integers(0, 1000))
    @example(TINY, 1)
    def test_is_the_best_rule_given_the_fill_rates(
        self, content: dict[str, Any], seed: int
    ) -> None:
        limits = content.get("participation", {})
        if 1 < limits.get("window", 1) < content["order"]["buckets"]:
            limits["window"] = 1
        content["algos"] = [algo | {"bucket_sd": 0.0} for algo in content["algos"]]
        content["actions"] = {"resolution": 3}
        scenario = scenario_from_dict(content)
        days = DayStream(scenario, seed, VALIDATION).draw(2)
        found = clairvoyant(scenario, days, draws=1)
        for day in range(2):
            least = least_expected(ReferenceOrder(scenario, days, day), {})
            assert found[day] == pytest.approx(least, abs=1e-5)

    @pytest.mark.parametrize("name", ["baseline", "two-algos", "vwap-u-shape"])
    def test_lies_between_hindsight_and_dp(self, name: str) -> None:
        scenario = load_scenario(name)
        days = DayStream(scenario, 0, VALIDATION).draw(1000)
        least, between = hindsight(scenario, days).mean(), clairvoyant(scenario, days).mean()
        assert least < between < play(dp(scenario), scenario, days).objective.mean()

    def test_where_nothing_is_hidden_it_is_worth_what_dp_is_and_errs_below(self) -> None:
        scenario = load_scenario("known-rates")
        days = DayStream(scenario, 0, VALIDATION).draw(200)
        found = [clairvoyant(scenario, days, draws).mean() for draws in (4, 16, 64, 256)]
        assert found == sorted(found)
        assert found[-1] == pytest.approx(dp(scenario).value, abs=0.005)

    def test_more_lots_than_levels_are_close_to_as_many(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scenario = load_scenario("two-algos")
        scenario = replace(scenario, order=replace(scenario.order, lot_size=25))
        days = numbered_days(scenario, range(50))
        exact = clairvoyant(scenario, days)
        monkeypatch.setattr(bounds, "SOLVED_LEVELS", 150)  # so 100 levels of 4 lots
        assert clairvoyant(scenario, days) == pytest.approx(exact, abs=0.002)

    def test_samples_noise_without_bias(self) -> None:
        uniforms = np.random.default_rng(0).random((4000, 8))
        normals = stratified_normals(uniforms)
        assert (np.diff(normals, axis=1) > 0).all()
        assert normals.mean() == pytest.approx(0.0, abs=0.01)
        assert normals.var() == pytest.approx(1.0, abs=0.02)

    def test_another_seed_draws_other_noise_for_the_same_days(self) -> None:
        scenario = load_scenario("two-algos")
        days = numbered_days(scenario, range(3))
        found = clairvoyant(scenario, days)
        assert (clairvoyant(scenario, days) == found).all()
        assert (clairvoyant(scenario, days, seed=1) != found).any()

    def test_reports_every_day_once(self) -> None:
        scenario = load_scenario("two-algos")
        seen: list[int] = []
        clairvoyant(scenario, numbered_days(scenario, range(600)), 1, 0, seen.append)
        assert sum(seen) == 600
        assert len(seen) > 1

    def test_refuses_no_draws(self) -> None:
        scenario = load_scenario("two-algos")
        with pytest.raises(ValueError, match="draws = 0: must be at least 1"):
            clairvoyant(scenario, numbered_days(scenario, [0]), draws=0)
