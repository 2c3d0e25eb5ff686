"""The greedy policy of a Q-table, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.learners import Q_LEARNING
from agents.policy import Judgement, LearnedPolicy, Observations, read_masks
from agents.q_learning.algorithm import Table
from agents.q_learning.states import MOST_BINS, StateSpace, space_from_file
from agents.storage.files import RunError, load_arrays, remedy, save_arrays
from agents.storage.run_directory import POLICY_FILE, RunConfig
from execution_env import Scenario
from execution_env.core.archive import Field

FIELDS = {
    "bins": Field(np.int64, ("K",), low=1, high=MOST_BINS),
    "edges": Field(np.float32, ("B", "K", "*")),
    "values": Field(np.float32, ("S", "A")),
    "actions": Field(np.int32, ("S",), low=0, below="A"),
    "seconds": Field(np.float64, low=0.0),
    "steps": Field(np.int64, low=0),
}
"""Requirements on every array of ``policy.npz``."""


class QPolicy(LearnedPolicy):
    """Policy that takes the greedy action of a Q-table.

    Args:
        scenario: the scenario to play.
        space: map from observations to states.
        values: (S, A) Q, minus the expected objective per share.
        actions: (S,) greedy actions.
        name: name in tables.
        seconds, steps: training time and steps.
    """

    def __init__(
        self,
        scenario: Scenario,
        space: StateSpace,
        values: NDArray[np.float32],
        actions: NDArray[np.int32],
        name: str = Q_LEARNING,
        seconds: float | None = None,
        steps: int | None = None,
    ) -> None:
        super().__init__(scenario, name)
        self.space, self.values, self.table_actions = space, values, actions
        self.observation = "minimal" if space.combinations == 1 else "default"
        self.train_seconds, self.train_steps = seconds, steps

    @classmethod
    def of(
        cls, scenario: Scenario, space: StateSpace, table: Table, caution: float = 0.0, **about: Any
    ) -> QPolicy:
        """Return the greedy policy of ``table``, see ``Table.greedy``.

        A state that was never met takes the action of the nearest state that was.
        """
        return cls(scenario, space, table.mean(), _greedy(space, table, caution), **about)

    def actions(self, observations: Observations) -> NDArray[np.int64]:
        """Return (n,) greedy actions; see ``GridPolicy``."""
        return self.table_actions[self.space.states(observations)].astype(np.int64)

    def judge(self, observations: Observations) -> Judgement:
        """(n, A) objectives that the table expects; see ``LearnedPolicy``."""
        values = self.values[self.space.states(observations)]
        # An optimistic table starts at 0.
        tried = (read_masks(self.scenario, observations) == 1) & (values != 0)
        return Judgement(objective=np.where(tried, -values.astype(np.float64), np.nan))

    def save(self, directory: Path) -> None:
        """Write ``policy.npz``.

        Raises:
            RunError: it cannot be written.
        """
        save_arrays(
            directory / POLICY_FILE,
            values=self.values,
            actions=self.table_actions,
            bins=self.space.bins,
            edges=self.space.finite_edges,
            seconds=np.float64(self.train_seconds or 0.0),
            steps=np.int64(self.train_steps or 0),
        )


def axes_of(scenario: Scenario) -> dict[str, int]:
    """Return the sizes of axes that tables of ``scenario`` have."""
    return {"B": scenario.buckets, "K": len(scenario.algos), "A": scenario.grid_size}


def load(directory: Path, config: RunConfig) -> QPolicy:
    """Load the policy of a run directory.

    Raises:
        RunError: the file is missing, damaged, or does not fit the run's scenario.
    """
    path, scenario = directory / POLICY_FILE, config.scenario
    arrays = load_arrays(path, FIELDS, axes_of(scenario))
    try:
        space = space_from_file(scenario, arrays["bins"], arrays["edges"])
    except ValueError as error:
        raise RunError(
            f"{path}: {error}, as in no table of {scenario.name}. {remedy(path)}"
        ) from error
    values, actions = arrays["values"], arrays["actions"]
    if len(values) != space.size:
        raise RunError(
            f"{path}: holds values of {len(values):,} states, but its bins make {space.size:,} in "
            f"{scenario.name}. {remedy(path)}"
        )
    seconds, steps = float(arrays["seconds"]), int(arrays["steps"])
    return QPolicy(scenario, space, values, actions, directory.name, seconds, steps)


def _greedy(space: StateSpace, table: Table, caution: float) -> NDArray[np.int32]:
    """Return (S,) greedy actions.

    A state in which no action was tried gets the action of the nearest level of remaining lots, the
    lower one of two, in the same bucket and bins.
    """
    best = table.greedy(caution).reshape(space.buckets, space.levels, space.combinations)
    level = np.arange(space.levels)[None, :, None]
    known = best >= 0
    far = 2 * space.levels
    below = np.maximum.accumulate(np.where(known, level, -far), axis=1)
    above = np.where(known, level, far)[:, ::-1]
    above = np.minimum.accumulate(above, axis=1)[:, ::-1]
    nearest = np.where(level - below <= above - level, below, above)
    # Any action will do at levels that were never met.
    nearest = np.clip(nearest, 0, space.levels - 1)
    return np.maximum(np.take_along_axis(best, nearest, axis=1), 0).reshape(-1).astype(np.int32)
