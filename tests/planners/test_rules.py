from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import execution_env
from agents.policy import Lots, Observations, Policy
from agents.rollouts.allocation import play
from agents.rules import OneAlgo, PassiveThenSweep, Random, Twap, one_algo_names, rules
from execution_env import DayStream, Scenario, load_scenario, numbered_days
from execution_env.allocation.market.day_stream import POLICY, stream_generator
from tests.allocation.strategies import scenarios_drawn

UNCAPPED = {"volume": None, "participation": None}


def scenario_of(
    rates: Any, prices: Any, *, lots: int = 100, buckets: int = 4, **more: Any
) -> Scenario:
    return load_scenario(
        {
            "name": "by hand",
            "order": {"size": lots, "lot_size": 1, "buckets": buckets},
            "algos": [
                {"name": f"algo {j}", "cost": cost, "fill_rate": rate}
                for j, (rate, cost) in enumerate(zip(rates, prices, strict=True), 1)
            ],
            "penalties": {"envelope": 1.0, "residual": 5.0},
            **more,
        }
    )


def seen(
    scenario: Scenario,
    bucket: int,
    filled: int,
    estimates: Any,
    postable: int | None = None,
    edges: tuple[float, float] = (0.0, 1.0),
) -> Observations:
    """One "full" observation."""
    n, b = scenario.lots, scenario.buckets
    left = n - filled
    most = left if postable is None else postable
    evidence = [0.0] * len(estimates)
    row = [left / n, (b - bucket) / b, *estimates, *evidence, *edges, most / n]
    return np.array([row], np.float32)


def test_names() -> None:
    assert list(rules(load_scenario("baseline"))) == [
        "all-aggressive",
        "all-neutral",
        "all-passive",
        "passive-then-sweep",
        "twap",
        "random",
    ]
    names = {"algos.1.name": "A  b", "algos.2.name": "a b", "algos.3.name": "a b-2"}
    awkward = load_scenario("baseline", names)
    assert one_algo_names(awkward) == ["all-a-b", "all-a-b-2", "all-a-b-2-3"]
    assert [make(awkward).name for make in rules(awkward).values()] == list(rules(awkward))


def test_there_is_no_algo_4() -> None:
    with pytest.raises(ValueError, match="algo = 4: must be a whole number of algos from 1 to 3"):
        OneAlgo(load_scenario("baseline"), 4)


@pytest.mark.parametrize("algo", [1, 2, 3])
def test_one_algo_gets_everything_postable(algo: int) -> None:
    scenario = load_scenario("baseline")
    rule = OneAlgo(scenario, algo)
    rollout = play(rule, scenario, numbered_days(scenario, range(50)))
    assert (np.delete(rollout.posted, algo - 1, axis=1) == 0).all()
    assert (rollout.posted[0, algo - 1] == 30).all()  # max_rate of the expected volume
    assert rule.name == one_algo_names(scenario)[algo - 1]


# Passive then sweep.


def sweeps(scenario: Scenario, observation: Observations) -> int:
    lots = PassiveThenSweep(scenario).decide(observation)[0]
    assert np.count_nonzero(lots) == 1
    return int(lots.argmax())


def test_the_sweep_starts_when_it_must() -> None:
    scenario = scenario_of([0.5, 1.0], [0.0, 2.0])
    # A certain fill needs the last bucket only.
    assert [sweeps(scenario, seen(scenario, b, 0, [0.5, 1.0])) for b in range(4)] == [0, 0, 0, 1]
    # Of 50 lots 0.85 leaves 7.5 after one bucket, 1.1 after two, 0.2 after three.
    often = scenario_of([0.5, 0.85], [0.0, 2.0], buckets=5)
    assert [sweeps(often, seen(often, b, 0, [0.5, 0.85])) for b in range(5)] == [0, 0, 1, 1, 1]
    assert sweeps(often, seen(often, 3, 98, [0.5, 0.85])) == 0  # of 1 lot, 0.15


def test_the_sweep_starts_earlier_under_a_cap() -> None:
    scenario = scenario_of([0.2, 1.0], [0.0, 2.0], participation={"max_posted": 30})
    # 94 lots left after a passive bucket, and 90 in three: too late.
    assert sweeps(scenario, seen(scenario, 0, 0, [0.2, 1.0], 30)) == 1
    assert sweeps(scenario, seen(scenario, 0, 4, [0.2, 1.0], 30)) == 0
    volume = {"expected": [100.0, 100.0, 400.0, 400.0]}
    growing = scenario_of(
        [0.2, 1.0], [0.0, 2.0], volume=volume, participation={"max_rate": 0.1, "window": 1}
    )
    # 10 lots now, as many in the next, 40 in each of the last two.
    assert sweeps(growing, seen(growing, 0, 8, [0.2, 1.0], 10)) == 0
    assert sweeps(growing, seen(growing, 0, 7, [0.2, 1.0], 10)) == 1


def test_the_sweep_minds_a_hard_upper_edge() -> None:
    edges = {"lower": [0.0] * 4, "upper": [0.3, 0.6, 0.9, 1.0], "upper_mode": "hard"}
    scenario = scenario_of([0.2, 1.0], [0.0, 2.0], envelope=edges)
    assert sweeps(scenario, seen(scenario, 2, 60, [0.2, 1.0], 30)) == 0
    closed = scenario_of([0.2, 1.0], [0.0, 2.0], envelope=edges | {"upper": [0.3, 0.6, 0.9, 0.9]})
    assert sweeps(closed, seen(closed, 2, 60, [0.2, 1.0], 30)) == 1  # it cannot complete: hurry


def test_the_sweep_carries_estimates_over_to_later_predictions() -> None:
    scenario = scenario_of([0.2, [0.8, 0.8, 0.8, 1.0]], [0.0, 2.0])
    assert sweeps(scenario, seen(scenario, 2, 0, [0.2, 0.8])) == 0  # the last bucket fills all
    assert sweeps(scenario, seen(scenario, 2, 0, [0.2, 0.4])) == 1  # half as well as predicted


def test_cheap_is_the_price_of_a_filled_share() -> None:
    posted = scenario_of([0.1, 0.5, 1.0], [0.5, 1.0, 3.0])
    filled = scenario_of([0.1, 0.5, 1.0], [0.5, 1.0, 3.0], costs={"basis": "filled"})
    estimates = [0.1, 0.5, 1.0]
    assert sweeps(posted, seen(posted, 0, 0, estimates)) == 1  # 5, 2 and 3
    assert sweeps(filled, seen(filled, 0, 0, estimates)) == 0
    free = scenario_of([0.1, 0.5, 1.0], [0.0, 0.0, 0.0])
    assert sweeps(free, seen(free, 0, 0, estimates)) == 2  # ties: what fills best
    dead = scenario_of([0.0, 0.5, 1.0], [0.0, 1.0, 3.0])
    assert sweeps(dead, seen(dead, 0, 0, [0.0, 0.5, 1.0])) == 1  # costs nothing, fills nothing


def test_costs_are_those_of_the_bucket() -> None:
    scenario = scenario_of([0.5, 0.5], [[1.0, 2.0, 1.0, 1.0], [2.0, 1.0, 2.0, 0.5]])
    chosen = [sweeps(scenario, seen(scenario, b, 97, [0.5, 0.5])) for b in range(4)]
    assert chosen == [0, 1, 0, 1]  # in the last bucket the best-filling, ties to the cheaper


# Not with shortfall costs, where what is left is bought at the end for little more than a sweep costs.
@pytest.mark.parametrize(
    "name", [name for name in execution_env.scenarios() if not load_scenario(name).shortfall]
)
def test_passive_then_sweep_completes_more_than_the_cheapest_algo(name: str) -> None:
    scenario = load_scenario(name)
    days = DayStream(scenario, 5).draw(400)
    patient = play(OneAlgo(scenario, len(scenario.algos)), scenario, days)
    swept = play(PassiveThenSweep(scenario), scenario, days)
    assert swept.residual.mean() < 0.5 * patient.residual.mean()
    assert swept.objective.mean() < patient.objective.mean()


# TWAP.


def follows(scenario: Scenario, observation: Observations) -> list[int]:
    return [int(lots) for lots in Twap(scenario).decide(observation)[0]]


def test_twap_posts_what_the_schedule_asks_for() -> None:
    scenario = scenario_of([0.2, 0.5, 1.0], [0.0, 1.0, 3.0])
    estimates = [0.2, 0.5, 1.0]
    # 25 lots are due: 0.2 of 100 is too little, 0.5 of 100 is enough.
    assert follows(scenario, seen(scenario, 0, 0, estimates)) == [0, 50, 0]
    assert follows(scenario, seen(scenario, 0, 5, estimates, 95)) == [0, 40, 0]
    assert follows(scenario, seen(scenario, 0, 10, estimates)) == [75, 0, 0]
    assert follows(scenario, seen(scenario, 0, 0, estimates, 30)) == [0, 0, 25]
    assert follows(scenario, seen(scenario, 0, 0, estimates, 20)) == [0, 0, 20]  # nobody keeps up
    assert follows(scenario, seen(scenario, 1, 50, estimates)) == [0, 0, 0]  # on schedule
    assert follows(scenario, seen(scenario, 1, 60, estimates)) == [0, 0, 0]
    assert follows(scenario, seen(scenario, 3, 60, estimates)) == [0, 0, 40]  # all that is left
    assert follows(scenario, seen(scenario, 3, 60, [0.2, 0.5, 0.9])) == [0, 0, 40]
    assert follows(scenario, seen(scenario, 0, 22, [0.7, 0.8, 0.9])) == [5, 0, 0]  # 3 / 0.7


def test_twap_without_fills_in_sight() -> None:
    scenario = scenario_of([0.0, 0.0], [2.0, 1.0])
    assert follows(scenario, seen(scenario, 0, 0, [0.0, 0.0])) == [0, 100]  # alike: the cheaper
    assert follows(scenario, seen(scenario, 0, 25, [0.0, 0.0])) == [0, 0]


def test_the_schedule_is_the_line_of_the_envelope() -> None:
    def due(envelope: dict[str, Any], bucket: int = 1, **more: Any) -> int:
        scenario = scenario_of([1.0], [1.0], envelope=envelope, **more)
        edges = more.pop("edges", None)
        return follows(scenario, seen(scenario, bucket, 0, [1.0], edges=edges or (0.0, 1.0)))[0]

    volume = {"volume": {"expected": [1.0, 2.0, 3.0, 4.0]}}
    assert due({}) == 50
    assert due({"kind": "twap", "band": 0.9}) == 50
    assert due({"kind": "vwap", "band": 0.1}, **volume) == 30
    assert due({"kind": "vwap", "band": 0.1}, 3, **volume) == 100
    edges = {"lower": [0.0, 0.2, 0.4, 0.5], "upper": [0.2, 0.4, 0.6, 1.0]}
    scenario = scenario_of([1.0], [1.0], envelope=edges)
    assert follows(scenario, seen(scenario, 1, 0, [1.0], edges=(0.2, 0.4))) == [30]


def test_a_tracking_schedule_is_read_off_the_edge_that_was_not_cut() -> None:
    envelope = {"kind": "vwap", "band": 0.2, "track_volume": True}
    scenario = scenario_of([1.0], [1.0], envelope=envelope, volume={"expected": [1.0] * 4})
    assert follows(scenario, seen(scenario, 1, 0, [1.0], edges=(0.15, 0.55))) == [35]
    assert follows(scenario, seen(scenario, 0, 0, [1.0], edges=(0.0, 0.3))) == [10]
    assert follows(scenario, seen(scenario, 2, 0, [1.0], edges=(0.7, 1.0))) == [90]
    assert follows(scenario, seen(scenario, 1, 0, [1.0], edges=(0.0, 1.0))) == [50]


def test_twap_stays_in_the_envelope() -> None:
    scenario = load_scenario("baseline")
    days = DayStream(scenario, 5).draw(500)
    rollout = play(Twap(scenario), scenario, days)
    assert rollout.behind.mean() + rollout.ahead.mean() < 0.02
    assert rollout.residual.mean() < 0.02


# Random.


def test_random_is_uniform_over_the_grid() -> None:
    scenario = load_scenario(
        "baseline", {"actions.resolution": 1}
    )  # nothing, or one algo: 4 actions
    rule = Random(scenario, 3)
    rows = np.zeros((20_000, 2), np.float32)
    rows[:, 1] = 1.0
    chosen = np.bincount(rule.actions(rows), minlength=4) / 20_000
    np.testing.assert_allclose(chosen, 0.25, atol=0.015)


def one_by_one(rule: Policy, scenario: Scenario, seeds: range) -> Lots:
    """(days, B, K) lots posted in a loop over days with ``predict`` on single observations."""
    env = rule.environment()
    posted = []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            action, _ = rule.predict(observation)
            observation, _, over, _, info = env.step(action)
            posted.append(info["lots_posted"])
    return np.array(posted).reshape(len(seeds), scenario.buckets, -1)


@pytest.mark.parametrize("name", rules(load_scenario("baseline")))
def test_a_loop_over_days_posts_what_a_batch_posts(name: str) -> None:
    scenario = load_scenario("baseline")
    make = rules(scenario)[name]
    seeds = range(100, 112)
    batch = play(make(scenario), scenario, numbered_days(scenario, seeds))
    looped = one_by_one(make(scenario), scenario, seeds)
    np.testing.assert_array_equal(batch.posted, looped.transpose(1, 2, 0))


def test_random_draws_a_row_of_numbers_per_order() -> None:
    scenario = load_scenario("baseline")
    numbers = stream_generator(4, POLICY).random((2, scenario.buckets))
    rule = Random(scenario, 4)
    for b in range(scenario.buckets):
        left = 1 - b / scenario.buckets
        chosen = rule.actions(np.array([[0.5, left]] * 2, np.float32))
        np.testing.assert_array_equal(chosen, np.floor(numbers[:, b] * scenario.grid_size))


def test_random_depends_on_its_seed_alone() -> None:
    scenario = load_scenario("baseline")
    days = numbered_days(scenario, range(20))
    first, again = (play(Random(scenario, 1), scenario, days).posted for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, play(Random(scenario, 2), scenario, days).posted)
    with pytest.raises(ValueError, match="seed = -1"):
        Random(scenario, -1)


def test_random_numbers_stay_with_places_in_the_batch() -> None:
    scenario = load_scenario("baseline")
    start, later = [1.0, 1.0], [0.8, 0.9]
    rule, other = Random(scenario), Random(scenario)
    rule.actions(np.array([start, start], np.float32))
    other.actions(np.array([start, start], np.float32))
    # The first order is replaced by a new one; the second goes on as if alone.
    mixed = rule.actions(np.array([start, later], np.float32))
    both = other.actions(np.array([later, later], np.float32))
    assert mixed[1] == both[1]
    # A batch of another size is of new orders, whatever their buckets.
    assert rule.actions(np.array([later] * 3, np.float32)).shape == (3,)
    assert rule.actions(np.array([[0.5, 0.1]], np.float32)).shape == (1,)


# All of them.


@given(scenarios_drawn(max_buckets=12, max_lots=300), st.integers(0, 100))
@settings(max_examples=35)
def test_rules_post_whole_lots_that_may_be_posted(scenario: Scenario, seed: int) -> None:
    class Watched(Policy):
        """Checks what a rule says, and that it says the same one order at a time."""

        def __init__(self, rule: Policy) -> None:
            super().__init__(rule.scenario, rule.name)
            self.rule = rule

        def decide(self, observations: Observations) -> Lots:
            before = observations.copy()
            lots = self.rule.decide(observations)
            assert lots.shape == (len(observations), len(scenario.algos))
            assert lots.dtype == np.int64
            assert (lots >= 0).all()
            postable = np.rint(observations[:, -1] * np.float64(scenario.lots))
            assert (lots.sum(axis=1) <= postable).all()
            if not isinstance(self.rule, Random):
                alone = [self.rule.decide(row[None])[0] for row in observations]
                np.testing.assert_array_equal(lots, alone)
            seen_.append(before)
            np.testing.assert_array_equal(observations, before)
            return lots

    days = DayStream(scenario, seed).draw(3)
    for make in rules(scenario).values():
        seen_: list[Observations] = []
        rule = make(scenario)
        play(Watched(rule), scenario, days)
        if not isinstance(rule, Random):  # orders in any mix of buckets
            mixed = np.concatenate(seen_[::-1])
            apart = np.concatenate([rule.decide(rows) for rows in seen_[::-1]])
            np.testing.assert_array_equal(rule.decide(mixed), apart)


def test_thousands_of_orders_take_little_time() -> None:
    scenario = load_scenario("baseline", {"order.buckets": 100, **UNCAPPED})
    days = DayStream(scenario, 0).draw(500)
    for make in rules(scenario).values():
        assert np.isfinite(play(make(scenario), scenario, days).objective).all()
