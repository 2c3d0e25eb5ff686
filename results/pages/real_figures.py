"""Figures of the experiment on real days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.figures import png
from agents.evaluation.figures.choice import COLOURS, family
from agents.evaluation.figures.style import SMALL, line, new_figure, patch, quiet, styled
from agents.evaluation.tables import Row
from agents.learners import LEARNERS
from execution_env.allocation.rendering import INK, MUTED
from results.pages.real_tables import MODEL, REAL_DAYS_BOUND, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRANSFER_PNG, SENSITIVITY_PNG, PARTS_PNG = "transfer.png", "sensitivity.png", "parts.png"

REAL_DAYS_ROW = 0.33
"""Height of a policy's row, in inches."""

PART_COLOURS = {
    "spread": "#56B4E9",
    "fees": "#CC79A7",
    "drift": "#009E73",
    "envelope_penalty": "#E69F00",
    "clean_up": "#333333",
}

BELIEF_MARKS = {
    "fill_probability x 0.7": ("#D55E00", "v"),
    "fill_probability x 1.3": ("#D55E00", "^"),
    "depth x 0.7": ("#0072B2", "v"),
    "depth x 1.3": ("#0072B2", "^"),
}


def drawn(tables: Tables) -> dict[str, bytes]:
    """Return all figures as PNG files, by name."""
    return {
        TRANSFER_PNG: png(transfer(tables.transfer)),
        SENSITIVITY_PNG: png(sensitivity(tables.sensitivity)),
        PARTS_PNG: png(parts(tables.parts)),
    }


def learners_family(policy: str) -> str:
    """Return a key of ``COLOURS`` for a policy's name in this experiment."""
    titles = {learner.title: name for name, learner in LEARNERS.items()}
    return titles.get(policy, family(policy))


@styled
def transfer(rows: Sequence[Row]) -> Figure:
    """Draw the difference to lp that the model promised, and the one on real days."""
    symbols = list(dict.fromkeys(str(row["symbol"]) for row in rows))
    shown = {symbol: _policies(rows, symbol, {REFERENCE, REAL_DAYS_BOUND}) for symbol in symbols}
    figure = new_figure(
        "What the model promised, and what the day it had not seen brought",
        "Objective minus that of lp, basis points, without the drift that waiting cost by chance. Lines: "
        "95 % intervals over windows of these days, not over other days; negative is better than lp.",
        REAL_DAYS_ROW * max(map(len, shown.values())) + 0.8,
        [
            (
                "model, 10,000 days",
                line(INK, marker="o", linestyle="", markersize=6, fillstyle="none"),
            ),
            ("9 October", line(INK, marker="o", linestyle="-", markersize=6)),
            (
                "three days, each left out once",
                line(MUTED, marker="D", linestyle="-", markersize=4),
            ),
        ],
    )
    panels = figure.subplots(1, len(symbols), squeeze=False)[0]
    for axes, symbol in zip(panels, symbols, strict=True):
        for j, row in enumerate(shown[symbol]):
            colour = COLOURS[learners_family(str(row["policy"]))]
            _dot(axes, -j, row, "adjusted_minus_lp", colour, marker="o", markersize=6)
            _dot(axes, -j - 0.28, row, "three_days_minus_lp", MUTED, marker="D", markersize=4)
            axes.plot(
                number(row, "promised_minus_lp"),
                -j + 0.25,
                marker="o",
                color=colour,
                markersize=6,
                fillstyle="none",
            )
        _finish(axes, [str(row["policy"]) for row in shown[symbol]], symbol)
        axes.set_xlabel("minus lp, basis points")
    return figure


@styled
def sensitivity(rows: Sequence[Row]) -> Figure:
    """Draw the change of the adjusted objective that wrong beliefs cause."""
    symbols = list(dict.fromkeys(str(row["symbol"]) for row in rows))
    places = list(dict.fromkeys(str(row["where"]) for row in rows))
    policies = believers(rows)
    figure = new_figure(
        "What wrong beliefs cost",
        "Change of the adjusted objective, basis points, when fill probabilities or depths are believed to be 30 % "
        "lower or higher than measured, on 10,000 days of the model and on a real one; learners are trained "
        "on the wrong model. Lines: 95 % intervals, on the real day over windows. Mind the scales.",
        len(places) * (REAL_DAYS_ROW * len(policies) + 0.8),
        [
            (belief.replace("_", " "), line(colour, marker=mark, linestyle="", markersize=6))
            for belief, (colour, mark) in BELIEF_MARKS.items()
        ],
    )
    panels = figure.subplots(len(places), len(symbols), squeeze=False)
    marks = list(BELIEF_MARKS)
    for i, where in enumerate(places):
        for axes, symbol in zip(panels[i], symbols, strict=True):
            for row in rows:
                if (row["symbol"], row["where"]) != (symbol, where):
                    continue
                if row["policy"] not in policies:
                    continue
                colour, mark = BELIEF_MARKS[str(row["beliefs"])]
                shift = 0.18 * (marks.index(str(row["beliefs"])) - 1.5)
                ends: Row = {
                    "x": number(row, "change"),
                    "x_ci_low": number(row, "ci_low"),
                    "x_ci_high": number(row, "ci_high"),
                }
                at = -policies.index(str(row["policy"])) - shift
                _dot(axes, at, ends, "x", colour, marker=mark, markersize=4.5)
            _finish(axes, policies, f"{symbol}, {place_name(where)}")
            axes.set_xlabel("change, basis points")
    return figure


def place_name(where: str) -> str:
    """Return the title of a place in ``sensitivity.csv``."""
    return "the model's days" if where == MODEL else "9 October"


@styled
def parts(rows: Sequence[Row]) -> Figure:
    """Draw the parts of the shortfall, in the model and on the last real day."""
    symbols = list(dict.fromkeys(str(row["symbol"]) for row in rows))
    last = max(str(row["where"]) for row in rows if row["where"] != MODEL)
    policies = list(dict.fromkeys(str(row["policy"]) for row in rows if row["where"] == MODEL))
    figure = new_figure(
        "What an order pays for: in the model, and on the real day",
        "Means, basis points per share. Upper bar: model; lower, paler bar: 9 October. To the left of "
        "zero is what is earned; drift on one day is as it happened.",
        (REAL_DAYS_ROW + 0.1) * len(policies) + 0.8,
        [(name.replace("_", " "), patch(colour)) for name, colour in PART_COLOURS.items()],
    )
    panels = figure.subplots(1, len(symbols), squeeze=False)[0]
    for axes, symbol in zip(panels, symbols, strict=True):
        for row in rows:
            if row["symbol"] != symbol or row["where"] not in (MODEL, last):
                continue
            if row["policy"] not in policies:
                continue
            model = row["where"] == MODEL
            at = -policies.index(str(row["policy"])) + (0.19 if model else -0.19)
            ends = [0.0, 0.0]
            for name, colour in PART_COLOURS.items():
                part = number(row, name)
                axes.barh(
                    at, part, 0.34, ends[part < 0], color=colour, alpha=1.0 if model else 0.55
                )
                ends[part < 0] += part
        _finish(axes, policies, symbol)
        axes.set_xlabel("basis points per share")
    return figure


def number(row: Row, key: str) -> float:
    """Return a cell that is a number."""
    cell = row[key]
    assert isinstance(cell, int | float)
    return float(cell)


def believers(rows: Sequence[Row]) -> list[str]:
    """Return the policies that wrong beliefs change anywhere; some rules use no beliefs."""
    return list(dict.fromkeys(str(row["policy"]) for row in rows if number(row, "change") != 0.0))


def _policies(rows: Sequence[Row], symbol: str, without: set[str]) -> list[Row]:
    mine = [row for row in rows if row["symbol"] == symbol and row["policy"] not in without]
    key: Callable[[Row], float] = lambda row: number(row, "promised_minus_lp")  # noqa: E731
    return sorted(mine, key=key)


def _dot(axes: Axes, at: float, row: Row, name: str, colour: str, **look: object) -> None:
    low, high = number(row, f"{name}_ci_low"), number(row, f"{name}_ci_high")
    axes.plot([low, high], [at, at], color=colour, linewidth=1.2)
    axes.plot(number(row, name), at, color=colour, linestyle="", **look)  # type: ignore[arg-type]


def _finish(axes: Axes, labels: Sequence[str], title: str) -> None:
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks([-j for j in range(len(labels))], labels, fontsize=SMALL)
    axes.set_ylim(0.5 - len(labels), 0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(title, fontweight="bold")
    quiet(axes, "x")
