"""Advice on the shares to post now in an order that is under way, with its estimates and plan.

>>> from agents.advice import advise
>>> advice = advise("baseline", "lp", posted=["1000,500,0"], filled=["900,400,0"])  # doctest: +SKIP
>>> dict(zip(advice.scenario.algo_names, advice.post))  # doctest: +SKIP

Quantities are in shares. The past is replayed through the environment's transition (``history``).
The advice is the policy's decision on the observation that the environment would give now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.advice.history import PerAlgo, replayed
from agents.console import Track, silent
from agents.evaluation.allocation.comparison import Checked
from agents.evaluation.allocation.selection import Given, scenario_for, select
from agents.lp.policy import LinearProgramme, Plan
from agents.policy import GridPolicy, LearnedPolicy, Observations, Policy, grid_lots
from agents.rollouts.one_order import HARD_EDGE, Bucket, Replay
from execution_env import Scenario, load_scenario
from execution_env.allocation.actions import split_lots

MOST_OPTIONS = 5
"""Largest number of allocations shown for a policy that compares them."""

Shares = NDArray[np.int64]
Floats = NDArray[np.float64]


class Option(NamedTuple):
    """An allocation on the grid, with the policy's objective or probability.

    Attributes:
        post: (K,) shares.
        objective: objective that a Q-table expects from here on, per share of the order; lower is
            better. None where training never tried the allocation, and for other policies.
        probability: probability that PPO gives it; None for other policies.
    """

    post: Shares
    objective: float | None
    probability: float | None


class PlanAhead(NamedTuple):
    """A linear programme's plan for the r remaining buckets, the first of which is posted now.

    Attributes:
        plan: the policy's plan: lots, and costs per share of the order in the scenario's unit.
        post: (r, K) shares, not rounded.
        cumulative: (r,) shares expected to have filled by the end of each bucket.
        lower, upper: (r,) envelope, shares; in later buckets as expected before the order started.
        without_envelope: expected cost of the best plan without an envelope.
    """

    plan: Plan
    post: Floats
    cumulative: Floats
    lower: Floats
    upper: Floats
    without_envelope: float

    @property
    def envelope_cost(self) -> float:
        """Expected cost of the envelope, per share of the order."""
        return max(self.plan.expected_cost - self.without_envelope, 0.0)


@dataclass(frozen=True)
class Advice:
    """Advice for the bucket about to be decided.

    Quantities are in shares, costs in the scenario's unit per share of the parent order.

    Attributes:
        scenario: scenario of the order.
        policy: label of the policy.
        bucket: bucket about to be decided, counted from 0.
        observation: (5 + 2 K,) "full" observation on which the policy decided.
        post: (K,) shares to post now; in all at most ``postable``.
        past: results of the past buckets, in lots.
        filled, remaining: shares filled so far, and shares left.
        postable: most shares that may be posted now.
        limits: names of the limits that bind now.
        lower, upper: shares between which the cumulative fill should lie at this bucket's end.
        predictions, estimates: (K,) expected fill rates, before the order and now.
        evidence: (K,) T / (w + T), how much was learned about each algo: 0 for nothing, towards 1.
        expected_fill: shares of ``post`` expected to fill, at the estimates.
        expected_cost: cost of posting ``post``, without penalties.
        plan: plan of a linear programme; None for other policies.
        options: allocations of a Q-table or PPO, the chosen one first, then the best; else none.
        lp: (K,) shares that plain lp would post.
        notes: sentences on assumptions, and on odd facts.
    """

    scenario: Scenario
    policy: str
    bucket: int
    observation: Observations
    post: Shares
    past: list[Bucket]
    filled: int
    remaining: int
    postable: int
    limits: list[str]
    lower: float
    upper: float
    predictions: Floats
    estimates: Floats
    evidence: Floats
    expected_fill: float
    expected_cost: float
    plan: PlanAhead | None
    options: list[Option]
    lp: Shares
    notes: list[str]

    @property
    def so_far(self) -> tuple[Shares, Shares]:
        """(K,) shares posted and filled in the past buckets."""
        shape, lot = (len(self.past), self.post.size), self.scenario.order.lot_size
        posted = np.array([bucket.posted for bucket in self.past], np.int64).reshape(shape)
        filled = np.array([bucket.filled for bucket in self.past], np.int64).reshape(shape)
        return posted.sum(axis=0) * lot, filled.sum(axis=0) * lot


def advise(
    scenario: str | Path | Mapping[str, Any] | Scenario | None = None,
    policy: Given = "lp",
    posted: Sequence[PerAlgo] = (),
    filled: Sequence[PerAlgo] = (),
    volume: Sequence[object] | None = None,
    *,
    prediction: PerAlgo | None = None,
    trust: bool = False,
    normalise: Sequence[str | Path] = (),
    track: Track = silent,
) -> Advice:
    """Return the advice of ``policy`` for the current bucket.

    Args:
        scenario: scenario of the order, as for ``load_scenario``; default that of a run or policy,
            else "baseline".
        policy: a name, run directory, zip or ``package.module:factory``, also as ``label=...``; or
            a policy.
        posted, filled: shares in every past bucket through every algo, such as ``["1000,500,0"]``
            or ``[[1000, 500, 0]]``; none for the first bucket.
        volume: shares traded in the market in every past bucket; default as expected.
        prediction: the order's own predicted fill rates in the first bucket, such as "0.9,0.7,0.3",
            where a scenario's orders have some; default the scenario's.
        trust: whether to load zips and their statistics; see ``load_policy``.
        normalise: statistics of a zip; see ``select``.
        track: opens bars for steps that take long.

    Raises:
        ValueError: the past is impossible; the policy is unknown or does not fit; or its decision
            is not a number of lots.
    """
    if scenario is None:
        scenario = scenario_for(policy)
    scenario = load_scenario() if scenario is None else load_scenario(scenario)
    history = replayed(scenario, posted, filled, volume, prediction)
    (entry, *others), notes = select([policy], scenario, track, trust, normalise)
    reference = others[0].policy if others else entry.policy
    replay = history.replay
    orders, cells = replay.batch.orders, replay.batch.parameters.cells[len(history.past)]
    observation, lot, size = replay.observation, scenario.order.lot_size, scenario.order.size
    algos, estimates = len(scenario.algos), orders.estimates[:, 0].copy()
    lots, scaled = _decided(entry.label, entry.policy, replay)
    of_lp = _decided("lp", reference, replay)[0]
    fills = lots * estimates
    charged = lots if scenario.costs.basis == "posted" else fills
    ahead = None
    if isinstance(entry.policy, LinearProgramme):
        ahead, odd = _plan_ahead(entry.policy, replay)
        notes = notes + odd
    return Advice(
        scenario=scenario,
        policy=entry.label,
        bucket=len(history.past),
        observation=observation,
        post=lots * lot,
        past=history.past,
        filled=replay.done * lot,
        remaining=size - replay.done * lot,
        postable=replay.postable * lot,
        limits=replay.binding(),
        lower=float(orders.lower[0]) * lot,
        upper=float(orders.upper[0]) * lot,
        predictions=cells["prediction"].copy(),
        estimates=estimates,
        evidence=observation[2 + algos : 2 + 2 * algos].astype(np.float64),
        expected_fill=float(fills.sum()) * lot,
        expected_cost=float((charged * cells["cost"]).sum()) / scenario.lots,
        plan=ahead,
        options=_options(entry.policy, observation, lots, replay.postable),
        lp=of_lp * lot,
        notes=history.notes + scaled + notes,
    )


def _decided(label: str, policy: Policy, replay: Replay) -> tuple[Shares, list[str]]:
    """Return the (K,) lots posted on the policy's decision, and a note if they were scaled down."""
    asked = Checked(label, policy, replay.scenario).decide(replay.observation[None])[0]
    if asked.sum() <= replay.postable:
        return asked, []
    lots = np.zeros_like(asked)
    split_lots(replay.postable, asked, lots)
    lot = replay.scenario.order.lot_size
    return lots, [
        f"{label} asked for {asked.sum() * lot:,} shares, more than may be posted; scaled down in "
        "proportion."
    ]


def _plan_ahead(policy: LinearProgramme, replay: Replay) -> tuple[PlanAhead | None, list[str]]:
    observation, orders = replay.observation, replay.batch.orders
    plan = policy.plan(observation)
    remaining = len(plan.allocations)
    limits = [lots for name, lots in replay.limits().items() if name != HARD_EDGE]
    unhindered = observation.copy()
    unhindered[-1] = min(limits) / policy.scenario.lots
    free = policy.plan(unhindered, lower=np.zeros(remaining), upper=np.ones(remaining))
    if not plan.status == free.status == "Optimal":
        return None, [f"{policy.name} found no plan ({plan.status}); it posts a fallback."]
    scenario = policy.scenario
    lot, n = scenario.order.lot_size, scenario.lots
    lower, upper = (n * edge[-remaining:] for edge in scenario.envelope_bounds)
    lower[0], upper[0] = orders.lower[0], orders.upper[0]
    notes = []
    if scenario.envelope.track_volume and replay.batch.orders.bucket[0] > 0:
        notes.append(
            f"{policy.name} plans with the envelope's later edges as they were expected before the "
            "order; in truth they follow the volume of the day."
        )
    if policy.margins.any():
        below, above = policy.margins * lot
        notes.append(
            f"{policy.name} plans to stay {below:,.0f} shares above the lower edge of the envelope and "
            f"{above:,.0f} below the upper one; what the envelope costs includes that."
        )
    return PlanAhead(
        plan=plan,
        post=plan.allocations * lot,
        cumulative=(replay.done + np.cumsum(plan.expected_fills)) * lot,
        lower=lower * lot,
        upper=upper * lot,
        without_envelope=free.expected_cost,
    ), notes


def _options(
    policy: Policy, observation: Observations, chosen: Shares, postable: int
) -> list[Option]:
    """Return a grid policy's judgement on its allocations, the chosen one first."""
    if not isinstance(policy, LearnedPolicy) or postable == 0:
        return []
    lots = _grid(policy, postable)
    different, which = np.unique(lots, axis=0, return_inverse=True)
    which, lot = which.reshape(-1), policy.scenario.order.lot_size
    first = (different == chosen).all(axis=1)
    judged = policy.judge(observation[None])
    if judged.objective is not None:
        tried = ~np.isnan(judged.objective[0])
        worth = np.full(len(different), np.inf)
        worth[which[tried]] = judged.objective[0, tried]
        order = np.argsort(np.where(first, -np.inf, worth), kind="stable")
        return [
            Option(different[j] * lot, float(worth[j]) if worth[j] < np.inf else None, None)
            for j in order[:MOST_OPTIONS]
            if first[j] or worth[j] < np.inf
        ]
    assert judged.probability is not None
    worth = np.bincount(which, judged.probability[0], len(different))
    order = np.argsort(np.where(first, -np.inf, -worth), kind="stable")
    return [
        Option(different[j] * lot, None, float(worth[j]))
        for j in order[:MOST_OPTIONS]
        if first[j] or worth[j] > 0
    ]


def _grid(policy: GridPolicy, postable: int) -> Shares:
    """Return the (A, K) lots of every action."""
    actions = np.arange(policy.scenario.grid_size)
    return grid_lots(policy.scenario, actions, np.full(actions.size, postable, np.int32))
