"""Stages of training, from a coarse table to a fine one.

A table without estimates is learned in a second, and its policy is roughly right. A fine table has
many states that are met rarely. So training goes in stages: first no estimates, then more and more
bins per estimate. Each stage starts from the values of the stage before, and counts visits anew.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.q_learning.algorithm import Table
from agents.q_learning.states import StateSpace, bins_of, hidden_algos, without_estimates
from execution_env import Scenario

MOST_TABLE_BYTES = 64_000_000
"""Largest size of a table, values and visits together, bytes."""

VISITS = 20
"""Least mean number of updates per state and action of the finest table. With fewer updates a finer
table is worse: after one-step learning from 3 million orders of ``baseline`` the objective on
validation days was 0.74 with 3 bins per estimate and 0.83 with 5."""

SHARES = (0.04, 0.06, 0.2, 0.7)
"""Shares of the training: without estimates, then with a quarter, a half and all of the bins."""

Estimates = NDArray[np.float32]


class Stage(NamedTuple):
    """A stage of the training.

    Attributes:
        divisor: divisor of the final bins that gives this stage's bins; 0 for no estimates.
        blocks: number of blocks, from the start of the training, after which the stage ends.
    """

    divisor: int
    blocks: int


def stages(blocks: int) -> list[Stage]:
    """Return the stages of a training of ``blocks`` blocks."""
    ends = [round(share * blocks) for share in np.cumsum(SHARES)]
    return [Stage(divisor, end) for divisor, end in zip((0, 4, 2, 1), ends, strict=True)]


def choose_bins(
    scenario: Scenario, most: int, estimates: Estimates, tables: int, updates: int
) -> NDArray[np.int64]:
    """Return (K,) bins per estimate for the finest table.

    The table takes at most ``MOST_BYTES``, and the training has at least ``VISITS`` updates per
    state and action on average. Algos get one more bin in turn, as long as there is room, the algo
    whose estimate varies most first. An algo whose estimates do not differ between orders has one.

    Args:
        scenario: scenario to learn.
        most: largest number of bins per estimate.
        estimates: (B, K, n) estimates met by n orders.
        tables: number of tables T.
        updates: number of updates of the whole training.
    """
    pairs = without_estimates(scenario).size * scenario.grid_size * tables
    room = min(MOST_TABLE_BYTES // 8, updates // VISITS) // pairs
    hidden = hidden_algos(scenario)
    sd = estimates.std(axis=2).mean(axis=0)
    bins = np.ones(hidden.size, np.int64)
    growing = hidden.copy()
    while growing.any():
        # All algos have as many bins, as far as there is room; of equals the most uncertain goes first.
        rank = np.where(growing, bins - sd / (sd.max() + 1.0), np.inf)
        i = int(np.argmin(rank))
        bins[i] += 1
        if bins[i] > most or bins.prod() > room:
            bins[i] -= 1
            growing[i] = False
    return bins


def fits(space: StateSpace, table: Table) -> bool:
    """Return whether a table for ``space``, otherwise like ``table``, is one of ``choose_bins``.

    Without estimates any size is.
    """
    tables, _, actions = table.values.shape
    bytes_ = space.size * tables * actions * (table.values.itemsize + table.visits.itemsize)
    return space.combinations == 1 or bytes_ <= MOST_TABLE_BYTES


def coarser(bins: NDArray[np.int64], divisor: int) -> NDArray[np.int64]:
    """Return ``bins`` (K,) divided by ``divisor``, rounded up."""
    return -(-bins // divisor)


def refine(old: StateSpace, table: Table, new: StateSpace, estimates: Estimates) -> Table:
    """Return a table for the ``new`` states, each with the values of the ``old`` state it lies in.

    Visits are cut to at most 1. So visits are counted anew, but untried actions remain known.

    Args:
        old, table: states and table learned so far.
        new: states with other bins.
        estimates: (B, K, n) estimates from which the new bins were made.
    """
    tables, _, actions = table.values.shape
    before = (tables, old.buckets, old.levels, old.combinations, actions)
    after = (tables, old.buckets, old.levels, new.combinations, actions)
    values, visits = np.empty(after, np.float32), np.empty(after, np.int32)
    for bucket in range(new.buckets):
        parents = _parents(old, new, bucket, estimates[bucket])
        values[:, bucket] = table.values.reshape(before)[:, bucket][:, :, parents]
        visits[:, bucket] = np.minimum(table.visits.reshape(before)[:, bucket][:, :, parents], 1)
    shape = (tables, new.size, actions)
    return Table(values.reshape(shape), visits.reshape(shape))


def _parents(
    old: StateSpace, new: StateSpace, bucket: int, estimates: Estimates
) -> NDArray[np.int64]:
    """Return (combinations,) the old combination of bins in which each new one has its middle."""
    parents = np.zeros(1, np.int64)
    for i, bins in enumerate(new.bins):
        ordered = np.sort(estimates[i])
        borders = np.searchsorted(ordered, new.edges[bucket, i, : bins - 1])
        # The median of the estimates in the bin; with ties a bin may hold more than its share.
        middles = (np.append(0, borders) + np.append(borders, ordered.size)) // 2
        values = ordered[np.minimum(middles, ordered.size - 1)]
        of_algo = bins_of(old.edges[bucket, i, : old.bins[i] - 1], values)
        parents = (parents[:, None] * old.bins[i] + of_algo).reshape(-1)
    return parents


def worst_return(scenario: Scenario) -> float:
    """Return a lower limit of every policy's return.

    It charges the whole order through the dearest algo in every bucket. It adds the penalties for
    leaving the envelope by the whole order and for filling nothing. With shortfall it limits the
    expected return only, because on a single day the mid may move against an order without limit.
    """
    costs = np.maximum(scenario.posting_costs.max(axis=1), 0.0).sum()
    penalties = scenario.penalties
    outside = penalties.envelope * (scenario.buckets - 1)
    return -math.fsum((costs, outside, penalties.residual, penalties.residual_quadratic))
