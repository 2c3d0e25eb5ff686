"""The figures of a comparison, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

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
"""Most memory for rollouts that are kept for figures, bytes."""

HEAT_MAP = (Q_LEARNING, "lp", PPO, "other", "dp")
"""Families of policies that have a heat map, the preferred one first."""


class Picture(NamedTuple):
    """A figure of a comparison's page.

    Attributes:
        draw: makes the figure of a comparison; None where there is nothing to show.
        alternative: text that stands for the figure in the page.
        needs_rollouts: whether it can be drawn only where rollouts were kept.
    """

    draw: Callable[[Comparison], Figure | None]
    alternative: str
    needs_rollouts: bool = False


def rollouts_fit(policies: int, days: int, buckets: int, algos: int) -> bool:
    """Whether the rollouts of so many policies and days are small enough to be kept."""
    return 8 * buckets * (algos + 2) * days * policies <= MOST_ROLLOUT_BYTES


def drawn(result: Comparison) -> Iterator[tuple[str, bytes]]:
    """File names and PNGs; those that need rollouts only where they were kept, learning curves only
    where there are runs.
    """
    for name, picture in PICTURES.items():
        if result.rollouts or not picture.needs_rollouts:
            figure = picture.draw(result)
            if figure is not None:
                yield name, figures.png(figure)


def _heat_map(result: Comparison) -> Figure:
    """Draw heat maps of the best Q-table, of ``lp``, and of the best policy of other families.

    Of several seeds the first is drawn.
    """
    there = everyone(result)
    best = {item.family: item for item in reversed(there)}
    best["lp"] = next(item for item in there if item.label == REFERENCE)
    items = [best[family] for family in HEAT_MAP if family in best]
    reached = {item.label: result.rollouts[item.members[0]] for item in items if result.rollouts}
    policies = {item.label: result.policies[item.members[0]] for item in items}
    return figures.heat_map(policies, result.scenario, reached)


def _learning_curves(result: Comparison) -> Figure | None:
    """Draw learning curves of the runs that were trained on the scenario; None without one."""
    runs = [
        policy.directory
        for policy in result.policies.values()
        if policy.run
        and policy.directory
        and same(policy.run.scenario, result.scenario)
        and (policy.directory / PROGRESS).exists()
    ]
    return figures.learning_curves(runs, _references(result)) if runs else None


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


PICTURES = {
    "headline.png": Picture(figures.headline, "What was found", True),
    "objectives.png": Picture(figures.objectives, "Objectives with intervals, and the bounds"),
    "differences.png": Picture(
        figures.differences, "Differences from the linear programme, paired by day"
    ),
    "fills.png": Picture(figures.fills, "Cumulative fills inside the envelope", True),
    "allocations.png": Picture(
        figures.allocations, "What is posted through which algo in every bucket", True
    ),
    "costs.png": Picture(figures.costs, "Costs by what is paid for, and over days", True),
    "heat_map.png": Picture(_heat_map, "What policies post, by bucket and remaining lots"),
    "learning_curves.png": Picture(
        _learning_curves, "Learning curves, over steps and over seconds"
    ),
}
"""Figures by file name, in the order of a page."""
