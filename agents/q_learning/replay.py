"""Compiled loop that learns from a played block of orders, the last bucket first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.q_learning.algorithm import (
    Actions,
    Values,
    Visits,
    continuation,
    learn,
)
from execution_env import Scenario
from execution_env.allocation.actions import action_grid
from execution_env.core.jit import jit


class Grid(NamedTuple):
    """The action grid as the loop reads it.

    Attributes:
        parts, remainders: as in ``actions.ActionGrid``.
        barred: (2 resolution + 1, A) 0 for the actions that differ from all earlier ones, -inf for
            the others; a row per number of postable lots.
        allowed: (2 resolution + 1, A) the actions that are not barred, in front.
        counts: (2 resolution + 1,) number of actions that are not barred.
    """

    parts: NDArray[np.int32]
    remainders: NDArray[np.int32]
    barred: Values
    allowed: Actions
    counts: NDArray[np.int64]

    @staticmethod
    def of(scenario: Scenario) -> Grid:
        """Return the grid of ``scenario``."""
        grid = action_grid(len(scenario.algos), scenario.actions.resolution)
        # A stable sort of "not allowed" puts the allowed actions in front, in their order.
        allowed = np.argsort(1 - grid.mask, axis=1, kind="stable").astype(np.int32)
        barred = np.where(grid.mask, np.float32(0), np.float32(-np.inf))
        counts = grid.mask.sum(axis=1, dtype=np.int64)
        return Grid(grid.parts, grid.remainders, barred, allowed, counts)


class Notes(NamedTuple):
    """Records of a played block of n orders, bucket by bucket.

    Attributes:
        states: (B, n) index of the state.
        actions: (B, n) index of the action.
        rows: (B, n) row of ``Grid.allowed``.
        greedy: (B, n) whether the action was greedy.
        returns: (B, n) reward; once learned from, the return G. With shortfall the reward leaves
            out the waiting drift, see ``orders._without_waiting``.
        estimates: (B, K, n) float32 estimates before each decision.
    """

    states: NDArray[np.int64]
    actions: NDArray[np.int64]
    rows: NDArray[np.int64]
    greedy: NDArray[np.bool_]
    returns: NDArray[np.float64]
    estimates: NDArray[np.float32]


@jit
def learn_backwards(
    grid: Grid,
    values: Values,
    visits: Visits,
    step_sizes: NDArray[np.float64],
    discount: float,
    trace: float,
    exploration: np.random.Generator,
    notes: Notes,
) -> None:
    """Learn from a block, the last bucket first; ``notes.returns`` become the targets.

    Args:
        grid: the action grid.
        values, visits: (T, S, A) arrays of the table, changed in place.
        step_sizes: step size by number of visits.
        discount: gamma.
        trace: lambda of Watkins's Q(lambda).
        exploration: generator that chooses which of two tables learns in double Q-learning.
        notes: records of the block.
    """
    buckets, count = notes.states.shape
    learner = np.zeros(count, np.int64)
    n = np.uint64(count)
    for b in range(buckets - 1, -1, -1):
        if values.shape[0] == 2:
            for e in range(n):
                learner[e] = np.int64(exploration.random() * 2.0)
        if b + 1 < buckets:
            # Targets first, then updates, so that the processor overlaps the loads.
            for e in range(n):
                notes.returns[b, e] += discount * continuation(
                    values,
                    learner[e],
                    notes.states[b + 1, e],
                    grid.barred[notes.rows[b + 1, e]],
                    notes.greedy[b + 1, e],
                    trace,
                    notes.returns[b + 1, e],
                )
        for e in range(n):
            learn(
                values,
                visits,
                step_sizes,
                learner[e],
                notes.states[b, e],
                notes.actions[b, e],
                notes.returns[b, e],
            )
