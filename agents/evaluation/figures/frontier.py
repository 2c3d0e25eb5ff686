"""What staying inside the envelope costs: policies planned at several envelope penalties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agents.evaluation.figures.choice import COLOURS, family, number
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

KEYS = (
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

MARKERS = "osD^vP"
"""Of policies of one family, in turn."""

Line = list[Mapping[str, Cell]]


def read_frontier(rows: Sequence[Mapping[str, Cell]]) -> dict[str, Line]:
    """Rows by policy, each by ascending penalty.

    Raises:
        ValueError: there are none, a row lacks a key or a mean, or a penalty is there twice.
    """
    found: dict[str, Line] = {}
    for j, row in enumerate(rows):
        for key in KEYS:
            if key not in row:
                raise ValueError(f"rows[{j}]: has no {key}; must have {', '.join(KEYS)}.")
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
    """Posting cost against the share of bucket ends behind the envelope, a curve per policy.

    Args:
        rows: with the keys of ``KEYS``, a row per policy and envelope penalty that it was made for;
            costs in half-spreads per share of the order, rates as shares of bucket ends, None for an
            interval that is not known.

    Raises:
        ValueError: there are none, a row lacks a key or a mean, or a penalty is there twice.
    """
    found = read_frontier(rows)
    figure = new_figure(
        _title(found),
        "Each point: a policy made for the envelope penalty beside it. Bars: 95 % intervals.",
        3.3,
        [(short(policy, 40), patch(colour)) for policy, colour in _colours(found).items()],
    )
    lowest = min(found, key=lambda policy: _heights(found[policy][-1], True)[0])
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, with_residual in zip(panels, (False, True), strict=True):
        for policy, line in found.items():
            _draw(axes, line, _colours(found)[policy], with_residual, policy == lowest)
        axes.set_xlabel("bucket ends behind the envelope, %")
        quiet(axes, "both")
        axes.tick_params(labelleft=True)
    panels[0].set_ylabel("posting cost\nhalf-spreads per share")
    panels[1].set_ylabel("posting cost + residual penalty")
    for axes in panels:
        axes.margins(0.1)
        axes.annotate(
            "better",
            (0.02, 0.02),
            (0.15, 0.13),
            xycoords="axes fraction",
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "->", "color": QUIET},
            color=QUIET,
            fontsize=SMALL,
        )
    return figure


def _colours(found: Mapping[str, Line]) -> dict[str, str]:
    """Of the family, and a spare one where it is taken."""
    used: dict[str, str] = {}
    wanted = [COLOURS[family(policy)] for policy in found]
    spare = [colour for name, colour in COLOURS.items() if name != "bound"] + ["#56B4E9", "#222222"]
    for policy, colour in zip(found, wanted, strict=True):
        free = [one for one in spare if one not in used.values() and one not in wanted]
        taken = colour in used.values() and free
        used[policy] = free[0] if taken else colour
    return used


def _heights(row: Mapping[str, Cell], with_residual: bool) -> tuple[float, float, float]:
    """Mean and interval of what is drawn upwards; of the sum, no interval is known."""
    mean = number(row["posting_cost_mean"])
    if with_residual:
        return mean + number(row["residual_penalty_mean"]), math.nan, math.nan
    return mean, number(row["posting_cost_ci_low"]), number(row["posting_cost_ci_high"])


def _draw(axes: Axes, line: Line, colour: str, with_residual: bool, below: bool) -> None:
    places = [100.0 * number(row["behind_rate_mean"]) for row in line]
    heights = [_heights(row, with_residual) for row in line]
    axes.plot(places, [mean for mean, _, _ in heights], "o-", color=colour, lw=1.5, markersize=4.5)
    for row, x, (mean, low, high) in zip(line, places, heights, strict=True):
        ends = [100.0 * number(row[f"behind_rate_ci_{end}"]) for end in ("low", "high")]
        if all(map(math.isfinite, ends)):
            axes.plot(ends, [mean, mean], color=colour, linewidth=1.0, alpha=0.7)
        if math.isfinite(low) and math.isfinite(high):
            axes.plot([x, x], [low, high], color=colour, linewidth=1.0, alpha=0.7)
        axes.annotate(
            f"{number(row['penalty']):g}",
            (x, mean),
            (-4, -4) if below else (4, 3),
            textcoords="offset points",
            ha="right" if below else "left",
            va="top" if below else "bottom",
            fontsize=SMALL,
            color=colour,
        )


def _title(found: Mapping[str, Line]) -> str:
    """Which policy is behind least for what it pays, where curves can be compared."""
    if len(found) == 1:
        policy, line = next(iter(found.items()))
        first, last = line[0], line[-1]
        return (
            f"{policy}: from penalty {number(first['penalty']):g} to {number(last['penalty']):g}, "
            f"behind falls from {percent(number(first['behind_rate_mean']))} to "
            f"{percent(number(last['behind_rate_mean']))}"
        )
    points = [
        (policy, number(row["behind_rate_mean"]), _heights(row, True)[0])
        for policy, line in found.items()
        for row in line
    ]
    best = {
        policy: sum(
            not any(
                other != policy and rate <= x and cost <= y and (rate < x or cost < y)
                for other, rate, cost in points
            )
            for name, x, y in points
            if name == policy
        )
        for policy in found
    }
    winner = max(best, key=lambda policy: best[policy] / len(found[policy]))
    count, of = best[winner], len(found[winner])
    which = "whatever the penalty" if count == of else f"at {count} of {of} penalties"
    return f"No other policy is both cheaper and less often behind than {winner}, {which}"
