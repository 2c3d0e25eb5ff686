"""Figure of cumulative fills inside the envelope: a fan over the days, a panel per policy.

Where the envelope follows the day's volume, a fan of fills would mix days whose envelopes differ.
There the figure shows fills minus the middle of that day's envelope.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.allocation.comparison import Comparison
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.figures.choice import Shown, chosen, day_count, number, rollout_of
from agents.evaluation.figures.style import (
    EDGE,
    SMALL,
    TEXT,
    bucket_ticks,
    line,
    new_figure,
    patch,
    percent,
    quiet,
    short,
    styled,
)
from agents.evaluation.tables import Row
from agents.rollouts.allocation import Rollout
from execution_env import Scenario
from execution_env.allocation.rendering import BAND

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAN_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles over the days: the ends of the fan's wide part, of its narrow part, and the median."""

MOST_WIDTHS = 1.5
"""Largest distance of fills in view from the envelope's middle, in widths of the envelope."""

ALIKE = 1e-6
"""Largest difference, in lots, at which envelopes of two days count as the same."""

Floats = NDArray[np.float64]


class Fan(NamedTuple):
    """Fills of one policy in percent of the order, at the start and at the B bucket ends.

    Attributes:
        quantiles: (5, B + 1) quantiles of cumulative fills, or of fills minus the middle of the
            envelope.
        lower, upper: (B,) the envelope at the start and at bucket ends but the last, where it does
            not count. It is the median over the days where it differs by day.
        relative: whether the middle of that day's envelope is subtracted from fills.
    """

    quantiles: Floats
    lower: Floats
    upper: Floats
    relative: bool


def follows_the_day(rollout: Rollout) -> bool:
    """Return True if the envelope differs by day."""
    return bool(
        max(np.ptp(rollout.lower, axis=1).max(), np.ptp(rollout.upper, axis=1).max()) > ALIKE
    )


def fan_of(rollout: Rollout, lots: int, relative: bool) -> Fan:
    """Return the fan of a rollout of orders of ``lots``."""
    buckets, _, days = rollout.filled.shape
    filled = np.zeros((buckets + 1, days))
    np.cumsum(rollout.filled.sum(axis=1), axis=0, out=filled[1:])
    lower, upper = (np.vstack([np.zeros(days), edge]) for edge in (rollout.lower, rollout.upper))
    # The end of the last bucket has no envelope: all of the order should be filled then.
    lower[-1] = upper[-1] = lots
    middle = (lower + upper) / 2.0 if relative else np.zeros((buckets + 1, 1))
    scale = 100.0 / lots
    return Fan(
        scale * np.quantile(filled - middle, FAN_QUANTILES, axis=1),
        scale * np.median(lower - middle, axis=1)[:-1],
        scale * np.median(upper - middle, axis=1)[:-1],
        relative,
    )


@styled
def fills(
    result: Comparison, policies: Sequence[str] | None = None, relative: bool | None = None
) -> Figure:
    """Draw fans of cumulative fills over the days inside the envelope, a panel per policy.

    Args:
        result: result of ``compare`` with rollouts.
        policies: labels of policies or groups of seeds; default representatives of all.
        relative: whether to subtract the middle of that day's envelope from fills; by default, if
            the envelope differs by day.

    Raises:
        ValueError: a label is unknown, or the comparison kept no rollouts.
    """
    there = chosen(result, policies)
    if relative is None:
        relative = follows_the_day(rollout_of(result, there[0]))
    fans = [fan_of(rollout_of(result, item), result.scenario.lots, relative) for item in there]
    columns = min(3, len(there))
    lines = -(-len(there) // columns)
    what = "Fills minus the middle of that day's envelope" if relative else "Cumulative fills"
    figure = new_figure(
        _title(result.scenario, there),
        f"{what} over {day_count(result)}. Behind, ahead: share of bucket ends outside the envelope; "
        "filled: share of the orders, the rest is cleaned up.",
        1.9 * lines + 0.3 if columns > 1 else 2.6,
        key_of_fan(),
    )
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
    for j, axes in enumerate(panels):
        if j >= len(there):
            axes.set_visible(False)
            continue
        draw_fan(axes, fans[j], there[j].colour, result.scenario.buckets)
        axes.set_title(short(there[j].label, 60 // columns + 2), fontweight="bold")
        _rates(axes, there[j], relative)
        if relative:
            axes.set_ylim(*_range(fans))
        if j + columns >= len(there):
            axes.tick_params(labelbottom=True)
    label = "filled minus middle, % of the order" if relative else "filled, % of the order"
    figure.supylabel(label, fontsize=TEXT)
    figure.supxlabel("end of bucket", fontsize=TEXT)
    return figure


def key_of_fan() -> list[tuple[str, Any]]:
    """Return the key of a fan: names with their artists."""
    return [
        ("envelope", patch(BAND, edgecolor=EDGE, linewidth=1.0)),
        ("median day", line("#555555", linewidth=1.8)),
        ("half of the days", patch("#555555", 0.5)),
        ("90 % of the days", patch("#555555", 0.22)),
    ]


def draw_fan(axes: Axes, fan: Fan, colour: str, buckets: int) -> None:
    """Draw the envelope with a fan in it, against bucket ends 0 to B."""
    ends = np.arange(buckets + 1)
    inner = ends[:-1]
    axes.fill_between(inner, fan.lower, fan.upper, color=BAND, linewidth=0)
    q = fan.quantiles
    axes.fill_between(ends, q[0], q[4], color=colour, alpha=0.22, linewidth=0)
    axes.fill_between(ends, q[1], q[3], color=colour, alpha=0.5, linewidth=0)
    for edge in (fan.lower, fan.upper):
        axes.plot(inner, edge, color=EDGE, linewidth=1.0)
    axes.plot(ends, q[2], color=colour, linewidth=1.8)
    axes.set_xlim(0, buckets)
    bucket_ticks(axes, buckets)
    quiet(axes, "y")


def _range(fans: Sequence[Fan]) -> tuple[float, float]:
    """Return the vertical range of relative fans, with room for the rates below.

    It holds all fills up to ``MOST_WIDTHS`` widths of the envelope from its middle.
    """
    width = max(float(np.max(fan.upper - fan.lower, initial=0.0)) for fan in fans) or 10.0
    low = max(min(float(fan.quantiles.min()) for fan in fans), -MOST_WIDTHS * width)
    high = min(max(float(fan.quantiles.max()) for fan in fans), MOST_WIDTHS * width)
    low, high = min(low, -width / 2.0), max(high, width / 2.0)
    return low - 0.42 * (high - low), high + 0.05 * (high - low)


def _rates(axes: Axes, item: Shown, relative: bool) -> None:
    """Write the behind and ahead rates, and the share that was filled, where no fan goes."""
    row = item.row
    rates = [number(row["behind_rate"]), number(row["ahead_rate"]), _filled(row)]
    words = [
        f"{name} {percent(rate)}"
        for name, rate in zip(("behind", "ahead", "filled"), rates, strict=True)
        if math.isfinite(rate)
    ]
    axes.text(
        0.98,
        0.03,
        (", " if relative else "\n").join(words[:2]) + "\n" + "".join(words[2:]),
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=SMALL,
        linespacing=1.15,
    )


def _filled(row: Row) -> float:
    return 1.0 - number(row["residual_fraction_mean"])


def _title(scenario: Scenario, there: Sequence[Shown]) -> str:
    """Return a title: how often the best policy leaves the envelope, and ``lp`` or else the last.

    It is about the side of the envelope where the two differ most.
    """
    best = there[0]
    if scenario.buckets == 1:
        return f"{best.label} fills {percent(_filled(best.row))} of the orders before the clean-up"
    other = next((item for item in there[1:] if item.label == REFERENCE), there[-1])
    rates = [
        (side, number(best.row[key], 0.0), number(other.row[key], 0.0))
        for side, key in (("behind", "behind_rate"), ("ahead of", "ahead_rate"))
    ]
    side, mine, theirs = max(rates, key=lambda rate: abs(rate[1] - rate[2]))
    said = f"{best.label} is {side} the envelope at {percent(mine)} of bucket ends"
    return said if other is best else f"{said}, {other.label} at {percent(theirs)}"
