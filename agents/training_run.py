"""A training in its run directory: progress, validation, checkpoints, stopping and going on.

What learns is a ``Training``; whatever it is, a run of it survives Ctrl-C, ``kill -9`` and full disks,
and ends as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from agents.evaluation import statistics
from agents.evaluation.figures import learning_curve
from agents.evaluation.rollouts import play
from agents.learners import LEARNERS
from agents.policy import LearnedPolicy, load_policy
from agents.run_directory import (
    CHECKPOINT,
    LEARNING_CURVE,
    PROGRESS,
    RunConfig,
    read_progress,
    write_config,
    write_progress,
)
from agents.storage import RunError, remedy, write_bytes
from execution_env import Days, DayStream, Scenario
from execution_env.market import VALIDATION
from execution_env.replay import replayed, replayed_orders
from execution_env.scenario_file import scenario_to_dict
from execution_env.validation import shown

VALIDATION_DAYS = 2048
"""Days that the learning curve is measured on, the same in every run."""

CURVE_POINTS = 40

CHECKPOINT_SECONDS = 5.0
"""Least time between checkpoints."""

CHECKPOINT_SHARE = 0.04
"""Most time that checkpoints may take, as a share."""

OBJECTIVE = ("objective_mean", "objective_ci_low", "objective_ci_high")
"""Columns of ``progress.csv`` that validation fills in."""

Row = dict[str, float]
Settings = TypeVar("Settings")


def validation_days(scenario: Scenario) -> Days:
    """The days that the learning curves of a scenario are measured on: of one that replays days, those
    that it trains on, for there are no others.
    """
    if scenario.replay is not None:
        return replayed(scenario, scenario.replay.train)
    return DayStream(scenario, 0, VALIDATION).draw(VALIDATION_DAYS)


def validated_on(scenario: Scenario) -> str:
    """What those days are, in words."""
    if scenario.replay is None:
        return f"{VALIDATION_DAYS:,} validation days"
    return f"the {validation_days(scenario).size:,} replayed days that it was trained on"


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


class Run:
    """A training in its run directory.

    Args:
        directory: there and writable.
        config: of the run.
        training: that ``config`` is of, at its start.
        resume: whether to go on from the directory's checkpoint, if it has one.

    Attributes:
        rows: of ``progress.csv``.
    """

    def __init__(
        self, directory: Path, config: RunConfig, training: Training, resume: bool
    ) -> None:
        self.directory, self.config, self.training = directory, config, training
        self.rows: list[Row] = []
        self._days: Days | None = None
        self._saved_at, self._saving = time.perf_counter(), 0.0
        if resume and (directory / CHECKPOINT).exists():
            training.restore(directory / CHECKPOINT)
            steps = training.steps
            rows = read_progress(directory)
            if any(tuple(row) != training.columns for row in rows):
                path, right = directory / PROGRESS, ", ".join(training.columns)
                raise RunError(f"{path}: its columns must be {right}. {remedy(path)}")
            self.rows = [row for row in rows if row["steps"] <= steps]
            if self.rows and self.rows[-1]["steps"] == steps:
                # The checkpoint may be from before this row was written, and not know of it.
                training.note(self.rows[-1])
        else:
            write_config(directory, config)
        points = np.linspace(0, training.total, CURVE_POINTS + 1).round().astype(np.int64)
        self._points: set[int] = set(points.tolist())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, no file to be written either."""
        if self.training.blocks < self.training.total or self._due():
            return False
        try:
            load_policy(self.directory)
        except RunError:
            return False
        return True

    def go(
        self,
        report: Callable[[Training, Row | None], object],
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train to the end. Ctrl-C leaves a checkpoint behind.

        Args:
            report: called now and then with the training, and the newest row where there is one.
            asked_to_stop: asked now and then; where it says so, that is as good as Ctrl-C.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            RunError: a file cannot be written.
        """
        training = self.training
        report(training, self.rows[-1] if self.rows else None)
        training.prepare()
        # One thread for linear algebra: results must not depend on how many share a sum, and on
        # matrices this small the others only spin.
        with threadpool_limits(1, "blas"):
            with interrupts_wait() as interrupted:
                while training.blocks < training.total:
                    row = self._validate() if self._due() else None
                    training.advance(min(self._until_next_point(), training.at_once))
                    stop = interrupted() or asked_to_stop()
                    if stop or time.perf_counter() - self._saved_at > self._interval():
                        self._checkpoint()
                    if stop:
                        raise KeyboardInterrupt
                    report(training, row)
            if self._due():
                report(training, self._validate())
        training.kept().save(self.directory)
        self._checkpoint()

    def _due(self) -> bool:
        steps = self.training.steps
        return self.training.blocks in self._points and not (
            self.rows and self.rows[-1]["steps"] == steps
        )

    def _until_next_point(self) -> int:
        blocks = self.training.blocks
        return min(point - blocks for point in self._points if point > blocks)

    def _interval(self) -> float:
        """Seconds between checkpoints."""
        return max(CHECKPOINT_SECONDS, self._saving / CHECKPOINT_SHARE)

    def _checkpoint(self) -> None:
        since = time.perf_counter()
        # Rows first: those newer than the checkpoint are dropped on resuming, missing ones stay so.
        write_progress(self.directory, self.rows)
        self.training.save(self.directory / CHECKPOINT)
        self._saved_at = time.perf_counter()
        self._saving = self._saved_at - since

    def _validate(self) -> Row:
        if self._days is None:
            self._days = validation_days(self.config.scenario)
        training = self.training
        # Of a shortfall without the drift that waiting costs by chance: it would hide all else.
        objective = play(training.policy(), self.config.scenario, self._days).adjusted
        scenario, clusters = self.config.scenario, None
        if scenario.replay is not None:
            clusters = replayed_orders(scenario, scenario.replay.train).clusters
        interval = statistics.mean(objective, clusters=clusters)
        measured = dict(zip(OBJECTIVE, map(float, interval), strict=True))
        numbers = training.facts() | measured
        row = {column: numbers[column] for column in training.columns}
        self.rows.append(row)
        training.log(row)
        if training.note(row):
            training.kept().save(self.directory)
        return row


@contextmanager
def interrupts_wait(then: Callable[[], object] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C wait until it is asked for by the function given: half a block must not be
    saved. A second one does not wait, and nothing is saved then.

    Args:
        then: called at the first one.
    """
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        then()

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield lambda: False  # somebody else's business
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


def differences(asked: RunConfig, stored: RunConfig) -> dict[str, Any]:
    """Settings whose stored value differs from the requested one, with the stored value (a scenario by
    its name).

    Raises:
        RunError: the stored run is not of the learner that is asked for.
    """
    learner = LEARNERS[asked.kind]
    wanted, there = (
        {"scenario": config.scenario, "seed": config.seed, **learner.settings(config).flat()}
        for config in (asked, stored)
    )
    return {
        key: getattr(value, "name", value) for key, value in there.items() if value != wanted[key]
    }


def draw(run: Run) -> None:
    """Write ``learning_curve.png`` of a run.

    Raises:
        RunError: it cannot be written.
    """
    config, learner = run.config, LEARNERS[run.config.kind]
    title = f"{learner.title} on {config.scenario.name}, seed {config.seed}"
    kept = run.training.result(run.rows)
    picture = learning_curve(run.rows, title, learner.axis, kept, config.scenario.unit)
    write_bytes(run.directory / LEARNING_CURVE, picture)
