"""Choice of the policies that a figure shows, with the family and the colour of each.

Runs that differ in their seed only are one policy here, with the label of their group. Their
rollouts are pooled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agents.evaluation.allocation.comparison import Comparison
from agents.evaluation.allocation.report import split
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.tables import Cell, Row
from agents.learners import LEARNERS
from agents.policy import BOUNDS, Policy
from agents.rollouts.allocation import Rollout
from execution_env.core.validation import suggestion

MOST_PANELS = 6
"""Default largest number of policies in a figure with a panel for each."""

COLOURS = {
    "lp": "#D55E00",
    "dp": "#009E73",
    **{name: learner.colour for name, learner in LEARNERS.items()},
    "rule": "#7F7F7F",
    "other": "#E69F00",
    "bound": "#222222",
}
"""Colours by family: Okabe & Ito's palette, grey for rules and nearly black for bounds."""

PATTERNS = {
    "lp": r"lp(-.*)?",
    "dp": r"dp(-.*)?",
    **{name: learner.pattern for name, learner in LEARNERS.items()},
    "rule": r"all-.*|passive-then-sweep|twap|random",
    "bound": "|".join(BOUNDS),
}
"""Regular expressions for whole names, in any case, by family. They serve where only a name is
known."""


class Shown(NamedTuple):
    """A policy in a figure.

    Attributes:
        label: label of its row: a policy, or runs that differ in their seed only.
        members: labels of the policies that it stands for: its own, or those of its runs.
        row: its row of the table.
        family: a key of ``COLOURS``.
    """

    label: str
    members: list[str]
    row: Row
    family: str

    @property
    def colour(self) -> str:
        """Return the colour of its family."""
        return COLOURS[self.family]


def family(name: str, policy: Policy | None = None) -> str:
    """Return a key of ``COLOURS``, from the kind of the policy's run, or else from its name.

    Args:
        name: its name in a table.
        policy: the policy itself, if it is at hand.
    """
    if policy is not None and policy.run is not None:
        return policy.run.kind if policy.run.kind in COLOURS else "other"
    for known in (name,) if policy is None else (policy.name, name):
        for found, pattern in PATTERNS.items():
            if re.fullmatch(pattern, known.strip(), re.IGNORECASE):
                return found
    return "other"


def everyone(result: Comparison) -> list[Shown]:
    """Return all policies, best first, runs that differ in their seed only as one."""
    grouped = {label for members in result.groups.values() for label in members}
    rows, _ = split(result.rows)
    return [_shown(result, row) for row in rows if row["policy"] not in grouped]


def bounds_of(result: Comparison) -> list[Row]:
    """Return the rows of the bounds, highest first."""
    _, rows = split(result.rows)
    return sorted(rows, key=lambda row: -number(row["objective_mean"]))


def chosen(
    result: Comparison, policies: Sequence[str] | None = None, most: int = MOST_PANELS
) -> list[Shown]:
    """Return the policies that ``policies`` names, in that order; or representatives of all.

    Representatives are the best policies, best first, runs that differ in their seed only as one.
    ``lp`` is always among them.

    Args:
        result: the comparison.
        policies: labels of policies or of groups of seeds; default at most ``most``
            representatives.
        most: largest number of representatives.

    Raises:
        ValueError: a label is unknown, occurs twice or is a bound, or there are none.
    """
    if policies is None:
        there = everyone(result)
        best = there[:most]
        if REFERENCE not in [item.label for item in best]:
            best = [*best[: most - 1], *(item for item in there if item.label == REFERENCE)]
        return best
    if isinstance(policies, str):
        raise ValueError(f"policies = {policies!r}: must be a list of labels, also of one.")
    rows, _ = split(result.rows)
    known = {str(row["policy"]): row for row in rows}
    if not policies:
        raise ValueError("policies: there are none; give at least one label, or None for a choice.")
    for j, label in enumerate(policies):
        if label not in known:
            why = "is a bound, which plays no days" if label in BOUNDS else "was not compared"
            raise ValueError(
                f"policy {label}: {why}.{suggestion(label, list(known))} Known are "
                f"{', '.join(known)}."
            )
        if label in policies[:j]:
            raise ValueError(f"policy {label}: is there twice; give every label once.")
    return [_shown(result, known[label]) for label in policies]


def _shown(result: Comparison, row: Row) -> Shown:
    label = str(row["policy"])
    members = result.groups.get(label, [label])
    return Shown(label, members, row, family(label, result.policies.get(members[0])))


def rollout_of(result: Comparison, item: Shown) -> Rollout:
    """Return the rollouts of a policy's members, joined one after the other along the days.

    Raises:
        ValueError: the comparison kept no rollouts.
    """
    missing = [label for label in item.members if label not in result.rollouts]
    if missing:
        raise ValueError(
            f"rollouts: there is none of {missing[0]}; compare(..., keep_rollouts=True) keeps them."
        )
    kept = [result.rollouts[label] for label in item.members]
    if len(kept) == 1:
        return kept[0]
    return Rollout._make(np.concatenate(parts, axis=-1) for parts in zip(*kept, strict=True))


def day_count(result: Comparison) -> str:
    """Return the number of days in words. Replayed days are called orders: a date has many."""
    count = len(result.seeds)
    noun = "day" if result.scenario.replay is None else "replayed order"
    return f"one {noun}" if count == 1 else f"{count:,} {noun}s"


def number(cell: Cell, otherwise: float = float("nan")) -> float:
    """Return a cell as a number; ``otherwise`` where it is none."""
    return float(cell) if isinstance(cell, int | float) else otherwise


def numbers(rows: Sequence[Mapping[str, Cell]], key: str) -> list[float]:
    """Return a column of rows; nan where a cell is empty."""
    return [number(row[key]) for row in rows]


def listed(labels: Sequence[str]) -> str:
    """Return labels as in a sentence: "a, b and c"."""
    if len(labels) < 2:
        return "".join(labels)
    return f"{', '.join(labels[:-1])} and {labels[-1]}"
