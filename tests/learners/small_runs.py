"""A small training of each learner, for tests that all learners must pass."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.learners import LEARNERS, PPO, Q_LEARNING
from agents.policy import load_policy
from agents.q_learning import run as q_run
from agents.q_learning.algorithm import Hyperparameters
from agents.q_learning.orders import Trainer
from agents.q_learning.policy import QPolicy
from agents.q_learning.run import ORDERS
from agents.storage.files import RunError, load_arrays
from agents.storage.run_directory import RunConfig, new_run_directory, read_config, read_progress
from agents.training.run import Run
from execution_env import Scenario, load_scenario

Wrong = tuple[dict[str, Any], tuple[str, ...]]


@dataclass(frozen=True)
class SmallRun:
    """A training of a second or less, and facts about its learner that tests need.

    Attributes:
        kind: name of the learner.
        sizes: overrides that make ``scenario`` from "two-algos".
        scenario, settings: of the training.
        total: blocks of the training.
        constants: values for ``faster``.
        training: class of the training.
        config_of: ``config_of(scenario, seed, settings) -> RunConfig``.
        policy: class of its policies.
        saved: arrays of ``checkpoint.npz``.
        keeps_best: True if the best policy is kept, False if the last one is.
        short: settings of a training of one or two blocks.
        others: two other settings that must go on as well.
        pieces: blocks between the checkpoints of ``others``.
        learning: methods that play a block.
        stops: blocks in which Ctrl-C comes.
        other_runs: hyperparameters of other runs, each with one difference.
        wrong: hyperparameters that no run has, with words of the error.
        long: command line of a longer training, for ``kill -9``.
        long_settings: its settings.
        kills: for each process that is killed, the file it must have written, and the signal.
        ends_in_process: True if a process goes on to the end after the kills.
    """

    kind: str
    sizes: Mapping[str, int]
    scenario: Scenario
    settings: Any
    total: int
    constants: Mapping[str, float]
    training: Any
    config_of: Callable[[Scenario, int, Any], RunConfig]
    policy: type
    saved: Mapping[str, Any]
    keeps_best: bool
    short: Any
    others: tuple[Any, Any]
    pieces: Sequence[int]
    learning: tuple[tuple[type, str], ...]
    stops: tuple[int, ...]
    other_runs: tuple[dict[str, Any], ...]
    wrong: tuple[Wrong, ...]
    long: list[str]
    long_settings: Any
    kills: tuple[tuple[str, int], ...]
    ends_in_process: bool

    def new_run(self, directory: Path, settings: Any = None, scenario: Any = None) -> Run:
        """Start a run in a new directory."""
        settings, scenario = settings or self.settings, scenario or self.scenario
        new_run_directory(directory)
        config = self.config_of(scenario, 0, settings)
        return Run(directory, config, self.training(scenario, 0, settings), resume=False)

    def resumed(self, directory: Path) -> Run:
        """Go on with the run in a directory."""
        config = read_config(directory)
        settings = LEARNERS[self.kind].settings(config)
        training = self.training(config.scenario, config.seed, settings)
        return Run(directory, config, training, resume=True)

    def interrupted(
        self,
        directory: Path,
        block: int,
        monkeypatch: pytest.MonkeyPatch,
        times: int = 1,
        number: int = signal.SIGINT,
    ) -> None:
        """Start a run and stop it by Ctrl-C, or by another signal, in a block."""
        with monkeypatch.context() as patch:
            self.interrupt_in(patch, block, times, number)
            with pytest.raises(KeyboardInterrupt):
                self.new_run(directory).go(quiet)

    def interrupt_in(
        self,
        monkeypatch: pytest.MonkeyPatch,
        block: int,
        times: int = 1,
        number: int = signal.SIGINT,
    ) -> None:
        """Send a signal while this block is learned; numbers include blocks without learning."""
        played = [0]

        def counted(original: Any) -> Any:
            def playing(*args: Any, **options: Any) -> Any:
                found = original(*args, **options)
                played[0] += 1
                for _ in range(times if played[0] == block else 0):
                    os.kill(os.getpid(), number)
                return found

            return playing

        for place, name in self.learning:
            monkeypatch.setattr(place, name, counted(getattr(place, name)))

    def learned(self, directory: Path) -> dict[str, Any]:
        """Return all that a run ends with, but times."""
        load_policy(directory)
        checkpoint = load_arrays(directory / "checkpoint.npz", self.saved)
        policy = arrays_in(directory / "policy.npz")
        for arrays in (checkpoint, policy):
            del arrays["seconds"]
        if "best_row" in checkpoint:
            checkpoint["best_row"][self.training.columns.index("seconds")] = 0
        rows = [row | {"seconds": 0} for row in read_progress(directory)]
        return {"checkpoint": checkpoint, "policy": policy, "rows": rows}

    def kept_row(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Return the row of the policy that a run ends with."""
        return min(rows, key=lambda row: row["objective_mean"]) if self.keeps_best else rows[-1]


def quiet(*_: Any) -> None:
    pass


def arrays_in(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return {name: file[name] for name in file if name != "checksum"}


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    assert first["rows"] == second["rows"]
    for file in ("checkpoint", "policy"):
        assert first[file].keys() == second[file].keys()
        for name, array in first[file].items():
            assert np.array_equal(array, second[file][name]), (file, name)
    return True


def refused(load: Callable[[Path], Any], directory: Path, *words: str) -> None:
    """Check that loading fails with one line that has these words."""
    with pytest.raises(RunError) as error:
        load(directory)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def sized(sizes: Mapping[str, int]) -> list[str]:
    """Return the command line of "two-algos" with these sizes."""
    return ["--scenario", "two-algos", "--set", *(f"{key}={sizes[key]}" for key in sizes)]


def q_learning() -> SmallRun:
    sizes = {"order.size": 3000, "order.buckets": 4, "volume.total": 12000}
    settings = q_run.Settings(60 * ORDERS, 4)
    length = 1000 * ORDERS
    return SmallRun(
        kind=Q_LEARNING,
        sizes=sizes,
        scenario=load_scenario("two-algos", sizes),
        settings=settings,
        total=60,
        constants={"VALIDATION_DAYS": 64, "CURVE_POINTS": 12, "MEASURED_BLOCKS": 6},
        training=q_run.QTraining,
        config_of=q_run.config_of,
        policy=QPolicy,
        saved=q_run.FIELDS,
        keeps_best=False,
        short=q_run.Settings(2 * ORDERS),
        others=tuple(
            replace(
                settings,
                start="pessimistic",
                hyperparameters=Hyperparameters(double=double, step_size=0.1, discount=0.99),
            )
            for double in (False, True)
        ),
        pieces=(7, 13),
        learning=((Trainer, "block"), (Trainer, "watch")),
        # The first block is that of warming up. Stages change after 2, 6 and 18 blocks, with 6 of
        # measuring.
        stops=(2, 3, 4, 8, 9, 10, 16, 21, 40, 78, 79),
        other_runs=({"episodes": 61 * ORDERS}, {"double": True}, {"omega": 0.9}),
        wrong=(
            ({"omega": 2.0}, ("omega = 2.0: must be",)),
            ({"omega": "fast"}, ("omega = fast: must be a number",)),
            ({"episodes": 1e9}, ("episodes = 1000000000.0",)),
            ({"momentum": 0.9}, ("momentum",)),
            ({"episodes": None}, ("episodes",)),
        ),
        long=["--bins", "4", "--episodes", str(length), *sized(sizes)],
        long_settings=q_run.Settings(length, 4),
        kills=(
            ("config.json", signal.SIGKILL),
            ("checkpoint.npz", signal.SIGTERM),
            ("checkpoint.npz", signal.SIGKILL),
            ("checkpoint.npz", signal.SIGINT),
        ),
        ends_in_process=True,
    )


def ppo() -> SmallRun:
    # Imports torch, which takes seconds; tests of the other learner do not need it.
    from agents.ppo import run as ppo_run
    from agents.ppo import settings as ppo_settings
    from agents.ppo.learner import Learner
    from agents.ppo.policy import PPOPolicy

    sizes = {"order.size": 1500, "order.buckets": 4, "volume.total": 10000}
    hyperparameters = ppo_settings.Hyperparameters(
        n_envs=16, minibatches=2, n_epochs=2, width=8, learning_rate=0.05
    )
    batch, total, length = 16 * 4, 24, 100
    settings = ppo_settings.Settings(total * batch, hyperparameters=hyperparameters)
    long = ["ppo", *sized(sizes), "--n-envs", "16", "--minibatches", "2", "--n-epochs", "2"]
    long += ["--width", "8", "--learning-rate", "0.05", "--timesteps", str(length * batch)]
    return SmallRun(
        kind=PPO,
        sizes=sizes,
        scenario=load_scenario("two-algos", sizes),
        settings=settings,
        total=total,
        constants={"VALIDATION_DAYS": 64, "CURVE_POINTS": 8},
        training=ppo_run.PPOTraining,
        config_of=ppo_settings.config_of,
        policy=PPOPolicy,
        saved=ppo_run.FIELDS,
        keeps_best=True,
        short=replace(settings, timesteps=batch),
        others=tuple(
            replace(settings, masked=masked, observation="full") for masked in (False, True)
        ),
        pieces=(1,) * 6,
        learning=((Learner, "learn"),),
        stops=(1, 3, 7, 13, total - 1, total),
        other_runs=(
            {"width": 9},
            {"layers": 1},
            {"observation": "full"},
            {"masked": True},
            {"timesteps": (total + 1) * batch},
            {"learning_rate": 0.004},
        ),
        wrong=(
            ({"learning_rate": -1}, ("not those of ppo", "learning_rate = -1: must be")),
            ({"learning_rate": True}, ("learning_rate = True: must be a number",)),
            ({"width": 0}, ("width = 0: must be a whole number from 1",)),
            ({"n_envs": 16.0}, ("n_envs = 16.0: must be a whole number",)),
            ({"observation": "all"}, ("observation = all: must be",)),
            ({"observation": ["full"]}, ("observation = ['full']: must be",)),
            ({"masked": 1}, ("masked = 1: must be true or false",)),
            ({"timesteps": 1e6}, ("timesteps = 1000000.0: must be a whole number",)),
            ({"momentum": 0.9}, ("momentum",)),
        ),
        long=long,
        long_settings=replace(settings, timesteps=length * batch),
        kills=(("checkpoint.npz", signal.SIGKILL),),
        ends_in_process=False,
    )


@cache
def small_run(kind: str) -> SmallRun:
    """Return the small run of a learner."""
    return {Q_LEARNING: q_learning, PPO: ppo}[kind]()
