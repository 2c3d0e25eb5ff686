"""``python evaluate.py advise``: what to post now, in an order that is under way."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from agents.commands.command_line import Normalise, Settings, read_settings
from agents.console import bars, notes, output, say
from agents.evaluation.allocation.selection import scenario_for
from execution_env import load_scenario

PerBucket = tyro.conf.arg(metavar="SHARES,SHARES,... ...", help_behavior_hint="(default: none)")


@dataclass
class Advise:
    """Say what a policy would post now in an order that is under way, and why.

    Give what was posted and filled in every past bucket, one comma list per bucket, in shares, with a
    number for every algo of the scenario. Nothing given asks about the first bucket. The past is
    replayed through the environment, and whatever cannot have been is an error.

    Printed are where the order stands, the fill-rate estimates, and what to post now; of the linear
    programmes the plan for the rest of the order, what it expects to cost, and what the envelope costs;
    of a Q-table the objective it expects of its best actions; of PPO their probabilities.

    For example
      python evaluate.py advise
          the first bucket of an order of the scenario baseline
      python evaluate.py advise --posted 1000,500,0 800,400,400 --filled 900,400,0 700,200,100
          two buckets are over: 1,000 shares were posted through Aggressive in the first, 900 filled
      python evaluate.py advise --policy runs/first --posted 0,0,3000 --filled 0,0,800
          what a trained policy would do, in the scenario that it was trained on
      python evaluate.py advise --scenario vwap-u-shape --posted 0,0,500 --filled 0,0,0 --volume 61000
          the envelope follows the market's volume, which was 61,000 shares in the first bucket
      python evaluate.py advise --set order.size=20000 --json
          a changed scenario; the advice as JSON, whose keys agents/advice/as_json.py explains

    The other commands: python evaluate.py compare --help, python evaluate.py trace --help.
    """

    scenario: Annotated[
        str | None,
        tyro.conf.arg(metavar="SCENARIO", help_behavior_hint="(default: a run's own, or baseline)"),
    ] = None
    """Shipped name, or path of a TOML file."""
    policy: Annotated[str, tyro.conf.arg(metavar="POLICY")] = "lp"
    """Name, run directory, Stable-Baselines3 zip, or package.module:factory."""
    posted: Annotated[list[str], PerBucket] = field(default_factory=list)
    """Shares posted through every algo, a comma list per past bucket."""
    filled: Annotated[list[str], PerBucket] = field(default_factory=list)
    """Shares of those that filled, likewise."""
    volume: Annotated[
        list[str], tyro.conf.arg(metavar="SHARES ...", help_behavior_hint="(default: as expected)")
    ] = field(default_factory=list)
    """Shares that the whole market traded, a number per past bucket."""
    prediction: Annotated[
        str | None, tyro.conf.arg(metavar="RATE,RATE,...", help_behavior_hint="(default: none)")
    ] = None
    """The order's own predicted fill rates in the first bucket, where orders have some."""
    json: bool = False
    """Print JSON."""
    trust: bool = False
    """Load Stable-Baselines3 zips. They are pickled: loading one can run code of whoever made it."""
    normalise: Normalise = field(default_factory=list)
    settings: Settings = field(default_factory=list)
    """Override fields of the scenario, such as order.buckets=20; none removes one."""

    def run(self) -> None:
        """Advise and print.

        Raises:
            ValueError: an argument is wrong, as ``advise`` has it.
        """
        from agents.advice.advice import advise  # noqa: PLC0415  slow to import
        from agents.advice.as_json import as_json  # noqa: PLC0415
        from agents.advice.report import show  # noqa: PLC0415

        own = scenario_for(self.policy) if self.scenario is None else self.scenario
        scenario = load_scenario("baseline" if own is None else own, read_settings(self.settings))
        console = notes()
        with bars(console) as track:
            advice = advise(
                scenario,
                self.policy,
                self.posted,
                self.filled,
                self.volume or None,
                prediction=self.prediction,
                trust=self.trust,
                normalise=self.normalise,
                track=track,
            )
        for note in advice.notes:
            say(console, note)
        if self.json:
            print(json.dumps(as_json(advice), indent=2, allow_nan=False))
        else:
            show(advice, output())
        sys.stdout.flush()
