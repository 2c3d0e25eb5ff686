"""The sample that fits use: depths of orders as shares of volume, known or cut off, and moves.

Simulated child orders (``outcomes.Outcomes``) and a trader's own (``fill_log.FillLog``) both become
a ``Sample``, so that one set of estimators serves both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.calibration.fitting.cleanup import Offers
from execution_env.calibration.fitting.estimate import Floats, Ints
from execution_env.calibration.simulator.outcomes import Outcomes

SIGNS = np.array([1.0, -1.0])
"""Signs of the sides, in the order of ``tape.BUY, SELL``."""


class Sample(NamedTuple):
    """O orders (a window and a side each) of B buckets, K algos.

    Attributes:
        cluster: (O,) number of the order's window.
        share: (O, B, K) depth as a share of the bucket's market volume, 0 for none. It is at most
            ``posted``; where they are equal the depth is no less. NaN where nothing is known.
        posted: (O, B, K) posted shares as a share of that volume; infinite where the depth itself
            is known.
        price: (O, B, K) cost of a filled share above the mid at the bucket's start, in basis points
            of that mid; NaN where unknown.
        filled: (O, B, K) shares at that price.
        move: (O, B) move of the mid against the order in the bucket, basis points of the mid at
            arrival; NaN where unknown.
        touch: (O,) distance to the far touch at the order's end, basis points of the mid at
            arrival; NaN where unknown.
        volume: (O, B) shares that the market traded, as a multiple of what it trades on average.
        offers: levels of the far side at the order's end; None where the data do not show them.
    """

    cluster: Ints
    share: Floats
    posted: Floats
    price: Floats
    filled: Floats
    move: Floats
    touch: Floats
    volume: Floats
    offers: Offers | None = None

    @property
    def cut(self) -> NDArray[np.bool_]:
        """(O, B, K) whether the depth is only known to be at least ``share``."""
        return np.asarray(self.share >= self.posted)


def sample_of(outcomes: Outcomes, posted: float) -> Sample:
    """Return the sample of simulated child orders, ordered by window, a buy before a sell.

    Where a bucket traded nothing, a depth is not a share of its volume: it is unknown.

    Args:
        outcomes: W windows.
        posted: shares of a child order at whose fills prices are weighted.

    Returns:
        O = 2 W orders.
    """
    windows = outcomes.start.size
    sides = (windows, 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = outcomes.depth / outcomes.volume[..., None]
    share[:, outcomes.volume == 0] = np.nan
    arrival = outcomes.mid[:, :1]
    move = np.diff(outcomes.mid, axis=1) / arrival * 1e4
    touch = outcomes.touch[:, :, -1] * outcomes.mid[:, -1] / arrival[:, 0]
    by_order = [
        np.moveaxis(part, 0, 1).reshape(2 * windows, *part.shape[2:])
        for part in (
            share,
            outcomes.price,
            np.minimum(outcomes.depth, posted),
            SIGNS[:, None, None] * move,
            touch,
            outcomes.end_price * (outcomes.mid[:, -1] / arrival[:, 0])[:, None],
            outcomes.end_size,
        )
    ]
    shares, price, filled, moves, touches, end_price, end_size = by_order
    return Sample(
        cluster=np.repeat(np.arange(windows), 2).reshape(sides).ravel(),
        share=shares,
        posted=np.full(shares.shape, np.inf),
        price=price,
        filled=filled,
        move=moves,
        touch=touches,
        volume=np.repeat(outcomes.volume / outcomes.volume.mean(), 2, axis=0),
        offers=Offers(end_price, end_size),
    )
