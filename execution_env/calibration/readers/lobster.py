"""Reader of LOBSTER's files: every message of NASDAQ's order book of a stock, and the book after.

A stock-day is two csv files without header and of equal length (lobsterdata.com, Output structure;
Huang and Polak 2011, LOBSTER: limit order book reconstruction system). Prices are 1/10,000 dollar:

    AAPL_2012-06-21_34200000_57600000_message_10.csv     time, type, order, size, price, direction
    AAPL_2012-06-21_34200000_57600000_orderbook_10.csv   ask 1, ask size 1, bid 1, bid size 1, ...

Time is seconds since midnight with up to 9 decimals. Types are 1 new order, 2 partial cancellation,
3 deletion, 4 execution of a visible order, 5 of a hidden one, 6 cross trade, 7 halt (its price is
-1 when trading halts, 0 when quoting and 1 when trading resumes). Direction is that of the resting
order: 1 buy, -1 sell, so a buyer who takes executes a -1. A level that does not exist has price
9999999999 (ask) or -9999999999 (bid) and size 0. The names give symbol, date, and the session in
milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from execution_env.calibration.readers.cleaning import (
    LARGE_SIZE,
    Bools,
    absurd_sizes,
    clean_quotes,
    clean_trades,
    halts_of,
    in_time_order,
    note,
    price_step,
    session_close,
)
from execution_env.calibration.readers.tables import (
    AGAIN,
    Source,
    Table,
    read_source,
    read_table,
    width,
)
from execution_env.calibration.readers.tape import (
    CLOSE,
    DAY,
    NANOSECONDS,
    OPEN,
    Book,
    DataError,
    Ints,
    Messages,
    Quotes,
    Tape,
    Trades,
)
from execution_env.core.validation import shown

MESSAGE_COLUMNS: dict[str, type] = {
    "time": str, "type": int, "order": int, "size": int, "price": int, "direction": int
}  # fmt: skip
DUMMY = 9_999_999_999
"""Price of an ask level that does not exist; a bid level has the negative of it."""

EXECUTED, HIDDEN, CROSS, HALT = 4, 5, 6, 7

_CSV_NAME = re.compile(
    r"(?P<symbol>[^_]+)_(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})_(?P<start>[0-9]+)_(?P<end>[0-9]+)_"
    r"(?P<kind>message|orderbook)_(?P<levels>[0-9]+)\.\w+(\.zip)?"
)


def read_lobster(
    message_file: str | Path,
    orderbook_file: str | Path,
    symbol: str | None = None,
    date: str | None = None,
    progress: Callable[[str], object] | None = None,
) -> Tape:
    """Return the session in two files of LOBSTER; its ``repairs`` count what was left out.

    The tape has messages and book order by order. Quotes are level 1 after every message that
    changed it; none holds from a halt until the first after trading resumed. Trades are executions;
    those of hidden orders are not lit.

    Args:
        message_file, orderbook_file: csv, or zips of them. One zip with both may be given twice.
        symbol, date: such as "aapl" and "20120621"; None takes them from the file names.
        progress: called with the name of every phase.

    Raises:
        DataError: a file is missing or damaged, the two do not belong together, a row is invalid,
            neither name nor argument gives symbol and date, or there are no quotes in the session.
    """
    tell = progress or (lambda phase: None)
    tell("reading messages")
    message_source = read_source(Path(message_file), "message")
    book_source = read_source(Path(orderbook_file), "orderbook")
    symbol, date, open_, close = _day(message_source, book_source, symbol, date)
    table = read_table(message_source, MESSAGE_COLUMNS)
    time = _checked_time(table)
    tell(f"{symbol} {date}: reading the book")
    levels, book_table = _levels(book_source)
    del book_source  # ten levels of a busy day are some hundred MB, as text and as numbers
    if len(table) != len(book_table):
        raise DataError(
            f"{book_table.place}: {len(book_table):,} rows, must be {len(table):,}, as many as "
            f"{table.place} has. Take both files from the same order at LOBSTER."
        )
    tell(f"{symbol} {date}: cleaning")
    book = _book(book_table, levels)
    del book_table
    return _tape(symbol, date, open_, close, table, time, book)


def _tape(
    symbol: str, date: str, open_: int, close: int, table: Table, time: Ints, book: Book
) -> Tape:
    repairs: dict[str, int] = {}
    kind, order_id, size, price, side = (table.ints(name) for name in list(MESSAGE_COLUMNS)[1:])
    order = in_time_order(time, "messages", repairs)
    if order is not None:  # a book row goes with its message
        time, kind, order_id, size, price, side = (
            column[order] for column in (time, kind, order_id, size, price, side)
        )
        book = Book(*(level[order] for level in book))

    halted = _halted(kind, price)
    note(repairs, "trading halts", ((kind == HALT) & (price == -1)).sum())
    close = session_close(open_, close, int(time[-1]), False, repairs)
    inside = (time >= open_) & (time < close)
    note(repairs, "quotes during trading halts left out", (inside & halted).sum())
    states = Quotes(time, *(level[:, 0] for level in book))
    told = ~halted & (kind != HALT)  # a row of a halt repeats the book before it
    quotes, open_, first = clean_quotes(
        table.place, Quotes(*(column[told] for column in states)), open_, close, repairs
    )
    halts = halts_of(halted, time, quotes, open_, close)
    time = np.where((time >= open_) & (time <= first), open_, time)  # the book at the open
    inside &= time >= open_
    note(repairs, "cross trades left out", (inside & (kind == CROSS)).sum())
    executed = (kind == EXECUTED) | (kind == HIDDEN)
    trades = Trades(time[executed], price[executed], size[executed], kind[executed] == EXECUTED)
    trades = clean_trades(trades, quotes, open_, close, repairs)

    note(
        repairs,
        "messages outside the session left out",
        (~((time >= open_) & (time < close))).sum(),
    )
    kept = np.flatnonzero(inside & (kind < CROSS))
    messages = Messages(
        time=time[kept],
        kind=kind[kept].astype(np.int8),
        order=order_id[kept],
        size=size[kept],
        price=price[kept],
        side=side[kept].astype(np.int8),
    )
    if kept.size < time.size:
        book = Book(*(level[kept] for level in book))
    changed = _changed(quotes)
    return Tape(
        symbol=symbol,
        date=date,
        open=open_,
        close=close,
        quotes=changed,
        trades=trades,
        messages=messages,
        book=book,
        tick=price_step(quotes),
        halts=halts,
        repairs=repairs,
    )


def _checked_time(table: Table) -> Ints:
    """Return the time of every message, nanoseconds since midnight; raise for invalid messages."""
    time = table.decimals("time", 9, "seconds since midnight")
    table.refuse("time", time >= DAY, "must be seconds since midnight, below 86,400.")
    kind, size = table.ints("type"), table.ints("size")
    price, side = table.ints("price"), table.ints("direction")
    table.refuse("type", (kind < 1) | (kind > HALT), "must be one of 1 to 7.")
    of_order = kind < CROSS
    table.refuse("size", of_order & (size <= 0), "must be a number of shares above 0.")
    table.refuse(
        "size",
        absurd_sizes(size, of_order),
        f"must not be above {LARGE_SIZE:,.0f} times what nearly all messages have. {AGAIN}",
    )
    table.refuse("price", of_order & (price <= 0), "must be above 0, in 1/10,000 dollar.")
    table.refuse("direction", of_order & (np.abs(side) != 1), "must be 1 (buy) or -1 (sell).")
    halt = (kind == HALT) & (np.abs(price) > 1)
    table.refuse("price", halt, "must be -1, 0 or 1 for a halt (type 7).")
    return time


def _halted(kind: Ints, price: Ints) -> Bools:
    """Return for every message whether trading is halted after it; quotes are then not usable."""
    switch = np.where((kind == HALT) & (price != 0), np.arange(kind.size), -1)
    at = np.maximum.accumulate(switch)
    halted: Bools = (at >= 0) & (price[at] == -1)
    return halted


def _changed(quotes: Quotes) -> Quotes:
    """Return only states that differ from the one before."""
    differs = np.ones(quotes.time.size, dtype=bool)
    differs[1:] = False
    for column in quotes[1:]:
        differs[1:] |= column[1:] != column[:-1]
    return Quotes(*(column[differs] for column in quotes))


def _levels(source: Source) -> tuple[int, Table]:
    columns = width(source)
    name = _CSV_NAME.fullmatch(source.name)
    if columns % 4 or (name and int(name["levels"]) * 4 != columns):
        right = f"{int(name['levels']) * 4} as its name says" if name else "4 for every level"
        raise DataError(
            f"{source.place}, row 1: {columns} columns, must be {right}: ask, ask size, bid, bid size."
        )
    levels = columns // 4
    names = [f"{side} {level}" for level in range(1, levels + 1) for side in _SIDES]
    return levels, read_table(source, dict.fromkeys(names, int))


_SIDES = ("ask", "ask size", "bid", "bid size")


def _book(table: Table, levels: int) -> Book:
    sides: dict[str, NDArray[np.int64]] = {}
    for side, dummy in (("ask", DUMMY), ("bid", -DUMMY)):
        price = table.matrix([f"{side} {level}" for level in range(1, levels + 1)])
        size = table.matrix([f"{side} size {level}" for level in range(1, levels + 1)])
        for level in range(levels):
            absent = (price[:, level] == dummy) & (size[:, level] == 0)
            table.refuse(
                f"{side} {level + 1}",
                ~absent & ((price[:, level] <= 0) | (price[:, level] >= DUMMY)),
                f"must be a price above 0, in 1/10,000 dollar, or {dummy} with size 0 for no level.",
            )
            table.refuse(f"{side} size {level + 1}", size[:, level] < 0, "must not be negative.")
        price[price == dummy] = 0
        sides[side] = price
        sides[f"{side} size"] = size
    return Book(sides["bid"], sides["bid size"], sides["ask"], sides["ask size"])


def _day(
    messages: Source, book: Source, symbol: str | None, date: str | None
) -> tuple[str, str, int, int]:
    """Return symbol, date, open and close, as names and arguments give them."""
    given = {"symbol": symbol and symbol.lower(), "date": date and date.replace("-", "")}
    open_, close = OPEN, CLOSE
    for source, kind in ((messages, "message"), (book, "orderbook")):
        name = _CSV_NAME.fullmatch(source.name)
        if name is None:
            continue
        found = {"symbol": name["symbol"].lower(), "date": name["date"].replace("-", "")}
        if name["kind"] != kind:
            raise DataError(
                f"{source.place}: a file of kind {shown(name['kind'])}, must be the {shown(kind)} file. "
                "Give the message file first."
            )
        for key, value in found.items():
            if given[key] is None:
                given[key] = value
            if given[key] != value:
                raise DataError(
                    f"{source.place}: {key} {shown(value)}, must be {shown(given[key])}, as given or "
                    "as the message file's name says."
                )
        open_ = max(open_, int(name["start"]) * (NANOSECONDS // 1000))
        close = min(close, int(name["end"]) * (NANOSECONDS // 1000))
    for key, value in given.items():
        if not value:
            raise DataError(
                f"{messages.place}: its name, {shown(messages.name)}, does not tell the {key}. Give "
                f"{key}=..., or keep LOBSTER's name: "
                "AAPL_2012-06-21_34200000_57600000_message_10.csv."
            )
    symbol, date = str(given["symbol"]), str(given["date"])
    try:
        if not re.fullmatch(r"[0-9]{8}", date):
            raise ValueError
        datetime.strptime(date, "%Y%m%d")
    except ValueError:
        raise DataError(f'date = {shown(date)}: must be a date, such as "20120621".') from None
    if open_ >= close:
        raise DataError(f"{messages.place}: its name gives no time of the session, 09:30 to 16:00.")
    return symbol, date, open_, close
