"""Dots with whiskers, a row for each, best on top. Far dots are arrows, to keep the view narrow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from agents.evaluation.figures.style import NARROW, QUIET, SMALL, quiet, short, signed
from execution_env.allocation.rendering import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REACH = 0.6
"""Largest distance from the view at which a value widens it, as a share of the view's width."""

LEAST_VIEW = 0.02
"""Least width of a view, as a share of its values' size, for values that are nearly alike."""

MARGIN = 0.05
"""Free space at both ends of a view, as a share of its width."""

DOTS_ROW = 0.215
"""Height of a row, in inches."""


class Dot(NamedTuple):
    """A row with a dot and a whisker.

    Attributes:
        label: text on the left.
        value: value of the dot.
        low, high: ends of the whisker; nan where there is none.
        colour: colour of dot and whisker.
        others: values of pale small dots in the same row, such as single training seeds.
        hollow: whether the dot is open, as for a bound.
    """

    label: str
    value: float
    low: float
    high: float
    colour: str
    others: Sequence[float] = ()
    hollow: bool = False


def view_of(needed: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return the range that shows all ``needed`` values, and those of ``values`` near them.

    A value is near if the range need not grow by more than ``REACH`` of its width so far. Values
    that are not finite are ignored.
    """
    right = [value for value in needed if math.isfinite(value)]
    rest = [value for value in values if math.isfinite(value)]
    right = right or rest[:1] or [0.0]
    low, high = min(right), max(right)
    least = LEAST_VIEW * max(abs(low), abs(high)) or 1e-3
    while True:
        reach = REACH * max(high - low, least)
        near = [value for value in rest if low - reach <= value <= high + reach]
        wider = min([low, *near]), max([high, *near])
        if wider == (low, high):
            break
        low, high = wider
    if high - low < least:
        middle = (low + high) / 2.0
        low, high = middle - least / 2.0, middle + least / 2.0
    margin = MARGIN * (high - low)
    return low - margin, high + margin


def ends(dots: Sequence[Dot]) -> list[float]:
    """Return all values of the rows, with the ends of whiskers."""
    return [value for dot in dots for value in (dot.value, dot.low, dot.high)]


def draw_dots(
    axes: Axes,
    dots: Sequence[Dot],
    view: tuple[float, float],
    shape: str = ".3f",
    labels: bool = True,
    texts: bool = True,
) -> None:
    """Draw rows from the top, row j at height -j.

    Args:
        axes: empty axes.
        dots: the rows.
        view: range from ``view_of``; a dot outside becomes an arrow at that edge.
        shape: format of the numbers on the right.
        labels: whether rows have their labels on the left.
        texts: whether rows have their numbers on the right.
    """
    low, high = view
    letters = max((len(format(dot.value, shape)) for dot in dots), default=0)
    for j, dot in enumerate(dots):
        if not math.isfinite(dot.value):
            continue
        for other in dot.others:
            if low <= other <= high:
                axes.plot(other, -j - 0.3, "o", color=dot.colour, alpha=0.5, markersize=2.5, mew=0)
        if low <= dot.value <= high:
            _whisker(axes, dot, -j, view)
        else:
            _arrow(axes, dot.colour, -j, dot.value > high)
        if texts:
            axes.annotate(
                signed(dot.value, shape),
                (1.0, -j),
                (8 + letters * SMALL * NARROW * 1.15, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                ha="right",
                fontsize=SMALL,
                color=QUIET if dot.hollow else INK,
            )
    axes.set_xlim(low, high)
    axes.set_ylim(0.6 - len(dots), 0.6)
    names = [short(dot.label) for dot in dots] if labels else []
    axes.set_yticks([-j for j in range(len(dots))] if labels else [], names)
    quiet(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _whisker(axes: Axes, dot: Dot, height: float, view: tuple[float, float]) -> None:
    if math.isfinite(dot.low) and math.isfinite(dot.high):
        seen = [min(max(end, view[0]), view[1]) for end in (dot.low, dot.high)]
        axes.plot(seen, [height, height], color=dot.colour, linewidth=2.2, solid_capstyle="butt")
    inside = "white" if dot.hollow else dot.colour
    axes.plot(
        dot.value,
        height,
        "o",
        color=dot.colour,
        markersize=5.5,
        markerfacecolor=inside,
        markeredgewidth=1.2,
    )


def _arrow(axes: Axes, colour: str, height: float, right: bool) -> None:
    axes.annotate(
        "",
        (1.0 if right else 0.0, height),
        (-16 if right else 16, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 0},
    )


def vertical(axes: Axes, at: float, bottom: float, dashed: bool = True, colour: str = INK) -> None:
    """Draw a line through all rows down to the height ``bottom``."""
    axes.plot(
        [at, at],
        [bottom, 0.6],
        color=colour,
        linewidth=1.0,
        linestyle=(0, (4, 3)) if dashed else "-",
        zorder=1,
    )


def sides(axes: Axes, better: str, worse: str, at: float) -> None:
    """Write above the rows the meaning of either side of ``at``."""
    for text, offset, where in ((f"◂ {better}", -4, "right"), (f"{worse} ▸", 4, "left")):
        axes.annotate(
            text,
            (at, 1.0),
            (offset, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=where,
            fontsize=SMALL,
            color=QUIET,
        )
