"""Plans of the linear programme: known answers, an independent solver, prices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agents.lp.model import WHOLE
from agents.lp.variants import LinearProgramme, lp, lp_scenario
from agents.policy import read_observations
from execution_env import load_scenario
from execution_env.allocation.scenario_file import with_overrides
from tests.allocation.strategies import scenarios_drawn
from tests.planners.reference_lp import Reference, first_observation, full_env, observations_of


@pytest.mark.parametrize(
    ("costs", "at_most_remaining", "expected"),
    [
        (None, True, 12618.243),
        ([3, 1, 0], True, 18900.338),
        (None, False, 11284.910),
        ([3, 1, 0], False, 16900.338),
    ],
)
def test_known_answers(costs, at_most_remaining, expected):
    scenario = load_scenario("textbook")
    policy = LinearProgramme(scenario, at_most_remaining=at_most_remaining)
    plan = policy.plan(first_observation(scenario), costs)
    assert plan.status == "Optimal"
    assert scenario.order.size * plan.expected_cost == pytest.approx(expected, abs=6e-4)


class TestAgainstAnotherSolver:
    @settings(max_examples=60)
    @given(
        scenarios_drawn(max_buckets=9, max_lots=300, max_algos=4),
        st.integers(0, 2**32),
        st.integers(0, 8),
        st.booleans(),
    )
    def test_same_objective_on_random_scenarios(self, scenario, seed, bucket, at_most_remaining):
        assume(bucket < scenario.buckets)
        env, generator = full_env(scenario), np.random.default_rng(seed)
        observation, _ = env.reset(seed=seed)
        for _ in range(bucket):
            postable = round(scenario.lots * float(observation[-1]))
            lots = generator.multinomial(postable, [1 / len(scenario.algos)] * len(scenario.algos))
            observation = env.step(lots)[0]
        policy = LinearProgramme(scenario, at_most_remaining=at_most_remaining)
        plan = policy.plan(observation)
        expected = Reference(scenario, observation, at_most_remaining).objective()
        assert plan.status == "Optimal"
        assert plan.expected_cost == pytest.approx(expected, rel=1e-7, abs=1e-9)
        parts = plan.posting_cost + plan.envelope_penalty + plan.residual_penalty
        assert parts == pytest.approx(plan.expected_cost, rel=1e-7, abs=1e-9)

    @pytest.mark.parametrize(
        "overrides",
        [
            {},
            {"costs.basis": "filled"},
            {"penalties.residual": 0.5, "penalties.residual_quadratic": 3.0},
            {"participation.window": 3},
            {"participation.window": 10},
            {"participation.window": 2, "volume.total": 40000},
            {"participation.window": 3, "volume.total": 40000},
            {"participation.window": 4, "volume.total": 40000},
            {"participation.max_posted": 2000},
            {"envelope.upper_mode": "hard", "envelope.band": 0.05},
            {
                "envelope.upper_mode": "hard",
                "participation.window": 10,
                "volume.total": None,
                "volume.expected": [60000] + [2000] * 9,
            },
        ],
        ids=str,
    )
    def test_same_objective_through_a_day(self, overrides):
        scenario = with_overrides(load_scenario("baseline"), overrides)
        policy, env = LinearProgramme(scenario), full_env(scenario)
        observation, done = env.reset(seed=3)[0], False
        while not done:
            expected = Reference(scenario, observation).objective()
            assert policy.plan(observation).expected_cost == pytest.approx(expected, rel=1e-7)
            observation, _, done, *_ = env.step(policy.predict(observation)[0])

    @pytest.mark.parametrize("most", [900, 1000, 1100, None])
    @pytest.mark.parametrize("window", [None, 1])
    def test_a_limit_per_bucket_holds_where_more_than_remains_is_planned(self, most, window):
        """Also one that is not below the order's size, which the market never notices."""
        overrides = {"order.size": 1000, "volume.total": 12000, "participation.window": window}
        overrides |= {"penalties.residual_quadratic": 3.0, "algos.Passive.fill_rate": 0.1}
        overrides["participation.max_posted"] = most
        scenario = with_overrides(load_scenario("baseline"), overrides)
        policy = LinearProgramme(scenario, at_most_remaining=False)
        observation, _ = full_env(scenario).reset(seed=3)
        expected = Reference(scenario, observation, False).objective()
        plan = policy.plan(observation)
        assert plan.expected_cost == pytest.approx(expected, rel=1e-7)
        if most is not None:
            assert (plan.allocations.sum(axis=1) <= most / 100 + 1e-6).all()

    @pytest.mark.parametrize("window", [2, 3, 4])
    def test_a_window_caps_what_is_planned(self, window):
        overrides = {"volume.total": 40000, "participation.window": window}
        scenario = with_overrides(load_scenario("baseline"), overrides)
        rate = scenario.participation.max_rate / scenario.order.lot_size
        policy, env = LinearProgramme(scenario), full_env(scenario)
        observation, done, binds = env.reset(seed=3)[0], False, set()
        while not done:
            plan, bucket = policy.plan(observation), policy._bucket(observation)
            before = np.concatenate([[0.0], np.cumsum(plan.expected_fills)])
            for j in range(window, scenario.buckets - bucket):  # the window starts after now
                k = bucket + j + 1
                cap = np.floor(rate * scenario.expected_volume[k - window : k].sum() + 1e-6)
                used = plan.allocations[j].sum() + before[j] - before[j + 1 - window]
                assert used <= cap + 1e-6
                if used > cap - 1e-6:
                    binds.add(bucket)
            observation, _, done, *_ = env.step(policy.predict(observation)[0])
        assert binds - {0}  # also where lots have filled


class TestPlan:
    def test_is_the_sum_of_its_parts(self):
        scenario = load_scenario("baseline")
        for observation in observations_of("baseline", 30)[::17]:
            plan = lp(scenario).plan(observation)
            seen = read_observations(scenario, observation[None])
            rest = scenario.buckets - seen.bucket[0]
            assert plan.allocations.shape == (rest, 3)
            for numbers in plan[2:3] + plan[7:10]:
                assert numbers.shape == (rest,)
            costs = scenario.posting_costs[seen.bucket[0] :]
            posting = (costs * plan.allocations).sum() / scenario.lots
            assert plan.posting_cost == pytest.approx(posting)
            assert plan.expected_fills[0] == pytest.approx(plan.allocations[0] @ seen.estimates[0])
            left = seen.remaining[0] - plan.expected_fills.sum()
            assert plan.residual_penalty == pytest.approx(10 * left / scenario.lots, abs=1e-9)

    def test_costs_of_one_bucket_or_of_all(self):
        scenario = load_scenario("baseline")
        policy, observation = lp(scenario), first_observation(scenario)
        same = policy.plan(observation, scenario.posting_costs)
        assert same.expected_cost == policy.plan(observation).expected_cost
        dear = policy.plan(observation, [4, 2, 0])
        assert dear.expected_cost > same.expected_cost
        costs = scenario.posting_costs
        costs[0] = 100
        now_dear = policy.plan(observation, costs)
        assert now_dear.allocations[0].sum() == pytest.approx(0, abs=1e-9)

    def test_edges_replace_the_observed_and_the_scenario_s(self):
        scenario = load_scenario("baseline")
        policy, observation = lp(scenario), first_observation(scenario)
        lower, upper = scenario.envelope_bounds
        same = policy.plan(observation, lower=lower, upper=upper)
        assert same.expected_cost == pytest.approx(policy.plan(observation).expected_cost)
        wide = policy.plan(observation, lower=np.zeros(10), upper=np.ones(10))
        assert wide.expected_cost <= same.expected_cost
        only = policy.plan(observation, lower=np.linspace(0.1, 1.0, 10))
        assert only.expected_cost > same.expected_cost + 0.04
        now = policy.plan(observation, lower=[0.2, *lower[1:]])
        assert now.expected_fills[0] == pytest.approx(20)

    def test_a_new_hard_edge_limits_posting(self):
        scenario = with_overrides(load_scenario("baseline"), {"envelope.upper_mode": "hard"})
        policy, observation = lp(scenario), first_observation(scenario)
        plan = policy.plan(observation, upper=np.linspace(0.1, 1.0, 10))
        before = np.concatenate([[0], np.cumsum(plan.expected_fills)[:-1]])
        assert (before + plan.allocations.sum(axis=1) <= np.arange(1, 11) * 10 + 1e-6).all()
        shut = policy.plan(observation, lower=np.zeros(10), upper=np.zeros(10))
        assert shut.status == "Optimal"
        assert shut.allocations.sum() == 0

    def test_nothing_carries_over_to_the_next_decision(self):
        scenario, policy = load_scenario("baseline"), lp(load_scenario("baseline"))
        observations = observations_of("baseline", 30)[::7]
        before = policy.decide(observations)
        policy.plan(observations[0], costs=[9, 9, 9], lower=np.zeros(10), upper=np.zeros(10))
        assert (policy.decide(observations) == before).all()
        assert (lp(scenario).decide(observations) == before).all()


def shaken(scenario):
    """An observation in the middle of an order, at numbers that no tie has a chance with."""
    observation = observations_of("baseline", 30)[40].copy()
    observation[:2] = 0.83, 0.8
    observation[2:5] = 0.9231, 0.7177, 0.2773
    lower, upper = scenario.envelope_bounds
    observation[-3:] = lower[2], upper[2], 0.3
    return observation


class TestPrices:
    """Half-spreads per share: what the cost changes by, per share by which a limit moves."""

    edges = np.linspace(0.1, 1.0, 10)[2:]

    def plan(self, lower=0.0, upper=0.0, **changes):
        scenario = load_scenario("baseline")
        low, high = np.clip([self.edges - 0.05, self.edges + 0.031], 0, 1)
        observation = shaken(scenario)
        observation[-1] += changes.get("postable", 0.0)
        return lp(scenario).plan(observation, [2.0, 0.97, 0.013], low + lower, high + upper)

    @pytest.mark.parametrize("j", range(7))
    def test_edges_by_finite_differences(self, j):
        step = np.zeros(8)
        step[j] = 1e-4
        plan = self.plan()
        dearer = (self.plan(lower=step).expected_cost - plan.expected_cost) / 1e-4
        cheaper = (plan.expected_cost - self.plan(lower=-step).expected_cost) / 1e-4
        assert dearer == pytest.approx(cheaper, abs=1e-6)  # no kink here
        assert plan.lower_prices[j] == pytest.approx(dearer, abs=1e-6)
        narrower = (self.plan(upper=-step).expected_cost - plan.expected_cost) / 1e-4
        assert plan.upper_prices[j] == pytest.approx(narrower, abs=1e-6)

    def test_some_edge_has_a_price(self):
        assert self.plan().lower_prices.max() > 0.1
        assert (self.plan().lower_prices[-1], self.plan().upper_prices[-1]) == (0, 0)

    def test_prices_of_the_upper_edge(self):
        scenario = load_scenario("baseline")
        lower, upper = scenario.envelope_bounds
        upper[2] = lower[2]
        observation = first_observation(scenario)
        policy, costs = lp(scenario), [0.1, 1.0, 0.9]
        costs_later = np.tile(costs, (10, 1))
        costs_later[3:] = 5.0  # filling early is cheap, were it not for the upper edge
        plan = policy.plan(observation, costs_later, lower, upper)
        upper[2] += 1e-4
        more = policy.plan(observation, costs_later, lower, upper)
        saved = (plan.expected_cost - more.expected_cost) / 1e-4
        assert saved > 0.1
        assert plan.upper_prices[2] == pytest.approx(saved, abs=1e-6)

    def test_postable_lots_by_finite_differences(self):
        plan = self.plan()
        fewer = (self.plan(postable=-0.01).expected_cost - plan.expected_cost) / 0.01
        more = (plan.expected_cost - self.plan(postable=0.01).expected_cost) / 0.01
        assert more - 1e-6 <= plan.limit_prices[0] <= fewer + 1e-6
        assert plan.limit_prices[0] > 0.1

    def test_max_posted_by_finite_differences(self):
        base = with_overrides(load_scenario("baseline"), {"order.lot_size": 1})
        observation = shaken(load_scenario("baseline"))

        def plan(most):
            scenario = with_overrides(base, {"participation.max_posted": most})
            return LinearProgramme(scenario, at_most_remaining=False).plan(observation)

        saved = (plan(2499).expected_cost - plan(2500).expected_cost) * base.lots
        assert plan(2500).limit_prices[1:].sum() == pytest.approx(saved, abs=1e-6)
        assert saved > 0.1

    def test_completion_by_finite_differences(self):
        scenario = load_scenario("baseline")
        policy, observation = lp(scenario), shaken(scenario)
        plan = policy.plan(observation)
        programme = policy._built(2)[1]
        last = 8  # one row for the first bucket, then the balances of 8 buckets
        assert (programme.arrays.rows[:, last] == WHOLE).all()
        programme.arrays.rows[:, last] += 1e-4
        assert programme.run()
        dearer = (programme.solution.objective - plan.expected_cost) / (1e-4 / WHOLE)
        assert plan.completion_price == pytest.approx(dearer, abs=1e-5)
        assert plan.completion_price > 0.5

    def test_completion_is_worth_the_residual_penalty_where_lots_are_left(self):
        scenario = with_overrides(load_scenario("baseline"), {"penalties.residual": 0.5})
        plan = lp(scenario).plan(first_observation(scenario))
        assert plan.residual_penalty > 0
        assert plan.completion_price == pytest.approx(0.5)

    @settings(max_examples=30)
    @given(st.integers(0, 2**32), st.sampled_from([lp, lp_scenario]))
    def test_prices_are_subgradients(self, seed, factory):
        # True at kinks as well: the cost is convex in the edges.
        scenario, generator = load_scenario("baseline"), np.random.default_rng(seed)
        observation = observations_of("baseline", 30)[generator.integers(300)]
        policy, plan = factory(scenario), factory(scenario).plan(observation)
        rest = len(plan.expected_fills)
        lower, upper = (edge[-rest:] for edge in scenario.envelope_bounds)
        steps = generator.uniform(0, 0.05, (2, rest)) * generator.integers(0, 2, (2, rest))
        other = policy.plan(observation, None, lower + steps[0], np.clip(upper - steps[1], 0, 1))
        steps[1] = upper - np.clip(upper - steps[1], 0, 1)
        bound = plan.expected_cost + plan.lower_prices @ steps[0] + plan.upper_prices @ steps[1]
        assert other.expected_cost >= bound - 1e-6
