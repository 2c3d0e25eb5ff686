"""Tables of a comparison: a row per policy, a column per quantity, intervals of 95 %.

Objectives, costs and penalties are per share of the parent order. Their unit is the scenario's:
half-spreads, or basis points with shortfall costs. ``diff_vs_lp`` is policy minus plain ``lp``,
paired by day: negative is better. Gaps are (mean - bound) / bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation import statistics
from agents.evaluation.statistics import Interval
from agents.evaluation.tables import Floats, Row, csv_text
from agents.policy import Policy
from agents.rollouts.allocation import Rollout

COMPARISON_COLUMNS = (
    "policy",
    "scenario",
    "episodes",
    "objective_mean",
    "objective_ci_low",
    "objective_ci_high",
    "objective_sd",
    "objective_cvar95",
    "posting_cost_mean",
    "envelope_penalty_mean",
    "residual_penalty_mean",
    "completion_rate",
    "residual_fraction_mean",
    "behind_rate",
    "ahead_rate",
    "fill_ratio",
    "participation_mean",
    "diff_vs_lp_mean",
    "diff_vs_lp_ci_low",
    "diff_vs_lp_ci_high",
    "win_rate_vs_lp",
    "gap_to_clairvoyant",
    "gap_to_hindsight",
    "train_seconds",
    "train_steps",
    "decision_us",
)

VALUE_RESAMPLES = 100
"""Number of resamples where only the value of a statistic is wanted, not its interval."""


class Scores(NamedTuple):
    """Scores of a policy, as the table needs them.

    Attributes:
        objective: (n,) objectives of the days.
        about: cells that depend on this policy alone, by column.
    """

    objective: Floats
    about: Mapping[str, float | None]


def scores_of(rollout: Rollout, policy: Policy, microseconds: float) -> Scores:
    """Return the scores of a policy that needs ``microseconds`` for a decision."""
    posted = float(rollout.posted.sum(dtype=np.int64))
    about = {
        "posting_cost_mean": float(rollout.posting_cost.mean()),
        "envelope_penalty_mean": float(rollout.envelope_penalty.mean()),
        "residual_penalty_mean": float(rollout.residual_penalty.mean()),
        "completion_rate": float((rollout.residual == 0).mean()),
        "residual_fraction_mean": float(rollout.residual.mean()),
        "behind_rate": float(rollout.behind.mean()),
        "ahead_rate": float(rollout.ahead.mean()),
        "fill_ratio": float(rollout.filled.sum(dtype=np.int64)) / posted if posted else None,
        "participation_mean": float(rollout.participation.mean()),
        "train_seconds": policy.train_seconds,
        "train_steps": policy.train_steps,
        "decision_us": microseconds,
    }
    return Scores(rollout.objective, about)


def make_rows(
    scenario: str,
    scores: Mapping[str, Scores],
    bounds: Mapping[str, Floats],
    groups: Mapping[str, Sequence[int]],
    reference: str,
    clusters: NDArray[np.int64] | None = None,
) -> list[Row]:
    """Return the rows of a table: policies and groups, best first, then bounds, lowest first.

    A group's row is of its members' mean. Its intervals also cover other training seeds
    (``statistics.mean_over_seeds``). Its other cells are means of the members' cells.

    Args:
        scenario: name of the scenario.
        scores: scores of the policies, by label.
        bounds: (n,) objectives by name.
        groups: positions of the policies that differ in their seed only, by label.
        reference: label of the policy that all are compared with.
        clusters: (n,) clusters of days that are not independent, see ``statistics.clustered``.
    """
    names = [*scores, *bounds]
    values = np.array([score.objective for score in scores.values()] + list(bounds.values()))
    against = scores[reference].objective
    columns = _columns(values, against, bounds, clusters)
    rows = [
        _row(
            names[j],
            scenario,
            values.shape[1],
            {key: float(column[j]) for key, column in columns.items()}
            | dict(scores[names[j]].about if names[j] in scores else {}),
        )
        for j in range(len(names))
    ]
    policies, of_bounds = rows[: len(scores)], rows[len(scores) :]
    grouped = [
        _group_row(name, [policies[j] for j in where], values[list(where)], against, clusters)
        for name, where in groups.items()
    ]
    return sorted(policies + grouped, key=_by_objective) + sorted(of_bounds, key=_by_objective)


def _columns(
    values: Floats,
    against: Floats,
    bounds: Mapping[str, Floats],
    clusters: NDArray[np.int64] | None,
) -> dict[str, Floats]:
    """Return the columns, each (rows,), that follow from objectives (rows, n)."""
    columns = _interval("objective", statistics.mean(values, clusters=clusters))
    columns["objective_sd"] = statistics.sd(values)
    columns["objective_cvar95"] = statistics.cvar(values, resamples=VALUE_RESAMPLES).value
    columns |= _interval(
        "diff_vs_lp", statistics.paired_difference(values, against, clusters=clusters)
    )
    columns["win_rate_vs_lp"] = statistics.win_rate(values, against)
    for name, bound in bounds.items():
        gaps = statistics.gap(values, bound, resamples=VALUE_RESAMPLES).value
        # A shortfall's bound may lie below 0, where a percentage means nothing.
        columns[f"gap_to_{name}"] = gaps if bound.mean() > 0 else np.full_like(gaps, np.nan)
    return columns


def _interval(name: str, interval: Interval) -> dict[str, Floats]:
    keys = (f"{name}_mean", f"{name}_ci_low", f"{name}_ci_high")
    return dict(zip(keys, interval, strict=True))


def _row(name: str, scenario: str, days: int, cells: Mapping[str, float | None]) -> Row:
    row: Row = {"policy": name, "scenario": scenario, "episodes": days}
    for key in COMPARISON_COLUMNS[3:]:
        value = cells.get(key)
        row[key] = None if value is None or math.isnan(value) else value
    return row


def _group_row(
    name: str,
    rows: Sequence[Row],
    values: Floats,
    against: Floats,
    clusters: NDArray[np.int64] | None,
) -> Row:
    cells: dict[str, float | None] = {}
    for key in COMPARISON_COLUMNS[3:]:
        known = [cell for row in rows if isinstance(cell := row[key], int | float)]
        cells[key] = sum(known) / len(known) if len(known) == len(rows) else None
    for what, of_seeds in (("objective", values), ("diff_vs_lp", values - against)):
        interval = _interval(what, statistics.mean_over_seeds(of_seeds, clusters=clusters))
        cells |= {key: float(value) for key, value in interval.items()}
    return _row(name, str(rows[0]["scenario"]), values.shape[1], cells)


def _by_objective(row: Row) -> float:
    return float(row["objective_mean"] or 0.0)


def table_csv(rows: Sequence[Row]) -> str:
    """Return ``comparison.csv``: numbers in full, cells without meaning empty."""
    return csv_text(COMPARISON_COLUMNS, rows)


def episodes_csv(seeds: Sequence[int], objectives: Mapping[str, Floats]) -> str:
    """Return ``episodes.csv``: the objective of every day, a column per policy or bound."""
    columns = {"seed": list(seeds)} | {name: of.tolist() for name, of in objectives.items()}
    days = zip(*columns.values(), strict=True)
    return csv_text(list(columns), [dict(zip(columns, day, strict=True)) for day in days])
