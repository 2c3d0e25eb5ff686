"""Reader of fill logs: a trader's own child orders and their fills.

A fill log is a csv file (RFC 4180) with a header, a row for every child order, columns in any
order:

    time      when posted: date and time of the exchange, 2013-10-07T09:30:00.25, without zone
    algo      which algo posted it, a name
    posted    shares, above 0
    filled    shares, from 0 to posted
    price     average dollars of what was filled; empty where nothing was

and, where known:

    side      buy or sell; buy if there is no such column
    volume    shares that the market traded while it was working
    mid       dollars, the mid when it was posted
    mid_end   dollars, the mid when its time was over

A cell of the last three may be empty. Blanks around a cell and empty lines are ignored.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from execution_env.calibration.readers.tape import BUY, SELL, DataError
from execution_env.calibration.simulator.outcomes import Floats
from execution_env.core.validation import shown, suggestion

REQUIRED_COLUMNS = ("time", "algo", "posted", "filled", "price")
OPTIONAL_COLUMNS = ("side", "volume", "mid", "mid_end")

T = TypeVar("T")
_TIME = re.compile(r"((?:19|20)\d{2}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)")


@dataclass(frozen=True)
class FillLog:
    """m child orders, by time.

    Attributes:
        time: (m,) datetime64[ns], at the exchange.
        algo: (m,) str.
        posted, filled: (m,) shares.
        price: (m,) dollars; NaN where nothing was filled.
        side: (m,) int8, ``tape.BUY`` or ``tape.SELL``.
        volume: (m,) shares, NaN where unknown; None without such a column.
        mid, mid_end: (m,) dollars, NaN where unknown; None without such a column.
        repairs: number of rows mended or incomplete, by reason; only counts above 0.
    """

    time: NDArray[np.datetime64]
    algo: NDArray[np.str_]
    posted: Floats
    filled: Floats
    price: Floats
    side: NDArray[np.int8]
    volume: Floats | None = None
    mid: Floats | None = None
    mid_end: Floats | None = None
    repairs: dict[str, int] = field(default_factory=dict)


class _Cells:
    """Cells of the file by column, and the line number of every row for errors."""

    def __init__(
        self, path: Path, header: list[str], rows: list[list[str]], lines: list[int]
    ) -> None:
        self.path, self.lines = path, lines
        columns = zip(*rows, strict=True)
        self.columns = {
            name: [cell.strip() for cell in cells]
            for name, cells in zip(header, columns, strict=True)
        }

    def error(self, row: int, name: str, right: str) -> DataError:
        cell = self.columns[name][row]
        return DataError(f"{self.path}, line {self.lines[row]:,}: {name} = {shown(cell)}: {right}")

    def each(self, name: str, right: str, value: Callable[[str], T]) -> list[T]:
        """Return ``value`` of every cell; raise ``right`` where that is a ValueError."""
        made = []
        for row, cell in enumerate(self.columns[name]):
            try:
                made.append(value(cell))
            except ValueError:
                raise self.error(row, name, right) from None
        return made

    def numbers(self, name: str, right: str, low: float = 0.0, above: bool = False) -> Floats:
        """Return a column of finite numbers of at least, or ``above``, ``low``; NaN if empty."""

        def number(cell: str) -> float:
            value = float(cell) if cell else math.nan
            if cell and (not math.isfinite(value) or value < low or (above and value == low)):
                raise ValueError
            return value

        return np.array(self.each(name, right, number), dtype=np.float64)

    def refuse(self, name: str, wrong: NDArray[np.bool_], right: str) -> None:
        if wrong.any():
            raise self.error(int(np.flatnonzero(wrong)[0]), name, right)


def read_fill_log(path: str | Path) -> FillLog:
    """Return the child orders in the csv file at ``path``, sorted by time.

    Rows out of time order are sorted and counted in ``repairs``; rows of one time keep their order.

    Raises:
        DataError: there is no such file, it is not csv with these columns, or a cell is invalid.
            The message names the line and what would be right.
    """
    cells = _read(Path(path))
    posted = cells.numbers("posted", "must be a number of shares above 0.", above=True)
    cells.refuse("posted", np.isnan(posted), "must be a number of shares above 0.")
    filled = cells.numbers("filled", "must be a number of shares from 0 to what was posted.")
    cells.refuse(
        "filled",
        ~(filled <= posted),
        "must be a number of shares from 0 to what was posted.",
    )
    right = "must be dollars above 0 where something was filled, or empty where nothing was."
    price = cells.numbers("price", right)
    cells.refuse("price", (filled > 0) & ~(price > 0), right)
    price[filled == 0] = np.nan

    names = cells.columns
    cells.each("algo", "must be a name.", _name)
    time = np.array(
        cells.each(
            "time", "must be date and time without zone, such as 2013-10-07T09:30:00.", _time
        ),
        dtype="datetime64[ns]",
    )
    side = np.full(time.size, BUY, dtype=np.int8)
    if "side" in names:
        side[:] = cells.each("side", "must be buy or sell.", _side)
    known: dict[str, Floats | None] = dict.fromkeys(("volume", "mid", "mid_end"))
    for name in known.keys() & names.keys():
        shares = name == "volume"
        known[name] = cells.numbers(
            name,
            "must be a number of shares of at least 0, or empty."
            if shares
            else "must be dollars above 0, or empty.",
            above=not shares,
        )
    repairs: dict[str, int] = {}
    late = time < np.maximum.accumulate(time)
    if late.any():
        repairs["rows out of time order, sorted"] = int(late.sum())
    for name, column in known.items():
        if column is not None and np.isnan(column).any():
            repairs[f"rows without {name}"] = int(np.isnan(column).sum())
    order = np.argsort(time, kind="stable")
    return FillLog(
        time=time[order],
        algo=np.array(names["algo"], dtype=np.str_)[order],
        posted=posted[order],
        filled=filled[order],
        price=price[order],
        side=side[order],
        **{name: None if column is None else column[order] for name, column in known.items()},
        repairs=repairs,
    )


def _read(path: Path) -> _Cells:
    if not path.exists():
        raise DataError(f"{path}: there is no such file.")
    if not path.is_file():
        raise DataError(f"{path}: is no file. Give a fill log, a csv.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text in UTF-8 ({error}).") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num:,}: not csv ({error}).") from error
    header = _header(path, rows[0] if rows else [])
    if len(rows) < 2:
        raise DataError(f"{path}: no rows below the header.")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line:,}: {len(row)} columns, must be {len(header)} as in the header: "
                f"{', '.join(header)}."
            )
    return _Cells(path, header, rows[1:], lines[1:])


def _header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(header) == 1 and re.search("[;\t]", header[0]):
        raise DataError(f"{path}, line 1: columns must be separated by commas.")
    known = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
    for name in header:
        if name not in known:
            raise DataError(
                f"{path}, line 1: unknown column {shown(name)}.{suggestion(name, known)} "
                f"Known here: {', '.join(known)}."
            )
        if header.count(name) > 1:
            raise DataError(f"{path}, line 1: column {shown(name)} is there twice. Take one out.")
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        raise DataError(
            f"{path}, line 1: no column {', '.join(missing)}. The header must have "
            f"{', '.join(REQUIRED_COLUMNS)}, and may have {', '.join(OPTIONAL_COLUMNS)}."
        )
    return header


def _name(cell: str) -> str:
    if not cell:
        raise ValueError
    return cell


def _time(cell: str) -> np.datetime64:
    match = _TIME.fullmatch(cell)
    if not match:
        raise ValueError
    return np.datetime64(f"{match[1]}T{match[2]}", "ns")


def _side(cell: str) -> int:
    return (BUY, SELL)[("buy", "sell").index(cell.lower())]
