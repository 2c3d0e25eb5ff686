"""Fill logs as desks export them: their units, their names, their faults, and damage to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from execution_env.__main__ import main
from execution_env.calibration.fitting.fit_log import LogFit, fit_log
from execution_env.calibration.readers.fill_log import FaultyLogError, FillLog, read_fill_log
from execution_env.calibration.readers.tape import BUY, NANOSECONDS, SELL, DataError
from tests.calibration.fill_logs import HEADER, rows_of, write
from tests.fuzzing import read_damaged

DESK = """\
ChildOrderID;TransactTime;Ticker;Strategy;B/S;OrderQty;LastQty;LastPx;MktVolume;Mid;End Mid;Secs;Trader
71;07.10.2013 09:30:00;IBM;Fast;BUY;1,000;400;10.01;25'000;10.005;10.006;180;joe
71;07.10.2013 09:30:00;IBM;Fast;BUY;1,000;100;10.02;25'000;10.005;10.006;180;joe
72;07.10.2013 09:30:00;IBM;Slow;BUY;500;0;;25'000;10.005;10.006;180;joe
73;07.10.2013 09:33:00;MSFT;Slow;SELL;500;500;30.01;9000;30.0;30.0;180;ann
"""


def desk(folder: Path, text: str = DESK) -> Path:
    path = folder / "export.csv"
    path.write_text(text)
    return path


def read(path: Path, **options: Any) -> FillLog:
    return read_fill_log(path, time_format="%d.%m.%Y %H:%M:%S", symbol="ibm", **options)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_fill_log(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Units.


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> dict[int, LogFit]:
    folder = tmp_path_factory.mktemp("logs")
    return {
        child: fit_log(read_fill_log(write(folder / f"{child}.csv", rows_of(child))))
        for child in (180, 20)
    }


@pytest.mark.parametrize("child", [180, 20])
def test_children_of_any_length_tell_of_one_market(child: int, fits: dict[int, LogFit]) -> None:
    found = fits[child].fit
    assert [bucket.value for bucket in found.expected] == pytest.approx([9000.0] * 10)
    assert found.price_sd.value == pytest.approx(6.0, abs=4 * found.price_sd.error)
    assert found.price_sd.error < 0.5
    for algo, chance in zip(found.algos, (1.0, 0.8, 0.6), strict=True):
        assert algo.fill.value == pytest.approx(chance, abs=0.05)
    assert f"rows lasted {child} s each" in fits[child].assumed[0]


def test_children_are_added_up_and_counted(fits: dict[int, LogFit]) -> None:
    counts = fits[20].fit.counts
    assert counts == {"child orders after an algo's first in a bucket, added to it": 6240}
    assert fits[20].fit.posted == pytest.approx(900.0)
    assert fits[180].fit.posted == pytest.approx(100.0)


def test_a_column_says_how_long_children_work(tmp_path: Path) -> None:
    """Nine of 20 s in a bucket, the mids of each its own: nothing else tells how long they are."""
    rows = rows_of(20, 20)
    for row in rows:
        row[8] = row[7]
    assert "no column says how long they worked" in failure(
        write(tmp_path / "a.csv", [row[:9] for row in rows])
    )
    log = read_fill_log(write(tmp_path / "b.csv", rows, f"{HEADER},seconds"))
    assert fit_log(log).fit.expected[0].value == pytest.approx(9000.0)
    ends = [[*row[:9], end_of(row)] for row in rows]
    again = read_fill_log(write(tmp_path / "c.csv", ends, f"{HEADER},end"))
    np.testing.assert_array_equal(again.end, log.end)


def end_of(row: list[str]) -> str:
    end = np.datetime64(row[0], "s") + np.timedelta64(round(float(row[9])), "s")
    return str(end)


def failure(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        fit_log(read_fill_log(path), **options)
    return str(caught.value)


def test_children_that_cover_little_of_a_bucket_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows_of(180, 20), f"{HEADER},seconds")
    message = failure(path)
    assert "worked 11% of a bucket of 180 s" in message
    assert "Choose --bucket (and --orders-of) as long as they worked, about 20 s" in message


@pytest.mark.slow
def test_children_that_cover_most_of_a_bucket_are_scaled_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows_of(180, 120), f"{HEADER},seconds")
    found = fit_log(read_fill_log(path), price_sd=6.0).fit
    assert found.expected[0].value == pytest.approx(9000.0)
    assert found.counts["buckets that rows cover a part of, their volume scaled up"] == 260
    assert found.counts["buckets whose mids are less than a bucket apart, no move told"] == 260
    assert any("depth is that part's" in why for why in found.counts)


def test_children_longer_than_a_bucket_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows_of(180, 180), f"{HEADER},seconds")
    message = failure(path, bucket=60 * NANOSECONDS, window=600 * NANOSECONDS)
    assert "most rows lasted longer than a bucket of 60 s, 180 s in the middle" in message


@pytest.mark.slow
def test_a_short_child_beside_a_long_one_costs_no_volume(tmp_path: Path) -> None:
    """Aggressive fills in a second, and its row has the volume of that second."""
    rows = rows_of(180, 180)
    for row in rows:
        if row[1] == "Aggressive":
            row[6], row[9] = "50", "1"
    found = fit_log(read_fill_log(write(tmp_path / "a.csv", rows, f"{HEADER},seconds"))).fit
    assert found.expected[0].value == pytest.approx(9000.0)


def test_one_price_times_ten_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = rows_of(180)
    rows[3][4] = f"{10 * float(rows[3][4]):.4f}"
    log = read_fill_log(write(tmp_path / "slip.csv", rows))
    assert log.repairs == {"cells of price far from its mid, left out (line 5)": 1}
    assert fit_log(log).fit.algos[0].half_spread.value == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("column", "factor"), [(4, 10.0), (7, 100.0), (8, 0.1), (6, 1e6), (2, 1e5)]
)
def test_a_slip_in_any_column_is_noticed(column: int, factor: float, tmp_path: Path) -> None:
    rows = rows_of(180)
    rows[30][column] = f"{factor * float(rows[30][column]):.4f}"
    log = read_fill_log(write(tmp_path / "slip.csv", rows))
    assert sum("line 32" in why for why in log.repairs) == 1
    found = fit_log(log).fit
    assert found.price_sd.value == pytest.approx(6.0, abs=1.5)
    assert found.expected[0].value == pytest.approx(9000.0, rel=0.01)


def test_many_slips_are_refused_each_with_its_line(tmp_path: Path) -> None:
    rows = rows_of(180)
    for row in rows[::6]:
        row[4] = f"{10 * float(row[4]):.4f}"
    with pytest.raises(FaultyLogError) as caught:
        read_fill_log(write(tmp_path / "slip.csv", rows))
    assert len(caught.value.lines) == 21
    assert "line 2: price = 1000" in caught.value.lines[0]
    assert re.fullmatch(r"and \d+ more faults\.", caught.value.lines[-1])


# Names.


def test_a_desks_export_is_read_as_it_is(tmp_path: Path) -> None:
    log = read(desk(tmp_path))
    assert log.algo.tolist() == ["Fast", "Fast", "Slow"]
    assert log.posted.tolist() == [1000, 1000, 500]
    assert log.filled.tolist() == [400, 100, 0]
    assert log.side.tolist() == [BUY] * 3
    assert log.volume is not None
    assert log.volume.tolist() == [25000] * 3
    assert log.order is not None
    assert log.order[0] == log.order[1] != log.order[2]
    assert log.time[0] == np.datetime64("2013-10-07T09:30:00")
    assert log.end is not None
    assert log.end[0] == np.datetime64("2013-10-07T09:33:00")
    assert log.repairs == {
        'columns not read: "Trader"': 1,
        "rows of other symbols, left out": 1,
    }


def test_columns_that_are_named(tmp_path: Path) -> None:
    text = DESK.replace("Strategy", "Desk").replace("OrderQty", "Shares wanted")
    assert "--columns algo=NAME,posted=NAME" in refusal(desk(tmp_path, text), symbol="ibm")
    log = read(desk(tmp_path, text), columns={"algo": "Desk", "posted": "shares wanted"})
    assert log.algo.tolist() == ["Fast", "Fast", "Slow"]
    assert "no such column. Did you mean" in refusal(
        desk(tmp_path, text), columns={"algo": "Dest", "posted": "Shares wanted"}
    )
    assert "--columns algos: there is no such column" in refusal(
        desk(tmp_path, text), columns={"algos": "Desk"}
    )


def test_two_columns_that_could_be_one(tmp_path: Path) -> None:
    text = DESK.replace("Trader", "CumQty")
    assert "could both be what was filled. Say which" in refusal(desk(tmp_path, text))


def test_fills_of_an_order_so_far(tmp_path: Path) -> None:
    header = "order_id,time,algo,posted,CumQty,AvgPx"
    rows = [
        ["1", "2013-10-07T09:30:00", "A", "100", "40", "10.00"],
        ["1", "2013-10-07T09:31:00", "A", "100", "100", "10.06"],
    ]
    log = read_fill_log(write(tmp_path / "a.csv", rows, header))
    assert log.filled.tolist() == [40, 60]
    np.testing.assert_allclose(log.price, [10.0, (1006 - 400) / 60])


@pytest.mark.parametrize(
    ("word", "side"),
    [("B", BUY), ("buy", BUY), ("1", BUY), ("S", SELL), ("SELL", SELL), ("2", SELL), ("Sld", SELL)],
)
def test_words_for_sides(word: str, side: int, tmp_path: Path) -> None:
    rows = [["2013-10-07T09:30:00", "A", "1", "0", "", word]]
    assert read_fill_log(
        write(tmp_path / "a.csv", rows, "time,algo,posted,filled,price,side")
    ).side.tolist() == [side]


def test_symbols_must_be_chosen(tmp_path: Path) -> None:
    path = desk(tmp_path)
    assert "2 symbols: ibm, msft. A scenario is of one: choose it by --symbol" in refusal(path)
    assert 'no such symbol. Did you mean "ibm"?' in refusal(path, symbol="ibn")
    plain = write(tmp_path / "a.csv", rows_of(180)[:9])
    assert "has no column symbol" in refusal(plain, symbol="ibm")


def test_names_that_differ_in_case_are_one_and_counted(tmp_path: Path) -> None:
    rows = rows_of(180)[:30]
    rows[2][1] = "passive"
    log = read_fill_log(write(tmp_path / "a.csv", rows))
    assert set(log.algo) == {"Aggressive", "Neutral", "Passive"}
    assert log.repairs == {"rows of algo passive, taken for Passive": 1}


def test_currencies(tmp_path: Path) -> None:
    rows = [[*row, "EUR"] for row in rows_of(180)[:30]]
    log = read_fill_log(write(tmp_path / "a.csv", rows, f"{HEADER},currency"))
    assert log.repairs == {'rows priced in "EUR", read as dollars': 30}
    rows[7][-1] = "GBP"
    message = refusal(write(tmp_path / "b.csv", rows, f"{HEADER},currency"))
    assert 'line 9: currency = "GBP": is another currency than "EUR" before' in message


# Faults.


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        (2, "1_000", 'posted = "1_000": must be a number of shares above 0'),
        (2, "1,00", "must be a number of shares above 0"),
        (2, "\uff11\uff10\uff10", "must be a number of shares above 0"),
        (0, "\uff12013-10-07T09:30:00", "must be date and time without zone"),
        (0, "2013-10-0\u0667T09:30:00", "must be date and time without zone"),
        (4, "0x10", "must be dollars above 0"),
        (5, "-1", "must be buy or sell"),
        (6, "-5", "must be a number of shares of at least 0"),
    ],
)
def test_cells_that_are_none(column: int, cell: str, words: str, tmp_path: Path) -> None:
    rows = rows_of(180)[:30]
    rows[9][column] = f'"{cell}"' if "," in cell else cell
    message = refusal(write(tmp_path / "a.csv", rows))
    assert "line 11: " in message
    assert words in message


def test_one_run_says_all_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(180)
    rows[3][2], rows[5][0], rows[9][5], rows[20][3] = "none", "today", "long", "101"
    path = write(tmp_path / "a.csv", rows)
    options = ["--fill-log", str(path), "--out", str(tmp_path / "out.toml")]
    assert main(["calibrate", *options]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [re.search(r"line (\d+)", line)[1] for line in said] == ["5", "7", "11", "22"]  # type: ignore[index]
    assert all(line.startswith("error: ") for line in said)
    assert not (tmp_path / "out.toml").exists()
    for row in rows[1:]:
        row[2] = "none"
    write(tmp_path / "a.csv", rows)
    assert main(["calibrate", *options]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 21
    assert said[-1] == "error: and 761 more faults."
    for row in rows:
        row[2] = "none"
    write(tmp_path / "a.csv", rows)
    assert main(["calibrate", *options]) == 2
    said = capsys.readouterr().err.splitlines()
    assert 'line 2: posted = "none", and all other rows: must be a number' in said[0]
    assert len(said) == 3


def test_options_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[row[0].replace("T", " ").replace("-", "/"), *row[1:], "IBM"] for row in rows_of(180)]
    rows += [[*row[:-1], "BAC"] for row in rows[:9]]
    path = write(tmp_path / "a.csv", rows, f"{HEADER.replace('algo', 'Desk')},Ticker", ";")
    options = ["--fill-log", str(path), "--out", str(tmp_path / "out.toml"), "--no-figure"]
    options += ["--columns", "algo=Desk", "--symbol", "ibm", "--time-format", "%Y/%m/%d %H:%M:%S"]
    assert main(["calibrate", *options]) == 0
    assert "rows of other symbols, left out: 9" in capsys.readouterr().out
    text = (tmp_path / "out.toml").read_text()
    assert "size = 4500" in text
    assert "rows lasted 180 s each" in text


# Damage.


def fuzz(folder: Path, number: int) -> int:
    desk(folder)
    plain = write(folder / "plain.csv", rows_of(1800, 180.0, days=1), f"{HEADER},seconds")
    refused = read_damaged(plain, read_fill_log, DataError, number)
    refused += read_damaged(folder / "export.csv", read, DataError, number, seed=1)
    options = {"bucket": 180 * NANOSECONDS, "window": 1800 * NANOSECONDS}

    def fit(path: Path) -> None:
        fit_log(read_fill_log(path), **options)  # type: ignore[arg-type]

    return refused + read_damaged(plain, fit, DataError, number // 8, seed=2)


def test_damaged_logs(tmp_path: Path) -> None:
    assert fuzz(tmp_path, 24) > 8


@pytest.mark.slow
def test_many_damaged_logs(tmp_path: Path) -> None:
    assert fuzz(tmp_path, 800) > 260
