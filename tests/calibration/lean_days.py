"""Days in LEAN's tick files, written for tests."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from execution_env.calibration.readers.lean import read_lean
from execution_env.calibration.readers.tape import Tape
from tests.calibration.writers import write_zip
from tests.fuzzing import damaged

Row = tuple[object, ...]
MS = 1_000_000
OPEN_MS, CLOSE_MS, MINUTE = 34_200_000, 57_600_000, 60_000
AT = OPEN_MS + 90_000


def pair(ms: int, bid: int, ask: int, bid_size: int = 300, ask_size: int = 500) -> list[Row]:
    """A bid row and its ask row."""
    return [(ms, bid, bid_size, 0, 0, "N", 1, 0), (ms, 0, 0, ask, ask_size, "P", 1, 0)]


def minutes(start: int = OPEN_MS, end: int = CLOSE_MS) -> list[Row]:
    """A quote of 10.00 to 10.02 every minute."""
    return [row for ms in range(start, end, MINUTE) for row in pair(ms, 100_000, 100_200)]


def prints(start: int = OPEN_MS, end: int = CLOSE_MS) -> list[Row]:
    """A print of 100 shares at 10.01 every minute, half a minute after its quote."""
    return [(ms + 30_000, 100_100, 100, "N", 1, 0) for ms in range(start, end, MINUTE)]


def write_day(
    folder: Path,
    quotes: Sequence[Row] | None = None,
    trades: Sequence[Row] | None = None,
    more_quotes: Sequence[Row] = (),
    more_trades: Sequence[Row] = (),
    date: str = "20131007",
) -> Path:
    """A day in time order, by default of ``minutes`` and ``prints``, with more rows."""
    for kind, rows, more in (
        ("quote", minutes() if quotes is None else quotes, more_quotes),
        ("trade", prints() if trades is None else trades, more_trades),
    ):
        ordered = sorted([*rows, *more], key=lambda row: float(str(row[0]))) if more else rows
        text = "".join(",".join(map(str, row)) + "\n" for row in ordered)
        write_zip(folder / "bac" / f"{date}_{kind}.zip", (f"{date}_bac_{kind}_Tick.csv", text))
    return folder


def read(folder: Path) -> Tape:
    return read_lean(folder, "bac", "20131007")


def same(tape: Tape, other: Tape) -> None:
    for name in ("quotes", "trades"):
        for mine, theirs in zip(getattr(tape, name), getattr(other, name), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def inside(content: bytes, draw: np.random.Generator) -> bytes:
    """Damage to the csv in a zip, packed well."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = archive.namelist()
        text = archive.read(name)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, damaged(text, draw))
    return packed.getvalue()
