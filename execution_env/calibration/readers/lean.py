"""Reader of LEAN's tick files of US equities: national best bid and offer, consolidated prints.

A day of a symbol is two zips of one csv each, without header (QuantConnect LEAN, folder
``Data/equity/usa/tick/<symbol>``; the vendor of the samples is AlgoSeek). Times are milliseconds
since midnight in New York, prices 1/10,000 dollar, sizes shares:

    YYYYMMDD_trade.zip   time, price, size, exchange letter, sale condition, suspicious
    YYYYMMDD_quote.zip   time, bid, bid size, ask, ask size, exchange letter, condition, suspicious

A quote row carries a bid or an ask, and the other pair is 0. The pair of rows with one time stamp
makes one state. Conditions are hexadecimal flags; their bits are those of LEAN's
``TradeConditionFlags`` and ``QuoteConditionFlags`` (Common/Data/Auxiliary).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.calibration.readers.cleaning import (
    GAP,
    HALF_DAY,
    Bools,
    clean_quotes,
    clean_trades,
    halts_of,
    in_time_order,
    note,
    price_step,
    session_close,
)
from execution_env.calibration.readers.tables import Source, Table, read_source, read_table
from execution_env.calibration.readers.tape import (
    CLOSE,
    DAY,
    OPEN,
    DataError,
    Ints,
    Quotes,
    Tape,
    Trades,
)
from execution_env.core.validation import shown, suggestion

TRADE_COLUMNS: dict[str, type] = {
    "time": str, "price": int, "size": int, "exchange": str, "condition": str, "suspicious": int
}  # fmt: skip
QUOTE_COLUMNS: dict[str, type] = {
    "time": str, "bid": int, "bid size": int, "ask": int, "ask size": int,
    "exchange": str, "condition": str, "suspicious": int,
}  # fmt: skip

REGULAR = 1 << 0 | 1 << 4 | 1 << 5 | 1 << 28 | 1 << 29 | 1 << 31
"""Bits that a regular print may carry.

They are regular, yellow flag, intermarket sweep, automatic execution, exempt from the trade-through
rule, and odd lot.

A print with any other bit is left out. On the six stock-days of the samples (bac and ibm, 7 to 9
October 2013) these occur in the session: opening (bit 6; one print at the listing exchange, up to
1.2 million shares) and official open (26), cross (21), derivatively priced (9), average price (20;
off-exchange, up to 1.6 million shares), stock-option (18), late or out of sequence (11, 14),
settled otherwise (1, 2), prior reference price (25), extended hours (13). After the close: closing
(7; up to 2.6 million shares) and official close (24). All have a price or a time that is not the
market's of that moment, so no order resting in the book could have met them.
"""

CLOSING = 1 << 7 | 1 << 24
"""Bits of a closing print and of an official close."""

FIRM = 1 << 0 | 1 << 3 | 1 << 11 | 1 << 18 | 1 << 19 | 1 << 21
"""Bits that an executable quote may carry.

They are regular, closing, opening, with price bands, and fast trading. The other bits mark halts,
indications and quotes that are slow or not firm. The samples have only the first three.
"""

OFF_EXCHANGE = "D"
"""Exchange letter of FINRA's trade reporting facilities: dark pools and internalised orders."""

_ZIP_NAME = re.compile(r"([0-9]{8})_(trade|quote)\.zip")
_MEMBER = re.compile(
    r"(?P<date>[0-9]{8})_(?P<symbol>.+)_(?P<kind>trade|quote)_tick\.csv", re.IGNORECASE
)


def dates_available(directory: str | Path, symbol: str) -> list[str]:
    """Return the dates, as "20131007", in order, that have a trade or a quote file.

    A date with only one of the two is included; reading it says which one is missing.

    Raises:
        DataError: there is no such folder, or no such file in it.
    """
    return _dates(_folder(Path(directory), symbol))


def read_lean(
    directory: str | Path,
    symbol: str,
    date: str,
    progress: Callable[[str], object] | None = None,
) -> Tape:
    """Return the session of ``symbol`` on ``date``; its ``repairs`` count what was left out.

    Args:
        directory: the symbol's folder, the one above it, or LEAN's ``Data``.
        symbol: such as "bac"; upper or lower case.
        date: such as "20131007" or "2013-10-07".
        progress: called with the name of every phase.

    Raises:
        DataError: a file is missing or damaged, a row is invalid, or there are no quotes in the
            session.
    """
    tell = progress or (lambda phase: None)
    folder = _folder(Path(directory), symbol)
    date = _date(folder, date)
    symbol = symbol.lower()
    repairs: dict[str, int] = {}

    tell(f"{symbol} {date}: reading trades")
    prints = read_table(_source(folder, symbol, date, "trade"), TRADE_COLUMNS)
    trades, condition = _trades(prints, repairs)
    tell(f"{symbol} {date}: reading quotes")
    rows = read_table(_source(folder, symbol, date, "quote"), QUOTE_COLUMNS)
    states, last, firm = _states(rows, repairs)

    tell(f"{symbol} {date}: cleaning")
    closing = trades.time[condition & CLOSING != 0]
    half_day = bool(((closing >= HALF_DAY) & (closing < HALF_DAY + 3 * GAP)).any())
    close = session_close(OPEN, CLOSE, last, half_day, repairs)
    quotes, open_, _ = clean_quotes(rows.place, states, OPEN, close, repairs)
    halts = halts_of(~firm.of, firm.time, quotes, open_, close)
    note(repairs, "trading halts, or times without firm quotes", len(halts))
    regular = condition & ~REGULAR == 0
    session = (trades.time >= open_) & (trades.time < close)
    note(
        repairs, "opening, closing and other irregular prints left out", (session & ~regular).sum()
    )
    trades = _take_trades(trades, regular | ~session)  # clean_trades counts those outside
    trades = clean_trades(trades, quotes, open_, close, repairs)
    return Tape(
        symbol=symbol,
        date=date,
        open=open_,
        close=close,
        quotes=quotes,
        trades=trades,
        messages=None,
        book=None,
        tick=price_step(quotes),
        halts=halts,
        repairs=repairs,
    )


def _trades(table: Table, repairs: dict[str, int]) -> tuple[Trades, Ints]:
    """Return prints in time order without suspicious ones, and their sale conditions."""
    time = _time(table)
    for name in ("price", "size"):
        table.refuse(name, table.ints(name) < 0, "must not be negative.")
    lit = ~table.equal("exchange", OFF_EXCHANGE)
    trades = Trades(time, table.ints("price"), table.ints("size"), lit)
    condition, good = table.flags("condition"), _unsuspicious(table)
    note(repairs, "suspicious prints left out", (~good).sum())
    trades, condition = _take_trades(trades, good), condition[good]
    order = in_time_order(trades.time, "prints", repairs)
    return (trades, condition) if order is None else (_take_trades(trades, order), condition[order])


def _take_trades(trades: Trades, which: NDArray[np.bool_ | np.intp]) -> Trades:
    return Trades(trades.time[which], trades.price[which], trades.size[which], trades.lit[which])


class _Firm(NamedTuple):
    """Times of quote rows, not decreasing, and whether each could be executed."""

    time: Ints
    of: Bools


def _states(table: Table, repairs: dict[str, int]) -> tuple[Quotes, int, _Firm]:
    """Return the best bid and offer after each time stamp's last row, and the time of the last row.

    A side that no row has carried yet is 0. The third part tells halts.
    """
    time = _time(table)
    columns = ("bid", "bid size", "ask", "ask size")
    for name in columns:
        table.refuse(name, table.ints(name) < 0, "must not be negative.")
    good, firm = _unsuspicious(table), table.flags("condition") & ~FIRM == 0
    note(repairs, "suspicious quote rows left out", (~good).sum())
    note(repairs, "quote rows of halts and not firm left out", (good & ~firm).sum())
    bid, bid_size, ask, ask_size = (table.ints(name) for name in columns)
    neither = (bid == 0) & (ask == 0)
    note(repairs, "quote rows without bid and ask left out", (good & firm & neither).sum())
    known = np.flatnonzero(good)
    known = known[np.argsort(time[known], kind="stable")]
    firmness = _Firm(time[known], firm[known])
    chosen = np.flatnonzero(good & firm & ~neither)
    order = in_time_order(time[chosen], "quote rows", repairs)
    if order is not None:
        chosen = chosen[order]
    time, bid, bid_size, ask, ask_size = (
        column[chosen] for column in (time, bid, bid_size, ask, ask_size)
    )
    ends = np.flatnonzero(np.diff(time, append=-1) != 0)
    bid, bid_size = _held(bid, bid_size, ends)
    ask, ask_size = _held(ask, ask_size, ends)
    last = int(time[-1]) if time.size else -1
    return Quotes(time[ends], bid, bid_size, ask, ask_size), last, firmness


def _held(price: Ints, size: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Return one side's price and size after the rows ``ends``; 0 before any row carried it."""
    carries = np.where(price > 0, np.arange(price.size), -1)
    at = np.maximum.accumulate(carries)[ends] if price.size else ends
    return np.where(at >= 0, price[at], 0), np.where(at >= 0, size[at], 0)


def _time(table: Table) -> Ints:
    time = table.decimals("time", 6, "milliseconds since midnight")
    table.refuse("time", time >= DAY, "must be milliseconds since midnight, below 86,400,000.")
    return time


def _unsuspicious(table: Table) -> Bools:
    suspicious = table.ints("suspicious")
    table.refuse("suspicious", (suspicious != 0) & (suspicious != 1), "must be 0 or 1.")
    good: Bools = suspicious == 0
    return good


def _source(folder: Path, symbol: str, date: str, kind: str) -> Source:
    path = folder / f"{date}_{kind}.zip"
    if not path.is_file():
        other = "quote" if kind == "trade" else "trade"
        raise DataError(
            f"{path}: there is no such file, only that of {other}s. Both are needed: put it there, or "
            "leave this day out."
        )
    source = read_source(path)
    name = _MEMBER.fullmatch(source.name)
    for key, right in (("symbol", symbol), ("date", date), ("kind", kind)):
        if name and name[key].lower() != right:
            raise DataError(
                f"{source.place}: holds {key} {shown(name[key])}, must hold {shown(right)}. "
                "Put every file where its name says."
            )
    return source


def _folder(directory: Path, symbol: str) -> Path:
    if not re.fullmatch(r"[\w.\- ]+", symbol) or not symbol.strip("."):
        raise DataError(f'symbol = {shown(symbol)}: must be a ticker, such as "bac".')
    if not directory.is_dir():
        raise DataError(f"{directory}: there is no such folder.")
    above = [directory / "equity" / "usa" / "tick", directory]
    for name in dict.fromkeys((symbol.lower(), symbol, symbol.upper())):
        for folder in above:
            if (folder / name).is_dir():
                return folder / name
    if _files(directory):
        return directory
    known = sorted(
        {f.name for a in above if a.is_dir() for f in a.iterdir() if f.is_dir() and _files(f)}
    )
    have = f" Folders with such files: {', '.join(known)}." if known else ""
    raise DataError(
        f"{directory}: no folder {shown(symbol.lower())} and no YYYYMMDD_trade.zip or "
        f"YYYYMMDD_quote.zip in it.{suggestion(symbol.lower(), known)}{have}"
    )


def _files(folder: Path) -> list[str]:
    return sorted(
        {match[1] for file in folder.iterdir() if (match := _ZIP_NAME.fullmatch(file.name))}
    )


def _dates(folder: Path) -> list[str]:
    dates = _files(folder)
    if not dates:
        raise DataError(f"{folder}: no YYYYMMDD_trade.zip or YYYYMMDD_quote.zip in it.")
    return dates


def _date(folder: Path, date: str) -> str:
    """Return ``date`` as "20131007"; it must be one of those with files."""
    plain = date.replace("-", "") if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", date) else date
    try:
        if not re.fullmatch(r"[0-9]{8}", plain):
            raise ValueError
        datetime.strptime(plain, "%Y%m%d")
    except ValueError:
        raise DataError(f'date = {shown(date)}: must be a date, such as "20131007".') from None
    dates = _dates(folder)
    if plain not in dates:
        listed = ", ".join(dates if len(dates) <= 20 else [*dates[:10], "...", *dates[-10:]])
        raise DataError(f"{folder}: no files of {plain}. Dates there are: {listed}.")
    return plain
