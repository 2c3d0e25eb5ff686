"""``python evaluate.py compare``: policies on the same held-out days."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from agents.commands.command_line import (
    RUNS,
    Count,
    Natural,
    Normalise,
    Settings,
    read_settings,
    results_folder,
)
from agents.commands.earlier import check_earlier
from agents.console import bars, counted, notes, output
from agents.evaluation.allocation.columns import episodes_csv, table_csv
from agents.evaluation.allocation.comparison import MOST_DAYS, Comparison, compare
from agents.evaluation.allocation.played_days import FIRST_SEED, episodes_of
from agents.evaluation.allocation.report import finding, legend, markdown, split, table
from agents.evaluation.allocation.selection import Given, everything
from agents.evaluation.allocation.shortfall import (
    SHORTFALL_ABOUT,
    SHORTFALL_COLUMNS,
    shortfall_markdown,
    shortfall_rows,
)
from agents.evaluation.gallery import PICTURES, drawn, rollouts_fit
from agents.evaluation.tables import Row, csv_text
from agents.storage.files import write_files
from agents.storage.run_directory import git_commit, package_versions
from execution_env import Scenario, load_scenario
from execution_env.core.command import saying

COMPARISON_CSV, EPISODES_CSV, COMPARISON_MD = "comparison.csv", "episodes.csv", "comparison.md"
SHORTFALL_CSV = "shortfall.csv"
"""File with the parts of a shortfall; written where costs are one."""


@dataclass
class Compare:
    """Play policies on the same held-out days and compare them.

    Every policy is compared with the linear programme lp and with two bounds: clairvoyant knows each
    day's hidden state, and no policy on the action grid beats it on average; hindsight knows
    everything, and nothing beats it on any day. These three are always computed. Intervals are 95 %.
    Day number s is what env.reset(seed=s) plays; no training ever meets it.

    For example
      python evaluate.py
          everything there is: all built-in policies, and the runs in runs/
      python evaluate.py --policies lp twap runs/first --episodes 1000
          a quick look at a run
      python evaluate.py --scenario vwap-u-shape --policies q=runs/a q2=runs/b
          two runs, under names of your choice
      python evaluate.py --set order.buckets=20 costs.basis=filled --policies dp
          a changed scenario
      python evaluate.py --policies mypackage.mymodule:make
          your own: make(scenario) gives a Policy, or an object with predict
      python evaluate.py --policies lp mymodel.zip --trust
          a model that Stable-Baselines3 saved, of PPO, MaskablePPO, A2C, DQN, QRDQN, TRPO or ARS

    Built-in policies
      lp, lp-buffered, lp-scenario
          linear programme; with margins; against several outcomes of a bucket
      dp, dp-fine, dp-adaptive
          dynamic programming; on a finer grid; at the current estimates
      all-NAME, passive-then-sweep, twap, random
          fixed rules; all-NAME uses one algo, such as all-passive

    Scenarios
      python -m execution_env
          lists the shipped ones; the path of a TOML file does as well

    The table is printed, and written to --out with all numbers (comparison.csv), with the command that
    makes it and figures (comparison.md), and day by day (episodes.csv), all of them at the end: a
    comparison stopped before that leaves earlier files as they were. If --out holds results of another
    scenario or of other policies, --overwrite replaces them. Where costs are a shortfall, shortfall.csv
    tells its parts, the slippage against the market's VWAP, and the markout.

    The other commands are frontier (several envelope penalties), advise (what to post now) and trace
    (one day, bucket by bucket): python evaluate.py advise --help.
    """

    scenario: str = "baseline"
    """Shipped name, or path of a TOML file."""
    policies: Annotated[
        list[str],
        tyro.conf.arg(metavar="POLICY ...", help_behavior_hint="(default: all there are)"),
    ] = field(default_factory=list)
    """Names, run directories, Stable-Baselines3 zips, package.module:factory; also as label=POLICY."""
    trust: bool = False
    """Load Stable-Baselines3 zips. They are pickled: loading one can run code of whoever made it."""
    normalise: Normalise = field(default_factory=list)
    episodes: Annotated[
        Count, tyro.conf.arg(help_behavior_hint="(default: 10000, or all that are replayed)")
    ] = 0
    """Number of days; with replayed days at most as many as there are."""
    first_seed: Natural = FIRST_SEED
    """Number of the first day."""
    no_figures: bool = False
    """Draw no figures, which takes some seconds."""
    out: Annotated[
        str | None,
        tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/comparison-SCENARIO)"),
    ] = None
    """Folder for the results; made where it is missing."""
    overwrite: bool = False
    """Replace results of another scenario or of other policies in --out."""
    settings: Settings = field(default_factory=list)
    """Override fields of the scenario, such as order.buckets=20; none removes one."""

    def run(self) -> None:
        """Compare, print and write.

        Raises:
            ValueError: an argument is wrong, as ``compare`` has it; RunError: --out cannot be written,
                or holds other results.
        """
        console = notes()
        scenario = load_scenario(self.scenario, read_settings(self.settings))
        self.episodes = episodes_of(scenario, self.episodes or None)
        if self.episodes > MOST_DAYS:
            raise ValueError(f"--episodes {self.episodes}: must be at most {MOST_DAYS:,}.")
        folder = results_folder(self.out, "comparison", scenario)
        given: list[Given] = list(self.policies)
        if not given:
            given, found = everything(scenario, RUNS)
            for note in found:
                console.print(note, markup=False)
        if self.out is not None and not self.overwrite:
            check_earlier(folder, COMPARISON_MD, COMPARISON_CSV, self.command(given))
        start = time.perf_counter()
        with bars(console) as track:
            result = compare(
                given,
                scenario,
                range(self.first_seed, self.first_seed + self.episodes),
                track=track,
                keep_rollouts=not self.no_figures
                and self._rollouts_fit(scenario, len(given), self.episodes),
                trust=self.trust,
                normalise=self.normalise,
            )
            with track("drawing figures", None):
                pictures = {} if self.no_figures else dict(drawn(result))
        for note in result.notes:
            console.print(note, markup=False)
        with saying(
            f"stopped while writing; {COMPARISON_CSV}, {EPISODES_CSV} and {COMPARISON_MD} in {folder} "
            "may be new or as they were, and so may others there. Run it again."
        ):
            self._write(folder, result, given, pictures)
        with saying(f"stopped; the results are in {folder}."):
            self._print(result, folder, start)

    def _print(self, result: Comparison, folder: Path, start: float) -> None:
        last = self.first_seed + len(result.seeds) - 1
        days = counted(len(result.seeds), "day")
        title = f"{result.scenario.name}, {days} (seeds {self.first_seed} to {last})"
        screen = output()
        screen.print(table(result.rows, title, screen.width))
        screen.print()
        screen.print(finding(result.rows, result.level), markup=False)
        sys.stdout.flush()
        also = "" if self.no_figures else ", with figures,"
        parts = f", {SHORTFALL_CSV}" if result.shortfalls else ""
        notes().print(
            f"Wrote {COMPARISON_CSV}{parts}, {COMPARISON_MD} and {EPISODES_CSV}{also} to {folder} after "
            f"{time.perf_counter() - start:.0f} s.",
            markup=False,
        )

    def _rollouts_fit(self, scenario: Scenario, policies: int, days: int) -> bool:
        fit = rollouts_fit(policies + 1, days, scenario.buckets, len(scenario.algos))
        if not fit:
            notes().print("So many days leave no memory for figures of what was posted and filled.")
        return fit

    def _write(
        self, folder: Path, result: Comparison, given: list[Given], pictures: dict[str, bytes]
    ) -> None:
        policies, bounds = split(result.rows)
        named = dict(zip(result.names, result.objectives, strict=True)) | result.bounds
        order = [str(row["policy"]) for row in policies + bounds if row["policy"] in named]
        files: dict[str, str | bytes] = {
            COMPARISON_CSV: table_csv(result.rows),
            EPISODES_CSV: episodes_csv(result.seeds, {name: named[name] for name in order}),
        }
        if result.shortfalls:
            files[SHORTFALL_CSV] = csv_text(SHORTFALL_COLUMNS, _shortfall(result))
        files |= pictures
        files[COMPARISON_MD] = self._page(result, given, list(pictures))
        write_files({folder / name: content for name, content in files.items()})

    def _page(self, result: Comparison, given: list[Given], pictures: list[str]) -> str:
        versions = ", ".join(f"{name} {text}" for name, text in package_versions().items())
        first, last = result.seeds[0], result.seeds[-1]
        lines = [
            f"# {result.scenario.name}: policies compared",
            "",
            f"    {self.command(given)}",
            "",
            finding(result.rows, result.level),
            "",
            markdown(result.rows),
            "",
            legend(result.scenario),
            *(
                []
                if not result.shortfalls
                else ["", shortfall_markdown(_shortfall(result)), "", SHORTFALL_ABOUT]
            ),
            *(f"\n{note}" for note in result.notes),
            *(f"\n![{PICTURES[name].alternative}]({name})" for name in pictures),
            "",
            f"{counted(len(result.seeds), 'day')}, seeds {first} to {last}. {versions}; commit "
            f"{git_commit() or 'unknown'}.",
            "",
        ]
        return "\n".join(lines)

    def command(self, given: list[Given]) -> str:
        """The command that makes this comparison, with all that goes without saying."""
        words = ["python", "evaluate.py", "compare", "--scenario", self.scenario]
        words += ["--policies", *map(str, given), "--episodes", str(self.episodes)]
        words += ["--first-seed", str(self.first_seed)]
        words += ["--trust"] if self.trust else []
        words += ["--normalise", *self.normalise] if self.normalise else []
        words += ["--set", *self.settings] if self.settings else []
        words += ["--no-figures"] if self.no_figures else []
        words += ["--out", self.out] if self.out is not None else []
        return shlex.join(words)


def _shortfall(result: Comparison) -> list[Row]:
    order = [str(row["policy"]) for row in result.rows]
    return shortfall_rows(result.scenario.name, result.shortfalls, order, result.clusters)
