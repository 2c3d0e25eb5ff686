"""Formulas of one order in one bucket."""

from __future__ import annotations

from typing import Any

import numpy as np

from execution_env.core.jit import inline

LOT_TOLERANCE = 1e-6
"""Lots. Keeps floating-point noise from turning 30.0 lots of room into 29, or a cumulative fill on
the envelope's edge into a violation."""


# Formulas: one order, one bucket.


@inline
def filled_lots(posted: Any, fill_rate: float, rounding: float, depth: Any) -> Any:
    """min(floor(x F + u), x, D): ``posted * fill_rate`` lots in expectation."""
    return min(np.int32(posted * fill_rate + rounding), posted, depth)


@inline
def schedule(volume: Any, expected: Any, expected_rest: Any) -> Any:
    """VWAP schedule at the end of a bucket before which ``volume`` shares have traded: the share
    of the order's volume, as expected now, that has traded then.
    """
    return (volume + expected) / (volume + expected_rest)


@inline
def distance_outside(lower: float, upper: float, filled: float) -> float:
    """Lots by which ``filled`` lies outside [lower, upper]."""
    distance = max(lower - filled, filled - upper)
    return distance if distance > LOT_TOLERANCE else 0.0


@inline
def participation_room(max_rate: float, volume: float, ours: float) -> Any:
    """Lots that keep our share of ``volume`` shares at ``max_rate`` lots per share or below, when
    ``ours`` lots have filled; a whole number, perhaps negative.
    """
    return np.floor(max_rate * volume + LOT_TOLERANCE) - ours


@inline
def envelope_room(upper: float, filled: float) -> Any:
    """Lots that may fill without crossing ``upper`` lots; a whole number, perhaps negative."""
    return np.floor(upper + LOT_TOLERANCE) - filled


@inline
def residual_price(penalty: float, quadratic: float, residual: float) -> float:
    """Kappa R + kappa2 R^2 / n per share of the order; ``residual`` is R / n."""
    return (penalty + quadratic * residual) * residual
