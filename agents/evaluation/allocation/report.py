"""Report of a comparison: a table, for the terminal or in markdown, and its finding in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.tables import ABOUT_CLEAN_UP, CLEANED_UP, FILLED, Cell, Row, ends, verdict
from agents.policy import BOUNDS
from execution_env import Scenario

COMPARISON_HEADER = (
    "policy",
    "objective",
    "95 % interval",
    "minus lp",
    "95 % interval",
    "gap to clairvoyant",
    FILLED,
    CLEANED_UP,
    "decision",
)

NARROW_TERMINAL = 126
"""Width of a terminal, in columns, below which the table omits its least needed columns."""


def legend(scenario: Scenario) -> str:
    """Return the meaning of the columns."""
    return (
        f"Objective: cost and penalties per share of the parent order, in {scenario.unit}; lower is "
        "better. Minus lp: paired by day, negative is better than plain lp. Clairvoyant knows each "
        "day's hidden state: on average no policy on the action grid gets below it. Hindsight knows "
        f"everything: no policy gets below it on any day. {ABOUT_CLEAN_UP}"
    )


def split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows of policies, and the rows of bounds."""
    policies = [row for row in rows if row["policy"] not in BOUNDS]
    return policies, [row for row in rows if row["policy"] in BOUNDS]


def table(rows: Sequence[Row], title: str, width: int = 160) -> Table:
    """Return the table for a terminal of ``width`` columns."""
    kept = [0, 1, 3, 4, 5] if width < NARROW_TERMINAL else range(len(COMPARISON_HEADER))
    shown = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for j in kept:
        header = COMPARISON_HEADER[j]
        wraps = header in ("gap to clairvoyant", FILLED, CLEANED_UP)
        least = max(7, *map(len, header.split()))
        side: Literal["left", "right"] = "right" if j else "left"
        shown.add_column(header, justify=side, no_wrap=not wraps, min_width=least)
    policies, bounds = split(rows)
    for row in policies + bounds:
        if bounds and row is bounds[0]:
            shown.add_section()
        style = "bold" if row is policies[0] else "dim" if row in bounds else None
        cells = _cells(row)
        shown.add_row(*(Text(cells[j]) for j in kept), style=style)
    return shown


def markdown(rows: Sequence[Row]) -> str:
    """Return the same table in markdown, bounds last."""
    return markdown_table(COMPARISON_HEADER, list(map(_cells, rows)))


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in markdown, its first column aligned left and the others right."""
    rule = ("---", *["---:"] * (len(header) - 1))
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '/') for cell in line)} |"
        for line in (header, rule, *lines)
    )


def _cells(row: Row) -> tuple[str, ...]:
    name = str(row["policy"])
    decision, left = row["decision_us"], row["residual_fraction_mean"]
    return (
        f"{name} (bound)" if name in BOUNDS else name,
        _number(row["objective_mean"]),
        _interval(row, "objective"),
        _number(row["diff_vs_lp_mean"], "+.4f") if name != REFERENCE else "",
        _interval(row, "diff_vs_lp", "+.4f") if name != REFERENCE else "",
        _number(row["gap_to_clairvoyant"], "+.1%") if name != "clairvoyant" else "",
        *ends(left if isinstance(left, int | float) else None),
        f"{_number(decision, ',.0f')} us" if decision is not None else "",
    )


def _number(cell: Cell, shape: str = ".4f") -> str:
    return format(cell, shape) if isinstance(cell, int | float) else ""


def _interval(row: Row, what: str, shape: str = ".4f") -> str:
    low, high = row[f"{what}_ci_low"], row[f"{what}_ci_high"]
    return "" if low is None else f"{_number(low, shape)} to {_number(high, shape)}"


def finding(rows: Sequence[Row], level: Sequence[str] = ()) -> str:
    """Return the finding of the table in a few sentences.

    Args:
        rows: rows of the table.
        level: labels of policies with no clear difference from the best.
    """
    policies, _ = split(rows)
    best = policies[0]
    sentences = [f"Best is {best['policy']} with {_number(best['objective_mean'])}{_within(best)}"]
    if best["policy"] == REFERENCE:
        sentences[0] += "; nothing here beats lp."
    else:
        sentences[0] += f": {_against(best)}."
    if level:
        sentences.append(f"Not told apart from it on these days: {', '.join(level)}.")
    gap = best["gap_to_clairvoyant"]
    if isinstance(gap, float):
        where = "above the clairvoyant bound"
        if gap < 0:
            where = "below the clairvoyant bound, which holds on average, for the action grid"
        sentences.append(f"{best['policy']} is {abs(gap):.1%} {where}.")
    known = [row for row in policies if verdict(row) is not None]
    others = [row for row in known if row["policy"] not in (best["policy"], REFERENCE)]
    for sign, words in (
        (-1, "Also better than lp: {}."),
        (0, "Not told apart from lp on these days: {}."),
        (1, "Worse than lp: {}."),
    ):
        listed = [row for row in others if verdict(row) == sign]
        if listed:
            sentences.append(words.format(", ".join(str(row["policy"]) for row in listed)))
    if not known:
        sentences.append("One day tells nothing of other days; play more for intervals.")
    return " ".join(sentences)


def _within(row: Row) -> str:
    interval = _interval(row, "objective")
    return f" ({interval})" if interval else ""


def _against(row: Row) -> str:
    mean, interval = row["diff_vs_lp_mean"], _interval(row, "diff_vs_lp", "+.4f")
    assert isinstance(mean, float)
    if not interval:
        return f"{_number(mean, '+.4f')} against lp"
    if verdict(row) == -1:
        return f"it beats lp by {-mean:.4f} (policy minus lp {interval})"
    return f"it is not told apart from lp ({_number(mean, '+.4f')}, {interval})"
