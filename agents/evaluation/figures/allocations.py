"""Figure of posted lots: means per bucket and algo, with the part that fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.allocation.comparison import Comparison
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.figures.choice import Shown, chosen, day_count, number, rollout_of
from agents.evaluation.figures.style import (
    QUIET,
    SMALL,
    TEXT,
    bucket_ticks,
    new_figure,
    patch,
    percent,
    quiet,
    short,
    styled,
)
from agents.rollouts.allocation import Rollout
from execution_env import Scenario
from execution_env.allocation.rendering import ALGO_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALE = 0.38
"""Opacity of lots that were posted and did not fill."""

Floats = NDArray[np.float64]


def mean_lots(rollout: Rollout, lots: int) -> tuple[Floats, Floats]:
    """Return posted and filled lots, each (B, K): means over the days, in percent of ``lots``."""
    posted, filled = (
        100.0 / lots * array.mean(axis=2, dtype=np.float64)
        for array in (rollout.posted, rollout.filled)
    )
    return posted, filled


@styled
def allocations(result: Comparison, policies: Sequence[str] | None = None) -> Figure:
    """Draw mean posted lots per bucket, stacked by algo, filled parts darker; a panel per policy.

    Args:
        result: result of ``compare`` with rollouts.
        policies: labels of policies or groups of seeds; default representatives of all.

    Raises:
        ValueError: a label is unknown, or the comparison kept no rollouts.
    """
    there = chosen(result, policies)
    scenario = result.scenario
    lots = [mean_lots(rollout_of(result, item), scenario.lots) for item in there]
    columns = min(3, len(there))
    lines = -(-len(there) // columns)
    figure = new_figure(
        _title(scenario, there, [filled for _, filled in lots]),
        f"Mean of {day_count(result)}. Costs: posting, {result.scenario.unit} per share of the order.",
        1.8 * lines + 0.3 if columns > 1 else 2.6,
        key_of_algos(scenario),
    )
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
    top = max(float(posted.sum(axis=1).max()) for posted, _ in lots)
    for j, axes in enumerate(panels):
        if j >= len(there):
            axes.set_visible(False)
            continue
        draw_bars(axes, *lots[j])
        axes.set_ylim(0, 1.22 * max(top, 1e-9))
        axes.set_title(short(there[j].label, 60 // columns + 2), fontweight="bold")
        axes.text(
            0.98,
            0.98,
            f"cost {number(there[j].row['posting_cost_mean']):.3f}",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=SMALL,
            color=QUIET,
        )
        if j + columns >= len(there):
            axes.tick_params(labelbottom=True)
    figure.supylabel("posted, % of the order", fontsize=TEXT)
    figure.supxlabel("bucket", fontsize=TEXT)
    return figure


def algo_colour(algo: int) -> str:
    """Return the colour that the algo with that index has in every figure."""
    return ALGO_COLOURS[algo % len(ALGO_COLOURS)]


def key_of_algos(scenario: Scenario) -> list[tuple[str, Any]]:
    """Return the key of the bars: names with their patches."""
    names = [(short(name, 20), patch(algo_colour(i))) for i, name in enumerate(scenario.algo_names)]
    return [*names, ("pale: posted, not filled", patch(QUIET, PALE))]


def draw_bars(axes: Axes, posted: Floats, filled: Floats) -> None:
    """Draw stacked bars of ``posted`` (B, K); of every algo the ``filled`` part (B, K) is below."""
    buckets = np.arange(1, len(posted) + 1)
    bottom = np.zeros(len(posted))
    for i in range(posted.shape[1]):
        colour = algo_colour(i)
        axes.bar(buckets, filled[:, i], 0.84, bottom, color=colour, linewidth=0)
        bottom = bottom + filled[:, i]
        rest = posted[:, i] - filled[:, i]
        axes.bar(buckets, rest, 0.84, bottom, color=colour, alpha=PALE, linewidth=0)
        bottom = bottom + rest
    axes.set_xlim(0.4, len(posted) + 0.6)
    bucket_ticks(axes, len(posted))
    quiet(axes, "y")


def _title(scenario: Scenario, there: Sequence[Shown], filled: Sequence[Floats]) -> str:
    """Return a title: the algo whose early fills differ most between the best policy and ``lp``."""
    best, names = there[0], scenario.algo_names
    other = next((j for j, item in enumerate(there) if item.label == REFERENCE and j), None)
    if other is None:
        through = filled[0].sum(axis=0) / 100.0
        most = int(through.argmax())
        return f"{best.label} fills {percent(through[most])} of the order through {names[most]}"
    half = max(1, scenario.buckets // 2)
    early, of_lp = (filled[j][:half].sum(axis=0) / 100.0 for j in (0, other))
    most = int(np.abs(early - of_lp).argmax())
    when = "In the first half" if scenario.buckets > 1 else "In its bucket"
    return (
        f"{when} {best.label} fills {percent(early[most])} of the order through {names[most]}, "
        f"lp\N{NO-BREAK SPACE}{percent(of_lp[most])}"
    )
