"""A made-up market in a fill log, with child orders of any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HEADER = "time,algo,posted,filled,price,side,volume,mid,mid_end"
HALF_SPREADS = {"Aggressive": (1.0, 1.0), "Neutral": (0.8, 0.0), "Passive": (0.6, -1.0)}
"""Chance to be filled and half-spread in basis points."""

RATE, VARIANCE = 50, 0.2
"""Shares per second that the market trades; squared basis points per second of the mid."""


def rows_of(child: int, seconds: float | None = None, days: int = 2) -> list[list[str]]:
    """Cells of two sessions of child orders that start every ``child`` seconds.

    Args:
        child: seconds from one to the next.
        seconds: how long each works; default until the next, and then no column says so.
    """
    draw, rows = np.random.default_rng(1), []
    works = child if seconds is None else seconds
    for day in range(7, 7 + days):
        mid = 100.0
        for t in range(34200, 57600, child):
            time = f"2013-10-{day:02d}T{t // 3600:02d}:{t // 60 % 60:02d}:{t % 60:02d}"
            end = mid * (1 + 1e-4 * np.sqrt(VARIANCE * works) * draw.standard_normal())
            for algo, (chance, half_spread) in HALF_SPREADS.items():
                filled = 100 if draw.random() < chance else 0
                price = mid * (1 + half_spread / 1e4)
                cells = [time, algo, "100", str(filled), f"{price:.4f}", "buy"]
                cells += [f"{RATE * works:g}", f"{mid:.4f}", f"{end:.4f}"]
                rows.append(cells + ([] if seconds is None else [f"{seconds:g}"]))
            mid = end
    return rows


def write(path: Path, rows: list[list[str]], header: str = HEADER, separator: str = ",") -> Path:
    """A csv file of ``rows``."""
    lines = [header.replace(",", separator), *(separator.join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path
