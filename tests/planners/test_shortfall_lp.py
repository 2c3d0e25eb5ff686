"""The linear programme under depth and shortfall costs: pieces, an independent solver, outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from agents.lp.model import CHORDS
from agents.lp.variants import LinearProgramme, ScenarioProgramme, lp, lp_buffered, lp_scenario
from agents.planning.pieces import join, pieces
from agents.policy import read_observations
from agents.rollouts.allocation import play
from execution_env import OrderAllocationEnv, load_scenario
from execution_env.allocation.adverse_selection import adverse_selection, fills_and_moves
from execution_env.allocation.market.day_stream import VALIDATION, DayStream
from tests.allocation.markets import shortfall, with_day_effects
from tests.allocation.strategies import markets_drawn, scenarios_drawn
from tests.planners.reference_lp import Reference


def first_observation(scenario):
    env = OrderAllocationEnv(scenario, observation="full", action="lots")
    return env.reset(seed=0)[0]


class PieceReference(Reference):
    """The programme for another solver, with a column for every piece."""

    def __init__(self, scenario, observation):
        seen = read_observations(scenario, observation[None])
        self.scenario, self.n = scenario, scenario.lots
        self.bucket, self.postable = int(seen.bucket[0]), int(seen.postable[0])
        self.filled = self.n - int(seen.remaining[0])
        cut = pieces(scenario)
        cells = cut.cells[self.bucket :]
        self.r, self.k = cells.shape
        self.cells, self.widths = cells, cut.widths
        now = scenario.predictions[self.bucket].astype(np.float32).astype(np.float64)
        multiplier = np.divide(seen.estimates[0], now, out=np.ones(now.size), where=now > 0)
        self.fills = np.clip(multiplier[cut.algo] * cells["rate"], 0, 1)
        self.fills[0] = np.where(now[cut.algo] > 0, self.fills[0], seen.estimates[0][cut.algo])
        lower, upper = scenario.envelope_bounds
        self.lower, self.upper = self.n * lower[self.bucket :], self.n * upper[self.bucket :]
        self.hard_edge = self.upper.copy()
        self.lower[0], self.upper[0] = seen.lower[0], seen.upper[0]
        self.columns = self.r * self.k + 2 * (self.r - 1) + CHORDS
        self.rows, self.bounds = [], []
        self.at_most_remaining = True
        self.build()

    def prices(self):
        return self.cells["cost"]

    def arguments(self):
        found = super().arguments()
        widths = [(0, None if np.isinf(width) else width) for width in self.widths]
        found["bounds"][: self.r * self.k] = widths * self.r
        return found


def arrive(scenario, seed, bucket):
    """An observation before ``bucket``, after lots at random."""
    env = OrderAllocationEnv(scenario, observation="full", action="lots")
    generator = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    for _ in range(bucket):
        postable = round(scenario.lots * float(observation[-1]))
        lots = generator.multinomial(postable, [1 / len(scenario.algos)] * len(scenario.algos))
        observation = env.step(lots)[0]
    return observation


class TestPieces:
    def test_chords_of_what_is_expected_to_fill(self):
        scenario = shortfall()
        cut = pieces(scenario)
        assert cut.algo.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert cut.widths.tolist() == [3.0, 3.0, 6.0, np.inf] * 3
        fills, moves = fills_and_moves(scenario, np.array([3.0, 6.0, 12.0, 30.0]))
        widths = np.array([3.0, 3.0, 6.0, 18.0])
        for i in range(3):
            mine = cut.cells[:, cut.algo == i]
            assert np.cumsum(mine["rate"] * widths, axis=1) == pytest.approx(fills[:, i])
            assert mine["rate"][:, 0] == pytest.approx(scenario.predictions[:, i])
            assert (np.diff(mine["rate"], axis=1) < 0).all()
            paid = np.cumsum(
                (mine["cost"] - scenario.posting_costs[:, [i]]) * mine["rate"] * widths, 1
            )
            assert paid == pytest.approx(-moves[:, i])
            first = scenario.posting_costs[:, i] + adverse_selection(scenario)[:, i]
            assert mine["cost"][:, 0] == pytest.approx(first)

    def test_prices_never_fall(self):
        scenario = shortfall(price__liquidity_correlation=0.5)
        cut = pieces(scenario)
        for i in range(3):
            assert (np.diff(cut.cells["cost"][:, cut.algo == i], axis=1) >= 0).all()

    @settings(max_examples=30)
    @given(scenarios_drawn(max_buckets=4, max_lots=50))
    def test_a_rate_is_one_piece(self, scenario):
        cut = pieces(scenario)
        assert cut.algo.tolist() == list(range(len(scenario.algos)))
        assert np.isinf(cut.widths).all()
        assert (cut.cells["rate"] == scenario.predictions).all()
        assert (cut.cells["cost"] == scenario.posting_costs).all()

    def test_lots_go_where_they_belong(self):
        posted = np.array([[0.0, 2.0, 0.0, 5.0], [3.0, 1.0, 0.5, 0.0]])
        fills = np.tile([0.8, 0.4, 0.2, 0.6], (2, 1))
        out = np.empty((2, 2))
        join(posted, fills, np.array([0, 0, 0, 1]), np.array([3.0, 3.0, np.inf, np.inf]), out)
        assert out == pytest.approx(np.array([[1.0, 5.0], [4.25, 0.0]]))

    def test_nothing_that_fills_is_nothing_posted(self):
        out = np.empty((1, 1))
        join(np.ones((1, 2)), np.zeros((1, 2)), np.zeros(2, np.int64), np.array([1.0, np.inf]), out)
        assert out[0, 0] == 0


class TestAgainstAnotherSolver:
    @settings(max_examples=40)
    @given(
        markets_drawn(max_buckets=9, max_lots=300, max_algos=4),
        st.integers(0, 2**32),
        st.integers(0, 8),
    )
    @example(shortfall(), 1, 0)
    @example(with_day_effects(), 2, 4)
    def test_same_objective_in_any_market(self, scenario, seed, bucket):
        assume(bucket < scenario.buckets)
        observation = arrive(scenario, seed, bucket)
        plan = LinearProgramme(scenario).plan(observation)
        expected = PieceReference(scenario, observation).objective()
        assert plan.status == "Optimal"
        assert plan.expected_cost == pytest.approx(expected, rel=1e-7, abs=1e-7)
        parts = plan.posting_cost + plan.envelope_penalty + plan.residual_penalty
        assert parts == pytest.approx(plan.expected_cost, rel=1e-7, abs=1e-7)


class TestPlan:
    def test_costs_may_be_negative(self):
        scenario = shortfall()
        policy, observation = lp(scenario), first_observation(scenario)
        plan = policy.plan(observation, [3.0, -1.0, -9.0])
        assert plan.status == "Optimal"
        assert plan.expected_cost < policy.plan(observation, [3.0, 1.0, 0.0]).expected_cost
        with pytest.raises(ValueError, match=r"costs = .*basis points per filled share.*\(10, 3\)"):
            policy.plan(observation, [1.0, 2.0])

    def test_depth_spreads_lots_over_the_algos(self):
        """Where one algo alone would fill less and less."""
        scenario = shortfall(price=None)
        plan = lp(scenario).plan(first_observation(scenario))
        assert ((plan.allocations > 0.1).sum(axis=1) > 1).any()

    def test_a_plan_without_what_moves_prices_posts_more_passively(self):
        planned = [
            lp(scenario).plan(first_observation(scenario)).allocations.sum(axis=0)
            for scenario in (shortfall(), shortfall(price__sd=40.0))
        ]
        assert planned[1][2] < planned[0][2]

    def test_a_rate_in_a_market_with_depth(self):
        algos = [
            {"name": "Rate", "half_spread": 3.0, "fill_rate": 0.9, "bucket_sd": 0.3},
            {"name": "Depth", "half_spread": -3.0, "fill_probability": 0.5, "depth": 0.05},
        ]
        scenario = shortfall(algos=algos)
        assert pieces(scenario).algo.tolist() == [0, 1, 1, 1, 1]
        days = DayStream(scenario, 0, VALIDATION).draw(20)
        for policy in (lp(scenario), lp_scenario(scenario, 4)):
            assert policy.plan(first_observation(scenario)).status == "Optimal"
            assert np.isfinite(play(policy, scenario, days).objective).all()

    def test_depth_where_posting_is_charged(self):
        content = [
            {"name": "A", "cost": 1.0, "fill_probability": 0.9, "depth": 0.1, "depth_sd": 1.0},
            {"name": "B", "cost": 0.1, "fill_rate": 0.4},
        ]
        scenario = shortfall(costs__basis="posted", algos=content, price=None)
        plan = lp(scenario).plan(first_observation(scenario))
        charged = (plan.allocations * [1.0, 0.1]).sum() / scenario.lots
        assert plan.posting_cost == pytest.approx(charged)


class TestDecisions:
    @pytest.mark.parametrize("make", [lp, lp_scenario])
    def test_alone_in_a_batch_or_in_another_order(self, make):
        scenario = with_day_effects()
        observations = np.array([arrive(scenario, seed, seed % 10) for seed in range(40)])
        together = make(scenario).decide(observations)
        policy = make(scenario)
        alone = [policy.predict(observation)[0] for observation in observations[::-1]]
        assert (np.array(alone)[::-1] == together).all()
        assert (together.sum(axis=1) <= np.rint(scenario.lots * observations[:, -1])).all()

    def test_explores(self):
        policy, observation = lp_scenario(shortfall(), 4), first_observation(shortfall())
        explored, _ = policy.predict(observation, deterministic=False)
        assert explored.sum() > 0

    def test_better_than_the_aggressive_algo_alone(self):
        scenario = shortfall()
        days = DayStream(scenario, 3, VALIDATION).draw(300)
        for policy in (lp(scenario), lp_scenario(scenario)):
            assert play(policy, scenario, days).objective.mean() < 3.3

    def test_margins_can_be_tuned(self):
        policy = lp_buffered(shortfall(), days=5)
        assert len(policy.tuning.objectives) > 1


class TestOutcomes:
    def put(self, scenario, observation, **arguments):
        policy = ScenarioProgramme(scenario, **arguments)
        horizon, programme = policy._built(policy._bucket(observation))
        policy._put_fills(horizon, observation, programme.arrays.fills)
        return programme.arrays.fills, horizon.cells

    def test_all_or_nothing_around_the_estimates(self):
        scenario = shortfall()
        fills, cells = self.put(scenario, first_observation(scenario))
        now = fills[:, 0]
        assert now.mean(axis=0) == pytest.approx(cells["rate"][0], rel=0.25)
        assert (now[:, 0] > 0).all()  # Aggressive nearly always finds something
        assert (now[:, 8] == 0).sum() == 8  # Passive with a probability of 0.3
        assert (now.min(), now.max()) >= (0.0, 0.5)
        assert now.max() <= 1.0
        assert fills[:, 1:] == pytest.approx(np.broadcast_to(cells["rate"][1:], fills[:, 1:].shape))

    def test_later_buckets_move_by_what_is_hidden(self):
        scenario = with_day_effects()
        fills, cells = self.put(scenario, first_observation(scenario))
        later = fills[:, 1]
        assert later[:, :4] == pytest.approx(np.broadcast_to(cells["rate"][1, :4], (12, 4)))
        assert (later[:, 4:].std(axis=0) > 0.01 * cells["rate"][1, 4:]).all()
        assert later.mean(axis=0) == pytest.approx(cells["rate"][1])

    @pytest.mark.parametrize("make", [shortfall, with_day_effects])
    def test_without_noise_it_is_the_plain_programme(self, make):
        scenario = make()
        plain, stochastic = lp(scenario), ScenarioProgramme(scenario, scenarios=3, noise=0.0)
        for seed in range(5):
            observation = arrive(scenario, seed, 2 * seed)
            plan, same = plain.plan(observation), stochastic.plan(observation)
            assert same.expected_cost == pytest.approx(plan.expected_cost, rel=1e-8)

    @settings(max_examples=20)
    @given(markets_drawn(max_buckets=6, max_lots=100, max_algos=3))
    def test_any_market(self, scenario):
        policy = ScenarioProgramme(scenario, scenarios=3)
        assert policy.plan(first_observation(scenario)).status == "Optimal"
        play(policy, scenario, DayStream(scenario, 0, VALIDATION).draw(3))


def test_pieces_cost_nothing_where_there_is_no_depth():
    scenario = load_scenario("baseline")
    _, programme = lp(scenario)._built(0)
    assert programme.arrays.posted.shape == (1, 10, 3)


@pytest.mark.parametrize(("lots", "buckets"), [(1, 1), (3, 2), (2**22, 3), (100, 60)])
def test_any_size_of_order(lots, buckets):
    scenario = with_day_effects(order__size=lots, order__lot_size=1, order__buckets=buckets)
    days = DayStream(scenario, 0, VALIDATION).draw(3)
    for policy in (lp(scenario), lp_scenario(scenario, 3)):
        assert np.isfinite(play(policy, scenario, days).objective).all()
        assert policy.plan(first_observation(scenario)).status == "Optimal"
