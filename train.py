"""Train a policy: ``python train.py [q-learning | ppo] --scenario baseline --seed 0 --out DIR``."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from agents import console, ppo_policy, ppo_settings, q_learning, q_policy, q_run
from agents.command_line import Count, Natural, parse, read_settings, run_command
from agents.command_line import Settings as Overrides
from agents.evaluation.figures import learning_curve
from agents.run_directory import (
    FILES,
    LEARNING_CURVE,
    TENSORBOARD,
    RunConfig,
    new_run_directory,
    read_config,
)
from agents.storage import RunError, atomic_write
from agents.training_run import VALIDATION_DAYS, Row, Run, Training
from execution_env import Scenario, load_scenario

RUNS = Path("runs")
"""Where runs go that are not told where to."""


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


@dataclass(frozen=True)
class QLearning(Common):
    """Train a tabular Q-learner on the training days of a scenario.

    Writes a run directory: config.json, policy.npz, progress.csv, learning_curve.png and
    checkpoint.npz. Ctrl-C, or even kill -9, loses a few seconds of work: --resume goes on, and ends
    with the same table as if nothing had happened. Evaluate it by python evaluate.py --policies lp DIR.

    The other command is ppo: python train.py ppo --help.

    For example
      python train.py
      python train.py --scenario drifting --seed 1 --episodes 20000000
      python train.py --scenario baseline --set order.buckets=20 --bins 1 --out runs/no-estimates
      python train.py --resume --out runs/no-estimates
    """

    kind: ClassVar[str] = q_policy.KIND
    length: ClassVar[str] = "--episodes"
    unit: ClassVar[str] = "updates"
    flattering: ClassVar[str] = ""
    title: ClassVar[str] = "Q-learning"
    axis: ClassVar[str] = "updates, million (dotted: a finer table from here on)"

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

    def config(self, scenario: Scenario) -> RunConfig:
        """Of the run that is asked for."""
        settings = q_run.Settings(self.episodes, self.bins, self.start, self.hyperparameters)
        return q_run.config_of(scenario, self.seed, settings)

    @staticmethod
    def flat(config: RunConfig) -> dict[str, Any]:
        """The settings in ``config``; an error where it is no run of this kind."""
        return q_run.settings_of(config).flat()

    @staticmethod
    def training(config: RunConfig, directory: Path) -> Training:
        """That ``config`` is of, at its start."""
        return q_run.QTraining(config.scenario, config.seed, q_run.settings_of(config))


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

    kind: ClassVar[str] = ppo_policy.KIND
    length: ClassVar[str] = "--timesteps"
    unit: ClassVar[str] = "environment steps"
    flattering: ClassVar[str] = " (the best of all evaluations, so it flatters)"
    title: ClassVar[str] = "PPO"
    axis: ClassVar[str] = "environment steps, million"

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

    def config(self, scenario: Scenario) -> RunConfig:
        """Of the run that is asked for."""
        settings = ppo_settings.Settings(
            self.timesteps, self.observation, self.masked, self.hyperparameters
        )
        return ppo_settings.config_of(scenario, self.seed, settings)

    @staticmethod
    def flat(config: RunConfig) -> dict[str, Any]:
        """The settings in ``config``; an error where it is no run of this kind."""
        return ppo_settings.settings_of(config).flat()

    @staticmethod
    def training(config: RunConfig, directory: Path) -> Training:
        """That ``config`` is of, at its start."""
        with console.bars() as track, track("importing torch", None):
            from agents.ppo_run import PPOTraining  # noqa: PLC0415  seconds

        settings = ppo_settings.settings_of(config)
        log = directory / TENSORBOARD if find_spec("tensorboard") else None
        return PPOTraining(config.scenario, config.seed, settings, log)


COMMANDS: dict[str, type[QLearning | PPO]] = {"q-learning": QLearning, "ppo": PPO}
"""Dataclasses by the word that asks for them."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    command = parse(COMMANDS, "q-learning", arguments, "train.py")
    return run_command(
        lambda: _train(command, _given(sys.argv[1:] if arguments is None else arguments)),
        "stopped. What was learned is kept: the same command with --resume goes on.",
    )


def _given(words: list[str]) -> set[str]:
    """The options on the command line; --set is part of the scenario."""
    names = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    return {"scenario" if name == "set" else name.replace("-", "_") for name in names}


def _train(command: QLearning | PPO, given: set[str]) -> int:
    out = str(_default_directory(command)) if command.out is None else command.out
    config = _config(command, Path(out), given)
    directory = new_run_directory(out, command.resume)
    training = command.training(config, directory)
    run = Run(directory, config, training, command.resume)
    notes, output = console.notes(), console.output()
    if run.finished:
        _say(
            notes,
            f"{directory}: this run is finished; {command.length} and another --out start a new one.",
        )
    else:
        verb = "going on with" if training.blocks else "training"
        _say(
            notes,
            f"{verb} {command.kind} on {config.scenario.name}, seed {config.seed}, "
            f"{training.total * training.orders:,} orders -> {directory}",
        )
        _with_progress(run)
    _draw(run, command)
    result = training.result(run.rows)
    low, high = result["objective_ci_low"], result["objective_ci_high"]
    _say(
        output,
        f"{directory}: objective {result['objective_mean']:.4f} [{low:.4f}, {high:.4f}] on "
        f"{VALIDATION_DAYS:,} validation days{command.flattering}, after "
        f"{training.steps:,} {command.unit} in {training.seconds:.1f} s",
    )
    _say(notes, f"compare it on held-out days: {_next_command(command, config, directory)}")
    return 0


def _say(to: Console, text: str) -> None:
    """Print as it is: a path may hold brackets, and be longer than a line."""
    to.print(text, markup=False, soft_wrap=True)


def _default_directory(command: QLearning | PPO) -> Path:
    """The directory of a run that is not told where to go: a new one, or with --resume the last."""
    name = Path(command.scenario).stem
    taken = RUNS / f"{command.kind}-{name}-seed{command.seed}"
    candidates = [taken, *(Path(f"{taken}-{j}") for j in range(2, 1000))]
    free = next(j for j, path in enumerate(candidates) if not path.exists())
    return candidates[max(free - 1, 0)] if command.resume else candidates[free]


def _config(command: QLearning | PPO, directory: Path, given: set[str]) -> RunConfig:
    """Of the run to be; with --resume the one that is there, if the command does not contradict it."""
    scenario = load_scenario(command.scenario, read_settings(command.overrides))
    config = command.config(scenario)
    if not (command.resume and any((directory / name).exists() for name in FILES)):
        return config
    before = read_config(directory)
    asked = {"scenario": config.scenario, "seed": config.seed, **config.hyperparameters}
    stored = {"scenario": before.scenario, "seed": before.seed, **command.flat(before)}
    for key, value in asked.items():
        if key in given and value != stored[key]:
            was = getattr(stored[key], "name", stored[key])
            raise RunError(
                f"--resume: the run in {directory} has {key.replace('_', '-')} = {was}, which "
                "cannot change half-way. Leave the option out, or choose another --out."
            )
    return before


def _with_progress(run: Run) -> None:
    notes = console.notes()
    columns = (
        BarColumn(bar_width=10),  # no words, so that the rest fits into 80 columns
        TaskProgressColumn(),
        console.TimeLeft(),
        TextColumn("{task.fields[status]}"),
    )
    hidden = not notes.is_terminal
    with Progress(*columns, console=notes, transient=True, disable=hidden) as progress:
        task = progress.add_task("training", total=run.training.total, status="")

        def report(training: Training, row: Row | None) -> None:
            status = training.status()
            if run.rows:
                status += f", objective {run.rows[-1]['objective_mean']:.4f}"
            progress.update(task, completed=training.blocks, status=status)

        run.go(report)


def _draw(run: Run, command: QLearning | PPO) -> None:
    config = run.config
    title = f"{command.title} on {config.scenario.name}, seed {config.seed}"
    picture = learning_curve(run.rows, title, command.axis, run.training.result(run.rows))
    atomic_write(run.directory / LEARNING_CURVE, lambda file: file.write(picture))


def _next_command(command: QLearning | PPO, config: RunConfig, directory: Path) -> str:
    words = ["python", "evaluate.py", "--scenario"]
    if load_scenario(command.scenario, read_settings(command.overrides)) != config.scenario:
        words += [config.scenario.name]  # --resume was enough to say
    elif command.overrides:
        words += [command.scenario, "--set", *command.overrides]
    else:
        words += [command.scenario]
    return shlex.join([*words, "--policies", "lp", "dp", str(directory)])


if __name__ == "__main__":
    sys.exit(main())
