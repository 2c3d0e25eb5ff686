"""Plausibility of a fill log's cells against the log's own robust scale.

A price is compared with its row's mid, a mid with those posted at about the same time, a mid_end
with its row's mid; shares and volumes with the median. A cell that is far off is left out and
counted with its line. Where many are far off, the log's units are in doubt, and it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from execution_env.calibration.readers.fill_log.cells import Bools, Floats
from execution_env.calibration.readers.fill_log.faults import Faults, first_of
from execution_env.calibration.readers.tape import Ints
from execution_env.core.validation import shown

SCALES, LEAST, FACTOR = 50.0, 0.02, 5.0
"""Limits of a price: so many median distances, at least this share, and at most this factor."""

LARGE, DEVIATIONS = 1_000.0, 8.0
"""Limits of shares and volume: above the median by this factor, and by so many deviations."""

NEIGHBOURS = 5
"""Number of rows before and after whose mids a mid is compared with."""

FEW, FEW_SHARE, MOST_SHARE = 3, 0.02, 1 / 3
"""Numbers of cells that may be left out: so many, or this share, and never more than the last."""


def far_prices(price: Floats, reference: Floats) -> Bools:
    """Return which of (m,) prices are far from their references; NaN is not far."""
    known = (price > 0) & (reference > 0)
    away = np.zeros(price.size)
    away[known] = np.abs(np.log(price[known] / reference[known]))
    if not known.any():
        return known
    limit = min(max(LEAST, SCALES * float(np.median(away[known]))), math.log(FACTOR))
    return away > limit


def neighbours(price: Floats, per: Ints) -> Floats:
    """Return the (m,) median of the prices around each, in their order, within its group.

    Args:
        price: (m,) NaN where unknown.
        per: (m,) group; consecutive rows of one group, such as a time, count once.
    """
    known = np.flatnonzero(~np.isnan(price))
    found = np.full(price.size, np.nan)
    if not known.size:
        return found
    group = np.cumsum(np.concatenate([[0], np.diff(per[known]) != 0]))
    first = np.flatnonzero(np.concatenate([[True], np.diff(group) != 0]))
    # a row of its group that differs from the others must not stand for it: two of each
    last = np.concatenate([first[1:], [group.size]]) - 1
    ends = np.stack([price[known[first]], price[known[last]]], axis=1)
    if len(ends) < NEIGHBOURS:
        return found
    padded = np.pad(ends, ((NEIGHBOURS, NEIGHBOURS), (0, 0)), constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1, axis=0)
    middle = np.nanmedian(around.reshape(len(ends), -1), axis=1)
    found[known] = middle[group]
    return found


def large(value: Floats) -> Bools:
    """Return which of (m,) shares are far above the others; NaN and 0 are not."""
    known = value > 0
    if not known.any():
        return known
    level = np.zeros(value.size)
    level[known] = np.log(value[known])
    middle = float(np.median(level[known]))
    spread = 1.4826 * float(np.median(np.abs(level[known] - middle)))
    return known & (level > middle + max(math.log(LARGE), DEVIATIONS * spread))


def implausible(
    columns: Mapping[str, Floats], time: Ints, length: Floats
) -> dict[str, tuple[Bools, str]]:
    """Return, by column, which cells are implausible, and the reason.

    Args:
        columns: (m,) posted, filled and price, and where known volume, mid and mid_end.
        time: (m,) nanoseconds, not decreasing.
        length: (m,) nanoseconds that each row lasts; NaN where unknown.
    """
    price = columns["price"]
    found: dict[str, tuple[Bools, str]] = {
        "posted": (large(columns["posted"]), f"above {LARGE:,.0f} times the median"),
    }
    around = None
    mid = columns.get("mid")
    if mid is not None:
        bad = far_prices(mid, neighbours(mid, time))
        found["mid"] = bad, "far from the mids around"
        mid = np.where(bad, np.nan, mid)
    elif "mid_end" not in columns:
        around = neighbours(price, time)
    end = columns.get("mid_end")
    if end is not None:
        reference = neighbours(end, time) if mid is None else mid
        found["mid_end"] = far_prices(end, reference), "far from the mids around"
    if mid is not None or around is not None:
        reason = "far from its mid" if mid is not None else "far from the prices around"
        near = price if around is None else around
        near = near if mid is None else mid
        found["price"] = far_prices(price, near), reason
    if "volume" in columns:
        volume = columns["volume"]
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = np.where(length > 0, volume / length, np.nan)
        rate = rate if (~np.isnan(rate)).any() else volume
        found["volume"] = large(rate), f"above {LARGE:,.0f} times the median"
    return found


def refuse_many(
    columns: Mapping[str, Floats],
    found: Mapping[str, tuple[Bools, str]],
    given: Mapping[str, str],
    lines: Ints,
    faults: Faults,
) -> dict[str, int]:
    """Return a count for each column with a few implausible cells; note faults where there are many.

    Args:
        columns: (m,) cells by column.
        found: as ``implausible`` gives it.
        given: names of the columns in the file.
        lines: (m,) line of each row.
        faults: takes the cells of a column with too many.
    """
    counts: dict[str, int] = {}
    for name, (bad, reason) in found.items():
        number, known = int(bad.sum()), int((~np.isnan(columns[name])).sum())
        if not number:
            continue
        at = first_of(bad)
        if number > max(FEW, FEW_SHARE * known) or number > MOST_SHARE * known:
            remedy = "are its units those of the other columns? Mend it or take the row out."
            texts = [f"{given[name]} = {columns[name][j]:.12g}: {reason}: {remedy}" for j in at]
            order = np.argsort(lines[at], kind="stable")
            faults.add(lines[at][order], [texts[j] for j in order], number)
            continue
        where = ", ".join(f"{line:,}" for line in sorted(lines[at])[:5])
        more = ", ..." if number > 5 else ""
        what = "rows with" if name == "posted" else "cells of"
        word = shown(given[name]) if given[name] != name else name
        counts[f"{what} {word} {reason}, left out (line {where}{more})"] = number
    return counts
