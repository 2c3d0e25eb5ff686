"""Child orders walked through quotes and trades.

For a buyer with limit L (a seller is its mirror image), from the moment the order is in the market:

- ``traded`` is the quantity that has met the order: prints below L in full, because the order had
  the better price, and prints at L beyond the queue ahead. The queue ahead is the placement's share
  of the displayed size. It is taken when the order joins the price, or when the price is first seen
  at the touch. Prints at L shorten it, and so do cancellations as assumed. It is gone for good once
  the best bid is below L: then the order is alone at the best price.
- ``offered`` is the displayed size of the best ask while that is at or below L, else 0.
- the order's fill is the largest value that ``traded + offered`` has had. Shares displayed at or
  below L are the order's at once. When they trade later in truth, ``offered`` falls as ``traded``
  rises and nothing counts twice. A seller who cancels and comes back does not count twice either.

A fill in this sense is that of an unlimited order without impact. A print comes before a quote of
the same nanosecond, because the quote shows what is left. Events at the moment of posting are over;
events of the bucket's last nanosecond belong to it.

The queue ahead decides a passive order's fate, and a position in it has a value (Moallemi & Yuan
2016, A Model for Queue Position Valuation in a Limit Order Book). Fills of a resting order as the
trades beyond the queue ahead are those of Cont & Kukanov (2017), Optimal order placement in limit
order markets, Quantitative Finance 17(1).
"""

from __future__ import annotations

import numpy as np

from execution_env.calibration.readers.tape import Ints, Quotes, Trades
from execution_env.calibration.simulator.outcomes import Floats
from execution_env.calibration.simulator.placement import Posted
from execution_env.core.jit import inner_inline, jit


@jit
def replay_quotes(
    sign: int,
    posted: Posted,
    queue: float,
    venues: float,
    cancellations: int,
    dark: bool,
    quotes: Quotes,
    trades: Trades,
) -> tuple[Floats, Floats]:
    """Return the fills of n child orders of one placement and side.

    Args:
        sign: 1 for buyers, -1 for sellers.
        posted: the orders; there is a quote at or before each arrival.
        queue: share of the displayed size that is ahead.
        venues: size displayed at the touch at all exchanges, as a multiple of the quoted size.
        cancellations: position in ``placement.CANCELLATIONS``.
        dark: whether prints that are not lit count.
        quotes, trades: quotes and trades of the tape.

    Returns:
        (n,) shares filled, and (n,) their cost in 1/20,000 dollar, times ``sign``.
    """
    near, near_size = quotes.bid, quotes.bid_size
    far, far_size = quotes.ask, quotes.ask_size
    if sign < 0:
        near, near_size, far, far_size = far, far_size, near, near_size
    size = posted.arrival.size
    filled, cost = np.zeros(size), np.zeros(size)
    for child in range(size):
        mine = posted.limit[child]
        quote = np.searchsorted(quotes.time, posted.arrival[child], "right") - 1
        taken = 0.0  # by crossing, on arrival
        paid = 0.0
        offer = 2 * sign * far[quote]
        if offer <= mine:
            taken = float(far_size[quote])
            paid = taken * offer
        fill = _fill_of(
            sign,
            mine,
            posted.arrival[child],
            posted.end[child],
            taken,
            queue,
            venues,
            cancellations,
            dark,
            near,
            near_size,
            far,
            far_size,
            quotes.time,
            trades,
        )
        filled[child] = fill
        cost[child] = paid + (fill - taken) * mine
    return filled, cost


@inner_inline
def _fill_of(
    sign: int,
    mine: int,
    arrival: int,
    end: int,
    taken: float,
    queue: float,
    venues: float,
    cancellations: int,
    dark: bool,
    near: Ints,
    near_size: Ints,
    far: Ints,
    far_size: Ints,
    time: Ints,
    trades: Trades,
) -> float:
    """Walk one order through quotes and prints; returns the shares that fill.

    Args:
        sign, queue, venues, cancellations, dark, trades: as in ``replay_quotes``.
        mine: the order's limit, in 1/20,000 dollar, times ``sign``.
        arrival, end: from when to when it is in the market.
        taken: shares that it took by crossing, when it came.
        near, near_size, far, far_size, time: of the quotes, seen from the order's side.
    """
    last_quote, last_trade = time.size - 1, trades.time.size - 1
    quote = np.searchsorted(time, arrival, "right") - 1
    trade = np.searchsorted(trades.time, arrival, "right")
    traded, fill = 0.0, taken
    ahead = np.inf  # the size displayed at our price is not known yet
    shown = 0.0  # of it, when last seen
    explained = 0.0  # printed at our price since then
    fresh = True  # a quote that we have not looked at
    while True:
        if fresh:
            fresh = False
            best = 2 * sign * near[quote]
            if best < mine:
                ahead = 0.0
            elif best == mine:
                size = float(near_size[quote])
                ahead = _ahead_of(ahead, size, shown, explained, queue, venues, cancellations)
                if size != shown:
                    explained = 0.0
                shown = size
            if 2 * sign * far[quote] <= mine:
                fill = max(fill, traded + far_size[quote])
        has_trade = trade <= last_trade and trades.time[trade] <= end
        has_quote = quote < last_quote and time[quote + 1] <= end
        if has_trade and not (has_quote and time[quote + 1] < trades.time[trade]):
            price = 2 * sign * trades.price[trade]
            if price <= mine and (dark or trades.lit[trade]):
                size = float(trades.size[trade])
                if price == mine:
                    explained += size
                    through = max(size - ahead, 0.0)
                    ahead = max(ahead - size, 0.0)
                else:
                    through = size
                traded += through
                fill = max(fill, traded)
            trade += 1
        elif has_quote:
            quote += 1
            fresh = True
        else:
            return fill


@inner_inline
def _ahead_of(
    ahead: float,
    size: float,
    shown: float,
    explained: float,
    queue: float,
    venues: float,
    cancellations: int,
) -> float:
    """Return the queue ahead once a quote shows ``size`` at our price.

    Args:
        ahead: before the quote; inf if none has shown the price yet.
        shown: size at our price in the quote before.
        explained: shares printed at our price since then.
        queue, venues, cancellations: as in ``replay_quotes``.
    """
    if ahead == np.inf:
        return queue * venues * size
    if cancellations > 0 and size != shown:
        if cancellations == 2 and size < shown:
            known = min(shown - size, explained)
            before = venues * shown - known
            ahead *= 1.0 - (shown - size - known) / before
        ahead = min(ahead, venues * size)
    return ahead
