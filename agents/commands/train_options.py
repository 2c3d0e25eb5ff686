"""Options of ``train.py``: a dataclass per learner, its fields the options."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from agents import learners
from agents.commands.command_line import Count, Natural, read_settings
from agents.commands.command_line import Settings as Overrides
from agents.ppo import settings as ppo_settings
from agents.q_learning import algorithm as q_learning
from agents.q_learning import run as q_run
from agents.storage.run_directory import RunConfig
from execution_env import Scenario, load_scenario


@dataclass(frozen=True)
class Common:
    """What all trainings can be told."""

    scenario: str = "baseline"
    """A shipped name (python -m execution_env lists them) or the path of a TOML file."""
    overrides: Overrides = field(default_factory=list)
    """Values of the scenario to change, such as order.buckets=20."""
    seed: Natural = 0
    """Of the training days and of exploration."""
    out: Annotated[
        str | None,
        tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/COMMAND-SCENARIO-seedN)"),
    ] = None
    """The run directory."""
    resume: bool = False
    """Go on with the run in --out, with its own settings."""

    def loaded(self) -> Scenario:
        """The scenario, changed as asked for.

        Raises:
            ScenarioError: it cannot be.
        """
        return load_scenario(self.scenario, read_settings(self.overrides))

    def comparison(self, directories: Sequence[Path]) -> str:
        """The command that compares runs in the scenario."""
        words = ["python", "evaluate.py", "--scenario", self.scenario]
        words += ["--set", *self.overrides] if self.overrides else []
        return shlex.join([*words, "--policies", "lp", "dp", *map(str, directories)])


@dataclass(frozen=True)
class QLearning(Common):
    """Train a tabular Q-learner on the training days of a scenario.

    Writes a run directory: config.json, policy.npz, progress.csv, learning_curve.png and
    checkpoint.npz. Ctrl-C, or even kill -9, loses a few seconds of work: --resume goes on, and ends
    with the same table as if nothing had happened. Evaluate it by python evaluate.py --policies lp DIR.

    The other commands are ppo, and sweep for many trainings: python train.py ppo --help.

    For example
      python train.py
      python train.py --scenario drifting --seed 1 --episodes 20000000
      python train.py --scenario baseline --set order.buckets=20 --bins 1 --out runs/no-estimates
      python train.py --resume --out runs/no-estimates
    """

    kind: ClassVar[str] = learners.Q_LEARNING
    length: ClassVar[str] = "--episodes"

    episodes: Count = q_run.Settings.episodes
    """Orders to train on, rounded up to whole blocks of 2,048; every day is played four times."""
    bins: Count = q_run.Settings.bins
    """Most bins per estimate, fewer where the table would pass 64 MB; 1 for a state without
    estimates."""
    start: Literal["optimistic", "pessimistic"] = q_run.Settings.start
    """Values to start from: no cost at all, or the worst that can be."""
    hyperparameters: tyro.conf.OmitArgPrefixes[q_learning.Hyperparameters] = field(
        default_factory=q_learning.Hyperparameters
    )

    def config(self) -> RunConfig:
        """Return the configuration of the run that is asked for."""
        settings = q_run.Settings(self.episodes, self.bins, self.start, self.hyperparameters)
        return q_run.config_of(self.loaded(), self.seed, settings)


@dataclass(frozen=True)
class PPO(Common):
    """Train a neural network by proximal policy optimisation, Stable-Baselines3's PPO or, with --masked,
    sb3-contrib's MaskablePPO, on the training days of a scenario.

    Writes a run directory: config.json, policy.npz, progress.csv, learning_curve.png, checkpoint.npz
    and, where TensorBoard is installed, tensorboard/ (tensorboard --logdir runs shows it). The policy is
    the one that did best on the validation days. The ten million steps of the default take some six
    minutes. Ctrl-C, or even kill -9, loses a few seconds of work: --resume goes on, and ends with the
    same networks as if nothing had happened. Evaluate it by python evaluate.py --policies lp DIR.

    For example
      python train.py ppo
      python train.py ppo --scenario drifting --seed 1 --timesteps 20000000
      python train.py ppo --masked --observation full --out runs/masked
      python train.py ppo --resume --out runs/masked
    """

    kind: ClassVar[str] = learners.PPO
    length: ClassVar[str] = "--timesteps"

    timesteps: Count = ppo_settings.Settings.timesteps
    """Environment steps to train on, rounded up to whole batches of n_envs orders."""
    observation: Literal["minimal", "default", "full"] = ppo_settings.Settings.observation
    """What the networks see: remaining lots and time; fill-rate estimates too; evidence, envelope and
    postable lots too."""
    masked: bool = ppo_settings.Settings.masked
    """Leave out actions that post the same lots as an earlier one (MaskablePPO)."""
    hyperparameters: tyro.conf.OmitArgPrefixes[ppo_settings.Hyperparameters] = field(
        default_factory=ppo_settings.Hyperparameters
    )

    def config(self) -> RunConfig:
        """Return the configuration of the run that is asked for."""
        settings = ppo_settings.Settings(
            self.timesteps, self.observation, self.masked, self.hyperparameters
        )
        return ppo_settings.config_of(self.loaded(), self.seed, settings)


LEARNER_COMMANDS: dict[str, type[QLearning | PPO]] = {
    command.kind: command for command in (QLearning, PPO)
}
"""Dataclasses by the word that asks for them."""
