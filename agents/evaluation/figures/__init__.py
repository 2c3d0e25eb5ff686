"""Figures of policies, comparisons and trainings, for notebooks, pages and run directories.

Every function returns a matplotlib ``Figure`` whose title states its finding. ``png`` turns a
figure into a PNG file. In a notebook:

>>> from IPython.display import Image  # doctest: +SKIP
>>> from agents.evaluation import compare, figures  # doctest: +SKIP
>>> result = compare(["lp", "dp", "twap"], "baseline", range(1000))  # doctest: +SKIP
>>> Image(figures.png(figures.objectives(result)))  # doctest: +SKIP
"""

from agents.evaluation.figures.allocations import allocations
from agents.evaluation.figures.costs import costs
from agents.evaluation.figures.day import day
from agents.evaluation.figures.fills import fills
from agents.evaluation.figures.frontier import frontier
from agents.evaluation.figures.headline import headline
from agents.evaluation.figures.heat_map import heat_map
from agents.evaluation.figures.learning import learning_curve, learning_curves
from agents.evaluation.figures.objectives import differences, objectives
from agents.evaluation.figures.scores import scores
from agents.evaluation.figures.style import png

__all__ = [
    "allocations",
    "costs",
    "day",
    "differences",
    "fills",
    "frontier",
    "headline",
    "heat_map",
    "learning_curve",
    "learning_curves",
    "objectives",
    "png",
    "scores",
]
