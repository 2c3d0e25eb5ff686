"""Dynamic programming over buckets and remaining lots, and its policies."""

from agents.dynamic_programming.policies import dp, dp_adaptive, dp_fine

__all__ = ["dp", "dp_adaptive", "dp_fine"]
