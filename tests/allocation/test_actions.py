from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_env.allocation.actions import (
    action_grid,
    allocate_grid,
    allocate_lots,
    grid_size,
    split_lots,
)


def largest_remainder(total: int, weights: list[int]) -> list[int]:
    """Hamilton's method in exact arithmetic, independent of the jitted one."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    quotas = [Fraction(total * weight, whole) for weight in weights]
    lots = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(weights)), key=lambda i: (lots[i] - quotas[i], i))
    for i in by_remainder[: total - sum(lots)]:
        lots[i] += 1
    return lots


def allocated(algos: int, resolution: int, postable: int) -> np.ndarray:
    """(A, K) lots of every action."""
    grid = action_grid(algos, resolution)
    count = len(grid.parts)
    posted = np.zeros((algos, count), np.int32)
    actions, everyone = np.arange(count)[:, None], np.ones(count, np.bool_)
    postables = np.full(count, postable, np.int32)
    allocate_grid(grid.parts, grid.remainders, actions, postables, everyone, posted, 0, count)
    return posted.T


grids = st.tuples(st.integers(1, 6), st.integers(1, 9)).filter(lambda g: grid_size(*g) <= 500)


def test_the_default_grid_has_35_actions_from_nothing_to_all_through_the_first() -> None:
    parts = action_grid(3, 4).parts
    assert len(parts) == 35
    assert parts[0].tolist() == [0, 0, 0]
    assert parts[-1].tolist() == [4, 0, 0]
    assert sorted(map(tuple, parts)) == list(map(tuple, parts))


@given(grids)
def test_a_grid_lists_every_split_once(grid: tuple[int, int]) -> None:
    parts = action_grid(*grid).parts
    assert len({tuple(row) for row in parts.tolist()}) == len(parts) == comb(sum(grid), grid[0])
    assert parts.min() >= 0
    assert parts.sum(axis=1).max() == grid[1]


@given(grids, st.integers(0, 3000))
def test_the_tables_give_the_largest_remainder_allocation(
    grid: tuple[int, int], postable: int
) -> None:
    parts = action_grid(*grid).parts
    expected = [largest_remainder(postable * sum(row) // grid[1], row) for row in parts.tolist()]
    np.testing.assert_array_equal(allocated(*grid, postable), expected)


@given(grids, st.integers(0, 60))
def test_the_mask_marks_the_distinct_allocations_and_twins_post_the_same(
    grid: tuple[int, int], postable: int
) -> None:
    tables = action_grid(*grid)
    lots = list(map(tuple, allocated(*grid, postable).tolist()))
    row = min(postable, len(tables.mask) - 1)
    for action, allocation in enumerate(lots):
        first = lots.index(allocation)
        assert tables.twins[row, action] == first
        assert tables.mask[row, action] == (action == first)


@given(st.integers(0, 10**7), st.lists(st.integers(0, 10**7), min_size=1, max_size=8))
def test_split_lots_is_hamiltons_method(total: int, weights: list[int]) -> None:
    out = np.zeros(len(weights), np.int64)
    split_lots(total, np.array(weights), out)
    assert out.tolist() == largest_remainder(total, weights)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6), st.integers(0, 600))
def test_lots_are_posted_as_asked_or_scaled_down_to_what_is_postable(
    requested: list[int], postable: int
) -> None:
    posted = np.zeros((len(requested), 1), np.int32)
    allocate_lots(
        np.array([requested]),
        np.array([postable], np.int32),
        np.ones(1, np.bool_),
        posted,
        0,
        1,
    )
    expected = requested if sum(requested) <= postable else largest_remainder(postable, requested)
    assert posted[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("postable", "parts", "expected"),
    [
        (10, [2, 1, 1], [5, 3, 2]),  # quotas 5, 2.5, 2.5: the tie goes to the lower index
        (3, [1, 1, 1], [1, 1, 0]),  # 3/4 of 3 lots is 2 lots
        (1, [1, 0, 0], [0, 0, 0]),
        (1, [4, 0, 0], [1, 0, 0]),
        (100, [0, 1, 3], [0, 25, 75]),
    ],
)
def test_allocations_worked_out_by_hand(
    postable: int, parts: list[int], expected: list[int]
) -> None:
    action = action_grid(3, 4).parts.tolist().index(parts)
    assert allocated(3, 4, postable)[action].tolist() == expected
