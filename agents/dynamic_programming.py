"""Dynamic programming: the best one can do knowing how many lots are left, and not the fills so far.

``dp`` is backward induction on (bucket, remaining lots), see ``backward_induction``, with draws of
the fill rates as they are predicted before the order starts: hidden day effects and liquidity are
part of a bucket's noise, drawn anew in every bucket. So it is optimal on the scenario's action grid
where buckets are independent given the action: no day effect, no persistent liquidity, no volume
noise under a cap or a tracking envelope. Elsewhere it is a rule like any other; what counts is what
it achieves, never its computed value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.backward_induction import Draws, Problem, Solution, pose, same_cells, solve
from agents.evaluation.rollouts import Progress
from agents.policy import Lots, Observations, Observed, Policy, grid_lots, read_observations
from execution_env import DayStream, Scenario
from execution_env.market import POLICY

WORK = 6e8
"""Fills to look at while solving: about 2 seconds."""

MOST_DRAWS = 65536
LEAST_DRAWS = 256
MOST_RATES = 1 << 22
"""Fill rates drawn: 16 bytes each with what belongs to them."""


class DynamicProgramming(Policy):
    """Grid actions from tables over bucket, remaining lots and postable lots.

    Args:
        scenario: that the policy is for.
        name: that tables call it by.
        problem: that was solved.
        solution: of it.

    Attributes:
        value: the objective that backward induction computed for the start. It is achieved, up to
            the noise of its draws, only where dynamic programming is optimal.
    """

    def __init__(self, scenario: Scenario, name: str, problem: Problem, solution: Solution) -> None:
        super().__init__(scenario, name)
        self._resolution, self._postable = problem.resolution, problem.postable
        self._actions = solution.actions
        self.value = float(solution.values[0, -1])

    def decide(self, observations: Observations) -> Lots:
        """(n, K) lots of the best grid action; of the nearest case in the tables where remaining
        or postable lots are in none.
        """
        observed = read_observations(self.scenario, observations)
        postable = observed.postable.astype(np.int32)
        return grid_lots(self.scenario, self._best(observed), postable, self._resolution)

    def _best(self, observed: Observed) -> NDArray[np.int64]:
        levels = self._postable.shape[2] - 1
        level = np.rint(observed.remaining * (levels / self.scenario.lots)).astype(np.int64)
        cases = self._postable[observed.bucket, :, level]
        case = np.abs(cases - observed.postable[:, None]).argmin(axis=1)
        best: NDArray[np.int64] = self._actions[observed.bucket, case, level].astype(np.int64)
        return best


def dp(scenario: Scenario, seed: int = 0, progress: Progress | None = None) -> DynamicProgramming:
    """``dp`` on the scenario's action grid.

    Args:
        scenario: to solve.
        seed: of the draws.
        progress: not called, it takes seconds.
    """
    return _solved(scenario, "dp", scenario.actions.resolution, seed)


def _solved(scenario: Scenario, name: str, resolution: int, seed: int) -> DynamicProgramming:
    problem = pose(scenario, resolution)
    return DynamicProgramming(
        scenario, name, problem, solve(problem, market_draws(problem, scenario, seed))
    )


def market_draws(problem: Problem, scenario: Scenario, seed: int) -> Draws:
    """Draws of the market as it is before the order starts, as many as there is time for."""
    source = same_cells(scenario)
    rooms = sum(len(np.unique(problem.postable[source == s])) for s in np.unique(source))
    most = min(MOST_DRAWS, MOST_RATES // scenario.predictions.size)
    count = min(int(WORK / (rooms * problem.lots.shape[1])), most)
    days = DayStream(scenario, seed, POLICY).draw(max(count, LEAST_DRAWS))
    return Draws(days.fill_rate, days.rounding, days.depth, source)
