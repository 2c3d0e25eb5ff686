"""A training: a learner that learns block by block, and its settings."""

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
from agents.storage.files import RunError, remedy
from agents.storage.run_directory import (
    RunConfig,
)
from execution_env import Scenario
from execution_env.allocation.scenario_file import scenario_to_dict
from execution_env.core.validation import shown

OBJECTIVE = ("objective_mean", "objective_ci_low", "objective_ci_high")
"""Columns of ``progress.csv`` that validation fills in."""

Row = dict[str, float]
Settings = TypeVar("Settings")


class Training(ABC):
    """What learns, block by block. ``advance`` it; nothing else changes what is learned.

    Args:
        scenario: whose training days it learns from.
        seed: of those days and of exploration.
        settings: all else that decides what is learned.

    Attributes:
        columns: of ``progress.csv``.
        at_once: most blocks between two moments at which a run can be saved.
        orders: in a block.
        total: blocks of the whole training.
        blocks: played and learned from.
        seconds: spent on it, checkpoints and validation not counted.
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
        """(32,) SHA-256 of all that decides what is learned: whose checkpoint it is."""

    @property
    def episodes(self) -> int:
        """Orders played so far."""
        return self.blocks * self.orders

    @property
    def steps(self) -> int:
        """Buckets of them: updates, or environment steps."""
        return self.episodes * self.scenario.buckets

    def prepare(self) -> None:  # noqa: B027  not all need it
        """Do what should not count as training, such as compiling."""

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
        """The greedy policy now."""

    def kept(self) -> LearnedPolicy:
        """The policy that a run ends with: the one now."""
        return self.policy()

    def result(self, rows: Sequence[Row]) -> Row:
        """The row of ``progress.csv`` that is of the policy that is kept: the last of ``rows``."""
        return rows[-1]

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write all that ``restore`` needs.

        Raises:
            RunError: it cannot be written.
        """

    @abstractmethod
    def restore(self, path: Path) -> None:
        """Go on from where ``save`` was called: what follows is bit for bit the same.

        Raises:
            RunError: the file is missing, damaged, or of another run.
        """

    def check_identity(self, path: Path, identity: NDArray[np.uint8]) -> None:
        """Check whose checkpoint was read from ``path``.

        Raises:
            RunError: it is of another run.
        """
        if not np.array_equal(identity, self.identity):
            raise RunError(f"{path}: does not fit this run's config.json. {remedy(path)}")

    def facts(self) -> Row:
        """Where the training is: the columns but for ``OBJECTIVE``."""
        return {"episodes": self.episodes, "steps": self.steps, "seconds": round(self.seconds, 3)}

    def note(self, row: Row) -> bool:
        """Hear of the row of ``progress.csv`` that is of the policy now; returns whether that is better
        than those before, and to be kept.
        """
        return False

    def log(self, row: Row) -> None:  # noqa: B027  not all need it
        """Show a new row to whoever watches."""

    @abstractmethod
    def status(self) -> str:
        """A few words for the progress bar."""


@dataclass(frozen=True)
class RunSettings(ABC):
    """What a training run is, besides its scenario and seed; with a field ``hyperparameters``."""

    def flat(self) -> dict[str, Any]:
        """All of them in one dictionary, for ``config.json``."""
        values = asdict(self)
        hyperparameters = values.pop("hyperparameters")
        return {**values, **hyperparameters}

    @abstractmethod
    def orders(self, scenario: Scenario) -> int:
        """In a block."""

    @abstractmethod
    def blocks(self, scenario: Scenario) -> int:
        """Of the whole training."""

    def steps(self, scenario: Scenario) -> int:
        """Of the whole training: updates, or environment steps."""
        return self.blocks(scenario) * self.orders(scenario) * scenario.buckets


def settings_from(config: RunConfig, kind: str, make: Callable[..., Settings]) -> Settings:
    """What ``make`` gives for the hyperparameters in ``config.json``.

    Args:
        config: of a run.
        kind: that it should be of.
        make: gets them by name; raises TypeError or ValueError where they are wrong.

    Raises:
        RunError: they are none of this kind.
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
