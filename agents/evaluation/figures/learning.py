"""Figures of learning curves: of one run, and of learners over seeds, against steps and seconds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.allocation.selection import by_seed, same
from agents.evaluation.figures.choice import COLOURS, family, listed
from agents.evaluation.figures.style import (
    QUIET,
    SMALL,
    magnitude,
    new_figure,
    patch,
    png,
    quiet,
    short,
    styled,
)
from agents.learners import LEARNERS
from agents.policy import changes
from agents.storage.run_directory import PROGRESS, RunConfig, read_config, read_progress
from execution_env.allocation.rendering import ALGO_COLOURS, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP_QUANTILE = 0.85
"""Quantile of a curve's upper ends up to which it is in view. Its first, far worse points may lie
outside."""

DRAWN_POINTS = 200
"""Number of points of a learner's curve, evenly spaced on its logarithmic axis."""

Floats = NDArray[np.float64]


@styled
def learning_curve(
    rows: Sequence[Mapping[str, float]],
    title: str,
    axis: str,
    kept: Mapping[str, float],
    unit: str = "half-spreads",
) -> bytes:
    """Return a PNG of the greedy objective on validation days during training, with 95 % intervals.

    Args:
        rows: rows of ``progress.csv``.
        title: title of the figure.
        axis: label of the horizontal axis, which shows steps in millions.
        kept: row of the policy that is kept.
        unit: unit of objectives.
    """
    colour = ALGO_COLOURS[1]
    steps = np.array([row["steps"] for row in rows]) / 1e6
    mean, low, high = (
        np.array([row[f"objective_{name}"] for row in rows])
        for name in ("mean", "ci_low", "ci_high")
    )
    states = [row.get("states") for row in rows]
    figure = new_figure(title, "", 4.0)
    axes = figure.add_subplot()
    for j in range(1, len(rows)):
        if states[j] != states[j - 1]:
            axes.axvline(steps[j - 1], color=MUTED, linewidth=0.8, linestyle=":")
    axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(steps, mean, color=colour, linewidth=1.8, marker=".", markersize=5)
    at = (kept["steps"] / 1e6, kept["objective_mean"])
    axes.plot(*at, color=colour, marker="o", markersize=10, fillstyle="none")
    axes.annotate(
        f"kept: {at[1]:.3f}",
        at,
        xytext=(0, -19),
        textcoords="offset points",
        ha="right" if 2 * at[0] > steps[-1] else "left",
        color=colour,
    )
    axes.set_ylim(_heights([low], [high]))
    axes.set_xlim(0, max(float(steps[-1]), 1e-9) * 1.02)
    axes.set_xlabel(axis)
    axes.set_ylabel(f"greedy objective per share, {unit}")
    quiet(axes, "y")
    return png(figure)


def _heights(lows: Sequence[Floats], highs: Sequence[Floats]) -> tuple[float, float]:
    """Return the range of objectives to show for curves with these lower and upper ends."""
    bottom = min(float(low.min()) for low in lows)
    top = max(float(np.quantile(high, TOP_QUANTILE)) for high in highs)
    margin = 0.15 * max(top - bottom, 1e-3)
    return bottom - margin, top + 3 * margin


class Learner(NamedTuple):
    """Runs that differ in their seed only.

    Attributes:
        name: name of the learner.
        family: a key of ``COLOURS``.
        progress: rows of ``progress.csv``, by run.
    """

    name: str
    family: str
    progress: list[list[dict[str, float]]]

    @property
    def label(self) -> str:
        """Return its name, with the number of seeds if there are several."""
        count = len(self.progress)
        return f"{self.name} ({count} seeds)" if count > 1 else self.name


class Curve(NamedTuple):
    """A learner's objective on the validation days against x.

    Attributes:
        x: (N,) steps or seconds, up to the end of the seed that stopped first.
        mean, low, high: (N,) mean, least and most over the seeds.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


def learners(runs: Sequence[Path | str]) -> list[Learner]:
    """Return runs grouped by learner, in the order in which they are given.

    Raises:
        ValueError: there are no runs, they were trained on different scenarios, or one was never
            evaluated.
        RunError: a run directory is missing or damaged (a ValueError too).
    """
    if isinstance(runs, str | Path) or not list(runs):
        raise ValueError(f"runs = {runs!r}: must be a list of run directories, at least one.")
    configs = [read_config(run) for run in runs]
    for run, config in zip(runs, configs, strict=True):
        if not same(config.scenario, configs[0].scenario):
            raise ValueError(
                f"{run}: was trained on {config.scenario.name}, {runs[0]} (here) on "
                f"{configs[0].scenario.name}: {changes(config.scenario, configs[0].scenario)}. Give "
                "runs on one scenario."
            )
    progress = [[row for row in read_progress(run) if row["steps"] > 0] for run in runs]
    for run, rows in zip(runs, progress, strict=True):
        if not rows:
            raise ValueError(f"{run}: has no evaluation in {PROGRESS}; train it, or leave it out.")
    groups = by_seed(configs)
    names = _names([configs[where[0]] for where in groups])
    return [
        Learner(
            name,
            family(configs[where[0]].kind),
            [progress[j] for j in where],
        )
        for name, where in zip(names, groups, strict=True)
    ]


def _names(configs: Sequence[RunConfig]) -> list[str]:
    """Return names of learners: the kind, and the hyperparameters that differ within the kind."""
    names = []
    for config in configs:
        title = LEARNERS[config.kind].title if config.kind in LEARNERS else config.kind
        others = [other for other in configs if other.kind == config.kind]
        differing = [
            f"{key} {value if isinstance(value, str) else json.dumps(value, default=list)}"
            for key, value in config.hyperparameters.items()
            if any(other.hyperparameters.get(key) != value for other in others)
        ]
        names.append(", ".join([title, *differing]))
    return names


def curve_of(learner: Learner, column: str) -> Curve:
    """Return the mean and range over a learner's seeds against ``column``, "steps" or "seconds".

    Seeds are not evaluated at the same seconds. So objectives are interpolated between evaluations,
    linearly in the logarithm of ``column``.
    """
    places = [np.array([row[column] for row in rows], float) for rows in learner.progress]
    places = [np.maximum(x, 1e-3) for x in places]
    first = max(x[0] for x in places)
    last = max(first, min(x[-1] for x in places))
    x = np.unique(np.concatenate([np.geomspace(first, last, DRAWN_POINTS), *places]))
    x = x[(x >= first) & (x <= last)]
    values = np.array(
        [
            np.interp(np.log(x), np.log(at), [row["objective_mean"] for row in rows])
            for at, rows in zip(places, learner.progress, strict=True)
        ]
    )
    return Curve(x, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


@styled
def learning_curves(
    runs: Sequence[Path | str], references: Mapping[str, float] | None = None
) -> Figure:
    """Draw objectives on validation days against steps and seconds of training, a line per learner.

    A line is the mean over runs that differ in their seed only. Its band goes from the best of them
    to the worst. The objective is that of the greedy policy at that point of the training.

    Args:
        runs: run directories, of one scenario.
        references: objectives by name, for lines to compare with, such as {"lp": 0.95}. They must
            be measured on the validation days (``agents.evaluation.validation.validation_days``):
            means of other days differ by chance.

    Raises:
        ValueError: as ``learners``; or a reference is not finite.
        RunError: a run directory is missing or damaged (a ValueError too).
    """
    from matplotlib.ticker import LogLocator  # noqa: PLC0415  slow to import

    there = learners(runs)
    references = {} if references is None else references
    for name, value in references.items():
        if not math.isfinite(value):
            raise ValueError(f"references[{name!r}] = {value!r}: must be a finite objective.")
    curves = [[curve_of(learner, column) for column in ("steps", "seconds")] for learner in there]
    scenario = read_config(runs[0]).scenario
    figure = new_figure(
        _title(there, [curve for _, curve in curves], scenario.name),
        f"Objective of the greedy policy on validation days, {scenario.unit} per share of the order; "
        "lower is better. Lines: means over seeds; bands: from the best seed to the worst.",
        3.0,
        [
            (short(learner.label, 46), patch(colour, 1.0))
            for learner, colour in zip(there, _colours(there), strict=True)
        ],
    )
    limits = _limits(there, list(references.values()))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, column in zip(panels, (0, 1), strict=True):
        for colour, pair in zip(_colours(there), curves, strict=True):
            curve = pair[column]
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.25, linewidth=0)
            axes.plot(curve.x, curve.mean, color=colour, linewidth=1.8)
            axes.plot(curve.x[-1], curve.mean[-1], "o", color=colour, markersize=4)
        axes.set_xscale("log")
        axes.set_xlim(*_reach([pair[column] for pair in curves], limits[1]))
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: magnitude(value))
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        quiet(axes, "y")
    panels[0].set_xlabel("training steps")
    panels[1].set_xlabel("seconds of training")
    panels[0].set_ylabel("objective (lower is better)")
    panels[0].set_ylim(limits)
    _draw_references(panels, references)
    return figure


def _colours(there: Sequence[Learner]) -> list[str]:
    """Return a colour per learner: that of its family, or a spare one where it is taken."""
    found: list[str] = []
    spare = [colour for colour in (*ALGO_COLOURS, INK) if colour not in COLOURS.values()]
    spare += [COLOURS["other"], COLOURS["dp"], COLOURS["lp"], QUIET]
    for learner in there:
        colour = COLOURS[learner.family]
        if colour in found:
            colour = next((one for one in spare if one not in found), colour)
        found.append(colour)
    return found


def _limits(there: Sequence[Learner], references: Sequence[float]) -> tuple[float, float]:
    values = [
        np.array([row["objective_mean"] for row in rows])
        for learner in there
        for rows in learner.progress
    ]
    bottom, top = _heights(values, values)
    if references:
        width = top - bottom
        near = [value for value in references if bottom - width <= value <= top + width]
        bottom = min([bottom, *(value - 0.08 * width for value in near)])
        top = max([top, *(value + 0.08 * width for value in near)])
    return bottom, top


def _reach(curves: Sequence[Curve], top: float) -> tuple[float, float]:
    """Return the range of x: from the first point of a curve below ``top`` to the last end."""
    inside = [curve.x[curve.mean <= top] for curve in curves]
    first = min((float(x[0]) for x in inside if x.size), default=float(curves[0].x[0]))
    last = max(float(curve.x[-1]) for curve in curves)
    return first / 1.5, max(last, first) * 1.5


LABEL_HEIGHT = 13.0
"""Least distance from one label to the next, in points."""


def _draw_references(panels: Sequence[Axes], references: Mapping[str, float]) -> None:
    bottom, top = panels[0].get_ylim()
    away = [(name, value) for name, value in references.items() if not bottom <= value <= top]
    for j, (name, value) in enumerate(away):
        panels[1].annotate(
            f"{short(name, 16)} {value:.3f} {'▴' if value > top else '▾'}",
            (1.0, 1.0 if value > top else 0.0),
            (4, -12 * j if value > top else 12 * j),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=QUIET,
        )
    inside = sorted((value, name) for name, value in references.items() if bottom <= value <= top)
    points = panels[1].get_window_extent().height * 72.0 / panels[1].figure.dpi
    above = -np.inf
    for value, name in inside:
        for axes in panels:
            axes.axhline(value, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        at = points * (value - bottom) / (top - bottom)
        above = max(at, above + LABEL_HEIGHT)  # labels of close lines would overlap
        panels[1].annotate(
            f"{short(name, 16)} {value:.3f}",
            (1.0, value),
            (4, above - at),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
        )


def _title(there: Sequence[Learner], curves: Sequence[Curve], scenario: str) -> str:
    """Return a title: the best final objectives, and when each stays within 2 % of the best."""
    finals = [
        float(np.mean([rows[-1]["objective_mean"] for rows in learner.progress]))
        for learner in there
    ]
    order = np.argsort(finals, kind="stable")[:3]
    best = finals[order[0]]
    ends = [
        f"{there[j].name} {'at' if i else 'ends at'} {finals[j]:.3f}" for i, j in enumerate(order)
    ]
    times = []
    for j in order:
        good = curves[j].mean <= best + 0.02 * abs(best)
        since = int(np.flatnonzero(~good).max(initial=-1)) + 1
        times.append(_seconds(float(curves[j].x[since])) if since < good.size else "never")
    if len(there) == 1:
        return f"{ends[0]} on {scenario}; within 2\N{NO-BREAK SPACE}% of that after {times[0]}"
    return f"{listed(ends)} on {scenario}; within 2\N{NO-BREAK SPACE}% of the best after {listed(times)}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
