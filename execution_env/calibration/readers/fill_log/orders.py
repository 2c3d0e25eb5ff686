"""Rows of a fill log that belong to one order: re-priced, or a row for every fill.

Every row of the result says what filled in it, whatever the log says: shares and prices of a row,
or of the order so far.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from execution_env.calibration.readers.fill_log.cells import Cells, Floats
from execution_env.calibration.readers.fill_log.columns import is_last
from execution_env.calibration.readers.tape import DAY, Ints

ROUNDING = 1e-9
"""Share of an order's size by which sums of fills may exceed it."""


class Rows(NamedTuple):
    """Rows of a log, (m,) each: order, time, and shares and price of what filled."""

    order: Ints
    posted: Floats
    filled: Floats
    price: Floats


def orders_of(cells: Cells, time: Ints, side: Ints) -> Ints:
    """Return the number of each row's order, (m,); an empty ``order_id`` is an order of its own.

    Numbers begin anew every day. Rows of one number that differ in algo or side are faults.
    """
    word = cells.frame["order_id"]
    m = word.len()
    frame = pl.DataFrame(
        {
            "word": word,
            "day": time // DAY,
            "alone": pl.select(pl.when(word == "").then(pl.int_range(m)).otherwise(-1)).to_series(),
            "algo": cells.frame["algo"].str.to_lowercase(),
            "side": side,
        }
    )
    keys = ["word", "day", "alone"]
    frame = frame.with_columns(
        order=pl.struct(keys).rank("dense").cast(pl.Int64) - 1,
        algo_first=pl.col("algo").first().over(keys),
        side_first=pl.col("side").first().over(keys),
    )
    for name in ("algo", "side"):
        mask = (frame[name] != frame[f"{name}_first"]).to_numpy()
        cells.wrong(
            "order_id",
            mask,
            f"is of more than one {name}: must be the number of a child order; if it is not, "
            "--columns order_id=-",
        )
    return frame["order"].to_numpy()


def rows_of(
    cells: Cells, order: Ints, time: Ints, posted: Floats, filled: Floats, price: Floats
) -> Rows:
    """Return what filled in every row.

    Args:
        cells: takes faults; tells whether ``filled`` and ``price`` are of an order so far.
        order, time: (m,) order and nanoseconds of each row.
        posted, filled, price: (m,) as in the log.
    """
    sort = np.lexsort((np.arange(order.size), time, order))
    first = np.concatenate([[True], np.diff(order[sort]) != 0])
    if "cum_filled" in cells:
        filled, price = _differences(cells, sort, first, filled, price)
    begin = np.flatnonzero(first)
    total = np.add.reduceat(filled[sort], begin)
    most = np.maximum.reduceat(posted[sort], begin)
    over = np.zeros(order.size, np.bool_)
    over[sort[begin]] = total > most * (1 + ROUNDING)
    name = "cum_filled" if "cum_filled" in cells else "filled"
    right = (
        "the fills of its order add up to more than was posted. If the column is of the order so "
        f"far: --columns cum_filled={cells.given[name]}"
    )
    single = np.concatenate([np.diff(begin), [order.size - begin[-1]]]) == 1
    over[sort[begin[single]]] = False  # noted as a row
    cells.wrong(name, over, right)
    return Rows(order, posted, filled, price)


def _differences(
    cells: Cells, sort: Ints, first: Floats, filled: Floats, price: Floats
) -> tuple[Floats, Floats]:
    """Return shares and price of each row's fills from those of its order so far."""
    so_far = filled[sort]
    before = np.where(first, 0.0, np.concatenate([[0.0], so_far[:-1]]))
    now = so_far - before
    fell = np.zeros(filled.size, np.bool_)
    fell[sort] = now < 0
    cells.wrong("cum_filled", fell, "is less than in the order's row before.")
    each, paid = np.empty_like(filled), np.empty_like(price)
    each[sort] = np.maximum(now, 0.0)
    if is_last(cells.given["price"]):
        return each, price
    money = np.where(so_far > 0, so_far * price[sort], 0.0)
    spent = money - np.where(first, 0.0, np.concatenate([[0.0], money[:-1]]))
    with np.errstate(invalid="ignore", divide="ignore"):
        # exact where a row is an order
        paid[sort] = np.where(before > 0, np.where(now > 0, spent / now, np.nan), price[sort])
    paid[~(paid > 0)] = np.nan
    return each, paid
