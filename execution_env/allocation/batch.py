"""Orders side by side, with their days and actions: what both environments are made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.error import InvalidAction
from numba import carray
from numpy.typing import DTypeLike, NDArray

from execution_env.allocation.actions import (
    action_grid,
    allocate_grid,
    allocate_lots,
    first_outside,
    grid_masks,
    lots_masks,
    write_masks,
)
from execution_env.allocation.market.days import Days
from execution_env.allocation.parameters import ALGO, BUCKET, CELL, ORDER, Parameters, parameters
from execution_env.allocation.scenario import Scenario
from execution_env.allocation.transition import (
    Index,
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
from execution_env.core.jit import announce, inner_inline, jit
from execution_env.core.memory import addresses, pointer
from execution_env.core.validation import choice

HANDED_OVER: tuple[DTypeLike, ...] = (
    *(ORDER, BUCKET, ALGO, CELL),  # parameters
    *(np.int32, np.float64),  # orders
    *(np.float32, np.float32, np.float64, np.int32),  # market
    *(np.float64, np.float64, np.float64, np.float64),
    *(np.int32, np.float64),  # postings and outcome
    *(np.int32, np.int32, np.int8),  # grid
)
"""Types of the arrays that ``_advance`` gets by address."""

PARTS = ("spread_cost", "fee_cost", "drift_cost")
"""What the posting cost of a shortfall consists of, in infos."""

OBSERVATIONS = ("minimal", "default", "full")
ACTIONS = ("grid", "lots")

TILE = 512
"""Orders played at a time: few enough that what a bucket touches stays in the L2 cache."""

Array = NDArray[Any]
Which = NDArray[np.bool_]


class Report(NamedTuple):
    """What a step tells of n orders, in memory of its own.

    Attributes:
        observations: (n, D).
        terminations: (n,).
        floats: rewards (n,), the C costs of ``infos`` (C, n) and estimates (n, K), flat; C is 7, and 10
            with shortfall costs. All but estimates are 0 for an order that has just started.
        ints: lots posted (n, K), lots filled (n, K) and remaining lots (n,), flat.
        masks: (n, A), 1 for actions that differ from all earlier ones; with ``action = "lots"``
            (n, K (lots + 1)), 1 for the numbers of lots of one algo that may be posted.

    In a batch that does not inform there are only rewards in ``floats``, no ``ints`` and no ``masks``.
    """

    observations: NDArray[np.float32]
    terminations: NDArray[np.bool_]
    floats: NDArray[np.float64]
    ints: NDArray[np.int64]
    masks: NDArray[np.int8]

    @property
    def rewards(self) -> NDArray[np.float64]:
        """(n,)."""
        return self.floats[: self.terminations.size]

    def infos(self) -> dict[str, Array]:
        """What ``info`` holds, with n as the first axis of every array; nothing in a batch that does
        not inform.
        """
        if not self.ints.size:
            return {}
        n = self.terminations.size
        k = self.ints.size // n // 2
        posted, filled = self.ints[: 2 * n * k].reshape(2, n, k)
        costs = self.floats[n : -n * k].reshape(-1, n)
        infos = {
            "lots_posted": posted,
            "lots_filled": filled,
            "remaining_lots": self.ints[2 * n * k :],
            "posting_cost": costs[0],
            "envelope_penalty": costs[1],
            "residual_penalty": costs[2],
            "cost_envelope": costs[3],
            "cost_residual": costs[4],
            "cost": costs[5],
            "cost_sum": costs[6],
            "estimates": self.floats[-n * k :].reshape(n, k),
            "action_mask": self.masks,
        }
        return infos | dict(zip(PARTS, costs[7:], strict=False))

    def info(self) -> dict[str, Any]:
        """The same of a single order: NumPy scalars, and arrays without an order axis. Written out,
        because it is a fifth of the time of a step.
        """
        ints, floats = self.ints, self.floats
        if not ints.size:
            return {}
        k = ints.size // 2
        info = {
            "lots_posted": ints[:k],
            "lots_filled": ints[k:-1],
            "remaining_lots": ints[-1],
            "posting_cost": floats[1],
            "envelope_penalty": floats[2],
            "residual_penalty": floats[3],
            "cost_envelope": floats[4],
            "cost_residual": floats[5],
            "cost": floats[6],
            "cost_sum": floats[7],
            "estimates": floats[-k:],
            "action_mask": self.masks[0],
        }
        if floats.size > 8 + k:
            info |= dict(zip(PARTS, floats[8:-k], strict=True))
        return info


class Batch:
    """n orders of one scenario in the middle of their episodes.

    Args:
        scenario: what is played.
        count: n.
        action: "grid" or "lots".
        observation: "minimal", "default" or "full".
        informs: whether reports are complete.

    Attributes:
        days: of the n orders; write them before ``advance`` starts an order.
        orders: their state.
        posted: (K, n) lots posted in the last bucket; zeros where an order has just started.
        outcome: what the last bucket brought; zeros where an order has just started.
    """

    orders: Orders
    posted: NDArray[np.int32]
    outcome: Outcome

    def __init__(
        self, scenario: Scenario, count: int, action: str, observation: str, informs: bool
    ) -> None:
        announce()
        choice("action", action, ACTIONS)
        level = OBSERVATIONS.index(choice("observation", observation, OBSERVATIONS))
        self._arguments = (scenario, count, action, observation, informs)
        self.scenario, self.count, self.informs = scenario, count, informs
        buckets, algos = scenario.buckets, len(scenario.algos)
        self.parameters = parameters(scenario)
        self.grid = action_grid(algos, scenario.actions.resolution)
        self.days = Days.of(scenario, count)
        self._order_blocks = order_blocks(buckets, algos, count)
        self.orders = orders_in(*self._order_blocks, algos)
        self._outcome_blocks = outcome_blocks(algos, count)
        self.posted, self.outcome = outcome_in(*self._outcome_blocks)
        self.everyone, self.nobody = np.ones(count, np.bool_), np.zeros(count, np.bool_)

        self.by_lots = action == "lots"
        self._width = (2, 2 + algos, 5 + 2 * algos)[level]
        self.observation_space = gym.spaces.Box(0.0, 1.0, (self._width,), np.float32)
        self.action_space: gym.spaces.Discrete | gym.spaces.MultiDiscrete
        if self.by_lots:
            self.action_space = gym.spaces.MultiDiscrete([scenario.lots + 1] * algos)
            self._most = scenario.lots
        else:
            self.action_space = gym.spaces.Discrete(len(self.grid.parts))
            self._most = len(self.grid.parts) - 1
        self.no_actions = np.zeros((count, algos if self.by_lots else 1), np.int64)

        arrays = (
            *self.parameters,
            *self._order_blocks,
            *self.days.seen,
            *self._outcome_blocks,
            *self.grid[:3],
        )
        facts = (algos, len(self.grid.parts), scenario.actions.resolution, level, self._most)
        self._handle = np.append(addresses(arrays, HANDED_OVER), [*facts, self.by_lots])
        costs = 8 + len(PARTS) * scenario.shortfall
        self._sizes = ((costs + algos) * count, (2 * algos + 1) * count) if informs else (count, 0)
        self._mask_shape = (count if informs and not self.by_lots else 0, len(self.grid.parts))

    def check(self, actions: NDArray[np.int64], playing: Which) -> None:
        """Raise ``InvalidAction`` where ``advance`` would."""
        self._refuse(actions, first_outside(actions, self._most, playing))

    def _refuse(self, actions: NDArray[np.int64], outside: int) -> None:
        if outside >= 0:
            action = actions[outside] if self.by_lots else actions[outside, 0]
            raise invalid_action(action, self.action_space, self.count > 1, outside)

    def advance(self, actions: NDArray[np.int64], starting: Which, playing: Which) -> Report:
        """Start some orders, and play the current bucket of some others.

        Args:
            actions: (n, 1) grid actions or (n, K) lots; those of orders not playing are ignored.
            starting, playing: (n,) which orders; none may be in both.

        Raises:
            gymnasium.error.InvalidAction: an action is out of range; then nothing was played.
        """
        report = Report(
            np.empty((self.count, self._width), np.float32),
            np.empty(self.count, np.bool_),
            np.empty(self._sizes[0]),
            np.empty(self._sizes[1], np.int64),
            np.empty(self._mask_shape, np.int8),
        )
        outside = _advance(self._handle, actions, starting, playing, *report)
        self._refuse(actions, outside)
        if self.informs and self.by_lots:
            report = report._replace(masks=self.masks())
        return report

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle holds: memory addresses would lead it astray."""
        memory = (*self.days, *self._order_blocks, *self._outcome_blocks)
        return {"arguments": self._arguments, "memory": [array.copy() for array in memory]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the batch anew and fill its memory."""
        self.__init__(*state["arguments"])  # type: ignore[misc]
        memory: list[Array] = [*self.days, *self._order_blocks, *self._outcome_blocks]
        for mine, theirs in zip(memory, state["memory"], strict=True):
            np.copyto(mine, theirs)

    def masks(self) -> NDArray[np.int8]:
        """Fresh action masks, as in a report."""
        if self.by_lots:
            return lots_masks(self.scenario.lots, len(self.posted), self.orders.postable)
        return grid_masks(self.grid, self.orders.postable)


def invalid_action(
    action: object, space: gym.Space[Any], of_many: bool = False, order: int = 0
) -> InvalidAction:
    """The error for an action outside its space."""
    if isinstance(space, gym.spaces.Discrete):
        right = f"a whole number from 0 to {space.n - 1}, an index into the allocation grid"
    else:
        assert isinstance(space, gym.spaces.MultiDiscrete)
        right = f"{space.shape[0]} whole numbers of lots, each from 0 to {space.nvec[0] - 1}"
    where = f"s[{order}]" if of_many else ""
    return InvalidAction(f"action{where} = {action}: must be {right}.")


@jit
def _advance(
    handle: NDArray[np.int64],
    actions: NDArray[np.int64],
    starting: Which,
    playing: Which,
    observations: NDArray[np.float32],
    terminations: NDArray[np.bool_],
    floats: NDArray[np.float64],
    ints: NDArray[np.int64],
    masks: NDArray[np.int8],
) -> int:
    n = starting.size
    k, size, resolution = handle[19], handle[20], handle[21]
    level, most, by_lots = handle[22], handle[23], handle[24] == 1
    outside = first_outside(actions, most, playing)
    if outside >= 0:
        return outside
    order = carray(pointer(handle[0]), (1,), ORDER)
    b = order[0].buckets
    parameters = Parameters(
        order,
        carray(pointer(handle[1]), (b,), BUCKET),
        carray(pointer(handle[2]), (k,), ALGO),
        carray(pointer(handle[3]), (b, k), CELL),
    )
    orders = orders_in(
        carray(pointer(handle[4]), (4 + b, n), np.int32),
        carray(pointer(handle[5]), (5 + 4 * k, n), np.float64),
        k,
    )
    market = Market(
        carray(pointer(handle[6]), (b, k, n), np.float32),
        carray(pointer(handle[7]), (b, k, n), np.float32),
        carray(pointer(handle[8]), (b, n), np.float64),
        carray(pointer(handle[9]), (b, k, n), np.int32),
        carray(pointer(handle[10]), (b if order[0].own_predictions else 0, k, n), np.float64),
        carray(pointer(handle[11]), (b if order[0].shortfall else 0, k, n), np.float64),
        carray(pointer(handle[12]), (b if order[0].shortfall else 0, n), np.float64),
        carray(pointer(handle[13]), (1 if order[0].shortfall else 0, n), np.float64),
    )
    lots = carray(pointer(handle[14]), (2, k, n), np.int32)
    results = carray(pointer(handle[15]), (9, n), np.float64)
    parts = carray(pointer(handle[16]), (size, k), np.int32)
    remainders = carray(pointer(handle[17]), (resolution, size, k), np.int32)
    mask_rows = carray(pointer(handle[18]), (2 * resolution + 1, size), np.int8)
    posted, outcome = outcome_in(lots, results)
    for first in range(0, n, TILE):
        last = min(first + TILE, n)
        _start(parameters, orders, market, lots, results, starting, first, last)
        if by_lots:
            allocate_lots(actions, orders.postable, playing, posted, first, last)
        else:
            allocate_grid(parts, remainders, actions, orders.postable, playing, posted, first, last)
        _play(parameters, orders, market, posted, outcome, playing, first, last)
        _observe(parameters, orders, level, observations, first, last)
        for e in range(np.uint64(first), np.uint64(last)):
            floats[e] = outcome.reward[e]
            terminations[e] = orders.bucket[e] == b
        if ints.size > 0:
            _report(orders, lots, results, ints, floats, first, last)
        if masks.shape[0] > 0:
            write_masks(mask_rows, orders.postable, masks, first, last)
    return -1


@inner_inline
def _start(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    lots: Array,
    results: Array,
    which: Which,
    first: Index,
    last: Index,
) -> None:
    """Start runs of neighbours."""
    while first < last:
        stop = first + 1
        if which[first]:
            while stop < last and which[stop]:
                stop += 1
            start(parameters, orders, market, first, stop)
            lots[:, :, first:stop] = 0
            results[:, first:stop] = 0.0
        first = stop


@inner_inline
def _play(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    posted: Array,
    outcome: Outcome,
    which: Which,
    first: Index,
    last: Index,
) -> None:
    """Play runs of neighbours that are in the same bucket; orders in step are one run."""
    while first < last:
        stop = first + 1
        if which[first]:
            bucket = np.int64(orders.bucket[first])
            while stop < last and which[stop] and orders.bucket[stop] == bucket:
                stop += 1
            transition(parameters, orders, market, posted, outcome, bucket, first, stop)
        first = stop


@inner_inline
def _observe(
    parameters: Parameters,
    orders: Orders,
    level: int,
    out: NDArray[np.float32],
    first: Index,
    last: Index,
) -> None:
    count, share = parameters.order[0].buckets, parameters.order[0].per_lot
    k = parameters.algos.size
    first, last = np.uint64(first), np.uint64(last)
    for e in range(first, last):
        out[e, 0] = share * orders.remaining[e]
        out[e, 1] = (count - orders.bucket[e]) / count
    if level >= 1:
        for i in range(k):
            for e in range(first, last):
                out[e, 2 + i] = orders.estimates[i, e]
    if level >= 2:
        for i in range(k):
            weight = parameters.algos[i].prior_weight
            for e in range(first, last):
                expected = orders.expected_evidence[i, e]
                out[e, 2 + k + i] = expected / (weight + expected)
        for e in range(first, last):
            out[e, 2 + 2 * k] = share * orders.lower[e]
            out[e, 3 + 2 * k] = share * orders.upper[e]
            out[e, 4 + 2 * k] = share * orders.postable[e]


@inner_inline
def _report(
    orders: Orders,
    lots: Array,
    results: Array,
    ints: NDArray[np.int64],
    floats: NDArray[np.float64],
    first: Index,
    last: Index,
) -> None:
    k, n = lots.shape[1], lots.shape[2]
    both = ints[: 2 * n * k].reshape(2, n, k)
    remaining = ints[2 * n * k :]
    estimates = floats[floats.size - n * k :].reshape(n, k)
    costs = floats[n : floats.size - n * k].reshape(floats.size // n - k - 1, n)
    first, last = np.uint64(first), np.uint64(last)
    for j in range(2):
        for i in range(k):
            for e in range(first, last):
                both[j, e, i] = lots[j, i, e]
    for j in range(5):
        for e in range(first, last):
            costs[j, e] = results[j, e]
    for e in range(first, last):
        remaining[e] = orders.remaining[e]
        costs[5, e] = results[3, e] + results[4, e]
        costs[6, e] = orders.violation[e]
    for j in range(7, costs.shape[0]):
        for e in range(first, last):
            costs[j, e] = results[j - 1, e]
    for i in range(k):
        for e in range(first, last):
            estimates[e, i] = orders.estimates[i, e]
