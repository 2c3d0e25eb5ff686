"""Formulas of one order in one bucket, each written once.

The environment draws and charges by them; planners and bounds plan by them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from execution_env.allocation.depth import depth_score
from execution_env.core.jit import inline, jit

LOT_TOLERANCE = 1e-6
"""Tolerance in lots. It keeps floating-point noise from turning 30.0 lots of room into 29, or a
cumulative fill on the envelope's edge into a violation."""


# Lots, the envelope, the participation cap, and what is left over.


@inline
def filled_lots(posted: Any, fill_rate: float, rounding: float, depth: Any) -> Any:
    """Return the lots that fill, min(floor(x F + u), x, D): ``posted * fill_rate`` in expectation."""
    return min(np.int32(posted * fill_rate + rounding), posted, depth)


@inline
def schedule(volume: Any, expected: Any, expected_rest: Any) -> Any:
    """Return the VWAP schedule at the end of a bucket before which ``volume`` shares have traded.

    It is the share of the order's volume, as expected now, that has traded then.
    """
    return (volume + expected) / (volume + expected_rest)


@inline
def distance_outside(lower: float, upper: float, filled: float) -> float:
    """Return the lots by which ``filled`` lies outside [lower, upper]."""
    distance = max(lower - filled, filled - upper)
    return distance if distance > LOT_TOLERANCE else 0.0


@inline
def participation_room(max_rate: float, volume: float, ours: float) -> Any:
    """Return the lots that keep our share of the market's volume at ``max_rate`` or below.

    Args:
        max_rate: lots per share of volume.
        volume: shares.
        ours: lots that have filled.

    Returns:
        A whole number, perhaps negative.
    """
    return np.floor(max_rate * volume + LOT_TOLERANCE) - ours


@inline
def envelope_room(upper: float, filled: float) -> Any:
    """Return the lots that may fill below ``upper`` lots; a whole number, perhaps negative."""
    return np.floor(upper + LOT_TOLERANCE) - filled


@inline
def residual_price(penalty: float, quadratic: float, residual: float) -> float:
    """Return kappa R + kappa2 R^2 / n per share of the order; ``residual`` is R / n."""
    return (penalty + quadratic * residual) * residual


# Fill rates and depths of an algo in a bucket, and prices of its lots.


@jit
def logistic(logit: np.float32) -> np.float32:
    """1 / (1 + exp(-logit)) to float32 precision; exactly 0 and 1 at the infinities.

    The exponential is Cephes' expf (Moshier 1989, Methods and Programs for Mathematical Functions),
    written out: without a call into the C library a loop over days runs in SIMD registers, and a
    day does not depend on the machine's library.
    """
    x = min(max(-logit, np.float32(-87.0)), np.float32(88.0))
    power = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    # ln 2 in two parts: the first is exact in few bits, so that power * ln 2 is.
    x = x - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * x + np.float32(1.3981999507e-3)
    p = p * x + np.float32(8.3334519073e-3)
    p = p * x + np.float32(4.1665795894e-2)
    p = p * x + np.float32(1.6666665459e-1)
    p = p * x + np.float32(5.0000001201e-1)
    exponential = p * x * x + x + np.float32(1.0)
    two_to_power = np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)
    rate = np.float32(1.0) / (np.float32(1.0) + exponential * two_to_power)
    return rate if logit > np.float32(-88.0) else np.float32(0.0)


@inline
def fill_location(intercept: float, day_effect: float, loading: float, liquidity: float) -> float:
    """Return where the logit of a fill rate lies, a + day + loading z, the bucket's own noise aside."""
    return intercept + day_effect + loading * liquidity


@inline
def fill_rate(location: float, sd: float, noise: float) -> Any:
    """Return F = logistic(location + sd e), a float32."""
    return logistic(np.float32(location + sd * noise))


@inline
def latent_of(common: float, loading: float, noise: float) -> float:
    """Return y = loading zeta + sqrt(1 - loading^2) e, the latent of depth.

    Args:
        common: loading zeta, the part that all algos share; zeta is z over its standard deviation.
        loading: of the algo.
        noise: e.
    """
    return common + math.sqrt(1.0 - loading * loading) * noise


@inline
def depth_of(latent: float, chance: float, scale: float, location: float, sd: float) -> float:
    """Return the depth that goes with a latent y, scale exp(location + sd G) lots, or 0 for none.

    Args:
        latent: y.
        chance: that there is any depth, which says what G goes with y (see ``depth_score``).
        scale, location: the median of a positive depth is scale exp(location).
        sd: of its logarithm.
    """
    score = depth_score(latent, chance)
    return scale * math.exp(location + sd * score) if score > -math.inf else 0.0


@inline
def posting_price(order: Any, cost: float) -> float:
    """Return what a charged lot costs without shortfall, per share of the order; ``cost`` of a cell."""
    return float(cost * order.per_lot)


@inline
def filled_price(order: Any, spread: float, fee: float, move: float) -> float:
    """Return what a filled lot costs with shortfall, per share of the order.

    Args:
        order: a record of ``parameters.ORDER``.
        spread, fee: basis points.
        move: basis points of the bucket's move of the mid, which the lot is spared.
    """
    return float((spread + fee - move) * order.per_lot)
