"""The figures of a comparison, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agents.evaluation import figures
from agents.evaluation.allocation.comparison import Comparison
from agents.evaluation.allocation.selection import REFERENCE, same
from agents.evaluation.figures.choice import everyone
from agents.evaluation.validation import validation_days
from agents.learners import PPO, Q_LEARNING
from agents.rollouts.allocation import play
from agents.storage.run_directory import PROGRESS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROLLOUT_BYTES = 2**31
"""Of rollouts that are kept for figures."""

HEAT_MAP = (Q_LEARNING, "lp", PPO, "other", "dp")
"""Families of policies that have a heat map, the preferred one first."""

ALTERNATIVE = {
    "headline.png": "What was found",
    "objectives.png": "Objectives with intervals, and the bounds",
    "differences.png": "Differences from the linear programme, paired by day",
    "fills.png": "Cumulative fills inside the envelope",
    "allocations.png": "What is posted through which algo in every bucket",
    "costs.png": "Costs by what is paid for, and over days",
    "heat_map.png": "What policies post, by bucket and remaining lots",
    "learning_curves.png": "Learning curves, over steps and over seconds",
}
"""What each file shows, in the order of a page."""


def rollouts_fit(policies: int, days: int, buckets: int, algos: int) -> bool:
    """Whether the rollouts of so many policies and days are small enough to be kept."""
    return 8 * buckets * (algos + 2) * days * policies <= MOST_ROLLOUT_BYTES


def drawn(result: Comparison) -> Iterator[tuple[str, bytes]]:
    """File names and PNGs; those that need rollouts only where they were kept, learning curves only
    where there are runs.
    """
    makers: dict[str, Callable[[], Figure]] = {
        "objectives.png": lambda: figures.objectives(result),
        "differences.png": lambda: figures.differences(result),
    }
    if result.rollouts:
        makers |= {
            "headline.png": lambda: figures.headline(result),
            "fills.png": lambda: figures.fills(result),
            "allocations.png": lambda: figures.allocations(result),
            "costs.png": lambda: figures.costs(result),
        }
    makers["heat_map.png"] = lambda: _heat_map(result)
    runs = [
        policy.directory
        for policy in result.policies.values()
        if policy.run
        and policy.directory
        and same(policy.run.scenario, result.scenario)
        and (policy.directory / PROGRESS).exists()
    ]
    if runs:
        makers["learning_curves.png"] = lambda: figures.learning_curves(runs, _references(result))
    for name in ALTERNATIVE:
        if name in makers:
            yield name, figures.png(makers[name]())


def _heat_map(result: Comparison) -> Figure:
    """Of the best Q-table, of ``lp``, and of the best of other families; of several seeds the first."""
    there = everyone(result)
    best = {item.family: item for item in reversed(there)}
    best["lp"] = next(item for item in there if item.label == REFERENCE)
    items = [best[family] for family in HEAT_MAP if family in best]
    reached = {item.label: result.rollouts[item.members[0]] for item in items if result.rollouts}
    policies = {item.label: result.policies[item.members[0]] for item in items}
    return figures.heat_map(policies, result.scenario, reached)


def _references(result: Comparison) -> dict[str, float]:
    """Objectives that learning curves are read against, on the same validation days as these: of the
    best dynamic programme, of ``lp``, and of the bound.
    """
    from agents.bounds.clairvoyant_bound import clairvoyant  # noqa: PLC0415  slow to import

    scenario = result.scenario
    days = validation_days(scenario)
    planner = next((item.label for item in everyone(result) if item.family == "dp"), REFERENCE)
    found = {
        name: float(play(result.policies[name], scenario, days).adjusted.mean())
        for name in (planner, REFERENCE)
    }
    if "clairvoyant" in result.bounds:  # else the order is too large for it
        found["clairvoyant"] = float(clairvoyant(scenario, days).mean())
    return found
