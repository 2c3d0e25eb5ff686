"""``python train.py``: one training in a run directory, or with the word sweep many."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from agents import console
from agents.commands.command_line import RUNS, parse
from agents.commands.sweep import run_sweep
from agents.commands.train_options import LEARNER_COMMANDS, PPO, QLearning
from agents.evaluation.validation import validated_on
from agents.learners import LEARNERS, Q_LEARNING
from agents.storage.files import RunError
from agents.storage.run_directory import (
    CHECKPOINT,
    CONFIG,
    RunConfig,
    existing_config,
    new_run_directory,
)
from agents.training.run import Run, differences, draw
from agents.training.training import Row, Training
from execution_env.core.command import run_command
from execution_env.core.streams import standard_streams


@standard_streams()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["sweep"]:
        return run_sweep(words[1:])
    command = parse(LEARNER_COMMANDS, Q_LEARNING, words, "train.py", others=["sweep"])
    return run_command(
        lambda: _train(command, _given(words)),
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
    fresh = _nothing_to_resume(directory) if command.resume else ""
    learner = LEARNERS[command.kind]
    with console.bars() as track, track(f"preparing {command.kind}", None):
        training = learner.training(config, directory)
    run = Run(directory, config, training, command.resume)
    notes, output = console.notes(), console.output()
    if run.finished:
        console.say(
            notes,
            f"{directory}: this run is finished; {command.length} and another --out start a new one.",
        )
    else:
        if fresh:
            console.say(notes, fresh)
        verb = "going on with" if training.blocks else "training"
        console.say(
            notes,
            f"{verb} {command.kind} on {config.scenario.name}, seed {config.seed}, "
            f"{training.total * training.orders:,} orders -> {directory}",
        )
        _with_progress(run)
    draw(run)
    result = training.result(run.rows)
    low, high = result["objective_ci_low"], result["objective_ci_high"]
    console.say(
        output,
        f"{directory}: objective {result['objective_mean']:.4f} [{low:.4f}, {high:.4f}] on "
        f"{validated_on(config.scenario)}{learner.caveat}, after "
        f"{training.steps:,} {learner.unit} in {training.seconds:.1f} s",
    )
    console.say(notes, f"compare it on held-out days: {_next_command(command, config, directory)}")
    return 0


def _nothing_to_resume(directory: Path) -> str:
    """Return what to say where there is no checkpoint to go on from; empty where there is one."""
    if (directory / CHECKPOINT).exists():
        return ""
    if (directory / CONFIG).exists():
        return f"--resume: the run in {directory} has no checkpoint; it starts from the beginning."
    return f"--resume: there is no run in {directory}; this starts one."


def _default_directory(command: QLearning | PPO) -> Path:
    """The directory of a run that is not told where to go: a new one, or with --resume the last."""
    name = Path(command.scenario).stem
    taken = RUNS / f"{command.kind}-{name}-seed{command.seed}"
    candidates = [taken, *(Path(f"{taken}-{j}") for j in range(2, 1000))]
    free = next(j for j, path in enumerate(candidates) if not path.exists())
    return candidates[max(free - 1, 0)] if command.resume else candidates[free]


def _config(command: QLearning | PPO, directory: Path, given: set[str]) -> RunConfig:
    """Return the configuration of the run; with --resume the stored one, if the command agrees."""
    config = command.config()
    before = existing_config(directory) if command.resume else None
    if before is None:
        return config
    for key, stored in differences(config, before).items():
        if key in given:
            raise RunError(
                f"--resume: the run in {directory} has {key.replace('_', '-')} = {stored}, which "
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


def _next_command(command: QLearning | PPO, config: RunConfig, directory: Path) -> str:
    if command.loaded() != config.scenario:  # --resume was enough to say
        command = replace(command, scenario=config.scenario.name, overrides=[])
    return command.comparison([directory])
