"""Observations as states, the bins of estimates, and the stages that refine them."""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.q_learning.algorithm import Hyperparameters, Table
from agents.q_learning.orders import Trainer
from agents.q_learning.stages import (
    MOST_TABLE_BYTES,
    VISITS,
    choose_bins,
    coarser,
    refine,
    stages,
    worst_return,
)
from agents.q_learning.states import (
    MOST_LEVELS,
    StateSpace,
    bin_of,
    bins_of,
    hidden_algos,
    level_of,
    with_estimates,
    without_estimates,
)
from execution_env import DayStream, Scenario, load_scenario, scenarios
from execution_env.allocation.batch import Batch
from tests.allocation.strategies import scenarios_drawn

F = np.float32


def observation(space: StateSpace, bucket: int, remaining: int, estimates: Any) -> list[float]:
    """As the environment makes it."""
    share = 1.0 / space.lots
    return [share * remaining, (space.buckets - bucket) / space.buckets, *estimates]


def small_space(lots: int, bins: list[int], buckets: int = 3) -> StateSpace:
    """Edges at 0.5, 0.6, ... of every algo."""
    most = max(bins) - 1
    edges = np.full((buckets, len(bins), most), np.inf, np.float32)
    for i, count in enumerate(bins):
        edges[:, i, : count - 1] = 0.5 + np.arange(count - 1) / 10
    return StateSpace(lots, buckets, min(lots + 1, MOST_LEVELS), np.array(bins), edges)


@cache
def met(name: str, blocks: int = 2, **overrides: Any) -> np.ndarray:
    """(B, K, n) estimates of random play."""
    scenario = load_scenario(name, dict(overrides))
    trainer, space = Trainer(scenario, 0), without_estimates(scenario)
    table = Table.start(1, space.size, scenario.grid_size, 0.0)
    found = []
    for _ in range(blocks):
        trainer.block(space, table, np.ones(1), Hyperparameters(), 1.0)
        found.append(trainer.notes.estimates.copy())
    return np.concatenate(found, axis=2)


# States.


@pytest.mark.parametrize(
    ("lots", "bins"), [(1, [1]), (5, [2, 3]), (20, [1, 4]), (100, [3, 1, 2]), (400, [2, 1])]
)
def test_what_differs_has_states_that_differ(lots: int, bins: list[int]) -> None:
    space = small_space(lots, bins)
    middles = [0.45 + np.arange(count) / 10 for count in bins]
    rows = [
        observation(space, bucket, remaining, estimates)
        for bucket, remaining in product(range(space.buckets), range(lots + 1))
        for estimates in product(*middles)
    ]
    states = space.states(np.array(rows, np.float32))
    assert sorted(states.tolist()) == list(range(space.size))
    assert space.size == space.buckets * (lots + 1) * math.prod(bins)


@given(lots=st.integers(1, 5000), buckets=st.integers(1, 60), data=st.data())
def test_states_are_in_range_and_their_buckets_and_levels_those_of_the_order(
    lots: int, buckets: int, data: st.DataObject
) -> None:
    space = small_space(lots, [2, 3], buckets)
    bucket = data.draw(st.integers(0, buckets - 1))
    remaining = data.draw(st.integers(0, lots))
    estimates = data.draw(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2))
    row = np.array([observation(space, bucket, remaining, estimates)], np.float32)
    (state,) = space.states(row)
    assert 0 <= state < space.size
    assert state // (space.levels * 6) == bucket
    level = state // 6 % space.levels
    assert level == level_of(remaining, lots, space.levels)
    if lots < MOST_LEVELS:
        assert level == remaining
    in_bins = [
        sum(edge <= e for edge in edges)
        for e, edges in zip(estimates, ([0.5], [0.5, F(0.6)]), strict=True)
    ]
    assert state % 6 == 3 * in_bins[0] + in_bins[1]


def test_400_lots_are_told_apart_and_401_are_not() -> None:
    for lots, exact in ((400, True), (401, False)):
        space = small_space(lots, [1])
        levels = level_of(np.arange(lots + 1), lots, space.levels)
        assert (len(set(levels.tolist())) == lots + 1) == exact
        assert space.levels == 401


@given(lots=st.integers(MOST_LEVELS, 1_000_000))
def test_many_lots_are_binned_evenly_with_none_and_all_on_their_own(lots: int) -> None:
    remaining = np.unique(np.append(np.linspace(0, lots, 5000).astype(int), [1, lots - 1, lots]))
    levels = level_of(remaining, lots, MOST_LEVELS)
    assert (np.diff(levels) >= 0).all()
    assert levels[0] == 0
    assert levels[1] == 1
    assert levels[-1] == MOST_LEVELS - 1
    # Rounded up: an order with something left is never taken for one that is done.
    exact = remaining * (MOST_LEVELS - 1) / lots
    assert (levels >= exact - 1e-9).all()
    assert (levels < exact + 1 + 1e-9).all()


def test_an_estimate_on_an_edge_belongs_to_the_bin_above() -> None:
    edges = np.array([0.1, 0.3, 0.3, 0.7], np.float32)
    for number, edge in ((1, edges[0]), (3, edges[1]), (4, edges[3])):
        below, above = np.nextafter(edge, F(0)), np.nextafter(edge, F(1))
        assert bin_of(edges, 5, edge) == bin_of(edges, 5, above) == number
        assert bin_of(edges, 5, below) < number
    assert bin_of(edges, 5, F(0)) == 0
    assert bin_of(edges, 5, F(1)) == 4
    assert bin_of(edges, 2, F(1)) == 1
    assert bin_of(edges[:0], 1, F(1)) == 0


@given(
    edges=st.lists(st.floats(0, 1, width=32), max_size=7).map(sorted),
    estimates=st.lists(st.floats(0, 1, width=32), min_size=1),
)
def test_bins_one_by_one_and_at_once(edges: list[float], estimates: list[float]) -> None:
    array = np.array(edges, np.float32)
    one_by_one = [bin_of(array, len(edges) + 1, F(estimate)) for estimate in estimates + edges]
    assert bins_of(array, np.array(estimates + edges, np.float32)).tolist() == one_by_one


@pytest.mark.parametrize("columns", [2, 5, 11])
def test_without_bins_all_observations_do(columns: int) -> None:
    space = without_estimates(load_scenario("baseline"))
    row = np.full((1, columns), 0.5, np.float32)
    assert space.states(row).tolist() == [5 * 101 + 50]


def test_full_observations_are_default_ones_with_more() -> None:
    scenario = load_scenario("baseline")
    space = with_estimates(scenario, np.array([2, 3, 4]), met("baseline"))
    batch = Batch(scenario, 300, "grid", "full", informs=False)
    batch.days.put(slice(None), DayStream(scenario, 4).draw(300))
    full = batch.advance(batch.no_actions, batch.everyone, batch.nobody).observations
    for _ in range(3):
        actions = np.random.default_rng(0).integers(0, 35, (300, 1))
        full = batch.advance(actions, batch.nobody, batch.everyone).observations
    assert np.array_equal(space.states(full), space.states(full[:, :5]))
    assert np.array_equal(space.states(full), space.states(np.asfortranarray(full)))


# Bins.


def test_edges_are_quantiles_of_what_was_met() -> None:
    scenario, estimates = load_scenario("baseline"), met("baseline")
    bins = np.array([2, 4, 5])
    space = with_estimates(scenario, bins, estimates)
    assert space.edges.shape == (10, 3, 4)
    assert space.edges.dtype == np.float32
    assert space.bins.tolist() == [2, 4, 5]
    for b, i in product(range(10), range(3)):
        edges = space.edges[b, i]
        assert np.isinf(edges[bins[i] - 1 :]).all()
        assert np.isin(edges[: bins[i] - 1], estimates[b, i]).all()
        assert (np.diff(edges[: bins[i] - 1]) >= 0).all()
    for b, i in product(range(4, 10), range(3)):  # later there are few ties
        shares = np.bincount(bins_of(space.edges[b, i, : bins[i] - 1], estimates[b, i])) / 1024
        assert shares == pytest.approx(np.full(bins[i], 1 / bins[i]), abs=0.05)
    # In the first bucket nothing has been learned: all orders share a state.
    first = np.column_stack([np.ones((1024, 2)), estimates[0].T]).astype(np.float32)
    assert len(set(space.states(first).tolist())) == 1


def test_quantiles_of_a_known_sample() -> None:
    scenario = load_scenario("two-algos", {"order.buckets": 2})
    estimates = np.broadcast_to(np.arange(8, dtype=np.float32) / 8, (2, 2, 8))
    space = with_estimates(scenario, np.array([4, 2]), estimates)
    assert space.edges[0, 0].tolist() == [0.25, 0.5, 0.75]
    assert space.edges[1, 1].tolist() == [0.5, np.inf, np.inf]


def test_what_is_hidden() -> None:
    assert hidden_algos(load_scenario("baseline")).all()
    assert not hidden_algos(load_scenario("known-rates")).any()
    mixed = {"algos.Neutral.day_sd": 0.0, "algos.Neutral.liquidity_loading": 0.0}
    assert hidden_algos(load_scenario("baseline", mixed)).tolist() == [True, False, True]


def choose(scenario: Scenario, most: int, tables: int, updates: int = 10**12) -> Any:
    algos, n = len(scenario.algos), 50
    generator = np.random.default_rng(0)
    estimates = generator.random((scenario.buckets, algos, n)).astype(np.float32)
    return choose_bins(scenario, most, estimates, tables, updates)


@pytest.mark.parametrize("tables", [1, 2])
@pytest.mark.parametrize("name", scenarios())
def test_tables_stay_below_64_megabytes(name: str, tables: int) -> None:
    scenario = load_scenario(name)
    bins = choose(scenario, 64, tables)
    space = without_estimates(scenario)._replace(bins=bins)
    size = 8 * tables * space.size * scenario.grid_size
    assert size <= MOST_TABLE_BYTES
    hidden = hidden_algos(scenario)
    assert (bins[~hidden] == 1).all()
    assert (bins <= 64).all()
    for i in np.flatnonzero(hidden):  # one more would not do
        grown = bins.copy()
        grown[i] += 1
        assert grown[i] > 64 or size * grown.prod() // bins.prod() > MOST_TABLE_BYTES


def test_few_updates_fill_few_states() -> None:
    scenario = load_scenario("baseline")
    pairs = without_estimates(scenario).size * scenario.grid_size
    assert choose(scenario, 8, 1, VISITS * pairs * 8).tolist() == [2, 2, 2]
    assert choose(scenario, 8, 1, VISITS * pairs * 8 - 1).prod() < 8
    assert choose(scenario, 8, 2, VISITS * pairs * 16).tolist() == [2, 2, 2]
    assert choose(scenario, 8, 1, 0).tolist() == [1, 1, 1]
    assert choose(scenario, 1, 1).tolist() == [1, 1, 1]
    assert choose(scenario, 3, 1).tolist() == [3, 3, 3]


def test_of_equals_the_most_uncertain_gets_more_bins() -> None:
    scenario = load_scenario("baseline")
    estimates = np.random.default_rng(0).random((10, 3, 50)) * np.array([1, 3, 2])[:, None]
    pairs = without_estimates(scenario).size * scenario.grid_size
    for combinations, bins in ((2, [1, 2, 1]), (4, [1, 2, 2]), (12, [2, 3, 2])):
        updates = VISITS * pairs * combinations
        assert choose_bins(scenario, 9, estimates, 1, updates).tolist() == bins


def test_an_order_too_large_for_any_bins() -> None:
    scenario = load_scenario("five-algos", {"order.buckets": 40, "participation": None})
    assert (choose(scenario, 64, 2) >= 1).all()


# Stages.


@given(blocks=st.integers(1, 10_000_000))
def test_stages_end_with_the_training(blocks: int) -> None:
    found = stages(blocks)
    assert [stage.divisor for stage in found] == [0, 4, 2, 1]
    ends = [stage.blocks for stage in found]
    assert ends == sorted(ends)
    assert ends[-1] == blocks


def test_coarser_bins() -> None:
    assert coarser(np.array([1, 2, 5, 8]), 4).tolist() == [1, 1, 2, 2]
    assert coarser(np.array([1, 2, 5, 8]), 1).tolist() == [1, 2, 5, 8]


@pytest.mark.parametrize("tables", [1, 2])
def test_refining_gives_each_state_the_values_of_the_one_it_lies_in(tables: int) -> None:
    scenario, estimates = load_scenario("baseline"), met("baseline")
    generator = np.random.default_rng(1)
    old = with_estimates(scenario, np.array([1, 2, 3]), estimates)
    new = with_estimates(scenario, np.array([2, 4, 6]), estimates)
    shape = (tables, old.size, scenario.grid_size)
    table = Table(
        generator.random(shape, np.float32), generator.integers(0, 3, shape, dtype=np.int32)
    )
    refined = refine(old, table, new, estimates)
    assert refined.values.shape == refined.visits.shape == (tables, new.size, scenario.grid_size)
    assert (refined.values.dtype, refined.visits.dtype) == (np.float32, np.int32)
    assert refined.values.flags.c_contiguous
    # The edges of the coarse bins are edges of the fine ones, so nesting is exact.
    for b in range(10):
        rows = np.column_stack(
            [
                generator.integers(0, 101, 1024) / 100,
                np.full(1024, (10 - b) / 10),
                estimates[b].T,
            ]
        ).astype(np.float32)
        before, after = old.states(rows), new.states(rows)
        assert np.array_equal(refined.values[:, after], table.values[:, before])
        assert np.array_equal(refined.visits[:, after], np.minimum(table.visits[:, before], 1))


def test_refining_to_the_same_bins_changes_values_nowhere() -> None:
    scenario, estimates = load_scenario("two-algos"), met("two-algos")
    space = with_estimates(scenario, np.array([3, 4]), estimates)
    shape = (1, space.size, scenario.grid_size)
    table = Table(np.random.default_rng(2).random(shape, np.float32), np.ones(shape, np.int32))
    again = refine(space, table, space, estimates)
    rows = np.array(
        [
            [0.3, (10 - b) / 10, *estimates[b, :, j]]
            for b in range(10)
            for j in range(estimates.shape[2])
        ],
        np.float32,
    )
    states = space.states(rows)
    assert np.array_equal(again.values[:, states], table.values[:, states])


# Starting values.


@settings(max_examples=60)
@given(scenario=scenarios_drawn(max_buckets=12, max_lots=60, max_algos=4), seed=st.integers(0, 9))
def test_every_return_lies_between_the_pessimistic_and_the_optimistic_start(
    scenario: Scenario, seed: int
) -> None:
    n, generator = 16, np.random.default_rng(seed)
    batch = Batch(scenario, n, "grid", "full", informs=False)
    batch.days.put(slice(None), DayStream(scenario, seed).draw(n))
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    returns = np.zeros(n)
    last = scenario.grid_size - 1
    for _ in range(scenario.buckets):
        # Nothing, everything through the first algo, or anything.
        actions = generator.choice([0, last, generator.integers(0, last + 1)], (n, 1))
        returns += batch.advance(actions, batch.nobody, batch.everyone).rewards
    assert (returns <= 0).all()
    assert (returns >= worst_return(scenario) - 1e-9).all()


def test_the_worst_return_of_the_baseline() -> None:
    # 2 a bucket for ten buckets, 5 for nine bucket ends, 10 for what is left.
    assert worst_return(load_scenario("baseline")) == pytest.approx(-(20 + 45 + 10))
