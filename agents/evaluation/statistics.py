"""Statistics of policies over days: means, tails, paired comparison, and how sure one may be of them.

Functions of arrays whose last axis is the days (policies x days, or seeds x days), larger = worse.
Lots of one bucket, buckets of one day and orders of one day share their market, so a day is what is
resampled, and a resample takes the same days for every policy: with one ``seed``, all functions here
look at the same resamples.

Intervals are BCa bootstrap intervals: percentiles of the resampled statistic, moved for its bias and
for how its spread changes with its value, with the acceleration from the empirical influence of each
day. They keep second-order accuracy for the skewed objectives seen here (a rare expensive day), which
plain percentiles do not. A resample is n days drawn with replacement, held as counts; statistics are
products with the counts, some 100 resamples at a time, so memory does not grow with the resamples.

References: Efron 1987, Better bootstrap confidence intervals, JASA 82. Rockafellar & Uryasev 2002,
Conditional value-at-risk for general loss distributions, J. Banking & Finance 26 (CVaR of a sample).
Hesterberg 2015, What teachers should know about the bootstrap, The American Statistician 69 (few
seeds).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from numbers import Integral, Real
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit  # type: ignore[import-untyped, unused-ignore]

from execution_env.validation import natural

RESAMPLES = 2000
"""Ends of a 95 % interval then vary by some 4 % of its half-width from one ``seed`` to another."""

CELLS = 2**20
"""Counts of days held at a time: 8 MiB."""

KEPT_CELLS = 2**23
"""Counts that may be kept for the next time, at most 16 MiB of them."""

SPARE = 50
"""Bad days looked at beyond twice as many as count, before all are."""

STREAM = 4
"""Spawn key of the bootstrap; 0 to 3 belong to days and policies (see ``execution_env.market``)."""

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A statistic and where it may lie, arrays of one shape.

    Attributes:
        value: the statistic of the days given.
        low, high: ends of its confidence interval; nan where one day (or one seed, over seeds) cannot
            tell. Equal to ``value`` where all days are alike.
    """

    value: Floats
    low: Floats
    high: Floats


def mean(
    values: ArrayLike, confidence: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Means over the days, (policies,), with intervals.

    Args:
        values: (policies, days); any leading shape, such as none, does.
        confidence: of the interval, between 0 and 1.
        seed: of the resampling; the same seed gives the same intervals.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: no days, values that are not finite numbers, an impossible confidence, seed or
            number of resamples.
    """
    rows, shape = _rows("values", values)
    # From the first day on: constant rows stay exactly constant.
    origin = rows[:, :1]
    centred = rows - origin
    settings = _settings(confidence, seed, resamples)
    resampled = _resampled_means(centred, settings)
    value = centred.mean(axis=1)
    interval = _bca(value, resampled, centred - value[:, None], settings)
    return Interval._make((part + origin[:, 0]).reshape(shape) for part in interval)


def paired_difference(
    values: ArrayLike,
    reference: ArrayLike,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Means over the days of ``values`` minus ``reference``, (policies,), with intervals.

    Negative is better than the reference. Paired by day, so what a day does to both cancels.

    Args:
        values: (policies, days).
        reference: (days,) of one policy, or (policies, days) of one each.
        confidence, seed, resamples: as for ``mean``.

    Raises:
        ValueError: as ``mean``; or the days do not match.
    """
    return mean(_paired(values, reference), confidence, seed, resamples)


def sd(values: ArrayLike) -> Floats:
    """Standard deviations over the days, (policies,), with n - 1 below; nan for one day.

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
    """Means of the worst days, (policies,), with intervals: CVaR_95 for a ``tail`` of 0.05.

    The worst ``m = tail * days`` days are averaged. Where m is no whole number, the worst floor(m)
    days count fully and the next one with the fraction left, all divided by m; so with m < 1 it is the
    worst day. That is min over t of ``t + mean(max(values - t, 0)) / tail``.

    Args:
        values: (policies, days), larger = worse.
        tail: fraction of days, above 0 and at most 1.
        confidence, seed, resamples: as for ``mean``.

    Raises:
        ValueError: as ``mean``; or an impossible tail.
    """
    rows, shape = _rows("values", values)
    share = _fraction("tail", tail, "a fraction of the days, above 0 and at most 1", closed=True)
    settings = _settings(confidence, seed, resamples)
    days = rows.shape[1]
    worst = _tail_size(share, days)
    order = np.argsort(-rows, axis=1)
    falling = np.take_along_axis(rows, order, axis=1)
    value = _mean_of_worst(falling, np.ones_like(falling), worst)
    # A resample's worst days are nearly always among twice as many of all days; checked below.
    head = min(days, 2 * math.ceil(worst) + SPARE)
    resampled = np.empty((settings.resamples, len(rows)))
    done = 0
    for counts in _resamples(days, settings):
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
    interval = _bca(value, resampled, influence, settings)
    return Interval._make(part.reshape(shape) for part in interval)


def wins(values: ArrayLike, reference: ArrayLike) -> Floats:
    """1 where ``values`` lie strictly below ``reference``, 0.5 where they are equal, else 0.

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
    """Shares of days strictly below the reference, (policies,); a tie counts half.

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
    """(mean of values - mean of bound) / mean of bound, (policies,), with intervals.

    Days of both are resampled together. nan throughout where the mean of the bound is 0; an interval
    is nan also where the bound is 0 in some resample, being then no longer bounded.

    Args:
        values: (policies, days).
        bound: (days,) of one bound, or (policies, days).
        confidence, seed, resamples: as for ``mean``.

    Raises:
        ValueError: as ``paired_difference``.
    """
    rows, shape = _rows("values", values)
    difference = _rows("values", _paired(values, bound, "bound"))[0]
    bounds, _ = _rows("bound", bound)
    settings = _settings(confidence, seed, resamples)
    below = bounds.mean(axis=1)
    above = difference.mean(axis=1)
    defined = np.broadcast_to(below != 0, above.shape)
    value = np.divide(above, below, out=np.full(above.shape, np.nan), where=defined)
    resampled = _resampled_means(np.concatenate([difference, bounds]), settings)
    top, bottom = resampled[:, : len(rows)], resampled[:, len(rows) :]
    # A bound that changes sign has resamples on both sides of a pole.
    steady = np.broadcast_to((np.sign(bottom) == np.sign(below)).all(axis=0), above.shape) & defined
    low, high = np.full((2, *above.shape), np.nan)
    if steady.any():
        ratios = (top / np.where(bottom == 0, np.nan, bottom))[:, steady]
        influence = (difference - np.nan_to_num(value)[:, None] * bounds)[steady]
        _, low[steady], high[steady] = _bca(value[steady], ratios, influence, settings)
    return Interval(value.reshape(shape), low.reshape(shape), high.reshape(shape))


def mean_over_seeds(
    values: ArrayLike, confidence: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """The mean over training seeds and days, with an interval that speaks of other seeds too.

    A hierarchical bootstrap: seeds are resampled, and then the days, which all seeds share. A
    resample of S seeds varies too little, by (S - 1) / S in variance, and its few points have no room
    for the tails that an unknown spread asks for; hence its deviation from the mean of all seeds is
    stretched by ``sqrt(S / (S - 1)) t / z``, t and z being the quantiles of Student's t with S - 1
    degrees of freedom and of the normal (Hesterberg's expansion, for the seeds alone). Percentiles
    of the sum are the interval. Where seeds do not differ it is the interval over days.

    Args:
        values: (seeds, days). For a comparison, give the differences from the reference, by day.
        confidence, seed, resamples: as for ``mean``; ``seed`` is not a training seed.

    Returns:
        An interval of shape (); low and high are nan for a single training seed.

    Raises:
        ValueError: as ``mean``; or ``values`` has no axis of seeds.
    """
    if np.ndim(values) != 2:
        raise ValueError(f"values of shape {np.shape(values)}: must be (seeds, days).")
    rows, _ = _rows("values", values)
    settings = _settings(confidence, seed, resamples)
    seeds, days = rows.shape
    origin = rows[0, 0]
    centred = rows - origin
    value = np.asarray(centred.mean() + origin)
    if seeds == 1 or days == 1:
        return Interval(value, np.full((), np.nan), np.full((), np.nan))
    of_days = _resampled_means(centred, settings)
    upper = (1.0 + settings.confidence) / 2.0
    stretch = stdtrit(seeds - 1, upper) / NormalDist().inv_cdf(upper)
    stretch *= math.sqrt(seeds / (seeds - 1))
    weights = _generator(settings.seed, 1).multinomial(
        seeds, np.full(seeds, 1.0 / seeds), size=settings.resamples
    )
    deviation = ((weights - 1.0) * of_days).sum(axis=1) / seeds
    resampled = of_days.mean(axis=1) + stretch * deviation + origin
    low, high = np.quantile(resampled, [1.0 - upper, upper])
    return Interval(value, np.asarray(low), np.asarray(high))


class _Settings(NamedTuple):
    confidence: float
    seed: int
    resamples: int


def _settings(confidence: float, seed: int, resamples: int) -> _Settings:
    right = "between 0 and 1, such as 0.95"
    if isinstance(resamples, bool) or not isinstance(resamples, Integral) or resamples < 100:
        raise ValueError(f"resamples = {resamples!r}: must be a whole number of at least 100.")
    return _Settings(
        _fraction("confidence", confidence, right), natural("seed", seed), int(resamples)
    )


def _fraction(name: str, value: Any, right: str, closed: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} = {value!r}: must be a number {right}.")
    number = float(value)
    if not (0.0 < number < 1.0 or (closed and number == 1.0)):
        raise ValueError(f"{name} = {value!r}: must be {right}.")
    return number


def _rows(name: str, values: ArrayLike) -> tuple[Floats, tuple[int, ...]]:
    """``values`` as (rows, days), and the shape that the rows had."""
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


def _generator(seed: int, key: int) -> np.random.Generator:
    return np.random.Generator(
        np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(STREAM, key)))
    )


def _resamples(days: int, settings: _Settings) -> Iterator[Floats]:
    """How often each day is in each resample, (some, days) at a time."""
    few = days * settings.resamples <= KEPT_CELLS
    for counts in (_kept if few else _drawn)(days, settings.seed, settings.resamples):
        yield counts.astype(np.float64)


def _drawn(days: int, seed: int, resamples: int) -> Iterator[NDArray[Any]]:
    generator = _generator(seed, 0)
    some = max(1, CELLS // days)
    for first in range(0, resamples, some):
        count = min(some, resamples - first)
        drawn = generator.integers(0, days, size=(count, days))
        drawn += days * np.arange(count)[:, None]
        counts = np.bincount(drawn.reshape(-1), minlength=count * days)
        yield counts.astype(np.min_scalar_type(counts.max())).reshape(count, days)


@lru_cache(maxsize=1)
def _kept(days: int, seed: int, resamples: int) -> list[NDArray[Any]]:
    """The same, drawn once for all: a training asks for an interval of the same days again and again."""
    return list(_drawn(days, seed, resamples))


def _resampled_means(rows: Floats, settings: _Settings) -> Floats:
    """(resamples, rows)."""
    days = rows.shape[1]
    columns = np.ascontiguousarray(rows.T)
    sums = [counts @ columns for counts in _resamples(days, settings)]
    return np.asarray(np.concatenate(sums) / days)


def _tail_size(tail: float, days: int) -> float:
    """m, whole where it is but for rounding."""
    worst = tail * days
    return float(round(worst)) if abs(worst - round(worst)) < 1e-9 * worst else worst


def _mean_of_worst(falling: Floats, counts: Floats, worst: float) -> Floats:
    """Means of the first ``worst`` days of ``falling`` (..., days), each there ``counts`` times."""
    before = np.cumsum(counts, axis=-1) - counts
    taken = np.minimum(np.maximum(worst - before, 0.0), counts)
    # A weighted mean of differences from the worst day: exact where days are alike.
    top = falling[..., :1]
    return np.asarray(((falling - top) * taken).sum(axis=-1) / worst + top[..., 0])


def _bca(
    value: Floats, resampled: Floats, influence: Floats, settings: _Settings
) -> tuple[Floats, Floats, Floats]:
    """Values and interval ends, each (rows,).

    Args:
        value: (rows,) the statistic.
        resampled: (resamples, rows) the statistic of each resample.
        influence: (rows, days) what each day pulls at the statistic, up to a factor; mean zero.
        settings: confidence and the number of resamples.
    """
    low, high = np.full((2, *value.shape), np.nan)
    if influence.shape[1] == 1:
        return value, low, high
    normal = NormalDist()
    z = normal.inv_cdf((1.0 + settings.confidence) / 2.0)
    # Near one, by a power of two: powers of tiny numbers would vanish.
    _, exponent = np.frexp(np.abs(influence).max(axis=1, keepdims=True))
    influence = np.ldexp(influence, -exponent)
    squares = (influence**2).sum(axis=1)
    cubes = (influence**3).sum(axis=1)
    acceleration = np.divide(
        cubes, 6.0 * squares**1.5, out=np.zeros(squares.shape), where=squares > 0
    )
    below = (resampled < value).mean(axis=0) + 0.5 * (resampled == value).mean(axis=0)
    # No resample on one side says only that fewer than one in so many are.
    below = np.clip(below, 0.5 / settings.resamples, 1.0 - 0.5 / settings.resamples)
    for j in range(value.size):
        bias = normal.inv_cdf(float(below[j]))
        ends = [_moved(bias, sign * z, float(acceleration[j])) for sign in (-1.0, 1.0)]
        low[j], high[j] = np.quantile(resampled[:, j], ends)
    return value, low, high


def _moved(bias: float, z: float, acceleration: float) -> float:
    """The percentile, from 0 to 1, where BCa finds an end of its interval."""
    moved = bias + z
    room = 1.0 - acceleration * moved
    if room <= 0.0:  # beyond what the correction can say: the outermost resample
        return 1.0 if moved > 0 else 0.0
    return NormalDist().cdf(bias + moved / room)
