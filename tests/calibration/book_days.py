"""A whole LOBSTER day: a message every two seconds, and a book of two levels."""

from __future__ import annotations

import numpy as np

from execution_env.calibration.readers.tape import (
    CLOSE,
    NANOSECONDS,
    OPEN,
    Book,
    Messages,
    Quotes,
    Tape,
    Trades,
)

BID, ASK, CENT = 1_000_000, 1_000_200, 100


def book_day() -> Tape:
    """New orders at the bid, every fifth message an execution there or at the ask."""
    draw = np.random.default_rng(0)
    time = np.arange(OPEN, CLOSE, 2 * NANOSECONDS)
    m = time.size
    kind = np.where(np.arange(m) % 5 == 4, 4, 1).astype(np.int8)
    side = np.where(draw.random(m) < 0.5, 1, -1).astype(np.int8)
    price, size = np.where(side == 1, BID, ASK), draw.integers(1, 200, m)
    sizes = draw.integers(100, 500, (4, m))
    book = Book(
        np.stack([np.full(m, BID), np.full(m, BID - CENT)], axis=1), sizes[:2].T.copy(),
        np.stack([np.full(m, ASK), np.full(m, ASK + CENT)], axis=1), sizes[2:].T.copy(),
    )  # fmt: skip
    done = kind == 4
    return Tape(
        "abc", "20240105", OPEN, CLOSE,
        Quotes(time, *(level[:, 0] for level in book)),
        Trades(time[done], price[done], size[done], np.ones(done.sum(), np.bool_)),
        Messages(time, kind, np.arange(m) + 1, size, price, side),
        book,
    )  # fmt: skip
