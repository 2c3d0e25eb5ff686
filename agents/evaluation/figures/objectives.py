"""Figures of objectives with intervals and bounds, and of differences to ``lp``, paired by day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.evaluation.allocation.comparison import Comparison
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.figures.choice import (
    COLOURS,
    Shown,
    bounds_of,
    day_count,
    everyone,
    listed,
    number,
)
from agents.evaluation.figures.dots import DOTS_ROW, Dot, draw_dots, ends, sides, vertical, view_of
from agents.evaluation.figures.style import new_figure, percent, styled
from agents.evaluation.tables import Row, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def objectives(result: Comparison) -> Figure:
    """Draw mean objectives of all policies with 95 % intervals, best on top, and the bounds.

    Runs that differ in their seed only are one row, with a pale dot for each. Policies far worse
    than the better half are arrows at the edge with their number.

    Args:
        result: result of ``compare``.
    """
    there, bounds = everyone(result), bounds_of(result)
    rows = [item.row for item in there]
    figure = new_figure(
        finding(result),
        f"Dots: means of {day_count(result)}. Lines: 95 % intervals{_about_seeds(there)}. "
        "Arrows: beyond the edge.",
        DOTS_ROW * (len(rows) + len(bounds)) + 0.55,
    )
    draw_objectives(figure.add_subplot(), result, there, bounds)
    return figure


def draw_objectives(
    axes: Axes, result: Comparison, there: Sequence[Shown], bounds: Sequence[Row]
) -> None:
    """Draw the rows of ``there`` above those of ``bounds``; lines of bounds go through all rows."""
    dots = [_dot(result, item, "objective") for item in there]
    limits = [
        Dot(
            f"{row['policy']} (bound)",
            number(row["objective_mean"]),
            number(row["objective_ci_low"]),
            number(row["objective_ci_high"]),
            COLOURS["bound"],
            hollow=True,
        )
        for row in bounds
    ]
    half = dots[: (len(dots) + 1) // 2] + [dot for dot in dots if dot.label == REFERENCE]
    needed = ends(half + limits[:1])
    view = view_of(needed, [dot.value for dot in dots + limits])
    draw_dots(axes, dots + limits, view)
    for j, limit in enumerate(limits):
        if view[0] <= limit.value <= view[1]:
            vertical(axes, limit.value, -len(dots) - j, colour=COLOURS["bound"])
    axes.set_xlabel(f"objective, {result.scenario.unit} per share of the order (lower is better)")


@styled
def differences(result: Comparison) -> Figure:
    """Draw mean differences to plain ``lp`` with 95 % intervals, paired by day, best on top.

    Args:
        result: result of ``compare``.

    Raises:
        ValueError: there is nothing but ``lp``.
    """
    there = [item for item in everyone(result) if item.label != REFERENCE]
    if not there:
        raise ValueError("policies: there is only lp; compare it with at least one other policy.")
    dots = [_dot(result, item, "diff_vs_lp") for item in there]
    figure = new_figure(
        _difference_title(there),
        f"Policy minus lp on the same {day_count(result)}. Lines: 95 % intervals"
        f"{_about_seeds(there)}. Arrows: beyond the edge.",
        DOTS_ROW * len(dots) + 0.75,
    )
    axes = figure.add_subplot()
    half = dots[: (len(dots) + 1) // 2]
    view = view_of([0.0, *ends(half)], [dot.value for dot in dots])
    view = min(view[0], -0.12 * view[1]), max(view[1], -0.12 * view[0])
    draw_dots(axes, dots, view, "+.3f")
    vertical(axes, 0.0, 0.6 - len(dots), dashed=False)
    sides(axes, "better than lp", "worse", 0.0)
    axes.set_xlabel(f"objective minus that of lp, {result.scenario.unit} per share of the order")
    return figure


def _dot(result: Comparison, item: Shown, what: str) -> Dot:
    keys = (f"{what}_mean", f"{what}_ci_low", f"{what}_ci_high")
    mean, low, high = (number(item.row[key]) for key in keys)
    singles = [row for row in result.rows if row["policy"] in item.members]
    others = [number(row[keys[0]]) for row in singles] if len(item.members) > 1 else []
    return Dot(label=item.label, value=mean, low=low, high=high, colour=item.colour, others=others)


def _about_seeds(there: Sequence[Shown]) -> str:
    grouped = any(len(item.members) > 1 for item in there)
    return ", of seeds also over training; pale dots: single seeds" if grouped else ""


def finding(result: Comparison) -> str:
    """Return the finding of the objectives in a sentence."""
    there = everyone(result)
    best, where = there[0], result.scenario.name
    if len(result.seeds) == 1:
        where += ", one day"
    level = [item.label for item in there[1:] if set(item.members) <= set(result.level)]
    mean, clairvoyant = number(best.row["objective_mean"]), best.row["gap_to_clairvoyant"]
    reference = next(number(i.row["objective_mean"]) for i in there if i.label == REFERENCE)
    parts = []
    if best.label != REFERENCE and reference > 0:
        parts.append(f"{percent(1.0 - mean / reference)} below lp")
    if isinstance(clairvoyant, float):
        side = "above" if clairvoyant >= 0 else "below"
        parts.append(f"{percent(abs(clairvoyant))} {side} the clairvoyant bound")
    said = f": {' and '.join(parts)}" if parts else ""
    if level and len(level) <= 2:
        return f"{best.label} is best on {where}, level with {listed(level)}{said}"
    if level:
        return f"{best.label} is best on {where}, level with {len(level)} others{said}"
    return f"{best.label} is best on {where}{said}"


def _difference_title(there: Sequence[Shown]) -> str:
    verdicts = [verdict(item.row) for item in there]
    better, worse = verdicts.count(-1), verdicts.count(1)
    best = there[0]
    gain = f"{best.label} by {-number(best.row['diff_vs_lp_mean']):.3f}"
    if all(sign is None for sign in verdicts):
        return "One day does not tell policies from lp; play more"
    if not better:
        return "Nothing here beats lp" + (f"; {worse} do worse" if worse else "")
    if better == 1:
        return f"Only {gain} beats lp" if len(there) > 1 else f"{gain} below lp"
    return f"{better} of {len(there)} beat lp, {gain}"
