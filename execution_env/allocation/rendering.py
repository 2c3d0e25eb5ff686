"""Rendering of an order: a line of text per bucket, and a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.batch import Batch
from execution_env.allocation.formulas import distance_outside, schedule

ALGO_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of Okabe & Ito's palette, which colour-blind readers can tell apart."""

INK, BAND, MUTED = "#222222", "#DCE6F0", "#7A7A7A"


class Recorder:
    """Record of one order of a batch, from bucket to bucket.

    Args:
        batch: batch that holds the order.
        order: its index in the batch.
    """

    def __init__(self, batch: Batch, order: int = 0) -> None:
        self._batch, self._order = batch, order
        self._scenario = batch.scenario
        self.start()

    def start(self) -> None:
        """Start the record of a new order."""
        self._posted: list[NDArray[np.int32]] = []
        self._filled: list[NDArray[np.int32]] = []
        self._bounds: list[tuple[float, float]] = []
        self._cost = self._penalty = 0.0
        self._next_bounds = self._current_bounds()

    def record(self) -> None:
        """Record fills, costs and penalties of the bucket that was just played."""
        e, outcome = self._order, self._batch.outcome
        self._posted.append(self._batch.posted[:, e].copy())
        self._filled.append(outcome.filled[:, e].copy())
        self._cost += float(outcome.posting_cost[e])
        self._penalty += float(outcome.envelope_penalty[e] + outcome.residual_penalty[e])
        self._bounds.append(self._next_bounds)
        self._next_bounds = self._current_bounds()

    def _current_bounds(self) -> tuple[float, float]:
        orders, e = self._batch.orders, self._order
        return float(orders.lower[e]), float(orders.upper[e])

    def line(self) -> str:
        """Return a line about the bucket just played; before the first, about the order."""
        scenario = self._scenario
        names, n = scenario.algo_names, scenario.lots
        if not self._posted:
            return (
                f"{scenario.name}: {scenario.order.size:,} shares = {n} lots in "
                f"{scenario.buckets} buckets through {', '.join(names)}"
            )
        width = len(str(n))
        algos = "  ".join(
            f"{name} {posted:>{width}}>{filled:<{width}}"
            for name, posted, filled in zip(names, self._posted[-1], self._filled[-1], strict=True)
        )
        done = n - int(self._batch.orders.remaining[self._order])
        lower, upper = self._bounds[-1]
        if distance_outside(lower, upper, float(done)) == 0:
            where = "inside"
        else:
            where = "behind" if done < lower else "ahead"
        digits = len(str(scenario.buckets))
        return (
            f"bucket {len(self._posted):>{digits}}/{scenario.buckets}  posted>filled  {algos}  "
            f"total {done:>{width}}/{n}, {where} [{lower:.4g}, {upper:.4g}]  "
            f"cost {self._cost:.3f}  penalty {self._penalty:.3f}"
        )

    def picture(self) -> NDArray[np.uint8]:
        """Return a picture of the order so far, (H, W, 3) uint8.

        The upper part shows cumulative fills inside the envelope, the lower part lots posted and
        filled per bucket and algo.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
            from matplotlib.figure import Figure  # noqa: PLC0415
        except ImportError as error:
            raise ImportError(
                'render_mode="rgb_array" needs matplotlib: pip install "execution_env[plot]"'
            ) from error
        figure = Figure(figsize=(9.6, 6.0), dpi=100, layout="constrained", facecolor="white")
        canvas = FigureCanvasAgg(figure)
        above, below = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [1.6, 1.0], "hspace": 0.06}
        )
        self._draw_fills(above)
        self._draw_postings(below)
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(colors=MUTED, labelcolor=INK)
            axes.spines[["left", "bottom"]].set_color(MUTED)
        figure.suptitle(self._title(), x=0.01, ha="left", fontsize=13, color=INK)
        canvas.draw()  # type: ignore[no-untyped-call]
        picture = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        return picture[..., :3].copy()

    def _title(self) -> str:
        played, scenario = len(self._posted), self._scenario
        return (
            f"{scenario.name}: after bucket {played} of {scenario.buckets}    "
            f"cost {self._cost:.2f}  penalty {self._penalty:.2f}  per share"
        )

    def _draw_fills(self, axes: Any) -> None:
        scenario, n = self._scenario, self._scenario.lots
        ends = np.arange(scenario.buckets + 1)
        lower, upper = self._envelope()
        axes.fill_between(ends, lower / n, upper / n, color=BAND, lw=0, label="envelope")
        axes.plot(ends, lower / n, color="#9DB4CC", lw=1)
        axes.plot(ends, upper / n, color="#9DB4CC", lw=1)
        filled = np.cumsum([0, *(lots.sum() for lots in self._filled)])
        axes.plot(ends[: len(filled)], filled / n, "o-", color=INK, lw=2.2, ms=5, label="filled")
        axes.annotate(
            f"{filled[-1] / n:.0%}",
            (len(filled) - 1, filled[-1] / n),
            (8, -4),
            textcoords="offset points",
            color=INK,
            fontsize=12,
            fontweight="bold",
            va="top",
        )
        axes.set_ylim(-0.02, 1.05)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_ylabel("share of the order", color=INK)
        axes.legend(loc="upper left", frameon=False, fontsize=10)

    def _envelope(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return both edges in lots at the start and at bucket ends, (B + 1,) each.

        Past buckets have their actual edges, later buckets the expected ones.
        """
        parameters, n = self._batch.parameters, self._scenario.lots
        lower, upper = parameters.buckets["lower"].copy(), parameters.buckets["upper"].copy()
        played = len(self._posted)
        if parameters.order["track_volume"][0] and played < lower.size:
            expected = parameters.buckets["expected_volume"][played:]
            middle = schedule(
                self._batch.orders.market_volume[self._order], np.cumsum(expected), expected.sum()
            )
            band = parameters.order["band"][0]
            lower[played:] = n * np.maximum(middle - band, 0.0)
            upper[played:] = n * np.minimum(middle + band, 1.0)
        for b, (low, high) in enumerate(self._bounds):
            lower[b], upper[b] = low, high
        return np.append(0.0, lower), np.append(0.0, upper)

    def _draw_postings(self, axes: Any) -> None:
        scenario, played = self._scenario, len(self._posted)
        count = len(scenario.algos)
        width = 0.8 / count
        for i, name in enumerate(scenario.algo_names):
            colour = ALGO_COLOURS[i % len(ALGO_COLOURS)]
            left = np.arange(played) + 0.1 + width * (i + 0.5)
            posted = [lots[i] for lots in self._posted]
            filled = [lots[i] for lots in self._filled]
            # An empty list draws nothing, but leaves the legend complete.
            axes.bar(left, posted, 0.92 * width, color=colour, alpha=0.3, lw=0)
            axes.bar(left, filled, 0.92 * width, color=colour, lw=0, label=name)
        largest = max((int(lots.max()) for lots in self._posted), default=1)
        axes.set_ylim(0, max(1.0, 1.35 * largest))
        axes.set_xlim(-0.1, scenario.buckets + 0.25)
        ticks = np.arange(0, scenario.buckets, max(1, scenario.buckets // 20))
        axes.set_xticks(ticks + 0.5, [str(b + 1) for b in ticks])
        axes.set_xlabel("bucket", color=INK)
        axes.set_ylabel("lots: posted (pale), filled", color=INK)
        axes.legend(loc="upper left", ncols=min(count, 6), frameon=False, fontsize=10)
