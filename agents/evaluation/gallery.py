"""The figures of a comparison, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agents.evaluation import figures
from agents.evaluation.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BYTES = 2**31
"""Of rollouts that are kept for figures."""

ALTERNATIVE = {
    "headline.png": "What was found",
    "objectives.png": "Objectives with intervals, and the bounds",
    "differences.png": "Differences from the linear programme, paired by day",
    "fills.png": "Cumulative fills inside the envelope",
    "allocations.png": "What is posted through which algo in every bucket",
    "costs.png": "Costs over days: posting, envelope, residual",
    "heat_map.png": "What policies post, by bucket and remaining lots",
    "learning_curves.png": "Learning curves, over steps and over seconds",
}
"""What each file shows, in the order of a page."""


def rollouts_fit(policies: int, days: int, buckets: int, algos: int) -> bool:
    """Whether the rollouts of so many policies and days are small enough to be kept."""
    return 8 * buckets * (algos + 2) * days * policies <= MOST_BYTES


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
    chosen = figures.representatives(result)
    makers["heat_map.png"] = lambda: figures.heat_map(
        {label: result.policies[label] for label in chosen}, result.scenario, result.rollouts
    )
    runs = [policy.directory for policy in result.policies.values() if policy.directory]
    if runs:
        makers["learning_curves.png"] = lambda: figures.learning_curves(
            runs, {str(row["policy"]): row["objective_mean"] for row in result.rows}
        )
    for name in ALTERNATIVE:
        if name in makers:
            yield name, figures.png(makers[name]())
