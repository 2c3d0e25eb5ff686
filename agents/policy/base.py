"""Base classes of policies.

A policy decides from observations alone, for one order or a batch of orders. It has

- ``decide(observations) -> (n, K)`` lots to post for n "full" observations; rollouts call it;
- Stable-Baselines3's ``predict`` for the environment that its ``observation`` and ``action`` name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.policy.observed import (
    Floats,
    Lots,
    Observations,
    check_numbers,
    read_postable,
    widths,
)
from agents.storage.run_directory import RunConfig
from execution_env import Scenario
from execution_env.allocation.actions import action_grid, allocate_grid
from execution_env.core.validation import check_indices


class Policy(ABC):
    """A policy: it decides how many lots to post through each algo.

    Args:
        scenario: the scenario to play.
        name: name in tables.

    Attributes:
        observation: kind that ``predict`` reads, "minimal", "default" or "full"; it accepts more.
        action: kind that ``predict`` returns, "grid" or "lots".
        run, directory: configuration and path of its run directory; None for other policies.
        train_seconds, train_steps: training time and steps; None for a policy that does not learn.
    """

    observation = "full"
    action = "lots"
    run: RunConfig | None = None
    directory: Path | None = None
    train_seconds: float | None = None
    train_steps: int | None = None

    def __init__(self, scenario: Scenario, name: str) -> None:
        self.scenario, self.name = scenario, name

    @abstractmethod
    def decide(self, observations: Observations) -> Lots:
        """Return (n, K) lots to post.

        Args:
            observations: (n, 5 + 2 K) "full" observations of orders that are not over.
        """

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """Return the actions for one observation (D,) or a batch (n, D), and ``state`` unchanged.

        An order that is over gets action 0, or no lots: with ``NextStep`` a vector environment asks
        for an action there and ignores it.

        Raises:
            ValueError: the observation has too few columns, or a number outside [0, 1].
        """
        observations, alone = self._batched(observation)
        going = observations[:, 1] > 0
        if going.all():
            actions = self._act(observations, deterministic)
        else:
            width = () if self.action == "grid" else (len(self.scenario.algos),)
            actions = np.zeros((len(observations), *width), np.int64)
            if going.any():
                actions[going] = self._act(observations[going], deterministic)
        return (actions[0] if alone else actions), state

    def _act(self, observations: Observations, deterministic: bool) -> NDArray[np.int64]:
        return self.decide(observations)

    def _batched(self, observation: ArrayLike) -> tuple[Observations, bool]:
        observations = np.asarray(observation, np.float32)
        alone = observations.ndim == 1
        if alone:
            observations = observations[None]
        needed = widths(self.scenario)
        right = [width for width in needed.values() if width >= needed[self.observation]]
        if observations.ndim != 2 or observations.shape[1] not in right:
            raise ValueError(
                f"observation of shape {np.shape(observation)}: {self.name} reads "
                f"(n, {needed[self.observation]}) or ({needed[self.observation]},); make the "
                f'environment with observation="{self.observation}".'
            )
        check_numbers(observations)
        return observations, alone

    def environment(self, **arguments: Any) -> gym.Env[Any, Any]:
        """Return the scalar environment that the policy acts in."""
        return gym.make(
            "execution_env/OrderAllocation-v0",
            scenario=self.scenario,
            observation=self.observation,
            action=self.action,
            **arguments,
        )


class GridPolicy(Policy):
    """A policy on the scenario's action grid."""

    action = "grid"
    observation = "default"

    @abstractmethod
    def actions(self, observations: Observations) -> NDArray[np.int64]:
        """Return (n,) grid indices for observations that have at least the policy's columns."""

    def decide(self, observations: Observations) -> Lots:
        """Return the (n, K) lots that ``actions`` post."""
        postable = read_postable(self.scenario, observations)
        return grid_lots(self.scenario, self.actions(observations), postable)

    def _act(self, observations: Observations, deterministic: bool) -> NDArray[np.int64]:
        return self.actions(observations)


class Judgement(NamedTuple):
    """The judgement of a learned policy on every action; one of the two.

    Attributes:
        objective: (n, A) expected from here on, per share of the order; lower is better. NaN where
            training never tried the action, or where an earlier one posts the same lots.
        probability: (n, A) that the policy gives the action.
    """

    objective: Floats | None = None
    probability: Floats | None = None


class LearnedPolicy(GridPolicy):
    """A trained policy, which can be saved in a run directory."""

    @abstractmethod
    def judge(self, observations: Observations) -> Judgement:
        """Return what the policy makes of every action, for n "full" observations."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write ``policy.npz``.

        Raises:
            RunError: it cannot be written.
        """


def grid_lots(
    scenario: Scenario,
    actions: NDArray[np.int64],
    postable: NDArray[np.int32],
    resolution: int | None = None,
) -> Lots:
    """Return the (n, K) lots that grid ``actions`` (n,) post of ``postable`` (n,) lots.

    The grid is the scenario's, or one of ``resolution`` where that is given.

    Raises:
        ValueError: an action is not of the grid, or postable lots are negative.
    """
    algos = len(scenario.algos)
    grid = action_grid(algos, resolution or scenario.actions.resolution)
    check_indices("actions", actions, len(grid.parts))
    check_indices("postable", postable)
    posted = np.empty((algos, actions.size), np.int32)
    everyone = np.ones(actions.size, np.bool_)
    allocate_grid(
        grid.parts, grid.remainders, actions[:, None], postable, everyone, posted, 0, actions.size
    )
    return np.ascontiguousarray(posted.T, np.int64)
