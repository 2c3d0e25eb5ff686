"""The linear programme as a policy: rounding, exploration, margins, scenarios, reproducibility."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.lp.model import Programme
from agents.lp.policy import EXPLORATION, round_lots
from agents.lp.two_stage import shocks
from agents.lp.variants import LinearProgramme, ScenarioProgramme, lp, lp_buffered, lp_scenario
from agents.policy import read_observations
from agents.rollouts.allocation import play
from execution_env import load_scenario
from execution_env.allocation.market.day_stream import (
    POLICY,
    VALIDATION,
    DayStream,
    numbered_days,
    stream_generator,
)
from execution_env.allocation.scenario_file import with_overrides
from tests.allocation.strategies import scenarios_drawn
from tests.planners.reference_lp import first_observation, full_env, observations_of


class TestRounding:
    @given(
        st.lists(st.floats(0, 200), min_size=1, max_size=6),
        st.integers(0, 1000),
        st.sampled_from([1000, 2**24]),
    )
    def test_whole_lots_near_what_was_wanted(self, wanted, postable, size):
        fine = 2.0 ** min(20, 62 - 2 * size.bit_length())
        wanted, out = np.array([wanted]), np.zeros((1, len(wanted)), np.int64)
        observation = np.zeros((1, 5 + 2 * len(wanted[0])), np.float32)
        observation[0, -1] = postable / size
        round_lots(wanted, observation, float(size), fine, out)
        assert (out >= 0).all()
        total, near = wanted.sum(), 6 / fine + 1e-9
        assert out.sum() <= min(postable, np.floor(total + 1e-4 + near))
        assert out.sum() >= min(postable, np.floor(total + 1e-4 - near))
        if total > 0.01:
            quota = wanted * out.sum() / total
            assert (np.abs(out - quota) < 1 + len(wanted[0]) * 200 * near).all()

    @pytest.mark.parametrize(
        ("wanted", "postable", "expected"),
        [
            ([10.0, 10.0, 9.9999999], 100, [10, 10, 10]),
            ([29.9999999, 0.0, 0.0], 100, [30, 0, 0]),
            ([29.9, 0.0, 0.0], 100, [29, 0, 0]),
            ([1.5, 1.5, 0.0], 100, [2, 1, 0]),
            ([2.0, 2.0, 2.0], 5, [2, 2, 1]),
            ([1.2, 2.7, 3.1], 100, [1, 3, 3]),
            ([0.0, 0.0, 0.0], 100, [0, 0, 0]),
            ([-1e-9, 4.0, 0.0], 100, [0, 4, 0]),
        ],
    )
    def test_examples(self, wanted, postable, expected):
        out = np.zeros((1, 3), np.int64)
        observation = np.zeros((1, 11), np.float32)
        observation[0, -1] = postable / 100
        round_lots(np.array([wanted]), observation, 100.0, 2.0**20, out)
        assert out[0].tolist() == expected

    @pytest.mark.parametrize("name", ["baseline", "textbook", "vwap-u-shape"])
    def test_decisions_are_postable(self, name):
        scenario, observations = load_scenario(name), observations_of(name, 30)
        lots = lp(scenario).decide(observations)
        assert lots.dtype == np.int64
        assert (lots >= 0).all()
        assert (lots.sum(axis=1) <= np.rint(scenario.lots * observations[:, -1])).all()


class TestReproducible:
    @pytest.mark.parametrize("name", ["baseline", "drifting", "vwap-u-shape", "baseline-filled"])
    @pytest.mark.parametrize("factory", [lp, lp_scenario])
    def test_alone_in_a_batch_or_in_another_order(self, name, factory):
        scenario = load_scenario(name)
        observations = observations_of(name, 40 if factory is lp else 20)
        together = factory(scenario).decide(observations)
        order = np.random.default_rng(0).permutation(len(observations))
        policy = factory(scenario)
        assert (policy.decide(observations[order]) == together[order]).all()
        alone = [policy.predict(observations[e])[0] for e in order]
        assert (np.array(alone) == together[order]).all()

    def test_rollouts_are_what_the_environment_plays(self):
        scenario = load_scenario("baseline")
        policy, env = lp(scenario), full_env(scenario)
        seeds = range(1_000_000, 1_000_020)
        objectives = play(policy, scenario, numbered_days(scenario, seeds)).objective
        for seed, objective in zip(seeds, objectives, strict=True):
            observation, done, total = env.reset(seed=seed)[0], False, 0.0
            while not done:
                observation, reward, done, *_ = env.step(policy.predict(observation)[0])
                total -= reward
            assert total == objective

    def test_no_observations_no_lots(self):
        assert lp(load_scenario("baseline")).decide(np.zeros((0, 11), np.float32)).shape == (0, 3)


class TestSharing:
    @pytest.mark.parametrize("factory", [lp, lp_scenario])
    def test_threads_may_share_a_policy(self, factory):
        scenario, observations = load_scenario("baseline"), observations_of("baseline", 25)
        right = factory(scenario).decide(observations)
        policy = factory(scenario)
        with ThreadPoolExecutor(4) as threads:
            found = [threads.submit(policy.decide, observations) for _ in range(8)]
            plans = [threads.submit(policy.plan, observations[e]) for e in range(8)]
            assert all((one.result() == right).all() for one in found)
            assert all(one.result().status == "Optimal" for one in plans)

    @pytest.mark.parametrize(
        "copied", [lambda policy: pickle.loads(pickle.dumps(policy)), deepcopy]
    )
    def test_copies_decide_alike_after_the_first_decision(self, copied):
        observations = observations_of("baseline", 20)
        policy = lp_scenario(load_scenario("baseline"))
        right = policy.decide(observations)
        again = copied(policy)
        assert (again.decide(observations) == right).all()
        assert (policy.decide(observations) == right).all()
        assert again.predict(observations[0], deterministic=False)[0].shape == (3,)

    @pytest.mark.parametrize("left", [0.0, -0.1, 1.5, np.nan])
    def test_orders_that_are_over_and_no_observations(self, left):
        observation = observations_of("baseline", 1)
        observation[0, 1] = left
        with pytest.raises(ValueError, match=r"observation"):
            lp(load_scenario("baseline")).decide(observation)


class TestExploration:
    scenario = load_scenario("baseline")

    def test_schedule_falls_to_nothing(self):
        policy = lp(self.scenario)
        assert policy.exploration[0] == EXPLORATION
        assert (np.diff(policy.exploration) < 0).all()
        assert 0 < policy.exploration[-1] < 0.1

    def test_nothing_to_explore(self):
        policy = LinearProgramme(self.scenario, exploration=0.0)
        observations = observations_of("baseline", 30)
        explored, _ = policy.predict(observations, deterministic=False)
        assert (explored == policy.decide(observations)).all()

    @pytest.mark.parametrize("share", [0.5, 1.0])
    def test_totals_stay_and_shares_are_uniform(self, share):
        policy = LinearProgramme(self.scenario, exploration=share)
        observations = np.repeat(first_observation(self.scenario)[None], 3000, axis=0)
        best = policy.decide(observations[:1])[0]
        explored, _ = policy.predict(observations, deterministic=False)
        assert (explored.sum(axis=1) == best.sum()).all()
        mean = (1 - share) * best + share * best.sum() / 3
        assert explored.mean(axis=0) == pytest.approx(mean, abs=0.05 * best.sum())
        assert len(np.unique(explored, axis=0)) > 100

    def test_seeds(self):
        observations = observations_of("baseline", 30)

        def explored(seed):
            policy = LinearProgramme(self.scenario, seed=seed)
            return policy.predict(observations, deterministic=False)[0]

        assert (explored(1) == explored(1)).all()
        assert (explored(1) != explored(2)).any()

    def test_always(self):
        observations = observations_of("baseline", 30)
        policy = LinearProgramme(self.scenario, explore=True)
        assert (policy.decide(observations) != lp(self.scenario).decide(observations)).any()

    def test_last_bucket_explores_where_asked_to(self):
        schedule = np.zeros(10)
        schedule[3] = 1.0
        policy = LinearProgramme(self.scenario, exploration=schedule)
        observations = observations_of("baseline", 30)
        explored, _ = policy.predict(observations, deterministic=False)
        differs = (explored != policy.decide(observations)).any(axis=1)
        assert (
            np.unique(read_observations(self.scenario, observations).bucket[differs]) == 3
        ).all()


class TestMargins:
    def test_the_plan_keeps_away_from_the_edges(self):
        scenario = load_scenario("baseline")
        plan = LinearProgramme(scenario, margins=(4, 3)).plan(first_observation(scenario))
        filled = np.cumsum(plan.expected_fills)[:-1]
        lower, upper = (100 * edge[:-1] for edge in scenario.envelope_bounds)
        assert (filled >= np.where(lower > 0, lower + 4, 0) - 1e-6).all()
        assert (filled <= np.where(upper < 100, upper - 3, 100) + 1e-6).all()
        assert (np.abs(filled - lower - 4) < 1e-6).any()

    def test_margins_that_cross_meet_in_between(self):
        scenario = load_scenario("baseline")
        plan = LinearProgramme(scenario, margins=(40, 40)).plan(first_observation(scenario))
        filled = np.cumsum(plan.expected_fills)[:-1]
        lower, upper = (100 * edge[:-1] for edge in scenario.envelope_bounds)
        both = (lower > 0) & (upper < 100)
        assert filled[both] == pytest.approx((0.5 * (lower + upper))[both])

    def test_tuned_margins_help_on_other_days(self):
        scenario = load_scenario("baseline")
        calls = []
        policy = lp_buffered(scenario, days=20, progress=lambda *done: calls.append(done))
        assert policy.name == "lp-buffered"
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)
        assert {total for _, total in calls} == {calls[-1][0]}
        assert policy.tuning.days == 20
        objectives = policy.tuning.objectives
        assert min(objectives, key=objectives.get) == tuple(policy.margins)
        days = DayStream(scenario, 7, VALIDATION).draw(200)
        saved = (
            play(lp(scenario), scenario, days).objective - play(policy, scenario, days).objective
        )
        assert saved.mean() > 0.1
        again = lp_buffered(scenario, days=20)
        assert again.tuning == policy.tuning


class TestScenarios:
    def test_without_noise_it_is_the_plain_programme(self):
        scenario = load_scenario("baseline")
        plain, stochastic = lp(scenario), ScenarioProgramme(scenario, scenarios=5, noise=0.0)
        for observation in observations_of("baseline", 30)[::13]:
            plan, same = plain.plan(observation), stochastic.plan(observation)
            assert same.expected_cost == pytest.approx(plan.expected_cost, rel=1e-8)

    def test_beats_the_plain_programme(self):
        scenario = load_scenario("baseline")
        days = DayStream(scenario, 7, VALIDATION).draw(150)
        plain = play(lp(scenario), scenario, days).objective
        assert (plain - play(lp_scenario(scenario), scenario, days).objective).mean() > 0.1

    @pytest.mark.parametrize("count", [1, 2, 5, 12])
    @pytest.mark.parametrize("algos", [1, 3, 6])
    def test_shocks(self, count, algos):
        drawn = shocks(stream_generator(0, POLICY), count, algos)
        assert drawn.shape == (count, algos)
        assert drawn.mean(axis=0) == pytest.approx(np.zeros(algos))
        if count > 1:
            assert drawn.std(axis=0) == pytest.approx(np.ones(algos))
        if count == 12:
            assert np.abs(np.corrcoef(drawn.T) - np.eye(algos)).max() < 0.45

    def test_scenarios_average_to_the_estimates(self):
        scenario = load_scenario("baseline")
        policy = lp_scenario(scenario)
        for observation in observations_of("baseline", 30)[::29]:
            bucket = policy._bucket(observation)
            horizon, programme = policy._built(bucket)
            policy._put_fills(horizon, observation, programme.arrays.fills)
            fills = programme.arrays.fills
            assert fills[:, 0].mean(axis=0) == pytest.approx(observation[2:5], rel=0.02)
            assert (fills >= 0).all()
            assert (fills <= 1).all()
            if bucket == 9:
                assert (fills[:, 0, 0] == fills[0, 0, 0]).all()  # predicted for certain

    @settings(max_examples=20)
    @given(scenarios_drawn(max_buckets=6, max_lots=100, max_algos=3))
    def test_any_scenario(self, scenario):
        policy = ScenarioProgramme(scenario, scenarios=3)
        assert policy.plan(first_observation(scenario)).status == "Optimal"
        play(policy, scenario, DayStream(scenario, 0, VALIDATION).draw(3))


def test_without_a_plan_something_safe_is_posted(monkeypatch):
    scenario = load_scenario("baseline")
    observations = observations_of("baseline", 30)
    policy = lp(scenario)
    policy.decide(observations[:1])
    monkeypatch.setattr(Programme, "run", lambda self, basis=None: False)
    lots = policy.decide(observations)
    assert (lots >= 0).all()
    assert (lots.sum(axis=1) <= np.rint(100 * observations[:, -1])).all()
    assert lots.sum() > 0


def test_a_plan_that_was_not_found_is_a_result(monkeypatch):
    scenario = load_scenario("baseline")
    monkeypatch.setattr(Programme, "run", lambda self, basis=None: False)
    plan = lp(scenario).plan(first_observation(scenario))
    assert plan.status != "Optimal"
    assert np.isnan(plan.allocations).all()


def test_equal_observations_are_solved_once(monkeypatch):
    scenario, runs, run = load_scenario("baseline"), [], Programme.run
    policy = lp(scenario)
    observations = np.repeat(observations_of("baseline", 30)[40:43], 100, axis=0)
    policy.decide(observations)  # stores bases
    monkeypatch.setattr(
        Programme, "run", lambda self, basis=None: (runs.append(1), run(self, basis))[1]
    )
    policy.decide(observations)
    assert len(runs) == len(np.unique(observations, axis=0))


@pytest.mark.parametrize(("lots", "buckets"), [(1, 1), (3, 2), (2**24, 3), (100, 60)])
def test_any_size_of_order(lots, buckets):
    changes = {"order.size": lots, "order.lot_size": 1, "order.buckets": buckets}
    scenario = with_overrides(load_scenario("baseline"), changes)
    days = DayStream(scenario, 0, VALIDATION).draw(3)
    for policy in (lp(scenario), lp_scenario(scenario, 3)):
        assert np.isfinite(play(policy, scenario, days).objective).all()
        plan = policy.plan(first_observation(scenario))
        assert plan.status == "Optimal"


class TestBadInput:
    scenario = load_scenario("baseline")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"margins": (-1, 0)}, "margins = .*lots for .lower, upper."),
            ({"margins": (1, 2, 3)}, "margins = .*shape .2,"),
            ({"margins": "wide"}, "margins = 'wide'"),
            ({"margins": (np.nan, 0)}, "margins"),
            ({"exploration": 1.5}, "exploration = 1.5.*from 0 to 1"),
            ({"exploration": [0.1, 0.2]}, "exploration = .*shape .10,"),
        ],
    )
    def test_construction(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            LinearProgramme(self.scenario, **arguments)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"scenarios": 0}, "scenarios = 0: must be a whole number"),
            ({"scenarios": 2.5}, "scenarios = 2.5"),
            ({"noise": -1}, "noise = -1: must be a finite"),
            ({"noise": np.inf}, "noise = inf"),
        ],
    )
    def test_scenario_programme(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            ScenarioProgramme(self.scenario, **arguments)

    @pytest.mark.parametrize("days", [0, 1.5, True])
    def test_tuning_days(self, days):
        with pytest.raises(ValueError, match=r"days = .*at least 1"):
            lp_buffered(self.scenario, days=days)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"costs": [1, 2]}, r"costs = \[1, 2\]: must be half-spreads.*\(10, 3\)"),
            ({"costs": [-1, 0, 0]}, "costs"),
            ({"costs": [np.nan, 0, 0]}, "costs"),
            ({"costs": "cheap"}, "costs = 'cheap'"),
            ({"lower": [0.1] * 9}, r"lower = .*\(10,\)"),
            ({"lower": [1.1] * 10}, "lower = .*from 0 to 1"),
            ({"upper": [-0.1] * 10}, "upper = .*from 0 to 1"),
            ({"lower": [[0.1] * 10] * 2}, "lower"),
            ({"lower": [0.3] * 10, "upper": [0.2] * 10}, r"lower\[0\] = 0.3 lies above upper\[0\]"),
            ({"upper": [0.2] * 10}, r"lower\[3\] = 0.25 lies above upper\[3\] = 0.2"),
        ],
    )
    def test_plan(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            lp(self.scenario).plan(first_observation(self.scenario), **arguments)

    def test_plan_of_a_batch(self):
        with pytest.raises(ValueError, match=r"a plan is for one observation, give \(11,\)"):
            lp(self.scenario).plan(np.zeros((2, 11)))

    def test_plan_of_an_order_that_is_over(self):
        with pytest.raises(ValueError, match="nothing to decide once the order is over"):
            lp(self.scenario).plan(np.zeros(11))

    def test_observation_of_another_kind(self):
        with pytest.raises(ValueError, match='observation="full"'):
            lp(self.scenario).predict(np.zeros(5))
