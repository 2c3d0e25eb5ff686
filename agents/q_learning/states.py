"""Observations as the states of a table.

A state is the bucket, the remaining lots (exact up to ``MOST_LEVELS``, binned above) and the bin of
each algo's estimate. Bin edges are quantiles of the estimates that orders meet in that bucket: in the
first bucket nothing has been learned and all estimates share a bin, later they spread.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env import Scenario
from execution_env.allocation.estimation import prior_of_estimates
from execution_env.core.jit import inline, jit

MOST_LEVELS = 401
"""Levels of remaining lots: an order of 400 lots is still told apart lot by lot."""

Observations = NDArray[np.float32]


class StateSpace(NamedTuple):
    """How observations become states, in arrays that compiled code reads.

    Attributes:
        lots: n.
        buckets: B.
        levels: of remaining lots; n + 1 where they are exact.
        bins: (K,) bins per estimate.
        edges: (B, K, E) float32, ascending, of which the first ``bins - 1`` count: an estimate on an
            edge belongs to the bin above it.
    """

    lots: int
    buckets: int
    levels: int
    bins: NDArray[np.int64]
    edges: NDArray[np.float32]

    @property
    def combinations(self) -> int:
        """Of the bins of all estimates."""
        return int(np.prod(self.bins))

    @property
    def size(self) -> int:
        """S, the number of states."""
        return self.buckets * self.levels * self.combinations

    @property
    def finite_edges(self) -> NDArray[np.float32]:
        """``edges`` for a file, which holds finite numbers only: +inf pads those that do not exist."""
        return np.minimum(self.edges, np.finfo(np.float32).max)

    def states(self, observations: Observations) -> NDArray[np.int64]:
        """(n,) the states of observations (n, 2 + K or more columns), or of (n, 2) where no algo has
        more than one bin.
        """
        if self.combinations == 1 and observations.shape[1] < 2 + self.bins.size:
            padding = np.zeros((len(observations), self.bins.size), np.float32)
            observations = np.hstack([observations[:, :2], padding])
        out = np.empty(len(observations), np.int64)
        _states(self, np.ascontiguousarray(observations), out)
        return out


def hidden_algos(scenario: Scenario) -> NDArray[np.bool_]:
    """(K,) whether an algo's estimates differ between orders: its fills teach something about its later
    ones, or orders have predictions of their own.
    """
    own = np.array([algo.prediction_sd > 0 for algo in scenario.algos])
    hidden: NDArray[np.bool_] = np.isfinite(prior_of_estimates(scenario)[0]) | own
    return hidden


def without_estimates(scenario: Scenario) -> StateSpace:
    """States of bucket and remaining lots alone."""
    algos = len(scenario.algos)
    levels = min(scenario.lots + 1, MOST_LEVELS)
    edges = np.empty((scenario.buckets, algos, 0), np.float32)
    return StateSpace(scenario.lots, scenario.buckets, levels, np.ones(algos, np.int64), edges)


def with_estimates(
    scenario: Scenario, bins: NDArray[np.int64], estimates: NDArray[np.float32]
) -> StateSpace:
    """States whose bins hold equal shares of the estimates seen.

    Args:
        scenario: of the orders.
        bins: (K,) wanted.
        estimates: (B, K, n) float32, met by n orders. Float32, as observations have them: an edge
            between two values that round to the same observation would tell nothing apart.
    """
    plain = without_estimates(scenario)
    edges = np.full((*estimates.shape[:2], int(bins.max()) - 1), np.inf, np.float32)
    for i, count in enumerate(bins):
        if count > 1:
            shares = np.arange(1, count) / count
            # "higher": an edge is a value that was seen, so that no bin is empty but by ties.
            quantiles = np.quantile(estimates[:, i], shares, axis=1, method="higher")
            edges[:, i, : count - 1] = quantiles.T
    return plain._replace(bins=bins.astype(np.int64), edges=edges)


@inline
def level_of(remaining: Any, lots: int, levels: int) -> Any:
    """Level of ``remaining`` lots: 0 for none, the last for all, and itself where levels = lots + 1."""
    return (remaining * (levels - 1) + lots - 1) // lots


@inline
def bin_of(edges: NDArray[np.float32], bins: int, estimate: np.float32) -> int:
    """Number of edges at or below ``estimate``."""
    number = 0
    for j in range(bins - 1):
        number += edges[j] <= estimate
    return number


def bins_of(edges: NDArray[np.float32], estimates: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bins of ``estimates`` (n,) between ``edges`` (bins - 1,)."""
    return np.searchsorted(edges, estimates, side="right")


@jit
def _states(space: StateSpace, observations: Observations, out: NDArray[np.int64]) -> None:
    for e in range(out.size):
        remaining = np.int64(np.rint(observations[e, 0] * np.float64(space.lots)))
        left = np.int64(np.rint(observations[e, 1] * np.float64(space.buckets)))
        bucket = space.buckets - left
        state = bucket * space.levels + level_of(remaining, space.lots, space.levels)
        for i in range(space.bins.size):
            number = bin_of(space.edges[bucket, i], space.bins[i], observations[e, 2 + i])
            state = state * space.bins[i] + number
        out[e] = state
