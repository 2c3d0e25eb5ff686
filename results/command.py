"""``python -m results``: train and evaluate everything that is reported; see ``--help``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from agents import console
from agents.commands import evaluate, train
from agents.commands.command_line import Count, parse
from agents.commands.compare import COMPARISON_CSV
from agents.commands.frontier import FRONTIER_MD
from agents.storage.files import RunError, writable_folder, write_text
from agents.storage.run_directory import POLICY_FILE
from execution_env.core.command import run_command, stop_if_asked
from execution_env.core.streams import standard_streams
from execution_env.core.validation import choice
from results.pages import overview, readme, scenario_page, tables
from results.plan import EVERYTHING, FRONTIERS, PLANS, RESULTS, RUNS_FOLDER, shell

README = Path("README.md")


@dataclass
class Results:
    """Make the reference results: train, evaluate on held-out days, draw and write every page.

    What is trained in runs/results is not trained again, and what was evaluated by the same command is not
    evaluated again: after Ctrl-C, kill -9 or a crash the same command goes on. From nothing it takes some
    two hours on two cores, most of it for PPO; a scenario without its PPO takes less than ten
    minutes.

    For example
      python -m results
      python -m results --scenarios two-algos textbook
      python -m results --scenarios drifting frontier-baseline --again
    """

    scenarios: Annotated[list[str], tyro.conf.arg(metavar="NAME ...")] = field(
        default_factory=lambda: list(EVERYTHING)
    )
    """Which ones; frontier-NAME is the one at several envelope penalties."""
    jobs: Annotated[
        Count | None,
        tyro.conf.arg(metavar="N", help_behavior_hint="(default: as many as there are cores)"),
    ] = None
    """Trainings at a time."""
    again: bool = False
    """Evaluate again what is there; trainings are kept."""

    def run(self) -> int:
        """Make the missing results; return the exit code.

        Raises:
            ValueError: a scenario is unknown; RunError: a step failed, or a page cannot be written.
        """
        for name in self.scenarios:
            choice("--scenarios", name, EVERYTHING)
        if not README.is_file():
            raise RunError(f"{README}: is not here; start python -m results in the clone.")
        for name in [name for name in self.scenarios if name in PLANS]:
            plan, folder = PLANS[name], RESULTS / name
            self._make(
                name,
                plan.trainings(name),
                list(plan.runs(name).values()),
                plan.comparison(name),
                [folder / COMPARISON_CSV, *(folder / table for table in tables.CSV_FILES)],
                partial(tables.write, folder, name, plan),
            )
            scenario_page.write(folder, name)
        for name in [name for name in FRONTIERS if f"frontier-{name}" in self.scenarios]:
            prices = FRONTIERS[name]
            self._make(
                f"frontier-{name}",
                prices.trainings(name),
                prices.runs(name),
                prices.comparison(name),
                [RESULTS / f"frontier-{name}" / FRONTIER_MD],
            )
        missing = [name for name in PLANS if not (RESULTS / name / tables.SCORES_CSV).exists()]
        missing += [
            name for name in EVERYTHING if name not in PLANS and not (RESULTS / name).exists()
        ]
        if missing:
            note = f"{RESULTS} has no page over all scenarios before there is {', '.join(missing)}."
            console.say(console.notes(), note)
            return 0
        overview.write(RESULTS)
        readme.write(README, RESULTS)
        return 0

    def _make(
        self,
        name: str,
        trainings: Sequence[list[str]],
        runs: Sequence[Path],
        evaluation: list[str],
        files: Sequence[Path],
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        """Train, then evaluate and finish unless that is done.

        It is done if the same command evaluated the same policies and all its files are there.
        ``again`` repeats it.
        """
        jobs = [] if self.jobs is None else ["--jobs", str(self.jobs)]
        for words in trainings:
            step("train.py", train.main, [*words, *jobs])
        stamp = writable_folder(RUNS_FOLDER / "evaluated") / f"{name}.txt"
        done = f"{shell('evaluate.py', evaluation)}\n{_digest(runs)}\n"
        there = stamp.exists() and stamp.read_text(encoding="utf-8") == done
        if there and all(path.exists() for path in files) and not self.again:
            console.say(console.notes(), f"{name}: evaluated before; --again evaluates again.")
            return
        stamp.unlink(missing_ok=True)
        step("evaluate.py", evaluate.main, [*evaluation, "--overwrite"])
        finish()
        write_text(stamp, done)


def _digest(runs: Sequence[Path]) -> str:
    """Return the SHA-256 of the policies of ``runs``."""
    found = hashlib.sha256()
    for directory in runs:
        found.update((directory / POLICY_FILE).read_bytes())
    return found.hexdigest()


def step(script: str, main: Callable[[list[str]], int], words: list[str]) -> None:
    """Run a command line as if it had been typed.

    Raises:
        RunError: it failed, after a message with the reason; KeyboardInterrupt: Ctrl-C or
            SIGTERM ended it.
    """
    command = shell(script, words)
    console.say(console.notes(), f"\n$ {command}")
    code = main(words)
    stop_if_asked(code)
    if code:
        raise RunError(f"a step failed: {command}")


@standard_streams()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    command = parse({"results": Results}, "results", arguments, "-m")
    return run_command(command.run, "stopped. What is done is kept: the same command goes on.")
