"""Figure of decisions, state by state: the share of the postable lots that goes through each algo.

A state is a bucket and the lots that remain. The rest of the observation is as expected before the
order starts: fill rates as predicted, no evidence, volume and envelope as expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.dynamic_programming.problem import expected_observations, levels_of
from agents.evaluation.figures.allocations import algo_colour
from agents.evaluation.figures.style import (
    QUIET,
    SMALL,
    TEXT,
    bucket_ticks,
    new_figure,
    patch,
    quiet,
    short,
    styled,
    wrapped,
)
from agents.policy import Policy, check_fits, read_postable
from agents.rollouts.allocation import Rollout
from execution_env import Scenario
from execution_env.allocation.rendering import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_LEVELS = 100
"""Largest number of levels of remaining lots."""

RARE = 0.3
"""Opacity of a state that is not met on the days. It is grey."""

UNPOSTED = "#8C6D46"
"""Colour of postable lots that are not posted."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Decisions(NamedTuple):
    """Decisions of a policy at L levels of remaining lots, fewest first.

    Attributes:
        remaining: (L,) remaining lots.
        shares: (B, L, K + 1) shares of the postable lots: by algo, and last the share not posted.
            They are nan where nothing may be posted, or where no order can be.
        met: (B, L) whether an order was in the state on the days; all True where no days are given.
    """

    remaining: NDArray[np.int64]
    shares: Floats
    met: Flags


def decisions(policy: Policy, scenario: Scenario, rollout: Rollout | None = None) -> Decisions:
    """Return a policy's decisions by bucket and remaining lots, at predicted fill rates.

    Args:
        policy: a policy for ``scenario``.
        scenario: scenario that is played.
        rollout: rollout of the policy on the days that decide which states are met.

    Raises:
        ValueError: the policy or the rollout does not fit the scenario.
    """
    check_fits(policy, scenario)
    buckets, algos = scenario.buckets, len(scenario.algos)
    levels = levels_of(scenario.lots, SHOWN_LEVELS)
    remaining = np.unique(np.rint(np.arange(1, levels + 1) * (scenario.lots / levels)).astype(int))
    observations = expected_observations(scenario, remaining)
    flat = observations.reshape(-1, observations.shape[-1])
    postable = read_postable(scenario, flat).astype(np.float64)
    lots = np.zeros((len(flat), algos))
    can = postable > 0
    if can.any():
        lots[can] = policy.decide(flat[can])
    lots = np.hstack([lots, (postable - lots.sum(axis=1))[:, None]])
    shares = np.full(lots.shape, np.nan)
    np.divide(lots, postable[:, None], out=shares, where=can[:, None])
    shares = np.clip(shares, 0.0, 1.0).reshape(buckets, remaining.size, algos + 1)
    shares[~_possible(scenario, remaining)] = np.nan
    met = np.ones((buckets, remaining.size), np.bool_)
    if rollout is not None:
        if rollout.filled.shape[:2] != (buckets, algos):
            raise ValueError(
                f"rollout of {rollout.filled.shape[0]} buckets and {rollout.filled.shape[1]} algos: "
                f"{scenario.name} has {buckets} and {algos}; give one of the same scenario."
            )
        met = _met(rollout, scenario.lots, remaining)
    return Decisions(remaining, shares, met)


def _possible(scenario: Scenario, remaining: NDArray[np.int64]) -> Flags:
    """Return (B, L) True where an order can be at the level.

    An order starts with all its lots. Later it has at least the lots that remain if all postable
    lots filled so far.
    """
    least = np.array([scenario.lots], np.int64)
    possible = np.zeros((scenario.buckets, remaining.size), np.bool_)
    for bucket in range(scenario.buckets):
        possible[bucket] = (remaining >= least[0]) & ((bucket > 0) | (remaining == scenario.lots))
        if least[0] > 0:
            seen = expected_observations(scenario, least)[bucket]
            least = least - read_postable(scenario, seen)
    return possible


def _met(rollout: Rollout, lots: int, remaining: NDArray[np.int64]) -> Flags:
    buckets = len(rollout.filled)
    filled = np.cumsum(rollout.filled.sum(axis=1), axis=0)
    left = lots - np.vstack([np.zeros_like(filled[:1]), filled[:-1]])
    nearest = np.searchsorted((remaining[:-1] + remaining[1:]) / 2.0, left, side="right")
    met = np.zeros((buckets, remaining.size), np.bool_)
    for bucket in range(buckets):
        met[bucket, nearest[bucket, left[bucket] > 0]] = True
    return met


@styled
def heat_map(
    policies: Mapping[str, Policy],
    scenario: Scenario,
    reached: Mapping[str, Rollout] | None = None,
) -> Figure:
    """Draw decisions, a row of panels per policy: the share of the postable lots through each algo.

    Args:
        policies: policies of any kind, by label.
        scenario: scenario that they play.
        reached: rollouts by the same labels; states that a policy did not meet there are pale.

    Raises:
        ValueError: there are no policies, one does not fit the scenario, or ``reached`` has a label
            that they do not have.
    """
    if not policies:
        raise ValueError("policies: there are none; give at least one, such as {'lp': policy}.")
    reached = {} if reached is None else reached
    for label in reached:
        if label not in policies:
            raise ValueError(
                f"reached[{label!r}]: is of no policy here; known are {', '.join(policies)}."
            )
    found = {
        label: decisions(policy, scenario, reached.get(label)) for label, policy in policies.items()
    }
    names = [*scenario.algo_names, "not posted"]
    pale = "; pale grey: states not met on the days" if reached else ""
    figure = new_figure(
        _title(found, scenario),
        f"Colour: share of the postable lots, at predicted fill rates{pale}. Hatched: nothing may be "
        "posted, or no order can be there.",
        (1.25 if len(names) > 4 else 1.5) * len(found) + 0.55,
        [("none", patch("white", edgecolor=QUIET, linewidth=0.6)), *_shades()],
    )
    panels = figure.subplots(len(found), len(names), sharex=True, sharey=True, squeeze=False)
    room = max(62 // len(names), 10)
    for row, (label, decided) in zip(panels, found.items(), strict=True):
        for i, axes in enumerate(row):
            _draw(axes, decided, i, algo_colour(i) if i < len(names) - 1 else UNPOSTED)
        lines = wrapped(short(label, 34), 1.3, SMALL + 1)
        row[0].set_ylabel("\n".join(lines), fontweight="bold", fontsize=SMALL + 1)
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(short(name, room))
    for axes in panels[-1]:
        axes.set_xlabel("bucket")
        bucket_ticks(axes, scenario.buckets, 5)
    figure.supylabel("remaining, % of the order", fontsize=TEXT)
    return figure


def _shades() -> list[tuple[str, Any]]:
    return [(f"{share} %", patch(QUIET, share / 100.0)) for share in (25, 50, 75, 100)]


def _draw(axes: Axes, decided: Decisions, column: int, colour: str) -> None:
    """Draw one column of the shares as opacity of ``colour``.

    States that are not met are pale grey. States without shares are hatched.
    """
    from matplotlib.colors import to_rgb  # noqa: PLC0415  slow to import

    shares = decided.shares[:, :, column].T
    met = decided.met.T[:, :, None]
    hue = np.where(met, np.array(to_rgb(colour)), np.array(to_rgb(INK)))
    depth = np.where(met, 1.0, RARE) * np.nan_to_num(shares)[:, :, None]
    picture = np.ones((*shares.shape, 4))
    picture[:, :, :3] = 1.0 - depth * (1.0 - hue)
    picture[:, :, 3] = ~np.isnan(shares)
    lots = decided.remaining
    edges = np.concatenate([[0.0], (lots[1:] + lots[:-1]) / 2.0, [lots[-1] + 0.5]])
    edges *= 100.0 / lots[-1]
    buckets = np.arange(shares.shape[1] + 1) + 0.5
    axes.pcolormesh(buckets, edges, picture, rasterized=True)
    axes.set_ylim(0, float(edges[-1]))
    axes.set_yticks([0, 50, 100])
    axes.patch.set(hatch="////", edgecolor="#DDDDDD", linewidth=0)
    quiet(axes)


def _title(found: Mapping[str, Decisions], scenario: Scenario) -> str:
    """Return a title: how the first two policies differ; for one policy, its largest share."""
    labels = list(found)
    first = found[labels[0]]
    use = first.met & ~np.isnan(first.shares[:, :, 0])
    if len(labels) == 1 or not use.any():
        through = np.nanmean(first.shares[use], axis=0) if use.any() else np.zeros(1)
        names = [*scenario.algo_names, "nothing"]
        most = int(through.argmax())
        return f"{labels[0]} posts {100 * through[most]:.0f} % of what it may through {names[most]}"
    other = found[labels[1]]
    use &= other.met & ~np.isnan(other.shares[:, :, 0])
    if not use.any():
        return f"{labels[0]} and {labels[1]} are never in the same state"
    names = [*scenario.algo_names, "nothing"]
    gap = (first.shares - other.shares)[use].mean(axis=0)
    if np.abs(gap).max() < 0.005:
        return f"{labels[0]} and {labels[1]} post alike"
    up, down, none = int(gap.argmax()), int(gap.argmin()), len(scenario.algos)
    if up == none:
        said = f"posts less {names[down]}"
    elif down == none:
        said = f"posts more {names[up]}"
    else:
        said = f"posts more {names[up]} and less {names[down]}"
    where = "the same states" if (first.met & other.met).all() else "states that both meet"
    return f"In {where} {labels[0]} {said} than {labels[1]}"
