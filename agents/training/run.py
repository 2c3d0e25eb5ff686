"""A training in its run directory: progress, validation, checkpoints, stopping and resuming.

A run of any ``Training`` survives Ctrl-C, SIGTERM, ``kill -9`` and full disks. Resumed, it ends with the
same result as a run without interruption.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from agents.evaluation import statistics
from agents.evaluation.figures import learning_curve
from agents.evaluation.validation import validation_days
from agents.learners import LEARNERS
from agents.policy import changes, load_policy
from agents.rollouts.allocation import play
from agents.storage.files import RunError, remedy, write_bytes
from agents.storage.run_directory import (
    CHECKPOINT,
    LEARNING_CURVE,
    PROGRESS,
    RunConfig,
    read_progress,
    write_config,
    write_progress,
)
from agents.training.interrupts import interrupts_wait
from agents.training.training import OBJECTIVE, Row, Training
from execution_env import Days
from execution_env.allocation.market.days_file import replayed_orders

CURVE_POINTS = 40

CHECKPOINT_SECONDS = 5.0
"""Least time between checkpoints, seconds."""

CHECKPOINT_SHARE = 0.04
"""Largest share of the time that writing checkpoints may take."""


class Run:
    """A training in its run directory.

    Args:
        directory: run directory, which exists and is writable.
        config: configuration of the run.
        training: training of ``config``, at its start.
        resume: whether to resume from the directory's checkpoint, if it has one.

    Attributes:
        rows: rows of ``progress.csv``.
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
                # The checkpoint may be older than this row.
                training.note(self.rows[-1])
        else:
            write_config(directory, config)
        points = np.linspace(0, training.total, CURVE_POINTS + 1).round().astype(np.int64)
        self._points: set[int] = set(points.tolist())

    @property
    def finished(self) -> bool:
        """Whether the training is over, validated, and its policy file can be loaded."""
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
        """Train to the end. Ctrl-C and SIGTERM write a checkpoint first.

        Args:
            report: called now and then with the training, and the newest row where there is one.
            asked_to_stop: called now and then; if it returns True, training stops as at Ctrl-C.

        Raises:
            KeyboardInterrupt: after Ctrl-C, or if ``asked_to_stop`` returned True; as ``Terminated``
                after SIGTERM.
            RunError: a file cannot be written.
        """
        training = self.training
        report(training, self.rows[-1] if self.rows else None)
        training.prepare()
        # One thread for linear algebra: results must not depend on the number of threads, and with
        # matrices this small more threads gain nothing.
        with threadpool_limits(1, "blas"):
            with interrupts_wait() as interrupted:
                while training.blocks < training.total:
                    row = self._validate() if self._due() else None
                    training.advance(min(self._until_next_point(), training.at_once))
                    stop = interrupted() or (KeyboardInterrupt() if asked_to_stop() else None)
                    if stop or time.perf_counter() - self._saved_at > self._interval():
                        self._checkpoint()
                    if stop:
                        raise stop
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
        """Return the seconds between checkpoints."""
        return max(CHECKPOINT_SECONDS, self._saving / CHECKPOINT_SHARE)

    def _checkpoint(self) -> None:
        since = time.perf_counter()
        # Rows first: resuming drops rows newer than the checkpoint, but cannot add missing ones.
        write_progress(self.directory, self.rows)
        self.training.save(self.directory / CHECKPOINT)
        self._saved_at = time.perf_counter()
        self._saving = self._saved_at - since

    def _validate(self) -> Row:
        if self._days is None:
            self._days = validation_days(self.config.scenario)
        training = self.training
        # Without the waiting drift, which has mean zero and would be most of a shortfall's noise.
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


def differences(asked: RunConfig, stored: RunConfig) -> dict[str, Any]:
    """Return the settings whose stored value differs from the requested one, with the stored value.

    A scenario is given by its name, and if that is the same, also by what differs.

    Raises:
        RunError: the stored run is not of the requested learner.
    """
    learner = LEARNERS[asked.kind]
    wanted, there = (
        {"scenario": config.scenario, "seed": config.seed, **learner.settings(config).flat()}
        for config in (asked, stored)
    )
    found = {key: value for key, value in there.items() if value != wanted[key]}
    if "scenario" in found:
        same_name = stored.scenario.name == asked.scenario.name
        what = changes(stored.scenario, asked.scenario) if same_name else ""
        found["scenario"] = f"{stored.scenario.name}{f' ({what})' if what else ''}"
    return found


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
