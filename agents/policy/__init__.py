"""Policies: base classes, readers of observations, and loading by name or from a file."""

from agents.policy.base import GridPolicy, Judgement, LearnedPolicy, Policy, grid_lots
from agents.policy.loading import (
    BOUNDS,
    BUILT_IN,
    changes,
    check_fits,
    differences,
    load_policy,
    own_scenario,
    policy_names,
)
from agents.policy.observed import (
    Floats,
    Lots,
    Observations,
    Observed,
    read_masks,
    read_observations,
    read_postable,
    read_state,
    widths,
)

__all__ = [
    "BOUNDS",
    "BUILT_IN",
    "Floats",
    "GridPolicy",
    "Judgement",
    "LearnedPolicy",
    "Lots",
    "Observations",
    "Observed",
    "Policy",
    "changes",
    "check_fits",
    "differences",
    "grid_lots",
    "load_policy",
    "own_scenario",
    "policy_names",
    "read_masks",
    "read_observations",
    "read_postable",
    "read_state",
    "widths",
]
