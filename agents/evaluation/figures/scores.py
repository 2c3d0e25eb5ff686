"""Figure of scores on all scenarios: a policy's share of the way from ``lp`` to the bound.

score = (LP - policy) / (LP - clairvoyant): 0 is ``lp``, 1 is the bound. The bound holds on average
for policies on the action grid. A policy that is not tied to the grid may score above 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.figures.choice import COLOURS, family, listed, number
from agents.evaluation.figures.style import (
    QUIET,
    SMALL,
    TEXT,
    new_figure,
    quiet,
    short,
    signed,
    styled,
)
from agents.evaluation.tables import Cell
from agents.policy import BOUNDS
from execution_env.allocation.rendering import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VIEW = (-0.5, 1.22)
"""Range of scores in view; others are written at the edge."""

SHADE = "#F3F3F3"
"""Colour of the area where policies are worse than ``lp``."""

PANELS_ACROSS = 4
"""Largest number of panels side by side."""

SCORES_ROW = 0.2
"""Height of a policy's row, in inches."""

SCORE_KEYS = ("scenario", "policy", "score", "score_ci_low", "score_ci_high")


class Score(NamedTuple):
    """Score of one policy on one scenario; ``low`` and ``high`` are nan without an interval."""

    value: float
    low: float
    high: float


def read_scores(rows: Sequence[Mapping[str, Cell]]) -> dict[str, dict[str, Score]]:
    """Return scores by scenario, in the order given, and policy.

    ``lp``, bounds and empty cells are left out.

    Raises:
        ValueError: there are none, a row lacks a key, or a policy is there twice for a scenario.
    """
    found: dict[str, dict[str, Score]] = {}
    for j, row in enumerate(rows):
        for key in SCORE_KEYS:
            if key not in row:
                raise ValueError(f"rows[{j}]: has no {key}; must have {', '.join(SCORE_KEYS)}.")
        scenario, policy = str(row["scenario"]), str(row["policy"])
        here = found.setdefault(scenario, {})
        if policy in here:
            raise ValueError(f"rows[{j}]: policy {policy} is there twice for {scenario}.")
        value, low, high = (number(row[key]) for key in SCORE_KEYS[2:])
        if policy != REFERENCE and policy not in BOUNDS and math.isfinite(value):
            here[policy] = Score(value, low, high)
    if not any(found.values()):
        raise ValueError("rows: hold no score; give those of at least one policy besides lp.")
    return found


def ranking(found: Mapping[str, Mapping[str, Score]]) -> list[str]:
    """Return policies by their median score, best first.

    A median is not decided by one scenario where a rule breaks down, or that a policy was not
    trained for.
    """
    policies = list(dict.fromkeys(policy for here in found.values() for policy in here))
    return sorted(policies, key=lambda policy: -median(found, policy))


def median(found: Mapping[str, Mapping[str, Score]], policy: str) -> float:
    """Return the median of a policy's scores, over the scenarios where it has a score."""
    return float(np.median([here[policy].value for here in found.values() if policy in here]))


@styled
def scores(rows: Sequence[Mapping[str, Cell]]) -> Figure:
    """Draw scores with intervals, a panel per scenario, with the same policies in the same order.

    Args:
        rows: rows with the keys of ``KEYS``; None where a number means nothing. Rows of ``lp`` and
            of bounds are not drawn: ``lp`` and the clairvoyant bound are the lines at 0 and 1.

    Raises:
        ValueError: there are none, a row lacks a key, or a policy is there twice for a scenario.
    """
    found = read_scores(rows)
    order = ranking(found)
    columns = min(PANELS_ACROSS, len(found))
    lines = -(-len(found) // columns)
    figure = new_figure(
        _title(found, order),
        "Share of the way from lp (0) to the clairvoyant bound (1) that a policy goes, with 95 % "
        "interval; 1 is what knowing each day's hidden state would bring. Filled: best there, or "
        "not told apart from it by these intervals.",
        lines * (SCORES_ROW * len(order) + 0.42) + 0.3,
    )
    panels = list(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
    for j, axes in enumerate(panels):
        if j >= len(found):
            axes.set_visible(False)
            continue
        scenario = list(found)[j]
        _draw(axes, found[scenario], order)
        # All columns together have room for 64 characters of the usual size, or 80 smaller ones.
        name = short(scenario, 80 // columns)
        size = SMALL + (0.5 if len(name) < 64 // columns else -0.8)
        axes.set_title(name, fontweight="bold", fontsize=size)
        if j + columns >= len(found):
            axes.tick_params(labelbottom=True)
    for axes in panels[::columns]:
        axes.set_yticks([-j for j in range(len(order))], [short(name, 26) for name in order])
    if len(found) > 1:
        _medians(panels[columns - 1], found, order)
    figure.supxlabel(
        "score (higher is better): 0 as good as lp, 1 as good as the bound", fontsize=TEXT
    )
    return figure


def _medians(axes: Axes, found: Mapping[str, Mapping[str, Score]], order: Sequence[str]) -> None:
    """Write a column of median scores on the right of a panel."""
    for height, text in ((1.0, "median"), *((-j, "") for j in range(len(order)))):
        axes.annotate(
            text or signed(median(found, order[round(-height)]), ".2f"),
            (1.0, height),
            (40, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=SMALL,
            color=QUIET,
            annotation_clip=False,
        )


def _draw(axes: Axes, here: Mapping[str, Score], order: Sequence[str]) -> None:
    axes.axvspan(VIEW[0], 0.0, color=SHADE, linewidth=0, zorder=0)
    axes.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
    axes.axvline(1.0, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    best = max(here, key=lambda policy: here[policy].value, default=None)
    for j, policy in enumerate(order):
        if policy not in here:
            axes.text(
                0.5, -j, "no score", ha="center", va="center", fontsize=SMALL, color="#8A8A8A"
            )
            continue
        score, colour = here[policy], COLOURS[family(policy)]
        if not VIEW[0] <= score.value <= VIEW[1]:
            _far(axes, -j, score.value, colour)
            continue
        if math.isfinite(score.low) and math.isfinite(score.high):
            low, high = (min(max(end, VIEW[0]), VIEW[1]) for end in (score.low, score.high))
            axes.plot([low, high], [-j, -j], color=colour, linewidth=1.8, solid_capstyle="butt")
        level = best is not None and (policy == best or score.high >= here[best].value)
        axes.plot(
            score.value,
            -j,
            "o",
            color=colour,
            markersize=5.5,
            markerfacecolor=colour if level else "white",
            markeredgewidth=1.2,
        )
    axes.set_xlim(*VIEW)
    axes.set_ylim(0.6 - len(order), 0.6)
    axes.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    quiet(axes)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _far(axes: Axes, height: float, value: float, colour: str) -> None:
    """Draw an arrow at the edge with the number."""
    right = value > VIEW[1]
    number_ = signed(value, ".1f" if abs(value) < 99.95 else ".0f")
    axes.annotate(
        f"{number_} ▸" if right else f"◂ {number_}",
        (1.0 if right else 0.0, height),
        xycoords=("axes fraction", "data"),
        ha="right" if right else "left",
        va="center",
        fontsize=SMALL,
        color=colour,
        bbox={"facecolor": "white" if right else SHADE, "edgecolor": "none", "pad": 0.6},
    )


def _title(found: Mapping[str, Mapping[str, Score]], order: Sequence[str]) -> str:
    """Return a title: policies most often best or level with it, and those that beat ``lp``."""
    names = [scenario for scenario, here in found.items() if here]
    count = {
        policy: sum(
            policy in found[name]
            and (
                found[name][policy].value == max(s.value for s in found[name].values())
                or found[name][policy].high >= max(s.value for s in found[name].values())
            )
            for name in names
        )
        for policy in order
    }
    most = max(count.values())
    first = [policy for policy in order if count[policy] == most][:2]
    if len(names) == 1:
        best = order[0]
        return (
            f"{best} goes {100 * found[names[0]][best].value:.0f} % of the way from lp to the bound"
        )
    where = "all" if most == len(names) else f"{most} of {len(names)}"
    said = (
        f"{listed(first)} {'is' if len(first) == 1 else 'are'} best or level on {where} scenarios"
    )
    safe = [
        policy
        for policy in order
        if all(policy in found[name] and found[name][policy].low > 0 for name in names)
    ]
    there = "on all" if len(names) == len(found) else "wherever there is a score"
    if safe and len(safe) <= 4:
        said += f"; {listed(safe)} beat{'s' if len(safe) == 1 else ''} lp {there}"
    elif safe:
        said += f"; {len(safe)} policies beat lp {there}"
    return said
