"""Figures. One style: quiet axes, colours that colour-blind readers can tell apart."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from execution_env.rendering import ALGO_COLOURS, INK, MUTED

STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}

TOP_QUANTILE = 0.85
"""Of the points' upper ends: the first, far worse points of a curve may leave the picture."""


def learning_curve(
    rows: Sequence[Mapping[str, float]], title: str, axis: str, kept: Mapping[str, float]
) -> bytes:
    """A PNG of the greedy objective during training, with its 95 % interval over validation days.

    Args:
        rows: of ``progress.csv``.
        title: of the figure.
        axis: what steps are, for the horizontal axis.
        kept: the row that is of the policy that is kept.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.style import context  # noqa: PLC0415

    steps = np.array([row["steps"] for row in rows]) / 1e6
    mean, low, high = (
        np.array([row[f"objective_{name}"] for row in rows])
        for name in ("mean", "ci_low", "ci_high")
    )
    states = [row.get("states") for row in rows]
    with context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for j in range(1, len(rows)):
            if states[j] != states[j - 1]:
                axes.axvline(steps[j - 1], color=MUTED, linewidth=0.8, linestyle=":")
        axes.fill_between(steps, low, high, color=ALGO_COLOURS[1], alpha=0.2, linewidth=0)
        axes.plot(steps, mean, color=ALGO_COLOURS[1], linewidth=1.8, marker=".", markersize=5)
        at = (kept["steps"] / 1e6, kept["objective_mean"])
        axes.plot(*at, color=ALGO_COLOURS[1], marker="o", markersize=10, fillstyle="none")
        axes.annotate(
            f"kept: {at[1]:.3f}",
            at,
            xytext=(0, -19),
            textcoords="offset points",
            ha="right" if 2 * at[0] > steps[-1] else "left",
            color=ALGO_COLOURS[1],
        )
        bottom, top = float(low.min()), float(np.quantile(high, TOP_QUANTILE))
        margin = 0.15 * max(top - bottom, 1e-3)
        axes.set_ylim(bottom - margin, top + 3 * margin)
        axes.set_xlim(0, max(float(steps[-1]), 1e-9) * 1.02)
        axes.set_xlabel(axis)
        axes.set_ylabel("greedy objective per share, half-spreads")
        axes.set_title(title, loc="left", fontsize=12)
        axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.6)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=130)
    return picture.getvalue()
