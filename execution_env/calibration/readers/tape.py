"""A tape: one regular session of one stock, from any reader, for the child-order simulator.

Times are whole nanoseconds since midnight at the exchange, prices whole 1/10,000 dollar (the unit
of both LEAN and LOBSTER files), sizes shares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NANOSECONDS = 1_000_000_000
"""Number of nanoseconds in a second."""

DAY = 86_400 * NANOSECONDS

OPEN, CLOSE = 34_200 * NANOSECONDS, 57_600 * NANOSECONDS
"""Regular session of US equities, 09:30 to 16:00, nanoseconds since midnight."""

TICK = 100
"""Smallest price step of US equities above one dollar, in 1/10,000 dollar."""

Ints = NDArray[np.int64]


class DataError(ValueError):
    """Error in market data; the message names the file, the place and the remedy."""


class Quotes(NamedTuple):
    """m states of the best bid and offer; one holds from its time to that of the next.

    All states are usable: both sides are there, the bid is below the ask. Times do not decrease.

    Attributes:
        time: (m,) nanoseconds since midnight.
        bid, ask: (m,) 1/10,000 dollar.
        bid_size, ask_size: (m,) shares displayed there.
    """

    time: Ints
    bid: Ints
    bid_size: Ints
    ask: Ints
    ask_size: Ints


class Trades(NamedTuple):
    """m regular prints of the session; times do not decrease.

    Attributes:
        time: (m,) nanoseconds since midnight.
        price: (m,) 1/10,000 dollar.
        size: (m,) shares.
        lit: (m,) whether the print met displayed liquidity at an exchange; False for off-exchange
            prints and executions of hidden orders.
    """

    time: Ints
    price: Ints
    size: Ints
    lit: NDArray[np.bool_]


class Messages(NamedTuple):
    """m events of an order book, order by order, as in LOBSTER's message files.

    Times do not decrease.

    Attributes:
        time: (m,) nanoseconds since midnight.
        kind: (m,) int8: 1 new limit order, 2 partial cancellation, 3 deletion, 4 execution of a
            visible order, 5 execution of a hidden order. Cross trades (6) and halts (7) are not in
            here.
        order: (m,) identifier.
        size: (m,) shares.
        price: (m,) 1/10,000 dollar.
        side: (m,) int8, of the resting order: 1 buy, -1 sell.
    """

    time: Ints
    kind: NDArray[np.int8]
    order: Ints
    size: Ints
    price: Ints
    side: NDArray[np.int8]


class Book(NamedTuple):
    """The L best levels of the book after each of m messages, level 1 first.

    Attributes:
        bid, ask: (m, L) 1/10,000 dollar; 0 where there is no such level.
        bid_size, ask_size: (m, L) shares.
    """

    bid: Ints
    bid_size: Ints
    ask: Ints
    ask_size: Ints


def no_halts() -> Ints:
    """Return (0, 2) times of halts."""
    return np.zeros((0, 2), np.int64)


@dataclass(frozen=True)
class Tape:
    """A stock-day.

    Attributes:
        symbol: lower case.
        date: "20131007".
        open, close: start and end of the session that the data cover, nanoseconds since midnight.
        quotes: quotes of the session, beginning with the state at its open where there is one.
        trades: prints of the session.
        messages, book: messages and book order by order, where the data have them; of equal length.
        tick: price step, 1/10,000 dollar.
        halts: (h, 2) times at which trading was halted: from the halt until the first usable quote
            after trading resumed. No quote holds there.
        repairs: number of rows left out or mended in reading, for each sentence-like reason, such
            as {"locked or crossed quotes left out": 12}; only counts above 0.
    """

    symbol: str
    date: str
    open: int
    close: int
    quotes: Quotes
    trades: Trades
    messages: Messages | None = None
    book: Book | None = None
    tick: int = TICK
    halts: Ints = field(default_factory=no_halts)
    repairs: dict[str, int] = field(default_factory=dict)


BUY, SELL = 0, 1
"""Positions of the sides on the side axis."""
