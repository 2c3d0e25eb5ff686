"""Compiles what most tests use, before pytest's workers start: each would compile it anew.

Two processes share the work: ``python -m tests.compiling environment`` and ``... planners``.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

PARTS = ("environment", "planners")


def environment() -> None:
    """Compile the environment and the Q-learner's loops, which play its orders."""
    from agents.q_learning.orders import warm_up
    from execution_env import OrderAllocationEnv, load_scenario

    env = OrderAllocationEnv("textbook")
    env.reset(seed=1)
    env.step(0)
    warm_up(load_scenario("textbook"))


def planners() -> None:
    """Compile the planners and the bounds, those first that need no environment and no drawn days."""
    from agents.bounds import clairvoyant, hindsight
    from agents.policy import load_policy
    from execution_env import Days, load_scenario

    scenario = load_scenario("textbook")
    observation = np.array([[1.0, 1.0, *[0.5] * 3, *[0.0] * 3, 0.0, 1.0, 1.0]], np.float32)
    days = Days.of(scenario, 2)
    days.fill_rate[:] = days.rounding[:] = 0.5
    hindsight(scenario, days)
    clairvoyant(scenario, days)
    for name in ("lp", "lp-scenario", "passive-then-sweep", "twap", "dp", "dp-adaptive"):
        load_policy(name, scenario).decide(observation)


def compile_first() -> None:
    """Compile in two processes side by side, and wait for both; failures are the tests' to show."""
    running = [subprocess.Popen([sys.executable, "-m", "tests.compiling", part]) for part in PARTS]
    for process in running:
        process.wait()


if __name__ == "__main__":
    {"environment": environment, "planners": planners}[sys.argv[1]]()
