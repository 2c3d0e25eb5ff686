"""``python -m results.real_days``: learn on a model and play real days; see ``--help``.

Each stock has three dates. For each date, a model is calibrated on the other two, and policies
learn on it. They then play the replayed parent orders of the date that was left out, both sides of
every window. The last date is the main result. All three are leave-one-day-out. Wrong beliefs are
fill probabilities or depths off by 30 %. Learners are trained anew and planners plan with them.
They play the same real orders and the same days of the model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from agents import console
from agents.commands import train
from agents.commands.command_line import Count, parse
from agents.commands.compare import Compare
from agents.evaluation import compare
from agents.evaluation.allocation.comparison import Comparison
from agents.evaluation.allocation.played_days import default_seeds
from agents.learners import LEARNERS
from agents.storage.files import RunError, write_bytes, write_text
from execution_env import DayStream, load_scenario, numbered_days
from execution_env import __main__ as environment
from execution_env.allocation.market.day_stream import VALIDATION
from execution_env.allocation.market.days_file import days_file, write_days
from execution_env.core.command import run_command
from execution_env.core.streams import standard_streams
from results.command import step
from results.pages import real_figures, real_page, real_tables
from results.pages.real_tables import RIGHT, Orders
from results.plan import REAL_DAYS, RESULTS, RUNS_FOLDER, SEEDS, TIMESTEPS, length

SYMBOLS, DATES = ("bac", "ibm"), ("20131007", "20131008", "20131009")

FOLDER, FOLDS = RESULTS / REAL_DAYS, RUNS_FOLDER.parent / REAL_DAYS

PLANNERS = ("lp", "lp-buffered", "lp-scenario", "dp", "dp-fine", "dp-adaptive")

TUNING_DAYS = 4096
"""Number of the model's days that margins are tuned on. As in replays, these days are right
whatever is believed."""

WRONG = (0.7, 1.3)
"""Factors that beliefs are multiplied by."""

BELIEFS = ("fill_probability", "depth")


@dataclass(frozen=True)
class Fold:
    """A stock, and the date that its model has not seen.

    Attributes:
        symbol, date: names of both, such as "ibm" and "20131009".
    """

    symbol: str
    date: str

    @property
    def folder(self) -> Path:
        """Return the folder of its model, days and runs."""
        return FOLDS / f"{self.symbol}-{self.date}"

    @property
    def model(self) -> Path:
        """Return the path of the scenario that policies learn on."""
        return self.folder / "model.toml"

    @property
    def replay(self) -> Path:
        """Return the path of the scenario that replays the days of the date."""
        return self.folder / "model-replay.toml"

    @property
    def drawn(self) -> Path:
        """Return the path of the scenario that replays the model's evaluation days.

        Wrong beliefs do not change these days.
        """
        return self.folder / "model-drawn.toml"

    def draw_days(self) -> None:
        """Write the scenario ``drawn``, with evaluation days and other days to tune on."""
        model, file = load_scenario(self.model), "model-drawn.npz"
        days = {
            "train": DayStream(model, 0, VALIDATION).draw(TUNING_DAYS),
            "test": numbered_days(model, default_seeds(model)),
        }
        write_days(self.folder / file, days_file(model, days))
        text = self.model.read_text(encoding="utf-8")
        write_text(self.drawn, f'{text}\n[replay]\nfile = "{file}"\n')

    def calibration(self, lean: str) -> list[str]:
        """Return the words after ``python -m execution_env``."""
        others = ",".join(date for date in DATES if date != self.date)
        words = ["calibrate", "--lean", lean, "--symbol", self.symbol, "--dates", ",".join(DATES)]
        words += ["--bucket", "180s", "--orders-of", "30min"]
        words += ["--split", f"train={others}", f"test={self.date}"]
        words += ["--name", f"{self.symbol}-without-{self.date}", "--out", str(self.model)]
        return [*words, "--days", str(self.folder / "days.npz")]

    def seeds(self, belief: str) -> tuple[str, ...]:
        """Return the training seeds: all on the last date with right beliefs, else the first."""
        return SEEDS if self.date == DATES[-1] and belief == RIGHT else SEEDS[:1]

    def trainings(self, belief: str = RIGHT) -> list[list[str]]:
        """Return the words after ``python train.py`` that train everything with a belief."""
        chosen = ["--scenario", str(self.model)]
        if belief != RIGHT:
            chosen += ["--set", *beliefs(self)[belief]]
        seeds, out = self.seeds(belief), self._out(belief)
        found = []
        for learner in LEARNERS:
            words, _ = length(learner, TIMESTEPS)
            words += ["--out", str(out / learner)]
            found.append(["sweep", learner, *chosen, "--seed", *seeds, *words])
        return found

    def runs(self, belief: str = RIGHT) -> dict[str, Path]:
        """Return the run directories that ``trainings`` leaves, by label."""
        out, name = self._out(belief), self.model.stem
        return {
            f"{about.title} {s}": out / learner / f"{name}{length(learner, TIMESTEPS)[1]}-seed{s}"
            for learner, about in LEARNERS.items()
            for s in self.seeds(belief)
        }

    def _out(self, belief: str) -> Path:
        return self.folder / belief.replace(" x ", "-")

    def policies(self, belief: str = RIGHT) -> list[str]:
        """Return the policies that play: rules, planners, learners."""
        rules = [f"all-{name.lower()}" for name in load_scenario(self.model).algo_names]
        learners = [f"{label}={path}" for label, path in self.runs(belief).items()]
        return [*PLANNERS, *rules, "passive-then-sweep", "twap", *learners]


def beliefs(fold: Fold) -> dict[str, list[str]]:
    """Return the settings of wrong beliefs by name, for all algos; probabilities are at most 1."""
    algos = load_scenario(fold.model).algos
    found = {}
    for key in BELIEFS:
        for factor in WRONG:
            found[f"{key} x {factor:g}"] = [
                f"algos.{algo.name}.{key}={_times(getattr(algo, key), factor, key):.6g}"
                for algo in algos
            ]
    return found


def _times(value: object, factor: float, key: str) -> float:
    assert isinstance(value, float), "calibrate writes one number per algo"
    return min(factor * value, 1.0) if key == "fill_probability" else factor * value


@dataclass
class RealDays:
    """Calibrate on real days, train on the model, and play other real days.

    Needs tick files in LEAN's format of bac and ibm on 2013-10-07, 08 and 09, which
    github.com/QuantConnect/Lean has in Data/equity/usa/tick. They stay where they are: what is written
    to results/real-days is derived numbers only. Models, days and runs go to runs/real-days; what is
    there already is not made again. From nothing it takes about an hour on two cores.

    For example
      python -m results.real_days --lean ~/Lean/Data/equity/usa/tick
      python -m results.real_days --page-only
    """

    lean: str | None = None
    """Folder with a folder per stock."""
    page_only: bool = False
    """Draw the figures and write the page from the tables that are in results/real-days."""
    jobs: Annotated[
        Count | None,
        tyro.conf.arg(metavar="N", help_behavior_hint="(default: as many as there are cores)"),
    ] = None
    """Trainings at a time."""

    def run(self) -> int:
        """Make everything; return the exit code.

        Raises:
            ValueError: data are missing; RunError: a step failed, or a file cannot be written or
                read.
        """
        if not self.page_only:
            if self.lean is None:
                raise ValueError("--lean: name the folder of LEAN's tick files.")
            self._play(self.lean)
        try:
            found = real_tables.read(FOLDER)
        except OSError as error:
            raise RunError(f"{error.filename}: {error.strerror}; --lean makes it.") from error
        for name, picture in real_figures.drawn(found).items():
            write_bytes(FOLDER / name, picture)
        write_text(FOLDER / "README.md", real_page.page(found))
        say(f"wrote {FOLDER}")
        return 0

    def _play(self, lean: str) -> None:
        """Calibrate, train, play, and write the tables."""
        orders = Orders.empty()
        promised: dict[str, Comparison] = {}
        believed: dict[tuple[str, str], Comparison] = {}
        for fold in [Fold(symbol, date) for symbol in SYMBOLS for date in reversed(DATES)]:
            if not fold.replay.exists():
                fold.folder.mkdir(parents=True, exist_ok=True)
                step("-m execution_env", environment.main, fold.calibration(lean))
            self._train(fold.trainings())
            say(f"{fold.symbol} on {fold.date}: playing")
            orders.add(fold.symbol, fold.date, RIGHT, played(fold.replay, fold.policies()))
            if fold.date != DATES[-1]:
                continue
            promised[fold.symbol] = played(fold.model, fold.policies(), bounded=False)
            self._page_of(fold)
            fold.draw_days()
            believed[fold.symbol, RIGHT] = played(fold.drawn, fold.policies(), bounded=False)
            for belief, settings in beliefs(fold).items():
                self._train(fold.trainings(belief))
                say(f"{fold.symbol} on {fold.date}: playing with {belief}")
                policies = fold.policies(belief)
                result = played(fold.replay, policies, settings, bounded=False)
                orders.add(fold.symbol, fold.date, belief, result)
                result = played(fold.drawn, policies, settings, bounded=False)
                believed[fold.symbol, belief] = result
        found = real_tables.tables(orders, promised, believed)
        for name, text in found.texts().items():
            write_text(FOLDER / name, text)
        for symbol in SYMBOLS:
            diagnosis = Fold(symbol, DATES[-1]).model.with_suffix(".png")
            write_bytes(FOLDER / f"model-{symbol}.png", diagnosis.read_bytes())

    def _train(self, trainings: Sequence[list[str]]) -> None:
        jobs = [] if self.jobs is None else ["--jobs", str(self.jobs)]
        for words in trainings:
            step("train.py", train.main, [*words, *jobs])

    def _page_of(self, fold: Fold) -> None:
        """Write the comparison on the main date as evaluate.py does, with its figures."""
        folder = str(FOLDER / f"{fold.symbol}-{fold.date}")
        Compare(
            scenario=str(fold.replay), policies=fold.policies(), out=folder, overwrite=True
        ).run()


def played(
    scenario: Path, policies: Sequence[str], settings: Sequence[str] = (), bounded: bool = True
) -> Comparison:
    """Play ``policies`` on all days of a replay, or on the evaluation days of a model."""
    overrides = {
        key: float(value) for key, _, value in (setting.partition("=") for setting in settings)
    }
    with console.bars(console.notes()) as track:
        return compare(
            policies,
            load_scenario(scenario, overrides),
            track=track,
            keep_rollouts=False,
            bounded=bounded,
        )


def say(text: str) -> None:
    """Print a line of progress."""
    console.say(console.notes(), text)


@standard_streams()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    command = parse({"real_days": RealDays}, "real_days", arguments, "-m")
    run: Callable[[], int] = command.run
    return run_command(run, "stopped. What is done is kept: the same command goes on.")


if __name__ == "__main__":
    sys.exit(main())
