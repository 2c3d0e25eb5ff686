"""Reader of fill logs: a trader's own child orders and their fills, as a desk exports them.

A fill log is a csv file (RFC 4180) with a header; cells are separated by commas, semicolons, tabs or
bars. Columns come in any order, under these or usual other names (``columns.ALIASES``):

    time      when posted: date and time of the exchange, 2013-10-07T09:30:00.25, without zone
    algo      which algo posted it, a name
    posted    shares, above 0
    filled    shares that filled, from 0 to posted; or cum_filled: those of the order so far
    price     average dollars of what was filled; empty where nothing was

and, where known:

    side      buy or sell; buy if there is no such column
    end       when its time was over, as time; or seconds: how long it worked
    order_id  number of the child order, where several rows are one: re-priced, or a row a fill
    volume    shares that the market traded while it was working
    mid       dollars, the mid when it was posted
    mid_end   dollars, the mid when its time was over
    symbol    stock, to choose one
    currency  one for all rows
    date      date, where time has none

A cell of volume, mid, mid_end and end may be empty. Blanks around a cell and rows without content are
ignored. Other columns are not read, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from execution_env.calibration.readers.cleaning import note
from execution_env.calibration.readers.fill_log import cells as cell_readers
from execution_env.calibration.readers.fill_log.cells import Bools, Cells
from execution_env.calibration.readers.fill_log.checks import implausible, refuse_many
from execution_env.calibration.readers.fill_log.columns import (
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    Columns,
    columns_of,
    recognised,
)
from execution_env.calibration.readers.fill_log.faults import Faults
from execution_env.calibration.readers.fill_log.orders import Rows, orders_of, rows_of
from execution_env.calibration.readers.fill_log.text import read_text
from execution_env.calibration.readers.tape import BUY, CLOSE, DAY, OPEN, DataError, Ints
from execution_env.calibration.simulator.outcomes import Floats
from execution_env.core.validation import shown, suggestion

OWN_SHARE = 0.5
"""Share of filled rows whose volume is no more than their fills from which it is the trader's own."""

KNOWN = ("volume", "mid", "mid_end")


@dataclass(frozen=True)
class FillLog:
    """m rows of child orders, by time.

    Attributes:
        time: (m,) datetime64[ns], at the exchange.
        algo: (m,) str.
        posted, filled: (m,) shares; filled in this row.
        price: (m,) dollars; NaN where nothing was filled, or unknown.
        side: (m,) int8, ``tape.BUY`` or ``tape.SELL``.
        volume: (m,) shares, NaN where unknown; None without such a column.
        mid, mid_end: (m,) dollars, NaN where unknown; None without such a column.
        end: (m,) datetime64[ns], NaT where unknown; None without such a column.
        order: (m,) number of the child order that a row is of; None where every row is one.
        repairs: number of rows mended, left out or incomplete, by reason; only counts above 0.
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
    end: NDArray[np.datetime64] | None = None
    order: Ints | None = None
    repairs: dict[str, int] = field(default_factory=dict)


def read_fill_log(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    time_format: str | None = None,
    symbol: str | None = None,
    decimal: str | None = None,
) -> FillLog:
    """Return the child orders in the csv file at ``path``, sorted by time.

    Rows out of time order are sorted and counted in ``repairs``; rows of one time keep their order.
    Cells that cannot be, by the log's own scale, are left out and counted; where there are many the
    log is refused.

    Args:
        path: the file.
        columns: names in the file by our names, where they are not recognised; ``-`` for none.
        time_format: format of ``time`` and ``end`` as ``strptime`` has it.
        symbol: stock to choose where the log has several.
        decimal: decimal sign, "." or ","; None is ".", if that is clear.

    Raises:
        FaultyLogError: cells or rows are invalid. It has all of them, each with its line and what would
            be right.
        DataError: there is no such file, it is not csv, or its columns are missing or unclear.
    """
    path = Path(path)
    faults = Faults(str(path))
    text = read_text(path, recognised, faults)
    found = columns_of(path, text.header_line, text.header, columns or {})
    if not text.lines.size and not faults.number:
        raise DataError(f"{path}: no rows below the header.")
    repairs: dict[str, int] = {}
    _note_unused(found, repairs)
    names = list(found.place)
    frame = text.frame(sorted(found.place.values()))
    frame = frame.select(pl.col(str(found.place[name])).alias(name) for name in names)
    frame, lines = _of_symbol(path, frame, text.lines, symbol, repairs)
    cells = Cells(frame, found.given, lines, faults)
    _currency(cells, repairs)
    log = _log(cells, time_format, decimal == ",", decimal is None, repairs)
    faults.stop()
    return log


def _log(
    cells: Cells, time_format: str | None, comma: bool, unclear: bool, repairs: dict[str, int]
) -> FillLog:
    """Return the log; faults are noted in ``cells``, and raised before cells are compared."""
    if unclear:
        cells.dollars_are_clear(["price", "mid", "mid_end"])
    posted, filled, price = _shares(cells, comma)
    known = {}
    for name in KNOWN:
        if name in cells:
            shares = name == "volume"
            right = "a number of shares of at least 0" if shares else "dollars above 0"
            value, _ = cells.numbers(name, f"must be {right}, or empty.", comma, above=not shares)
            known[name] = value
    algo, counts = cells.algos()
    time, end, ended = _times(cells, time_format, comma)
    side = cells.sides() if "side" in cells else np.full(time.size, BUY, np.int8)
    cells.faults.stop()
    repairs |= counts
    order = np.arange(time.size)
    if "order_id" in cells:
        order = orders_of(cells, time, side.astype(np.int64))
    rows = rows_of(cells, order, time, posted, filled, price)
    cells.faults.stop()

    sort = np.argsort(time, kind="stable")
    note(repairs, "rows out of time order, sorted", (time < np.maximum.accumulate(time)).sum())
    order, posted, filled, price = (
        rows.order[sort],
        rows.posted[sort],
        rows.filled[sort],
        rows.price[sort],
    )
    price[filled == 0] = np.nan
    time, end, ended, lines = time[sort], end[sort], ended[sort], cells.lines[sort]
    known = {name: column[sort] for name, column in known.items()}
    kept = _plausible(cells, lines, Rows(order, posted, filled, price), known, time,
                      np.where(ended, end - time, np.nan), repairs)  # fmt: skip
    for name, column in known.items():
        note(repairs, f"rows without {name}", np.isnan(column[kept]).sum())
    if "end" in cells or "seconds" in cells:
        note(repairs, "rows without end", (~ended[kept]).sum())
    clock = time[kept] % DAY
    note(repairs, "rows outside 09:30 to 16:00", ((clock < OPEN) | (clock >= CLOSE)).sum())
    stamps = np.where(ended, end, np.iinfo(np.int64).min).astype("datetime64[ns]")
    return FillLog(
        time=time[kept].astype("datetime64[ns]"),
        algo=algo[sort][kept],
        posted=posted[kept],
        filled=filled[kept],
        price=price[kept],
        side=side[sort][kept],
        **{name: column[kept] for name, column in known.items()},
        end=stamps[kept] if "end" in cells or "seconds" in cells else None,
        order=order[kept] if "order_id" in cells else None,
        repairs=repairs,
    )


def _note_unused(found: Columns, repairs: dict[str, int]) -> None:
    if not found.unused:
        return
    known = [
        name
        for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
        if name not in found.given and name != "cum_filled"
    ]
    said = []
    for word in found.unused[:12]:
        close = suggestion(word, known)[1:].replace("Did you mean", "did you mean")
        said.append(
            (shown(word) if word else "one without a name") + (f" ({close})" if close else "")
        )
    more = ", ..." if len(found.unused) > 12 else ""
    note(repairs, f"columns not read: {', '.join(said)}{more}", len(found.unused))


def _of_symbol(
    path: Path, frame: pl.DataFrame, lines: Ints, symbol: str | None, repairs: dict[str, int]
) -> tuple[pl.DataFrame, Ints]:
    """Return the rows of one symbol, and their lines."""
    if "symbol" not in frame.columns:
        if symbol is not None:
            raise DataError(
                f"--symbol {symbol}: {path} has no column symbol. Leave it out, or name the column: "
                "--columns symbol=NAME."
            )
        return frame, lines
    column = frame["symbol"].str.to_lowercase()
    there = column.unique().sort().to_list()
    listed = ", ".join(shown(word)[1:-1] or "one without a name" for word in there[:20])
    listed += ", ..." if len(there) > 20 else ""
    if symbol is None:
        if len(there) > 1:
            raise DataError(
                f"{path}: {len(there):,} symbols: {listed}. A scenario is of one: choose it by --symbol."
            )
        return frame, lines
    mine = (column == symbol.strip().lower()).to_numpy()
    if not mine.any():
        raise DataError(
            f"--symbol {symbol}: {path} has no such symbol.{suggestion(symbol.lower(), there)} "
            f"There are {listed}."
        )
    note(repairs, "rows of other symbols, left out", (~mine).sum())
    return frame.filter(mine), lines[mine]


def _currency(cells: Cells, repairs: dict[str, int]) -> None:
    """Refuse prices in several currencies; say which one it is, if not dollars."""
    if "currency" not in cells:
        return
    column = cells.frame["currency"].str.to_uppercase()
    found = column.unique(maintain_order=True).to_list()
    if len(found) > 1:
        right = f"is another currency than {shown(found[0])} before. Give rows in one currency."
        cells.wrong("currency", (column != found[0]).to_numpy(), right)
    elif found and found[0] not in ("USD", ""):
        note(repairs, f"rows priced in {shown(found[0])}, read as dollars", column.len())


def _shares(cells: Cells, comma: bool) -> tuple[Floats, Floats, Floats]:
    """Return posted, filled and price as in the log."""
    right = "must be a number of shares above 0."
    posted, fine = cells.numbers("posted", right, comma, above=True)
    cells.wrong("posted", fine & np.isnan(posted), right)
    name = "cum_filled" if "cum_filled" in cells else "filled"
    right = "must be a number of shares from 0 to what was posted."
    filled, fine = cells.numbers(name, right, comma)
    cells.wrong(name, fine & (np.isnan(filled) | (filled > posted)), right)
    right = "must be dollars above 0 where something was filled, or empty where nothing was."
    price, fine = cells.numbers("price", right, comma)
    cells.wrong("price", fine & (filled > 0) & ~(price > 0), right)
    return posted, filled, price


def _times(cells: Cells, pattern: str | None, comma: bool) -> tuple[Ints, Ints, Bools]:
    """Return when each row was posted and when it was over, and whether that is known."""
    if "date" in cells:
        bare = cells.frame["time"].str.contains(r"^[0-9]{1,2}:")
        joined = pl.select(
            pl.when(bare).then(cells.frame["date"] + " " + cells.frame["time"]).otherwise(
                cells.frame["time"]
            )
        ).to_series()  # fmt: skip
        frame = cells.frame.with_columns(joined.alias("time"))
        cells = Cells(frame, cells.given, cells.lines, cells.faults)
    time, valid = cells.times("time", pattern)
    if "seconds" in cells:
        length, known = cell_readers.seconds(cells, comma)
        return time, time + length, known
    if "end" not in cells:
        return time, time, np.zeros(time.size, np.bool_)
    end, known = cells.times("end", pattern, needed=False)
    cells.wrong(
        "end", known & valid & (end < time), "must not be before the child order was posted."
    )
    return time, end, known


def _plausible(
    cells: Cells,
    lines: Ints,
    rows: Rows,
    known: dict[str, Floats],
    time: Ints,
    length: Floats,
    repairs: dict[str, int],
) -> Bools:
    """Set implausible cells to NaN; return which rows are kept; count both, or refuse.

    Raises:
        FaultyLogError: there are many, or the market's volume is that of the trader.
    """
    columns = {"posted": rows.posted, "price": rows.price, **known}
    found = implausible(columns, time, length)
    repairs |= refuse_many(columns, found, cells.given, lines, cells.faults)
    for name, (bad, _) in found.items():
        if name != "posted":
            columns[name][bad] = np.nan
    if "volume" in known:
        some = (rows.filled > 0) & (known["volume"] > 0)
        own = some & (known["volume"] <= rows.filled)
        if own.sum() > OWN_SHARE * some.sum():
            raise DataError(
                f"{cells.faults.place}: {cells.given['volume']} is no more than what the row filled in "
                f"{own.sum():,} of {some.sum():,} rows: it must be what the whole market traded. If it "
                "is not, --columns volume=-"
            )
        note(repairs, "rows with less market volume than they filled", (some & own).sum())
    cells.faults.stop()
    return ~found["posted"][0]
