"""The diagnostic figure: days drawn from the written scenario against the data it was fitted to.

Lines and bars are the model, points the data with 95 % intervals over windows. The model's days
come from the scenario file by the same draws that training uses, so that a mistake anywhere between
shows.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from execution_env.allocation.market.day_stream import POLICY, DayStream
from execution_env.allocation.rendering import ALGO_COLOURS, INK, MUTED
from execution_env.allocation.scenario import Scenario
from execution_env.calibration.fitting import evidence
from execution_env.calibration.fitting.dependence_seen import pairs
from execution_env.calibration.fitting.estimate import Floats, errors
from execution_env.calibration.fitting.evidence import Evidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BUCKETS = 1_000_000
"""Approximate number of buckets drawn from the model: a hundred thousand orders of ten."""

SIZE_MULTIPLES = np.array([0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0])
"""Sizes of child orders, as multiples of the usual one."""

LAST = 5
"""Largest lag of autocorrelations, in buckets."""

NORMAL = 1.959964
"""Number of standard errors on either side that is a 95 % interval."""

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
    scenario: Scenario, data: Evidence, posted: float, title: str, unit: str = "bucket"
) -> bytes:
    """Return the figure, a PNG file.

    Args:
        scenario: the model.
        data: data that it was fitted to.
        posted: shares of the usual child order.
        title: description of the data.
        unit: name of a bucket, such as "3min".
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import
    from matplotlib.style import context  # noqa: PLC0415

    count = max(1000, BUCKETS // scenario.buckets)
    model = evidence.of_days(DayStream(scenario, 0, POLICY).draw(count), scenario.order.lot_size)
    with context(["default", STYLE]):
        figure = Figure(figsize=(8.4, 9.6), dpi=100, layout="constrained")
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.set(rect=(0.0, 0.0, 1.0, 0.925), h_pad=0.08, w_pad=0.08)  # type: ignore[call-arg]
        figure.text(0.012, 0.988, "Model against data", fontsize=12, weight="bold", va="top")
        note = f"{title}. Lines and bars: the model. Points: data, 95 % intervals over windows. "
        note += f"Usual child order: {posted:,.0f} shares."
        lines = textwrap.wrap(note, 128)
        figure.text(0.012, 0.965, "\n".join(lines), fontsize=8.5, va="top", color="#5A5A5A")
        axes = figure.subplots(3, 2)
        names = scenario.algo_names
        _fills(axes[0], scenario, model, data, posted)
        _session(axes[1, 0], scenario, data, unit)
        _order(axes[1, 1], model, data)
        _persistence(axes[2, 0], names, model, data, posted)
        _ties(axes[2, 1], names, model, data, posted)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _colour(algo: int) -> str:
    return ALGO_COLOURS[algo % len(ALGO_COLOURS)]


def _points(axes: Axes, x: Floats, replicates: Floats, colour: str, **look: Any) -> None:
    """Draw data with intervals; without them if there is one window."""
    error = np.nan_to_num(NORMAL * errors(replicates))
    style: dict[str, Any] = {"fmt": "o", "ms": 4, "lw": 1.2, "zorder": 3}
    axes.errorbar(x, replicates[0], error, color=colour, **(style | look))


def _one(model: Evidence) -> Floats:
    return np.ones((1, len(model.cluster)))


def _fills(axes: Any, scenario: Scenario, model: Evidence, data: Evidence, posted: float) -> None:
    # depths are whole lots: sizes below a lot would show the rounding and nothing else
    sizes = posted * SIZE_MULTIPLES
    drawn = evidence.fill_curves(model, _one(model), sizes)
    seen = evidence.fill_curves(data, data.weight, sizes)
    for which, (name, title) in enumerate(
        (
            ("expected share that fills, %", "How much of a child order fills"),
            ("filled whole, % of child orders", "How often it fills whole"),
        )
    ):
        for k, algo in enumerate(scenario.algo_names):
            shift = 1.0 + 0.03 * (k - (len(scenario.algos) - 1) / 2)
            axes[which].plot(
                SIZE_MULTIPLES, 100 * drawn[which][0, :, k], color=_colour(k), lw=1.8, label=algo
            )
            _points(axes[which], SIZE_MULTIPLES * shift, 100 * seen[which][..., k], _colour(k))
        axes[which].set(xscale="log", xlabel="shares posted, multiples of the usual", ylabel=name)
        axes[which].set_ylim(0, 104)
        axes[which].set_xticks(SIZE_MULTIPLES, [f"{m:g}" for m in SIZE_MULTIPLES])
        axes[which].minorticks_off()
        axes[which].set_title(title)
    axes[0].legend(loc="lower left", ncols=1)


def _scaled(top: float) -> tuple[float, str]:
    """Return a factor for shares, and its name."""
    for factor, name in ((1e6, "million shares"), (1e3, "thousand shares")):
        if top >= factor:
            return factor, name
    return 1.0, "shares"


def _session(axes: Axes, scenario: Scenario, data: Evidence, unit: str) -> None:
    hours, mean = evidence.session(data, data.weight)
    factor, shares = _scaled(float(np.nanmax(mean[0])))
    level = float(scenario.expected_volume.mean()) / factor
    axes.axhline(level, color=INK, lw=1.8)
    axes.text(hours[-1] + 0.2, level, "model", ha="right", va="bottom", fontsize=8.5)
    _points(axes, hours, mean / factor, INK, fmt="o-", lw=1.0)
    ratio = mean[0].max() / max(mean[0].min(), 1e-9)
    axes.set(xlabel="time of day, hours", ylabel=f"{shares} per {unit}")
    axes.set_ylim(bottom=0)
    axes.set_title(f"Volume by half-hour: largest / smallest {ratio:.1f}")


def _order(axes: Axes, model: Evidence, data: Evidence) -> None:
    mean, sd = evidence.volumes(data, data.weight)
    model_mean, model_sd = evidence.volumes(model, _one(model))
    factor, shares = _scaled(float(np.nanmax(mean[0])))
    bucket = np.arange(1, mean.shape[1] + 1)
    axes.plot(bucket, model_mean[0] / factor, color=INK, lw=1.8)
    axes.plot(bucket, model_sd[0] / factor, color=_colour(1), lw=1.8)
    width = 0.0 if len(bucket) < 2 else 0.08
    _points(axes, bucket - width, mean / factor, INK, label="mean")
    _points(
        axes, bucket + width, sd / factor, _colour(1), fmt="s", mfc="white", label="sd of windows"
    )
    axes.set(xlabel="bucket of the order", ylabel=f"{shares}")
    axes.set_ylim(bottom=0)
    step = -(-len(bucket) // 10)
    axes.set_xticks(bucket[step - 1 :: step])
    axes.set_title("Volume within an order")
    axes.legend(loc="upper left", ncols=2)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 1.12)


def _persistence(
    axes: Axes, names: tuple[str, ...], model: Evidence, data: Evidence, posted: float
) -> None:
    lags = np.arange(1, min(LAST, max(data.volume.shape[1] - 1, 1)) + 1)
    drawn = evidence.autocorrelations(model, _one(model), posted, lags)
    seen = evidence.autocorrelations(data, data.weight, posted, lags)
    axes.axhline(0.0, color=MUTED, lw=0.8)
    columns = len(names) + 1
    for k, name in enumerate([*names, "log volume"]):
        colour = INK if k == len(names) else _colour(k)
        axes.plot(lags, drawn[0, :, k], color=colour, lw=1.8, label=name)
        _points(axes, lags + 0.1 * (k - (columns - 1) / 2), seen[..., k], colour)
    axes.set(xlabel="buckets later", ylabel="autocorrelation")
    axes.set_xticks(lags)
    axes.set_title("Fills and volume, buckets later")
    axes.legend(loc="upper right", ncols=2)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.25 * (high - low))


def _ties(
    axes: Axes, names: tuple[str, ...], model: Evidence, data: Evidence, posted: float
) -> None:
    drawn_moves, drawn_between = evidence.dependence(model, _one(model), posted)
    moves, between = evidence.dependence(data, data.weight, posted)
    drawn = np.concatenate([drawn_moves, drawn_between], 1)
    seen = np.concatenate([moves, between], 1)
    labels = [f"{_short(name)}\nand\nmove" for name in names]
    labels += [f"{_short(names[i])}\nand\n{_short(names[j])}" for i, j in pairs(len(names))]
    at = np.arange(len(labels), dtype=np.float64)
    colours = [_colour(k) for k in range(len(names))] + ["#9A9A9A"] * (len(labels) - len(names))
    axes.bar(at, np.nan_to_num(drawn[0]), 0.62, color=colours, alpha=0.45, lw=0)
    _points(axes, at, seen, INK)
    axes.axhline(0.0, color=MUTED, lw=0.8)
    axes.grid(visible=False, axis="x")
    size = 6.8 if len(labels) <= 6 else 5.5
    axes.set_xticks(at, labels, fontsize=size)
    axes.set(ylabel="correlation in a bucket")
    axes.set_ylim(-1, 1)
    axes.set_title("Fills with the mid's move, and together")


def _short(name: str) -> str:
    return name if len(name) <= 10 else f"{name[:9]}…"
