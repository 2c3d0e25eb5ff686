"""Compiled loop that plays blocks of orders on training days, for Q-learning.

The orders of a block are played side by side with the table fixed, because ``transition`` is
fastest so. Then ``replay.learn_backwards`` learns from them, the last bucket first. So a cost at
the end of an episode reaches its beginning at once instead of after B episodes (Lin 1992,
Self-improving reactive agents, Machine Learning 8: replaying backwards).
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
"""Number of orders played with the same table, a multiple of ``market.drawing.BLOCK``."""

REPLAYS = 4
"""Number of times that a block of days is played. Days do not depend on the lots posted, so they
can be used again with other actions. Drawing fewer days saves a quarter of the time."""


class Trainer:
    """Trainer that plays and learns block by block.

    Args:
        scenario: scenario to train on.
        seed: seed of the training days and of exploration.

    Attributes:
        notes: notes of the last block.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.grid = Grid.of(scenario)
        self.days = DayStream(scenario, seed)
        self.exploration = stream_generator(seed, POLICY)
        buckets, algos = scenario.buckets, len(scenario.algos)
        # Read-only arrays are another type to numba: with copies, loops of the environment serve.
        shared = parameters(scenario)
        self._parameters = Parameters._make(array.copy() for array in shared)
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
        """Play a block of fresh training days greedily, without learning; fill ``notes``."""
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
    """Compile the loops, so that compiling does not count as training time."""
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
    """Remove the drift of the lots that waited at the bucket's start from ``rewards`` (n,).

    The mid is a martingale, so given state and action this drift has mean zero. Removing it changes
    no value, and removes nearly all of the noise. The effect of the move on the lots that filled
    stays: it is adverse selection. This is a control variate (Glasserman 2003, Monte Carlo Methods
    in Financial Engineering, section 4.1) with coefficient 1.
    """
    share = parameters.order[0].per_lot
    for e in range(np.uint64(rewards.size)):
        waited = share * (orders.remaining[e] + orders.fills[bucket, e])
        rewards[e] += market.move[bucket, e] * waited
