"""Small tapes in memory: by hand, at random, and their mirror images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from execution_env.calibration.readers.tape import NANOSECONDS, Book, Messages, Quotes, Tape, Trades

S = NANOSECONDS
CENT = 100
LEVELS = 3

QuoteRow = tuple[float, float, int, float, int]
"""Seconds, bid in cents, size, ask in cents, size."""
TradeRow = tuple[float, float, int, bool]
"""Seconds, price in cents, size, lit."""
MessageRow = tuple[float, int, int, int, float, int]
"""Seconds, kind, order, size, price in cents, side."""


def _columns(rows: Iterable[Sequence[Any]], scale: Sequence[float], width: int) -> list[Any]:
    table = np.array(list(rows), np.float64).reshape(-1, width) * np.array(scale)
    return [np.round(column).astype(np.int64) for column in table.T]


def tape_of(
    quotes: Iterable[QuoteRow], trades: Iterable[TradeRow] = (), *, close: float = 10.0
) -> Tape:
    """A session from 0 s to ``close``."""
    time, price, size, lit = _columns(trades, (S, CENT, 1, 1), 4)
    return Tape(
        "abc", "20130101", 0, round(close * S),
        Quotes(*_columns(quotes, (S, CENT, 1, CENT, 1), 5)),
        Trades(time, price, size, lit.astype(bool)),
    )  # fmt: skip


def book_tape(
    bids: dict[float, int],
    asks: dict[float, int],
    messages: Sequence[MessageRow],
    *,
    close: float = 10.0,
) -> Tape:
    """The book that ``messages`` make of the one displayed before them: prices in cents, sizes."""
    levels = {1: defaultdict(int, bids), -1: defaultdict(int, asks)}
    book: list[list[list[float]]] = [[], [], [], []]
    for _, kind, _, size, price, side in messages:
        if kind != 5:
            levels[side][price] += size if kind == 1 else -size
            assert levels[side][price] >= 0
        for which, sort, at in ((1, -1, 0), (-1, 1, 2)):
            shown = sorted((sort * p, n) for p, n in levels[which].items() if n)[:LEVELS]
            shown += [(0, 0)] * (LEVELS - len(shown))
            book[at].append([CENT * sort * p for p, _ in shown])
            book[at + 1].append([n for _, n in shown])
    time, kind_, order, size_, price_, side_ = _columns(messages, (S, 1, 1, 1, CENT, 1), 6)
    bid, bid_size, ask, ask_size = (np.array(b, np.float64).round().astype(np.int64) for b in book)
    states = (bid[:, 0] > 0) & (ask[:, 0] > 0)
    traded = kind_ >= 4
    return Tape(
        "abc", "20130101", 0, round(close * S),
        Quotes(*(a[states] for a in (time, bid[:, 0], bid_size[:, 0], ask[:, 0], ask_size[:, 0]))),
        Trades(*(a[traded] for a in (time, price_, size_, kind_ == 4))),
        Messages(time, kind_.astype(np.int8), order, size_, price_, side_.astype(np.int8)),
        Book(bid, bid_size, ask, ask_size),
    )  # fmt: skip


def mirrored(tape: Tape, at: int = 400_000) -> Tape:
    """Buyers are sellers; prices p are ``at`` - p."""
    q, t = tape.quotes, tape.trades
    messages = book = None
    if tape.messages is not None and tape.book is not None:
        m, b = tape.messages, tape.book
        messages = m._replace(price=at - m.price, side=-m.side)
        book = Book(
            np.where(b.ask > 0, at - b.ask, 0), b.ask_size,
            np.where(b.bid > 0, at - b.bid, 0), b.bid_size,
        )  # fmt: skip
    return Tape(
        tape.symbol, tape.date, tape.open, tape.close,
        Quotes(q.time, at - q.ask, q.ask_size, at - q.bid, q.bid_size),
        t._replace(price=at - t.price), messages, book, tape.tick,
    )  # fmt: skip


def random_tape(rng: np.random.Generator, events: int = 80, seconds: int = 8) -> Tape:
    """Quotes that move by ticks and prints around them, many at the same moment."""
    time = np.sort(rng.integers(0, 2 * seconds + 1, events)) / 2
    time[0] = 0.0
    bid = 2000 + rng.integers(-1, 2, events) + rng.integers(-1, 2)
    ask = bid + rng.choice([1, 1, 2, 3], events)
    sizes = rng.integers(1, 9, (2, events)) * 50
    quotes = list(zip(time, bid, sizes[0], ask, sizes[1], strict=True))
    when = np.sort(rng.integers(0, 4 * seconds + 1, events)) / 4
    price = 2000 + rng.integers(-4, 7, events) / 2
    size = rng.integers(1, 9, events) * 30
    return tape_of(
        quotes, list(zip(when, price, size, rng.random(events) < 0.8, strict=True)), close=seconds
    )


def random_book(rng: np.random.Generator, events: int = 80, seconds: int = 8) -> Tape:
    """A small matching engine: price-time priority, every order known by its number."""
    queues: dict[int, dict[int, list[list[int]]]] = {1: {}, -1: {}}
    shown: dict[int, dict[float, int]] = {1: {}, -1: {}}
    number = 0
    for side in (1, -1):
        for level in range(4):
            price = 2000 - level if side == 1 else 2001 + level
            number += 1
            queues[side][price] = [[number, int(rng.integers(1, 6)) * 50]]
            shown[side][price] = queues[side][price][0][1]
    messages: list[MessageRow] = []
    times = np.sort(rng.integers(0, 4 * seconds + 1, events)) / 4
    times[:2] = 0.0
    for time in times:
        side = int(rng.choice([1, -1]))
        what = rng.random() if messages else 0.0
        mine, other = queues[side], queues[-side]
        if what < 0.4:  # a limit order, which may cross
            best = max(other) if side == -1 else min(other)
            price = int(best - side * rng.integers(-1, 4))
            left = int(rng.integers(1, 7)) * 40
            number += 1
            while left and other and (best := max(other) if side == -1 else min(other)):
                if side * (price - best) < 0 or len(other) < 2:
                    break
                left -= _executed(messages, time, other, best, -side, left)
            if left and not (
                other and side * (price - (max(other) if side == -1 else min(other))) >= 0
            ):
                mine.setdefault(price, []).append([number, left])
                messages.append((time, 1, number, left, price, side))
        elif what < 0.7:  # a market order
            left = int(rng.integers(1, 7)) * 40
            while left and len(other) > 1:
                best = max(other) if side == -1 else min(other)
                left -= _executed(messages, time, other, best, -side, left)
        elif what < 0.93 and len(mine) > 1:
            price = int(rng.choice(list(mine)))
            which = int(rng.integers(len(mine[price])))
            order = mine[price][which]
            kind = 2 if rng.random() < 0.5 and order[1] > 10 else 3
            size = order[1] // 2 if kind == 2 else order[1]
            messages.append((time, kind, order[0], size, price, side))
            order[1] -= size
            if not order[1]:
                del mine[price][which]
            if not mine[price]:
                del mine[price]
        else:
            hidden = rng.choice([min(queues[-1]) - 0.5, max(queues[1]) + 0.5])
            messages.append((time, 5, 0, 60, float(hidden), side))
    return book_tape(shown[1], shown[-1], messages, close=seconds)


def _executed(
    messages: list[MessageRow], time: float, book: dict[int, list[list[int]]], price: int,
    side: int, left: int,
) -> int:  # fmt: skip
    """Execute the oldest order at ``price``; how much of it."""
    order = book[price][0]
    size = min(left, order[1])
    messages.append((time, 4, order[0], size, price, side))
    order[1] -= size
    if not order[1]:
        del book[price][0]
    if not book[price]:
        del book[price]
    return size
