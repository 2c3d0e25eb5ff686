"""Tables: rows of cells by column, as CSV, the verdict of a row, and how its orders end."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Cell = str | int | float | None
Row = dict[str, Cell]
"""Cells by column; None where the quantity means nothing, or where one day does not give it."""

Floats = NDArray[np.float64]


def verdict(row: Row) -> int | None:
    """Return -1 if a policy is better than lp, 1 if it is worse, 0 without a clear difference.

    The verdict is None where there is no interval.
    """
    low, high = row["diff_vs_lp_ci_low"], row["diff_vs_lp_ci_high"]
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return None
    if high < 0:
        return -1
    return 1 if low > 0 else 0


FILLED, CLEANED_UP = "filled before clean-up", "cleaned up, share"
"""Headers of the two shares of an order: what the algos filled, and what was left to the end.

They are beside each other in every table, because every order is done in the end.
"""

ABOUT_CLEAN_UP = (
    "Every order is done in the end: filled before clean-up is the mean share of it that the algos "
    "filled, the rest is cleaned up at the end at the price of penalties.residual, which the objective "
    "has."
)
"""Sentence on these columns, for legends."""


def ends(left: float | None) -> tuple[str, str]:
    """Return the cells under ``FILLED`` and ``CLEANED_UP``; empty for None, such as for a bound.

    Args:
        left: mean share of the order that was left over, ``residual_fraction_mean``.
    """
    return ("", "") if left is None else (f"{1.0 - left:.2%}", f"{left:.2%}")


# Files.


def csv_text(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    """Return a table as CSV: numbers in full, None empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
