"""Which policies a figure shows, what family each is of, and which colour that family has everywhere.

Runs that differ in their seed only are one policy here, by the label of their group; what they did is
pooled over all of them.
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
"""Policies in a figure with a panel for each, unless others are asked for."""

COLOURS = {
    "lp": "#D55E00",
    "dp": "#009E73",
    **{name: learner.colour for name, learner in LEARNERS.items()},
    "rule": "#7F7F7F",
    "other": "#E69F00",
    "bound": "#222222",
}
"""Okabe & Ito's palette, grey for rules and nearly black for bounds, by family."""

PATTERNS = {
    "lp": r"lp(-.*)?",
    "dp": r"dp(-.*)?",
    **{name: learner.pattern for name, learner in LEARNERS.items()},
    "rule": r"all-.*|passive-then-sweep|twap|random",
    "bound": "|".join(BOUNDS),
}
"""Whole names of a family, in any case, for where there is nothing but a name."""


class Shown(NamedTuple):
    """A policy in a figure.

    Attributes:
        label: of its row: of a policy, or of runs that differ in their seed only.
        members: labels of the policies that it stands for; its own, or those of its runs.
        row: of the table.
        family: a key of ``COLOURS``.
    """

    label: str
    members: list[str]
    row: Row
    family: str

    @property
    def colour(self) -> str:
        """Of its family."""
        return COLOURS[self.family]


def family(name: str, policy: Policy | None = None) -> str:
    """A key of ``COLOURS``, from what made the policy, or else from its name.

    Args:
        name: that a table calls it by.
        policy: where it is at hand.
    """
    if policy is not None and policy.run is not None:
        return policy.run.kind if policy.run.kind in COLOURS else "other"
    for known in (name,) if policy is None else (policy.name, name):
        for found, pattern in PATTERNS.items():
            if re.fullmatch(pattern, known.strip(), re.IGNORECASE):
                return found
    return "other"


def everyone(result: Comparison) -> list[Shown]:
    """All policies, best first, runs that differ in their seed only as one."""
    grouped = {label for members in result.groups.values() for label in members}
    rows, _ = split(result.rows)
    return [_shown(result, row) for row in rows if row["policy"] not in grouped]


def bounds_of(result: Comparison) -> list[Row]:
    """Rows of the bounds there are, highest first."""
    _, rows = split(result.rows)
    return sorted(rows, key=lambda row: -number(row["objective_mean"]))


def chosen(
    result: Comparison, policies: Sequence[str] | None = None, most: int = MOST_PANELS
) -> list[Shown]:
    """The policies that ``policies`` names, in that order; or representatives of all of them.

    Representatives are the best ones, best first, runs that differ in their seed only as one; ``lp``
    is always among them.

    Args:
        result: the comparison.
        policies: labels of policies or of groups of seeds; default at most ``most`` representatives.
        most: how many representatives there are at most.

    Raises:
        ValueError: a label is unknown, there twice or a bound, or there are none.
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
    """What a policy did on the days, one after the other for each of its members; as ``Rollout``.

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
    """How many days, in words; those that are replayed are orders, many of them on a date."""
    count = len(result.seeds)
    noun = "day" if result.scenario.replay is None else "replayed order"
    return f"one {noun}" if count == 1 else f"{count:,} {noun}s"


def number(cell: Cell, otherwise: float = float("nan")) -> float:
    """A cell as a number; ``otherwise`` where it has none."""
    return float(cell) if isinstance(cell, int | float) else otherwise


def numbers(rows: Sequence[Mapping[str, Cell]], key: str) -> list[float]:
    """A column of rows; nan where a cell is empty."""
    return [number(row[key]) for row in rows]


def listed(labels: Sequence[str]) -> str:
    """Labels as in a sentence: "a, b and c"."""
    if len(labels) < 2:
        return "".join(labels)
    return f"{', '.join(labels[:-1])} and {labels[-1]}"
