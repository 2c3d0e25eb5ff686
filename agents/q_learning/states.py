"""Mapping of observations to the states of a table.

A state is the bucket, the level of remaining lots, and the bin of each algo's estimate. Levels are
exact for orders of fewer than ``MOST_LEVELS`` lots, binned for larger ones. Bin edges are quantiles
of the estimates that orders meet in that bucket. In the first bucket nothing has been learned and
all estimates share a bin; later they spread.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.policy.observed import check_going
from execution_env import Scenario
from execution_env.allocation.estimation import prior_of_estimates
from execution_env.core.jit import inline, jit

MOST_LEVELS = 401
"""Largest number of levels of remaining lots; with up to 400 lots every lot is a level."""

MOST_BINS = 64
"""Largest number of bins per estimate."""

Observations = NDArray[np.float32]


class StateSpace(NamedTuple):
    """Map from observations to states, in arrays that compiled code reads.

    Attributes:
        lots: n.
        buckets: B.
        levels: number of levels of remaining lots; n + 1 where they are exact.
        bins: (K,) bins per estimate.
        edges: (B, K, E) float32 edges, ascending; the first ``bins - 1`` are used. An estimate on
            an edge belongs to the bin above it.
    """

    lots: int
    buckets: int
    levels: int
    bins: NDArray[np.int64]
    edges: NDArray[np.float32]

    @property
    def combinations(self) -> int:
        """Number of combinations of the bins of all estimates."""
        return math.prod(self.bins.tolist())  # a product of NumPy's would wrap around

    @property
    def size(self) -> int:
        """Number of states S."""
        return self.buckets * self.levels * self.combinations

    @property
    def finite_edges(self) -> NDArray[np.float32]:
        """``edges`` for a file, which holds finite numbers only.

        The largest float32 replaces +inf, which stands for edges that do not exist.
        """
        return np.minimum(self.edges, np.finfo(np.float32).max)

    def states(self, observations: Observations) -> NDArray[np.int64]:
        """Return the (n,) states of observations (n, 2 + K or more columns).

        Two columns suffice where no algo has more than one bin.

        Raises:
            ValueError: see ``check_going``.
        """
        check_going(observations)
        if self.combinations == 1 and observations.shape[1] < 2 + self.bins.size:
            padding = np.zeros((len(observations), self.bins.size), np.float32)
            observations = np.hstack([observations[:, :2], padding])
        out = np.empty(len(observations), np.int64)
        _states(self, np.ascontiguousarray(observations), out)
        return out


def hidden_algos(scenario: Scenario) -> NDArray[np.bool_]:
    """Return (K,) True for each algo whose estimates differ between orders.

    They differ if fills tell something about later fills, or orders have their own predictions.
    """
    own = np.array([algo.prediction_sd > 0 for algo in scenario.algos])
    hidden: NDArray[np.bool_] = np.isfinite(prior_of_estimates(scenario)[0]) | own
    return hidden


def without_estimates(scenario: Scenario) -> StateSpace:
    """Return the states of bucket and remaining lots alone."""
    algos = len(scenario.algos)
    levels = min(scenario.lots + 1, MOST_LEVELS)
    edges = np.empty((scenario.buckets, algos, 0), np.float32)
    return StateSpace(scenario.lots, scenario.buckets, levels, np.ones(algos, np.int64), edges)


def with_estimates(
    scenario: Scenario, bins: NDArray[np.int64], estimates: NDArray[np.float32]
) -> StateSpace:
    """Return states whose bins hold equal shares of the estimates seen.

    Args:
        scenario: scenario of the orders.
        bins: (K,) requested bins per estimate.
        estimates: (B, K, n) float32 estimates met by n orders. They are float32 as in observations,
            because an edge between two values of one observation would separate nothing.
    """
    plain = without_estimates(scenario)
    edges = np.full((*estimates.shape[:2], int(bins.max()) - 1), np.inf, np.float32)
    for i, count in enumerate(bins):
        if count > 1:
            shares = np.arange(1, count) / count
            # "higher" makes an edge a value that was seen, so only ties can leave a bin empty.
            quantiles = np.quantile(estimates[:, i], shares, axis=1, method="higher")
            edges[:, i, : count - 1] = quantiles.T
    return plain._replace(bins=bins.astype(np.int64), edges=edges)


def space_from_file(
    scenario: Scenario, bins: NDArray[np.int64], edges: NDArray[np.float32]
) -> StateSpace:
    """Return the states whose ``bins`` (K,) and ``edges`` (B, K, E) come from a file.

    Raises:
        ValueError: they do not belong together, or edges do not ascend.
    """
    plain = without_estimates(scenario)
    right = (scenario.buckets, len(scenario.algos), int(bins.max()) - 1)
    if edges.shape != right:
        raise ValueError(f"its edges have shape {edges.shape}, not {right}")
    if (np.diff(edges, axis=2) < 0).any():
        raise ValueError("its edges do not ascend")
    return plain._replace(bins=bins, edges=edges)


@inline
def level_of(remaining: Any, lots: int, levels: int) -> Any:
    """Return the level of ``remaining`` lots: 0 for none, the last for all.

    Where levels = lots + 1 it equals ``remaining``.
    """
    return (remaining * (levels - 1) + lots - 1) // lots


@inline
def bin_of(edges: NDArray[np.float32], bins: int, estimate: np.float32) -> int:
    """Return the bin of ``estimate``: the number of edges at or below it."""
    number = 0
    for j in range(bins - 1):
        number += edges[j] <= estimate
    return number


def bins_of(edges: NDArray[np.float32], estimates: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the (n,) bins of ``estimates`` (n,) between ``edges`` (bins - 1,)."""
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
