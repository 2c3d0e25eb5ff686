"""``python -m results``: train and evaluate everything that is reported; ``--help`` tells more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

import evaluate
import train
from agents import console
from agents.command_line import INTERRUPTED, Count, parse, run_command
from agents.storage import RunError, writable_folder, write_text
from execution_env.validation import choice
from results import overview, readme, scenario_page, tables
from results.plan import FRONTIERS, PLANS, RESULTS, RUNS, shell


@dataclass
class Results:
    """Make the reference results: train, evaluate on held-out days, draw and write every page.

    What is trained in runs/results is not trained again, and what was evaluated by the same command is not
    evaluated again: after Ctrl-C, kill -9 or a crash the same command goes on. From nothing it takes some
    two and a half hours on two cores, most of it for PPO; a scenario without its PPO takes less than ten
    minutes.

    For example
      python -m results
      python -m results --scenarios two-algos textbook
      python -m results --scenarios drifting --again
    """

    scenarios: Annotated[list[str], tyro.conf.arg(metavar="NAME ...")] = field(
        default_factory=lambda: list(PLANS)
    )
    """Which ones."""
    jobs: Annotated[
        Count | None,
        tyro.conf.arg(metavar="N", help_behavior_hint="(default: as many as there are cores)"),
    ] = None
    """Trainings at a time."""
    again: bool = False
    """Evaluate again what is there; trainings are kept."""

    def run(self) -> int:
        """Make what is missing; returns the exit code.

        Raises:
            ValueError: a scenario is unknown; RunError: a step failed, or a page cannot be written.
        """
        for name in self.scenarios:
            choice("--scenarios", name, list(PLANS))
        for name in self.scenarios:
            plan, folder = PLANS[name], RESULTS / name
            if self._make(name, plan.trainings(name), plan.comparison(name)):
                tables.write(folder, name, plan)
            scenario_page.write(folder, name)
        for name in [name for name in self.scenarios if name in FRONTIERS]:
            prices = FRONTIERS[name]
            self._make(f"frontier-{name}", prices.trainings(name), prices.comparison(name))
        overview.write(RESULTS)
        readme.write(Path("README.md"), RESULTS)
        return 0

    def _make(self, name: str, trainings: Sequence[list[str]], evaluation: list[str]) -> bool:
        """Train, and evaluate where that has not been done by the same command; whether it was."""
        jobs = [] if self.jobs is None else ["--jobs", str(self.jobs)]
        for words in trainings:
            _step("train.py", train.main, [*words, *jobs])
        stamp = writable_folder(RUNS / "evaluated") / f"{name}.txt"
        command = shell("evaluate.py", evaluation)
        if not self.again and stamp.exists() and stamp.read_text(encoding="utf-8") == command:
            console.say(console.notes(), f"{name}: evaluated before; --again evaluates again.")
            return False
        stamp.unlink(missing_ok=True)
        _step("evaluate.py", evaluate.main, evaluation)
        write_text(stamp, command)
        return True


def _step(script: str, main: Callable[[list[str]], int], words: list[str]) -> None:
    """Run a command line as if it had been typed.

    Raises:
        RunError: it failed, having said why; KeyboardInterrupt: Ctrl-C ended it.
    """
    command = shell(script, words)
    console.say(console.notes(), f"\n$ {command}")
    code = main(words)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise RunError(f"a step failed: {command}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    command = parse({"results": Results}, "results", arguments, "-m")
    return run_command(command.run, "stopped. What is done is kept: the same command goes on.")


if __name__ == "__main__":
    sys.exit(main())
