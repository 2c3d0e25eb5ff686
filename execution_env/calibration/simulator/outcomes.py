"""What child orders would have met: a parent order's market, bucket by bucket.

A *window* is the time of one parent order, B buckets of equal length. In each bucket one child order
per algo and side is posted at its start and cancelled at its end, without impact: what it met does
not depend on others of ours. Its *depth* is what an endless order posted so would have filled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Outcomes(NamedTuple):
    """W windows of B buckets, K algos.

    Attributes:
        symbol: (W,) str.
        date: (W,) str, "20131007".
        start: (W,) int64 nanoseconds since midnight.
        depth: (2, W, B, K) shares available to a child order, by side.
        price: (2, W, B, K) what an average share of that depth costs above the mid at the bucket's
            start for a buyer, or below it for a seller, in basis points of that mid: positive is paid,
            negative earned. Where there was no depth, what the order's limit price says.
        volume: (W, B) shares of all regular prints.
        mid: (W, B + 1) dollars, at every bucket's start and at the last one's end.
        touch: (2, W, B + 1) distance in basis points of the mid from there to the far touch, what a
            buyer, or a seller, who crosses at that moment pays.
        vwap: (W, B) dollars, volume-weighted average price of the bucket's regular prints; the mean of
            the mids around it where there were none.
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

    def join(self, other: Outcomes) -> Outcomes:
        """The windows of both, these first."""
        by_side = ("depth", "price", "touch")
        return Outcomes(
            **{
                name: np.concatenate([mine, getattr(other, name)], axis=int(name in by_side))
                for name, mine in self._asdict().items()
            }
        )
