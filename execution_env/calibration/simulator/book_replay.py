"""Child orders walked through an order book, order by order.

For a buyer with limit L (a seller is its mirror image), from the moment the order is in the market:

- ``traded`` is the quantity that has met the order. It counts executions of buy orders below L,
  because ours had the better price, and of those at L that stand behind ours. It also counts
  executions of sell orders at or below L, because those were ours before.
- ``offered`` is the size of all displayed sell orders at or below L.
- the order's fill is the largest value that ``traded + offered`` has had, as in ``quote_replay``. A
  new sell order that would cross ours fills it. It does not count again when it trades in truth, or
  when its owner cancels it and sends another.

Every order is known by its identifier, so the queue ahead needs no model. At its price our order
stands behind those sent before it, and before those sent after it. Executions and cancellations
ahead shorten the queue by themselves: the next trade is then of an order behind ours or at a worse
price. Orders that were there before the first message have no known age: they are the oldest. The
order that contains the end of the share ``queue`` is wholly ahead. The book shows some levels only;
deeper orders are neither ahead nor offered. Executions of hidden orders at L or better count if
``dark``; a displayed order goes before hidden ones at its price.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from execution_env.calibration.readers.tape import Book, Ints, Messages
from execution_env.calibration.simulator.outcomes import Floats
from execution_env.calibration.simulator.placement import Posted
from execution_env.core.jit import inline, jit

NEW, EXECUTED, HIDDEN = 1, 4, 5
"""Kinds of messages named here: new order, execution of a visible order, of a hidden order."""


class Index(NamedTuple):
    """Lookup tables of m messages, by order and by price.

    Attributes:
        born: (m,) position of the message that sent each message's order; -1 if it came before the
            data began.
        key: (m,) side times price of all messages, sorted.
        row: (m,) position of the message of each key; of equal keys the earlier first.
    """

    born: Ints
    key: Ints
    row: Ints


def index(messages: Messages) -> Index:
    """Return the lookup tables of ``messages``; made once for a tape."""
    orders, which = np.unique(messages.order, return_inverse=True)
    born = np.full(orders.size, -1)
    new = np.flatnonzero(messages.kind == NEW)
    born[which[new]] = new
    key = messages.side * messages.price
    row = np.argsort(key, kind="stable")
    return Index(born[which].astype(np.int64), key[row], row)


@inline
def _displayed(sign: int, level_price: Ints, level_size: Ints, mine: int) -> float:
    """Return the shares at the limit price on our side; -1 if the book does not show that price."""
    for level in range(level_price.size):
        if level_price[level] and 2 * sign * level_price[level] == mine:
            return float(level_size[level])
    return -1.0


@inline
def _last_ahead(
    mine: int, queue: float, last: int, displayed: float, messages: Messages, by: Index, left: Ints
) -> int:
    """Return the position of the message that sent the youngest order ahead of us.

    It is -1 if only orders older than the data are ahead, and -2 if none is ahead. ``left`` is
    scratch: (m,) zeros before and after.
    """
    if queue == 0.0:
        return -2
    if queue == 1.0:
        return last
    kind, size, born = messages.kind, messages.size, by.born
    known = 0.0
    first = np.searchsorted(by.key, mine / 2, "left")  # a half tick is between keys: no orders
    after = np.searchsorted(by.key, mine / 2, "right")
    for message in by.row[first:after]:
        if message <= last and born[message] >= 0 and kind[message] <= EXECUTED:
            change = size[message] if kind[message] == NEW else -size[message]
            left[born[message]] += change
            known += change
    displayed = max(displayed, known)
    ahead = displayed - known
    youngest = -1
    for message in by.row[first:after]:
        if message <= last and kind[message] == NEW:
            if ahead < queue * displayed and left[message] > 0:
                ahead += left[message]
                youngest = message
            left[message] = 0
    return youngest


@jit
def replay_book(
    sign: int,
    posted: Posted,
    queue: float,
    dark: bool,
    messages: Messages,
    by: Index,
    book: Book,
) -> tuple[Floats, Floats]:
    """Return the fills of n child orders of one placement and side.

    Args:
        sign: 1 for buyers, -1 for sellers.
        posted: the orders; there is a message at or before each arrival.
        queue: share of the displayed size that is ahead.
        dark: whether executions of hidden orders count.
        messages, book: messages and book of the tape.
        by: ``index`` of the messages.

    Returns:
        (n,) shares filled, and (n,) their cost in 1/20,000 dollar, times ``sign``.
    """
    arrival, end, limit = posted.arrival, posted.end, posted.limit
    near, near_size, far, far_size = book.bid, book.bid_size, book.ask, book.ask_size
    if sign < 0:
        near, near_size, far, far_size = far, far_size, near, near_size
    time, kind, size, price, side = (
        messages.time,
        messages.kind,
        messages.size,
        messages.price,
        messages.side,
    )
    filled, cost = np.zeros(arrival.size), np.zeros(arrival.size)
    left = np.zeros(time.size, np.int64)
    for child in range(arrival.size):
        mine = limit[child]
        message = np.searchsorted(time, arrival[child], "right") - 1
        displayed = _displayed(sign, near[message], near_size[message], mine)
        youngest = _last_ahead(mine, queue, message, displayed, messages, by, left)
        taken = 0.0  # by crossing, on arrival
        paid = 0.0
        for level in range(far.shape[1]):
            offer = 2 * sign * far[message, level]
            if far[message, level] == 0 or offer > mine:
                break
            taken += far_size[message, level]
            paid += float(far_size[message, level]) * offer
        fill = taken
        traded = 0.0
        message += 1
        while message < time.size and time[message] <= end[child]:
            at = 2 * sign * price[message]
            if at <= mine:
                if kind[message] == EXECUTED:
                    if side[message] != sign or at < mine or by.born[message] > youngest:
                        traded += size[message]
                elif kind[message] == HIDDEN and dark:
                    traded += size[message]
            offered = 0.0
            for level in range(far.shape[1]):
                if far[message, level] == 0 or 2 * sign * far[message, level] > mine:
                    break
                offered += far_size[message, level]
            fill = max(fill, traded + offered)
            message += 1
        filled[child] = fill
        cost[child] = paid + (fill - taken) * mine
    return filled, cost
