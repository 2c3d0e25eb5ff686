"""Dynamic programming over buckets and remaining lots, and the policies that follow from it."""

from agents.dynamic_programming.policies import dp, dp_adaptive, dp_fine

__all__ = ["dp", "dp_adaptive", "dp_fine"]
