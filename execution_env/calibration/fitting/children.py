"""Rows of a fill log, added up to what every algo posted and filled in every bucket.

The clock assigns rows to windows and buckets, from the open on. Rows of a window and side are taken
for one parent order. In a bucket

- rows with one order number are one child order: posted is the largest, fills are added;
- the child orders of an algo are added up;
- volumes of rows whose times do not overlap are added, the longest first, and scaled to the bucket where
  they cover most of it;
- the mid runs from the first ``mid`` to the last ``mid_end``, where these are nearly a bucket apart.

A child order that worked a part of its bucket, and was not filled, shows the depth of that part only.
Such cases are counted, and left out where the part is small; where they are many the log is refused,
because buckets as long as these would be made up.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from execution_env.calibration.fitting.estimate import Floats, Ints
from execution_env.calibration.readers.cleaning import note
from execution_env.calibration.readers.fill_log import FillLog
from execution_env.calibration.readers.tape import DAY, NANOSECONDS, OPEN, DataError

WHOLE = 0.95
"""Share of a bucket that counts as all of it."""

PART = 0.5
"""Least share of a bucket from which the rest of it is told."""

CERTAIN = 0.95
"""Share of a log's rows that must agree on how long a row lasts, where no column says so."""

SAME_MID = 1e-6
"""Relative difference of two mids that are one."""


class Children(NamedTuple):
    """Shares posted and filled, by cell (window and side, bucket, algo), and the market.

    Attributes:
        window, order, bucket, algo: (c,) numbers of each cell's window, parent order and so on.
        side: (c,) ``tape.BUY`` or ``tape.SELL``.
        posted, filled: (c,) shares.
        price: (c,) basis points above the mid of what was filled; NaN where unknown.
        volume: (W, B) shares that the market traded; NaN where unknown.
        mid, mid_end: (W, B) dollars at the start and the end of a bucket; NaN where unknown.
        start: (W, B) seconds since midnight at which each bucket starts.
        assumed: lines on what was taken for granted.
        counts: number of cases left out or mended, by reason.
    """

    window: Ints
    order: Ints
    bucket: Ints
    algo: Ints
    side: Ints
    posted: Floats
    filled: Floats
    price: Floats
    volume: Floats
    mid: Floats
    mid_end: Floats
    start: Floats
    assumed: list[str]
    counts: dict[str, int]


def add_up(log: FillLog, price: Floats, algo: Ints, bucket: int, window: int) -> Children:
    """Return the rows of ``log`` added up.

    Args:
        log: m rows.
        price: (m,) basis points above the mid; NaN where unknown.
        algo: (m,) number of each row's algo.
        bucket, window: nanoseconds.

    Raises:
        DataError: how long rows lasted is unknown where it matters, or most rows are much shorter or
            longer than a bucket.
    """
    clock = log.time.astype(np.int64)
    since = clock % DAY - OPEN
    numbers = np.stack([clock // DAY, since // window], axis=1)
    which, number = np.unique(numbers, axis=0, return_inverse=True)
    rows = pl.DataFrame(
        {
            "row": np.arange(clock.size),
            "window": number.reshape(-1),
            "bucket": since % window // bucket,
            "order": np.unique(2 * number.reshape(-1) + log.side, return_inverse=True)[1],
            "algo": algo,
            "side": log.side.astype(np.int64),
            "child": np.arange(clock.size) if log.order is None else log.order,
            "start": clock,
            "end": np.zeros(clock.size, np.int64),
            "posted": log.posted,
            "filled": log.filled,
            "price": price,
        }
    )
    ends, assumed = _ends(log, rows, bucket)
    lasting = _length(ends - clock, bucket)
    rows = rows.with_columns(end=pl.Series(ends), lasts=pl.Series(lasting))
    cells, counts = _cells(rows, bucket)
    shape = (len(which), window // bucket)
    volume = _volume(log, rows, shape, bucket, counts)
    mid, mid_end = _mids(log, rows, shape, bucket, counts)
    first = OPEN + which[:, 1:] * window + np.arange(shape[1]) * bucket
    columns: dict[str, Any] = {
        name: cells[name].to_numpy() for name in Children._fields if name in cells.columns
    }
    return Children(
        **columns,
        volume=volume,
        mid=mid,
        mid_end=mid_end,
        start=first / NANOSECONDS,
        assumed=assumed,
        counts=counts,
    )


def _ends(log: FillLog, rows: pl.DataFrame, bucket: int) -> tuple[Ints, list[str]]:
    """Return when every row was over, nanoseconds, and what was assumed for it."""
    start = rows["start"].to_numpy()
    whole = start - (start % DAY - OPEN) % bucket + bucket
    if log.end is not None:
        ends = log.end.astype(np.int64)
        unknown = np.isnat(log.end)
        lines = ["rows without an end worked to the end of their bucket"] if unknown.any() else []
        return np.where(unknown, whole, ends), lines
    every = _regular(log, start)
    if every is not None:
        return start + every, [
            f"no column end: rows lasted {every / NANOSECONDS:g} s each, because they follow each other "
            "so, and the mid at a row's end is the next row's"
        ]
    cells = rows.select("order", "bucket", "algo", "child").unique()
    several = cells.height - cells.select("order", "bucket", "algo").unique().height
    if several:
        raise DataError(
            f"{several:,} child orders are not the first of their algo in a bucket of "
            f"{bucket / NANOSECONDS:g} s, and no column says how long they worked, so what the market "
            "traded meanwhile cannot be told. Add a column end or seconds (another name: --columns "
            "end=NAME), or order_id where several rows are one order, or choose --bucket as long as "
            "a child order worked."
        )
    return whole, ["no column end: every child order worked its whole bucket"]


def _regular(log: FillLog, start: Ints) -> int | None:
    """Return the nanoseconds from row to row, if each evidently lasted until the next; else None."""
    if log.mid is None or log.mid_end is None:
        return None
    times, at = np.unique(start, return_inverse=True)
    gaps = np.diff(times)
    same_day = times[1:] // DAY == times[:-1] // DAY
    if not same_day.any():
        return None
    lengths, counts = np.unique(gaps[same_day], return_counts=True)
    every = int(lengths[np.argmax(counts)])
    mid = (
        pl.DataFrame({"at": at, "mid": log.mid})
        .group_by("at")
        .agg(pl.col("mid").drop_nans().median())
    )
    mids = np.full(times.size, np.nan)
    mids[mid["at"].to_numpy()] = mid["mid"].to_numpy()
    following = np.where(same_day & (gaps == every), mids[1:], np.nan)
    expected = np.append(following, np.nan)[at]
    comparable = ~np.isnan(log.mid_end) & ~np.isnan(expected)
    with np.errstate(invalid="ignore"):
        agrees = np.abs(log.mid_end / expected - 1.0) < SAME_MID
    moved = comparable & (np.abs(log.mid_end / log.mid - 1.0) >= SAME_MID)
    regular = counts.max() >= CERTAIN * counts.sum()
    if regular and moved.sum() > 1 and agrees[moved].mean() >= CERTAIN:
        return every
    return None


def _length(lasted: Ints, bucket: int) -> Floats:
    """Return how long rows lasted, in buckets.

    Raises:
        DataError: most lasted much longer than a bucket.
    """
    lasting: Floats = lasted / bucket
    if (lasting > 1 + PART).mean() > PART:
        raise DataError(
            f"most rows lasted longer than a bucket of {bucket / NANOSECONDS:g} s, "
            f"{np.median(lasted) / NANOSECONDS:,.0f} s in the middle. Choose --bucket (and --orders-of, "
            "a whole number of buckets) as long as child orders worked."
        )
    return lasting


def _cells(rows: pl.DataFrame, bucket: int) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return what was posted and filled in every cell, and counts."""
    paid = pl.when(pl.col("filled") > 0).then(pl.col("filled")).otherwise(0.0)
    known = pl.when(pl.col("price").is_nan()).then(0.0).otherwise(paid)
    cost = pl.when(pl.col("price").is_nan()).then(0.0).otherwise(paid * pl.col("price"))
    children = (
        rows.sort("start", "row")
        .with_columns(known=known, cost=cost)
        .group_by("child", maintain_order=True)
        .agg(
            pl.col("window", "order", "bucket", "algo", "side").first(),
            pl.col("posted").max(),
            pl.col("filled", "known", "cost").sum(),
            lasts=(pl.col("end").max() - pl.col("start").min()) / bucket,
        )
    )
    key = ["order", "bucket", "algo"]
    cells = children.group_by(key, maintain_order=True).agg(
        pl.col("window", "side").first(),
        pl.col("posted", "filled", "known", "cost", "lasts").sum(),
        children=pl.len(),
    )
    cells = cells.with_columns(
        price=pl.when(pl.col("known") > 0).then(pl.col("cost") / pl.col("known")).otherwise(np.nan)
    )
    counts: dict[str, int] = {}
    note(counts, "rows of an order with several, made one", rows.height - children.height)
    note(counts, "child orders after an algo's first in a bucket, added to it",
         children.height - cells.height)  # fmt: skip
    note(counts, "rows that lasted beyond their bucket", int((rows["lasts"] > 1 + PART).sum()))
    unfilled = cells["filled"] < cells["posted"]
    short = (unfilled & (cells["lasts"] < PART)).to_numpy()
    part = (unfilled & (cells["lasts"] < WHOLE)).to_numpy() & ~short
    if short.any() and short.sum() > PART * float(unfilled.sum()):
        middle = float(np.median(cells["lasts"].to_numpy()[unfilled.to_numpy()]))
        raise DataError(
            f"child orders that were not filled worked {middle:.0%} of a bucket of "
            f"{bucket / NANOSECONDS:g} s in the middle, so what a whole one would have filled cannot be "
            "told. Choose --bucket (and --orders-of) as long as they worked, about "
            f"{middle * bucket / NANOSECONDS:,.0f} s."
        )
    note(
        counts, "buckets of an algo worked in less than half and not filled, left out", short.sum()
    )
    note(
        counts,
        "buckets of an algo worked in a part and not filled: depth is that part's",
        part.sum(),
    )
    return cells.filter(~pl.Series(short)), counts


def _volume(
    log: FillLog, rows: pl.DataFrame, shape: tuple[int, int], bucket: int, counts: dict[str, int]
) -> Floats:
    """Return the (W, B) volume of every bucket; NaN where rows cover less than half of it.

    Raises:
        DataError: that is so in most buckets.
    """
    found = np.full(shape, np.nan)
    if log.volume is None:
        return found
    times = (
        rows.select("window", "bucket", "start", "end")
        .with_columns(volume=pl.Series(log.volume))
        .filter(pl.col("volume").is_not_nan() & (pl.col("end") > pl.col("start")))
        .group_by("window", "bucket", "start", "end")
        .agg(pl.col("volume").mean())
        .with_columns(length=pl.col("end") - pl.col("start"))
        .sort("window", "bucket", "length", "start", descending=[False, False, True, False])
    )
    little = scaled = 0
    for (window, place), group in times.group_by("window", "bucket", maintain_order=True):
        volume, covered = _disjoint(
            group["start"].to_list(), group["end"].to_list(), group["volume"].to_list()
        )
        share = covered / bucket
        little += share < PART
        scaled += PART <= share < WHOLE
        if share >= PART:
            found[int(str(window)), int(str(place))] = volume / share
    seen = little + int((~np.isnan(found)).sum())
    if little > PART * seen:
        raise DataError(
            f"the rows cover less than half of {little:,} of {seen:,} buckets of "
            f"{bucket / NANOSECONDS:g} s, so the market's volume in the rest is unknown. Choose "
            "--bucket (and --orders-of) as long as child orders worked, or give the market's shares per "
            "bucket, --volume SHARES."
        )
    note(counts, "buckets that rows cover less than half of, their volume left out", little)
    note(counts, "buckets that rows cover a part of, their volume scaled up", scaled)
    return found


def _disjoint(start: list[int], end: list[int], volume: list[float]) -> tuple[float, int]:
    """Return the volume and the length of times that do not overlap, the first ones preferred."""
    starts: list[int] = []
    ends: list[int] = []
    total, covered = 0.0, 0
    for begin, over, shares in zip(start, end, volume, strict=True):
        at = bisect_left(starts, over)  # those before begin before it is over
        if at and ends[at - 1] > begin:
            continue
        starts.insert(at, begin)
        ends.insert(at, over)
        total, covered = total + shares, covered + over - begin
    return total, covered


def _mids(
    log: FillLog, rows: pl.DataFrame, shape: tuple[int, int], bucket: int, counts: dict[str, int]
) -> tuple[Floats, Floats]:
    """Return the (W, B) mids at the start and the end of every bucket."""
    mid, mid_end = np.full((2, *shape), np.nan)
    if log.mid is None:
        return mid, mid_end
    ending = np.full(log.mid.size, np.nan) if log.mid_end is None else log.mid_end
    seen = rows.select("window", "bucket", "start", "end").with_columns(
        mid=pl.Series(log.mid), mid_end=pl.Series(ending)
    )
    key = ["window", "bucket"]
    first = (
        seen.filter(pl.col("mid").is_not_nan())
        .sort("start", maintain_order=True)
        .group_by(key)
        .agg(pl.col("mid", "start").first())
    )
    mid[first["window"].to_numpy(), first["bucket"].to_numpy()] = first["mid"].to_numpy()
    last = (
        seen.filter(pl.col("mid_end").is_not_nan())
        .sort("end", maintain_order=True)
        .group_by(key)
        .agg(pl.col("mid_end", "end").last())
    )
    both = first.join(last, on=key)
    whole = (both["end"] - both["start"] >= WHOLE * bucket).to_numpy()
    both_mids = both.filter(pl.Series(whole))
    at = both_mids["window"].to_numpy(), both_mids["bucket"].to_numpy()
    mid_end[at] = both_mids["mid_end"].to_numpy()
    note(counts, "buckets whose mids are less than a bucket apart, no move told", (~whole).sum())
    return mid, mid_end
