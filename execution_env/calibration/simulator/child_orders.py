"""The child-order simulator: fills of child orders of every algo, side and bucket on a stock-day.

At the start of every bucket, for each side and each algo, one child order of unlimited size is
posted. It is cancelled at the bucket's end. It has no impact: trades and quotes are those of the
tape. Its *depth* is the quantity that it would have filled; a child order of x shares then fills
min(x, depth). The rules are in ``book_replay`` if the tape has the order book order by order, else
in ``quote_replay``. Data do not show everything; the rest is assumed in ``placement.Assumptions``.
In both cases:

- the limit price is set from the quote at the bucket's start, and not moved in the bucket;
- an order that crosses the far touch takes the displayed size there at once, at those prices; its
  later fills cost its limit price;
- prints of all exchanges count alike, as if the order stood at each of them in one queue;
- off-exchange prints and executions of hidden orders do not count, unless ``dark`` says so;
- no quote holds while trading is halted: an order posted then finds no market, its depth is 0; one
  that is in the market when a halt begins fills until then;
- there are no fees and no rebates, because they depend on the broker; the scenario sets them.

Depth without impact is generous to large orders. Cont & Kukanov (2017), Optimal order placement in
limit order markets, Quantitative Finance 17(1), model a fill in the same way: outflow beyond the
queue ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from execution_env.calibration.readers.tape import (
    NANOSECONDS,
    Book,
    DataError,
    Ints,
    Messages,
    Quotes,
    Tape,
    Trades,
)
from execution_env.calibration.simulator.book_replay import index, replay_book
from execution_env.calibration.simulator.outcomes import Floats, Outcomes
from execution_env.calibration.simulator.placement import (
    CANCELLATIONS,
    PLACEMENTS,
    Assumptions,
    Placement,
    Posted,
    check_placements,
)
from execution_env.calibration.simulator.quote_replay import replay_quotes
from execution_env.calibration.simulator.windows import (
    DEFAULT_BUCKET,
    DEFAULT_WINDOW,
    buckets_of,
    check_starts,
    plan_windows,
)

Arrays = TypeVar("Arrays", Quotes, Trades, Messages, Book)

DOLLAR = 10_000
"""Number of a tape's price units in a dollar."""


def simulate(
    tape: Tape,
    placements: Sequence[Placement] = PLACEMENTS,
    assumptions: Assumptions | None = None,
    *,
    bucket: int = DEFAULT_BUCKET,
    window: int = DEFAULT_WINDOW,
    starts: Ints | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Outcomes, dict[str, int]]:
    """Walk child orders of every placement, side and bucket through ``tape``.

    Args:
        tape: a stock-day; its order book is used where it has one.
        placements: the K algos.
        assumptions: None is ``Assumptions()``.
        bucket, window: nanoseconds; a window is a whole number of buckets.
        starts: (W,) starts of windows, nanoseconds since midnight; None is ``plan_windows(tape,
            bucket, window)``.
        progress: called with (done, total) after each of the 2 K walks.

    Returns:
        The outcomes, and the number of windows left out for each reason; only counts above 0.

    Raises:
        ScenarioError: an argument out of its range; a window that is not a whole number of buckets.
        DataError: the tape has no quotes, or its session is shorter than a window.
    """
    placements = check_placements(placements)
    assumptions = Assumptions() if assumptions is None else assumptions
    buckets = buckets_of(window, bucket)
    quotes = tape.quotes
    if not quotes.time.size:
        raise DataError(
            f"{tape.symbol} {tape.date}: no usable quotes. Check the file and the session."
        )
    if starts is None:
        starts = plan_windows(tape, bucket, window)
    starts = check_starts(tape, starts, window)
    starts, left_out = _usable(tape, assumptions, starts, bucket, buckets)

    edges = starts[:, None] + bucket * np.arange(buckets + 1)
    if tape.halts.size:
        touched = (tape.halts[:, 0] < edges[:, -1:]) & (tape.halts[:, 1] > edges[:, :1])
        if touched.any():
            left_out["windows with a trading halt, no depth meanwhile"] = int(touched.any(1).sum())
    state = np.searchsorted(quotes.time, edges, "right") - 1
    bid, ask = quotes.bid[state], quotes.ask[state]
    mid = (bid + ask) / 2
    shape = (2, *mid[:, :-1].shape, len(placements))
    depth, price = np.zeros(shape), np.zeros(shape)
    walk = _walk(tape, assumptions, edges)
    for side, sign in enumerate((1, -1)):
        near, far = (bid, ask) if sign == 1 else (-ask, -bid)
        for k, placement in enumerate(placements):
            limit = placement.limit(near[:, :-1], far[:, :-1], tape.tick)
            filled, cost = walk(sign, limit, placement.queue)
            average = np.where(filled > 0, cost / np.maximum(filled, 1.0), limit) / 2
            depth[side, ..., k] = filled
            price[side, ..., k] = (average - sign * mid[:, :-1]) / mid[:, :-1] * 1e4
            if progress:
                progress(side * len(placements) + k + 1, 2 * len(placements))
    volume, vwap = _volume(tape.trades, edges, mid)
    touch = (ask - mid) / mid * 1e4
    end_price, end_size = _offers(tape, edges[:, -1], mid[:, -1], touch[:, -1])
    return Outcomes(
        symbol=np.full(starts.size, tape.symbol),
        date=np.full(starts.size, tape.date),
        start=starts,
        depth=depth,
        price=price,
        volume=volume,
        mid=mid / DOLLAR,
        touch=np.stack([touch, touch]),
        vwap=vwap / DOLLAR,
        end_price=end_price,
        end_size=end_size,
    ), left_out


def _offers(tape: Tape, when: Ints, mid: Floats, touch: Floats) -> tuple[Floats, Floats]:
    """Return (2, W, L) prices and sizes of the far side at the times ``when``; see ``Outcomes``.

    The book's levels where the tape has it, else the touch and its size. No level is nearer than
    the touch, (W,) basis points of ``mid``.
    """
    book: Book | Quotes
    if tape.messages is None or tape.book is None:
        book, time = tape.quotes, tape.quotes.time
    else:
        book, time = tape.book, tape.messages.time
    state = np.searchsorted(time, when, "right") - 1
    shape = (2, when.size, 1 if book.bid.ndim == 1 else book.bid.shape[1])
    price, size = np.empty(shape), np.empty(shape)
    middle, nearest = mid[:, None], touch[:, None]
    for side, (sign, at, there) in enumerate(
        ((1, book.ask, book.ask_size), (-1, book.bid, book.bid_size))
    ):
        level = at[state].reshape(shape[1:])
        away = sign * (level - middle) / middle * 1e4
        price[side] = np.maximum.accumulate(
            np.where(level > 0, np.maximum(away, nearest), nearest), 1
        )
        size[side] = np.where(level > 0, there[state].reshape(shape[1:]), 0)
    return price, size


def _walk(
    tape: Tape, assumptions: Assumptions, edges: Ints
) -> Callable[[int, Ints, float], tuple[Floats, Floats]]:
    """Return a function from sign, (W, B) limits and queue to (W, B) fills and costs."""
    shape = edges[:, :-1].shape
    arrival, end = (edges[:, :-1] + assumptions.latency).ravel(), edges[:, 1:].ravel()
    late = arrival >= end  # they reach the market after their bucket
    for begin, over in tape.halts:
        late |= (begin <= arrival) & (arrival < over)
        late |= (begin <= arrival - assumptions.latency) & (arrival - assumptions.latency < over)
        end = np.where((arrival < begin) & (begin < end), begin, end)
    arrival = np.where(late, end, arrival)
    dark = bool(assumptions.dark)
    if tape.messages is None or tape.book is None:
        quotes, trades = _plain(tape.quotes), _plain(tape.trades)
        rule = CANCELLATIONS.index(assumptions.cancellations)
        venues = 1.0 + assumptions.elsewhere

        def replay(sign: int, posted: Posted, queue: float) -> tuple[Floats, Floats]:
            return replay_quotes(sign, posted, queue, venues, rule, dark, quotes, trades)

    else:
        messages, book = _plain(tape.messages), _plain(tape.book)
        by = index(messages)

        def replay(sign: int, posted: Posted, queue: float) -> tuple[Floats, Floats]:
            return replay_book(sign, posted, queue, dark, messages, by, book)

    def walk(sign: int, limit: Ints, queue: float) -> tuple[Floats, Floats]:
        filled, cost = replay(sign, Posted(arrival, end, limit.ravel()), float(queue))
        filled[late], cost[late] = 0.0, 0.0
        return filled.reshape(shape), cost.reshape(shape)

    return walk


def _usable(
    tape: Tape, assumptions: Assumptions, starts: Ints, bucket: int, buckets: int
) -> tuple[Ints, dict[str, int]]:
    """Return starts of windows with a usable quote at every edge of a bucket; count the others."""
    edges = starts[:, None] + bucket * np.arange(buckets + 1)
    state = np.searchsorted(tape.quotes.time, edges, "right") - 1
    none = (state < 0).any(axis=1)
    stale = (edges - tape.quotes.time[state] > assumptions.stale_after).any(axis=1) & ~none
    no_book = np.zeros_like(none)
    if tape.messages is not None and tape.book is not None:
        no_book = np.searchsorted(tape.messages.time, starts, "right") == 0
        no_book &= ~(none | stale)
    reasons = {
        "windows left out: no quote at the start of a bucket": none,
        f"windows left out: a quote older than {assumptions.stale_after / NANOSECONDS:g} s": stale,
        "windows left out: no order book at the start": no_book,
    }
    counts = {reason: int(which.sum()) for reason, which in reasons.items() if which.any()}
    return starts[~(none | stale | no_book)], counts


def _volume(trades: Trades, edges: Ints, mid: Floats) -> tuple[Floats, Floats]:
    """Return (W, B) shares of all prints, and their average price in the unit of ``mid``."""
    at = np.searchsorted(trades.time, edges, "right")
    shares = np.concatenate([[0], np.cumsum(trades.size, dtype=np.int64)])[at]
    money = np.concatenate([[0], np.cumsum(trades.size * trades.price, dtype=np.int64)])[at]
    volume = np.diff(shares, axis=1).astype(np.float64)
    paid = np.diff(money, axis=1)
    between = (mid[:, :-1] + mid[:, 1:]) / 2
    return volume, np.where(volume > 0, paid / np.maximum(volume, 1.0), between)


def _plain(arrays: Arrays) -> Arrays:
    """Return the same arrays, contiguous and writable: the loops are compiled for these only."""
    kinds = {"lit": np.bool_, "kind": np.int8, "side": np.int8}
    return type(arrays)(
        **{
            name: np.require(array, kinds.get(name, np.int64), ["C", "W"])
            for name, array in arrays._asdict().items()
        }
    )
