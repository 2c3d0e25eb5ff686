"""Outcomes of child orders: a parent order's market, bucket by bucket.

A *window* is the time of one parent order, B buckets of equal length. In each bucket one child
order per algo and side is posted at the start and cancelled at the end. It has no impact, so its
fills do not depend on our other orders. Its *depth* is the quantity that an unlimited order posted
so would fill.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BY_SIDE = ("depth", "price", "touch", "end_price", "end_size")
"""Fields of ``Outcomes`` whose first axis is the side."""


class Outcomes(NamedTuple):
    """W windows of B buckets, K algos.

    Attributes:
        symbol: (W,) str.
        date: (W,) str, "20131007".
        start: (W,) int64 nanoseconds since midnight.
        depth: (2, W, B, K) shares available to a child order, by side.
        price: (2, W, B, K) average cost of a share of that depth above the mid at the bucket's
            start for a buyer, or below it for a seller, in basis points of that mid. Positive is
            paid, negative earned. Without depth it is that of the order's limit price.
        volume: (W, B) shares of all regular prints.
        mid: (W, B + 1) dollars, at every bucket's start and at the last one's end.
        touch: (2, W, B + 1) distance from the mid to the far touch at those times, in basis points
            of the mid: the cost for a buyer, or a seller, who crosses at that moment.
        vwap: (W, B) dollars, volume-weighted average price of the bucket's regular prints; the mean
            of the mids around it where there were none.
        end_price: (2, W, L) prices at which the far side was offered at the window's end, best
            first, as distances from the mid in basis points of it.
        end_size: (2, W, L) shares displayed there; 0 where there is no such level.
    """

    symbol: NDArray[np.str_]
    date: NDArray[np.str_]
    start: NDArray[np.int64]
    depth: Floats
    price: Floats
    volume: Floats
    mid: Floats
    touch: Floats
    vwap: Floats
    end_price: Floats
    end_size: Floats

    def join(self, other: Outcomes) -> Outcomes:
        """Return the windows of both, these first."""
        levels = max(self.end_price.shape[2], other.end_price.shape[2])
        parts = [part._deepened(levels)._asdict() for part in (self, other)]
        return Outcomes(
            **{
                name: np.concatenate([part[name] for part in parts], axis=int(name in BY_SIDE))
                for name in parts[0]
            }
        )

    def _deepened(self, levels: int) -> Outcomes:
        """Return the same with ``levels`` levels at the end, the added ones empty."""
        more = [(0, 0), (0, 0), (0, levels - self.end_price.shape[2])]
        price, size = np.pad(self.end_price, more, mode="edge"), np.pad(self.end_size, more)
        return self._replace(end_price=price, end_size=size)
