"""Section of README.md on the results, between two marked lines, from CSV files in results/."""

from __future__ import annotations

from pathlib import Path

from agents.commands.compare import COMPARISON_CSV
from agents.evaluation.allocation.selection import REFERENCE
from agents.storage.files import write_text
from results.pages.scenario_page import PAGE
from results.pages.tables import PAIRS_CSV, SCORE_BOUND, SCORES_CSV
from results.pages.words import against, number, paragraph, percent_off, read, standing, table
from results.plan import PLANS, PPO_TITLE, Q_TITLE

README_COLUMNS = ("policy", "objective", "95 % interval", "minus `lp`, paired", "score")

MOST_TIMES_LP = 2.0
"""Multiple of plain lp's objective above which README.md omits policies, which are some rules."""

BEGIN, END = "<!-- made by python -m results -->", "<!-- until here -->"


def write(path: Path, folder: Path) -> None:
    """Write the findings into README.md.

    Raises:
        RunError: it cannot be written; OSError: a file is missing; ValueError: it lacks the two
            marked lines.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path}: must have a line {BEGIN}, and after it a line {END}.")
    write_text(path, f"{before}{BEGIN}\n\n{readme(folder)}\n\n{END}{after}")


def readme(folder: Path) -> str:
    """Return the section of README.md on the results."""
    base, drifting = (read(folder / name) for name in ("baseline", "drifting"))
    learners = base.learner(Q_TITLE), base.learner(PPO_TITLE)
    q, ppo = (base.row(learner) for learner in learners)
    days, seeds = int(q["episodes"]), PLANS["baseline"].seeds
    long = PLANS["baseline"].long
    finding = (
        f"**The finding.** On `baseline`, over {days:,} held-out days, two learners that know nothing but "
        f"simulated days take {percent_off(base, learners[0])} (a Q-table, "
        f"{number(q, 'train_seconds', '.0f')} s of training) and {percent_off(base, learners[1])} (PPO, "
        f"{number(ppo, 'train_seconds', '.0f')} s) off the cost of the receding-horizon linear programme. "
        f"The Q-table is {against(base, learners[0], [learners[1]])}; `{long}` (one seed) is "
        f"{against(base, long, [learners[0]])}. Beside planners that know the model the Q-table is "
        f"{against(base, learners[0], ['lp-buffered', 'dp', 'lp-scenario', 'dp-adaptive'])}. "
        f"Where the hidden state persists and re-estimating pays (`drifting`), {standing(drifting, learners[1])}, "
        f"and {standing(drifting, learners[0])}. All scenarios, losses included: [results](results/{PAGE})."
    )
    return "\n\n".join(
        [
            f"![What was found on baseline]({folder.name}/baseline/headline.png)",
            paragraph(finding),
            table(
                base, README_COLUMNS, MOST_TIMES_LP * float(base.row(REFERENCE)["objective_mean"])
            ),
            paragraph(
                f"`baseline`, {days:,} days, {seeds} training seeds, 95 % intervals, half-spreads per share; score 0 "
                f"is `lp`, 1 the bound `{SCORE_BOUND}`; rules that cost more than twice as much as `lp` are left out. Made by `python -m results --scenarios baseline` (the "
                "commands it runs are in [its folder](results/baseline/README.md)); numbers are in "
                f"[{COMPARISON_CSV}](results/baseline/{COMPARISON_CSV}), [{PAIRS_CSV}](results/baseline/{PAIRS_CSV}) and "
                f"[{SCORES_CSV}](results/baseline/{SCORES_CSV})."
            ),
        ]
    )
