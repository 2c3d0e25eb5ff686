"""Fit of an algo's depth: the probability of any depth, and the lognormal law where there is.

Let s = C / V be the depth as a share of the bucket's volume, P(s > 0) = p, and log s ~ N(mu,
sigma^2) where s > 0. The estimate of p is the share of buckets with depth. Mu and sigma are of
maximum likelihood. Depths above ``most`` count as cut off there: no child order is larger than the
participation cap. The law above it does not matter, and must not bend the law where orders are.
Depths in a log of a trader's own orders are cut off anyway, at the posted shares:

    log L = sum over depths known of  log phi((x - mu) / sigma) - log sigma
          + sum over depths cut of    log Phi((mu - c) / sigma)

This is concave in (mu / sigma, 1 / sigma) (Olsen 1978, Note on the uniqueness of the maximum
likelihood estimator for the Tobit model, Econometrica 46), so Newton's method finds its maximum.
Buckets of an order may depend on each other. Then this is a composite likelihood: it has the same
maximum in the limit, and the jackknife over windows accounts for the dependence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr  # type: ignore[import-untyped]

from execution_env.calibration.fitting.estimate import Floats, means

LEAST_KNOWN = 0.2
"""Least share of depths that count as known, where ``most`` would leave fewer."""

FEWEST_DEPTHS = 10
"""Least number of known depths needed to fit how they vary."""

STEPS = 60


class DepthLaw(NamedTuple):
    """1 + J replicates of the law of K algos' depth.

    Attributes:
        chance: (1 + J, K) p.
        location: (1 + J, K) mu; NaN where the algo never had depth.
        sd: (1 + J, K) sigma, of a bucket and its order together.
        most: (K,) shares of volume above which depths were cut.
        notes: (K,) remarks on the depth; empty where there is none.
    """

    chance: Floats
    location: Floats
    sd: Floats
    most: Floats
    notes: tuple[str, ...]


def fit_depth(weight: Floats, share: Floats, cut: NDArray[np.bool_], most: float) -> DepthLaw:
    """Fit the law of depth.

    Args:
        weight: (1 + J, O).
        share, cut: (O, B, K) as in ``sample.Sample``.
        most: share of volume above which depths are cut.
    """
    known = ~np.isnan(share)
    some = known & (share > 0)
    chance = means(weight, some.sum(axis=1).astype(float), known.sum(axis=1).astype(float))
    algos = share.shape[2]
    location, sd = np.full((2, weight.shape[0], algos), np.nan)
    used, notes = np.full(algos, most), []
    for k in range(algos):
        order, bucket = np.nonzero(some[..., k])
        x, beyond = np.log(share[order, bucket, k]), cut[order, bucket, k]
        if x.size:
            used[k] = max(most, float(np.exp(np.quantile(x, LEAST_KNOWN))))
        top = np.log(used[k])
        beyond = beyond | (x > top)
        x = np.minimum(x, top)
        location[:, k], sd[:, k], note = _law(weight[:, order], x, beyond)
        notes.append(note)
    return DepthLaw(chance, location, sd, used, tuple(notes))


def _law(weight: Floats, x: Floats, cut: NDArray[np.bool_]) -> tuple[Floats, Floats, str]:
    """Return mu and sigma, (1 + J,) each, of log shares ``x``, (m,), and a remark."""
    if not x.size:
        return np.full(len(weight), np.nan), np.full(len(weight), np.nan), "never filled"
    known = x[~cut]
    if known.size < FEWEST_DEPTHS:
        # Orders hardly ever cut short: their depth is only known to be no less.
        at_least = np.full(len(weight), x.max())
        return at_least, np.zeros(len(weight)), "a lower bound: hardly ever cut short"
    if np.ptp(x) < 1e-9 * max(1.0, abs(x[0])):
        return np.full(len(weight), x[0]), np.zeros(len(weight)), "the same in every bucket"
    centre, scale = x.mean(), x.std()
    x = (x - centre) / scale
    start = np.array([[0.0, 1.0]])
    whole = _maximum(weight[:1], x, cut, start)
    found = _maximum(weight, x, cut, np.repeat(whole, len(weight), axis=0))
    location, sd = found[:, 0] / found[:, 1], 1.0 / found[:, 1]
    return centre + scale * location, scale * sd, ""


def _maximum(weight: Floats, x: Floats, cut: NDArray[np.bool_], start: Floats) -> Floats:
    """Return the maximum of n weighted likelihoods by Newton's method: (n, 2) mu / sigma, 1 /
    sigma.
    """
    exact, beyond = weight[:, ~cut], weight[:, cut]
    known, c = x[~cut], x[cut]
    count, first, second = exact.sum(axis=1), exact @ known, exact @ known**2
    at = start.copy()
    for _ in range(STEPS):
        g, t = at[:, 0], at[:, 1]
        z = g[:, None] - t[:, None] * c
        # phi / Phi, stable in the lower tail
        ratio = np.exp(-0.5 * z * z - log_ndtr(z)) / np.sqrt(2.0 * np.pi)
        bend = -ratio * (ratio + z)
        one, by = beyond * ratio, beyond * bend
        slope_g = t * first - count * g + one.sum(axis=1)
        slope_t = count / t - t * second + g * first - one @ c
        gg = -count + by.sum(axis=1)
        gt = first - by @ c
        tt = -count / t**2 - second + by @ c**2
        det = gg * tt - gt * gt
        step = np.stack([slope_g * tt - slope_t * gt, slope_t * gg - slope_g * gt], 1)
        step /= -det[:, None]
        # 1 / sigma stays positive; far from the maximum steps are short
        shrink = np.minimum(1.0, 0.5 * t / np.maximum(np.abs(step[:, 1]), 1e-300))
        at = at + shrink[:, None] * step
        if np.abs(step).max() < 1e-10:
            break
    return at
