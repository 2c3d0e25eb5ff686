"""``python train.py sweep``: many training runs, of all combinations of what is asked for."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import tyro
from rich import box
from rich.table import Table
from rich.text import Text

from agents import console
from agents.commands.command_line import Count, grouped, parse, stop
from agents.commands.train_options import LEARNER_COMMANDS, PPO, QLearning
from agents.evaluation.validation import VALIDATION_DAYS
from agents.learners import LEARNERS, Q_LEARNING
from agents.storage.files import writable_folder, write_text
from agents.sweep import Job, Outcome, check, train_all
from agents.training.training import OBJECTIVE
from execution_env.core.command import run_command
from execution_env.core.validation import shown, suggestion

if TYPE_CHECKING:
    LearnerName = str
else:
    LearnerName = tyro.extras.literal_type_from_choices(LEARNERS)

SWEEP_CSV = "sweep.csv"

OWN = ("--jobs", "--engine", "--out")
"""Options that are not the learner's."""


@dataclass(frozen=True)
class Sweep:
    """Train many policies, several at a time: python train.py sweep LEARNER [options].

    All options of the learner may be given (python train.py q-learning --help), each with one value or
    with several; every combination of the values is a run. Flags and --set are the same for all.

    Runs are directories in --out, named by the options given, with sweep.csv beside them. The same
    command goes on after Ctrl-C, kill or kill -9, finished runs are not repeated, and more values add
    runs. A worker that is killed costs a few seconds: its run goes on from its last checkpoint. Results
    do not depend on --jobs or --engine.

    For example
      python train.py sweep --seed 0 1 2 3 4
      python train.py sweep q-learning --scenario baseline drifting --caution 0 0.1 --seed 0 1
      python train.py sweep ppo --seed {0..9} --timesteps 1000000 --jobs 4
      python train.py sweep ppo --learning-rate 0.001 0.003 --engine ray --out /shared/rates
    """

    learner: Annotated[LearnerName, tyro.conf.Positional] = Q_LEARNING
    """What to train."""
    jobs: Annotated[
        Count | None,
        tyro.conf.arg(metavar="N", help_behavior_hint="(default: as many as there are cores)"),
    ] = None
    """Runs at a time."""
    engine: Literal["local", "ray"] = "local"
    """Where they run: on this machine, or on a Ray cluster: that of RAY_ADDRESS, or the one that this
    machine is part of, or else one that is started here. Machines need the packages of this project
    but not the project, and --out on storage that all of them share."""
    out: Annotated[
        str | None,
        tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/sweep-LEARNER)"),
    ] = None
    """Folder of the runs."""


class Asked(NamedTuple):
    """A run that is asked for.

    Attributes:
        name: of its directory.
        varied: values, as text, of the options that have several, but for scenario and seed.
        command: as ``train.py`` would have it.
    """

    name: str
    varied: Mapping[str, str]
    command: QLearning | PPO


def run_sweep(arguments: Sequence[str]) -> int:
    """Run the command line after the word "sweep"; returns the exit code."""
    words = list(arguments)
    if any(word == "-h" or word.startswith("--help") for word in words):
        parse({"sweep": Sweep}, "sweep", ["--help"], "train.py")
    learner = words.pop(0) if words and not words[0].startswith("-") else Sweep.learner
    if learner not in LEARNER_COMMANDS:
        known = ", ".join(LEARNER_COMMANDS)
        stop(
            f"{shown(learner)}: no such learner.{suggestion(learner, LEARNER_COMMANDS)} "
            f"There is: {known}."
        )
    options = grouped(words)
    if "" in options:
        stop(f"{options[''][0]}: is no option; options begin with --. See train.py sweep --help.")
    mine = [word for key in OWN if key in options for word in (key, *options.pop(key))]
    sweep = parse({"sweep": Sweep}, "sweep", ["sweep", learner, *mine], "train.py")
    return run_command(
        lambda: _run(sweep, combinations(learner, options)),
        "stopped. What was learned is kept: the same command goes on.",
    )


def combinations(learner: str, options: Mapping[str, Sequence[str]]) -> list[Asked]:
    """The runs that a learner's options ask for, seeds changing fastest.

    What a run is called does not depend on how its options are spelled, nor on the other runs.

    Args:
        learner: a word of ``LEARNER_COMMANDS``.
        options: of it, such as ``{"--seed": ["0", "1"], "--set": ["order.buckets=20"]}``.

    Raises:
        SystemExit: an option or a value is wrong; one line on stderr has said so.
    """
    if "--resume" in options:
        stop("--resume: is for one run; a sweep goes on by itself. Leave it out.")
    # In one order, however they were given; seeds last.
    keys = [key for key in _values(LEARNER_COMMANDS[learner]()) if key in options]
    several = [key for key in keys if len(options[key]) > 1]
    found: dict[str, Asked] = {}
    for values in itertools.product(*(options[key] for key in several)):
        chosen = {key: [value] for key, value in zip(several, values, strict=True)}
        words = [word for key, given in {**options, **chosen}.items() for word in (key, *given)]
        command = parse({learner: LEARNER_COMMANDS[learner]}, learner, words, "train.py")
        texts = {key: value for key, value in _values(command).items() if key in keys}
        others = [key for key in keys if key not in ("--scenario", "--seed")]
        settings = [key[2:] + texts[key] for key in others]
        name = "-".join([Path(command.scenario).stem, *settings, f"seed{command.seed}"])
        if name in found:
            if found[name].command == command:
                stop(f"{name}: is asked for twice; give every value once.")
            stop(f"--scenario: two are called {Path(command.scenario).stem}; rename one.")
        found[name] = Asked(name, {key: texts[key] for key in several if key in others}, command)
    return list(found.values())


def _values(command: QLearning | PPO) -> dict[str, str]:
    """Return the options that decide a run of ``command``, as text by name; its seed last.

    ``--set`` is not among them. A flag that is up is its name alone.
    """
    whole = {item.name: getattr(command, item.name) for item in fields(command)}
    for name in ("overrides", "out", "resume"):
        del whole[name]
    whole |= asdict(whole.pop("hyperparameters"))
    whole["seed"] = whole.pop("seed")
    return {"--" + name.replace("_", "-"): _text(value) for name, value in whole.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return ""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _run(sweep: Sweep, asked: Sequence[Asked]) -> int:
    folder = writable_folder(
        Path("runs", f"sweep-{sweep.learner}") if sweep.out is None else sweep.out
    )
    jobs = [Job((folder / run.name).absolute(), run.command.config()) for run in asked]
    for job in jobs:
        check(job)
    notes, output = console.notes(), console.output()
    say = partial(console.say, notes)
    say(f"training {len(jobs)} runs of {sweep.learner} -> {folder}")
    lengths = [job.steps for job in jobs]
    with console.bars(notes) as track, track(f"{len(jobs)} runs", sum(lengths)) as advance:
        seen = [0] * len(jobs)

        def report(steps: Sequence[int]) -> None:
            advance(sum(steps) - sum(seen))
            for j, (run, length) in enumerate(zip(asked, lengths, strict=True)):
                if seen[j] < length <= steps[j]:
                    done = sum(n >= m for n, m in zip(steps, lengths, strict=True))
                    say(f"{run.name}: done ({done} of {len(jobs)})")
            seen[:] = steps

        outcomes = train_all(jobs, sweep.jobs, sweep.engine, report, say)
    rows = [_row(run, outcome) for run, outcome in zip(asked, outcomes, strict=True)]
    _add_to(folder / SWEEP_CSV, rows)
    output.print(_table(sweep, asked, outcomes))
    failed = [
        (run, outcome.error) for run, outcome in zip(asked, outcomes, strict=True) if outcome.error
    ]
    for run, error in failed:
        say(f"error: {run.name}: {error}")
    if failed:
        say(f"{len(failed)} of {len(jobs)} runs failed; the same command tries them again.")
        return 2
    say("compare them on held-out days:")
    for scenario in dict.fromkeys(run.command.scenario for run in asked):
        group = [run for run in asked if run.command.scenario == scenario]
        say(f"  {group[0].command.comparison([folder / run.name for run in group])}")
    return 0


def _row(run: Asked, outcome: Outcome) -> dict[str, str]:
    """Return a row of ``sweep.csv``: a run's options and its row of ``progress.csv``."""
    row: dict[str, Any] = {"run": run.name, "scenario": run.command.scenario}
    row |= {"seed": run.command.seed, "error": outcome.error}
    row |= {key[2:].replace("-", "_"): value for key, value in run.varied.items()}
    if outcome.row is not None:
        row |= {column: outcome.row[column] for column in OBJECTIVE}
        row |= {"steps": int(outcome.row["steps"]), "seconds": round(outcome.seconds, 3)}
    return {column: str(value) for column, value in row.items()}


def _add_to(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write ``rows`` to a table, and leave those of other runs there as they are.

    Raises:
        RunError: it cannot be written.
    """
    mine = {row["run"] for row in rows}
    kept: list[Mapping[str, str]] = []
    with contextlib.suppress(OSError, ValueError, KeyError, csv.Error):  # missing, or not ours
        text = path.read_text(encoding="utf-8")
        table = list(csv.DictReader(io.StringIO(text), restkey="", restval=""))
        kept = [row for row in table if row["run"] not in mine and "" not in row]
    last = ("steps", *OBJECTIVE, "seconds", "error")
    every = [*kept, *rows]
    varied = dict.fromkeys(column for row in every for column in row if column not in last)
    out = io.StringIO()
    writer = csv.DictWriter(out, [*varied, *last], lineterminator="\n")
    writer.writeheader()
    writer.writerows(every)
    write_text(path, out.getvalue())


def _table(sweep: Sweep, asked: Sequence[Asked], outcomes: Sequence[Outcome]) -> Table:
    """For the terminal: a row for the runs that differ in their seed only."""
    keys = list(asked[0].varied)
    table = Table(
        title=f"Objective on {VALIDATION_DAYS:,} validation days{LEARNERS[sweep.learner].caveat}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for column in ("scenario", *(key[2:] for key in keys)):
        table.add_column(column)
    for column in ("seeds", "objective", "least", "most", "seconds"):
        table.add_column(column, justify="right")
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for run, outcome in zip(asked, outcomes, strict=True):
        setting = (Path(run.command.scenario).stem, *run.varied.values())
        groups.setdefault(setting, []).append(outcome)
    for setting, group in groups.items():
        rows = [outcome.row for outcome in group if outcome.row is not None]
        found = [row["objective_mean"] for row in rows]
        numbers = [sum(found) / len(found), min(found), max(found)] if found else []
        cells = [f"{number:.4f}" for number in numbers] or ["failed", "", ""]
        seconds = [outcome.seconds for outcome in group if outcome.row is not None]
        cells.append(f"{sum(seconds) / len(seconds):.1f}" if seconds else "")
        table.add_row(*map(Text, setting), str(len(found)), *cells)
    return table
