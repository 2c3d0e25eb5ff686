"""First figure of a README: the best policies, and where their fills lie in the envelope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.evaluation.allocation.comparison import Comparison
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.figures.choice import (
    MOST_PANELS,
    Shown,
    bounds_of,
    chosen,
    day_count,
    everyone,
    number,
    rollout_of,
)
from agents.evaluation.figures.dots import DOTS_ROW
from agents.evaluation.figures.fills import draw_fan, fan_of
from agents.evaluation.figures.objectives import draw_objectives
from agents.evaluation.figures.style import (
    QUIET,
    SMALL,
    new_figure,
    percent,
    short,
    styled,
)
from agents.evaluation.tables import verdict
from agents.learners import LEARNERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def headline(result: Comparison, policies: Sequence[str] | None = None) -> Figure:
    """Draw objectives of the best policies with the bounds, and their fills in the envelope.

    Args:
        result: result of ``compare`` with rollouts.
        policies: labels for the fans on the right; default ``lp``, the best learner and the best of
            the rest.

    Raises:
        ValueError: a label is unknown, or the comparison kept no rollouts.
    """
    there = chosen(result, most=MOST_PANELS + 1)
    fans = _fans(result) if policies is None else chosen(result, policies)
    bounds = bounds_of(result)
    height = max(DOTS_ROW * (len(there) + len(bounds)) + 0.7, 0.85 * len(fans) + 0.7)
    figure = new_figure(
        _title(result, there, fans),
        f"{result.scenario.name}, {day_count(result)}. Left: means with 95 % intervals. Right: fills "
        "minus the middle of the envelope (median, half and 90 % of the days); penalty: what leaving "
        "it costs on average.",
        height,
    )
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.15, 1.0))[0]
    axes = left.add_subplot()
    draw_objectives(axes, result, there, bounds)
    axes.set_xlabel(
        f"objective, {result.scenario.unit} per share (lower is better)", fontsize=SMALL
    )
    panels = right.subplots(len(fans), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, item in zip(panels, fans, strict=True):
        fan = fan_of(rollout_of(result, item), result.scenario.lots, True)
        draw_fan(axes, fan, item.colour, result.scenario.buckets)
        penalty = number(item.row["envelope_penalty_mean"])
        axes.set_title(short(item.label, 21), fontsize=SMALL, fontweight="bold", pad=3)
        axes.set_title(
            f"penalty {penalty:.3f}",
            loc="right",
            fontsize=SMALL,
            color=QUIET,
            pad=3,
        )
    panels[-1].set_xlabel("end of bucket", fontsize=SMALL)
    right.supylabel("filled minus middle, % of the order", fontsize=SMALL)
    return figure


def _fans(result: Comparison) -> list[Shown]:
    """Return ``lp``, the best learner and the best of the rest; without a learner, the best two."""
    there = everyone(result)
    lp = [item for item in there if item.label == REFERENCE]
    learned = [item for item in there if item.family in (*LEARNERS, "other")][:1]
    rest = [item for item in there if item not in lp + learned]
    return [*lp, *learned, *rest][:3]


def _title(result: Comparison, there: Sequence[Shown], fans: Sequence[Shown]) -> str:
    reference = next(item for item in there if item.label == REFERENCE)
    other = next((item for item in fans if item.label != REFERENCE), None)
    if other is None:
        mean = number(reference.row["objective_mean"])
        return f"lp costs {mean:.3f} {result.scenario.unit} per share on {result.scenario.name}"
    mine, theirs = (number(item.row["objective_mean"]) for item in (other, reference))
    rates = [number(item.row["behind_rate"]) for item in (other, reference)]
    gain = (theirs - mine) / abs(theirs) if theirs else 0.0
    if abs(gain) < 0.0005:
        return f"{other.label} costs as much as the linear programme"
    if verdict(other.row) == 0:
        return (
            f"{other.label} is not told apart from the linear programme: {mine:.3f} against "
            f"{theirs:.3f} {result.scenario.unit} per share"
        )
    verb = "cuts" if gain > 0 else "raises"
    said = f"{other.label} {verb} the cost of the linear programme by {percent(abs(gain))}"
    if gain > 0 and rates[0] < rates[1]:
        said += (
            f": it falls behind the envelope at {percent(rates[0])} of bucket ends, lp at "
            f"{percent(rates[1])}"
        )
    return said
