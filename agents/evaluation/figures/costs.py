"""Figure of an order's cost: the parts of its mean, and how the total differs by day."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.allocation.comparison import Comparison
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.figures.choice import Shown, chosen, day_count, number, rollout_of
from agents.evaluation.figures.dots import view_of
from agents.evaluation.figures.style import (
    SMALL,
    line,
    new_figure,
    patch,
    percent,
    quiet,
    short,
    styled,
)
from agents.rollouts.allocation import Rollout
from execution_env.allocation.rendering import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OBJECTIVE_COLOURS = {"posting": "#56B4E9", "envelope": "#E69F00", "residual": "#333333"}
"""Colours of the parts of a cost."""

SHORTFALL_COLOURS = {
    "spread": "#56B4E9",
    "fees": "#CC79A7",
    "drift": "#009E73",
    "envelope": "#E69F00",
    "clean-up": "#333333",
}
"""Colours of the parts of a shortfall."""

PART_WORDS = {
    "posting": "posting",
    "envelope": "envelope penalties",
    "residual": "residual penalties",
}
"""Names of parts in titles, where they are longer."""

OBJECTIVE_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

COSTS_ROW = 0.36
"""Height of a policy's row, in inches."""

Floats = NDArray[np.float64]


class DayQuantiles(NamedTuple):
    """How a policy's objective differs by day.

    Attributes:
        quantiles: (5,) quantiles over the days, see ``QUANTILES``.
        worst: mean of the worst 5 % of days; nan where the table has none.
    """

    quantiles: Floats
    worst: float


def parts_of(item: Shown, result: Comparison) -> dict[str, float]:
    """Return the means of the parts of a policy's cost, over all its seeds if it has several."""
    if result.shortfalls:
        of = [result.shortfalls[label] for label in item.members]
        columns = {
            "spread": "spread",
            "fees": "fees",
            "drift": "drift",
            "envelope": "envelope_penalty",
            "clean-up": "clean_up",
        }
        return {
            name: float(np.mean([getattr(one, column).mean() for one in of]))
            for name, column in columns.items()
        }
    keys = ("posting_cost_mean", "envelope_penalty_mean", "residual_penalty_mean")
    return {
        name: number(item.row[key], 0.0) for name, key in zip(OBJECTIVE_COLOURS, keys, strict=True)
    }


def quantiles_of(item: Shown, rollout: Rollout) -> DayQuantiles:
    """Return quantiles of the objective over days."""
    return DayQuantiles(
        np.quantile(rollout.objective, OBJECTIVE_QUANTILES), number(item.row["objective_cvar95"])
    )


@styled
def costs(result: Comparison, policies: Sequence[str] | None = None) -> Figure:
    """Draw the mean cost of each policy by its parts, and beside it the distribution over the days.

    Args:
        result: result of ``compare`` with rollouts.
        policies: labels of policies or groups of seeds; default representatives of all.

    Raises:
        ValueError: a label is unknown, or the comparison kept no rollouts.
    """
    there = chosen(result, policies)
    days = [quantiles_of(item, rollout_of(result, item)) for item in there]
    parts = [parts_of(item, result) for item in there]
    colours = SHORTFALL_COLOURS if result.shortfalls else OBJECTIVE_COLOURS
    figure = new_figure(
        _title(there, parts),
        f"Left: mean of {day_count(result)}, by what is paid for. Right: how the total differs by "
        "day.",
        COSTS_ROW * len(there) + 0.75,
        [
            *((name, patch(colour)) for name, colour in colours.items()),
            ("median day", line(INK, marker="|", linestyle="", markersize=8, markeredgewidth=2)),
            ("50 %, 90 % of days", patch("#777777", 0.6)),
            ("worst 5 %, mean", line("#777777", marker="D", linestyle="", markersize=5)),
        ],
    )
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.0, 1.25))
    _draw_parts(left, there, parts, colours)
    _draw_days(right, there, days)
    left.set_yticks([-j for j in range(len(there))], [short(item.label, 24) for item in there])
    left.set_ylim(0.6 - len(there), 0.6)
    for axes in (left, right):
        quiet(axes, "x")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    left.set_xlabel(f"mean cost, {result.scenario.unit} per share")
    right.set_xlabel(f"cost of a day, {result.scenario.unit} per share")
    return figure


def _draw_parts(
    axes: Axes,
    there: Sequence[Shown],
    parts: Sequence[dict[str, float]],
    colours: Mapping[str, str],
) -> None:
    """Draw bars of costs to the right of 0, of gains to the left; the number is their sum."""
    totals = [sum(of.values()) for of in parts]
    paid = [sum(part for part in of.values() if part > 0) for of in parts]
    earned = [sum(part for part in of.values() if part < 0) for of in parts]
    counting = [_counts(item, there) for item in there]
    needed = [0.0, *(total for total, counts in zip(paid, counting, strict=True) if counts)]
    high = max(view_of(needed, paid)[1], 1e-9)
    for j, of in enumerate(parts):
        ends = [0.0, 0.0]
        for name, part in of.items():
            side = int(part < 0)
            axes.barh(-j, part, 0.62, ends[side], color=colours[name], linewidth=0)
            ends[side] += part
        far = ends[0] > high
        axes.annotate(
            f"{totals[j]:.3f} ▸" if far else f"{totals[j]:.3f}",
            (1.0 if far else ends[0], -j),
            (-3 if far else 4, 0),
            xycoords=("axes fraction" if far else "data", "data"),
            textcoords="offset points",
            ha="right" if far else "left",
            va="center",
            fontsize=SMALL,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0} if far else None,
        )
    axes.set_xlim(1.1 * min(earned), 1.2 * high)
    if min(earned) < 0:
        axes.axvline(0.0, color=INK, linewidth=0.8)


def _draw_days(axes: Axes, there: Sequence[Shown], days: Sequence[DayQuantiles]) -> None:
    tops = [day.quantiles[4] for day in days]
    needed = [
        value
        for item, day in zip(there, days, strict=True)
        if _counts(item, there)
        for value in (*day.quantiles, day.worst)
    ]
    low, high = view_of(needed, [*tops, *(day.worst for day in days)])
    for j, (item, day) in enumerate(zip(there, days, strict=True)):
        q, colour = day.quantiles, item.colour
        axes.barh(-j, q[4] - q[0], 0.16, q[0], color=colour, alpha=0.6, linewidth=0)
        axes.barh(-j, q[3] - q[1], 0.5, q[1], color=colour, alpha=0.6, linewidth=0)
        axes.plot(q[2], -j, "|", color=INK, markersize=10, markeredgewidth=2)
        if not math.isfinite(day.worst):
            continue
        if day.worst <= high:
            axes.plot(day.worst, -j, "D", color=colour, markersize=5)
        else:
            axes.annotate(
                f"{day.worst:.1f} ▸",
                (1.0, -j),
                (0, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=SMALL,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )
    axes.set_xlim(max(low, 0.0) if low > -1e-9 else low, high)


def _counts(item: Shown, there: Sequence[Shown]) -> bool:
    """Return True if a policy must be in view: the better half, and ``lp``."""
    best = sorted(there, key=lambda one: number(one.row["objective_mean"]))
    return item in best[: (len(there) + 1) // 2] or item.label == REFERENCE


def _title(there: Sequence[Shown], parts: Sequence[dict[str, float]]) -> str:
    best = there[0]
    other = next((item for item in there if item.label == REFERENCE), there[-1])
    mine = parts[0]
    first = next(iter(mine))
    if other is best:
        total = sum(mine.values()) or 1.0
        return f"{percent(mine[first] / total)} of what {best.label} costs is {first}"
    theirs = parts[there.index(other)]
    changes = {name: theirs[name] - mine[name] for name in mine}
    most, worse = max(changes, key=changes.__getitem__), min(changes, key=changes.__getitem__)
    verb = "saves" if changes[most] > 0 else "loses"
    part = PART_WORDS.get(most, most)
    said = f"{best.label} {verb} {abs(changes[most]):.3f} of {other.label}'s {part}"
    if changes[most] > 0 > changes[worse] and round(changes[worse], 3) != 0:
        said += f" and spends {-changes[worse]:.3f} more on {PART_WORDS.get(worse, worse)}"
    return said
