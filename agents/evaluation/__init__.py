"""Evaluation of policies on held-out days: comparison, statistics, figures.

>>> from agents.evaluation import compare
>>> compare(["twap", "runs/first"], "baseline", range(1000)).objectives  # doctest: +SKIP
"""

from agents.evaluation.allocation.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
