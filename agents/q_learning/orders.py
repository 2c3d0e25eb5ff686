"""Q-learning on orders, compiled: blocks of training days, played and learned from.

The orders of a block are played side by side with the table as it stands (``transition`` is fastest
so), then learned from in the order in which their values depend on each other: the last bucket
first. An episode has a fixed number of steps, so what its end cost reaches its beginning at once
instead of after B episodes (Lin 1992, Self-improving reactive agents, Machine Learning 8: replaying
backwards).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.q_learning.algorithm import (
    Hyperparameters,
    Table,
    Values,
    epsilon_greedy,
)
from agents.q_learning.replay import Grid, Notes, learn_backwards
from agents.q_learning.states import StateSpace, bin_of, level_of, without_estimates
from execution_env import Days, DayStream, Scenario
from execution_env.allocation.actions import allocate_grid
from execution_env.allocation.market.day_stream import POLICY, stream_generator
from execution_env.allocation.orders import (
    Market,
    Orders,
    order_blocks,
    orders_in,
    outcome_blocks,
    outcome_in,
)
from execution_env.allocation.parameters import Parameters, parameters
from execution_env.allocation.transition import start, transition
from execution_env.core.jit import inner_inline, jit

ORDERS_PER_BLOCK = 512
"""Orders played with the same table; a multiple of the days that ``market`` draws side by side."""

REPLAYS = 4
"""Times that a block of days is played: days do not depend on what is posted, so they can be used
again with other actions. That saves drawing them, a quarter of the time."""


class Trainer:
    """Plays and learns, block by block.

    Args:
        scenario: to train on.
        seed: of the training days, and of exploration.

    Attributes:
        notes: of the last block.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.grid = Grid.of(scenario)
        self.days = DayStream(scenario, seed)
        self.exploration = stream_generator(seed, POLICY)
        buckets, algos = scenario.buckets, len(scenario.algos)
        self._parameters = parameters(scenario)
        self._days = Days.of(scenario, ORDERS_PER_BLOCK)
        self._orders = order_blocks(buckets, algos, ORDERS_PER_BLOCK)
        self._outcome = outcome_blocks(algos, ORDERS_PER_BLOCK)
        shape = (buckets, ORDERS_PER_BLOCK)
        self.notes = Notes(
            states=np.empty(shape, np.int64),
            actions=np.empty(shape, np.int64),
            rows=np.empty(shape, np.int64),
            greedy=np.empty(shape, np.bool_),
            returns=np.empty(shape),
            estimates=np.empty((buckets, algos, ORDERS_PER_BLOCK), np.float32),
        )

    def block(
        self,
        space: StateSpace,
        table: Table,
        step_sizes: NDArray[np.float64],
        hyperparameters: Hyperparameters,
        epsilon: float,
    ) -> None:
        """Play a block of fresh training days ``REPLAYS`` times, and learn from it each time."""
        self.days.draw_into(self._days)
        for _ in range(REPLAYS):
            self._play(space, table, epsilon)
            learn_backwards(
                self.grid,
                *table,
                step_sizes,
                hyperparameters.discount,
                hyperparameters.trace,
                self.exploration,
                self.notes,
            )

    def watch(self, space: StateSpace, table: Table) -> None:
        """Play a block of fresh training days greedily; ``notes`` tell what was met."""
        self.days.draw_into(self._days)
        self._play(space, table, epsilon=0.0)

    def _play(self, space: StateSpace, table: Table, epsilon: float) -> None:
        _play(
            self._parameters,
            self._days.seen,
            self._orders,
            self._outcome,
            self.grid,
            space,
            table.values,
            epsilon,
            self.exploration,
            self.notes,
        )


def warm_up(scenario: Scenario) -> None:
    """Compile the loops, so that the time of a training is that of training."""
    space = without_estimates(scenario)
    table = Table.start(1, space.size, scenario.grid_size, 0.0)
    Trainer(scenario, 0).block(space, table, np.ones(1), Hyperparameters(), epsilon=1.0)


@jit
def _play(
    parameters: Parameters,
    days: Any,
    order_memory: Any,
    outcome_memory: Any,
    grid: Grid,
    space: StateSpace,
    values: Values,
    epsilon: float,
    exploration: np.random.Generator,
    notes: Notes,
) -> None:
    market = Market(days[0], days[1], days[2], days[3], days[4], days[5], days[6], days[7])
    algos = parameters.algos.size
    buckets, count = notes.states.shape
    orders = orders_in(order_memory[0], order_memory[1], algos)
    posted, outcome = outcome_in(outcome_memory[0], outcome_memory[1])
    everyone = np.ones(count, np.bool_)
    chosen = np.empty((count, 1), np.int64)
    most = grid.counts.size - 1
    n = np.uint64(count)
    start(parameters, orders, market, 0, count)
    for b in range(buckets):
        states = notes.states[b]
        for e in range(n):
            states[e] = b * space.levels + level_of(
                np.int64(orders.remaining[e]), space.lots, space.levels
            )
            notes.rows[b, e] = min(orders.postable[e], most)
        for i in range(algos):
            bins = space.bins[i]
            for e in range(n):
                estimate = np.float32(orders.estimates[i, e])
                notes.estimates[b, i, e] = estimate
                states[e] = states[e] * bins + bin_of(space.edges[b, i], bins, estimate)
        for e in range(n):
            row, uniform = notes.rows[b, e], exploration.random()
            action = epsilon_greedy(
                values,
                states[e],
                grid.barred[row],
                grid.allowed[row],
                grid.counts[row],
                epsilon,
                uniform,
            )
            chosen[e, 0] = action
            notes.actions[b, e] = action
            notes.greedy[b, e] = uniform >= epsilon
        allocate_grid(
            grid.parts, grid.remainders, chosen, orders.postable, everyone, posted, 0, count
        )
        transition(parameters, orders, market, posted, outcome, b, 0, count)
        for e in range(n):
            notes.returns[b, e] = outcome.reward[e]
        if parameters.order[0].shortfall:
            _without_waiting(parameters, orders, market, b, notes.returns[b])


@inner_inline
def _without_waiting(
    parameters: Parameters, orders: Orders, market: Market, bucket: int, rewards: Any
) -> None:
    """Take the drift of what waited at the bucket's start out of ``rewards`` (n,).

    The mid is a martingale: given state and action that drift has mean zero, so no value changes, but
    it is nearly all of the noise. What stays is what the move meant for the lots that filled: adverse
    selection. A control variate (Glasserman 2003, Monte Carlo Methods in Financial Engineering,
    section 4.1) with the coefficient 1.
    """
    share = parameters.order[0].per_lot
    for e in range(np.uint64(rewards.size)):
        waited = share * (orders.remaining[e] + orders.fills[bucket, e])
        rewards[e] += market.move[bucket, e] * waited
