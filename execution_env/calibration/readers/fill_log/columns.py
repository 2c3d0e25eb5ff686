"""Columns of a fill log: names that desks give them, and which column of a file is which.

Names are compared without case, blanks and punctuation: ``Order Qty``, ``order_qty`` and
``OrderQty`` are one name. Two columns of a file that could be the same thing are refused, because
the wrong one of ``LastQty`` and ``CumQty`` is a wrong fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from execution_env.calibration.readers.tape import DataError
from execution_env.core.validation import shown, suggestion

ALIASES: dict[str, str] = {
    "time": "timestamp datetime transacttime ordertime starttime start senttime sendingtime "
    "posttime postedat timeposted createtime createdtime createdat entrytime submittime",
    "algo": "algorithm strategy algoname algorithmname strategyname algotype strategytype tactic",
    "posted": "orderqty orderquantity ordersize ordershares postedqty postedquantity postedshares "
    "qty quantity childqty childquantity childsize",
    "filled": "lastqty lastquantity lastshares filledqty filledquantity filledshares fillqty "
    "fillquantity fillsize execqty execquantity executedqty executedquantity executedshares",
    "cum_filled": "cumqty cumquantity cumulativeqty cumulativequantity cumfilledqty totalfilled",
    "price": "lastpx lastprice fillpx fillprice execpx execprice executionprice executedprice "
    "avgpx avgprice averageprice averagepx avgfillprice averagefillprice",
    "side": "buysell bs direction orderside",
    "volume": "marketvolume mktvolume marketvol mktvol volumemarket intervalvolume",
    "mid": "midprice midpx startmid midstart midatstart midatpost arrivalmid",
    "mid_end": "endmid midatend midpriceend finalmid",
    "end": "endtime finishtime finish completedtime donetime canceltime closetime stoptime endat",
    "seconds": "secs durationseconds durationsecs durationsec",
    "order_id": "orderid childorderid childid clordid clorderid ordid",
    "symbol": "sym ticker instrument ric securitysymbol",
    "currency": "ccy tradecurrency settlcurrency currencycode",
    "date": "tradedate orderdate",
}
"""Other names of every column, each as ``plain`` gives it."""

REQUIRED_COLUMNS = ("time", "algo", "posted", "filled", "price")
OPTIONAL_COLUMNS = tuple(name for name in ALIASES if name not in REQUIRED_COLUMNS)

NOT_THERE = "-"
"""Word for no column, in place of a column's name."""

MOST_COLUMNS = 1_000
"""Maximum number of columns of a file."""


class Columns(NamedTuple):
    """Columns of a file.

    Attributes:
        place: position of each known column in a row, by our name.
        given: name of each in the file, by our name.
        unused: names of the columns that are not read.
    """

    place: dict[str, int]
    given: dict[str, str]
    unused: list[str]


def plain(name: str) -> str:
    """Return a column's name without case, blanks and punctuation."""
    return re.sub(r"[\W_]+", "", name.casefold())


_NAMES = {plain(name): name for name in ALIASES} | {
    word: name for name, words in ALIASES.items() for word in words.split()
}


def recognised(name: str) -> str | None:
    """Return our name of a column that is called ``name`` in a file; None if it is unknown."""
    return _NAMES.get(plain(name))


def columns_of(path: Path, line: int, header: Sequence[str], chosen: Mapping[str, str]) -> Columns:
    """Return which column is which.

    Args:
        path, line: place of the header, for errors.
        header: names in the file.
        chosen: names in the file by our names, where the user says so; ``-`` for no column.

    Raises:
        DataError: a required column is missing, two columns could be the same one, or a chosen one
            does not exist. The message names the remedy.
    """
    where = f"{path}, line {line:,}"
    if len(header) > MOST_COLUMNS:
        raise DataError(f"{where}: {len(header):,} columns, must be at most {MOST_COLUMNS:,}.")
    place: dict[str, int] = {}
    for name, word in chosen.items():
        if name not in ALIASES:
            raise DataError(
                f"--columns {name}: there is no such column.{suggestion(name, ALIASES)} Known here: "
                f"{', '.join(ALIASES)}."
            )
        if word != NOT_THERE:
            place[name] = _chosen(where, name, word, header)
    taken = list(place.values())
    if len(set(taken)) < len(taken):
        raise DataError("--columns: two names are given the same column. Give each its own.")
    found: dict[str, list[int]] = {}
    for j, word in enumerate(header):
        known = recognised(word)
        if known and known not in chosen and j not in taken:
            found.setdefault(known, []).append(j)
    if "filled" in chosen or "cum_filled" in chosen:  # one settles both
        found.pop("filled", None)
        found.pop("cum_filled", None)
    _refuse_ambiguous(where, header, found)
    place |= {name: columns[0] for name, columns in found.items()}
    given = {name: header[j] for name, j in place.items()}
    _refuse_incomplete(where, header, given)
    _refuse_mixed(where, given, chosen)
    return Columns(place, given, [word for j, word in enumerate(header) if j not in place.values()])


def _chosen(where: str, name: str, word: str, header: Sequence[str]) -> int:
    exact = [j for j, cell in enumerate(header) if cell == word]
    near = exact or [j for j, cell in enumerate(header) if plain(cell) == plain(word) != ""]
    if len(near) == 1:
        return near[0]
    if near:
        raise DataError(f"{where}: --columns {name}={word}: {len(near)} columns have that name.")
    raise DataError(
        f"{where}: --columns {name}={word}: there is no such column.{suggestion(word, header)} "
        f"There are {_listed(header)}."
    )


def _refuse_ambiguous(where: str, header: Sequence[str], found: Mapping[str, list[int]]) -> None:
    for name, columns in found.items():
        words = [header[j] for j in columns]
        if name == "filled" and "cum_filled" in found:
            raise DataError(
                f"{where}: columns {shown(words[0])} and {shown(header[found['cum_filled'][0]])} could "
                f"both be what was filled. Say which: --columns filled={words[0]}, the shares filled "
                f"in a row, or --columns cum_filled={header[found['cum_filled'][0]]}, those of an "
                "order so far."
            )
        if len(words) > 1 and len(set(words)) < len(words):
            raise DataError(f"{where}: column {shown(words[0])} is there twice. Take one out.")
        if len(words) > 1:
            raise DataError(
                f"{where}: columns {', '.join(map(shown, words))} could all be {name}. Say which: "
                f"--columns {name}={words[0]}."
            )


def _refuse_incomplete(where: str, header: Sequence[str], given: Mapping[str, str]) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in given]
    if "cum_filled" in given and "filled" in missing:
        missing.remove("filled")
    if missing:
        remedy = ",".join(f"{name}=NAME" for name in missing)
        raise DataError(
            f"{where}: no column {', '.join(missing)}. The header must have "
            f"{', '.join(REQUIRED_COLUMNS)}, and may have {', '.join(OPTIONAL_COLUMNS)}. If a column "
            f"has another name: --columns {remedy}. There are {_listed(header)}."
        )
    if "end" in given and "seconds" in given:
        raise DataError(
            f"{where}: columns {shown(given['end'])} and {shown(given['seconds'])} both say when a "
            f"child order was over. Say which to ignore: --columns seconds={NOT_THERE}."
        )


def _refuse_mixed(where: str, given: Mapping[str, str], chosen: Mapping[str, str]) -> None:
    """Refuse the price of a whole order beside the shares of its last fill."""
    shares, price = given.get("filled", ""), given["price"]
    if {"filled", "price"} <= chosen.keys():
        return
    if plain(shares).startswith("last") and is_average(price):
        raise DataError(
            f"{where}: {shown(shares)} is of an order's last fill and {shown(price)} of all its fills. "
            "Choose columns that belong together, such as --columns filled=LastQty,price=LastPx; if "
            f"every row is a whole order: --columns filled={shares},price={price}."
        )


def is_average(name: str) -> bool:
    """Return True if a column of prices is, by its name, of all of an order's fills so far."""
    return plain(name).startswith(("avg", "average"))


def is_last(name: str) -> bool:
    """Return True if a column of prices is, by its name, of an order's last fill."""
    return plain(name).startswith("last")


def _listed(header: Sequence[str]) -> str:
    words = [word if word.isprintable() else shown(word) for word in header if word]
    text = ", ".join(words[:20]) + (", ..." if len(words) > 20 else "")
    return text[:500] or "none with a name"
