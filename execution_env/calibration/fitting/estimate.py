"""Estimates with standard errors by the jackknife over windows.

The buckets of a window, and its two sides, share one market: only windows are independent. So every
standard error is the jackknife over windows (Tukey 1958, Annals of Mathematical Statistics 29;
Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 11): with t_j the estimate
without window j, of J,

    se^2 = (J - 1) / J  sum_j (t_j - mean of t)^2.

It needs only an estimator that takes weights, so it covers all of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NOTHING = "the data do not show it"

MOST_GROUPS = 100
"""Maximum number of groups that are left out one after another. With more windows a group holds
several."""


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the estimate.
        error: standard error; NaN where there is none.
        note: remark on the estimate; empty where there is none. Where the value is NaN it says why
            there is no estimate.
    """

    value: float
    error: float = math.nan
    note: str = ""

    def within(self, errors: float, truth: float = 0.0) -> bool:
        """Return True if ``truth`` is within ``errors`` standard errors, or if there are none."""
        return not abs(self.value - truth) > errors * self.error

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return math.isfinite(self.value)

    def __str__(self) -> str:
        if not self.known:
            return f"not estimated: {self.note or NOTHING}"
        if not math.isfinite(self.error):
            return f"{self.value:.3g}"
        if self.error == 0.0:
            return f"{self.value:.4g} +- 0"
        digits = _digits(self.error)
        return f"{self.value:.{digits}f} +- {self.error:.{digits}f}"


def _digits(error: float) -> int:
    """Return the number of decimals that shows two significant digits of ``error``."""
    return max(0, 1 - math.floor(math.log10(error)))


def rounded(estimate: Estimate) -> float:
    """Return the value to one decimal more than its standard error shows.

    Without a standard error it is the value to six significant digits.
    """
    if not math.isfinite(estimate.error) or estimate.error == 0.0:
        return float(f"{estimate.value:.6g}")
    return round(estimate.value, _digits(estimate.error) + 1)


def weights(cluster: Ints, most: int = MOST_GROUPS) -> Floats:
    """Return (1 + J, O) weights of O orders: first all, then all but one group of clusters each.

    Args:
        cluster: (O,) cluster of every order.
        most: maximum number of groups; a group is of consecutive clusters.

    Returns:
        Ones and zeros. J is 0 with one cluster: then nothing is known of the spread.
    """
    number = np.unique(cluster, return_inverse=True)[1]
    clusters = int(number.max()) + 1 if number.size else 0
    groups = min(clusters, most)
    if groups < 2:
        return np.ones((1, cluster.size))
    group = number * groups // clusters
    return np.vstack([np.ones(cluster.size), group != np.arange(groups)[:, None]])


def errors(replicates: Floats) -> Floats:
    """Return standard errors by the jackknife.

    Args:
        replicates: (1 + J, ...) the estimate, then those with a group left out.

    Returns:
        (...) NaN with fewer than two groups, or where an estimate is NaN.
    """
    left_out = replicates[1:]
    groups = left_out.shape[0]
    if groups < 2:
        return np.full(replicates.shape[1:], np.nan)
    around = left_out - left_out.mean(axis=0)
    found = np.sqrt((groups - 1) / groups * (around**2).sum(axis=0))
    # 0 where replicates differ by rounding only
    return np.asarray(np.where(found > 1e-9 * np.abs(replicates[0]) + 1e-12, found, 0.0 * found))


def estimate(replicates: Floats, note: str = "", why: str = "") -> Estimate:
    """Return the estimate of (1 + J,) ``replicates``; ``why`` is its note where there is none."""
    found = Estimate(float(replicates[0]), float(errors(replicates)), note)
    return found if found.known else Estimate(math.nan, note=why or note)


def means(weight: Floats, numerator: Floats, denominator: Floats) -> Floats:
    """Return ratios of weighted sums; NaN where the denominator is 0.

    Args:
        weight: (1 + J, O).
        numerator, denominator: (O, ...) sums of every order.

    Returns:
        (1 + J, ...).
    """
    above = np.tensordot(weight, numerator, 1)
    below = np.tensordot(weight, denominator, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(below != 0.0, above / below, np.nan))


def correlations(weight: Floats, first: Floats, second: Floats) -> Floats:
    """Return correlations of two columns, over the cells where both are known.

    Args:
        weight: (1 + J, O).
        first, second: (O, n), NaN where unknown.

    Returns:
        (1 + J,) NaN where one of the two does not vary.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    centred = [np.where(known, x - (x[known].mean() if known.any() else 0.0), 0.0)
               for x in (first, second)]  # fmt: skip
    x, y = centred  # near 0, so that the differences of squares below lose no digits
    count = weight @ known.sum(axis=1).astype(np.float64)
    sums = [weight @ part.sum(axis=1) for part in (x, y, x * y, x * x, y * y)]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y, xy, xx, yy = (part / count for part in sums)
        variances = (xx - mean_x**2) * (yy - mean_y**2)
        # a column whose values differ by rounding only does not vary
        real = variances > 1e-24 * np.maximum(xx * yy, 1e-300)
        found = (xy - mean_x * mean_y) / np.sqrt(np.where(real, variances, np.nan))
    return np.asarray(found)
