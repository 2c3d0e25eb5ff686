"""Orders side by side, with their days and actions: what both environments are made of."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from execution_env.actions import action_grid, allocate_grid, allocate_lots
from execution_env.jit import jit
from execution_env.market import Days
from execution_env.parameters import Parameters, parameters
from execution_env.scenario import Scenario
from execution_env.transition import (
    Market,
    Orders,
    Outcome,
    order_blocks,
    orders_in,
    outcome_blocks,
    outcome_in,
    start,
    transition,
)
from execution_env.validation import choice

OBSERVATIONS = ("minimal", "default", "full")
ACTIONS = ("grid", "lots")

Array = NDArray[Any]
Which = NDArray[np.bool_]


class Batch:
    """n orders of one scenario in the middle of their episodes.

    Args:
        scenario: what is played.
        count: n.
        action: "grid" or "lots".
        observation: "minimal", "default" or "full".

    Attributes:
        days: of the n orders; write them before ``advance`` starts an order.
        orders: their state.
        posted: (K, n) lots posted in the last bucket; zeros where an order has just started.
        outcome: what the last bucket brought; zeros where an order has just started.

    The arrays are reused; what is handed to users is copied.
    """

    orders: Orders
    posted: NDArray[np.int32]
    outcome: Outcome

    def __init__(self, scenario: Scenario, count: int, action: str, observation: str) -> None:
        choice("action", action, ACTIONS)
        self.level = OBSERVATIONS.index(choice("observation", observation, OBSERVATIONS))
        self.scenario = scenario
        self.count = count
        buckets, algos = scenario.buckets, len(scenario.algos)
        self.parameters = parameters(scenario)
        self.grid = action_grid(algos, scenario.actions.resolution)
        self.days = Days.empty(buckets, algos, count)
        self._order_blocks = order_blocks(buckets, algos, count)
        self.orders = orders_in(*self._order_blocks, algos)
        self._outcome_blocks = outcome_blocks(algos, count)
        self.posted, self.outcome = outcome_in(*self._outcome_blocks)
        self.everyone, self.nobody = np.ones(count, np.bool_), np.zeros(count, np.bool_)
        # One call into compiled code costs as much as it has arguments: keep them at hand.
        self._arguments = (
            *self.parameters,
            *self._order_blocks,
            *self.days[:4],
            *self._outcome_blocks,
        )
        self.by_lots = action == "lots"
        width = (2, 2 + algos, 5 + 2 * algos)[self.level]
        self.observation_space = gym.spaces.Box(0.0, 1.0, (width,), np.float32)
        self.action_space: gym.spaces.Discrete | gym.spaces.MultiDiscrete
        if self.by_lots:
            self.action_space = gym.spaces.MultiDiscrete([scenario.lots + 1] * algos)
        else:
            self.action_space = gym.spaces.Discrete(len(self.grid.parts))

    def allocate(self, actions: NDArray[np.int64], which: Which) -> int:
        """Write ``posted`` for (n,) grid actions or (n, K) lots.

        Returns:
            -1; or the first order among those that ``which`` selects whose action is out of range,
            and then nothing is written.
        """
        if self.by_lots:
            most = self.scenario.lots
            return allocate_lots(actions, most, self.orders.postable, which, self.posted)
        parts, remainders = self.grid.parts, self.grid.remainders
        return allocate_grid(
            parts, remainders, actions, self.orders.postable, which, self.posted
        )

    def advance(
        self, starting: Which, playing: Which, masks: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Start some orders, and post ``posted`` in the current bucket of some others.

        Returns:
            Fresh observations (n, D), and fresh action masks (n, A): 1 for actions that differ from
            all earlier ones. With ``action = "lots"`` the masks are (n, K (lots + 1)), 1 for the
            numbers of lots of one algo that may be posted. Without ``masks`` they are empty.
        """
        observations = np.empty((self.count, self.observation_space.shape[0]), np.float32)
        grid_masks = masks and not self.by_lots
        mask = np.empty((self.count if grid_masks else 0, self.grid.mask.shape[1]), np.int8)
        _advance(
            *self._arguments, starting, playing, self.level, observations, self.grid.mask, mask
        )
        if masks and self.by_lots:
            mask = self.masks()
        return observations, mask

    def masks(self) -> NDArray[np.int8]:
        """Fresh action masks, as ``advance`` returns them."""
        if self.by_lots:
            lots = np.arange(self.scenario.lots + 1)
            allowed = (lots <= self.orders.postable[:, None]).astype(np.int8)
            return np.tile(allowed, (1, len(self.posted)))
        mask = np.empty((self.count, self.grid.mask.shape[1]), np.int8)
        _write_masks(self.grid.mask, self.orders.postable, mask)
        return mask

    def infos(self, mask: NDArray[np.int8]) -> dict[str, Array]:
        """What ``info`` holds, as fresh arrays with n as the first axis; ``mask`` as it is."""
        costs = self._outcome_blocks[1][:5].copy()
        posting_cost, envelope_penalty, residual_penalty, outside, residual = costs
        return {
            "lots_posted": self.posted.astype(np.int64).T,
            "lots_filled": self.outcome.filled.astype(np.int64).T,
            "remaining_lots": self.orders.remaining.astype(np.int64),
            "posting_cost": posting_cost,
            "envelope_penalty": envelope_penalty,
            "residual_penalty": residual_penalty,
            "cost": outside + residual,
            "cost_envelope": outside,
            "cost_residual": residual,
            "cost_sum": self.orders.violation.copy(),
            "estimates": self.orders.estimates.copy().T,
            "action_mask": mask,
        }


# The loops take flat lists of arrays: numba takes longer to unpack named tuples of them.


@jit
def _advance(
    order: Array,
    buckets: Array,
    algos: Array,
    cells: Array,
    ints: Array,
    floats: Array,
    fill_rate: Array,
    rounding: Array,
    volume: Array,
    depth: Array,
    lots: Array,
    results: Array,
    starting: Which,
    playing: Which,
    level: int,
    observations: NDArray[np.float32],
    masks: NDArray[np.int8],
    mask: NDArray[np.int8],
) -> None:
    parameters = Parameters(order, buckets, algos, cells)
    orders = orders_in(ints, floats, algos.size)
    market = Market(fill_rate, rounding, volume, depth)
    _start(parameters, orders, market, lots, results, starting)
    _play(parameters, orders, market, lots, results, playing)
    _observe(parameters, orders, level, observations)
    if mask.shape[0] > 0:
        _write_masks(masks, orders.postable, mask)


@jit
def _start(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    lots: Array,
    results: Array,
    which: Which,
) -> None:
    first = 0
    while first < which.size:
        last = first + 1
        if which[first]:
            while last < which.size and which[last]:
                last += 1
            start(parameters, orders, market, first, last)
            lots[:, :, first:last] = 0
            results[:, first:last] = 0.0
        first = last


@jit
def _play(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    lots: Array,
    results: Array,
    which: Which,
) -> None:
    """Play runs of neighbours that are in the same bucket; orders in step are one run."""
    posted, outcome = outcome_in(lots, results)
    first = 0
    while first < which.size:
        last = first + 1
        if which[first]:
            bucket = np.int64(orders.bucket[first])
            while last < which.size and which[last] and orders.bucket[last] == bucket:
                last += 1
            transition(parameters, orders, market, posted, outcome, bucket, first, last)
        first = last


@jit
def _observe(
    parameters: Parameters, orders: Orders, level: int, out: NDArray[np.float32]
) -> None:
    count, share = parameters.order[0].buckets, parameters.order[0].per_lot
    size, k = np.uint64(out.shape[0]), parameters.algos.size
    for e in range(size):
        out[e, 0] = share * orders.remaining[e]
        out[e, 1] = (count - orders.bucket[e]) / count
    if level >= 1:
        for i in range(k):
            for e in range(size):
                out[e, 2 + i] = orders.estimates[i, e]
    if level >= 2:
        for i in range(k):
            weight = parameters.algos[i].prior_weight
            for e in range(size):
                expected = orders.expected_evidence[i, e]
                out[e, 2 + k + i] = expected / (weight + expected)
        for e in range(size):
            out[e, 2 + 2 * k] = share * orders.lower[e]
            out[e, 3 + 2 * k] = share * orders.upper[e]
            out[e, 4 + 2 * k] = share * orders.postable[e]


@jit
def _write_masks(masks: NDArray[np.int8], postable: Array, out: NDArray[np.int8]) -> None:
    last = masks.shape[0] - 1
    for e in range(np.uint64(out.shape[0])):
        row = np.uint64(min(postable[e], last))
        for action in range(np.uint64(out.shape[1])):
            out[e, action] = masks[row, action]
