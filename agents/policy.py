"""What a policy is, and how to get one by name or from a run directory.

A policy decides from observations alone, one order or a batch of them. It has

- ``decide(observations) -> (n, K)`` lots to post, for n "full" observations: what rollouts call;
- Stable-Baselines3's ``predict`` for the environment it acts in, which its ``observation`` and
  ``action`` name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from execution_env import Scenario
from execution_env.actions import action_grid, allocate_grid

Observations = NDArray[np.float32]
Lots = NDArray[np.int64]
Floats = NDArray[np.float64]


class Observed(NamedTuple):
    """n "full" observations, in lots.

    Attributes:
        bucket: (n,) about to be decided, 0 to B - 1.
        remaining: (n,) lots.
        estimates: (n, K) expected fill rates in this bucket.
        evidence: (n, K) T / (w + T), how much each algo has been learned about.
        lower, upper: (n,) lots between which the cumulative fill should lie at the bucket's end.
        postable: (n,) lots.
    """

    bucket: Lots
    remaining: Lots
    estimates: Floats
    evidence: Floats
    lower: Floats
    upper: Floats
    postable: Lots


def read_state(scenario: Scenario, observations: Observations) -> tuple[Lots, Lots]:
    """Buckets and remaining lots, each (n,), of observations of any kind."""
    remaining = np.rint(observations[:, 0] * np.float64(scenario.lots)).astype(np.int64)
    left = np.rint(observations[:, 1] * np.float64(scenario.buckets)).astype(np.int64)
    return scenario.buckets - left, remaining


def read_observations(scenario: Scenario, observations: Observations) -> Observed:
    """Observations (n, 5 + 2 K) of kind "full" in lots."""
    k, n = len(scenario.algos), np.float64(scenario.lots)
    bucket, remaining = read_state(scenario, observations)
    numbers = observations.astype(np.float64)
    return Observed(
        bucket,
        remaining,
        numbers[:, 2 : 2 + k],
        numbers[:, 2 + k : 2 + 2 * k],
        n * numbers[:, -3],
        n * numbers[:, -2],
        np.rint(n * numbers[:, -1]).astype(np.int64),
    )


def widths(scenario: Scenario) -> dict[str, int]:
    """Columns of each kind of observation."""
    k = len(scenario.algos)
    return {"minimal": 2, "default": 2 + k, "full": 5 + 2 * k}


class Policy(ABC):
    """What decides how many lots to post through each algo.

    Args:
        scenario: that the policy is for.
        name: that tables call it by.

    Attributes:
        observation: "minimal", "default" or "full", what ``predict`` reads; more does not hurt.
        action: "grid" or "lots", what ``predict`` gives.
    """

    observation = "full"
    action = "lots"

    def __init__(self, scenario: Scenario, name: str) -> None:
        self.scenario, self.name = scenario, name

    @abstractmethod
    def decide(self, observations: Observations) -> Lots:
        """(n, K) lots to post.

        Args:
            observations: (n, 5 + 2 K) "full" observations, orders that are not over.
        """

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """Actions for one observation (D,) or a batch (n, D), and ``state`` as it came.

        Raises:
            ValueError: the observation has too few columns, or is not finite.
        """
        observations, alone = self._batched(observation)
        actions = self._act(observations, deterministic)
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
        if not np.isfinite(observations).all():
            raise ValueError(f"observation = {observation!r}: must be finite numbers.")
        return observations, alone

    def environment(self, **arguments: Any) -> gym.Env[Any, Any]:
        """The scalar environment that the policy acts in."""
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
        """(n,) indices into the grid, for observations that have at least the policy's columns."""

    def decide(self, observations: Observations) -> Lots:
        """(n, K) lots that ``actions`` post."""
        postable = np.rint(observations[:, -1] * np.float64(self.scenario.lots)).astype(np.int32)
        return grid_lots(self.scenario, self.actions(observations), postable)

    def _act(self, observations: Observations, deterministic: bool) -> NDArray[np.int64]:
        return self.actions(observations)


def grid_lots(
    scenario: Scenario,
    actions: NDArray[np.int64],
    postable: NDArray[np.int32],
    resolution: int | None = None,
) -> Lots:
    """(n, K) lots that grid ``actions`` (n,) post where ``postable`` (n,) may be; on a grid of another
    ``resolution`` than the scenario's where one is given.
    """
    algos = len(scenario.algos)
    grid = action_grid(algos, resolution or scenario.actions.resolution)
    posted = np.empty((algos, actions.size), np.int32)
    everyone = np.ones(actions.size, np.bool_)
    allocate_grid(
        grid.parts, grid.remainders, actions[:, None], postable, everyone, posted, 0, actions.size
    )
    return posted.T.astype(np.int64)
