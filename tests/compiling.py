"""Compiles what most tests use, before pytest's workers start: each would compile it anew.

Two processes share the work: ``python -m tests.compiling environment`` and ``... planners``.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

PARTS = ("environment", "planners")

OBSERVATION = np.array([[1.0, 1.0, *[0.5] * 3, *[0.0] * 3, 0.0, 1.0, 1.0]], np.float32)
"""The first one of an order of three algos, of kind "full"."""


def environment() -> None:
    """Compile the environment, then the Q-learner's loops, which play its orders, and other policies."""
    from agents.policy import load_policy
    from agents.q_learning.orders import warm_up
    from execution_env import load_scenario
    from execution_env.allocation.batch import Batch

    scenario = load_scenario("textbook")
    batch = Batch(scenario, 1, "grid", "default", informs=True)  # no day is drawn
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    warm_up(scenario)
    for name in ("lp", "lp-scenario", "passive-then-sweep", "twap"):
        load_policy(name, scenario).decide(OBSERVATION)


def planners() -> None:
    """Compile drawing, bounds and dynamic programming."""
    from agents.bounds import clairvoyant, hindsight
    from agents.policy import load_policy
    from execution_env import load_scenario, numbered_days

    scenario = load_scenario("textbook")
    days = numbered_days(scenario, range(2))
    hindsight(scenario, days)
    clairvoyant(scenario, days)
    for name in ("dp", "dp-adaptive"):
        load_policy(name, scenario).decide(OBSERVATION)


def compile_first() -> None:
    """Compile in two processes side by side, and wait for both; failures are the tests' to show."""
    running = [subprocess.Popen([sys.executable, "-m", "tests.compiling", part]) for part in PARTS]
    for process in running:
        process.wait()


if __name__ == "__main__":
    {"environment": environment, "planners": planners}[sys.argv[1]]()
