"""Statistics of policies over days: means, tails and paired comparison, with confidence intervals.

Functions take arrays whose last axis is the days (policies x days, or seeds x days). Larger is
worse. Lots of one bucket, buckets of one day and orders of one day share their market. So whole
days are resampled, and a resample takes the same days for every policy. With one ``seed``, all
functions here use the same resamples.

Intervals are BCa bootstrap intervals, see ``bootstrap``.

References: Rockafellar & Uryasev 2002, Conditional value-at-risk for general loss distributions, J.
Banking & Finance 26 (CVaR of a sample). Hesterberg 2015, What teachers should know about the bootstrap,
The American Statistician 69 (few seeds).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.evaluation.bootstrap import (
    RESAMPLES,
    bca,
    checked,
    fraction,
    ratio,
    resampled_means,
    resamples_of,
    seeds_and_days,
    stretch,
)

SPARE = 50
"""Number of days beyond twice the tail that ``cvar`` searches before it searches all days."""

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A statistic and its confidence interval, arrays of one shape.

    Attributes:
        value: the statistic of the days given.
        low, high: ends of its confidence interval. They are nan where one day (or one seed, over
            seeds) gives no interval. They equal ``value`` where all days are alike.
    """

    value: Floats
    low: Floats
    high: Floats


def clustered(values: ArrayLike, clusters: NDArray[np.int64] | None) -> Floats:
    """Return ``values`` by cluster instead of by day, for days that are not independent.

    A cluster's value is the sum of its days, times the number of clusters per day. So the mean over
    clusters is the mean over days. Resampling clusters is the cluster bootstrap (Davison & Hinkley
    1997, Bootstrap Methods and their Application, section 3.8). It is exact where clusters are of
    one size.

    Args:
        values: (policies, days); any leading shape is allowed.
        clusters: (days,) number of each day's cluster; None where every day is its own cluster.

    Returns:
        (policies, clusters), or ``values`` where ``clusters`` is None.

    Raises:
        ValueError: as ``mean``; or there is not one number for every day.
    """
    if clusters is None:
        return np.asarray(values, np.float64)
    rows, shape = _rows("values", values)
    if np.shape(clusters) != rows.shape[1:]:
        raise ValueError(
            f"clusters of shape {np.shape(clusters)}: must be ({rows.shape[1]},), one for every day."
        )
    names, which = np.unique(clusters, return_inverse=True)
    found = np.array([np.bincount(which.reshape(-1), row, names.size) for row in rows])
    scaled: Floats = (found * (names.size / rows.shape[1])).reshape(*shape, names.size)
    return scaled


def mean(
    values: ArrayLike,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    clusters: NDArray[np.int64] | None = None,
) -> Interval:
    """Return means over the days, (policies,), with intervals.

    Clusters may be few, and a bootstrap of n points varies too little and has no tails. With 13
    clusters its interval contains the truth in some 87 of 100 cases instead of 95. So its ends are
    stretched from the mean (``bootstrap.stretch``).

    Args:
        values: (policies, days); any leading shape is allowed, also none.
        clusters: (days,) clusters of days that are not independent, see ``clustered``; None where
            all days are independent.
        confidence: level of the interval, between 0 and 1.
        seed: seed of the resampling; the same seed gives the same intervals.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: no days, values that are not finite numbers, an impossible confidence, seed or
            number of resamples.
    """
    rows, shape = _rows("values", values)
    if clusters is not None:
        units = clustered(values, clusters)
        found = mean(units, confidence, seed, resamples)
        return _stretched(found, units.shape[-1], confidence)
    # Subtract the first day: constant rows stay exactly constant.
    origin = rows[:, :1]
    centred = rows - origin
    settings = checked(confidence, seed, resamples)
    resampled = resampled_means(centred, settings)
    value = centred.mean(axis=1)
    interval = bca(value, resampled, centred - value[:, None], settings)
    return Interval._make((part + origin[:, 0]).reshape(shape) for part in interval)


def _stretched(interval: Interval, units: int, confidence: float) -> Interval:
    factor = stretch(units, confidence)
    value, low, high = interval
    return Interval(value, value - factor * (value - low), value + factor * (high - value))


def paired_difference(
    values: ArrayLike,
    reference: ArrayLike,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    clusters: NDArray[np.int64] | None = None,
) -> Interval:
    """Return means over the days of ``values`` minus ``reference``, (policies,), with intervals.

    Negative is better than the reference. Days are paired, so a day's effect on both cancels.

    Args:
        values: (policies, days).
        reference: (days,) for all policies, or (policies, days) with one reference for each.
        confidence, seed, resamples, clusters: as for ``mean``.

    Raises:
        ValueError: as ``mean``; or the days do not match.
    """
    return mean(_paired(values, reference), confidence, seed, resamples, clusters)


def sd(values: ArrayLike) -> Floats:
    """Return standard deviations over the days, (policies,), with divisor n - 1; nan for one day.

    Args:
        values: (policies, days).

    Raises:
        ValueError: as ``mean``.
    """
    rows, shape = _rows("values", values)
    if rows.shape[1] == 1:
        return np.full(shape, np.nan)
    return np.asarray((rows - rows[:, :1]).std(axis=1, ddof=1).reshape(shape))


def cvar(
    values: ArrayLike,
    tail: float = 0.05,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return means of the worst days, (policies,), with intervals: CVaR_95 for a ``tail`` of 0.05.

    The worst ``m = tail * days`` days are averaged. Where m is no whole number, the worst floor(m)
    days count fully and the next one with the fraction left. The sum is divided by m, so m < 1
    gives the worst day. CVaR equals the minimum over t of ``t + mean(max(values - t, 0)) / tail``.

    Args:
        values: (policies, days), larger = worse.
        tail: fraction of days, above 0 and at most 1.
        confidence, seed, resamples: as for ``mean``.

    Raises:
        ValueError: as ``mean``; or an impossible tail.
    """
    rows, shape = _rows("values", values)
    share = fraction("tail", tail, "a fraction of the days, above 0 and at most 1", closed=True)
    settings = checked(confidence, seed, resamples)
    days = rows.shape[1]
    worst = _tail_size(share, days)
    order = np.argsort(-rows, axis=1)
    falling = np.take_along_axis(rows, order, axis=1)
    value = _mean_of_worst(falling, np.ones_like(falling), worst)
    # A resample's worst days are nearly always among twice as many of all days; checked below.
    head = min(days, 2 * math.ceil(worst) + SPARE)
    resampled = np.empty((settings.resamples, len(rows)))
    done = 0
    for counts in resamples_of(days, settings):
        which = slice(done, done + len(counts))
        for j in range(len(rows)):
            taken = counts[:, order[j, :head]]
            if taken.sum(axis=1).min() < worst:
                taken = counts[:, order[j]]
            resampled[which, j] = _mean_of_worst(falling[j, : taken.shape[1]], taken, worst)
        done += len(counts)
    threshold = falling[:, math.ceil(worst) - 1]
    influence = np.maximum(rows - threshold[:, None], 0.0)
    influence -= influence.mean(axis=1, keepdims=True)
    interval = bca(value, resampled, influence, settings)
    return Interval._make(part.reshape(shape) for part in interval)


def wins(values: ArrayLike, reference: ArrayLike) -> Floats:
    """Return 1 where ``values`` lie strictly below ``reference``, 0.5 where they are equal, else 0.

    ``mean(wins(...))`` is the win rate with its interval.

    Args:
        values: (policies, days).
        reference: (days,), or (policies, days).

    Raises:
        ValueError: as ``paired_difference``.
    """
    difference = _paired(values, reference)
    return np.where(difference < 0, 1.0, np.where(difference == 0, 0.5, 0.0))


def win_rate(values: ArrayLike, reference: ArrayLike) -> Floats:
    """Return shares of days strictly below the reference, (policies,); a tie counts half.

    Args:
        values: (policies, days).
        reference: (days,), or (policies, days).

    Raises:
        ValueError: as ``paired_difference``.
    """
    return np.asarray(wins(values, reference).mean(axis=-1))


def gap(
    values: ArrayLike,
    bound: ArrayLike,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return (mean of values - mean of bound) / mean of bound, (policies,), with intervals.

    Days of both are resampled together. Value and interval are nan where the mean of the bound is
    0. An interval is also nan where the bound's mean is 0 or changes sign in some resample: the gap
    is then unbounded.

    Args:
        values: (policies, days).
        bound: (days,) for all policies, or (policies, days) with one bound for each.
        confidence, seed, resamples: as for ``mean``.

    Raises:
        ValueError: as ``paired_difference``.
    """
    _, shape = _rows("values", values)
    difference = _rows("values", _paired(values, bound, "bound"))[0]
    bounds, _ = _rows("bound", bound)
    found = ratio(difference, bounds, checked(confidence, seed, resamples))
    return Interval._make(part.reshape(shape) for part in found)


def score(
    values: ArrayLike,
    reference: ArrayLike,
    bound: ArrayLike,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return (reference - values) / (reference - bound), with intervals.

    The score is a ratio of means over the days, (policies,). 0 is as good as the reference, 1 as
    good as the bound, negative worse than the reference. It is one scale for scenarios whose
    objectives differ (Agarwal et al. 2021, Deep reinforcement learning at the edge of the
    statistical precipice, NeurIPS 34, who ask for such scores with intervals). Days of all three
    are resampled together. Value and interval are nan where the mean of the reference is not above
    that of the bound: there is no such scale then. An interval is also nan if this happens in some
    resample.

    Args:
        values: (policies, days).
        reference: (days,) objectives of the policy that counts as 0.
        bound: (days,) objectives of the bound, which counts as 1.
        confidence, seed, resamples: as for ``mean``.

    Raises:
        ValueError: as ``paired_difference``.
    """
    rows, shape = _rows("values", values)
    gained, most = _gained(rows, reference, bound)
    if most.mean() <= 0:
        return Interval._make(np.full((3, *shape), np.nan))
    found = ratio(gained, most[None], checked(confidence, seed, resamples))
    return Interval._make(part.reshape(shape) for part in found)


def score_over_seeds(
    values: ArrayLike,
    reference: ArrayLike,
    bound: ArrayLike,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return ``score`` of the mean over training seeds; its interval also covers other seeds.

    Args:
        values: (seeds, days).
        reference, bound: (days,).
        confidence, seed, resamples: as for ``mean``; ``seed`` is not a training seed.

    Returns:
        An interval of shape (), made as in ``mean_over_seeds``.

    Raises:
        ValueError: as ``mean_over_seeds`` and ``paired_difference``.
    """
    rows = _of_seeds(values)
    settings = checked(confidence, seed, resamples)
    gained, most = _gained(rows, reference, bound)
    nothing = np.full((), np.nan)
    if most.mean() <= 0:
        return Interval(nothing, nothing, nothing)
    value = np.asarray(gained.mean() / most.mean())
    resampled = resampled_means(np.concatenate([gained, most[None]]), settings)
    if min(rows.shape) == 1 or (resampled[:, -1] <= 0).any():
        return Interval(value, nothing, nothing)
    return Interval(value, *seeds_and_days(resampled[:, :-1] / resampled[:, -1:], settings))


def mean_over_seeds(
    values: ArrayLike,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    clusters: NDArray[np.int64] | None = None,
) -> Interval:
    """Return the mean over training seeds and days; its interval also covers other seeds.

    A hierarchical bootstrap resamples seeds, and then the days, which all seeds share. A resample
    of S seeds varies too little, by (S - 1) / S in variance. Its few points also lack the tails
    that an unknown spread requires. So its deviation from the mean of all seeds is stretched by
    ``sqrt(S / (S - 1)) t / z``, which is Hesterberg's expansion, for the seeds alone. Here t and z
    are the quantiles of Student's t with S - 1 degrees of freedom and of the normal. The interval's
    ends are percentiles of the sum of both parts. Where seeds do not differ it is the interval over
    days.

    Args:
        values: (seeds, days). For a comparison, give the differences from the reference, by day.
        confidence, seed, resamples: as for ``mean``; ``seed`` is not a training seed.
        clusters: (days,) as for ``mean``. Clusters are resampled instead of days. The deviation of
            the mean of all seeds that they cause is stretched as there.

    Returns:
        An interval of shape (); low and high are nan for a single training seed.

    Raises:
        ValueError: as ``mean``; or ``values`` has no axis of seeds.
    """
    rows = clustered(_of_seeds(values), clusters)
    settings = checked(confidence, seed, resamples)
    origin = rows[0, 0]
    centred = rows - origin
    value = np.asarray(centred.mean() + origin)
    if min(rows.shape) == 1:
        return Interval(value, np.full((), np.nan), np.full((), np.nan))
    resampled = resampled_means(centred, settings)
    if clusters is not None:
        common = resampled.mean(axis=1, keepdims=True) - centred.mean()
        resampled = resampled + (stretch(rows.shape[1], confidence) - 1.0) * common
    low, high = seeds_and_days(resampled, settings)
    return Interval(value, low + origin, high + origin)


def _rows(name: str, values: ArrayLike) -> tuple[Floats, tuple[int, ...]]:
    """Return ``values`` as (rows, days), and the shape that the rows had."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: must be an array of numbers, days last ({error}).") from None
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"{name} of shape {array.shape}: must be (policies, days) with at least one of each."
        )
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{name}{list(where)} = {array[where]}: must be finite; leave such days out for all "
            "policies alike."
        )
    return array.reshape(-1, array.shape[-1]), array.shape[:-1]


def _paired(values: ArrayLike, reference: ArrayLike, name: str = "reference") -> Floats:
    rows, shape = _rows("values", values)
    others, of_others = _rows(name, reference)
    if rows.shape[1] != others.shape[1] or of_others not in {(), shape}:
        raise ValueError(
            f"{name} of shape {np.shape(reference)}: must be ({rows.shape[1]},) or "
            f"{np.shape(values)}, the same days as values."
        )
    return np.asarray((rows - others).reshape(np.shape(values)))


def _of_seeds(values: ArrayLike) -> Floats:
    """Return ``values`` as (seeds, days)."""
    if np.ndim(values) != 2:
        raise ValueError(f"values of shape {np.shape(values)}: must be (seeds, days).")
    return _rows("values", values)[0]


def _gained(rows: Floats, reference: ArrayLike, bound: ArrayLike) -> tuple[Floats, Floats]:
    """Return gains on the reference: (policies, days) of ``rows``, (days,) of ``bound``."""
    most = -_paired(bound, reference)
    if most.ndim != 1:
        raise ValueError(f"bound of shape {np.shape(bound)}: must be (days,), as the reference.")
    return -_paired(rows, reference), most


def _tail_size(tail: float, days: int) -> float:
    """Return m = tail * days, rounded where only a rounding error keeps it from a whole number."""
    worst = tail * days
    return float(round(worst)) if abs(worst - round(worst)) < 1e-9 * worst else worst


def _mean_of_worst(falling: Floats, counts: Floats, worst: float) -> Floats:
    """Return means of the first ``worst`` days of ``falling`` (..., days).

    A day occurs as often as ``counts``, of the same shape, says.
    """
    before = np.cumsum(counts, axis=-1) - counts
    taken = np.minimum(np.maximum(worst - before, 0.0), counts)
    # A weighted mean of differences from the worst day: exact where days are alike.
    top = falling[..., :1]
    return np.asarray(((falling - top) * taken).sum(axis=-1) / worst + top[..., 0])
