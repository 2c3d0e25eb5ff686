"""The policies ``lp``, ``lp-buffered`` and ``lp-scenario``, and the search for margins.

At every bucket a linear programme makes the best plan for the rest of the order at the current
estimates. The first bucket of the plan is posted. This is model predictive control (Rawlings, Mayne
& Diehl 2017, Model Predictive Control, chapter 1). ``model`` holds the programme as a HiGHS model,
``data`` puts an observation's numbers into it, ``policy`` is the policy, and ``two_stage`` the
stochastic programme.

``lp`` takes estimates for the truth. So it plans along the cheapest edge of the envelope, and half
the time fills are on the wrong side of it. ``lp-buffered`` keeps margins from the edges, which is
constraint tightening as in robust control (Mayne et al. 2005, Automatica 41). ``lp-scenario``
plans with the mean cost over several outcomes of the first bucket.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agents.lp.policy import LinearProgramme, Plan, Tuning
from agents.lp.two_stage import ScenarioProgramme
from agents.rollouts.allocation import play
from execution_env import Scenario
from execution_env.allocation.market.day_stream import VALIDATION, DayStream

__all__ = [
    "LinearProgramme",
    "Plan",
    "ScenarioProgramme",
    "Tuning",
    "lp",
    "lp_buffered",
    "lp_scenario",
]

TRIALS = 24
"""Largest number of pairs of margins that are tried."""

DECISIONS = 2500
"""Number of decisions per trial: 250 days of 10 buckets. Few suffice, because all trials play the
same days."""

FIRST_STEP, LAST_STEP = 0.08, 0.01
"""First and last step of the search, as fractions of the order."""


def lp(scenario: Scenario) -> LinearProgramme:
    """Return the plain linear programme."""
    return LinearProgramme(scenario)


def lp_scenario(
    scenario: Scenario,
    scenarios: int = 12,
    margins: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> ScenarioProgramme:
    """Return the two-stage stochastic programme; see ``ScenarioProgramme``."""
    return ScenarioProgramme(scenario, scenarios=scenarios, margins=margins, seed=seed)


def lp_buffered(
    scenario: Scenario,
    seed: int = 0,
    days: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> LinearProgramme:
    """Return the linear programme with the margins of least objective on tuning days.

    Its ``tuning`` holds the objectives. The search changes one margin at a time, and halves the
    step when no change helps (Hooke & Jeeves 1961, Direct search, J. ACM 8).

    Args:
        scenario: the scenario to play.
        seed: seed of the tuning days.
        days: number of tuning days; default as many as make 2,500 decisions, at least 30.
        progress: called with the number of trials made and its maximum.

    Raises:
        ValueError: ``days`` is not a positive whole number.
    """
    if days is None:
        days = max(30, DECISIONS // scenario.buckets)
    if isinstance(days, bool) or not isinstance(days, int | np.integer) or days < 1:
        raise ValueError(f"days = {days!r}: must be a whole number of tuning days, at least 1.")
    tuning_days = DayStream(scenario, seed, VALIDATION).draw(int(days))
    objectives: dict[tuple[float, float], float] = {}

    def tried(margins: tuple[float, float]) -> float:
        if margins not in objectives:
            policy = LinearProgramme(scenario, "lp-buffered", margins)
            objectives[margins] = float(play(policy, scenario, tuning_days).adjusted.mean())
            if progress is not None:
                progress(len(objectives), TRIALS)
        return objectives[margins]

    best, step = (0.0, 0.0), FIRST_STEP * scenario.lots
    tried(best)
    while step >= LAST_STEP * scenario.lots and len(objectives) < TRIALS:
        before = best
        for lower, upper in ((step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step)):
            margins = (max(best[0] + lower, 0.0), max(best[1] + upper, 0.0))
            if len(objectives) < TRIALS and tried(margins) < objectives[best]:
                best = margins
        if best == before:
            step /= 2.0
    if progress is not None:
        progress(TRIALS, TRIALS)
    policy = LinearProgramme(scenario, "lp-buffered", best)
    policy.tuning = Tuning(seed, int(days), objectives)
    return policy
