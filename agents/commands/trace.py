"""``python evaluate.py trace``: one day under several policies, bucket by bucket."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from agents.commands.command_line import (
    Natural,
    Normalise,
    Settings,
    read_settings,
    results_folder,
)
from agents.console import bars, notes, output, say
from agents.evaluation.allocation.played_days import FIRST_SEED
from agents.evaluation.allocation.selection import Given
from agents.evaluation.allocation.trace import DEFAULT, trace, trace_csv
from agents.storage.files import write_files
from execution_env import load_scenario
from execution_env.core.command import saying

TRACE_CSV, TRACE_PNG = "trace.csv", "trace.png"


@dataclass
class Trace:
    """Play one day under several policies, and show it bucket by bucket, side by side.

    Day number s is what env.reset(seed=s) plays, the same for every policy. The table has what was
    posted and filled through every algo, how much of the order was done and whether that lay inside the
    envelope, and what every bucket cost; the figure also has the day's fill rates, which nobody could
    see. Written are trace.png and trace.csv, whose columns
    agents/evaluation/allocation/trace.py explains.

    For example
      python evaluate.py trace
          lp and dp-adaptive on the first evaluation day
      python evaluate.py trace --policies lp q=runs/first --seed 1000042
          a run, under a name of your choice, beside lp
      python evaluate.py trace --scenario vwap-u-shape --policies twap lp-scenario --seed 7

    A policy that draws at random draws anew in every command. The other commands: python evaluate.py
    compare --help, python evaluate.py advise --help.
    """

    scenario: str = "baseline"
    """Shipped name, or path of a TOML file."""
    policies: Annotated[list[str], tyro.conf.arg(metavar="POLICY ...")] = field(
        default_factory=lambda: list(DEFAULT)
    )
    """Names, run directories, Stable-Baselines3 zips, package.module:factory; also as label=POLICY."""
    seed: Natural = FIRST_SEED
    """Number of the day."""
    trust: bool = False
    """Load Stable-Baselines3 zips. They are pickled: loading one can run code of whoever made it."""
    normalise: Normalise = field(default_factory=list)
    out: Annotated[
        str | None,
        tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/trace-SCENARIO-SEED)"),
    ] = None
    """Folder for the results; made where it is missing."""
    settings: Settings = field(default_factory=list)
    """Override fields of the scenario, such as order.buckets=20; none removes one."""

    def run(self) -> None:
        """Play, print and write.

        Raises:
            ValueError: an argument is wrong, as ``trace`` has it; RunError: --out cannot be written.
        """
        from agents.evaluation import figures  # noqa: PLC0415  slow to import
        from agents.evaluation.allocation.trace_report import show  # noqa: PLC0415

        console = notes()
        scenario = load_scenario(self.scenario, read_settings(self.settings))
        folder = results_folder(self.out, "trace", scenario, self.seed)
        given: list[Given] = list(self.policies)
        with bars(console) as track:
            found = trace(
                given,
                scenario,
                self.seed,
                track=track,
                trust=self.trust,
                normalise=self.normalise,
            )
            with track("drawing", None):
                image = figures.png(figures.day(found))
        for note in found.notes:
            say(console, note)
        with saying(
            f"stopped while writing; {TRACE_CSV} and {TRACE_PNG} in {folder} may be new or as they "
            "were. Run it again."
        ):
            write_files({folder / TRACE_CSV: trace_csv(found), folder / TRACE_PNG: image})
        with saying(f"stopped; the results are in {folder}."):
            show(found, output())
            sys.stdout.flush()
            say(console, f"Wrote {TRACE_CSV} and {TRACE_PNG} to {folder}.")
