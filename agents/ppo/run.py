"""A training of PPO, with its checkpoints and the best policy so far."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from agents.ppo.learner import Learner
from agents.ppo.policy import MOST_WEIGHT, WEIGHTS, PPOPolicy
from agents.ppo.settings import LARGEST, Settings, settings_of
from agents.storage.files import RunError, load_arrays, one_line, remedy, save_arrays
from agents.storage.run_directory import TENSORBOARD, RunConfig
from agents.training.training import OBJECTIVE, Row, Training
from execution_env import Scenario
from execution_env.core.archive import Field

FIELDS = {
    "run": Field(np.uint8, (32,)),
    "blocks": Field(np.int64, low=0),
    "seconds": Field(np.float64, low=0.0),
    "parameters": WEIGHTS._replace(axes=("P",)),
    "adam_steps": Field(np.int64, low=0, high=2.0**53),
    "adam_means": Field(np.float32, ("P",), low=-LARGEST, high=LARGEST),
    "adam_squares": Field(np.float32, ("P",), low=0.0, high=LARGEST**2),
    "measured": Field(np.float64, ("M",)),
    "best": WEIGHTS._replace(axes=("P",)),
    "best_row": Field(np.float64, ("*",)),
}
"""Requirements on every array of ``checkpoint.npz``; ``PPOTraining.restore`` has the rest."""

TORCH_REFUSES = "to satisfy the constraint"
"""Part of torch's error message for a probability that is not a number."""

LEARNING_COLUMNS = ("entropy", "approx_kl", "explained_variance")
"""Columns of ``progress.csv`` that ``Learner.learn`` returns."""


class PPOTraining(Training):
    """A training of PPO, batch by batch.

    Args:
        scenario: scenario of the training days.
        seed: seed of everything random.
        settings: all other settings.
        log: folder for TensorBoard's files; None for no files.
    """

    columns = ("episodes", "steps", "seconds", *OBJECTIVE, *LEARNING_COLUMNS)

    def __init__(
        self, scenario: Scenario, seed: int, settings: Settings, log: Path | None = None
    ) -> None:
        settings = settings.chosen(scenario)
        self.settings, self._hyperparameters = settings, settings.hyperparameters
        super().__init__(scenario, seed, settings)
        self.learner = Learner(
            scenario,
            seed,
            settings.observation,
            settings.masked,
            self._hyperparameters,
            log,
        )
        self._measured = dict.fromkeys(LEARNING_COLUMNS, 0.0)
        self._best = self.learner.parameters()
        self._best_row: Row | None = None

    def block(self) -> None:
        """Play and learn from one more batch.

        Raises:
            RunError: weights or probabilities are no longer finite; TensorBoard's files cannot be
                written.
        """
        left = 1 - self.blocks / self.total
        rate = left * self._hyperparameters.learning_rate
        reason = f"weights that are not finite, or beyond {MOST_WEIGHT:,.0f}"
        try:
            self._measured = self.learner.learn(self.blocks + 1, rate)
        except RunError:
            raise
        except ValueError as error:
            if TORCH_REFUSES not in str(error):
                raise
            reason = one_line(error)
        else:
            if np.abs(self.learner.parameters()).max() <= MOST_WEIGHT:
                return
        raise RunError(
            f"training has diverged in batch {self.blocks + 1} ({reason}). Try a smaller "
            f"learning rate than {self._hyperparameters.learning_rate}."
        )

    def policy(self) -> PPOPolicy:
        """Return the current greedy policy."""
        settings = self.settings
        return PPOPolicy(
            self.scenario,
            self.learner.layers(),
            settings.observation,
            settings.masked,
            seconds=self.seconds,
            steps=self.steps,
        )

    def kept(self) -> PPOPolicy:
        """Return the policy with the best validation objective so far.

        Its training time and steps are those of the whole training so far.
        """
        now = self.learner.parameters()
        self.learner.set_parameters(self._best)
        policy = self.policy()
        self.learner.set_parameters(now)
        return policy

    def result(self, rows: Sequence[Row]) -> Row:
        """Return the row of the best policy, the first of equals."""
        return self._best_row or rows[-1]

    def note(self, row: Row) -> bool:
        """Record the newest validation row; return True if its policy is the best so far."""
        best = self._best_row
        if best is not None and row["objective_mean"] >= best["objective_mean"]:
            return False
        self._best, self._best_row = self.learner.parameters(), row
        return True

    def log(self, row: Row) -> None:
        """Write the objective of a new row to TensorBoard's files.

        Raises:
            RunError: they cannot be written.
        """
        self.learner.log({"validation/objective": row["objective_mean"]}, self.steps)

    def save(self, path: Path) -> None:
        """Write a checkpoint with all that ``restore`` needs.

        Raises:
            RunError: it cannot be written.
        """
        steps, means, squares = self.learner.moments()
        save_arrays(
            path,
            run=self.identity,
            blocks=np.int64(self.blocks),
            seconds=np.float64(self.seconds),
            parameters=self.learner.parameters(),
            adam_steps=np.int64(steps),
            adam_means=means,
            adam_squares=squares,
            measured=np.array(list(self._measured.values())),
            best=self._best,
            best_row=np.array([*(self._best_row or {}).values()], np.float64),
        )

    def restore(self, path: Path) -> None:
        """Restore the state at a call of ``save``; the training goes on bit for bit the same.

        Raises:
            RunError: the file is missing, damaged, or of another run.
        """
        sizes = {"P": self.learner.parameters().size, "M": len(LEARNING_COLUMNS)}
        saved = load_arrays(path, FIELDS | {"run": self.identity_field}, sizes)
        blocks, adam_steps = int(saved["blocks"]), int(saved["adam_steps"])
        try:
            self.check_blocks(blocks)
            most = blocks * self._hyperparameters.n_epochs * self._hyperparameters.minibatches
            if adam_steps > most:
                raise ValueError(f"adam_steps = {adam_steps:,}: there were {most:,}")
            measured = dict(zip(LEARNING_COLUMNS, saved["measured"].tolist(), strict=True))
            best_row = _row(self.columns, saved["best_row"].tolist())
            for weights in (saved["best"], saved["parameters"]):  # the former must fit as well
                self.learner.set_parameters(weights)
            self.learner.set_moments(adam_steps, saved["adam_means"], saved["adam_squares"])
        except ValueError as error:
            raise RunError(f"{path}: {error}; no training saved it so. {remedy(path)}") from error
        self._measured = measured
        self._best, self._best_row = saved["best"], best_row
        self.blocks, self.seconds = blocks, float(saved["seconds"])

    def facts(self) -> Row:
        """Return the training's progress, with the columns of ``MEASURED``."""
        return super().facts() | self._measured

    def status(self) -> str:
        """Return a few words for the progress bar."""
        speed = self.steps / max(self.seconds, 1e-9) / 1e3
        return f"{speed:.0f} k steps/s, entropy {self._measured['entropy']:.2f}"


def _row(columns: Sequence[str], values: Sequence[float]) -> Row | None:
    """Return the row that was saved; None where there was none yet.

    Raises:
        ValueError: the number of values is that of no row.
    """
    if len(values) not in (0, len(columns)):
        raise ValueError(f"best_row has {len(values)} numbers, not {len(columns)}")
    return dict(zip(columns, values, strict=True)) if values else None


def training_of(config: RunConfig, directory: Path) -> PPOTraining:
    """Return the training of ``config``, at its start; it logs if TensorBoard is installed.

    Raises:
        RunError: it is not a run of PPO.
    """
    log = directory / TENSORBOARD if find_spec("tensorboard") else None
    return PPOTraining(config.scenario, config.seed, settings_of(config), log)
