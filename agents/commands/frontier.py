"""``python evaluate.py frontier``: posting cost against how often an order is behind its envelope."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro
from rich import box
from rich.table import Table
from rich.text import Text

from agents import console
from agents.commands.command_line import (
    Count,
    Natural,
    Normalise,
    Number,
    Settings,
    read_settings,
    results_folder,
)
from agents.commands.earlier import check_earlier
from agents.evaluation.allocation.comparison import MOST_DAYS
from agents.evaluation.allocation.frontier import (
    FRONTIER_COLUMNS,
    MEASURES,
    PENALTIES,
    Frontier,
    Win,
    frontier,
    plain,
)
from agents.evaluation.allocation.played_days import FIRST_SEED, episodes_of
from agents.evaluation.allocation.report import markdown_table
from agents.evaluation.figures import frontier as figure_of
from agents.evaluation.figures import png
from agents.evaluation.tables import ABOUT_CLEAN_UP, CLEANED_UP, FILLED, Row, csv_text, ends
from agents.storage.files import write_files
from execution_env import load_scenario
from execution_env.core.command import saying

FRONTIER_CSV, WINS_CSV, FRONTIER_MD, FRONTIER_PNG = (
    "frontier.csv",
    "wins.csv",
    "frontier.md",
    "frontier.png",
)

MEASURE_WORDS = {
    "posting_cost": "posting cost",
    "posting_and_residual": "posting cost and residual penalty",
}

LEFT = "what is left over"

FRONTIER_HEADER = (
    "policy",
    "penalty",
    "behind",
    "posting cost",
    "with residual",
    FILLED,
    CLEANED_UP,
    "objective",
)


@dataclass
class FrontierCommand:
    """Play policies at several envelope penalties: what it costs to be seldom behind.

    An objective weighs posting cost against being behind the envelope at one price. Here policies are
    played at several prices, on the same days, and each gives a curve: posting cost against the share of
    bucket ends at which it is behind. A policy wins only where its curve lies below the other's; where
    that is, at 95 % confidence, is printed and written.

    What learns has to learn anew for every price: {} in a path stands for the penalty. Built-in policies
    are made for every price.

    For example
      python evaluate.py frontier --policies lp lp-buffered dp-adaptive
      python train.py --set penalties.envelope=2 --out runs/envelope-2  (and for 1, 5 and 10)
      python evaluate.py frontier --policies lp Q=runs/envelope-{}
      python evaluate.py frontier --scenario drifting --penalties 0 2 8 --episodes 2000

    Writes frontier.csv (a row per policy and penalty), wins.csv, frontier.png and frontier.md to --out.
    """

    scenario: str = "baseline"
    """Shipped name, or path of a TOML file."""
    policies: Annotated[list[str], tyro.conf.arg(metavar="POLICY ...")] = field(
        default_factory=lambda: ["lp", "lp-buffered", "lp-scenario", "dp", "dp-adaptive"]
    )
    """As for compare; {} stands for the penalty."""
    penalties: Annotated[list[Number], tyro.conf.arg(metavar="NUMBER ...")] = field(
        default_factory=lambda: list(PENALTIES)
    )
    """Envelope penalties, half-spreads per share outside the envelope and bucket."""
    trust: bool = False
    """Load Stable-Baselines3 zips. They are pickled: loading one can run code of whoever made it."""
    normalise: Normalise = field(default_factory=list)
    episodes: Annotated[
        Count, tyro.conf.arg(help_behavior_hint="(default: 10000, or all that are replayed)")
    ] = 0
    """Number of days."""
    first_seed: Natural = FIRST_SEED
    """Number of the first day."""
    out: Annotated[
        str | None,
        tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/frontier-SCENARIO)"),
    ] = None
    """Folder for the results; made where it is missing."""
    overwrite: bool = False
    """Replace results of another scenario, of other policies or of other penalties in --out."""
    settings: Settings = field(default_factory=list)
    """Override fields of the scenario, such as order.buckets=20; none removes one."""

    def run(self) -> None:
        """Play, print and write.

        Raises:
            ValueError: an argument is wrong, as ``frontier`` has it; RunError: --out cannot be written,
                or holds other results.
        """
        if not self.policies:
            raise ValueError("--policies: there are none; give at least one, such as lp.")
        notes, start = console.notes(), time.perf_counter()
        scenario = load_scenario(self.scenario, read_settings(self.settings))
        self.episodes = episodes_of(scenario, self.episodes or None)
        if self.episodes > MOST_DAYS:
            raise ValueError(f"--episodes {self.episodes}: must be at most {MOST_DAYS:,}.")
        folder = results_folder(self.out, "frontier", scenario)
        if self.out is not None and not self.overwrite:
            check_earlier(folder, FRONTIER_MD, FRONTIER_CSV, self.command())
        with console.bars(notes) as track:
            result = frontier(
                self.policies,
                scenario,
                self.penalties,
                range(self.first_seed, self.first_seed + self.episodes),
                track=track,
                trust=self.trust,
                normalise=self.normalise,
            )
            with track("drawing", None):
                picture = png(figure_of(result.rows))
        for note in result.notes:
            console.say(notes, note)
        with saying(f"stopped while writing; files in {folder} may be new or as they were."):
            wins = [win._asdict() for win in result.wins]
            write_files(
                {
                    folder / FRONTIER_CSV: csv_text(FRONTIER_COLUMNS, result.rows),
                    folder / WINS_CSV: csv_text(Win._fields, wins),
                    folder / FRONTIER_MD: self.page(result),
                    folder / FRONTIER_PNG: picture,
                }
            )
        output = console.output()
        output.print(_table(result.rows))
        output.print()
        for line in findings(result.wins):
            console.say(output, line)
        console.say(
            notes,
            f"Wrote {FRONTIER_CSV}, {WINS_CSV}, {FRONTIER_MD} and {FRONTIER_PNG} to {folder} after "
            f"{time.perf_counter() - start:.0f} s.",
        )

    def page(self, result: Frontier) -> str:
        """The results in markdown, with the command that makes them."""
        first, last = result.seeds[0], result.seeds[-1]
        parts = [
            f"# {result.scenario.name}: what staying inside the envelope costs",
            "",
            f"    {self.command()}",
            "",
            f"![Posting cost against the behind-rate, a curve per policy]({FRONTIER_PNG})",
            "",
            *(f"- {line}" for line in findings(result.wins)),
            "",
            markdown_table(FRONTIER_HEADER, list(map(_cells, result.rows))),
            "",
            f"{console.counted(len(result.seeds), 'day')}, seeds {first} to {last}; intervals are in "
            f"{FRONTIER_CSV}. {ABOUT_CLEAN_UP}",
            *(f"\n{note}" for note in result.notes),
            "",
        ]
        return "\n".join(parts)

    def command(self) -> str:
        """The command that makes this, with all that goes without saying."""
        words = ["python", "evaluate.py", "frontier", "--scenario", self.scenario]
        words += ["--policies", *self.policies]
        words += ["--penalties", *(plain(price) for price in self.penalties)]
        words += ["--episodes", str(self.episodes), "--first-seed", str(self.first_seed)]
        words += ["--trust"] if self.trust else []
        words += ["--normalise", *self.normalise] if self.normalise else []
        words += ["--set", *self.settings] if self.settings else []
        words += ["--out", self.out] if self.out is not None else []
        return shlex.join(words)


def findings(wins: Sequence[Win]) -> list[str]:
    """Who wins where, a line per policy, and another one where what is left over makes a difference."""
    lines = []
    for policy in dict.fromkeys(win.policy for win in wins):
        said = [_beaten(wins, policy, measure) for measure in MEASURES]
        if said[0] == said[1]:
            lines.append(
                f"{policy} has a lower {MEASURE_WORDS[MEASURES[0]]} than {said[0]}; "
                f"and so it is with {LEFT}."
            )
            continue
        for measure, words in zip(MEASURES, said, strict=True):
            if words:
                lines.append(f"{policy} has a lower {MEASURE_WORDS[measure]} than {words}.")
    return lines or ["No curve lies below another one, at 95 % confidence."]


def _beaten(wins: Sequence[Win], policy: str, measure: str) -> str:
    return "; ".join(
        f"{win.other} {_where(win)}, by {_span(f'{win.least:.3f}', f'{win.most:.3f}')}"
        for win in wins
        if (win.policy, win.measure) == (policy, measure)
    )


def _where(win: Win) -> str:
    where = f"at {_span(f'{win.low:.1%}', f'{win.high:.1%}')} behind"
    return f"wherever both can be ({where})" if win.share > 0.995 else where


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for j, column in enumerate(FRONTIER_HEADER):
        table.add_column(column, justify="right" if j else "left")
    before = None
    for row in rows:
        if before not in (None, row["policy"]):
            table.add_section()
        before = row["policy"]
        table.add_row(*map(Text, _cells(row)))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    shapes = ("", "g", ".1%", ".4f", ".4f")
    keys = (
        "policy",
        "penalty",
        "behind_rate_mean",
        "posting_cost_mean",
        "posting_and_residual_mean",
    )
    cells = [format(row[key], shape) for key, shape in zip(keys, shapes, strict=True)]
    left, objective = row["residual_fraction_mean"], row["objective_mean"]
    assert isinstance(left, float)
    return (*cells, *ends(left), format(objective, ".4f"))
