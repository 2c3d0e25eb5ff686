"""Postable lots and penalties of an order on a day that is known.

The formulas are those of ``transition``, for a number of lots filled instead of an order in
progress.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.formulas import (
    distance_outside,
    envelope_room,
    participation_room,
    residual_price,
)
from execution_env.allocation.orders import Index
from execution_env.allocation.parameters import Parameters
from execution_env.core.jit import inline, jit

Floats = NDArray[np.float64]


@inline
def postable_lots(order: Any, cap: float, upper: float, filled: Index, outside: Index) -> Any:
    """Return the lots that may be posted when ``filled`` lots have filled.

    At most ``outside`` of them filled before the participation window; ``cap`` is the room in that
    window without fills.
    """
    room: Any = min(np.float64(order.lots - filled), np.float64(order.max_posted))
    if order.capped:
        room = min(room, cap - max(filled - outside, 0))
    if order.hard_upper:
        room = min(room, envelope_room(upper, np.float64(filled)))
    return np.int64(max(room, 0.0))


@inline
def penalty_after(
    order: Any,
    bucket: int,
    lower: float,
    upper: float,
    move: float,
    touch: float,
    filled: Index,
) -> Any:
    """Return the penalty per share of the order if ``filled`` lots have filled by the bucket's end.

    Args:
        order: order parameters.
        bucket: index of the bucket.
        lower, upper: envelope of the bucket, lots.
        move: move of the mid against us in the bucket, basis points, charged to the lots left; 0
            without shortfall.
        touch: price of a share left over at the end, without the quadratic part.
        filled: lots filled.
    """
    left = (order.lots - filled) * order.per_lot
    if bucket + 1 == order.buckets:
        return residual_price(touch, order.residual_quadratic, left) + move * left
    distance = distance_outside(lower, upper, np.float64(filled))
    return order.envelope_penalty * order.per_lot * distance + move * left


@jit
def reach_of(
    parameters: Parameters, volume: Floats, upper: Floats, day: int, cap: Floats, reach: Any
) -> None:
    """Write the room for postings and the most lots that can fill on a day.

    Args:
        parameters: parameters of the scenario.
        volume, upper: (B, n) market volume, shares, and upper edge, lots, of the days.
        day: index of the day.
        cap: (B,), written: lots that the participation window has room for without fills in it.
        reach: (B + 1,), written: most lots that can have filled before a bucket.
    """
    order = parameters.order[0]
    reach[0] = 0
    since_start = 0.0
    for b in range(order.buckets):
        oldest = max(b + 1 - order.window, 0)
        past = since_start
        if oldest > 0:
            past = 0.0
            for earlier in range(oldest, b):
                past += volume[earlier, day]
        total = past + parameters.buckets[b].expected_volume
        cap[b] = participation_room(order.max_rate, total, 0.0)
        # Lots filled plus lots postable never fall as more lots have filled.
        room = postable_lots(order, cap[b], upper[b, day], reach[b], reach[oldest])
        reach[b + 1] = reach[b] + room
        since_start += volume[b, day]
