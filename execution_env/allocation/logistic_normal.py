"""Moments of a fill rate ``F = logistic(a + noise)`` with normal noise.

Integrals over the standard normal density use the trapezoidal rule, which converges geometrically
for integrands like these (Trefethen & Weideman 2014, SIAM Review 56, section 5). Gauss-Hermite
quadrature with as many nodes is the usual choice. It loses digits once the noise has a standard
deviation of several units and the logistic curve turns into a step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NODES = np.linspace(-9.0, 9.0, 401)
WEIGHTS = np.exp(-0.5 * NODES**2)
WEIGHTS /= WEIGHTS.sum()


def logistic(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def mean(location: Array, sd: Array) -> Array:
    """Return E logistic(location + sd X), X standard normal; arguments broadcast."""
    location, sd = np.asarray(location, np.float64), np.asarray(sd, np.float64)
    values: Array = logistic(location[..., None] + sd[..., None] * NODES) @ WEIGHTS
    return values


def intercept(rate: Array, sd: Array) -> Array:
    """Return the location with ``mean(location, sd) == rate``; -inf and inf for rates 0 and 1.

    The method is bisection: the mean is strictly increasing in the location, which lies between
    logit(rate) -+ (9 sd + 1). The result is rounded to 12 decimals, so that the last bits of a
    machine's tanh and matrix product do not matter.
    """
    rate, sd = np.broadcast_arrays(np.asarray(rate, np.float64), np.asarray(sd, np.float64))
    with np.errstate(divide="ignore"):
        logit = np.log(rate) - np.log1p(-rate)
    low, high = logit - 9.0 * sd - 1.0, logit + 9.0 * sd + 1.0
    inner = np.isfinite(logit)
    low, high = np.where(inner, low, 0.0), np.where(inner, high, 0.0)
    for _ in range(64):  # halves the bracket to the last bit
        middle = 0.5 * (low + high)
        below = mean(middle, sd) < rate
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(inner, np.round(0.5 * (low + high), 12), logit)


def variance_split(rate: Array, hidden_sd: Array, bucket_sd: Array) -> tuple[Array, Array]:
    """Return the variance of the fill rate with mean ``rate``, split by the law of total variance.

    Returns:
        Var E[F | hidden] and E Var[F | hidden], where "hidden" is the part of the noise that does
        not belong to the bucket alone. Both zero for rates 0 and 1.
    """
    location = intercept(rate, np.hypot(hidden_sd, bucket_sd))
    inner = np.isfinite(location)
    location = np.where(inner, location, 0.0)
    given_hidden = mean(
        location[..., None] + hidden_sd[..., None] * NODES,
        np.broadcast_to(bucket_sd[..., None], (*location.shape, NODES.size)),
    )
    grid = np.hypot(hidden_sd, bucket_sd)
    second_moment = logistic(location[..., None] + grid[..., None] * NODES) ** 2 @ WEIGHTS
    of_hidden = given_hidden**2 @ WEIGHTS - (given_hidden @ WEIGHTS) ** 2
    total = second_moment - (given_hidden @ WEIGHTS) ** 2
    of_hidden = np.where(inner & (hidden_sd > 0), np.maximum(of_hidden, 0.0), 0.0)
    of_bucket = np.where(inner & (bucket_sd > 0), np.maximum(total - of_hidden, 0.0), 0.0)
    return of_hidden, of_bucket
