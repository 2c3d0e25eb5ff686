"""Tables of the reference results: scores, pairs and learning curves.

Scores and pairs need the objectives of every day. These are in ``episodes.csv``, which is too large
to be committed; ``python -m results`` makes it. Curves come from each run's ``progress.csv``.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.commands.compare import EPISODES_CSV
from agents.evaluation import statistics
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.tables import Row, csv_text
from agents.policy import BOUNDS
from agents.storage.files import write_text
from agents.storage.run_directory import PROGRESS
from results.plan import Plan

CSV_FILES = SCORES_CSV, PAIRS_CSV, CURVES_CSV = "scores.csv", "pairs.csv", "learning_curves.csv"

SCORE_BOUND = "clairvoyant"
"""Name of the bound that counts as a score of 1."""

Floats = NDArray[np.float64]


def write(folder: Path, scenario: str, plan: Plan) -> None:
    """Write the three tables of a scenario to its folder, from ``episodes.csv`` there.

    Raises:
        RunError: a file cannot be written; OSError: one cannot be read.
    """
    days = read_days(folder / EPISODES_CSV)
    write_text(folder / SCORES_CSV, csv_text(SCORE_COLUMNS, scores(scenario, days, plan.groups)))
    write_text(folder / PAIRS_CSV, csv_text(PAIR_COLUMNS, pairs(scenario, days, plan.groups)))
    write_text(folder / CURVES_CSV, csv_text(CURVE_COLUMNS, curves(scenario, plan.runs(scenario))))


def read_days(path: Path) -> dict[str, Floats]:
    """Return (n,) objectives by policy or bound."""
    with path.open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file))
        columns = np.loadtxt(file, delimiter=",", ndmin=2, unpack=True)
    return dict(zip(names[1:], columns[1:], strict=True))


SCORE_COLUMNS = ("scenario", "policy", "score", "score_ci_low", "score_ci_high")


def scores(scenario: str, days: Mapping[str, Floats], groups: Mapping[str, list[str]]) -> list[Row]:
    """Return the score of every policy, groups first.

    It is (LP - policy) / (LP - clairvoyant), or None where there is no score.
    """
    rows: list[Row] = []
    for policy, values in policies(days, groups).items():
        score = statistics.score if values.ndim == 1 else statistics.score_over_seeds
        value, low, high = map(float, score(values, days[REFERENCE], days[SCORE_BOUND]))
        cells = zip(SCORE_COLUMNS[2:], (value, low, high), strict=True)
        known = {key: None if np.isnan(cell) else cell for key, cell in cells}
        rows.append({"scenario": scenario, "policy": policy, **known})
    return rows


PAIR_COLUMNS = ("scenario", "policy", "other", "difference", "ci_low", "ci_high")


def pairs(scenario: str, days: Mapping[str, Floats], groups: Mapping[str, list[str]]) -> list[Row]:
    """Return policy minus other, paired by day, for every pair; a group's single runs are left out.

    Between two groups it is seed j of one minus seed j of the other, so that the interval covers
    the seeds of both.
    """
    known = policies(days, groups)
    both = list(itertools.combinations(known, 2))
    differences = {(one, other): known[one] - known[other] for one, other in both}
    single = [pair for pair in both if differences[pair].ndim == 1]
    over_days = statistics.mean([differences[pair] for pair in single])
    found = dict(zip(single, zip(*(part.tolist() for part in over_days), strict=True), strict=True))
    for pair in both:
        if pair not in found:
            found[pair] = tuple(map(float, statistics.mean_over_seeds(differences[pair])))
    rows: list[Row] = []
    for (one, other), (value, low, high) in found.items():
        for names, cells in (
            ((one, other), (value, low, high)),
            ((other, one), (-value, -high, -low)),
        ):
            rows.append(dict(zip(PAIR_COLUMNS, (scenario, *names, *cells), strict=True)))
    return sorted(rows, key=lambda row: list(known).index(str(row["policy"])))


def policies(days: Mapping[str, Floats], groups: Mapping[str, list[str]]) -> dict[str, Floats]:
    """Return objectives by policy: (seeds, n) for a group, (n,) for a policy in no group."""
    known = {name: np.array([days[label] for label in labels]) for name, labels in groups.items()}
    single = {label for labels in groups.values() for label in labels}
    return known | {
        name: values for name, values in days.items() if name not in single and name not in BOUNDS
    }


CURVE_COLUMNS = (
    *("scenario", "run", "episodes", "steps", "seconds"),
    *("objective_mean", "objective_ci_low", "objective_ci_high"),
)


def curves(scenario: str, runs: Mapping[str, Path]) -> list[Row]:
    """Return ``progress.csv`` of all runs: the objective on validation days during training."""
    rows: list[Row] = []
    for label, directory in runs.items():
        with (directory / PROGRESS).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                about = {"scenario": scenario, "run": label}
                rows.append({key: {**row, **about}[key] for key in CURVE_COLUMNS})
    return rows
