"""Statistics that compare a model with the market, computed alike from data and from drawn days.

They are statistics that a trader asks for, of child orders of so many shares, not those that the
fit matched.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from execution_env.allocation.market.days import Days
from execution_env.calibration.fitting.estimate import Floats, Ints, correlations, means, weights
from execution_env.calibration.fitting.sample import SIGNS
from execution_env.calibration.readers.tape import NANOSECONDS
from execution_env.calibration.simulator.outcomes import Outcomes

NEARLY = 1.0 - 1e-9
"""Factor by which shares may be short because of rounding."""

HALF_HOUR = 1800
"""Number of seconds in half an hour."""


class Evidence(NamedTuple):
    """O orders of B buckets, K algos, from data or from a model.

    Attributes:
        cluster: (O,) window of each order.
        depth: (O, B, K) shares; no more than ``posted``, NaN where unknown.
        posted: (O, B, K) shares; infinite where the depth itself is known.
        volume: (O, B) shares, NaN where unknown.
        move: (O, B) move of the mid against the order, basis points; NaN where unknown.
        time: (O, B) seconds since midnight; empty for a model.
    """

    cluster: Ints
    depth: Floats
    posted: Floats
    volume: Floats
    move: Floats
    time: Floats

    @property
    def weight(self) -> Floats:
        """(1 + J, O) jackknife weights, to leave windows out."""
        return weights(self.cluster)


def of_outcomes(outcomes: Outcomes, bucket: int) -> Evidence:
    """Return the evidence of child orders walked through data; ``bucket`` is in nanoseconds."""
    windows, buckets = outcomes.volume.shape
    depth = np.moveaxis(outcomes.depth, 0, 1).reshape(2 * windows, buckets, -1)
    move = np.diff(outcomes.mid, axis=1) / outcomes.mid[:, :1] * 1e4
    time = (outcomes.start[:, None] + bucket * np.arange(buckets)) / NANOSECONDS
    return Evidence(
        cluster=np.repeat(np.arange(windows), 2),
        depth=depth,
        posted=np.full(depth.shape, np.inf),
        volume=np.repeat(outcomes.volume, 2, axis=0),
        move=np.moveaxis(SIGNS[:, None, None] * move, 0, 1).reshape(2 * windows, buckets),
        time=np.repeat(time, 2, axis=0),
    )


def of_days(days: Days, lot_size: int) -> Evidence:
    """Return the evidence of days drawn from a scenario."""
    depth = days.depth.transpose(2, 0, 1).astype(np.float64) * lot_size
    return Evidence(
        cluster=np.zeros(days.size, np.int64),
        depth=depth,
        posted=np.full(depth.shape, np.inf),
        volume=days.volume.T,
        move=days.move.T,
        time=np.empty((0, days.volume.shape[0])),
    )


def _fills(evidence: Evidence, posted: float) -> Floats:
    """Return (O, B, K) fraction of ``posted`` shares that fills; NaN where unknown."""
    known = ~np.isnan(evidence.depth) & (evidence.posted >= posted * NEARLY)
    fills = np.minimum(evidence.depth, posted) / posted
    return np.where(known, np.where(fills >= NEARLY, 1.0, fills), np.nan)


def fill_curves(evidence: Evidence, weight: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """Return the expected share of a child order that fills, and the probability that all does.

    Args:
        evidence: of O orders.
        weight: (1 + J, O).
        sizes: (S,) shares posted.

    Returns:
        (1 + J, S, K) both; NaN where no order was as large.
    """
    expected, whole = [], []
    for size in sizes:
        fills = _fills(evidence, float(size))
        known = ~np.isnan(fills)
        count = known.sum(axis=1).astype(np.float64)
        expected.append(means(weight, np.where(known, fills, 0.0).sum(axis=1), count))
        full = (known & (fills >= 1.0)).sum(axis=1).astype(np.float64)
        whole.append(means(weight, full, count))
    return np.stack(expected, 1), np.stack(whole, 1)


def autocorrelations(evidence: Evidence, weight: Floats, posted: float, lags: Ints) -> Floats:
    """Return autocorrelations of fills and of log volume, for each of ``lags`` (L,) in buckets.

    Fills are those of ``posted`` shares. Log volume is relative to its bucket's mean volume.

    Returns:
        (1 + J, L, K + 1), log volume last; NaN where something does not vary.
    """
    fills = _fills(evidence, posted)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.log(evidence.volume / np.nanmean(evidence.volume, axis=0))
    level[~np.isfinite(level)] = np.nan
    columns = [*np.moveaxis(fills, 2, 0), level]
    return np.stack(
        [np.stack([_lagged(weight, column, int(lag)) for column in columns], 1) for lag in lags], 1
    )


def _lagged(weight: Floats, column: Floats, lag: int) -> Floats:
    if lag >= column.shape[1]:
        return np.full(len(weight), np.nan)
    return correlations(weight, column[:, :-lag], column[:, lag:])


def dependence(evidence: Evidence, weight: Floats, posted: float) -> tuple[Floats, Floats]:
    """Return correlations of the fills of ``posted`` shares.

    Returns:
        (1 + J, K) with the mid's move against the order in the bucket, and (1 + J, P) between the
        pairs of algos, in the order of ``dependence_seen.pairs``.
    """
    from execution_env.calibration.fitting.dependence_seen import pairs  # noqa: PLC0415  needs SciPy

    fills = _fills(evidence, posted)
    algos = fills.shape[2]
    moves = [correlations(weight, fills[..., k], evidence.move) for k in range(algos)]
    between = [correlations(weight, fills[..., i], fills[..., j]) for i, j in pairs(algos)]
    nothing = np.empty((len(weight), 0))
    return np.stack(moves, 1), np.stack(between, 1) if between else nothing


def volumes(evidence: Evidence, weight: Floats) -> tuple[Floats, Floats]:
    """Return (1 + J, B) mean of every bucket's volume, and its standard deviation."""
    known = ~np.isnan(evidence.volume)
    volume, count = np.where(known, evidence.volume, 0.0), known.astype(np.float64)
    mean, square = means(weight, volume, count), means(weight, volume**2, count)
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def session(evidence: Evidence, weight: Floats) -> tuple[Floats, Floats]:
    """Return volume over the session, by the half-hours in which buckets begin.

    Returns:
        (H,) their middles, hours since midnight; (1 + J, H) mean volume of a bucket.
    """
    which = np.floor(evidence.time / HALF_HOUR)
    known = ~np.isnan(evidence.volume)
    halves = np.unique(which[known])
    inside = [known & (which == half) for half in halves]
    total = [np.where(mask, evidence.volume, 0.0).sum(axis=1) for mask in inside]
    count = [mask.sum(axis=1).astype(np.float64) for mask in inside]
    mean = means(weight, np.stack(total, 1), np.stack(count, 1))
    return (halves + 0.5) * HALF_HOUR / 3600, mean
