"""Base classes of a training, which learns block by block, and of its settings."""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.policy import LearnedPolicy
from agents.storage.files import RunError
from agents.storage.run_directory import (
    RunConfig,
)
from execution_env import Scenario
from execution_env.allocation.scenario_file import scenario_to_dict
from execution_env.core.archive import Field
from execution_env.core.validation import shown

OBJECTIVE = ("objective_mean", "objective_ci_low", "objective_ci_high")
"""Columns of ``progress.csv`` that validation writes."""

Row = dict[str, float]
Settings = TypeVar("Settings")


class Training(ABC):
    """A training, which learns block by block.

    Only ``advance`` and ``restore`` change what is learned.

    Args:
        scenario: scenario of its training days.
        seed: seed of those days and of exploration.
        settings: everything else that decides the result.

    Attributes:
        columns: columns of ``progress.csv``.
        at_once: most blocks between two moments at which a run can be saved.
        orders: number of orders in a block.
        total: number of blocks of the whole training.
        blocks: number of blocks played and learned from.
        seconds: training time, without checkpoints and validation.
    """

    columns: ClassVar[tuple[str, ...]]
    at_once: ClassVar[int] = 1

    def __init__(self, scenario: Scenario, seed: int, settings: RunSettings) -> None:
        self.scenario, self.seed = scenario, seed
        self.orders, self.total = settings.orders(scenario), settings.blocks(scenario)
        self.blocks, self.seconds = 0, 0.0
        facts = [scenario_to_dict(scenario), seed, settings.flat()]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
        self.identity: NDArray[np.uint8] = np.frombuffer(digest, np.uint8)
        """(32,) SHA-256 of scenario, seed and settings; checkpoints of the run carry it."""

    @property
    def episodes(self) -> int:
        """Number of orders played so far."""
        return self.blocks * self.orders

    @property
    def steps(self) -> int:
        """Number of buckets played so far: updates, or environment steps."""
        return self.episodes * self.scenario.buckets

    def prepare(self) -> None:  # noqa: B027  not all need it
        """Do work that does not count as training time, such as compiling."""

    def advance(self, blocks: int) -> None:
        """Play and learn from so many more blocks, or as many as are left."""
        since = time.perf_counter()
        for _ in range(min(blocks, self.total - self.blocks)):
            self.block()
            self.blocks += 1
        self.seconds += time.perf_counter() - since

    @abstractmethod
    def block(self) -> None:
        """Play and learn from one more block."""

    @abstractmethod
    def policy(self) -> LearnedPolicy:
        """Return the current greedy policy."""

    def kept(self) -> LearnedPolicy:
        """Return the policy that a run ends with: the current one."""
        return self.policy()

    def result(self, rows: Sequence[Row]) -> Row:
        """Return the row of ``progress.csv`` for the kept policy: the last of ``rows``."""
        return rows[-1]

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write a checkpoint with all that ``restore`` needs.

        Raises:
            RunError: it cannot be written.
        """

    @abstractmethod
    def restore(self, path: Path) -> None:
        """Restore the state at a call of ``save``; the training goes on bit for bit the same.

        Raises:
            RunError: the file is missing, damaged, or of another run.
        """

    @property
    def identity_field(self) -> Field:
        """Requirement on ``identity`` in a checkpoint of the run."""
        about = "does not fit this run's config.json"
        return Field(np.uint8, self.identity.shape, equal=self.identity, about=about)

    def check_blocks(self, blocks: int) -> None:
        """Raise ValueError if a checkpoint has more ``blocks`` than the training."""
        if blocks > self.total:
            raise ValueError(f"blocks = {blocks}: the training has {self.total}")

    def facts(self) -> Row:
        """Return the training's progress: the columns but for ``OBJECTIVE``."""
        return {"episodes": self.episodes, "steps": self.steps, "seconds": round(self.seconds, 3)}

    def note(self, row: Row) -> bool:
        """Record the newest validation row; return True if its policy is the best so far.

        A training that keeps its last policy returns False.
        """
        return False

    def log(self, row: Row) -> None:  # noqa: B027  not all need it
        """Write a new row to a log, such as TensorBoard's."""

    @abstractmethod
    def status(self) -> str:
        """Return a few words for the progress bar."""


@dataclass(frozen=True)
class RunSettings(ABC):
    """Settings of a training run besides scenario and seed, with a field ``hyperparameters``."""

    def flat(self) -> dict[str, Any]:
        """Return all settings in one dictionary, for ``config.json``."""
        values = asdict(self)
        hyperparameters = values.pop("hyperparameters")
        return {**values, **hyperparameters}

    @abstractmethod
    def orders(self, scenario: Scenario) -> int:
        """Return the number of orders in a block."""

    @abstractmethod
    def blocks(self, scenario: Scenario) -> int:
        """Return the number of blocks of the whole training."""

    def steps(self, scenario: Scenario) -> int:
        """Return the steps of the whole training: updates, or environment steps."""
        return self.blocks(scenario) * self.orders(scenario) * scenario.buckets


def settings_from(config: RunConfig, kind: str, make: Callable[..., Settings]) -> Settings:
    """Return the settings that ``make`` builds from the hyperparameters in ``config.json``.

    Args:
        config: configuration of a run.
        kind: required kind of the run.
        make: gets the hyperparameters by name; raises TypeError or ValueError if they are wrong.

    Raises:
        RunError: the run is of another kind, or its hyperparameters are wrong.
    """
    try:
        if config.kind != kind:
            raise ValueError(f"it is a run of kind {shown(config.kind)}")
        return make(**config.hyperparameters)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"config.json: its hyperparameters are not those of {kind} ({error}). It is of another "
            "version or was edited; start a new run."
        ) from error
