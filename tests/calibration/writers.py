"""Files of every format the readers know, from what the readers give; simulated days, too."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import polars as pl

from execution_env.calibration.readers.fill_log import FillLog
from execution_env.calibration.readers.lobster import DUMMY
from execution_env.calibration.readers.tape import NANOSECONDS, OPEN, SELL, Quotes, Tape, Trades


def write_zip(path: Path, *members: tuple[str, str | bytes]) -> Path:
    """A zip of files, by name and content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def write_lean(tape: Tape, directory: Path) -> Path:
    """``directory``/symbol/date_trade.zip and _quote.zip; their folder.

    Of states with one time stamp the reader gives the last, as the format has no more.
    """
    folder = directory / tape.symbol
    quotes, trades = tape.quotes, tape.trades
    rows = 2 * quotes.time.size
    columns = {name: np.zeros(rows, dtype=np.int64) for name in ("bid", "bs", "ask", "as")}
    columns["bid"][::2], columns["bs"][::2] = quotes.bid, quotes.bid_size
    columns["ask"][1::2], columns["as"][1::2] = quotes.ask, quotes.ask_size
    quote_frame = pl.DataFrame(
        {"time": _decimal(np.repeat(quotes.time, 2), 6), **columns}
    ).with_columns(exchange=pl.lit("N"), condition=pl.lit("1"), suspicious=pl.lit(0))
    trade_frame = pl.DataFrame(
        {
            "time": _decimal(trades.time, 6),
            "price": trades.price,
            "size": trades.size,
            "exchange": np.where(trades.lit, "N", "D"),
        }
    ).with_columns(condition=pl.lit("1"), suspicious=pl.lit(0))
    for kind, frame in (("trade", trade_frame), ("quote", quote_frame)):
        name = f"{tape.date}_{tape.symbol}_{kind.capitalize()}_Tick.csv"
        write_zip(folder / f"{tape.date}_{kind}.zip", (name, frame.write_csv(include_header=False)))
    return folder


def write_lobster(tape: Tape, directory: Path) -> tuple[Path, Path]:
    """Message and order book file of a tape that has messages and book."""
    assert tape.messages is not None
    assert tape.book is not None
    messages, book = tape.messages, tape.book
    levels = book.bid.shape[1]
    day = f"{tape.date[:4]}-{tape.date[4:6]}-{tape.date[6:]}"
    session = f"{tape.open // 1_000_000}_{tape.close // 1_000_000}"
    name = f"{tape.symbol.upper()}_{day}_{session}_{{}}_{levels}.csv"
    directory.mkdir(parents=True, exist_ok=True)
    message_file, book_file = (
        directory / name.format("message"),
        directory / name.format("orderbook"),
    )
    fields = messages._asdict() | {"time": _decimal(messages.time, 9)}
    pl.DataFrame(fields).write_csv(message_file, include_header=False)
    columns = {}
    for level in range(levels):
        columns[f"ask {level}"] = np.where(book.ask[:, level] == 0, DUMMY, book.ask[:, level])
        columns[f"ask size {level}"] = book.ask_size[:, level]
        columns[f"bid {level}"] = np.where(book.bid[:, level] == 0, -DUMMY, book.bid[:, level])
        columns[f"bid size {level}"] = book.bid_size[:, level]
    pl.DataFrame(columns).write_csv(book_file, include_header=False)
    return message_file, book_file


def write_fill_log(log: FillLog, path: Path) -> Path:
    """A csv file with the columns ``log`` has."""
    columns = {
        "time": [str(time) for time in log.time],
        "algo": log.algo.tolist(),
        "side": ["sell" if side == SELL else "buy" for side in log.side],
    }
    for name in ("posted", "filled", "price", "volume", "mid", "mid_end"):
        column = getattr(log, name)
        if column is not None:
            columns[name] = ["" if np.isnan(value) else repr(float(value)) for value in column]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    path.write_text(out.getvalue(), encoding="utf-8")
    return path


def _decimal(time: np.ndarray, digits: int) -> pl.Series:
    """Nanoseconds as decimal text with so many digits behind the point."""
    unit = 10**digits
    series = pl.Series(time)
    return (
        (series // unit).cast(pl.String) + "." + (series % unit).cast(pl.String).str.zfill(digits)
    )


def quotes_of(*rows: tuple[float, int, int, int, int]) -> Quotes:
    """States by hand: seconds after the open, bid, bid size, ask, ask size."""
    table = np.array(rows, dtype=object).reshape(-1, 5)
    time = np.array([OPEN + round(row[0] * NANOSECONDS) for row in table], dtype=np.int64)
    return Quotes(time, *(table[:, column].astype(np.int64) for column in range(1, 5)))


def trades_of(*rows: tuple[float, int, int, bool]) -> Trades:
    """Prints by hand: seconds after the open, price, size, lit."""
    table = np.array(rows, dtype=object).reshape(-1, 4)
    time = np.array([OPEN + round(row[0] * NANOSECONDS) for row in table], dtype=np.int64)
    return Trades(
        time, table[:, 1].astype(np.int64), table[:, 2].astype(np.int64), table[:, 3].astype(bool)
    )
