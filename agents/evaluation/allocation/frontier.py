"""Frontiers: the cost of staying inside the envelope, as posting cost against the behind-rate.

An objective weighs cost against being behind at one price, ``penalties.envelope``. It does not say
which policy is better at another price. So every policy is played at several prices, and gives a
curve with a point for every price.

A policy can do more than its points. Playing one of two points on some days and the other on the
rest gives every point between them. A point that is seldom behind also meets every looser limit. So
a policy's frontier at x is the least cost among mixtures of its points that are behind at most x of
the time. This is the lower convex hull with free disposal (Banker, Charnes & Cooper 1984, Some
models for estimating technical and scale inefficiencies in data envelopment analysis, Management
Science 30).

One policy beats another where its frontier lies below in at least 97.5 % of the resamples of the
days, each x for itself. The hull of noisy points lies too low, by a part of their standard error:
compare on enough days.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.console import Track, silent
from agents.evaluation import statistics
from agents.evaluation.allocation.comparison import Comparison, compare
from agents.evaluation.allocation.selection import Given
from agents.evaluation.bootstrap import RESAMPLES, checked, resampled_means
from agents.evaluation.tables import Row
from execution_env import Scenario, load_scenario
from execution_env.core.validation import shown

PENALTIES = (1.0, 2.0, 5.0, 10.0)
"""Default envelope penalties, half-spreads per share outside and bucket."""

PRICE = "{}"
"""Placeholder for the penalty in the path of a run that is trained for it."""

COMPARED_POINTS = 200
"""Number of behind-rates at which frontiers are compared."""

FEWEST_POINTS = 3
"""Fewest neighbouring points that make a win if a frontier lies below at all of them."""

SHARE_THERE = 0.95
"""Least share of the resamples in which both frontiers must exist."""

FRONTIER_COLUMNS = (
    "policy",
    "scenario",
    "penalty",
    "episodes",
    "behind_rate_mean",
    "behind_rate_ci_low",
    "behind_rate_ci_high",
    "posting_cost_mean",
    "posting_cost_ci_low",
    "posting_cost_ci_high",
    "posting_and_residual_mean",
    "posting_and_residual_ci_low",
    "posting_and_residual_ci_high",
    "residual_penalty_mean",
    "envelope_penalty_mean",
    "objective_mean",
    "ahead_rate",
    "completion_rate",
    "residual_fraction_mean",
)

MEASURES = ("posting_cost", "posting_and_residual")
"""Costs that frontiers show: the posting cost, and its sum with the residual penalty."""

Floats = NDArray[np.float64]
Item = TypeVar("Item")


class Win(NamedTuple):
    """A range where one frontier lies below another, at 95 % confidence at every point.

    Attributes:
        policy, other: labels of the policy below and of the other.
        measure: one of ``MEASURES``.
        low, high: first and last behind-rate of the range.
        least, most: smallest and largest cost difference there, half-spreads per share.
        share: fraction of the behind-rates at which both are compared that lie in the range.
    """

    policy: str
    other: str
    measure: str
    low: float
    high: float
    least: float
    most: float
    share: float


class Frontier(NamedTuple):
    """Curves of policies.

    Attributes:
        scenario: scenario as given; it is played with other envelope penalties.
        seeds: (n,) seeds of the days.
        rows: rows by policy and penalty, with a cell for every one of ``FRONTIER_COLUMNS``.
        wins: ranges where a policy beats another.
        notes: notes to the reader, a sentence each.
    """

    scenario: Scenario
    seeds: list[int]
    rows: list[Row]
    wins: list[Win]
    notes: list[str]


def frontier(
    policies: Sequence[Given],
    scenario: str | Path | Scenario,
    penalties: Sequence[float],
    seeds: Sequence[int],
    *,
    track: Track = silent,
    trust: bool = False,
    normalise: Sequence[str | Path] = (),
) -> Frontier:
    """Play every policy at every envelope penalty on the same days.

    Args:
        policies: as for ``compare``; ``{}`` in one stands for the penalty, such as
            ``Q=runs/envelope-{}/q``. A run without it is the same at every penalty. A built-in
            policy is made for each penalty.
        scenario: as for ``load_scenario``.
        penalties: envelope penalties, at least two, all different, none negative.
        seeds: seeds of the days.
        track: shows progress.
        trust: as for ``compare``.
        normalise: as for ``compare``; ``{}`` stands for the penalty here too.

    Raises:
        ValueError: penalties are impossible; labels differ between penalties; or as ``compare``.
    """
    base = load_scenario(scenario)
    prices = _checked(penalties)
    names: list[str] = []
    rows: list[Row] = []
    notes: list[str] = []
    scores: list[Floats] = []
    for price in prices:
        given = [_at(item, price) for item in policies]
        statistics = [_at(item, price) for item in normalise]
        priced = load_scenario(base, {"penalties.envelope": price})
        result = compare(
            given,
            priced,
            seeds,
            track=track,
            trust=trust,
            normalise=statistics,
            bounded=False,
        )
        if names and result.names != names:
            raise ValueError(
                f"policies are called {', '.join(result.names)} at an envelope penalty of {price:g}, "
                f"{', '.join(names)} before; give labels, such as Q=runs/envelope-{PRICE}/q."
            )
        names = result.names
        notes += [f"At an envelope penalty of {price:g}: {note}" for note in result.notes]
        with track("statistics", None):
            scores.append(_scores(result))
            rows += _rows(result, price, scores[-1])
    rows.sort(key=lambda row: names.index(str(row["policy"])))  # stable: penalties stay in order
    with track("frontiers", None):
        wins = _wins(names, np.stack(scores, axis=2))
    return Frontier(base, list(seeds), rows, wins, notes)


def _at(item: Item, price: float) -> Item | str:
    """Return ``item`` with the penalty in place of ``{}``, if it is a text."""
    return item.replace(PRICE, plain(price)) if isinstance(item, str) else item


def _scores(result: Comparison) -> Floats:
    """Return (3, P, n) behind-rates, then each of ``MEASURES``, by day."""
    rollouts = [result.rollouts[name] for name in result.names]
    posting = np.array([rollout.posting_cost for rollout in rollouts])
    left = np.array([rollout.residual_penalty for rollout in rollouts])
    return np.stack([np.array([rollout.behind for rollout in rollouts]), posting, posting + left])


def _rows(result: Comparison, price: float, scores: Floats) -> list[Row]:
    known = {str(row["policy"]): row for row in result.rows}
    intervals = [statistics.mean(values) for values in scores]
    rows = []
    for j, name in enumerate(result.names):
        row: Row = {**known[name], "penalty": price}
        for what, interval in zip(("behind_rate", *MEASURES), intervals, strict=True):
            for key, cells in zip(("mean", "ci_low", "ci_high"), interval, strict=True):
                row[f"{what}_{key}"] = float(cells[j])
        rows.append({key: row[key] for key in FRONTIER_COLUMNS})
    return rows


def plain(price: float) -> str:
    """Return a penalty as it is typed: 5 for 5.0, all digits otherwise."""
    return repr(float(price)).removesuffix(".0")


def _checked(penalties: Sequence[float]) -> list[float]:
    for price in penalties:
        if not (isinstance(price, int | float) and 0 <= price < np.inf):
            raise ValueError(f"penalties: {shown(price)} must be a number of at least 0.")
    prices = sorted(map(float, penalties))
    if len(set(prices)) < max(2, len(prices)):
        raise ValueError(
            f"penalties = {', '.join(f'{price:g}' for price in prices)}: must be at least two "
            "different ones, such as 1 2 5 10; a curve needs points."
        )
    return prices


def attainable(behind: Floats, cost: Floats, at: Floats) -> Floats:
    """Return the least cost of mixtures of points that are behind at most ``at``, (..., G).

    The cost is inf where there is no such mixture.

    Args:
        behind, cost: (..., P) behind-rates and costs of the points.
        at: (G,) behind-rates.
    """
    x, y = behind[..., :, None], cost[..., :, None]
    best = np.where(x <= at, y, np.inf).min(axis=-2)
    for i in range(behind.shape[-1]):
        for j in range(behind.shape[-1]):
            left, right = behind[..., i, None], behind[..., j, None]
            between = (left <= at) & (at <= right) & (left < right)
            weight = np.where(between, at - left, 0.0) / np.where(left < right, right - left, 1.0)
            mixed = (1.0 - weight) * cost[..., i, None] + weight * cost[..., j, None]
            best = np.minimum(best, np.where(between, mixed, np.inf))
    return np.asarray(best)


def _wins(names: Sequence[str], scores: Floats) -> list[Win]:
    """Return the ranges where frontiers lie below others.

    Args:
        names: (P,) labels.
        scores: (3, P, penalties, n) behind-rates, then one of each of ``MEASURES``, by day.
    """
    measures, count, prices, days = scores.shape
    if days == 1:
        return []
    settings = checked(0.95, 0, RESAMPLES)
    resampled = resampled_means(scores.reshape(-1, days), settings)
    resampled = resampled.reshape(-1, measures, count, prices)
    means = scores.mean(axis=-1)
    # Go as far as the resamples do. A frontier does not exist to the left of its own points.
    at = np.linspace(means[0].min(), resampled[:, 0].max(), COMPARED_POINTS)
    found = []
    for m, measure in enumerate(MEASURES, start=1):
        curves = attainable(means[0], means[m], at)
        varied = attainable(resampled[:, 0], resampled[:, m], at)
        for j, policy in enumerate(names):
            for k, other in enumerate(names):
                if j != k:
                    both = np.isfinite(curves[j]) & np.isfinite(curves[k])
                    below = both & _below(varied[:, j], varied[:, k])
                    lead = np.where(both, curves[k], 0.0) - np.where(both, curves[j], 0.0)
                    found += [
                        Win(
                            policy=policy,
                            other=other,
                            measure=measure,
                            low=float(at[part[0]]),
                            high=float(at[part[-1]]),
                            least=float(lead[part].min()),
                            most=float(lead[part].max()),
                            share=part.size / int(both.sum()),
                        )
                        for part in _runs(below)
                    ]
    return found


def _below(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Return a (G,) mask of the points where ``one`` lies below ``other``, both (resamples, G).

    It must lie below in 97.5 % of the resamples in which both exist. These must be at least a share
    ``KNOWN`` of all.
    """
    there = np.isfinite(one) & np.isfinite(other)
    below = there & (np.where(there, one, 0.0) < np.where(there, other, 0.0))
    known = there.sum(axis=0)
    return np.asarray((known >= SHARE_THERE * len(one)) & (below.sum(axis=0) >= 0.975 * known))


def _runs(which: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return runs of neighbouring true positions, without those shorter than ``FEWEST``."""
    positions = np.flatnonzero(which)
    if not positions.size:
        return []
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    return [run for run in runs if run.size >= FEWEST_POINTS]
