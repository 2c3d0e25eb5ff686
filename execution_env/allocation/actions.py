"""The allocation grid: a discrete action as integer lots.

An action is a way to split the postable lots in parts of ``1 / resolution`` over the K algos and
"not posted". With m postable lots and parts p (K,) the total is ``m sum(p) / resolution`` rounded
down, shared out in proportion to p by the largest remainder (Hamilton's method; Balinski & Young
2001, Fair Representation), ties to the lower index.

Two facts keep the tables small whatever the size of the order (both are tested):

- adding ``resolution`` lots adds exactly p: quotas grow by whole lots and remainders stay. So
  ``allocation(m) = (m // resolution) p + allocation(m % resolution)``;
- from ``2 resolution`` lots on, all actions differ: totals differ where sum(p) differs, and otherwise
  two quotas of one algo lie at least two lots apart, further than rounding moves them.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.core.jit import inline, inner_inline, jit
from execution_env.core.memory import read_only
from execution_env.core.validation import check_indices

Lots = NDArray[np.int32]
Index = int | np.integer[Any]


class ActionGrid(NamedTuple):
    """The tables of one grid: A actions over K algos.

    Attributes:
        parts: (A, K), parts of ``1 / resolution`` of the postable lots; lexicographic, so action 0
            posts nothing and the last action posts everything through the first algo.
        remainders: (resolution, A, K), the allocation of fewer lots than ``resolution``.
        mask: (2 resolution + 1, A) int8, 1 where an action differs from all earlier ones; a row per
            number of postable lots, the last row for that many and more.
        twins: (2 resolution + 1, A), the first action with the same allocation.
    """

    parts: Lots
    remainders: Lots
    mask: NDArray[np.int8]
    twins: NDArray[np.int64]


def grid_size(algos: int, resolution: int) -> int:
    """Number of actions: ways to split ``resolution`` parts over the algos and "not posted"."""
    return comb(resolution + algos, algos)


@lru_cache(maxsize=64)
def action_grid(algos: int, resolution: int) -> ActionGrid:
    """Return the grid for K = ``algos``; callers share its arrays, which are read-only."""
    bars = np.array(list(combinations(range(resolution + algos), algos)), np.int32)
    parts = np.diff(bars, axis=1, prepend=np.int32(-1)) - np.int32(1)
    remainders = np.zeros((resolution, *parts.shape), np.int32)
    _fill_remainders(parts, remainders)
    rows = 2 * resolution + 1
    twins = np.empty((rows, len(parts)), np.int64)
    lots, actions = np.empty(parts.T.shape, np.int32), np.arange(len(parts))[:, None]
    everything = np.ones(len(parts), np.bool_)
    for postable in range(rows):
        postables = np.full(len(parts), postable, np.int32)
        allocate_grid(parts, remainders, actions, postables, everything, lots, 0, len(parts))
        _, first, inverse = np.unique(lots, axis=1, return_index=True, return_inverse=True)
        twins[postable] = first[inverse.reshape(-1)]
    mask = (twins == actions[:, 0]).astype(np.int8)
    return read_only(ActionGrid(parts, remainders, mask, twins))


@inner_inline
def _sum(lots: Lots) -> Any:
    total = np.int64(0)
    for i in range(lots.size):
        total += lots[i]
    return total


@inline
def split_lots(total: int, weights: Lots, out: Lots) -> None:
    """Share ``total`` lots in proportion to ``weights`` (K,) by the largest remainder.

    Ties go to the lower index; nothing is shared where all weights are zero.
    """
    lots = np.int64(total)  # products below exceed 32 bits
    whole = _sum(weights)
    left = lots if whole > 0 else 0
    for i in range(weights.size):
        out[i] = lots * weights[i] // whole if whole > 0 else 0
        left -= out[i]
    for _ in range(left):  # fewer than K
        best = -1
        largest = 0
        for i in range(weights.size):
            # An algo that got its extra lot has a remainder below zero.
            remainder = lots * weights[i] - out[i] * whole
            if remainder > largest:
                best, largest = i, remainder
        out[best] += 1


@jit
def _fill_remainders(parts: Lots, remainders: Lots) -> None:
    resolution = remainders.shape[0]
    for postable in range(resolution):
        for action in range(parts.shape[0]):
            total = postable * _sum(parts[action]) // resolution
            split_lots(total, parts[action], remainders[postable, action])


@inline
def first_outside(actions: NDArray[np.int64], most: int, which: NDArray[np.bool_]) -> int:
    """The first row of ``actions`` (n, M), among those that ``which`` selects, with a number below
    0 or above ``most``; -1 where there is none.
    """
    flat = actions.reshape(-1)
    outside = 0
    for j in range(
        np.uint64(flat.size)
    ):  # all are well, nearly always: find that out without branches
        outside |= (flat[j] < 0) | (flat[j] > most)
    if not outside:
        return -1
    for e in range(actions.shape[0]):
        for i in range(actions.shape[1]):
            if which[e] and not 0 <= actions[e, i] <= most:
                return e
    return -1


@inline
def allocate_grid(
    parts: Lots,
    remainders: Lots,
    actions: NDArray[np.int64],
    postable: Lots,
    which: NDArray[np.bool_],
    posted: Lots,
    first: int,
    last: int,
) -> None:
    """Write columns [first, last) of ``posted`` (K, n), where ``which`` selects them: the lots that
    ``actions`` (n, 1) post when ``postable`` (n,) may be.
    """
    # Unsigned: see ``transition`` on indices; and 32 bits divide faster than 64.
    resolution = np.uint32(remainders.shape[0])
    for e in range(np.uint64(first), np.uint64(last)):
        if which[e]:
            lots = np.uint32(postable[e])
            times = lots // resolution
            row, rest = np.uint64(actions[e, 0]), np.uint64(lots - times * resolution)
            for i in range(np.uint64(posted.shape[0])):
                posted[i, e] = np.int32(times) * parts[row, i] + remainders[rest, row, i]


@inline
def allocate_lots(
    requested: NDArray[np.int64],
    postable: Lots,
    which: NDArray[np.bool_],
    posted: Lots,
    first: int,
    last: int,
) -> None:
    """Write columns [first, last) of ``posted`` (K, n), where ``which`` selects them: ``requested``
    (n, K) lots, scaled down in proportion where their sum exceeds ``postable`` (n,).
    """
    for e in range(first, last):
        if which[e]:
            if _sum(requested[e]) > postable[e]:
                split_lots(postable[e], requested[e], posted[:, e])
            else:
                for i in range(requested.shape[1]):
                    posted[i, e] = requested[e, i]


# Masks.


@inline
def write_masks(
    masks: NDArray[np.int8], postable: Lots, out: NDArray[np.int8], first: Index, last: Index
) -> None:
    """Write rows [first, last) of ``out`` (n, A): the row of a grid's ``mask`` that is for
    ``postable`` (n,) lots.
    """
    most = masks.shape[0] - 1
    for e in range(np.uint64(first), np.uint64(last)):
        row = np.uint64(min(postable[e], most))
        for action in range(np.uint64(out.shape[1])):
            out[e, action] = masks[row, action]


def grid_masks(grid: ActionGrid, postable: Lots) -> NDArray[np.int8]:
    """(n, A) fresh, 1 for actions that differ from all earlier ones where ``postable`` (n,) lots may
    be posted.

    Raises:
        ValueError: postable lots are negative.
    """
    check_indices("postable", postable)
    masks = np.empty((postable.size, len(grid.parts)), np.int8)
    write_masks(grid.mask, postable, masks, 0, postable.size)
    return masks


def lots_masks(lots: int, algos: int, postable: Lots) -> NDArray[np.int8]:
    """(n, K (lots + 1)) fresh, 1 for the numbers of lots of one algo, 0 to ``lots`` for each of K =
    ``algos``, that may be posted where ``postable`` (n,) may be.
    """
    allowed = (np.arange(lots + 1) <= postable[:, None]).astype(np.int8)
    return np.tile(allowed, (1, algos))
