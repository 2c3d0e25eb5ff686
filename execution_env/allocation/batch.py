"""Orders side by side, with their days and actions: what both environments are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from numpy.typing import NDArray

from execution_env.allocation.actions import (
    action_grid,
    first_outside,
    grid_masks,
    lots_masks,
)
from execution_env.allocation.advance import (
    FIRST_OVER,
    HANDED_OVER,
    PLAYED,
    WRONG_SHAPE,
    advance,
)
from execution_env.allocation.market.days import Days
from execution_env.allocation.orders import (
    Market,
    Orders,
    Outcome,
    order_blocks,
    orders_in,
    outcome_blocks,
    outcome_in,
)
from execution_env.allocation.parameters import parameters
from execution_env.allocation.report import Array, Report, Which, report_sizes
from execution_env.allocation.scenario import Scenario
from execution_env.core.memory import handle
from execution_env.core.validation import choice

OBSERVATIONS = ("minimal", "default", "full")
ACTIONS = ("grid", "lots")

_orders: Callable[..., Orders] = cast(Any, orders_in).py_func
_outcome: Callable[..., tuple[NDArray[np.int32], Outcome]] = cast(Any, outcome_in).py_func
"""The views as plain Python: nothing is compiled for a handful of them."""


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
        choice("action", action, ACTIONS)
        level = OBSERVATIONS.index(choice("observation", observation, OBSERVATIONS))
        self._arguments = (scenario, count, action, observation, informs)
        self.scenario, self.count, self.informs = scenario, count, informs
        buckets, algos = scenario.buckets, len(scenario.algos)
        self.parameters = parameters(scenario)
        self.grid = action_grid(algos, scenario.actions.resolution)
        self.days = Days.of(scenario, count)
        self._order_blocks = order_blocks(buckets, algos, count)
        self.orders = _orders(*self._order_blocks, algos)
        self._outcome_blocks = outcome_blocks(algos, count)
        self.posted, self.outcome = _outcome(*self._outcome_blocks)
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

        order_ints, order_floats = self._order_blocks
        outcome_lots, outcome_floats = self._outcome_blocks
        arrays: dict[str, Array] = {
            **self.parameters._asdict(),
            "order_ints": order_ints,
            "order_floats": order_floats,
            **{name: getattr(self.days, name) for name in Market._fields},
            "outcome_lots": outcome_lots,
            "outcome_floats": outcome_floats,
            "parts": self.grid.parts,
            "remainders": self.grid.remainders,
            "mask": self.grid.mask,
        }
        facts = {
            "count": count,
            "algo_count": algos,
            "grid_size": len(self.grid.parts),
            "resolution": scenario.actions.resolution,
            "level": level,
            "most": self._most,
            "by_lots": int(self.by_lots),
        }
        self._handle = handle(arrays, HANDED_OVER, facts)
        self._sizes = report_sizes(count, algos, scenario.shortfall) if informs else (count, 0)
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
            gymnasium.error.InvalidAction: an action is out of range.
            gymnasium.error.ResetNeeded: an order that is to be played is over.
            ValueError: an array has the wrong shape.

        After an error nothing was started or played.
        """
        report = Report(
            np.empty((self.count, self._width), np.float32),
            np.empty(self.count, np.bool_),
            np.empty(self._sizes[0]),
            np.empty(self._sizes[1], np.int64),
            np.empty(self._mask_shape, np.int8),
        )
        found = advance(self._handle, actions, starting, playing, *report)
        if found != PLAYED:
            self._explain(found, actions, starting, playing)
        if self.informs and self.by_lots:
            report = report._replace(masks=self.masks())
        return report

    def _explain(
        self, found: int, actions: NDArray[np.int64], starting: Which, playing: Which
    ) -> None:
        """Raise the error for what the compiled ``advance`` returned."""
        self._refuse(actions, found)
        if found == WRONG_SHAPE:
            raise ValueError(
                f"actions, starting and playing have shapes {actions.shape}, {starting.shape} and "
                f"{playing.shape}: must be {self.no_actions.shape}, ({self.count},) and ({self.count},)."
            )
        raise ResetNeeded(
            f"playing[{FIRST_OVER - found}]: the order is over; start it before it is played again."
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy or a pickle, without memory addresses, which would mislead it."""
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
