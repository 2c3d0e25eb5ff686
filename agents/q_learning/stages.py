"""From a coarse table to a fine one.

A table without estimates is learned in a second, and knows roughly what to do; a fine one has many
states that are met rarely. So training goes in stages: no estimates, then more and more bins per
estimate. Each stage starts from the values of the one before, and counts visits anew.
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
"""Of a table, values and visits together."""

VISITS = 20
"""Least updates per state and action of the finest table, on average. With fewer a finer table is
worse: one-step learning from 3 million orders of ``baseline`` made .74 with 3 bins per estimate and
.83 with 5, on validation days."""

SHARES = (0.04, 0.06, 0.2, 0.7)
"""Of the training: without estimates, then with a quarter, a half and all of the bins."""

Estimates = NDArray[np.float32]


class Stage(NamedTuple):
    """A part of the training.

    Attributes:
        divisor: its bins are the final bins divided by this; 0 for no estimates.
        blocks: it ends after this many blocks of the whole training.
    """

    divisor: int
    blocks: int


def stages(blocks: int) -> list[Stage]:
    """The stages of a training of so many ``blocks``."""
    ends = [round(share * blocks) for share in np.cumsum(SHARES)]
    return [Stage(divisor, end) for divisor, end in zip((0, 4, 2, 1), ends, strict=True)]


def choose_bins(
    scenario: Scenario, most: int, estimates: Estimates, tables: int, updates: int
) -> NDArray[np.int64]:
    """(K,) bins per estimate: at most ``most`` each, so that the table stays below ``MOST_TABLE_BYTES``
    and its states and actions are visited ``VISITS`` times on average.

    All get one more in turn, the estimate that moves most first, as long as there is room; an algo about
    which nothing is hidden has one.

    Args:
        scenario: to learn.
        most: bins per estimate.
        estimates: (B, K, n) met by n orders.
        tables: T.
        updates: of the whole training.
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


def coarser(bins: NDArray[np.int64], divisor: int) -> NDArray[np.int64]:
    """``bins`` (K,) divided by ``divisor``, rounded up."""
    return -(-bins // divisor)


def refine(old: StateSpace, table: Table, new: StateSpace, estimates: Estimates) -> Table:
    """A table for ``new`` states whose values are those of the ``old`` state that each lies in.

    Args:
        old, table: learned so far.
        new: states with other bins.
        estimates: (B, K, n) that the new bins were made from.

    Visits carry over as one at most, so that what was never tried stays known as such.
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
    """(combinations,) the old combination of bins in which each new one has its middle."""
    parents = np.zeros(1, np.int64)
    for i, bins in enumerate(new.bins):
        ordered = np.sort(estimates[i])
        borders = np.searchsorted(ordered, new.edges[bucket, i, : bins - 1])
        # Of what lies in the bin: with ties that is not the middle of its share of all estimates.
        middles = (np.append(0, borders) + np.append(borders, ordered.size)) // 2
        values = ordered[np.minimum(middles, ordered.size - 1)]
        of_algo = bins_of(old.edges[bucket, i, : old.bins[i] - 1], values)
        parents = (parents[:, None] * old.bins[i] + of_algo).reshape(-1)
    return parents


def worst_return(scenario: Scenario) -> float:
    """A return that no policy falls below: everything posted through the dearest algo in every bucket,
    nothing filled, or everything at once. With shortfall no expected return: the mid may move against
    an order as far as it likes, but not on average.
    """
    costs = np.maximum(scenario.posting_costs.max(axis=1), 0.0).sum()
    penalties = scenario.penalties
    outside = penalties.envelope * (scenario.buckets - 1)
    return -math.fsum((costs, outside, penalties.residual, penalties.residual_quadratic))
