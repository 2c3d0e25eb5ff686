"""The diagnostic figure: days drawn from the written scenario against the data it was fitted to.

Lines and bars are the model, points the data with 95 % intervals over windows. The model's days
come from the scenario file by the same draws that training uses, so that a mistake anywhere between
shows. Numbers and verdicts are those of ``fitting.comparison``; a panel's title is its verdict.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from execution_env.allocation.rendering import ALGO_COLOURS, INK, MUTED
from execution_env.allocation.scenario import Scenario
from execution_env.calibration.fitting.comparison import (
    SIZE_MULTIPLES,
    Comparison,
    Comparisons,
)
from execution_env.calibration.fitting.dependence_seen import pairs
from execution_env.calibration.fitting.estimate import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WRONG = "#C1121F"
"""Colour of rings around points of the data whose interval the model is outside of."""

STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": MUTED,
    "grid.alpha": 0.22,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
}


def diagnostic(
    scenario: Scenario, found: Comparisons, posted: float, title: str, unit: str = "bucket"
) -> bytes:
    """Return the figure, a PNG file.

    Args:
        scenario: the model.
        found: its comparisons with the data that it was fitted to.
        posted: shares of the usual child order.
        title: description of the data.
        unit: name of a bucket, such as "3min".
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import
    from matplotlib.style import context  # noqa: PLC0415

    with context(["default", STYLE]):
        figure = Figure(figsize=(8.4, 9.6), dpi=100, layout="constrained")
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.set(rect=(0.0, 0.0, 1.0, 0.925), h_pad=0.08, w_pad=0.08)  # type: ignore[call-arg]
        figure.text(0.012, 0.988, "Model against data", fontsize=12, weight="bold", va="top")
        note = f"{title}. Lines and bars: the model. Points: data, 95 % intervals over windows; ringed "
        note += f"where the model is outside. Usual child order: {posted:,.0f} shares."
        lines = textwrap.wrap(note, 128)
        figure.text(0.012, 0.965, "\n".join(lines), fontsize=8.5, va="top", color="#5A5A5A")
        axes = figure.subplots(3, 2)
        names = scenario.algo_names
        _fills(axes[0, 0], names, found.fills, "expected share that fills, %")
        _fills(axes[0, 1], names, found.whole, "filled whole, % of child orders")
        axes[0, 0].legend(loc="lower left", ncols=1)
        _session(axes[1, 0], found, unit)
        _order(axes[1, 1], found.order)
        _later(axes[2, 0], names, found)
        _together(axes[2, 1], names, found.together)
        for panel, comparison in zip(axes.flat, found.all, strict=True):
            panel.set_title(comparison.title, color=WRONG if comparison.leaves else INK)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _colour(algo: int) -> str:
    return ALGO_COLOURS[algo % len(ALGO_COLOURS)]


def _points(
    axes: Axes,
    x: Floats,
    found: Comparison,
    which: Any,
    colour: str,
    scale: float = 1.0,
    **look: Any,
) -> None:
    """Draw the numbers ``which`` of the data with intervals, and rings where the model is outside.

    Without intervals where there are none.
    """
    style: dict[str, Any] = {"fmt": "o", "ms": 4, "lw": 1.2, "zorder": 3}
    y, error = scale * found.data[which], np.nan_to_num(scale * found.half[which])
    axes.errorbar(x, y, error, color=colour, **(style | look))
    bad = found.outside[which]
    axes.plot(x[bad], y[bad], "o", ms=9, mfc="none", mec=WRONG, mew=1.1, zorder=4)


def _fills(axes: Axes, names: tuple[str, ...], found: Comparison, label: str) -> None:
    # depths are whole lots: sizes below a lot would show the rounding and nothing else
    for k, algo in enumerate(names):
        shift = 1.0 + 0.03 * (k - (len(names) - 1) / 2)
        axes.plot(SIZE_MULTIPLES, 100 * found.model[:, k], color=_colour(k), lw=1.8, label=algo)
        _points(axes, SIZE_MULTIPLES * shift, found, (slice(None), k), _colour(k), 100)
    axes.set(xscale="log", xlabel="shares posted, multiples of the usual", ylabel=label)
    axes.set_ylim(0, 104)
    axes.set_xticks(SIZE_MULTIPLES, [f"{m:g}" for m in SIZE_MULTIPLES])
    axes.minorticks_off()


def _scaled(top: float) -> tuple[float, str]:
    """Return a factor for shares, and its name."""
    for factor, name in ((1e6, "million shares"), (1e3, "thousand shares")):
        if top >= factor:
            return factor, name
    return 1.0, "shares"


def _session(axes: Axes, found: Comparisons, unit: str) -> None:
    hours, volume = found.hours, found.session
    highest = float(np.nanmax(np.append(volume.data, volume.model)))
    factor, shares = _scaled(highest)
    level = float(volume.model[0]) / factor
    axes.axhline(level, color=INK, lw=1.8)
    axes.text(hours[-1] + 0.2, level, "model", ha="right", va="bottom", fontsize=8.5)
    _points(axes, hours, volume, slice(None), INK, 1 / factor, fmt="o-", lw=1.0)
    axes.set(xlabel="time of day, hours", ylabel=f"{shares} per {unit}")
    # an interval of two days is far longer than the figure
    axes.set_ylim(0, 1.4 * highest / factor)


def _order(axes: Axes, found: Comparison) -> None:
    factor, shares = _scaled(float(np.nanmax(found.data[0])))
    bucket = np.arange(1, found.data.shape[1] + 1)
    axes.plot(bucket, found.model[0] / factor, color=INK, lw=1.8)
    axes.plot(bucket, found.model[1] / factor, color=_colour(1), lw=1.8)
    width = 0.0 if len(bucket) < 2 else 0.08
    _points(axes, bucket - width, found, 0, INK, 1 / factor, label="mean")
    look: dict[str, Any] = {"fmt": "s", "mfc": "white", "label": "sd of windows"}
    _points(axes, bucket + width, found, 1, _colour(1), 1 / factor, **look)
    axes.set(xlabel="bucket of the order", ylabel=f"{shares}")
    axes.set_ylim(bottom=0)
    step = -(-len(bucket) // 10)
    axes.set_xticks(bucket[step - 1 :: step])
    axes.legend(loc="upper left", ncols=2)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 1.12)


def _later(axes: Axes, names: tuple[str, ...], found: Comparisons) -> None:
    lags, columns = found.lags.astype(np.float64), len(names) + 1
    axes.axhline(0.0, color=MUTED, lw=0.8)
    for k, name in enumerate([*names, "log volume"]):
        colour = INK if k == len(names) else _colour(k)
        axes.plot(lags, found.later.model[:, k], color=colour, lw=1.8, label=name)
        at = lags + 0.1 * (k - (columns - 1) / 2)
        _points(axes, at, found.later, (slice(None), k), colour)
    axes.set(xlabel="buckets later", ylabel="autocorrelation")
    axes.set_xticks(lags)
    axes.legend(loc="upper right", ncols=2)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.25 * (high - low))


def _together(axes: Axes, names: tuple[str, ...], found: Comparison) -> None:
    labels = [f"{_short(name)}\nand\nmove" for name in names]
    labels += [f"{_short(names[i])}\nand\n{_short(names[j])}" for i, j in pairs(len(names))]
    at = np.arange(len(labels), dtype=np.float64)
    colours = [_colour(k) for k in range(len(names))] + ["#9A9A9A"] * (len(labels) - len(names))
    axes.bar(at, np.nan_to_num(found.model), 0.62, color=colours, alpha=0.45, lw=0)
    _points(axes, at, found, slice(None), INK)
    for place in at[~np.isfinite(found.data)]:
        axes.text(place, 0.02, "not\nestimated", ha="center", va="bottom", fontsize=6.5)
    axes.axhline(0.0, color=MUTED, lw=0.8)
    axes.grid(visible=False, axis="x")
    size = 6.8 if len(labels) <= 6 else 5.5
    axes.set_xticks(at, labels, fontsize=size)
    axes.set(ylabel="correlation in a bucket")
    axes.set_ylim(-1, 1)


def _short(name: str) -> str:
    return name if len(name) <= 10 else f"{name[:9]}…"
