"""Figure of a traced day: a column per policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agents.evaluation.allocation.trace import Played, Trace
from agents.evaluation.figures.allocations import algo_colour
from agents.evaluation.figures.style import DPI, EDGE, SMALL, TITLE, styled
from execution_env.allocation.rendering import BAND, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = (6.4, 3.2, 2.2, 1.7)
"""Widths of a column, in inches, where there are one, two, three or four: as wide as a page."""

HEIGHTS = (1.5, 1.0, 0.9)
"""Relative heights of a policy's three panels."""


@styled
def day(found: Trace) -> Figure:
    """Draw one day under several policies, a column each.

    The top panel shows the cumulative fill inside the envelope. The middle one shows shares posted
    (pale) and filled per bucket and algo. The bottom one shows the day's hidden fill rates, and the
    estimated ones.

    Args:
        found: result of ``agents.evaluation.allocation.trace.trace``.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    count = len(found.orders)
    down = -(-count // len(WIDTHS))
    across = -(-count // down)
    width = WIDTHS[across - 1]
    size = (0.8 + width * across, 0.9 + 6.6 * down)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(_title(found), x=0.01, ha="left", fontsize=TITLE, fontweight="bold")
    panels = figure.subplots(
        3 * down,
        across,
        squeeze=False,
        sharex=True,
        sharey="row",
        gridspec_kw={"height_ratios": HEIGHTS * down},
    )
    for j, order in enumerate(found.orders):
        fills, postings, rates = panels[3 * (j // across) : 3 * (j // across) + 3, j % across]
        _draw_fills(fills, order, found, int(8 * width))
        _draw_postings(postings, order, found)
        _draw_rates(rates, order, found, int(3.5 * width))
        if j % across == 0:
            fills.set_ylabel("share of the order")
            postings.set_ylabel("shares in a bucket")
            rates.set_ylabel("fill rate")
    for j in range(count, across * down):
        for axes in panels[3 * (j // across) : 3 * (j // across) + 3, j % across]:
            axes.set_visible(False)
    _legend(figure, found)
    return figure


def _title(found: Trace) -> str:
    parts = [f"{found.scenario.name}, day {found.seed}"]
    parts += [
        f"{name} {found.bounds[name]:.3f}"
        for name in ("hindsight", "clairvoyant")
        if name in found.bounds
    ]
    return "   ".join(parts)


def _draw_fills(axes: Any, order: Played, found: Trace, letters: int) -> None:
    n, buckets = found.scenario.lots, found.scenario.buckets
    ends = np.arange(buckets)  # the last bucket has no envelope
    lower = np.array([0.0, *(bucket.lower / n for bucket in order.buckets[:-1])])
    upper = np.array([0.0, *(bucket.upper / n for bucket in order.buckets[:-1])])
    axes.fill_between(ends, lower, upper, color=BAND, linewidth=0)
    axes.plot(ends, lower, color=EDGE, linewidth=1)
    axes.plot(ends, upper, color=EDGE, linewidth=1)
    done = np.array([0, *(bucket.done for bucket in order.buckets)]) / n
    axes.plot(np.arange(buckets + 1), done, "o-", color=INK, linewidth=1.8, markersize=4)
    outside = [b for b, bucket in enumerate(order.buckets, 1) if bucket.outside > 0]
    axes.plot(outside, done[outside], "o", color="white", markeredgecolor=INK, markersize=6)
    axes.set_ylim(-0.02, 1.06)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    label = order.label if len(order.label) <= letters else f"{order.label[: letters - 1]}…"
    axes.set_title(
        f"{order.objective:.3f}   {label}",
        loc="left",
        fontweight="bold",
    )


def _draw_postings(axes: Any, order: Played, found: Trace) -> None:
    count, lot = len(found.scenario.algos), found.scenario.order.lot_size
    width = 0.84 / count
    for i in range(count):
        left = np.arange(len(order.buckets)) + 0.08 + width * (i + 0.5)
        posted = [int(bucket.posted[i]) * lot for bucket in order.buckets]
        filled = [int(bucket.filled[i]) * lot for bucket in order.buckets]
        colour = algo_colour(i)
        axes.bar(left, posted, 0.94 * width, color=colour, alpha=0.3, linewidth=0)
        axes.bar(left, filled, 0.94 * width, color=colour, linewidth=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylim(bottom=0)


def _draw_rates(axes: Any, order: Played, found: Trace, most_ticks: int) -> None:
    buckets = len(order.buckets)
    middles = np.arange(buckets) + 0.5
    for i in range(len(found.scenario.algos)):
        estimates = [bucket.estimates[i] for bucket in order.buckets]
        axes.plot(middles, estimates, color=algo_colour(i), linewidth=1.6)
        hidden = found.day.fill_rate[:, i, 0]
        used = np.array([bucket.posted[i] > 0 for bucket in order.buckets])
        axes.scatter(
            middles, hidden, s=16, facecolors="none", edgecolors=algo_colour(i), linewidth=1
        )
        axes.scatter(middles[used], hidden[used], s=16, color=algo_colour(i), linewidth=1)
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ticks = np.arange(0, buckets, -(-buckets // most_ticks))
    axes.set_xticks(ticks + 0.5, [str(b + 1) for b in ticks])
    axes.set_xlim(-0.1, buckets + 0.1)
    axes.tick_params(labelbottom=True)  # also above another row of policies
    axes.set_xlabel("bucket")


def _legend(figure: Any, found: Trace) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    handles: list[Any] = [Patch(color=algo_colour(i)) for i in range(len(found.scenario.algos))]
    names = list(found.scenario.algo_names)
    handles += [
        Patch(color=BAND),
        Line2D([], [], color=INK, marker="o", markerfacecolor="white"),
        Patch(color=MUTED, alpha=0.3),
        Patch(color=MUTED),
        Line2D([], [], color=MUTED),
        Line2D([], [], color=MUTED, marker="o", linestyle=""),
        Line2D([], [], color=MUTED, marker="o", linestyle="", markerfacecolor="none"),
    ]
    names += ["envelope", "white: outside it", "posted", "filled", "estimated rate"]
    names += ["hidden rate", "hidden, not posted to"]
    legend = figure.legend(
        handles,
        [str(j) for j in range(len(names))],
        loc="outside lower left",
        ncols=5,
        frameon=False,
        fontsize=SMALL,
        handlelength=1.4,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)  # only now: a legend leaves out labels that begin with _
