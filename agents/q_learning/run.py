"""A training of the Q-learner: its settings, stages and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.learners import Q_LEARNING
from agents.q_learning.algorithm import Hyperparameters, Table
from agents.q_learning.orders import ORDERS_PER_BLOCK, REPLAYS, Trainer, warm_up
from agents.q_learning.policy import QPolicy, axes_of
from agents.q_learning.stages import (
    SHARES,
    choose_bins,
    coarser,
    fits,
    refine,
    stages,
    worst_return,
)
from agents.q_learning.states import (
    MOST_BINS,
    StateSpace,
    space_from_file,
    with_estimates,
    without_estimates,
)
from agents.storage.files import RunError, load_arrays, remedy, save_arrays
from agents.storage.run_directory import RunConfig, new_config
from agents.training.training import OBJECTIVE, Row, RunSettings, Training, settings_from
from execution_env import Scenario
from execution_env.core.archive import Field

ORDERS = ORDERS_PER_BLOCK * REPLAYS
"""Number of orders in a block of the training."""

MEASURED_BLOCKS = 40
"""Number of blocks played greedily, without learning, to see which estimates orders meet."""

MOST_EPISODES = 2**31 - 1 - ORDERS
"""Largest number of orders in a training, because visits are counted in 32 bits and the last block
may be begun for one order."""

FIELDS = {
    "run": Field(np.uint8, (32,)),
    "blocks": Field(np.int64, low=0),
    "stage": Field(np.int64, low=0, high=len(SHARES) - 1),
    "seconds": Field(np.float64, low=0.0),
    "bins": Field(np.int64, ("K",), low=1, high=MOST_BINS),
    "final_bins": Field(np.int64, ("K",), low=1, high=MOST_BINS),
    "edges": Field(np.float32, ("B", "K", "*")),
    "values": Field(np.float32, ("T", "S", "A")),
    "visits": Field(np.int32, ("T", "S", "A"), low=0),
    "days": Field(np.uint64, (4,)),
    "exploration": Field(np.uint64, (4,)),
}
"""Requirements on every array of ``checkpoint.npz``; ``QTraining.restore`` has the rest."""


@dataclass(frozen=True)
class Settings(RunSettings):
    """Settings of a training run besides scenario and seed.

    The defaults, those of ``Hyperparameters``, and the shares of the stages were chosen on the
    validation streams 0 and 1 of ``baseline``, ``drifting`` and ``known-rates``. No numbered day
    was used.

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
        if not (isinstance(self.bins, int) and 1 <= self.bins <= MOST_BINS):
            raise ValueError(
                f"bins = {self.bins}: must be a whole number from 1 (no estimates) to {MOST_BINS}."
            )
        if self.start not in ("optimistic", "pessimistic"):
            raise ValueError(f"start = {self.start}: must be optimistic or pessimistic.")

    def orders(self, scenario: Scenario) -> int:
        """Return the number of orders in a block."""
        return ORDERS

    def blocks(self, scenario: Scenario) -> int:
        """Return the number of blocks of the whole training."""
        return -(-self.episodes // ORDERS)


class QTraining(Training):
    """A training of the Q-learner.

    Attributes:
        space, table: states and values so far.
    """

    columns = ("episodes", "steps", "seconds", "epsilon", *OBJECTIVE, "states")
    at_once = 50

    def __init__(self, scenario: Scenario, seed: int, settings: Settings) -> None:
        super().__init__(scenario, seed, settings)
        self.settings = settings
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
    def epsilon(self) -> float:
        """Current share of random actions."""
        return self._hyperparameters.epsilon_at(self.blocks / self.total)

    def prepare(self) -> None:
        """Compile the loops."""
        warm_up(self.scenario)

    def block(self) -> None:
        """Play and learn from one more block."""
        while self.blocks >= self._stages[self._stage].blocks:
            self._next_stage()
        self._trainer.block(
            self.space, self.table, self._step_sizes, self._hyperparameters, self.epsilon
        )

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
        """Return (B, K, n) estimates that the greedy policy meets."""
        met = []
        for _ in range(MEASURED_BLOCKS):
            self._trainer.watch(self.space, self.table)
            met.append(self._trainer.notes.estimates.copy())
        return np.concatenate(met, axis=2)

    def policy(self) -> QPolicy:
        """Return the current greedy policy."""
        return QPolicy.of(
            self.scenario,
            self.space,
            self.table,
            self._hyperparameters.caution,
            name=Q_LEARNING,
            seconds=self.seconds,
            steps=self.steps,
        )

    def save(self, path: Path) -> None:
        """Write a checkpoint with all that ``restore`` needs.

        Raises:
            RunError: it cannot be written.
        """
        save_arrays(
            path,
            run=self.identity,
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
        """Restore the state at a call of ``save``; the training goes on bit for bit the same.

        Raises:
            RunError: the file is missing, damaged, or of another run.
        """
        sizes = axes_of(self.scenario) | {"T": self._hyperparameters.tables}
        saved = load_arrays(path, FIELDS | {"run": self.identity_field}, sizes)
        blocks, stage = int(saved["blocks"]), int(saved["stage"])
        table = Table(saved["values"], saved["visits"])
        try:
            space = space_from_file(self.scenario, saved["bins"], saved["edges"])
            self._check_progress(blocks, stage, table, saved["final_bins"], space)
        except ValueError as error:
            raise RunError(f"{path}: {error}; no training saved it so. {remedy(path)}") from error
        self.space, self.table = space, table
        self._final_bins, self._stage, self.blocks = saved["final_bins"], stage, blocks
        self.seconds = float(saved["seconds"])
        _move(self._trainer.days.generator, saved["days"])
        _move(self._trainer.exploration, saved["exploration"])

    def _check_progress(
        self,
        blocks: int,
        stage: int,
        table: Table,
        final_bins: NDArray[np.int64],
        space: StateSpace,
    ) -> None:
        """Raise ValueError if a checkpoint contradicts itself or this training."""
        self.check_blocks(blocks)
        right = sum(one.blocks < blocks for one in self._stages)
        if stage != right:
            raise ValueError(f"stage = {stage}: after {blocks} blocks it is {right}")
        divisor = self._stages[stage].divisor
        bins = coarser(final_bins, divisor) if divisor else np.ones_like(final_bins)
        if not np.array_equal(space.bins, bins) or (stage == 0 and final_bins.max() > 1):
            raise ValueError(f"bins = {space.bins.tolist()} in stage {stage}")
        final = space._replace(bins=final_bins)
        if not fits(final, table) or final_bins.max() > self.settings.bins:
            raise ValueError(f"final_bins = {final_bins.tolist()}: more than the settings allow")
        if table.values.shape[1] != space.size:
            raise ValueError(
                f"values of {table.values.shape[1]:,} states, where the bins make {space.size:,}"
            )
        most = blocks * ORDERS + 1  # one of an earlier stage
        if table.visits.max() > most:
            raise ValueError(
                f"visits = {table.visits.max():,}: at most {most:,} orders were played"
            )

    def facts(self) -> Row:
        """Return the training's progress, with epsilon and the number of states."""
        return super().facts() | {"epsilon": self.epsilon, "states": self.space.size}

    def status(self) -> str:
        """Return a few words for the progress bar."""
        speed = self.steps / max(self.seconds, 1e-9) / 1e6
        return f"{speed:.1f} M updates/s, epsilon {self.epsilon:.2f}"


def _position(generator: np.random.Generator) -> NDArray[np.uint64]:
    """Return the (4,) state of an SFC64 generator."""
    state: NDArray[np.uint64] = generator.bit_generator.state["state"]["state"]
    return state.copy()


def _move(generator: np.random.Generator, position: NDArray[np.uint64]) -> None:
    state = generator.bit_generator.state
    state["state"]["state"] = position
    generator.bit_generator.state = state


def config_of(scenario: Scenario, seed: int, settings: Settings) -> RunConfig:
    """Return the configuration of a new run, for ``config.json``."""
    return new_config(Q_LEARNING, scenario, seed, settings.flat())


def settings_of(config: RunConfig) -> Settings:
    """Return the settings in ``config.json``.

    Raises:
        RunError: it is not a run of the Q-learner, or its settings are wrong.
    """

    def make(episodes: Any, bins: Any, start: Any, **rest: Any) -> Settings:
        return Settings(episodes, bins, start, Hyperparameters(**rest))

    return settings_from(config, Q_LEARNING, make)


def training_of(config: RunConfig, directory: Path) -> QTraining:
    """Return the training of ``config``, at its start.

    Raises:
        RunError: it is not a run of the Q-learner.
    """
    return QTraining(config.scenario, config.seed, settings_of(config))
