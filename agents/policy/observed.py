"""Readers of observations, which turn fractions of the order back into lots."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env import Scenario
from execution_env.allocation.actions import action_grid, grid_masks

Observations = NDArray[np.float32]
Lots = NDArray[np.int64]
Floats = NDArray[np.float64]


class Observed(NamedTuple):
    """n "full" observations, in lots.

    Attributes:
        bucket: (n,) bucket about to be decided, 0 to B - 1.
        remaining: (n,) remaining lots.
        estimates: (n, K) expected fill rates in this bucket.
        evidence: (n, K) T / (w + T), how much was learned about each algo.
        lower, upper: (n,) lots between which the cumulative fill should lie at the bucket's end.
        postable: (n,) lots that may be posted.
    """

    bucket: Lots
    remaining: Lots
    estimates: Floats
    evidence: Floats
    lower: Floats
    upper: Floats
    postable: Lots


def check_numbers(observations: Observations) -> None:
    """Check observations of any shape, which compiled code uses as indices.

    Raises:
        ValueError: a number is outside [0, 1] or NaN.
    """
    # NaN fails the comparison too.
    if observations.size and not (observations.min() >= 0 and observations.max() <= 1):
        raise ValueError(f"observation = {observations!r}: must be numbers from 0 to 1.")


def check_going(observations: Observations) -> None:
    """Check observations (n, D) of orders that a bucket is to be decided for.

    Raises:
        ValueError: a number is outside [0, 1] or NaN, or an order is over.
    """
    check_numbers(observations)
    if observations.size and not observations[:, 1].min() > 0:
        raise ValueError(
            f"observation[1] = {observations[:, 1].min()}: buckets left / B must be above 0; there is "
            "nothing to decide once the order is over."
        )


def read_state(scenario: Scenario, observations: Observations) -> tuple[Lots, Lots]:
    """Return buckets and remaining lots, each (n,), of observations of any kind."""
    remaining = np.rint(observations[:, 0] * np.float64(scenario.lots)).astype(np.int64)
    left = np.rint(observations[:, 1] * np.float64(scenario.buckets)).astype(np.int64)
    return scenario.buckets - left, remaining


def read_postable(scenario: Scenario, observations: Observations) -> NDArray[np.int32]:
    """Return the (n,) postable lots of "full" observations."""
    return np.rint(observations[:, -1] * np.float64(scenario.lots)).astype(np.int32)


def read_masks(scenario: Scenario, observations: Observations) -> NDArray[np.int8]:
    """Return the environment's (n, A) masks of grid actions for "full" observations."""
    grid = action_grid(len(scenario.algos), scenario.actions.resolution)
    return grid_masks(grid, read_postable(scenario, observations))


def read_observations(scenario: Scenario, observations: Observations) -> Observed:
    """Return "full" observations (n, 5 + 2 K) in lots.

    Raises:
        ValueError: see ``check_going``.
    """
    check_going(observations)
    k, n = len(scenario.algos), np.float64(scenario.lots)
    bucket, remaining = read_state(scenario, observations)
    numbers = observations.astype(np.float64)
    return Observed(
        bucket=bucket,
        remaining=remaining,
        estimates=numbers[:, 2 : 2 + k],
        evidence=numbers[:, 2 + k : 2 + 2 * k],
        lower=n * numbers[:, -3],
        upper=n * numbers[:, -2],
        postable=read_postable(scenario, observations).astype(np.int64),
    )


def widths(scenario: Scenario) -> dict[str, int]:
    """Return the number of columns of each kind of observation."""
    k = len(scenario.algos)
    return {"minimal": 2, "default": 2 + k, "full": 5 + 2 * k}
