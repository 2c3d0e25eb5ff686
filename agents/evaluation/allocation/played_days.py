"""Days that are played: numbered days of a model, or those that a scenario replays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from execution_env import Scenario
from execution_env.allocation.market.days_file import replayed_orders

FIRST_SEED, EPISODES = 1_000_000, 10_000
"""Default first seed and number of the days that results are read on."""


def episodes_of(scenario: Scenario, wanted: int | None) -> int:
    """Return how many days to play: ``wanted``, or by default ``EPISODES`` or all replayed days."""
    if wanted is not None:
        return wanted
    return EPISODES if scenario.replay is None else replayed_orders(scenario).dates.size


def default_seeds(scenario: Scenario) -> range:
    """Return the seeds of the days that results are read on by default."""
    return range(FIRST_SEED, FIRST_SEED + episodes_of(scenario, None))


def replayed(
    scenario: Scenario, seeds: Sequence[int]
) -> tuple[NDArray[np.int64] | None, list[str]]:
    """Return clusters (n,) of the replayed days that ``seeds`` play, and notes on their intervals.

    Clusters are None and notes are empty where days are not replayed.

    Raises:
        ValueError: there are more seeds than days, or two seeds play the same day.
    """
    if scenario.replay is None:
        return None, []
    there = replayed_orders(scenario)
    size = there.dates.size
    if len(seeds) > size:
        raise ValueError(
            f"{len(seeds):,} days are asked for, but split {scenario.replay.test} of "
            f"{there.file} has {size:,}: give --episodes {size}, or leave it out."
        )
    which = np.array([seed % size for seed in seeds])
    if np.unique(which).size < which.size:
        twice = int(np.flatnonzero(np.bincount(which) > 1)[0])
        raise ValueError(
            f"seeds: day {twice} of split {scenario.replay.test} is played twice (day = seed modulo "
            f"{size}); give seeds that follow each other."
        )
    clusters, dates = there.clusters[which], sorted(set(there.dates[which].tolist()))
    windows = np.unique(clusters).size
    if len(dates) == 1:
        about = (
            f"of that date alone: they say how sure these are for {dates[0]}, not for other days"
        )
    else:
        about = "of those dates; with so few, other days may differ by more than the intervals say"
    return clusters, [
        f"Replayed: {len(seeds)} orders of {there.file}, {windows} windows on {', '.join(dates)}. The "
        f"two sides of a window are one cluster, and intervals are over windows {about}."
    ]
