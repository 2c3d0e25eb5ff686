"""The receding-horizon linear programme, and variants that allow for uncertain fills."""

from agents.lp.policy import LinearProgramme, Plan, Tuning
from agents.lp.two_stage import ScenarioProgramme
from agents.lp.variants import lp, lp_buffered, lp_scenario

__all__ = [
    "LinearProgramme",
    "Plan",
    "ScenarioProgramme",
    "Tuning",
    "lp",
    "lp_buffered",
    "lp_scenario",
]
