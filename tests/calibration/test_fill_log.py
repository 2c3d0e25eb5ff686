"""Fill logs: what is read, what is mended and counted, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution_env.calibration.readers.fill_log import FillLog, read_fill_log
from execution_env.calibration.readers.tape import BUY, SELL, DataError
from tests.calibration.writers import write_fill_log

HEADER = "time,algo,posted,filled,price"
ROWS = ["2013-10-07T09:30:00,Fast,100,40,10.01", "2013-10-07T09:35:00.5,Slow,200,0,"]
FULL = "time,algo,side,posted,filled,price,volume,mid,mid_end"


def write(folder: Path, *lines: str, ends: str = "\n") -> Path:
    path = folder / "fills.csv"
    path.write_bytes(ends.join([*lines, ""]).encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_fill_log(path)
    return str(error.value)


def test_plain_log(tmp_path: Path) -> None:
    log = read_fill_log(write(tmp_path, HEADER, *ROWS))
    assert log.time.tolist() == [
        np.datetime64("2013-10-07T09:30:00", "ns").astype(int),
        np.datetime64("2013-10-07T09:35:00.500", "ns").astype(int),
    ]
    assert log.time.dtype == "datetime64[ns]"
    assert log.algo.tolist() == ["Fast", "Slow"]
    assert log.posted.tolist() == [100, 200]
    assert log.filled.tolist() == [40, 0]
    np.testing.assert_array_equal(log.price, [10.01, np.nan])
    assert log.side.tolist() == [BUY, BUY]
    assert log.volume is log.mid is log.mid_end is None
    assert log.repairs == {}


def test_all_columns(tmp_path: Path) -> None:
    rows = [
        "2013-10-07 09:30,Fast,Sell,100,40,10.01,5000,10.005,10.02",
        "2013-10-07 09:31,Fast,buy,100,40,10.01,,10.005,",
    ]
    log = read_fill_log(write(tmp_path, FULL, *rows))
    assert log.side.tolist() == [SELL, BUY]
    np.testing.assert_array_equal(log.volume, [5000, np.nan])
    np.testing.assert_array_equal(log.mid, [10.005, 10.005])
    np.testing.assert_array_equal(log.mid_end, [10.02, np.nan])
    assert log.repairs == {"rows without volume": 1, "rows without mid_end": 1}


def test_order_of_columns_blanks_quotation_marks_and_mark_of_utf8(tmp_path: Path) -> None:
    lines = ["\ufeffalgo, time,filled,posted,price", "", '"Fast, 2", 2013-10-07T09:30:00 ,4,5,10']
    log = read_fill_log(write(tmp_path, *lines, ends="\r\n"))
    assert log.algo.tolist() == ["Fast, 2"]
    assert log.filled.tolist() == [4]


def test_rows_out_of_order_are_sorted_stably(tmp_path: Path) -> None:
    rows = [
        "2013-10-08T09:30:00,A,1,0,",
        "2013-10-07T09:30:00,B,1,0,",
        "2013-10-08T09:30:00,C,1,0,",
        "2013-10-07T09:30:00,D,1,0,",
    ]
    log = read_fill_log(write(tmp_path, HEADER, *rows))
    assert log.algo.tolist() == ["B", "D", "A", "C"]
    assert log.repairs == {"rows out of time order, sorted": 2}


def test_price_of_nothing_is_not_kept(tmp_path: Path) -> None:
    log = read_fill_log(write(tmp_path, HEADER, "2013-10-07T09:30:00,A,1,0,0"))
    assert np.isnan(log.price[0])


shares = st.floats(1.0, 100.0)
dollars = st.floats(99.0, 101.0)
orders = st.tuples(
    st.integers(0, 10**18),
    st.text(st.characters(categories=["Ll", "Nd"], codec="ascii"), min_size=1, max_size=5),
    shares,
    st.floats(0, 1),
    dollars,
    st.sampled_from([BUY, SELL]),
    st.one_of(st.just(np.nan), shares),
    st.one_of(st.just(np.nan), dollars),
    st.one_of(st.just(np.nan), dollars),
)


@given(st.lists(orders, min_size=1, max_size=6))
@settings(max_examples=30)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]]
) -> None:
    rows.sort(key=lambda row: row[0])
    time, algo, posted, fraction, price, side, *known = (
        np.array(c) for c in zip(*rows, strict=True)
    )
    known[0] = known[0] * 1000.0  # the market's volume is more than what was filled
    filled = posted * fraction
    price[filled == 0] = np.nan
    log = FillLog(
        time.astype("datetime64[ns]"), algo, posted, filled, price, side.astype(np.int8), *known
    )
    again = read_fill_log(write_fill_log(log, tmp_path_factory.mktemp("fills") / "log.csv"))
    for name in ("time", "algo", "posted", "filled", "price", "side", "volume", "mid", "mid_end"):
        np.testing.assert_array_equal(getattr(again, name), getattr(log, name))
    assert (np.diff(again.time) >= np.timedelta64(0)).all()


# What is refused.


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2013-10-07,A,1,0,", 'time = "2013-10-07": must be date and time without zone'),
        ("09:30:00,A,1,0,", 'time = "09:30:00": must be date and time'),
        ("2013-10-07T09:30:00Z,A,1,0,", "without zone"),
        ("2013-10-07T09:30:00+02:00,A,1,0,", "without zone"),
        ("2013-02-30T09:30:00,A,1,0,", "must be date and time"),
        ("2013-10-07T25:30:00,A,1,0,", "must be date and time"),
        ("2500-10-07T09:30:00,A,1,0,", "must be date and time"),
        ("07.10.2013 09:30,A,1,0,", "must be date and time"),
        ("2013-10-07T09:30:00,,1,0,", 'algo = "": must be a name'),
        ("2013-10-07T09:30:00,A,0,0,", 'posted = "0": must be a number of shares above 0'),
        ("2013-10-07T09:30:00,A,,0,", 'posted = "": must be a number of shares above 0'),
        ("2013-10-07T09:30:00,A,ten,0,", 'posted = "ten": must be a number of shares above 0'),
        ("2013-10-07T09:30:00,A,inf,0,", 'posted = "inf": must be a number of shares above 0'),
        ("2013-10-07T09:30:00,A,10,11,10", 'filled = "11": must be a number of shares from 0 to'),
        ("2013-10-07T09:30:00,A,10,-1,10", 'filled = "-1": must be a number of shares from 0 to'),
        ("2013-10-07T09:30:00,A,10,,10", 'filled = "": must be a number of shares from 0 to'),
        ("2013-10-07T09:30:00,A,10,nan,10", 'filled = "nan": must be a number of shares from 0 to'),
        ("2013-10-07T09:30:00,A,10,5,", 'price = "": must be dollars above 0 where'),
        ("2013-10-07T09:30:00,A,10,5,0", 'price = "0": must be dollars above 0 where'),
        ("2013-10-07T09:30:00,A,10,0,-1", 'price = "-1": must be dollars above 0 where'),
        ("2013-10-07T09:30:00,A,10,5", "4 columns, must be 5 as in the header"),
        ("2013-10-07T09:30:00,A,10,5,1,1", "6 columns, must be 5 as in the header"),
        ('2013-10-07T09:30:00,"A,10,5,1', "not csv"),
    ],
)
def test_a_row_that_cannot_be(tmp_path: Path, row: str, words: str) -> None:
    message = refusal(write(tmp_path, HEADER, ROWS[0], "", row))
    assert "fills.csv, line 4: " in message
    assert words in message


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("short,1,1,1", 'side = "short": must be buy or sell.'),
        (",1,1,1", 'side = "": must be buy or sell.'),
        ("buy,-1,1,1", 'volume = "-1": must be a number of shares of at least 0, or empty.'),
        ("buy,1,0,1", 'mid = "0": must be dollars above 0, or empty.'),
        ("buy,1,1,x", 'mid_end = "x": must be dollars above 0, or empty.'),
    ],
)
def test_an_optional_cell_that_cannot_be(tmp_path: Path, cells: str, words: str) -> None:
    header = f"{HEADER},side,volume,mid,mid_end"
    assert words in refusal(write(tmp_path, header, f"2013-10-07T09:30:00,A,1,1,10,{cells}"))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (f"{HEADER},price", 'column "price" is there twice'),
        ("time,algo,posted", "no column filled, price. The header must have time, algo, posted"),
        ("", "no column time"),
    ],
)
def test_header(tmp_path: Path, header: str, words: str) -> None:
    message = refusal(write(tmp_path, header))
    assert "fills.csv, line 1: " in message
    assert words in message


def test_unknown_columns_are_counted_and_not_read(tmp_path: Path) -> None:
    rows = [f"{row},1" for row in ROWS]
    log = read_fill_log(write(tmp_path, f"{HEADER},volumes", *rows))
    assert log.volume is None
    assert log.repairs == {'columns not read: "volumes" (did you mean "volume"?)': 1}


def test_file(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "none.csv")
    assert "no rows below the header" in refusal(write(tmp_path, HEADER))
    path = write(tmp_path, HEADER)
    path.write_bytes(HEADER.encode() + b"\n\xff\xfe")
    assert "cannot be read as text in UTF-8" in refusal(path)
