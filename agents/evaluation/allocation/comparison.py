"""Comparison of policies on the same held-out days, with each other and with bounds."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.console import Track, silent
from agents.evaluation import statistics
from agents.evaluation.allocation.columns import Scores, make_rows, scores_of
from agents.evaluation.allocation.played_days import default_seeds, replayed
from agents.evaluation.allocation.selection import REFERENCE, Given, seeds_only, select
from agents.evaluation.allocation.shortfall import Shortfall, shortfall_of
from agents.evaluation.tables import Row
from agents.policy import BOUNDS, Lots, Observations, Policy, widths
from agents.rollouts.allocation import Rollout, play
from execution_env import Days, Scenario, load_scenario, numbered_days
from execution_env.core.validation import natural

TIMED = 300
"""Approximate number of timed decisions, as many in each bucket. Their median is the decision
time."""

MOST_DAYS = 10_000_000
"""Largest number of days in one comparison."""

DRAWN = 1000
"""Number of days drawn between two reports of progress."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Results of policies on n days. Objectives are per share of the order, in the scenario's unit.

    Attributes:
        scenario: scenario that was played.
        seeds: (n,) seeds of the days.
        names: (P,) labels of the policies, in the order given; plain ``lp`` is among them.
        policies: policies by label.
        groups: labels of runs that differ in their seed only, by the label of their row.
        objectives: (P, n) objectives.
        bounds: (n,) objectives by name. No policy on the action grid beats "clairvoyant" in
            expectation. No policy at all beats "hindsight" on any day. A bound is left out if the
            scenario is too large for it.
        rows: rows of the table, see ``columns.COLUMNS``; best policy first, bounds last.
        level: labels of policies with no clear difference from the best on these days: the interval
            of the paired difference contains 0.
        rollouts: rollouts by label; empty if they were not to be kept.
        shortfalls: shortfalls by label; empty unless costs are a shortfall.
        clusters: (n,) clusters of days that are not independent, None if all are. The two sides of
            a replayed window share its market. Intervals resample clusters.
        notes: notes to the reader, a sentence each.
    """

    scenario: Scenario
    seeds: list[int]
    names: list[str]
    policies: dict[str, Policy]
    groups: dict[str, list[str]]
    objectives: Floats
    bounds: dict[str, Floats]
    rows: list[Row]
    level: list[str]
    rollouts: dict[str, Rollout]
    notes: list[str]
    shortfalls: dict[str, Shortfall] = field(default_factory=dict)
    clusters: NDArray[np.int64] | None = None


def compare(
    policies: Iterable[Given],
    scenario: str | Path | Mapping[str, Any] | Scenario = "baseline",
    seeds: Iterable[int] | None = None,
    *,
    track: Track = silent,
    keep_rollouts: bool = True,
    trust: bool = False,
    normalise: Sequence[str | Path] = (),
    bounded: bool = True,
) -> Comparison:
    """Play every policy on the days that ``env.reset(seed=seed)`` plays, and compare.

    Args:
        policies: names, run directories, zips that Stable-Baselines3 saved, or
            ``package.module:factory``, each also as ``label=...``, or policies. Plain ``lp`` is
            always played.
        scenario: as for ``load_scenario``.
        seeds: seeds of the days, all different; default ``EPISODES`` days from ``FIRST_SEED`` on,
            or all the days that the scenario replays.
        track: shows progress; see ``agents.console``.
        keep_rollouts: whether to keep the rollouts, 8 B (K + 2) bytes a day and policy.
        trust: whether to load zips and their statistics, which can run code of whoever made them.
        normalise: statistics of zips; see ``select``.
        bounded: whether to compute the bounds.

    Raises:
        ValueError: a policy is unknown, not trusted, does not fit the scenario, or its decisions
            are no lots; a label or a seed occurs twice; there are no seeds, or more than
            ``MOST_DAYS``, or more than days to replay.
    """
    scenario = load_scenario(scenario)
    seeds = _checked_seeds(default_seeds(scenario) if seeds is None else seeds)
    clusters, about = replayed(scenario, seeds)
    entries, notes = select(policies, scenario, track, trust, normalise)
    notes += about
    days = _drawn(scenario, seeds, track)
    rollouts: dict[str, Rollout] = {}
    scores: dict[str, Scores] = {}
    shortfalls: dict[str, Shortfall] = {}
    for entry in entries:
        checked = Checked(entry.label, entry.policy, scenario)
        with track(f"playing {entry.label}", days.size * scenario.buckets) as advance:
            rollout = play(checked, scenario, days, advance)
        with track(f"timing {entry.label}", None):
            microseconds = _decision_time(entry.policy, checked.seen)
        scores[entry.label] = scores_of(rollout, entry.policy, microseconds)
        if keep_rollouts:
            rollouts[entry.label] = rollout
        if scenario.shortfall:
            shortfalls[entry.label] = shortfall_of(rollout)
    bounds = _bounds(scenario, days, track, notes) if bounded else {}
    names = list(scores)
    objectives = np.array([scores[name].objective for name in names])
    with track("statistics", None):
        groups = seeds_only(entries)
        rows = make_rows(scenario.name, scores, bounds, groups, REFERENCE, clusters)
        level = _level_with(str(rows[0]["policy"]), names, objectives, groups, clusters)
    return Comparison(
        scenario=scenario,
        seeds=seeds,
        names=names,
        policies={entry.label: entry.policy for entry in entries},
        groups={label: [names[j] for j in where] for label, where in groups.items()},
        objectives=objectives,
        bounds=bounds,
        rows=rows,
        level=level,
        rollouts=rollouts,
        notes=notes,
        shortfalls=shortfalls,
        clusters=clusters,
    )


def _level_with(
    best: str,
    names: list[str],
    objectives: Floats,
    groups: Mapping[str, list[int]],
    clusters: NDArray[np.int64] | None = None,
) -> list[str]:
    """Return labels of the policies, groups aside, with no clear difference from ``best``."""
    mine = groups.get(best) or [names.index(best)]
    others = [j for j in range(len(names)) if j not in mine]
    if not others:
        return []
    reference = objectives[mine].mean(axis=0)
    low = statistics.paired_difference(objectives[others], reference, clusters=clusters).low
    return [names[j] for j, end in zip(others, low, strict=True) if end <= 0]


def _checked_seeds(seeds: Iterable[int]) -> list[int]:
    found = [natural("seed", seed) for seed in itertools.islice(seeds, MOST_DAYS + 1)]
    if len(found) > MOST_DAYS:
        raise ValueError(f"seeds: there are more than {MOST_DAYS:,}; give fewer days.")
    if not found:
        raise ValueError("seeds: there are none; give at least one day, such as range(1000).")
    if len(set(found)) < len(found):
        twice = next(seed for j, seed in enumerate(found) if seed in found[:j])
        raise ValueError(f"seed {twice}: is there twice; every day counts once.")
    return found


def _drawn(scenario: Scenario, seeds: list[int], track: Track) -> Days:
    days = Days.of(scenario, len(seeds))
    with track("drawing days", len(seeds)) as advance:
        for first in range(0, len(seeds), DRAWN):
            some = seeds[first : first + DRAWN]
            days.put(slice(first, first + len(some)), numbered_days(scenario, some))
            advance(len(some))
    return days


def _bounds(scenario: Scenario, days: Days, track: Track, notes: list[str]) -> dict[str, Floats]:
    from agents import bounds  # noqa: PLC0415  slow to import

    found = {}
    for name in BOUNDS:
        try:
            with track(f"bounding: {name}", days.size) as advance:
                found[name] = getattr(bounds, name)(scenario, days, progress=advance)
        except ValueError as error:  # an order of too many lots: compare without this bound
            notes.append(f"Without {name}: {error}")
    return found


class Checked(Policy):
    """A policy whose lots are checked. It keeps observations of its first days for timing.

    Attributes:
        seen: (some, 5 + 2 K) observations of each bucket so far.
    """

    def __init__(self, label: str, policy: Policy, scenario: Scenario) -> None:
        super().__init__(scenario, label)
        self.policy = policy
        self.seen: list[Observations] = []

    def decide(self, observations: Observations) -> Lots:
        """Return the policy's (n, K) lots.

        Raises:
            ValueError: the policy's decisions are no lots.
        """
        if len(self.seen) < self.scenario.buckets:
            each = math.ceil(TIMED / self.scenario.buckets)
            self.seen.append(observations[:each].copy())
        lots = np.asarray(self.policy.decide(observations))
        right = (len(observations), len(self.scenario.algos))
        if lots.shape != right:
            raise self._error(f"of shape {lots.shape} for {right[0]} observations", right)
        if lots.dtype.kind == "f" and not (np.isfinite(lots) & (lots == np.rint(lots))).all():
            wrong = lots[~(np.isfinite(lots) & (lots == np.rint(lots)))][0]
            raise self._error(f"with {wrong}", right)
        if lots.dtype.kind not in "iuf":
            raise self._error(f"of {lots.dtype}", right)
        if (lots < 0).any():
            raise self._error(f"with {lots[lots < 0][0]}", right)
        return lots.astype(np.int64)

    def _error(self, what: str, right: tuple[int, int]) -> ValueError:
        return ValueError(
            f"policy {self.name}: decided on an array {what}; must be {right}, whole numbers of lots "
            "that are not negative."
        )


def _decision_time(policy: Policy, seen: list[Observations]) -> float:
    """Return the median microseconds of ``predict`` for one order alone, over days as they unfold.

    Timing comes after the rollout, so that it does not change what a random policy does there.
    """
    width = widths(policy.scenario)[policy.observation]
    alone = np.stack(seen, axis=1)[:, :, :width].reshape(-1, width)
    policy.predict(alone[0])
    times = []
    for observation in alone:
        start = time.perf_counter_ns()
        policy.predict(observation)
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1000.0
