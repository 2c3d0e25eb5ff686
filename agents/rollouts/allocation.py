"""Rollouts of policies on many days at once, through the environment's own batch of orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.policy import Policy
from execution_env import Days, Scenario
from execution_env.allocation.batch import Batch

DAYS_PER_CHUNK = 4096
"""Number of days played side by side: enough for full speed, few enough to show progress."""

Floats = NDArray[np.float64]
Progress = Callable[[int], object]


class Rollout(NamedTuple):
    """Results of a policy on n days.

    Costs are per share of the parent order, in the scenario's unit.

    Attributes:
        objective: (n,) posting cost plus penalties.
        posting_cost, envelope_penalty, residual_penalty: (n,) parts of the objective.
        residual: (n,) lots left over, as a fraction of the order.
        behind, ahead: (n,) fraction of bucket ends with the cumulative fill below and above the
            envelope. The last bucket does not count; ``residual`` covers it.
        posted, filled: (B, K, n) lots.
        lower, upper: (B, n) lots between which the cumulative fill should have been at bucket ends;
            they depend on the day alone.
        participation: (n,) our fills as a share of market volume, mean over buckets; nan without a
            volume model.
        spread_cost, fee_cost, drift_cost: (n,) parts of a shortfall's posting cost; else zeros.
        slippage: (n,) price paid for the order without fees, minus the market's volume-weighted
            average price over the order's time, basis points; nan unless costs are a shortfall.
        waiting_drift: (n,) cost of every bucket's move for the lots that remained at its start;
            zeros unless costs are a shortfall. The mid is a martingale, so the mean is zero for
            every policy. ``objective - waiting_drift`` has the mean of the objective and far less
            noise (a control variate; Glasserman 2003, Monte Carlo Methods in Financial Engineering,
            section 4.1).
        markout: (n,) mid at a bucket's end minus the price paid for a share that filled in the
            bucket, mean over those shares, basis points; positive is to our advantage. nan where
            nothing filled, or costs are no shortfall.
    """

    objective: Floats
    posting_cost: Floats
    envelope_penalty: Floats
    residual_penalty: Floats
    residual: Floats
    behind: Floats
    ahead: Floats
    posted: NDArray[np.int32]
    filled: NDArray[np.int32]
    lower: Floats
    upper: Floats
    participation: Floats
    spread_cost: Floats
    fee_cost: Floats
    drift_cost: Floats
    waiting_drift: Floats
    slippage: Floats
    markout: Floats

    @property
    def adjusted(self) -> Floats:
        """(n,) objective minus ``waiting_drift``: the same mean in a model, and less noise."""
        return self.objective - self.waiting_drift


def play(
    policy: Policy, scenario: Scenario, days: Days, progress: Progress | None = None
) -> Rollout:
    """Play ``policy`` on every one of ``days``.

    Args:
        policy: policy for any scenario with the same numbers of algos, buckets and lots.
        scenario: scenario of the days.
        days: n days.
        progress: called after every bucket with the number of orders decided.
    """
    shape = (scenario.buckets, len(scenario.algos), days.size)
    objective, posting, envelope, residual, left, behind, ahead = np.zeros((7, days.size))
    spread, fees, drift, waiting = np.zeros((4, days.size))
    posted, filled = np.zeros((2, *shape), np.int32)
    lower, upper = np.zeros((2, scenario.buckets, days.size))
    taken, slippage, markout = np.full((3, days.size), np.nan)
    result = Rollout(
        objective=objective,
        posting_cost=posting,
        envelope_penalty=envelope,
        residual_penalty=residual,
        residual=left,
        behind=behind,
        ahead=ahead,
        posted=posted,
        filled=filled,
        lower=lower,
        upper=upper,
        participation=taken,
        spread_cost=spread,
        fee_cost=fees,
        drift_cost=drift,
        waiting_drift=waiting,
        slippage=slippage,
        markout=markout,
    )
    for first in range(0, days.size, DAYS_PER_CHUNK):
        which = slice(first, min(first + DAYS_PER_CHUNK, days.size))
        _play_chunk(policy, scenario, days.part(which), _part(result, which), progress)
    return result


def _part(result: Rollout, which: slice) -> Rollout:
    return Rollout._make(array[..., which] for array in result)


def _play_chunk(
    policy: Policy, scenario: Scenario, days: Days, out: Rollout, progress: Progress | None
) -> None:
    batch = Batch(scenario, days.size, "lots", "full", informs=False)
    batch.days.put(slice(None), days)
    report = batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    taken = np.zeros(days.size)
    ends = scenario.buckets - 1
    for bucket in range(scenario.buckets):
        out.lower[bucket], out.upper[bucket] = batch.orders.lower, batch.orders.upper
        lots = np.ascontiguousarray(policy.decide(report.observations), np.int64)
        if scenario.shortfall:
            out.waiting_drift[:] += days.move[bucket] * (batch.orders.remaining / scenario.lots)
        report = batch.advance(lots, batch.nobody, batch.everyone)
        outcome = batch.outcome
        out.posting_cost[:] += outcome.posting_cost
        out.envelope_penalty[:] += outcome.envelope_penalty
        out.residual_penalty[:] += outcome.residual_penalty
        out.objective[:] -= report.rewards
        out.spread_cost[:] += outcome.spread_cost
        out.fee_cost[:] += outcome.fee_cost
        out.drift_cost[:] += outcome.drift_cost
        out.posted[bucket], out.filled[bucket] = batch.posted, outcome.filled
        if bucket < ends:
            below = scenario.lots - batch.orders.remaining < out.lower[bucket]
            out.behind[:] += (below & (outcome.outside > 0)) / ends
            out.ahead[:] += (~below & (outcome.outside > 0)) / ends
        if scenario.volume is not None:
            shares = scenario.order.lot_size * outcome.filled.sum(axis=0)
            traded = days.volume[bucket]
            share = np.divide(shares, traded, out=np.full_like(traded, np.nan), where=traded > 0)
            # Without market volume the share is 0 if we fill nothing, else 1.
            taken += np.where(np.isnan(share), shares > 0, share) / scenario.buckets
        if progress is not None:
            progress(days.size)
    out.residual[:] = batch.outcome.residual
    if scenario.volume is not None:
        out.participation[:] = taken
    if scenario.shortfall:
        _against_the_market(scenario, days, out)


def _against_the_market(scenario: Scenario, days: Days, out: Rollout) -> None:
    """Write slippage, prices paid against the market's, and markout, prices against later mids."""
    traded = days.volume.sum(axis=0)
    # All buckets count alike if nothing traded.
    weights = np.where(traded > 0, days.volume, 1.0) / np.where(
        traded > 0, traded, len(days.volume)
    )
    fees = scenario.crossing_fee * out.residual
    paid = out.spread_cost + out.drift_cost + out.residual_penalty - fees
    out.slippage[:] = paid - (days.vwap * weights).sum(axis=0)
    filled = out.filled.sum(axis=(0, 1))
    gained = (out.filled * (days.move[:, None] - days.spread)).sum(axis=(0, 1))
    np.divide(gained, filled, out=out.markout, where=filled > 0)
