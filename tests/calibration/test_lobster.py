"""LOBSTER's file pairs: what is read, what is left out and counted, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution_env.calibration.readers.lobster import DUMMY, read_lobster
from execution_env.calibration.readers.tape import (
    CLOSE,
    NANOSECONDS,
    OPEN,
    Book,
    DataError,
    Messages,
    Quotes,
    Tape,
    Trades,
)
from tests.calibration.writers import write_lobster, write_zip

Row = tuple[object, ...]
STEM = "AAPL_2012-06-21_34200000_57600000"
LEVELS = (100_200, 500, 100_000, 300, 100_300, 50, 99_900, 20)
"""Ask, ask size, bid, bid size of two levels."""


def base() -> tuple[list[Row], list[Row]]:
    """A new order every minute, and the book after it, which it changes in size."""
    messages: list[Row] = [(34_200 + 60 * i, 1, i + 1, 10, 100_000, 1) for i in range(390)]
    book: list[Row] = [(*LEVELS[:3], 300 + i, *LEVELS[4:]) for i in range(390)]
    return messages, book


def with_rows(*rows: tuple[Row, Row]) -> tuple[list[Row], list[Row]]:
    """``base`` with more messages and their books, by time."""
    messages, book = base()
    pairs = sorted(
        [*zip(messages, book, strict=True), *rows], key=lambda row: float(str(row[0][0]))
    )
    return [row[0] for row in pairs], [row[1] for row in pairs]


def text(rows: Sequence[Row]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def write(
    folder: Path, messages: Sequence[Row], book: Sequence[Row], stem: str = STEM, levels: int = 2
) -> tuple[Path, Path]:
    paths = folder / f"{stem}_message_{levels}.csv", folder / f"{stem}_orderbook_{levels}.csv"
    for path, rows in zip(paths, (messages, book), strict=True):
        path.write_text(text(rows))
    return paths


def refusal(*paths: Path, **names: str) -> str:
    with pytest.raises(DataError) as error:
        read_lobster(*paths, **names)  # type: ignore[arg-type]
    return str(error.value)


# What is read.


def test_plain_day(tmp_path: Path) -> None:
    phases: list[str] = []
    tape = read_lobster(*write(tmp_path, *base()), progress=phases.append)
    assert (tape.symbol, tape.date, tape.open, tape.close) == ("aapl", "20120621", OPEN, CLOSE)
    assert tape.messages is not None
    assert tape.book is not None
    assert tape.messages.time.size == tape.quotes.time.size == 390
    assert tape.book.bid.shape == tape.book.ask_size.shape == (390, 2)
    assert [column[1].tolist() for column in tape.book] == [
        [100_000, 99_900],
        [301, 20],
        [100_200, 100_300],
        [500, 50],
    ]
    assert [int(column[1]) for column in tape.quotes] == [
        OPEN + 60 * NANOSECONDS,
        100_000,
        301,
        100_200,
        500,
    ]
    assert tape.repairs == {"minutes without prints, the whole session": 390}
    assert len(phases) == 3


def test_executions_are_trades(tmp_path: Path) -> None:
    book = LEVELS
    rows = [
        ((34_201, 4, 7, 30, 100_000, 1), book),  # a seller takes a resting buy order
        ((34_202, 5, 0, 40, 100_150, -1), book),
        ((57_500, 4, 9, 50, 100_200, -1), book),
    ]
    tape = read_lobster(*write(tmp_path, *with_rows(*rows)))
    assert tape.trades.price.tolist() == [100_000, 100_150, 100_200]
    assert tape.trades.size.tolist() == [30, 40, 50]
    assert tape.trades.lit.tolist() == [True, False, True]
    assert tape.messages is not None
    executed = tape.messages.kind >= 4
    assert tape.messages.side[executed].tolist() == [1, -1, -1]  # of the resting order
    assert tape.messages.order[executed].tolist() == [7, 0, 9]
    assert tape.repairs == {}


def test_quotes_are_states_that_changed(tmp_path: Path) -> None:
    rows = [((34_201 + i, 3, 7, 30, 99_900, 1), (*LEVELS[:7], 5 + i)) for i in range(5)]
    tape = read_lobster(*write(tmp_path, *with_rows(*rows)))
    assert tape.quotes.time.size == 390  # those five changed level 2
    assert tape.messages is not None
    assert tape.messages.time.size == 395


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("34200.017459617", 34_200_017_459_617),
        ("34200.1", 34_200_100_000_000),
        ("34200.123456789", 34_200_123_456_789),
        ("34200", 34_200_000_000_000),
        ("34213.000000001", 34_213_000_000_001),
    ],
)
def test_time_is_exact(tmp_path: Path, written: str, read: int) -> None:
    messages, book = base()
    messages[1] = (written, *messages[1][1:])
    tape = read_lobster(*write(tmp_path, messages, book))
    assert tape.quotes.time[1] == read


def test_levels_that_do_not_exist(tmp_path: Path) -> None:
    messages, book = base()
    book[3] = (*LEVELS[:4], DUMMY, 0, -DUMMY, 0)
    tape = read_lobster(*write(tmp_path, messages, book))
    assert tape.book is not None
    assert [column[3, 1] for column in tape.book] == [0, 0, 0, 0]
    assert tape.quotes.time.size == 390


def test_names_by_hand(tmp_path: Path) -> None:
    paths = write(tmp_path, *base())
    plain = [path.rename(tmp_path / f"{i}.csv") for i, path in enumerate(paths)]
    tape = read_lobster(*plain, symbol="AAPL", date="2012-06-21")
    assert (tape.symbol, tape.date) == ("aapl", "20120621")
    message = refusal(*plain)
    assert '"0.csv", does not tell the symbol. Give symbol=...' in message
    assert 'must be a date, such as "20120621"' in refusal(*plain, symbol="a", date="20121399")


def test_zips(tmp_path: Path) -> None:
    messages, book = write(tmp_path, *base())
    members = [(path.name, path.read_bytes()) for path in (messages, book)]
    one = write_zip(tmp_path / "one.zip", *members, ("ReadMe.txt", "read me"))
    single = [write_zip(tmp_path / f"{name}.zip", (name, data)) for name, data in members]
    plain = read_lobster(messages, book)
    for paths in ((one, one), single):
        tape = read_lobster(*paths)
        assert (tape.symbol, tape.date) == ("aapl", "20120621")
        np.testing.assert_array_equal(tape.quotes, plain.quotes)
    two = write_zip(tmp_path / "two.zip", ("a.csv", "1"), ("b.csv", "1"))
    assert 'must hold one, or one with "message" in its name' in refusal(two, book)


def test_session_of_the_name(tmp_path: Path) -> None:
    messages, book = base()
    paths = write(tmp_path, messages[:60], book[:60], "AAPL_2012-06-21_34200000_37800000")
    tape = read_lobster(*paths)
    assert (tape.open, tape.close) == (OPEN, OPEN + 3600 * NANOSECONDS)
    assert tape.repairs == {"minutes without prints, the whole session": 60}


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Any messages, and any two-level book with bids below asks, over a whole session."""
    times = draw(st.lists(st.integers(OPEN, CLOSE - 1), max_size=8))
    time = np.array(sorted([OPEN, *times, CLOSE - 240 * NANOSECONDS]), dtype=np.int64)
    m = time.size

    def column(low: int, high: int) -> np.ndarray:  # type: ignore[type-arg]
        values = st.lists(st.integers(low, high), min_size=m, max_size=m)
        return np.array(draw(values), dtype=np.int64)

    bid, ask, deep = column(100_000, 101_000), column(101_001, 102_000), column(0, 1)
    book = Book(
        np.stack([bid, deep * (bid - 100)], axis=1),
        np.stack([column(1, 10**6), deep * 5], axis=1),
        np.stack([ask, deep * (ask + 100)], axis=1),
        np.stack([column(1, 10**6), deep * 7], axis=1),
    )
    kind = column(1, 5).astype(np.int8)
    price, size = column(100_000, 102_000), column(1, 10**6)
    side = (2 * column(0, 1) - 1).astype(np.int8)
    messages = Messages(time, kind, column(0, 2**60), size, price, side)
    done = kind >= 4
    trades = Trades(time[done], price[done], size[done], kind[done] == 4)
    level = [book.bid, book.bid_size, book.ask, book.ask_size]
    states = Quotes(time, *(side[:, 0] for side in level))
    return Tape("xyz", "20240105", OPEN, CLOSE, states, trades, messages, book)


@given(tapes())
@settings(max_examples=40)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, tape: Tape) -> None:
    again = read_lobster(*write_lobster(tape, tmp_path_factory.mktemp("lobster")))
    assert (again.symbol, again.date) == ("xyz", "20240105")
    for name in ("trades", "messages", "book"):
        for mine, theirs in zip(getattr(again, name), getattr(tape, name), strict=True):
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
    assert all("gaps" in reason or "without prints" in reason for reason in again.repairs)
    # The same state holds after every message, though repeated ones are not told.
    ends = np.flatnonzero(np.diff(tape.quotes.time, append=-1) != 0)
    at = np.searchsorted(again.quotes.time, tape.quotes.time[ends], "right") - 1
    for mine, theirs in zip(again.quotes[1:], tape.quotes[1:], strict=True):
        np.testing.assert_array_equal(mine[at], theirs[ends])
    assert (np.diff(again.quotes.time) >= 0).all()
    assert (again.quotes.bid < again.quotes.ask).all()


# What is left out, or mended, and counted.

NONE = {"minutes without prints, the whole session": 390}


def test_halt(tmp_path: Path) -> None:
    """From the halt until trading resumes no quote can be traded at; quoting resumes before."""
    at = 34_200 + 600
    rows = [
        ((at + 1, 7, 0, 0, -1, -1), LEVELS),
        ((at + 200, 7, 0, 0, 0, -1), LEVELS),
        ((at + 301, 7, 0, 0, 1, -1), LEVELS),
    ]
    tape = read_lobster(*write(tmp_path, *with_rows(*rows)))
    during = (tape.quotes.time > (at + 1) * NANOSECONDS) & (
        tape.quotes.time < (at + 301) * NANOSECONDS
    )
    assert not during.any()
    # Five minutes' messages and two of the halt itself.
    assert tape.repairs == {
        "trading halts": 1,
        "quotes during trading halts left out": 7,
    } | NONE | {"gaps of more than 5 minutes between quotes": 1}
    assert tape.messages is not None
    assert tape.messages.time.size == 390


def test_halt_that_does_not_end(tmp_path: Path) -> None:
    rows = [((34_200 + 3601, 7, 0, 0, -1, -1), LEVELS)]
    tape = read_lobster(*write(tmp_path, *with_rows(*rows)))
    assert tape.quotes.time.max() == OPEN + 3600 * NANOSECONDS
    assert tape.repairs["gaps of more than 5 minutes between quotes"] == 1


def test_cross_trades_are_left_out(tmp_path: Path) -> None:
    tape = read_lobster(*write(tmp_path, *with_rows(((34_201, 6, -1, 10**6, 100_100, -1), LEVELS))))
    assert tape.repairs == {"cross trades left out": 1} | NONE
    assert tape.trades.time.size == 0
    assert tape.messages is not None
    assert tape.book is not None
    assert len(tape.messages.time) == len(tape.book.bid) == 390


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        ((100_000, 5, 100_000, 5), "locked or crossed quotes left out"),
        ((100_000, 5, 100_100, 5), "locked or crossed quotes left out"),
        ((DUMMY, 0, 100_000, 5), "quotes with a side missing or of size 0 left out"),
        ((100_200, 5, -DUMMY, 0), "quotes with a side missing or of size 0 left out"),
        ((100_200, 0, 100_000, 5), "quotes with a side missing or of size 0 left out"),
        ((199_999, 5, 100_000, 5), "absurdly wide quotes left out"),
    ],
)
def test_states_that_cannot_be_used(tmp_path: Path, level: tuple[int, ...], reason: str) -> None:
    row = ((34_201, 1, 9, 10, 100_000, 1), (*level, *LEVELS[4:]))
    tape = read_lobster(*write(tmp_path, *with_rows(row)))
    assert tape.repairs == {reason: 1} | NONE
    assert tape.quotes.time.size == 390
    assert tape.book is not None
    assert len(tape.book.bid) == 391  # the book itself stays as it is


def test_outside_the_session(tmp_path: Path) -> None:
    rows = [
        ((34_100, 1, 8, 10, 100_000, 1), LEVELS),
        ((34_199, 1, 9, 10, 100_000, 1), (*LEVELS[:3], 7, *LEVELS[4:])),
        ((57_600, 4, 9, 10, 100_000, 1), LEVELS),
    ]
    messages, book = with_rows(*rows)
    del messages[2], book[2]  # that at the open
    tape = read_lobster(*write(tmp_path, messages, book, "AAPL_2012-06-21_14400000_72000000"))
    assert (tape.open, tape.close) == (OPEN, CLOSE)
    assert [int(column[0]) for column in tape.quotes] == [OPEN, 100_000, 7, 100_200, 500]
    assert (
        tape.repairs
        == {
            "quotes outside the session left out": 2,
            "prints outside the session left out": 1,
            "messages outside the session left out": 3,
        }
        | NONE
    )


def test_shuffled_rows_keep_their_book(tmp_path: Path) -> None:
    messages, book = base()
    plain = read_lobster(*write(tmp_path, messages, book))
    messages.append(messages.pop(5))
    book.append(book.pop(5))
    tape = read_lobster(*write(tmp_path, messages, book))
    assert tape.repairs == {"messages out of time order, sorted": 1} | NONE
    np.testing.assert_array_equal(tape.quotes, plain.quotes)


def test_equal_messages_and_times_are_kept(tmp_path: Path) -> None:
    row = ((34_201, 4, 9, 10, 100_000, 1), LEVELS)
    tape = read_lobster(*write(tmp_path, *with_rows(row, row)))
    assert tape.trades.size.tolist() == [10, 10]


def test_half_day(tmp_path: Path) -> None:
    messages, book = base()
    tape = read_lobster(*write(tmp_path, messages[:210], book[:210]))
    assert tape.close == 46_800 * NANOSECONDS
    assert tape.repairs["half day: the session ends at 13:00"] == 1


def test_part_of_a_session(tmp_path: Path) -> None:
    messages, book = base()
    tape = read_lobster(*write(tmp_path, messages[30:91], book[30:91]))
    assert (tape.open, tape.close) == (OPEN + 1800 * NANOSECONDS, OPEN + 5400 * NANOSECONDS)
    assert tape.repairs["minutes without quotes at the session's start, left out"] == 30
    assert tape.repairs["minutes without quotes at the session's end, left out"] == 300


# What is refused.


def test_lengths_differ(tmp_path: Path) -> None:
    messages, book = base()
    message = refusal(*write(tmp_path, messages, book[:-1]))
    assert "389 rows, must be 390" in message
    assert "Take both files from the same order" in message


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((34_201, 1, 9, 10, 100_000), "row 3: 5 columns, must be 6: time, type, order"),
        ((34_201, "x", 9, 10, 100_000, 1), 'row 3: type = "x": must be a whole number'),
        ((34_201, 8, 9, 10, 100_000, 1), "row 3: type = 8: must be one of 1 to 7"),
        ((34_201, 1, 9, -10, 100_000, 1), "row 3: size = -10: must be a number of shares above 0"),
        ((34_201, 1, 9, 0, 100_000, 1), "row 3: size = 0: must be a number of shares above 0"),
        ((34_201, 1, 9, 10, -1, 1), "row 3: price = -1: must be above 0"),
        ((34_201, 1, 9, 10, 100_000, 0), "row 3: direction = 0: must be 1 (buy) or -1 (sell)"),
        ((34_201, 7, 0, 0, 2, -1), "row 3: price = 2: must be -1, 0 or 1 for a halt"),
        (("34201.0123456789", 1, 9, 10, 100_000, 1), "row 3: time = "),
        (("-1", 1, 9, 10, 100_000, 1), 'row 3: time = "-1": must be seconds since midnight'),
        ((86_400, 1, 9, 10, 100_000, 1), 'row 3: time = "86400": must be seconds since midnight'),
    ],
)
def test_a_message_that_cannot_be(tmp_path: Path, row: Row, words: str) -> None:
    messages, book = base()
    messages[2] = row
    message = refusal(*write(tmp_path, messages, book))
    assert f"{STEM}_message_2.csv, " in message
    assert words in message


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (LEVELS[:7], "row 3: 7 columns, must be 8: ask 1, ask size 1, bid 1, bid size 1"),
        ((*LEVELS[:7], "x"), 'row 3: bid size 2 = "x": must be a whole number'),
        ((*LEVELS[:7], -1), "row 3: bid size 2 = -1: must not be negative"),
        ((*LEVELS[:4], 0, 5, *LEVELS[6:]), "row 3: ask 2 = 0: must be a price above 0"),
        (
            (*LEVELS[:4], DUMMY, 5, *LEVELS[6:]),
            "row 3: ask 2 = 9999999999: must be a price above 0",
        ),
        ((*LEVELS[:2], -5, *LEVELS[3:]), "row 3: bid 1 = -5: must be a price above 0"),
    ],
)
def test_a_book_that_cannot_be(tmp_path: Path, row: Row, words: str) -> None:
    messages, book = base()
    book[2] = row
    message = refusal(*write(tmp_path, messages, book))
    assert f"{STEM}_orderbook_2.csv, " in message
    assert words in message


def test_columns_and_name_disagree(tmp_path: Path) -> None:
    paths = write(tmp_path, *base(), levels=10)
    assert "row 1: 8 columns, must be 40 as its name says" in refusal(*paths)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    messages, book = write(tmp_path, *base())
    assert 'a file of kind "orderbook", must be the "message" file' in refusal(book, messages)
    other = write(tmp_path, *base(), stem="AAPL_2012-06-22_34200000_57600000")
    assert 'date "20120622", must be "20120621"' in refusal(messages, other[1])
    assert 'symbol "aapl", must be "msft"' in refusal(messages, book, symbol="MSFT")
    assert "there is no such file" in refusal(tmp_path / "no.csv", book)
    night = write(tmp_path, *base(), stem="AAPL_2012-06-21_14400000_34200000")
    assert "gives no time of the session" in refusal(*night)


def test_no_rows(tmp_path: Path) -> None:
    assert "no rows" in refusal(*write(tmp_path, [], []))


def test_no_session(tmp_path: Path) -> None:
    rows: list[Row] = [(30_000, 1, 9, 10, 100_000, 1)]
    message = refusal(*write(tmp_path, rows, [LEVELS]))
    assert "no quotes in the session, 09:30:00 to 16:00:00: they run from 08:20:00" in message
