"""LEAN's tick files that are refused: one error that names the file, the row and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution_env.calibration.readers import tables
from execution_env.calibration.readers.lean import dates_available, read_lean
from execution_env.calibration.readers.tape import DataError
from tests.calibration.lean_days import (
    AT,
    CLOSE_MS,
    MINUTE,
    OPEN_MS,
    Row,
    minutes,
    pair,
    prints,
    write_day,
)
from tests.calibration.writers import write_zip


def refusal(folder: Path, date: str = "20131007", symbol: str = "bac") -> str:
    with pytest.raises(DataError) as error:
        read_lean(folder, symbol, date)
    return str(error.value)


def test_no_regular_session(tmp_path: Path) -> None:
    early = minutes(OPEN_MS - 60 * MINUTE, OPEN_MS)
    message = refusal(write_day(tmp_path, early))
    assert "no quotes in the session, 09:30:00 to 16:00:00" in message
    assert "they run from 08:30:00 to 09:29:00" in message
    assert "Leave this day out" in message


def test_a_few_seconds_of_quotes(tmp_path: Path) -> None:
    message = refusal(write_day(tmp_path, minutes(end=OPEN_MS + 3 * MINUTE)))
    assert "cover only 09:30:00 to 09:32:00. Leave this day out." in message


def test_only_crossed_quotes(tmp_path: Path) -> None:
    rows = [row for ms in range(OPEN_MS, CLOSE_MS, MINUTE) for row in pair(ms, 2, 1)]
    assert "all 390 quotes in the session are one-sided, locked" in refusal(
        write_day(tmp_path, rows)
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((AT, 100_100, 9, "N", 1), ["row 3: 5 columns, must be 6: time, price, size, exchange"]),
        ((AT, 100_100, 9, "N", 1, 0, 0), ["row 3: 7 columns, must be 6"]),
        ((AT, "ten", 9, "N", 1, 0), ['row 3: price = "ten": must be a whole number']),
        ((AT, "", 9, "N", 1, 0), ['row 3: price = "": must be a whole number']),
        ((AT, "10.01", 9, "N", 1, 0), ['row 3: price = "10.01": must be a whole number']),
        ((AT, 10**30, 9, "N", 1, 0), ["row 3: price = ", "must be a whole number"]),
        ((AT, -100_100, 9, "N", 1, 0), ["row 3: price = -100100: must not be negative"]),
        ((AT, 100_100, -9, "N", 1, 0), ["row 3: size = -9: must not be negative"]),
        ((AT, 100_100, 9, "", 1, 0), ['row 3: exchange = "": must not be empty']),
        ((AT, 100_100, 9, "N", "xyz", 0), ['row 3: condition = "xyz": must be flags']),
        ((AT, 100_100, 9, "N", 1, 2), ["row 3: suspicious = 2: must be 0 or 1"]),
        (("1e7", 100_100, 9, "N", 1, 0), ['row 3: time = "1e7": must be milliseconds']),
        ((86_400_000, 100_100, 9, "N", 1, 0), ["row 3: time =", "below 86,400,000"]),
    ],
)
def test_a_row_that_cannot_be(tmp_path: Path, row: Row, words: list[str]) -> None:
    trades = prints()
    message = refusal(write_day(tmp_path, None, [*trades[:2], row, *trades[3:]]))
    assert "20131007_trade.zip, 20131007_bac_trade_Tick.csv, row 3:" in message
    for word in words:
        assert word in message


def test_rows_of_the_other_file(tmp_path: Path) -> None:
    assert "row 1: 6 columns, must be 8" in refusal(write_day(tmp_path, prints(), prints()))


def test_negative_quote(tmp_path: Path) -> None:
    rows = [*pair(AT, -5, 100), *minutes()]
    assert "row 1: bid = -5: must not be negative." in refusal(write_day(tmp_path, rows))


def test_no_text(tmp_path: Path) -> None:
    write_day(tmp_path)
    write_zip(
        tmp_path / "bac" / "20131007_trade.zip", ("x.csv", b"1,2,3,N,1,0\n\xff\xfe,2,3,N,1,0\n")
    )
    assert "row 2: bytes that are no text" in refusal(tmp_path)


def test_a_zip_that_would_unpack_to_much_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_BYTES", 10**6)
    write_day(tmp_path)
    write_zip(tmp_path / "bac" / "20131007_quote.zip", ("x.csv", "0,0,0,0,0,N,1,0\n" * 180_000))
    assert "20131007_quote.zip: would unpack to 3 MB from 0.0 MB" in refusal(tmp_path)


def test_a_zip_that_understates_its_size(tmp_path: Path) -> None:
    path = write_day(tmp_path) / "bac" / "20131007_quote.zip"
    text = b"0,0,0,0,0,N,1,0\n" * 100_000
    write_zip(path, ("x.csv", text))
    content = path.read_bytes()
    right = len(text).to_bytes(4, "little")
    assert content.count(right) == 2
    path.write_bytes(content.replace(right, (1600).to_bytes(4, "little")))
    assert "cut off, damaged or encrypted" in refusal(tmp_path)


def test_a_zip_of_many_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_CELLS", 1000)
    write_day(tmp_path)
    write_zip(tmp_path / "bac" / "20131007_quote.zip", ("x.csv", ",,,,,,,\n" * 10_000))
    assert "holds 80,000 cells in 0.0 MB, more than market data do" in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["trade", "quote"])
@pytest.mark.parametrize(
    "damage", ["truncated", "flipped", "not a zip", "no bytes", "empty", "two", "no rows"]
)
def test_bad_zip(tmp_path: Path, kind: str, damage: str) -> None:
    path = write_day(tmp_path) / "bac" / f"20131007_{kind}.zip"
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif damage == "not a zip":
        path.write_text("<html>Not found</html>")
    elif damage == "no bytes":
        path.write_bytes(b"")
    elif damage == "empty":
        write_zip(path)
    elif damage == "two":
        write_zip(path, ("a.csv", "1\n"), ("b.csv", "1\n"))
    else:
        write_zip(path, ("a.csv", "\n"))
    right = {
        "truncated": "cut off, damaged or encrypted",
        "flipped": "cut off, damaged or encrypted",
        "not a zip": "not a zip file",
        "no bytes": "not a zip file",
        "empty": "an empty zip",
        "two": "holds 2 files (a.csv, b.csv), must hold one",
        "no rows": "no rows",
    }[damage]
    message = refusal(tmp_path)
    assert str(path) in message
    assert right in message
    assert "Download the file again." in message or "Take the others out." in message


@pytest.mark.parametrize("kind", ["trade", "quote"])
def test_missing_file(tmp_path: Path, kind: str) -> None:
    path = write_day(tmp_path) / "bac" / f"20131007_{kind}.zip"
    path.unlink()
    assert dates_available(tmp_path, "bac") == ["20131007"]  # reading it tells which one is missing
    assert f"{path}: there is no such file" in refusal(tmp_path)
    assert "Both are needed" in refusal(tmp_path)


def test_date_without_files(tmp_path: Path) -> None:
    write_day(tmp_path)
    write_day(tmp_path, date="20131008")
    assert dates_available(tmp_path, "bac") == ["20131007", "20131008"]
    assert "Dates there are: 20131007, 20131008." in refusal(tmp_path, "20131009")


@pytest.mark.parametrize("date", ["20131332", "2013/10/07", "", "7 October"])
def test_no_date(tmp_path: Path, date: str) -> None:
    assert 'must be a date, such as "20131007"' in refusal(write_day(tmp_path), date)


def test_no_such_symbol(tmp_path: Path) -> None:
    message = refusal(write_day(tmp_path), symbol="bacc")
    assert 'no folder "bacc"' in message
    assert 'Did you mean "bac"?' in message
    assert "must be a ticker" in refusal(tmp_path, symbol="../bac")
    assert "no such folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="no YYYYMMDD_trade"):
        dates_available(tmp_path, "void")


def test_file_of_another_symbol(tmp_path: Path) -> None:
    """In the symbol's own folder nothing but the zips' content tells whose they are."""
    folder = write_day(tmp_path) / "bac"
    assert 'holds symbol "bac", must hold "ibm"' in refusal(folder, symbol="ibm")
    (folder / "20131007_trade.zip").rename(folder / "20131008_trade.zip")
    assert 'holds date "20131007", must hold "20131008"' in refusal(folder, "20131008")
