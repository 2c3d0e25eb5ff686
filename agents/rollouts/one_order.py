"""One order played with given lots, bucket by bucket, through the environment's own batch.

It answers questions about single buckets of a single order: the state of an order in the market, or
the cost of one bucket of a played day. ``rollouts.allocation`` plays policies on thousands of days.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.policy import Observations
from execution_env import Days, Scenario
from execution_env.allocation.batch import Batch
from execution_env.allocation.formulas import envelope_room, participation_room

Lots = NDArray[np.int64]
Floats = NDArray[np.float64]


class Bucket(NamedTuple):
    """Result of one bucket. Costs are per share of the parent order, in the scenario's unit.

    Attributes:
        posted, filled: (K,) lots.
        estimates: (K,) expected fill rates before the bucket.
        postable: most lots that could be posted.
        lower, upper: lots between which the cumulative fill should have been at the bucket's end.
        done: lots filled by the bucket's end.
        outside: distance of ``done`` from the envelope, lots; 0 in the last bucket, where the lots
            left over count instead.
        posting_cost, envelope_penalty, residual_penalty: parts of this bucket's cost.
    """

    posted: Lots
    filled: Lots
    estimates: Floats
    postable: int
    lower: float
    upper: float
    done: int
    outside: float
    posting_cost: float
    envelope_penalty: float
    residual_penalty: float

    @property
    def cost(self) -> float:
        """Cost of the bucket, which is minus the reward."""
        return self.posting_cost + self.envelope_penalty + self.residual_penalty


HARD_EDGE = "the envelope's hard upper edge"
"""Name of the hard upper edge as a limit on posting."""


class Replay:
    """An order that is played bucket by bucket.

    Args:
        scenario: scenario of the order.
        day: one day.

    Attributes:
        observation: (5 + 2 K,) "full" observation before the bucket about to be decided.
        batch: batch of the one order, to read only.
    """

    observation: Observations

    def __init__(self, scenario: Scenario, day: Days) -> None:
        self.scenario = scenario
        self.batch = Batch(scenario, 1, "lots", "full", informs=False)
        self.batch.days.put(slice(None), day)
        report = self.batch.advance(self.batch.no_actions, self.batch.everyone, self.batch.nobody)
        self.observation = report.observations[0]

    @property
    def done(self) -> int:
        """Number of lots filled so far."""
        return self.scenario.lots - int(self.batch.orders.remaining[0])

    @property
    def postable(self) -> int:
        """Largest number of lots that may be posted now."""
        return int(self.batch.orders.postable[0])

    def post(self, lots: ArrayLike) -> Bucket:
        """Play a bucket and return its result.

        Args:
            lots: (K,) lots, each 0 to n; scaled down in proportion where they exceed ``postable``.
        """
        batch, orders = self.batch, self.batch.orders
        lower, upper, postable = float(orders.lower[0]), float(orders.upper[0]), self.postable
        estimates = orders.estimates[:, 0].copy()
        actions = np.ascontiguousarray(lots, np.int64)[None]
        self.observation = batch.advance(actions, batch.nobody, batch.everyone).observations[0]
        outcome = batch.outcome
        return Bucket(
            posted=batch.posted[:, 0].astype(np.int64),
            filled=outcome.filled[:, 0].astype(np.int64),
            estimates=estimates,
            postable=postable,
            lower=lower,
            upper=upper,
            done=self.done,
            outside=float(outcome.outside[0]) * self.scenario.lots,
            posting_cost=float(outcome.posting_cost[0]),
            envelope_penalty=float(outcome.envelope_penalty[0]),
            residual_penalty=float(outcome.residual_penalty[0]),
        )

    def binding(self) -> list[str]:
        """Return the names of the limits that bind now; several where they tie."""
        return [name for name, lots in self.limits().items() if lots <= self.postable]

    def limits(self) -> dict[str, float]:
        """Return the lots that each limit allows now, by the limit's name."""
        orders, order = self.batch.orders, self.batch.parameters.order[0]
        bucket, done = int(orders.bucket[0]), self.done
        found: dict[str, float] = {"what remains of the order": self.scenario.lots - done}
        if order["max_posted"] < order["lots"]:
            found["max_posted"] = float(order["max_posted"])
        if order["capped"]:
            expected = self.batch.parameters.buckets[bucket]["expected_volume"]
            volume = float(orders.recent_volume[0] + expected)
            ours = float(orders.recent_fills[0])
            room = participation_room(float(order["max_rate"]), volume, ours)
            found["the participation rate"] = max(float(room), 0.0)
        if order["hard_upper"]:
            room = envelope_room(float(orders.upper[0]), float(done))
            found[HARD_EDGE] = max(float(room), 0.0)
        return found
