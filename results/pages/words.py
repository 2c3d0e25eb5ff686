"""Results of a scenario, read from the CSV files in its folder, and their numbers in words."""

from __future__ import annotations

import csv
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agents.commands.compare import COMPARISON_CSV
from agents.evaluation.allocation.report import markdown_table
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.tables import CLEANED_UP, FILLED, ends
from agents.policy import BOUNDS
from results.pages.tables import PAIRS_CSV, SCORE_BOUND, SCORES_CSV
from results.plan import PLANS

Cells = Mapping[str, str]

SPACE = "\N{NO-BREAK SPACE}"
"""Space between a number and its unit."""

PAGE_WIDTH = 120
"""Width of a page, in columns."""


class Found(NamedTuple):
    """Results of a scenario, from its CSV files.

    Attributes:
        name: name of the scenario.
        rows: rows of ``comparison.csv`` without single training seeds, best first.
        bounds: rows of the bounds.
        scores: rows of ``scores.csv`` by policy.
        pairs: rows of ``pairs.csv`` by policy and other.
    """

    name: str
    rows: list[Cells]
    bounds: list[Cells]
    scores: dict[str, Cells]
    pairs: dict[tuple[str, str], Cells]

    def row(self, policy: str) -> Cells:
        """Return the row of a policy."""
        return next(row for row in self.rows if row["policy"] == policy)

    def learner(self, name: str) -> str:
        """Return the label of the row for all runs of a learner."""
        return next(label for label in PLANS[self.name].groups if label.startswith(f"{name} ("))


def read(folder: Path) -> Found:
    """Read the results in a scenario's folder.

    Raises:
        OSError: a file is missing.
    """
    rows = read_csv(folder / COMPARISON_CSV)
    known = {row["policy"]: row for row in read_csv(folder / SCORES_CSV)}
    return Found(
        folder.name,
        [row for row in rows if row["policy"] in known],
        [row for row in rows if row["policy"] in BOUNDS],
        known,
        {(row["policy"], row["other"]): row for row in read_csv(folder / PAIRS_CSV)},
    )


def read_csv(path: Path) -> list[Cells]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# Numbers.


def number(cells: Cells, key: str, shape: str = ".4f") -> str:
    """Return a cell as a formatted number, "" where it is empty."""
    return format(float(cells[key]), shape) if cells[key] else ""


def interval(cells: Cells, key: str, shape: str = ".4f") -> str:
    """Return the ends of an interval in words, "" where it is empty."""
    low, high = number(cells, f"{key}ci_low", shape), number(cells, f"{key}ci_high", shape)
    return f"{low} to {high}" if low else ""


def difference(found: Found, policy: str, other: str) -> str:
    """Return policy minus other, with its interval."""
    cells = found.pairs[policy, other]
    return f"{number(cells, 'difference', '+.4f')} ({interval(cells, '', '+.4f')})"


def _gap(found: Found, policy: str, other: str) -> str:
    cells = found.pairs[policy, other]
    return f"{number(cells, 'difference', '+.4f')}, {interval(cells, '', '+.4f')}"


def verdict(found: Found, policy: str, other: str) -> int:
    """Return -1 if ``policy`` is better than ``other``, 1 if worse, 0 without clear difference."""
    cells = found.pairs[policy, other]
    return (float(cells["ci_low"]) > 0) - (float(cells["ci_high"]) < 0)


def percent_off(found: Found, policy: str) -> str:
    """Return the percentage by which a policy's objective lies below that of plain lp."""
    row, lp = found.row(policy), found.row(REFERENCE)
    return f"{-100 * float(row['diff_vs_lp_mean']) / float(lp['objective_mean']):.0f}{SPACE}%"


def against(found: Found, policy: str, others: Sequence[str]) -> str:
    """Return those of ``others`` that a policy beats, is level with, and loses to, in words."""
    parts = []
    for sign, words in ((-1, "better than"), (0, "not told apart from"), (1, "worse than")):
        listed = [
            f"`{other}` ({_gap(found, policy, other)})"
            for other in others
            if verdict(found, policy, other) == sign
        ]
        if listed:
            parts.append(f"{words} {', '.join(listed)}")
    return "; ".join(parts)


def standing(found: Found, policy: str) -> str:
    """Return a policy's objective, and the planners that it beats and loses to, in words."""
    row = found.row(policy)
    off = -float(row["diff_vs_lp_mean"]) / float(found.row(REFERENCE)["objective_mean"])
    rivals = planners(found)
    text = f"`{policy}` has {number(row, 'objective_mean')}, "
    text += f"{100 * abs(off):.1f}{SPACE}% {'below' if off >= 0 else 'above'} `{REFERENCE}`"
    if off < 0:
        rivals = [REFERENCE, *rivals]
    for sign, words in ((-1, "beats"), (0, "is not told apart from"), (1, "loses to")):
        names = [other for other in rivals if verdict(found, policy, other) == sign]
        text += f", {words} {listed(names)}" if names else ""
    return text


def planners(found: Found) -> list[str]:
    """Return the policies that are neither rules nor learned, plain lp aside, best first."""
    known = ("lp-buffered", "lp-scenario", "dp", "dp-fine", "dp-adaptive")
    return [row["policy"] for row in found.rows if row["policy"] in known]


def listed(names: Sequence[str]) -> str:
    """Return names in a row, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


# Tables.


def _left(row: Cells) -> float | None:
    return float(row["residual_fraction_mean"]) if row["residual_fraction_mean"] else None


POLICY_COLUMNS: dict[str, Callable[[Found, Cells], str]] = {
    "policy": lambda found, row: f"`{row['policy']}`",
    "objective": lambda found, row: number(row, "objective_mean"),
    "95 % interval": lambda found, row: interval(row, "objective_"),
    "minus `lp`, paired": lambda found, row: (
        ""
        if row["policy"] in (REFERENCE, *BOUNDS)
        else f"{number(row, 'diff_vs_lp_mean', '+.4f')} ({interval(row, 'diff_vs_lp_', '+.4f')})"
    ),
    "score": lambda found, row: score(found.scores.get(row["policy"])),
    "worst 5 %": lambda found, row: number(row, "objective_cvar95", ".2f"),
    "behind": lambda found, row: number(row, "behind_rate", ".1%"),
    FILLED: lambda found, row: ends(_left(row))[0],
    CLEANED_UP: lambda found, row: ends(_left(row))[1],
    "training": lambda found, row: (
        number(row, "train_seconds", ",.0f") + " s" if row["train_seconds"] else ""
    ),
}


NO_SCORE = (
    f"There is no score here: `{REFERENCE}`, which is not tied to the action grid, is below the bound "
    f"`{SCORE_BOUND}`, which holds for policies on the grid."
)


def has_scores(found: Found) -> bool:
    """Return True if plain lp is above the bound."""
    return bool(found.scores[REFERENCE]["score"])


def score(cells: Cells | None) -> str:
    """Return a policy's score with its interval; "" where there is none."""
    if cells is None or not cells["score"]:
        return ""
    return f"{number(cells, 'score', '.2f')} ({interval(cells, 'score_', '.2f')})"


def table(
    found: Found, columns: Sequence[str] = tuple(POLICY_COLUMNS), most: float = math.inf
) -> str:
    """Return a markdown table: policies with objective up to ``most``, best first, then bounds."""
    shown = [row for row in found.rows if float(row["objective_mean"]) <= most]
    lines = []
    for row in [*shown, *found.bounds]:
        lines.append([POLICY_COLUMNS[column](found, row) for column in columns])
        if row["policy"] in BOUNDS:
            lines[-1][0] += " (bound)"
    return markdown_table(columns, lines)


def paragraph(text: str, indent: str = "") -> str:
    """Return ``text`` wrapped for a reader of the source; links and numbers are never broken."""
    return textwrap.fill(
        re.sub(r"[ \n]+", " ", text).strip(),
        PAGE_WIDTH,
        initial_indent=indent and "- ",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
