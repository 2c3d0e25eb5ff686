"""Placement of child orders, and assumptions on what market data do not show.

An algo is its placement. One part is the position of its limit price between the near touch (the
best price of its own side) and the far touch. The other is the share of the queue there that is
ahead of it. Prices are whole 1/10,000 dollar. Limits are in half of that, so that a mid-point is
always a whole number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from execution_env.calibration.readers.tape import NANOSECONDS, Ints
from execution_env.core.validation import choice, fail, flag, integer, number, text

CANCELLATIONS = ("none", "last", "pro-rata")
"""Rules for cancellations, in the order of the numbers that the compiled loop knows them by."""


@dataclass(frozen=True)
class Placement:
    """An algo: its limit price is fixed when it is posted, and does not follow the market.

    Attributes:
        name: name of the algo.
        at: position of the limit from the near touch (0) to the far touch (1, marketable). It is
            rounded towards the near touch to a valid price: an order never pays more than was
            asked.
        queue: share of the size displayed at the limit that is ahead of the order where it joins a
            price, from 0 (front) to 1 (back).
        ticks: added to the limit, towards the far touch: ``at=0, ticks=1`` is one tick inside the
            spread, ``at=1, ticks=2`` two ticks through the far touch. An order with ``at`` below 1
            does not reach the far touch: in a spread of one tick it is at the near touch.
        half_ticks: whether half ticks are prices, as for a mid-point order. A displayed order of a
            US stock above one dollar must be on a whole cent (Regulation NMS, Rule 612).

    Raises:
        ScenarioError: a value out of its range.
    """

    name: str
    at: float
    queue: float = 1.0
    ticks: int = 0
    half_ticks: bool = False

    def __post_init__(self) -> None:
        if not text("name", self.name):
            raise fail("name", self.name, "must not be empty.")
        number("at", self.at, 0.0, 1.0, "a position from the near touch to the far touch")
        number("queue", self.queue, 0.0, 1.0, "a share of the queue")
        integer("ticks", self.ticks, 0, 1000, "ticks")
        flag("half_ticks", self.half_ticks)

    def limit(self, near: Ints, far: Ints, tick: int) -> Ints:
        """Return limit prices, any shape, in 1/20,000 dollar.

        Args:
            near, far: the touches, 1/10,000 dollar. For a seller they are the negative ask and the
                negative bid; then the limits are negative too.
            tick: price step, 1/10,000 dollar.
        """
        through = 2 * tick * int(self.ticks)
        if self.at == 1.0:
            return 2 * far + through
        step = tick if self.half_ticks else 2 * tick
        steps = np.floor(self.at * 2 * (far - near) / step + 1e-9).astype(np.int64)
        limit: Ints = np.minimum(2 * near + steps * step + through, 2 * far - step)
        return np.maximum(limit, 2 * near)


class Posted(NamedTuple):
    """n child orders of one placement and side, as the compiled loops take them.

    Attributes:
        arrival, end: (n,) nanoseconds since midnight.
        limit: (n,) 1/20,000 dollar, negative for sellers.
    """

    arrival: Ints
    end: Ints
    limit: Ints


AGGRESSIVE = Placement("Aggressive", at=1.0, queue=0.0)
NEUTRAL = Placement("Neutral", at=0.5, queue=0.5)
PASSIVE = Placement("Passive", at=0.0, queue=1.0)
PLACEMENTS = (AGGRESSIVE, NEUTRAL, PASSIVE)
"""Default algos, the three tactics of a desk. Aggressive crosses the spread. Neutral goes to the
middle of the spread as far as a displayed order can. In a spread of one tick it stands at the near
touch in the middle of the queue. A router that spreads an order over exchanges with long and short
queues does the same. Passive joins the near touch at the back."""

MIDPOINT = Placement("Midpoint", at=0.5, queue=0.0, half_ticks=True)
"""Placement of a hidden mid-point order. It is not a default. The simulator lets it meet every
seller of every exchange who trades at the bid; in truth it meets only those who come to the one
place where it is. In a spread of one tick this overstates its fills: on Bank of America in October
2013 it would have filled in 87 of 100 minutes."""


@dataclass(frozen=True)
class Assumptions:
    """Assumptions on what the data do not show.

    Attributes:
        dark: whether prints that met no displayed order (off-exchange, executions of hidden orders)
            meet ours too. Default: no. They are matched elsewhere, often for flow that never comes
            to an exchange, and did not go through our queue.
        cancellations: effect on the queue ahead if the size displayed at our price falls and no
            print explains it. "none": no effect; only prints shorten the queue ahead. "last":
            orders behind ours go first, so no more can be ahead than is displayed. "pro-rata":
            orders ahead and behind go in proportion. Default "none", for two reasons. Quotes and
            prints come over different wires, and a quote that comes before its print would shorten
            the queue twice. A consolidated quote shows one exchange, so a fall may be a change of
            exchange. It has no effect on data order by order, where every cancellation is seen.
        elsewhere: size displayed at our price at other exchanges than the quoted one, as a multiple
            of the quoted size. It is ahead of us too, since prints of all exchanges count. Default
            1: a national best quote shows the size of one exchange only. On Bank of America and IBM
            in October 2013 the other exchanges traded 5.4 and 0.6 times as much at the touch as the
            quoted one. It matters for Bank of America. At 5.4 a neutral order there has depth in 41
            instead of 49 of 100 buckets of three minutes. It then costs 3.3 instead of 2.7 bps all
            in. It applies to the queue only. The size on the other side counts as quoted, so that
            Aggressive does not fill too much. 0 is right where quotes and prints are one
            exchange's, or sizes are of all. It has no effect on data order by order.
        latency: nanoseconds from a bucket's start, when the order is priced, until it is in the
            market. Default 0: buckets last minutes.
        stale_after: nanoseconds after which a quote is no longer valid if none follows. Default
            five minutes, the shortest trading pause of a US stock (Limit Up-Limit Down).

    Raises:
        ScenarioError: a value out of its range.
    """

    dark: bool = False
    cancellations: str = "none"
    elsewhere: float = 1.0
    latency: int = 0
    stale_after: int = 300 * NANOSECONDS

    def __post_init__(self) -> None:
        flag("dark", self.dark)
        choice("cancellations", self.cancellations, CANCELLATIONS)
        number("elsewhere", self.elsewhere, 0.0, 1e6, "a multiple of the quoted size")
        integer("latency", self.latency, 0, 3600 * NANOSECONDS, "nanoseconds")
        integer("stale_after", self.stale_after, 1, 86_400 * NANOSECONDS, "nanoseconds")


def check_placements(placements: Sequence[Placement]) -> tuple[Placement, ...]:
    """Return ``placements`` as a tuple.

    Raises:
        ScenarioError: there is none, one is not a ``Placement``, or two have the same name.
    """
    if isinstance(placements, Placement) or not isinstance(placements, Sequence):
        raise fail("placements", placements, "must be a list of Placement.")
    names = []
    for placement in placements:
        if not isinstance(placement, Placement):
            raise fail("placements", placement, "each must be a Placement.")
        names.append(placement.name)
    if not names:
        raise fail("placements", [], "must have at least one.")
    if len(set(names)) < len(names):
        raise fail("placements", names, "names must differ.")
    return tuple(placements)
