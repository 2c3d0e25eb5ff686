"""LEAN's tick files: what is read, and what is left out and counted."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution_env.calibration.readers.lean import dates_available, read_lean
from execution_env.calibration.readers.tape import (
    CLOSE,
    NANOSECONDS,
    OPEN,
    Quotes,
    Tape,
    Trades,
)
from tests.calibration.lean_days import (
    AT,
    CLOSE_MS,
    MINUTE,
    MS,
    OPEN_MS,
    Row,
    minutes,
    pair,
    prints,
    read,
    same,
    write_day,
)
from tests.calibration.samples import samples
from tests.calibration.writers import write_lean

# What is read.


def test_plain_day(tmp_path: Path) -> None:
    phases: list[str] = []
    tape = read_lean(write_day(tmp_path), "BAC", "2013-10-07", phases.append)
    assert (tape.symbol, tape.date, tape.open, tape.close) == ("bac", "20131007", OPEN, CLOSE)
    assert tape.tick == 100
    assert tape.messages is None
    assert tape.book is None
    assert tape.repairs == {}
    assert len(phases) == 3
    assert tape.quotes.time.size == tape.trades.time.size == 390
    assert [int(column[0]) for column in tape.quotes] == [OPEN, 100_000, 300, 100_200, 500]
    assert [int(column[0]) for column in tape.trades] == [OPEN + 30 * NANOSECONDS, 100_100, 100, 1]


@pytest.mark.parametrize("where", ["", "bac", "equity"])
def test_three_layouts(tmp_path: Path, where: str) -> None:
    data = tmp_path / "equity" / "usa" / "tick"
    write_day(data)
    directory = {"": data, "bac": data / "bac", "equity": tmp_path}[where]
    assert read(directory).quotes.time.size == 390
    assert dates_available(directory, "bac") == ["20131007"]


def test_state_after_the_last_row_of_a_time_stamp(tmp_path: Path) -> None:
    """A row carries one side; the other stays. All rows of a time stamp make one state."""
    at = OPEN_MS + 90_000
    more = [
        *pair(at, 99_900, 100_300),
        *pair(at, 99_800, 100_200),
        (at + 1, 99_700, 100, 0, 0, "N", 1, 0),
        (at + 2, 99_600, 700, 99_700, 900, "N", 1, 0),  # both in one row
    ]
    quotes = read(write_day(tmp_path, more_quotes=more)).quotes
    first = int(np.searchsorted(quotes.time, at * MS))
    states = [[int(c[i]) for c in quotes] for i in range(first, first + 3)]
    assert states == [
        [at * MS, 99_800, 300, 100_200, 500],
        [(at + 1) * MS, 99_700, 100, 100_200, 500],
        [(at + 2) * MS, 99_600, 700, 99_700, 900],
    ]


def test_last_usable_state_before_the_open_becomes_the_state_at_the_open(tmp_path: Path) -> None:
    early = [
        *pair(OPEN_MS - 3000, 90_000, 90_100),
        *pair(OPEN_MS - 2000, 99_900, 100_100),
        *pair(OPEN_MS - 1000, 100_100, 100_000),
    ]
    tape = read(write_day(tmp_path, [*early, *minutes(OPEN_MS + MINUTE)]))
    assert [int(column[0]) for column in tape.quotes] == [OPEN, 99_900, 300, 100_100, 500]
    assert tape.repairs == {"quotes outside the session left out": 2}


def test_fraction_of_a_millisecond_is_kept(tmp_path: Path) -> None:
    late = (f"{OPEN_MS + 5}.123456", 100_100, 100, "N", 1, 0)
    tape = read(write_day(tmp_path, more_trades=[late]))
    assert tape.trades.time[0] == (OPEN_MS + 5) * MS + 123_456


def test_off_exchange_prints_are_not_lit(tmp_path: Path) -> None:
    tape = read(write_day(tmp_path, more_trades=[(OPEN_MS + 1, 100_150, 70, "D", "20000020", 0)]))
    assert tape.trades.lit.tolist() == [False] + [True] * 390


def test_penny_stock_has_a_finer_step(tmp_path: Path) -> None:
    rows = [r for ms in range(OPEN_MS, CLOSE_MS, MINUTE) for r in pair(ms, 5_001, 5_002)]
    assert read(write_day(tmp_path, rows)).tick == 1


prices = st.integers(100_000, 104_900)
sizes = st.integers(1, 10**9)


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Quotes from the open to 4 minutes before the close, and prints anywhere in the session."""
    end = CLOSE - 240 * NANOSECONDS
    times = draw(st.lists(st.integers(OPEN + 1, end - 1), max_size=8, unique=True))
    time = np.array(sorted([OPEN, *times, end]), dtype=np.int64)

    def column(values: st.SearchStrategy[int], size: int) -> np.ndarray:  # type: ignore[type-arg]
        return np.array(draw(st.lists(values, min_size=size, max_size=size)), dtype=np.int64)

    bid, m = column(prices, time.size), time.size
    ask = bid + column(st.integers(1, 100), m)
    quotes = Quotes(time, bid, column(sizes, m), ask, column(sizes, m))
    when = np.sort(column(st.integers(OPEN, CLOSE - 1), draw(st.integers(1, 8))))
    m = when.size
    lit = column(st.integers(0, 1), m).astype(bool)
    trades = Trades(when, column(prices, m), column(sizes, m), lit)
    return Tape("xyz", "20240105", OPEN, CLOSE, quotes, trades)


@given(tapes())
@settings(max_examples=40)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, tape: Tape) -> None:
    folder = write_lean(tape, tmp_path_factory.mktemp("lean"))
    again = read_lean(folder, "xyz", "20240105")
    same(again, tape)
    assert (again.open, again.close) == (OPEN, CLOSE)
    assert all("gaps" in reason or "without prints" in reason for reason in again.repairs)


any_row = st.tuples(
    st.integers(OPEN_MS - 5, OPEN_MS + 300),
    st.integers(0, 1),
    st.integers(99_990, 100_010),
    st.integers(0, 2),
    st.sampled_from(["1", "8", "800", "10", ""]),
    st.sampled_from([0, 0, 0, 1]),
)


@given(st.lists(any_row, max_size=40))
@settings(max_examples=60)
def test_usable_states_in_time_order_whatever_comes(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, int, str, int]]
) -> None:
    written = [
        (t, *((price, size, 0, 0) if side else (0, 0, price, size)), "N", flags, suspicious)
        for t, side, price, size, flags, suspicious in rows
    ]
    tape = read(
        write_day(tmp_path_factory.mktemp("lean"), [*written, *minutes(OPEN_MS + 2 * MINUTE)])
    )
    quotes = tape.quotes
    assert (np.diff(quotes.time) > 0).all()
    assert (quotes.bid < quotes.ask).all()
    assert (quotes.bid > 0).all()
    assert (quotes.bid_size > 0).all()
    assert (quotes.ask_size > 0).all()
    assert ((quotes.time >= OPEN) & (quotes.time < CLOSE)).all()
    assert all(number > 0 for number in tape.repairs.values())


# What is left out, or mended, and counted.


@pytest.mark.parametrize(
    ("more", "reason", "number"),
    [
        (pair(AT, 100_100, 100_100), "locked or crossed quotes left out", 1),
        (pair(AT, 100_200, 100_100), "locked or crossed quotes left out", 1),
        (pair(AT, 90_000, 110_000), "absurdly wide quotes left out", 1),
        (pair(AT, 100_000, 100_200, 0), "quotes with a side missing or of size 0 left out", 1),
        ([(AT, 1, 1, 0, 0, "N", 1, 1)], "suspicious quote rows left out", 1),
        ([(AT, 1, 1, 0, 0, "N", 10, 0)], "quote rows of halts and not firm left out", 1),
        ([(AT, 0, 0, 0, 0, "N", 1, 0)], "quote rows without bid and ask left out", 1),
        (pair(CLOSE_MS, 1, 2), "quotes outside the session left out", 1),
    ],
)
def test_quotes_left_out(tmp_path: Path, more: list[Row], reason: str, number: int) -> None:
    plain = read(write_day(tmp_path / "plain"))
    if "outside" not in reason:
        more = [*more, *pair(AT + 1, 100_000, 100_200)]
    tape = read(write_day(tmp_path / "more", more_quotes=more))
    halted = {"trading halts, or times without firm quotes": 1} if "halts" in reason else {}
    assert tape.repairs == {reason: number, **halted}
    kept = tape.quotes.time != (AT + 1) * MS
    same(tape_with(tape, Quotes(*(column[kept] for column in tape.quotes))), plain)


def tape_with(tape: Tape, quotes: Quotes) -> Tape:
    return Tape(tape.symbol, tape.date, tape.open, tape.close, quotes, tape.trades)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            (AT, 100_100, 10**6, "N", "40", 0),
            "opening, closing and other irregular prints left out",
        ),
        (
            (AT, 100_100, 9, "Q", "4000000", 0),
            "opening, closing and other irregular prints left out",
        ),
        (
            (AT, 100_100, 9, "D", "20100200", 0),
            "opening, closing and other irregular prints left out",
        ),
        ((AT, 100_100, 9, "D", "4800", 0), "opening, closing and other irregular prints left out"),
        ((CLOSE_MS + 5, 100_100, 10**6, "N", "80", 0), "prints outside the session left out"),
        ((CLOSE_MS, 100_100, 9, "N", "1", 0), "prints outside the session left out"),
        ((OPEN_MS - 1, 100_100, 9, "N", "2000", 0), "prints outside the session left out"),
        ((AT, 100_100, 9, "N", "1", 1), "suspicious prints left out"),
        ((AT, 100_100, 0, "N", "1", 0), "prints without price or size left out"),
        ((AT, 0, 100, "N", "1", 0), "prints without price or size left out"),
        ((AT, 94_000, 100, "N", "1", 0), "prints far outside the quotes left out"),
        ((AT, 1_001_000, 100, "N", "1", 0), "prints far outside the quotes left out"),
    ],
)
def test_prints_left_out(tmp_path: Path, row: Row, reason: str) -> None:
    tape = read(write_day(tmp_path, more_trades=[row]))
    assert tape.repairs == {reason: 1}
    same(tape, read(write_day(tmp_path)))


@pytest.mark.parametrize("flags", ["", "0", "1", "20", "20000020", "20000001", "80000001"])
def test_regular_prints_are_kept(tmp_path: Path, flags: str) -> None:
    tape = read(write_day(tmp_path, more_trades=[(AT, 100_150, 9, "N", flags, 0)]))
    assert 9 in tape.trades.size
    assert tape.repairs == {}


def test_shuffled_rows_are_sorted_and_counted(tmp_path: Path) -> None:
    """Stably: the order of rows with one time stamp tells which state came last."""
    quotes, trades = minutes(), prints()
    plain = read(write_day(tmp_path, quotes, trades))
    moved = read(write_day(tmp_path, [*quotes[2:], *quotes[:2]], [*trades[1:], trades[0]]))
    assert moved.repairs == {
        "prints out of time order, sorted": 1,
        "quote rows out of time order, sorted": 2,
    }
    same(moved, plain)


def test_equal_prints_are_kept(tmp_path: Path) -> None:
    """Two orders of 100 shares met at one price in one millisecond look alike, and are two prints."""
    tape = read(write_day(tmp_path, minutes(), [row for row in prints() for _ in range(2)]))
    assert tape.trades.time.size == 780
    assert tape.repairs == {}


def test_equal_quote_rows_change_nothing(tmp_path: Path) -> None:
    plain = read(write_day(tmp_path))
    twice = read(write_day(tmp_path, [row for row in minutes() for _ in range(2)]))
    same(twice, plain)


HALF = 46_800_000


def test_half_day_by_its_closing_print(tmp_path: Path) -> None:
    closing = (HALF + 200, 100_100, 10**6, "N", "80", 0)
    tape = read(write_day(tmp_path, minutes(), prints(end=HALF), more_trades=[closing]))
    assert tape.close == HALF * MS
    assert tape.repairs == {
        "half day: the session ends at 13:00": 1,
        "quotes outside the session left out": 180,
        "prints outside the session left out": 1,
    }


def test_half_day_by_the_end_of_the_data(tmp_path: Path) -> None:
    tape = read(write_day(tmp_path, minutes(end=HALF), prints(end=HALF)))
    assert tape.close == HALF * MS
    assert tape.repairs == {"half day: the session ends at 13:00": 1}


def test_part_of_a_session(tmp_path: Path) -> None:
    start, end = OPEN_MS + 30 * MINUTE - 500, OPEN_MS + 60 * MINUTE
    tape = read(write_day(tmp_path, minutes(start, end), prints()))
    assert tape.open == OPEN + 1800 * NANOSECONDS
    assert tape.close == OPEN + 59 * 60 * NANOSECONDS
    assert tape.quotes.time[0] == tape.open
    assert ((tape.trades.time >= tape.open) & (tape.trades.time < tape.close)).all()
    assert tape.repairs == {
        "minutes without quotes at the session's start, left out": 30,
        "minutes without quotes at the session's end, left out": 331,
        "quotes outside the session left out": 1,  # that of the last, begun minute
        "prints outside the session left out": 361,
    }


def test_gaps_are_counted(tmp_path: Path) -> None:
    hole = range(OPEN_MS + 60 * MINUTE, OPEN_MS + 70 * MINUTE)
    tape = read(write_day(tmp_path, [row for row in minutes() if row[0] not in hole]))
    assert tape.repairs == {"gaps of more than 5 minutes between quotes": 1}


def test_stretches_without_prints_are_told(tmp_path: Path) -> None:
    tape = read(write_day(tmp_path, minutes(), prints(end=OPEN_MS + 60 * MINUTE)))
    assert tape.repairs == {"minutes without prints at the session's end": 330}
    assert read(write_day(tmp_path, minutes(), [(1, 5, 5, "N", 1, 0)])).repairs == {
        "prints outside the session left out": 1,
        "minutes without prints, the whole session": 390,
    }


# The real days.


@pytest.mark.parametrize(
    ("symbol", "count", "spread"), [("bac", 86_301, 100), ("ibm", 24_042, 300)]
)
def test_real_day(symbol: str, count: int, spread: int) -> None:
    tape = read_lean(samples(), symbol, "20131007")
    assert dates_available(samples(), symbol) == ["20131007", "20131008", "20131009"]
    assert (tape.open, tape.close, tape.quotes.time[0]) == (OPEN, CLOSE, OPEN)
    assert tape.trades.time.size == count
    assert np.median(tape.quotes.ask - tape.quotes.bid) == spread
    assert (np.diff(tape.quotes.time) > 0).all()
    assert (np.diff(tape.trades.time) >= 0).all()
    assert tape.trades.size.max() < 1_000_000  # bac's opening and closing auctions are larger
    assert 0.2 < 1 - tape.trades.lit.mean() < 0.5
    with zipfile.ZipFile(samples() / symbol / "20131007_trade.zip") as archive:
        rows = archive.read(archive.namelist()[0]).count(b"\n") + 1
    left_out = sum(n for reason, n in tape.repairs.items() if "prints" in reason)
    assert count + left_out == rows
