"""Figure of the cost of staying inside the envelope: policies at several envelope penalties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from agents.evaluation.allocation.frontier import attainable
from agents.evaluation.figures.choice import COLOURS, family, listed, number
from agents.evaluation.figures.style import (
    QUIET,
    SMALL,
    new_figure,
    patch,
    percent,
    quiet,
    short,
    styled,
)
from agents.evaluation.tables import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRONTIER_KEYS = (
    "policy",
    "penalty",
    "posting_cost_mean",
    "posting_cost_ci_low",
    "posting_cost_ci_high",
    "residual_penalty_mean",
    "behind_rate_mean",
    "behind_rate_ci_low",
    "behind_rate_ci_high",
)

NEGLIGIBLE = 0.01
"""Share of the posting cost below which residual penalties are not drawn."""

SAME_COST = 1e-12
"""Smallest difference at which two costs count as different."""

WIDE = 5.0
"""Ratio of behind-rates above which their axis is logarithmic."""

Line = list[Mapping[str, Cell]]


def read_frontier(rows: Sequence[Mapping[str, Cell]]) -> dict[str, Line]:
    """Return rows by policy, each by ascending penalty.

    Raises:
        ValueError: there are none, a row lacks a key or a mean, or a penalty is there twice.
    """
    found: dict[str, Line] = {}
    for j, row in enumerate(rows):
        for key in FRONTIER_KEYS:
            if key not in row:
                raise ValueError(f"rows[{j}]: has no {key}; must have {', '.join(FRONTIER_KEYS)}.")
            if (key == "penalty" or key.endswith("mean")) and not math.isfinite(number(row[key])):
                raise ValueError(f"rows[{j}][{key!r}] = {row[key]!r}: must be a finite number.")
        line = found.setdefault(str(row["policy"]), [])
        if any(other["penalty"] == row["penalty"] for other in line):
            raise ValueError(
                f"rows[{j}]: penalty {row['penalty']} is there twice for {row['policy']}."
            )
        line.append(row)
    if not found:
        raise ValueError("rows: there are none; give at least one policy at one penalty.")
    return {
        policy: sorted(line, key=lambda row: number(row["penalty"]))
        for policy, line in found.items()
    }


@styled
def frontier(rows: Sequence[Mapping[str, Cell]]) -> Figure:
    """Draw posting cost against the share of bucket ends behind the envelope, a curve per policy.

    Args:
        rows: a row per policy and envelope penalty that it was made for, with the ``FRONTIER_KEYS``.
            Costs are in half-spreads per share of the order, rates are shares of bucket ends. None
            stands for an unknown interval.

    Raises:
        ValueError: there are none, a row lacks a key or a mean, or a penalty is there twice.
    """
    found = read_frontier(rows)
    measures = (False, True) if _residual_matters(found) else (False,)
    figure = new_figure(
        _title(found),
        "Each point: a policy made for an envelope penalty, the least and the largest beside it. Bars: "
        "95 % intervals; those of costs are left out: days that move one policy's move all others'.",
        3.6,
        [(short(policy, 40), patch(colour)) for policy, colour in _colours(found).items()],
    )
    panels = figure.subplots(1, len(measures), sharex=True, sharey=True, squeeze=False)[0]
    for axes, with_residual in zip(panels, measures, strict=True):
        for policy, line in found.items():
            _draw(axes, line, _colours(found)[policy], with_residual)
        words = "posting cost + residual penalty" if with_residual else "posting cost"
        axes.set_ylabel(f"{words}\nhalf-spreads per share")
        axes.set_xlabel("bucket ends behind the envelope, %")
        _scale(
            axes,
            [100.0 * number(row["behind_rate_mean"]) for line in found.values() for row in line],
        )
        quiet(axes, "both")
        axes.tick_params(labelleft=True)
        axes.margins(0.08)
        axes.annotate(
            "better",
            (0.02, 0.02),
            (0.13, 0.13),
            xycoords="axes fraction",
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "->", "color": QUIET},
            color=QUIET,
            fontsize=SMALL,
        )
    return figure


def _residual_matters(found: Mapping[str, Line]) -> bool:
    """Return True if residual penalties are large enough to be drawn."""
    rows = [row for line in found.values() for row in line]
    most = max(number(row["residual_penalty_mean"]) for row in rows)
    return most > NEGLIGIBLE * max(number(row["posting_cost_mean"]) for row in rows)


def _scale(axes: Axes, rates: Sequence[float]) -> None:
    """Make the axis logarithmic where rates differ by much: small ones would lie on each other."""
    if min(rates) > 0 and max(rates) > WIDE * min(rates):
        axes.set_xscale("log")
        from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415  slow to import

        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())


def _colours(found: Mapping[str, Line]) -> dict[str, str]:
    """Return a colour per policy: that of its family, or a spare one where it is taken."""
    used: dict[str, str] = {}
    wanted = [COLOURS[family(policy)] for policy in found]
    spare = [colour for name, colour in COLOURS.items() if name != "bound"] + ["#56B4E9", "#222222"]
    for policy, colour in zip(found, wanted, strict=True):
        free = [one for one in spare if one not in used.values() and one not in wanted]
        taken = colour in used.values() and free
        used[policy] = free[0] if taken else colour
    return used


def _height(row: Mapping[str, Cell], with_residual: bool) -> float:
    """Return the vertical position of a point: its cost."""
    left = number(row["residual_penalty_mean"]) if with_residual else 0.0
    return number(row["posting_cost_mean"]) + left


def _draw(axes: Axes, line: Line, colour: str, with_residual: bool) -> None:
    places = [100.0 * number(row["behind_rate_mean"]) for row in line]
    heights = [_height(row, with_residual) for row in line]
    axes.plot(places, heights, "o-", color=colour, lw=1.5, markersize=4.5)
    for row, mean in zip(line, heights, strict=True):
        ends = [100.0 * number(row[f"behind_rate_ci_{end}"]) for end in ("low", "high")]
        if all(map(math.isfinite, ends)):
            axes.plot(ends, [mean, mean], color=colour, linewidth=1.0, alpha=0.6)
    for j, (across, up, aligned) in {0: (5, -3, "left"), len(line) - 1: (-5, 3, "right")}.items():
        axes.annotate(
            f"{number(line[j]['penalty']):g}",
            (places[j], heights[j]),
            (across, up),
            textcoords="offset points",
            ha=aligned,
            va="center",
            fontsize=SMALL,
            color=colour,
        )


def _title(found: Mapping[str, Line]) -> str:
    """Return a title that names the policies that no other beats in both cost and behind-rate."""
    if len(found) == 1:
        policy, line = next(iter(found.items()))
        first, last = line[0], line[-1]
        return (
            f"{policy}: from penalty {number(first['penalty']):g} to {number(last['penalty']):g}, "
            f"behind falls from {percent(number(first['behind_rate_mean']))} to "
            f"{percent(number(last['behind_rate_mean']))}"
        )
    unbeaten = {
        policy
        for policy, line in found.items()
        if any(
            _height(row, True)
            < min(_least(found[other], row) for other in found if other != policy) + SAME_COST
            for row in line
        )
    }
    best = [short(policy) for policy in found if policy in unbeaten]
    beaten = [short(policy) for policy in found if policy not in unbeaten]
    said = f"Nobody is both cheaper and less often behind than {listed(best)}"
    return (
        f"{said}; {listed(beaten)} {'is' if len(beaten) == 1 else 'are'} always beaten"
        if beaten
        else said
    )


def _least(line: Line, row: Mapping[str, Cell]) -> float:
    """Return the least cost of a policy's points and their mixtures at ``row``'s behind-rate."""
    rates = np.array([number(point["behind_rate_mean"]) for point in line])
    costs = np.array([_height(point, True) for point in line])
    return float(attainable(rates, costs, np.array([number(row["behind_rate_mean"])]))[0])
