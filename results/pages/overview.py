"""Page over all scenarios. Every number in it is read from a scenario's CSV file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from agents.evaluation.allocation.report import markdown_table
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.figures import png
from agents.evaluation.figures import scores as draw
from agents.storage.files import write_bytes, write_text
from results.pages.real_figures import TRANSFER_PNG
from results.pages.scenario_page import PAGE, learned, readings
from results.pages.tables import SCORE_BOUND
from results.pages.words import (
    NO_SCORE,
    Cells,
    Found,
    difference,
    has_scores,
    listed,
    number,
    paragraph,
    planners,
    read,
    score,
    standing,
)
from results.plan import BLIND, FRONTIERS, PLANS, PPO_TITLE, Q_TITLE, REAL_DAYS

PICTURE = "scores.png"


def write(folder: Path) -> None:
    """Write the page over all scenarios, and its figure.

    Raises:
        RunError: a file cannot be written; OSError: a scenario's files are missing.
    """
    found = [read(folder / name) for name in PLANS]
    shown = [
        row
        for of in found
        for row in of.scores.values()
        if row["policy"] in {*planners(of), of.learner(Q_TITLE), of.learner(PPO_TITLE)}
    ]
    picture = png(draw([_numeric(row) for row in shown]))
    write_bytes(folder / PICTURE, picture)
    write_text(folder / PAGE, overview(found))


def _numeric(row: Cells) -> dict[str, str | float | None]:
    """Return cells with numbers as floats; the policy's name loses its number of seeds."""
    words = ("scenario", "policy")
    found: dict[str, str | float | None] = {
        key: float(cell) if cell else None for key, cell in row.items() if key not in words
    }
    return found | {"scenario": row["scenario"], "policy": row["policy"].partition(" (")[0]}


def overview(found: Sequence[Found]) -> str:
    """Return the page over all scenarios."""
    days = int(found[0].rows[0]["episodes"])
    texts = readings()
    lines = [
        "# Results",
        "",
        paragraph(
            f"Made by `python -m results`, real days aside: every shipped scenario, {days:,} held-out days that no "
            "training and no tuning meets, the same ones for every policy. Every folder has its commands, "
            f"tables, figures and what they say. Training: {budgets()}. Seconds were measured beside other work, "
            "and are too high."
        ),
        "",
        f"![Scores by scenario: 0 is the linear programme, 1 the bound]({PICTURE})",
        "",
        paragraph(
            f"The score is (lp - policy) / (lp - {SCORE_BOUND}), of means over days: 0 is the plain receding-horizon "
            "linear programme, 1 the bound that knows what is hidden. Intervals are 95 %, from resampling days, "
            "and training seeds where there are some (Agarwal et al. 2021)."
        ),
        "",
        "## Who wins where",
        "",
        *(paragraph(f"[{of.name}]({of.name}/{PAGE}): {summary(of)}", "  ") for of in found),
        "",
        "## What was found",
        "",
        *(paragraph(line, "  ") for line in texts["overview"].split("\n\n")),
        "",
        score_table(found),
        "",
        "## What staying inside the envelope costs",
        "",
        paragraph(texts["frontier"]),
        "",
        *(
            f"![{name}: posting cost against the behind-rate](frontier-{name}/frontier.png)\n\n"
            f"[Where which curve lies below](frontier-{name}/frontier.md)\n"
            for name in FRONTIERS
        ),
        "## On real days",
        "",
        paragraph(texts[REAL_DAYS].split("\n\n")[0]),
        "",
        f"![What models of two stocks promised, and what real days brought]({REAL_DAYS}/{TRANSFER_PNG})",
        "",
        f"[The experiment on real days]({REAL_DAYS}/{PAGE})",
        "",
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def budgets() -> str:
    """Return seeds and steps by scenario, in words."""
    groups: dict[tuple[int, int], list[str]] = {}
    for name, plan in PLANS.items():
        groups.setdefault((plan.seeds, plan.timesteps), []).append(name)
    return "; ".join(
        f"{seeds} seeds and {steps / 1e6:g} million steps of PPO on {listed(names)}"
        for (seeds, steps), names in groups.items()
    )


def summary(found: Found) -> str:
    """Return a summary: the best policy, the learners, and the policies that beat them."""
    best, pair = found.rows[0], (found.learner(Q_TITLE), found.learner(PPO_TITLE))
    text = f"best is `{best['policy']}`, {number(best, 'objective_mean')} (`{REFERENCE}` "
    text += f"{number(found.row(REFERENCE), 'objective_mean')}). "
    more = [name for name in learned(found) if name not in (*pair, BLIND)]
    text += "; ".join(standing(found, learner) for learner in (*pair, *more))
    return f"{text}; `{pair[0]}` minus `{pair[1]}` is {difference(found, *pair)}."


def score_table(found: Sequence[Found]) -> str:
    """Return a table of scores with intervals, a row per scenario."""
    others = ("lp-buffered", "lp-scenario", "dp", "dp-adaptive")
    header = ["scenario", Q_TITLE, PPO_TITLE, *(f"`{name}`" for name in others)]
    lines = []
    for of in found:
        names = (of.learner(Q_TITLE), of.learner(PPO_TITLE), *others)
        cells = [score(of.scores.get(name)) or "no score" for name in names]
        lines.append([f"`{of.name}`", *cells])
    table = markdown_table(header, lines)
    without = [of.name for of in found if not has_scores(of)]
    return table + (f"\n\n{paragraph(f'{listed(without)}: {NO_SCORE}')}" if without else "")
