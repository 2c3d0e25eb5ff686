"""A training run of the Q-learner: stages, progress, checkpoints, and a directory that it lives in."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.evaluation import statistics
from agents.evaluation.rollouts import play
from agents.q_learning import Hyperparameters, Table
from agents.q_policy import KIND, QPolicy, load
from agents.q_stages import (
    choose_bins,
    coarser,
    refine,
    stages,
    worst_return,
)
from agents.q_states import with_estimates, without_estimates
from agents.q_training import BLOCK, REPLAYS, Trainer, warm_up
from agents.run_directory import (
    CHECKPOINT,
    PROGRESS,
    RunConfig,
    new_config,
    read_progress,
    write_config,
    write_progress,
)
from agents.storage import RunError, load_arrays, remedy, save_arrays
from execution_env import Days, DayStream, Scenario
from execution_env.market import VALIDATION
from execution_env.scenario_file import scenario_to_dict

ORDERS = BLOCK * REPLAYS
"""Orders between two moments at which a run can be saved."""

MEASURED = 40
"""Blocks played greedily, without learning, to see which estimates orders meet."""

VALIDATION_DAYS = 2048
"""Days that the learning curve is measured on, the same in every run."""

CURVE_POINTS = 40

CHECKPOINT_SECONDS = 5.0
"""Least time between checkpoints."""

CHECKPOINT_SHARE = 0.04
"""Most time that checkpoints may take, as a share."""

MOST_EPISODES = 2**31 - 1
"""Orders that a training may have: visits are counted in 32 bits."""

COLUMNS = (
    "episodes",
    "steps",
    "seconds",
    "epsilon",
    "objective_mean",
    "objective_ci_low",
    "objective_ci_high",
    "states",
)
"""Of ``progress.csv``."""

SAVED = {
    "run": (np.uint8, 1),
    "values": (np.float32, 3),
    "visits": (np.int32, 3),
    "bins": (np.int64, 1),
    "final_bins": (np.int64, 1),
    "edges": (np.float32, 3),
    "blocks": (np.int64, 0),
    "stage": (np.int64, 0),
    "seconds": (np.float64, 0),
    "days": (np.uint64, 1),
    "exploration": (np.uint64, 1),
}
"""The arrays of ``checkpoint.npz``: dtypes and numbers of axes."""

Row = dict[str, float]


@dataclass(frozen=True)
class Settings:
    """What a training run is, besides its scenario and seed.

    The defaults, those of ``Hyperparameters``, and the shares of the stages were chosen on the
    validation streams 0 and 1 of ``baseline``, ``drifting`` and ``known-rates``; no numbered day was
    part of it.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    episodes: int = 25_000_000
    bins: int = 6
    start: Literal["optimistic", "pessimistic"] = "optimistic"
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)

    def __post_init__(self) -> None:
        if not (isinstance(self.episodes, int) and 1 <= self.episodes <= MOST_EPISODES):
            raise ValueError(
                f"episodes = {self.episodes}: must be a whole number from 1 to {MOST_EPISODES:,}."
            )
        if not (isinstance(self.bins, int) and 1 <= self.bins <= 64):
            raise ValueError(
                f"bins = {self.bins}: must be a whole number from 1 (no estimates) to 64."
            )
        if self.start not in ("optimistic", "pessimistic"):
            raise ValueError(f"start = {self.start}: must be optimistic or pessimistic.")

    def flat(self) -> dict[str, Any]:
        """All of them in one dictionary, for ``config.json``."""
        values = asdict(self)
        hyperparameters = values.pop("hyperparameters")
        return {**values, **hyperparameters}


class Training:
    """A run in progress. ``advance`` it, block by block; nothing else changes what is learned.

    Attributes:
        space, table: states and values so far.
        blocks: played and learned from.
        total: blocks of the whole run.
        seconds: spent on it, checkpoints and validation not counted.
    """

    def __init__(self, scenario: Scenario, seed: int, settings: Settings) -> None:
        self.scenario, self.seed, self.settings = scenario, seed, settings
        self.total = -(-settings.episodes // ORDERS)
        self.blocks, self.seconds = 0, 0.0
        self._hyperparameters = settings.hyperparameters
        self._step_sizes = self._hyperparameters.step_sizes()
        self._stages = stages(self.total)
        self._stage = 0
        self._trainer = Trainer(scenario, seed)
        self._final_bins = np.ones(len(scenario.algos), np.int64)
        self.space = without_estimates(scenario)
        value = 0.0 if settings.start == "optimistic" else worst_return(scenario)
        tables = self._hyperparameters.tables
        self.table = Table.start(tables, self.space.size, scenario.grid_size, value)

    @property
    def episodes(self) -> int:
        """Orders played so far."""
        return self.blocks * ORDERS

    @property
    def steps(self) -> int:
        """Updates so far."""
        return self.episodes * self.scenario.buckets

    @property
    def epsilon(self) -> float:
        """Share of random actions now."""
        return self._hyperparameters.epsilon_at(self.blocks / self.total)

    def advance(self, blocks: int) -> None:
        """Play and learn from so many more blocks, or as many as are left."""
        since = time.perf_counter()
        for _ in range(min(blocks, self.total - self.blocks)):
            while self.blocks >= self._stages[self._stage].blocks:
                self._next_stage()
            self._trainer.block(
                self.space,
                self.table,
                self._step_sizes,
                self._hyperparameters,
                self.epsilon,
            )
            self.blocks += 1
        self.seconds += time.perf_counter() - since

    def _next_stage(self) -> None:
        estimates = self._met_estimates()
        if self._stage == 0:
            self._final_bins = choose_bins(
                self.scenario,
                self.settings.bins,
                estimates,
                len(self.table.values),
                self.total * ORDERS * self.scenario.buckets,
            )
        self._stage += 1
        bins = coarser(self._final_bins, self._stages[self._stage].divisor)
        space = with_estimates(self.scenario, bins, estimates)
        self.table = refine(self.space, self.table, space, estimates)
        self.space = space

    def _met_estimates(self) -> NDArray[np.float32]:
        """(B, K, n) estimates that the greedy policy meets."""
        met = []
        for _ in range(MEASURED):
            self._trainer.watch(self.space, self.table)
            met.append(self._trainer.notes.estimates.copy())
        return np.concatenate(met, axis=2)

    def policy(self, name: str = KIND) -> QPolicy:
        """The greedy policy so far."""
        return QPolicy.of(
            self.scenario,
            self.space,
            self.table,
            self._hyperparameters.caution,
            name=name,
            seconds=self.seconds,
            steps=self.steps,
        )

    def save(self, path: Path) -> None:
        """Write all that ``restore`` needs.

        Raises:
            RunError: it cannot be written.
        """
        save_arrays(
            path,
            run=self._identity(),
            values=self.table.values,
            visits=self.table.visits,
            bins=self.space.bins,
            final_bins=self._final_bins,
            edges=self.space.finite_edges,
            blocks=np.int64(self.blocks),
            stage=np.int64(self._stage),
            seconds=np.float64(self.seconds),
            days=_position(self._trainer.days.generator),
            exploration=_position(self._trainer.exploration),
        )

    def restore(self, path: Path) -> None:
        """Go on from where ``save`` was called: what follows is bit for bit the same.

        Raises:
            RunError: the file is missing, damaged, or of another run.
        """
        saved = load_arrays(path, SAVED)
        if not np.array_equal(saved["run"], self._identity()):
            raise RunError(f"{path}: does not fit this run's config.json. {remedy(path)}")
        self.space = self.space._replace(bins=saved["bins"], edges=saved["edges"])
        self.table = Table(saved["values"], saved["visits"])
        self._final_bins = saved["final_bins"]
        self._stage, self.blocks = int(saved["stage"]), int(saved["blocks"])
        self.seconds = float(saved["seconds"])
        _move(self._trainer.days.generator, saved["days"])
        _move(self._trainer.exploration, saved["exploration"])

    def _identity(self) -> NDArray[np.uint8]:
        """(32,) SHA-256 of all that decides what is learned: whose checkpoint it is."""
        facts = [scenario_to_dict(self.scenario), self.seed, self.settings.flat()]
        text = json.dumps(facts, sort_keys=True)
        return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)


def _position(generator: np.random.Generator) -> NDArray[np.uint64]:
    """(4,) the state of an SFC64 generator."""
    state: NDArray[np.uint64] = generator.bit_generator.state["state"]["state"]
    return state.copy()


def _move(generator: np.random.Generator, position: NDArray[np.uint64]) -> None:
    state = generator.bit_generator.state
    state["state"]["state"] = position
    generator.bit_generator.state = state


class Run:
    """A training in its run directory.

    Args:
        directory: there and writable.
        config: of the run.
        resume: whether to go on from the directory's checkpoint, if it has one.

    Attributes:
        training: in progress.
        rows: of ``progress.csv``.
    """

    def __init__(self, directory: Path, config: RunConfig, resume: bool) -> None:
        self.directory, self.config = directory, config
        self.training = Training(config.scenario, config.seed, settings_of(config))
        self.rows: list[Row] = []
        self._days: Days | None = None
        self._saved_at, self._saving = time.perf_counter(), 0.0
        if resume and (directory / CHECKPOINT).exists():
            self.training.restore(directory / CHECKPOINT)
            steps = self.training.steps
            rows = read_progress(directory)
            if any(tuple(row) != COLUMNS for row in rows):
                path = directory / PROGRESS
                raise RunError(f"{path}: its columns must be {', '.join(COLUMNS)}. {remedy(path)}")
            self.rows = [row for row in rows if row["steps"] <= steps]
        else:
            write_config(directory, config)
        total = self.training.total
        points = np.unique(np.linspace(0, total, CURVE_POINTS + 1).round().astype(np.int64))
        self._points: set[int] = set(points.tolist())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, no file to be written either."""
        if self.training.blocks < self.training.total or self._due():
            return False
        try:
            load(self.directory, self.config)
        except RunError:
            return False
        return True

    def go(self, report: Callable[[Training, Row | None], object]) -> None:
        """Train to the end. Ctrl-C leaves a checkpoint behind.

        Args:
            report: called now and then with the training, and the newest row where there is one.

        Raises:
            RunError: a file cannot be written.
        """
        training = self.training
        report(training, self.rows[-1] if self.rows else None)
        warm_up(self.config.scenario)
        with _interrupts_wait() as interrupted:
            while training.blocks < training.total:
                row = self._validate() if self._due() else None
                training.advance(min(self._until_next_point(), 50))
                stop = interrupted()
                if stop or time.perf_counter() - self._saved_at > self._interval():
                    self._checkpoint()
                if stop:
                    raise KeyboardInterrupt
                report(training, row)
        if self._due():
            report(training, self._validate())
        training.policy().save(self.directory)
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
            stream = DayStream(self.config.scenario, 0, VALIDATION)
            self._days = stream.draw(VALIDATION_DAYS)
        training = self.training
        objective = play(training.policy(), self.config.scenario, self._days).objective
        mean, low, high = (float(number) for number in statistics.mean(objective))
        numbers = (
            training.episodes,
            training.steps,
            round(training.seconds, 3),
            training.epsilon,
            mean,
            low,
            high,
            training.space.size,
        )
        row = dict(zip(COLUMNS, numbers, strict=True))
        self.rows.append(row)
        return row


@contextmanager
def _interrupts_wait() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C wait until it is asked for by the function given: half a block must not be
    saved. A second one does not wait, and nothing is saved then.
    """
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield lambda: False  # somebody else's business
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def config_of(scenario: Scenario, seed: int, settings: Settings) -> RunConfig:
    """What ``config.json`` will say."""
    return new_config(KIND, scenario, seed, settings.flat())


def settings_of(config: RunConfig) -> Settings:
    """The settings that ``config.json`` tells.

    Raises:
        RunError: they are none.
    """
    values = dict(config.hyperparameters)
    try:
        own = {name: values.pop(name) for name in ("episodes", "bins", "start")}
        return Settings(**own, hyperparameters=Hyperparameters(**values))
    except (TypeError, KeyError, ValueError) as error:
        raise RunError(
            f"config.json: its hyperparameters are not those of {KIND} ({error}). It is of another "
            "version or was edited; start a new run."
        ) from error
