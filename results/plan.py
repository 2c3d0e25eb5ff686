"""Plan of the reference results: scenarios, policies, training budgets and seeds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agents import learners
from agents.evaluation.allocation.frontier import PENALTIES, PRICE, plain
from agents.evaluation.allocation.played_days import EPISODES, FIRST_SEED
from agents.learners import LEARNERS
from agents.policy import policy_names
from execution_env import load_scenario

RESULTS, RUNS_FOLDER = Path("results"), Path("runs", "results")

Q_TITLE, PPO_TITLE = LEARNERS[learners.Q_LEARNING].title, LEARNERS[learners.PPO].title
"""Names of the learners in tables; a single run has its seed after the name."""

BLIND = "Q-learning without estimates"

FULL = "PPO with full observation"

DAY_OPTIONS = ["--episodes", str(EPISODES), "--first-seed", str(FIRST_SEED)]


def shell(script: str, words: Sequence[str]) -> str:
    """Return the command line to type."""
    return shlex.join(["python", script, *words])


def length(learner: str, timesteps: int) -> tuple[list[str], str]:
    """Return the options that set a training's length, and their part of the run directory's name.

    PPO trains for ``timesteps``, every other learner for as long as it does by default.
    """
    if learner == learners.PPO:
        return ["--timesteps", str(timesteps)], f"-timesteps{timesteps}"
    return [], ""


class Plan(NamedTuple):
    """Plan of a scenario: its trainings and its comparison.

    Attributes:
        seeds: number of training seeds, from 0 on.
        timesteps: environment steps of PPO.
        blind: whether a Q-learner without estimates in its state is trained too, seed 0.
        longer: environment steps of one more PPO, seed 0; 0 for none.
        full: whether one more PPO sees the full observation, seed 0.
    """

    seeds: int = 3
    timesteps: int = 3_000_000
    blind: bool = False
    longer: int = 0
    full: bool = False

    def trainings(self, scenario: str) -> list[list[str]]:
        """Return the words after ``python train.py`` that train everything."""
        chosen = ["--scenario", scenario, "--seed"]
        seeds = [str(seed) for seed in range(self.seeds)]

        def out(learner: str) -> list[str]:
            return ["--out", str(RUNS_FOLDER / learner)]

        found = []
        for learner in LEARNERS:
            words, _ = length(learner, self.timesteps)
            found.append(["sweep", learner, *chosen, *seeds, *words, *out(learner)])
        q, ppo = learners.Q_LEARNING, learners.PPO
        if self.blind:
            found.append(["sweep", q, *chosen, "0", "--bins", "1", *out(q)])
        if self.longer:
            words, _ = length(ppo, self.longer)
            found.append(["sweep", ppo, *chosen, "0", *words, *out(ppo)])
        if self.full:
            words, _ = length(ppo, self.timesteps)
            found.append(["sweep", ppo, *chosen, "0", *words, "--observation", "full", *out(ppo)])
        return found

    def runs(self, scenario: str) -> dict[str, Path]:
        """Run directories that ``trainings`` leaves, by label."""
        found = {}
        for learner, about in LEARNERS.items():
            _, name = length(learner, self.timesteps)
            for seed in range(self.seeds):
                found[f"{about.title} {seed}"] = (
                    RUNS_FOLDER / learner / f"{scenario}{name}-seed{seed}"
                )
        if self.blind:
            found[BLIND] = RUNS_FOLDER / learners.Q_LEARNING / f"{scenario}-bins1-seed0"
        if self.longer:
            _, name = length(learners.PPO, self.longer)
            found[self.long] = RUNS_FOLDER / learners.PPO / f"{scenario}{name}-seed0"
        if self.full:
            _, name = length(learners.PPO, self.timesteps)
            name = f"{scenario}{name}-observationfull-seed0"
            found[FULL] = RUNS_FOLDER / learners.PPO / name
        return found

    @property
    def long(self) -> str:
        """Return the label of the longer PPO_TITLE."""
        return f"{PPO_TITLE} with {self.longer / 1e6:g} million steps"

    def comparison(self, scenario: str) -> list[str]:
        """Return the words after ``python evaluate.py``."""
        runs = [f"{label}={path}" for label, path in self.runs(scenario).items()]
        policies = [*policy_names(load_scenario(scenario)), *runs]
        words = ["compare", "--scenario", scenario, "--policies", *policies, *DAY_OPTIONS]
        return [*words, "--out", str(RESULTS / scenario)]

    @property
    def groups(self) -> dict[str, list[str]]:
        """Return the labels of single runs, by the label of the row that stands for all of them."""
        return {
            f"{learner.title} ({self.seeds} seeds)": [
                f"{learner.title} {seed}" for seed in range(self.seeds)
            ]
            for learner in LEARNERS.values()
        }


PLANS = {
    "baseline": Plan(5, blind=True, longer=10_000_000),
    "drifting": Plan(5, 10_000_000, blind=True),
    "known-rates": Plan(5),
    "baseline-filled": Plan(),
    "textbook": Plan(),
    "vwap-u-shape": Plan(full=True),
    "two-algos": Plan(),
    "five-algos": Plan(),
    "varying-predictions": Plan(),
    "bac-2013": Plan(),
    "ibm-2013": Plan(),
}
"""Plans by scenario."""


class FrontierPlan(NamedTuple):
    """Plan of the frontier of a scenario: learners are trained anew for every penalty, seed 0.

    Attributes:
        timesteps: environment steps of PPO.
        policies: built-in policies.
    """

    timesteps: int = 3_000_000
    policies: tuple[str, ...] = ("lp", "lp-buffered", "lp-scenario", "dp", "dp-adaptive")

    def trainings(self, scenario: str) -> list[list[str]]:
        """Return the words after ``python train.py`` that train everything."""
        found = []
        for price in PENALTIES:
            chosen = [
                "--scenario",
                scenario,
                "--seed",
                "0",
                "--set",
                f"penalties.envelope={plain(price)}",
            ]
            out = RUNS_FOLDER / f"envelope-{plain(price)}"
            for learner in LEARNERS:
                words, _ = length(learner, self.timesteps)
                found.append(["sweep", learner, *chosen, *words, "--out", str(out / learner)])
        return found

    def comparison(self, scenario: str) -> list[str]:
        """Return the words after ``python evaluate.py``."""
        words = ["frontier", "--scenario", scenario]
        words += ["--policies", *self.policies, *self.learned(scenario)]
        words += ["--penalties", *map(plain, PENALTIES), *DAY_OPTIONS]
        return [*words, "--out", str(RESULTS / f"frontier-{scenario}")]

    def runs(self, scenario: str) -> list[Path]:
        """Return the run directories that ``trainings`` leaves."""
        paths = [item.partition("=")[2] for item in self.learned(scenario)]
        return [Path(path.replace(PRICE, plain(price))) for path in paths for price in PENALTIES]

    def learned(self, scenario: str) -> list[str]:
        """Return the labelled runs that ``trainings`` leaves; {} stands for the penalty."""
        runs = RUNS_FOLDER / f"envelope-{PRICE}"
        return [
            f"{about.title}={runs / learner / (scenario + length(learner, self.timesteps)[1])}-seed0"
            for learner, about in LEARNERS.items()
        ]


FRONTIERS = {"baseline": FrontierPlan()}
"""Plans of frontiers by scenario."""

REAL_DAYS = "real-days"
"""Folder of the experiment on real days, which ``results.real_days`` makes."""

SEEDS, TIMESTEPS = ("0", "1", "2"), 2_000_000
"""Seeds of trainings for real days, and environment steps of PPO."""

EVERYTHING = [*PLANS, *(f"frontier-{scenario}" for scenario in FRONTIERS)]
"""Names of all results, which are also the names of their folders."""
