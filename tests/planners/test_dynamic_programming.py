from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from quantecon.markov import DiscreteDP
from quantecon.markov import backward_induction as quantecon_backward_induction

from agents.dynamic_programming.backward_induction import Draws, solve
from agents.dynamic_programming.policies import (
    AdaptiveDynamicProgramming,
    DynamicProgramming,
    dp,
    dp_adaptive,
    dp_fine,
)
from agents.dynamic_programming.problem import levels_of, pose, same_cells
from agents.policy import Lots, Observations, Observed, Policy, grid_lots, read_observations
from agents.rollouts.allocation import play
from execution_env import Days, DayStream, Scenario, load_scenario, numbered_days
from execution_env.allocation.market.day_stream import VALIDATION
from execution_env.allocation.scenario_file import scenario_from_dict
from tests.allocation.reference import ReferenceOrder
from tests.allocation.strategies import scenarios_drawn

SMALL: dict[str, Any] = {
    "name": "small",
    "order": {"size": 7, "lot_size": 1, "buckets": 3},
    "algos": [
        {"name": "a", "cost": 2.0, "fill_rate": 0.9, "last_fill_rate": 1.0, "bucket_sd": 0.5},
        {"name": "b", "cost": 0.2, "fill_rate": 0.4, "bucket_sd": 1.0},
    ],
    "volume": {"expected": [10.0, 8.0, 12.0]},
    "participation": {"max_rate": 0.4},
    "envelope": {"kind": "twap", "band": 0.1},
    "penalties": {"envelope": 3.0, "residual": 6.0, "residual_quadratic": 1.0},
    "actions": {"resolution": 3},
}


def draws_from(days: Days, scenario: Scenario) -> Draws:
    return Draws(days.fill_rate, days.rounding, days.depth, np.arange(scenario.buckets))


def orders_of(scenario: Scenario, days: Days) -> list[ReferenceOrder]:
    """Orders in plain Python, one for every draw."""
    return [ReferenceOrder(scenario, days, draw) for draw in range(days.size)]


def moved(order: ReferenceOrder, bucket: int, remaining: int) -> ReferenceOrder:
    """The order before ``bucket`` with ``remaining`` lots."""
    other = copy.copy(order)
    other.b, other.remaining = bucket, remaining
    # All filled in the first bucket: caps look back to the start here, or not at all.
    other.fills = [order.n - remaining] + [0] * (bucket - 1) if bucket else []
    other.S, other.T, other.m = order.S.copy(), order.T.copy(), order.m.copy()
    return other


def kernel(
    scenario: Scenario, days: Days, bucket: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected reward (R, A) and transition (R, A, R') of a bucket by playing every draw."""
    n, actions = scenario.lots, np.arange(scenario.grid_size)
    orders = orders_of(scenario, days)
    reward = np.zeros((n + 1, actions.size))
    transition = np.zeros((n + 1, actions.size, n + 1))
    for remaining in range(n + 1):
        postable = moved(orders[0], bucket, remaining).postable()
        lots = grid_lots(scenario, actions, np.full(actions.size, postable, np.int32))
        for action, start in itertools.product(actions, orders):
            order = moved(start, bucket, remaining)
            info = order.step(lots[action])
            cost = info["posting_cost"] + info["envelope_penalty"] + info["residual_penalty"]
            reward[remaining, action] -= cost / days.size
            transition[remaining, action, order.remaining] += 1 / days.size
    return reward, transition


def quantecon_values(scenario: Scenario, days: Days) -> NDArray[np.float64]:
    """(B + 1, n + 1) values by QuantEcon's own backward induction; a state is (bucket, remaining)."""
    buckets, size = scenario.buckets, scenario.lots + 1
    reward = np.zeros((buckets * size + size, scenario.grid_size))
    transition = np.zeros((*reward.shape, len(reward)))
    transition[-size:, :, -1] = 1.0  # over
    for bucket in range(buckets):
        here, there = bucket * size, (bucket + 1) * size
        found = kernel(scenario, days, bucket)
        reward[here:there] = found[0]
        transition[here:there, :, there : there + size] = found[1]
    values, _ = quantecon_backward_induction(DiscreteDP(reward, transition, 1.0 - 1e-12), buckets)
    return -values[0].reshape(buckets + 1, size)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.dynamic_programming.policies.WORK", 1e8)


class TestSolve:
    @pytest.mark.parametrize("change", [
        {},
        {"costs": {"basis": "filled"}},
        {"envelope": {"kind": "twap", "band": 0.1, "upper_mode": "hard"}},
        {"participation": {"max_posted": 3}},
        {"participation": {"max_rate": 0.4, "window": 1}},
    ])  # fmt: skip
    def test_agrees_with_quantecon_on_transitions_played_in_plain_python(
        self, change: dict[str, Any]
    ) -> None:
        scenario = scenario_from_dict(SMALL | change)
        days = DayStream(scenario, 0, VALIDATION).draw(5)
        solution = solve(pose(scenario), draws_from(days, scenario))
        assert solution.values == pytest.approx(quantecon_values(scenario, days), abs=1e-9)

    def test_is_the_best_of_all_rules_by_enumeration(self) -> None:
        """Every map from (bucket, remaining) to an action, evaluated on its own."""
        content = SMALL | {"order": {"size": 2, "lot_size": 1, "buckets": 2}, "participation": {}}
        content |= {"actions": {"resolution": 1}, "volume": {"expected": "flat", "total": 1}}
        scenario = scenario_from_dict(content)
        days = DayStream(scenario, 3, VALIDATION).draw(11)
        kernels = [kernel(scenario, days, bucket) for bucket in range(2)]
        best, here = np.inf, np.arange(3)
        # All start with 2 lots, so one state in bucket 0 and three in bucket 1.
        for first, *then in itertools.product(range(3), repeat=4):
            last = -kernels[1][0][here, then]
            value = -kernels[0][0][2, first] + kernels[0][1][2, first] @ last
            best = min(best, value)
        solution = solve(pose(scenario), draws_from(days, scenario))
        assert solution.values[0, 2] == pytest.approx(best, abs=1e-12)

    def test_in_parts_it_finds_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scenario = load_scenario("textbook")
        days = DayStream(scenario, 0, VALIDATION).draw(50)
        draws = Draws(days.fill_rate, days.rounding, days.depth, same_cells(scenario))
        whole = solve(pose(scenario), draws)
        monkeypatch.setattr("agents.dynamic_programming.backward_induction.MEMORY", 1 << 15)
        parts = solve(pose(scenario), draws)
        assert (parts.actions == whole.actions).all()
        assert (parts.values == whole.values).all()

    def test_levels_between_lots_come_close(self) -> None:
        scenario = load_scenario("two-algos")
        scenario = replace(scenario, order=replace(scenario.order, lot_size=20))
        draws = draws_from(DayStream(scenario, 0, VALIDATION).draw(500), scenario)
        exact = solve(pose(scenario), draws)
        coarse = solve(pose(scenario, levels=100), draws)
        assert coarse.values[:, ::10] == pytest.approx(exact.values[:, ::50], abs=0.01)

    @pytest.mark.parametrize(("lots", "levels"), [(1, 1), (512, 512), (1000, 500), (10007, 512)])
    def test_prefers_levels_that_divide_the_lots(self, lots: int, levels: int) -> None:
        assert levels_of(lots) == levels


class TestDp:
    def test_achieves_what_it_computed_where_nothing_is_hidden(self) -> None:
        scenario = load_scenario("known-rates")
        days = DayStream(scenario, 0, VALIDATION).draw(40000)
        one, other = dp(scenario), dp(scenario, seed=1)
        objective = play(one, scenario, days).objective
        noise = objective.std() / np.sqrt(objective.size)
        # The computed value has the noise of its own draws: some 0.002.
        assert objective.mean() == pytest.approx(one.value, abs=4 * noise + 0.006)
        difference = objective - play(other, scenario, days).objective
        assert abs(difference.mean()) < 0.001

    def test_no_perturbation_of_it_is_better(self) -> None:
        scenario = load_scenario("known-rates")
        days = DayStream(scenario, 1, VALIDATION).draw(20000)
        policy = dp(scenario)
        best = play(policy, scenario, days).objective
        generator = np.random.default_rng(0)
        for share in (0.03, 0.3):
            other = dp(scenario)
            changed = generator.random(other._actions.shape) < share
            other._actions[changed] = generator.integers(0, scenario.grid_size, changed.sum())
            assert (play(other, scenario, days).objective - best).mean() > 0

    def test_a_finer_grid_is_better(self) -> None:
        scenario = load_scenario("textbook")
        days = DayStream(scenario, 1, VALIDATION).draw(2000)
        gain = (
            play(dp(scenario), scenario, days).objective
            - play(dp_fine(scenario), scenario, days).objective
        )
        assert gain.mean() > 0.03

    def test_a_fine_grid_is_never_coarser_and_stays_small(self) -> None:
        five = load_scenario("five-algos")
        assert dp_fine(five)._resolution == 8
        many = replace(load_scenario("two-algos"), actions=replace(five.actions, resolution=40))
        assert dp_fine(many)._resolution == 40

    def test_millions_of_lots(self) -> None:
        scenario = load_scenario("two-algos")
        order = replace(scenario.order, size=10_000_000, lot_size=1)
        assert scenario.volume is not None
        volume = replace(scenario.volume, total=1e8)
        millions = replace(scenario, order=order, volume=volume)
        policy = dp(millions)
        assert policy.value == pytest.approx(dp(scenario).value, abs=0.02)
        days = DayStream(millions, 0, VALIDATION).draw(200)
        assert play(policy, millions, days).objective.mean() < 2.0


class TestAdaptive:
    @pytest.mark.parametrize(
        "name",
        [
            "drifting",
            *(pytest.param(name, marks=pytest.mark.slow) for name in ("baseline", "vwap-u-shape")),
        ],
    )
    def test_learns_from_the_fills(self, name: str) -> None:
        scenario = load_scenario(name)
        days = DayStream(scenario, 0, VALIDATION).draw(800)
        gain = (
            play(dp(scenario), scenario, days).objective
            - play(dp_adaptive(scenario), scenario, days).objective
        )
        assert gain.mean() > 3 * gain.std() / np.sqrt(gain.size)

    @pytest.mark.parametrize("name", ["known-rates", "textbook"])
    def test_is_dp_where_nothing_is_hidden(self, name: str) -> None:
        scenario = load_scenario(name)
        days = numbered_days(scenario, range(100))
        found = [play(make(scenario), scenario, days).posted for make in (dp, dp_adaptive)]
        assert (found[0] == found[1]).all()

    def test_before_the_first_fill_it_is_dp_up_to_noise(self) -> None:
        """The same problem solved in two ways: joint draws, and one law per algo."""
        scenario = load_scenario("baseline")
        algos = tuple(replace(algo, liquidity_loading=0.0) for algo in scenario.algos)
        scenario = replace(scenario, algos=algos)
        plain, adaptive = dp(scenario), dp_adaptive(scenario)
        assert isinstance(adaptive, AdaptiveDynamicProgramming)
        start = AtTheStart(scenario, "start")
        play(start, scenario, numbered_days(scenario, [0]))
        assert start.observed is not None
        ones = int(adaptive._table(start.observed)[0][0])
        same = adaptive._actions[ones] == plain._actions
        # Where the two differ they are nearly ties, as the grid has no multiplier of exactly 1.
        assert same.mean() > 0.6

    def test_has_no_more_tables_than_there_is_memory_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scenario = load_scenario("two-algos")
        monkeypatch.setattr("agents.dynamic_programming.policies.MOST_ENTRIES", 50_000)
        policy = dp_adaptive(scenario)
        assert 10 < len(policy._actions) <= 50_000 // (10 * 101)

    def test_reports_its_tables(self) -> None:
        seen: list[int] = []
        policy = dp_adaptive(load_scenario("two-algos"), progress=seen.append)
        assert sum(seen) == len(policy._actions)


class AtTheStart(Policy):
    """Keeps what it observes first."""

    observed: Observed | None = None

    def decide(self, observations: Observations) -> Lots:
        self.observed = self.observed or read_observations(self.scenario, observations)
        return np.zeros((len(observations), len(self.scenario.algos)), np.int64)


class Spy(Policy):
    """Decides as another policy, and checks that it could have been alone, in any order."""

    def __init__(self, policy: DynamicProgramming) -> None:
        super().__init__(policy.scenario, "spy")
        self.policy = policy

    def decide(self, observations: Observations) -> Lots:
        lots = self.policy.decide(observations)
        assert lots.shape == (len(observations), len(self.scenario.algos))
        assert lots.dtype == np.int64
        assert (lots >= 0).all()
        postable = read_observations(self.scenario, observations).postable
        assert (lots.sum(axis=1) <= postable).all()
        assert (self.policy.decide(observations[::-1]) == lots[::-1]).all()
        assert (self.policy.decide(observations[:1]) == lots[:1]).all()
        return lots


class TestAnyScenario:
    @settings(max_examples=10)
    @given(scenarios_drawn(max_buckets=8, max_lots=60, max_algos=4), st.integers(0, 100))
    def test_decides_for_any_batch(self, scenario: Scenario, seed: int) -> None:
        days = DayStream(scenario, seed, VALIDATION).draw(10)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("agents.dynamic_programming.policies.WORK", 1e6)
            patch.setattr("agents.dynamic_programming.policies.ADAPTIVE_WORK", 1e7)
            patch.setattr("agents.dynamic_programming.policies.FINE_ACTIONS", 300)
            for make in (dp, dp_fine, dp_adaptive):
                policy = make(scenario, seed)
                assert np.isfinite(policy.value)
                assert np.isfinite(play(Spy(policy), scenario, days).objective).all()

    def test_is_a_policy_that_its_seed_makes(self) -> None:
        scenario = load_scenario("two-algos")
        policy = dp(scenario, seed=5)
        assert policy.name == "dp"
        assert (policy.observation, policy.action) == ("full", "lots")
        assert (policy._actions == dp(scenario, seed=5)._actions).all()
