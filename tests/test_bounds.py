from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents import bounds
from agents.bounds import hindsight
from agents.dynamic_programming import dp
from agents.evaluation.rollouts import play
from agents.policy import Lots, Observations, Policy, read_observations
from execution_env import Days, DayStream, Scenario, load_scenario, numbered_days, scenarios
from execution_env.market import VALIDATION
from execution_env.scenario_file import scenario_from_dict
from tests.reference import ReferenceOrder
from tests.strategies import scenarios_drawn

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


class Whatever(Policy):
    """Lots at random, postable or (then scaled down) more than that."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        super().__init__(scenario, "whatever")
        self.generator = np.random.default_rng(seed)

    def decide(self, observations: Observations) -> Lots:
        n, k = len(observations), len(self.scenario.algos)
        most = read_observations(self.scenario, observations).postable
        shares = self.generator.dirichlet(np.full(k, 0.3), n)
        wanted = self.generator.choice([0.3, 1.0, 1.5], n) * most
        return np.minimum(np.rint(shares * wanted[:, None]), self.scenario.lots).astype(np.int64)


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
    @settings(max_examples=60)
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

    @settings(max_examples=60)
    @given(scenarios_drawn(max_lots=60), st.integers(0, 1000))
    def test_no_policy_gets_below_it_on_any_day(self, scenario: Scenario, seed: int) -> None:
        days = DayStream(scenario, seed, VALIDATION).draw(20)
        least = hindsight(scenario, days)
        for policy in (Whatever(scenario, seed), Whatever(scenario, seed + 1)):
            assert (least <= play(policy, scenario, days).objective + 1e-9).all()

    @pytest.mark.parametrize("name", scenarios())
    def test_dp_does_not_get_below_it_either(self, name: str) -> None:
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
        assert bounds.MOST_POSTED < 5000
