"""Cleaning of quotes and prints: from all those in a file to the usable ones of one session.

All readers clean alike, and count in ``Tape.repairs`` what they leave out. The rules follow those
of studies with such data (Barndorff-Nielsen, Hansen, Lunde and Shephard 2009, Realized kernels in
practice: trades and quotes, Econometrics Journal 12, section 3.1): session only, positive prices
and sizes, no crossed quotes, no absurdly wide ones, no prints far outside the quotes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.calibration.readers.tape import (
    NANOSECONDS,
    TICK,
    DataError,
    Ints,
    Quotes,
    Trades,
)

HALF_DAY = 46_800 * NANOSECONDS
"""Close of US equities on half days, such as the day after Thanksgiving: 13:00, nanoseconds."""

WIDE_SPREADS, WIDE_SHARE = 10.0, 0.05
"""Limits of a quote's spread: so many median spreads, and this share of the mid. A quote is absurd
if its spread is above both; a print is absurd if it lies that far outside the quote."""

GAP = 300 * NANOSECONDS
"""Longest gap between quotes that is not reported, 5 minutes. A longer gap at an end of the session
is cut off."""

QUIET_SPELL = 1800 * NANOSECONDS
"""Longest time without prints at an end of the session that is not reported, half an hour."""

MINUTE = 60 * NANOSECONDS

OPENING = 5 * NANOSECONDS
"""Longest time after the open in which the first usable state counts as that of the open. Files begin
with the first message or quote of the session, which comes some milliseconds after its bell."""

NEIGHBOURS, JUMP = 5, 0.1
"""Numbers of states before and after whose mids a mid is compared with, and the largest share by which
it may differ from their median. A market that moves so far takes its neighbours with it."""

LARGE_SIZE, USUAL_SIZE, FEWEST_SIZES = 1_000.0, 0.99, 100
"""Limit of a size: so many times this quantile of all sizes, where there are enough of them. Real blocks
stay below."""

Bools = NDArray[np.bool_]


def note(repairs: dict[str, int], reason: str, number: int) -> None:
    """Add ``number`` to the count of ``reason``, if it is not 0."""
    if number:
        repairs[reason] = repairs.get(reason, 0) + int(number)


def in_time_order(time: Ints, what: str, repairs: dict[str, int]) -> NDArray[np.intp] | None:
    """Return the order that sorts ``time``, or None if it is sorted; count the late rows.

    The sort is stable. Rows with one time stamp, such as a bid and its ask or the fills of one
    order, mean something in the order they came in.
    """
    late = time < np.maximum.accumulate(time)
    note(repairs, f"{what} out of time order, sorted", late.sum())
    return np.argsort(time, kind="stable") if late.any() else None


def clock(time: int) -> str:
    """Return '09:30:00' for 34,200 seconds; ``time`` is in nanoseconds."""
    seconds = time // NANOSECONDS
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def session_close(
    open_: int, close: int, last: int, half_day_print: bool, repairs: dict[str, int]
) -> int:
    """Return when the session in the data ends, at most ``close``; nanoseconds since midnight.

    A half day shows in a closing print at 13:00. In data of the session only, it shows in data that
    end about then. Data that end early at any other time were cut off: the session ends with their
    last whole minute.

    Args:
        open_, close: regular start and end of the session.
        last: time of the last row of any kind.
        half_day_print: whether there is a closing print within 15 minutes from 13:00.
        repairs: takes the count.
    """
    if close <= HALF_DAY:
        half_day = False
    else:
        half_day = half_day_print or HALF_DAY - GAP <= last < HALF_DAY + 3 * GAP
    if half_day:
        note(repairs, "half day: the session ends at 13:00", 1)
        return HALF_DAY
    if open_ <= last < close - GAP:
        covered = last // MINUTE * MINUTE
        note(
            repairs,
            "minutes without quotes at the session's end, left out",
            -((covered - close) // MINUTE),
        )
        return covered
    return close


class Session(NamedTuple):
    """Usable quotes of a session.

    Attributes:
        quotes: usable states, the first at the open.
        open: start of the session that they cover, nanoseconds since midnight.
        first: time of the first usable state as in the data; later than the open by at most
            ``OPENING``.
    """

    quotes: Quotes
    open: int
    first: int


def clean_quotes(
    place: str, states: Quotes, open_: int, close: int, repairs: dict[str, int]
) -> Session:
    """Return the usable states of the session and when it opens.

    Five kinds of states are left out and counted: those with a side missing or of size 0, locked
    or crossed ones, absurdly wide ones (see ``WIDE_SPREADS``), those far from the states around
    (``JUMP``), and those of absurd size (``LARGE_SIZE``). The state before them then holds until the
    next usable one. States before the open are left out, except the last usable one: it becomes the
    state at the open. Where there is none, the first usable state does so if it comes within
    ``OPENING``.

    Args:
        place: name of the data in errors.
        states: (m,) of the whole file, in time order; price or size 0 where a side is missing.
        open_, close: session, nanoseconds since midnight.
        repairs: takes the counts.

    Raises:
        DataError: there are no usable quotes in the session.
    """
    time, bid, bid_size, ask, ask_size = states
    inside = (time >= open_) & (time < close)
    if not inside.any():
        span = (
            f"they run from {clock(time[0])} to {clock(time[-1])}"
            if time.size
            else "there are none"
        )
        raise DataError(
            f"{place}: no quotes in the session, {clock(open_)} to {clock(close)}: {span}. "
            "Leave this day out."
        )
    complete = (bid > 0) & (bid_size > 0) & (ask > 0) & (ask_size > 0)
    straight = bid < ask
    note(repairs, "quotes with a side missing or of size 0 left out", (inside & ~complete).sum())
    note(repairs, "locked or crossed quotes left out", (inside & complete & ~straight).sum())
    good = complete & straight
    if not (good & inside).any():
        raise DataError(
            f"{place}: all {inside.sum():,} quotes in the session are one-sided, locked or crossed. "
            "Leave this day out."
        )
    median = float(np.median((ask - bid)[good & inside]))
    wide = good & (ask - bid > _absurd(median, (bid + ask) / 2.0))
    note(repairs, "absurdly wide quotes left out", (inside & wide).sum())
    good &= ~wide
    for reason, wrong in (
        ("quotes far from those around left out", _jumps((bid + ask) / 2.0, good)),
        ("quotes of absurd size left out", absurd_sizes(np.maximum(bid_size, ask_size), good)),
    ):
        note(repairs, reason, (inside & wrong).sum())
        good &= ~wrong

    kept = np.flatnonzero(good & inside)
    before = np.flatnonzero(good & (time < open_))
    carried = bool(before.size and (kept.size == 0 or time[kept[0]] > open_))
    note(repairs, "quotes outside the session left out", (~inside).sum() - carried)
    if carried:
        kept = np.concatenate([before[-1:], kept])
    quotes = Quotes(*(np.ascontiguousarray(column[kept], dtype=np.int64) for column in states))
    if carried:
        quotes.time[0] = open_
    first = int(quotes.time[0])
    if first <= open_ + OPENING:
        quotes.time[0] = open_
    _count_gaps(quotes.time, close, repairs)
    if quotes.time[0] > open_ + GAP:
        covered = -(-int(quotes.time[0]) // MINUTE) * MINUTE
        missing = (covered - open_) // MINUTE
        note(repairs, "minutes without quotes at the session's start, left out", missing)
        quotes, open_ = _from(quotes, covered), covered
    if close - open_ < GAP:
        raise DataError(
            f"{place}: usable quotes cover only {clock(open_)} to {clock(close)}. Leave this day out."
        )
    return Session(quotes, open_, first)


def halts_of(halted: Bools, time: Ints, quotes: Quotes, open_: int, close: int) -> Ints:
    """Return the (h, 2) times of halts that touch the session: from a halt until the next usable quote.

    Args:
        halted: (m,) whether trading is halted after each row of the data.
        time: (m,) of the rows, not decreasing.
        quotes: usable ones of the session.
        open_, close: session, nanoseconds since midnight.
    """
    change = np.diff(halted.astype(np.int8), prepend=0)
    begins, ends = time[change == 1], time[change == -1]
    ends = np.append(ends, close)[: begins.size]
    after = np.searchsorted(quotes.time, ends, "left")
    resumed = np.append(quotes.time, close)[after]
    halts = np.stack([np.maximum(begins, open_), np.minimum(resumed, close)], axis=1)
    return halts[halts[:, 0] < halts[:, 1]].astype(np.int64)


def _jumps(mid: NDArray[np.float64], good: Bools) -> Bools:
    """Return which (m,) good states have a mid far from those of the good states around."""
    found = np.zeros(mid.size, np.bool_)
    at = np.flatnonzero(good)
    mids = mid[at]
    if at.size <= 2 * NEIGHBOURS:
        return found
    # most states move by a tick or none: only beside a jump is a median needed
    steps = np.abs(np.diff(np.log(mids))) > JUMP / 2
    beside = np.flatnonzero(np.append(steps, False) | np.insert(steps, 0, False))
    reach = np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    around = mids[np.clip(beside[:, None] + reach, 0, mids.size - 1)]
    far = np.abs(np.log(mids[beside] / np.median(around, axis=1))) > JUMP
    found[at[beside[far]]] = True
    return found


def absurd_sizes(size: Ints, good: Bools) -> Bools:
    """Return which (m,) good sizes are above ``LARGE_SIZE`` times their quantile ``USUAL_SIZE``.

    None is where fewer than ``FEWEST_SIZES`` are good.
    """
    if good.sum() < FEWEST_SIZES:
        return np.zeros_like(good)
    usual = np.quantile(size[good], USUAL_SIZE, method="lower")
    absurd: Bools = good & (size > LARGE_SIZE * max(float(usual), 1.0))
    return absurd


def _from(quotes: Quotes, start: int) -> Quotes:
    """Return ``quotes`` from ``start`` on, with the state that holds then."""
    first = int(np.searchsorted(quotes.time, start, "right")) - 1
    quotes = Quotes(*(column[first:].copy() for column in quotes))
    quotes.time[0] = start
    return quotes


def _count_gaps(time: Ints, close: int, repairs: dict[str, int]) -> None:
    gaps = np.diff(time, append=close)
    note(repairs, "gaps of more than 5 minutes between quotes", (gaps > GAP).sum())


def _absurd(median_spread: float, mid: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(WIDE_SPREADS * median_spread, WIDE_SHARE * mid)


def clean_trades(
    trades: Trades, quotes: Quotes, open_: int, close: int, repairs: dict[str, int]
) -> Trades:
    """Return the session's prints, [open, close), that have price and size and lie near the quotes.

    Two equal prints are both kept: tick data hold many, because one order meets several equal ones.

    Args:
        trades: (m,) in time order.
        quotes: of the session, as ``clean_quotes`` gives them.
        open_, close: session, nanoseconds since midnight.
        repairs: takes the counts.
    """
    inside = (trades.time >= open_) & (trades.time < close)
    note(repairs, "prints outside the session left out", (~inside).sum())
    empty = inside & ((trades.price == 0) | (trades.size == 0))
    note(repairs, "prints without price or size left out", empty.sum())

    at = np.searchsorted(quotes.time, trades.time, "right") - 1
    bid, ask = quotes.bid[at], quotes.ask[at]
    limit = _absurd(float(np.median(quotes.ask - quotes.bid)), (bid + ask) / 2.0)
    far = (at >= 0) & ((trades.price < bid - limit) | (trades.price > ask + limit))
    far &= inside & ~empty
    note(repairs, "prints far outside the quotes left out", far.sum())

    absurd = absurd_sizes(trades.size, inside & ~empty & ~far)
    note(repairs, "prints of absurd size left out", absurd.sum())

    kept = inside & ~empty & ~far & ~absurd
    trades = Trades(*(np.ascontiguousarray(column[kept]) for column in trades))
    if not trades.time.size:
        note(repairs, "minutes without prints, the whole session", (close - open_) // MINUTE)
        return trades
    for end, quiet in (("start", trades.time[0] - open_), ("end", close - trades.time[-1])):
        if quiet > QUIET_SPELL:
            note(repairs, f"minutes without prints at the session's {end}", int(quiet) // MINUTE)
    return trades


def price_step(quotes: Quotes) -> int:
    """Return the tick in 1/10,000 dollar: a cent from one dollar up, 1/10,000 dollar below.

    The source is SEC Regulation NMS, rule 612.
    """
    return TICK if np.median(quotes.bid) >= 10_000 else 1
