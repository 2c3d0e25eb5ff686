"""Bootstrap behind ``statistics``: resamples of days, and intervals from resampled statistics.

Intervals are BCa bootstrap intervals: percentiles of the resampled statistic, corrected for its
bias and for how its spread changes with its value. The acceleration comes from the empirical
influence of each day. BCa intervals keep second-order accuracy for the skewed objectives seen here
(a rare expensive day). Plain percentiles do not. A resample is n days drawn with replacement, held
as counts. Statistics are products with the counts, some 100 resamples at a time, so memory does not
grow with the resamples.

References: Efron 1987, Better bootstrap confidence intervals, JASA 82. Hesterberg 2015, What
teachers should know about the bootstrap, The American Statistician 69 (few seeds).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from numbers import Integral, Real
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.core.validation import natural

RESAMPLES = 2000
"""Default number of resamples. The ends of a 95 % interval then vary by some 4 % of its half-width
from one ``seed`` to another."""

CELLS = 2**20
"""Number of counts of days held at a time: 8 MiB."""

KEPT_CELLS = 2**23
"""Largest number of counts kept for the next interval: at most 16 MiB."""

STREAM = 4
"""Spawn key of the bootstrap; ``day_stream`` has 0 to 3, those of days and policies."""

Floats = NDArray[np.float64]


class Settings(NamedTuple):
    """Settings of an interval: its confidence, the seed and the number of resamples."""

    confidence: float
    seed: int
    resamples: int


def checked(confidence: float, seed: int, resamples: int) -> Settings:
    """Return the settings of an interval.

    Raises:
        ValueError: a setting is impossible.
    """
    right = "between 0 and 1, such as 0.95"
    if isinstance(resamples, bool) or not isinstance(resamples, Integral) or resamples < 100:
        raise ValueError(f"resamples = {resamples!r}: must be a whole number of at least 100.")
    return Settings(
        fraction("confidence", confidence, right), natural("seed", seed), int(resamples)
    )


def fraction(name: str, value: Any, right: str, closed: bool = False) -> float:
    """Return ``value`` as a float above 0 and below 1, or at most 1 if ``closed``.

    Raises:
        ValueError: ``value`` is no such number. The message calls it ``name``, and ``right`` states
            the valid range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} = {value!r}: must be a number {right}.")
    number = float(value)
    if not (0.0 < number < 1.0 or (closed and number == 1.0)):
        raise ValueError(f"{name} = {value!r}: must be {right}.")
    return number


def _generator(seed: int, key: int) -> np.random.Generator:
    return np.random.Generator(
        np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(STREAM, key)))
    )


def resamples_of(days: int, settings: Settings) -> Iterator[Floats]:
    """Yield how often each day is in each resample, in blocks of shape (some, days)."""
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
    """Return the blocks of ``_drawn``, cached: a training asks for the same ones repeatedly."""
    return list(_drawn(days, seed, resamples))


def resampled_means(rows: Floats, settings: Settings) -> Floats:
    """Return the mean of each of ``rows`` (rows, days) in each resample, (resamples, rows)."""
    days = rows.shape[1]
    columns = np.ascontiguousarray(rows.T)
    sums = [counts @ columns for counts in resamples_of(days, settings)]
    return np.asarray(np.concatenate(sums) / days)


def ratio(above: Floats, below: Floats, settings: Settings) -> tuple[Floats, Floats, Floats]:
    """Return the means of ``above`` over the means of ``below``, with intervals.

    Args:
        above: (rows, days).
        below: (rows, days) or (1, days).
        settings: confidence, seed and number of resamples.

    Returns:
        Values, low ends and high ends, each (rows,); nan as in ``statistics.gap``.
    """
    top, bottom = above.mean(axis=1), below.mean(axis=1)
    defined = np.broadcast_to(bottom != 0, top.shape)
    value = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=defined)
    resampled = resampled_means(np.concatenate([above, below]), settings)
    tops, bottoms = resampled[:, : len(above)], resampled[:, len(above) :]
    # A denominator that changes sign has resamples on both sides of a pole.
    steady = np.broadcast_to((np.sign(bottoms) == np.sign(bottom)).all(axis=0), top.shape) & defined
    low, high = np.full((2, *top.shape), np.nan)
    if steady.any():
        ratios = (tops / np.where(bottoms == 0, np.nan, bottoms))[:, steady]
        influence = (above - np.nan_to_num(value)[:, None] * below)[steady]
        _, low[steady], high[steady] = bca(value[steady], ratios, influence, settings)
    return value, low, high


def stretch(units: int, confidence: float) -> float:
    """Return the factor that moves interval ends of a bootstrap of few ``units`` from the mean.

    Such a bootstrap varies too little and has no tails. With n units the factor is
    ``sqrt(n / (n - 1)) t / z``. Here t and z are the quantiles of Student's t with n - 1 degrees of
    freedom and of the normal (Hesterberg 2015, section 4.2). The factor is 1 for one unit, which
    has no interval.
    """
    if units < 2:
        return 1.0
    upper = (1.0 + confidence) / 2.0
    # slow to import, and needed by few
    from scipy.special import ndtri, stdtrit  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415

    return float(math.sqrt(units / (units - 1)) * stdtrit(units - 1, upper) / ndtri(upper))


def seeds_and_days(of_days: Floats, settings: Settings) -> tuple[Floats, Floats]:
    """Return the ends of the interval of ``statistics.mean_over_seeds``.

    Args:
        of_days: (resamples, seeds) the statistic of every seed in every resample of the days.
        settings: confidence, seed and number of resamples.
    """
    seeds = of_days.shape[1]
    upper = (1.0 + settings.confidence) / 2.0
    weights = _generator(settings.seed, 1).multinomial(
        seeds, np.full(seeds, 1.0 / seeds), size=settings.resamples
    )
    deviation = ((weights - 1.0) * of_days).sum(axis=1) / seeds
    resampled = of_days.mean(axis=1) + stretch(seeds, settings.confidence) * deviation
    low, high = np.quantile(resampled, [1.0 - upper, upper])
    return np.asarray(low), np.asarray(high)


def bca(
    value: Floats, resampled: Floats, influence: Floats, settings: Settings
) -> tuple[Floats, Floats, Floats]:
    """Return values, low ends and high ends, each (rows,); ends are nan for one day.

    Args:
        value: (rows,) the statistic.
        resampled: (resamples, rows) the statistic of each resample.
        influence: (rows, days) influence of each day on the statistic, up to a factor; mean zero.
        settings: confidence and the number of resamples.
    """
    low, high = np.full((2, *value.shape), np.nan)
    if influence.shape[1] == 1:
        return value, low, high
    normal = NormalDist()
    z = normal.inv_cdf((1.0 + settings.confidence) / 2.0)
    # Scale near one by a power of two: powers of tiny numbers would vanish.
    _, exponent = np.frexp(np.abs(influence).max(axis=1, keepdims=True))
    influence = np.ldexp(influence, -exponent)
    squares = (influence**2).sum(axis=1)
    cubes = (influence**3).sum(axis=1)
    acceleration = np.divide(
        cubes, 6.0 * squares**1.5, out=np.zeros(squares.shape), where=squares > 0
    )
    below = (resampled < value).mean(axis=0) + 0.5 * (resampled == value).mean(axis=0)
    # With no resample on one side the share is not zero, only too small for these resamples.
    below = np.clip(below, 0.5 / settings.resamples, 1.0 - 0.5 / settings.resamples)
    for j in range(value.size):
        bias = normal.inv_cdf(float(below[j]))
        ends = [_moved(bias, sign * z, float(acceleration[j])) for sign in (-1.0, 1.0)]
        low[j], high[j] = np.quantile(resampled[:, j], ends)
    return value, low, high


def _moved(bias: float, z: float, acceleration: float) -> float:
    """Return the percentile, from 0 to 1, where BCa puts an end of its interval."""
    moved = bias + z
    room = 1.0 - acceleration * moved
    if room <= 0.0:  # the correction is not defined here: take the outermost resample
        return 1.0 if moved > 0 else 0.0
    return NormalDist().cdf(bias + moved / room)
