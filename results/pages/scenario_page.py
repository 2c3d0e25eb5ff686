"""Page of a scenario. Every number in it is read from a CSV file beside it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from agents.commands.compare import COMPARISON_CSV, SHORTFALL_CSV
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.gallery import PICTURES
from agents.evaluation.tables import ABOUT_CLEAN_UP
from agents.learners import LEARNERS
from agents.storage.files import write_text
from execution_env import load_scenario
from results.pages.tables import PAIRS_CSV, SCORE_BOUND
from results.pages.words import (
    NO_SCORE,
    Found,
    against,
    has_scores,
    listed,
    number,
    paragraph,
    planners,
    read,
    standing,
    table,
    verdict,
)
from results.plan import PLANS, shell

PAGE = "README.md"

OF_SHORTFALLS = (
    "Nearly all noise of a shortfall is the drift of the mid while shares wait, whose mean is zero where nobody can tell "
    f"where it goes. [{SHORTFALL_CSV}]({SHORTFALL_CSV}), also a table in [comparison.md](comparison.md), has the parts of "
    "the shortfall, and differences without that drift, whose intervals are narrower. Read both."
)
"""Paragraph for scenarios whose costs are a shortfall."""


def write(folder: Path, name: str) -> None:
    """Write the page of a scenario from the CSV files in its folder.

    Raises:
        RunError: it cannot be written; OSError: a file is missing.
    """
    write_text(folder / PAGE, scenario_page(read(folder)))


def scenario_page(found: Found) -> str:
    """Return the page of a scenario."""
    plan, name = PLANS[found.name], found.name
    commands = [shell("train.py", words) for words in plan.trainings(name)]
    commands.append(shell("evaluate.py", plan.comparison(name)))
    days = found.rows[0]["episodes"]
    pictures = [f"![{picture.alternative}]({file})" for file, picture in PICTURES.items()]
    lines = [
        f"# {name}",
        "",
        paragraph(load_scenario(name).description),
        "",
        f"Everything here is made by `python -m results --scenarios {name}`, which runs",
        "",
        *(f"    {command}" for command in commands),
        "",
        paragraph(finding(found)),
        "",
        paragraph(readings().get(name, "")),
        "",
        table(found),
        "",
        paragraph(
            legend(int(days), plan.seeds, load_scenario(name).unit)
            + ("" if has_scores(found) else f" {NO_SCORE}")
        ),
        "",
        paragraph(OF_SHORTFALLS if load_scenario(name).shortfall else ""),
        "",
        *(f"{line}\n" for line in pictures),
        "## Paired differences",
        "",
        paragraph(
            f"Policy minus other on the same {int(days):,} days, 95 % intervals, over training seeds too; "
            f"negative is better. All pairs are in [{PAIRS_CSV}]({PAIRS_CSV})."
        ),
        "",
        *(paragraph(f"{item}.", "  ") for item in comparisons(found)),
        "",
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def finding(found: Found) -> str:
    """Return the finding in a few sentences: the best policy, and the results of the learners."""
    best = found.rows[0]["policy"]
    level = [row["policy"] for row in found.rows[1:] if verdict(found, row["policy"], best) == 0]
    text = f"Best is `{best}` with {number(found.rows[0], 'objective_mean')}"
    text += f" (not told apart from it: {listed(level)})" if level else ""
    text += f"; plain `{REFERENCE}` has {number(found.row(REFERENCE), 'objective_mean')}. "
    return text + " ".join(f"{standing(found, learner)}." for learner in learned(found))


def learned(found: Found) -> list[str]:
    """Labels of what learned, best first."""
    titles = tuple(learner.title for learner in LEARNERS.values())
    return [row["policy"] for row in found.rows if row["policy"].startswith(titles)]


def comparisons(found: Found) -> list[str]:
    """Return a line for every learner: the policies that it beats and loses to, rules aside."""
    others = [REFERENCE, *planners(found), *learned(found)]
    others = [row["policy"] for row in found.rows if row["policy"] in others]
    return [
        f"`{policy}` is {against(found, policy, [name for name in others if name != policy])}"
        for policy in learned(found)
    ]


def legend(days: int, seeds: int, unit: str) -> str:
    """Return the meaning of the columns."""
    return (
        f"{days:,} held-out days, {seeds} training seeds from 0 on; objectives and penalties in {unit} "
        f"per share, lower is better. Score is (lp - policy) / (lp - {SCORE_BOUND}): 0 is `lp`, 1 the bound. "
        "Worst 5 % is the mean of the worst days, behind the share of bucket ends behind the envelope, "
        "training the seconds of one run, beside other work. Rows of several "
        f"seeds have intervals over days and seeds; single runs are in [{COMPARISON_CSV}]({COMPARISON_CSV}). {ABOUT_CLEAN_UP}"
    )


def readings() -> Mapping[str, str]:
    """Return our reading of each scenario, without numbers, by its name."""
    path = Path(__file__).parents[1] / "readings.toml"
    return {
        key: str(value) for key, value in tomllib.loads(path.read_text(encoding="utf-8")).items()
    }
