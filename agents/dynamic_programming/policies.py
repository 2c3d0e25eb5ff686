"""Policies from dynamic programming over buckets and remaining lots.

``dp`` is backward induction on (bucket, remaining lots), see ``backward_induction``. It knows the
lots left, but not the fills so far. It draws fill rates as predicted before the order starts.
Hidden day effects and liquidity are part of a bucket's noise, drawn anew in every bucket. So ``dp``
is optimal on the scenario's action grid where buckets are independent given the action: no day
effect, no persistent liquidity, no volume noise under a cap or a tracking envelope, no volume that
persists with depth. Elsewhere it is a heuristic, and only its achieved objective counts, not the
value it computed.

``dp-fine`` does the same on a finer grid.

``dp-adaptive`` also uses the estimates, which learn from the fills. In every bucket it acts as dp
would if this and later buckets k had the predictions clip(m_i f[k, i], 0, 1). The multipliers m_i
are those of ``estimation``; with depth they are estimate over prediction. See ``laws`` for the
fills of a bucket. This is certainty equivalence (Bertsekas 2017, Dynamic Programming and Optimal
Control, volume I, section 6.2): it does not post in order to learn. Tables are solved for a grid of
multipliers, and the nearest one decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.dynamic_programming.backward_induction import (
    Draws,
    Solution,
    continuation,
    filled_prices,
    solve,
)
from agents.dynamic_programming.conditional_induction import (
    Allocations,
    Scratch,
    allocations,
    best_in_bucket,
    scratch,
)
from agents.dynamic_programming.laws import Laws, hidden_sd, laws
from agents.dynamic_programming.problem import Problem, levels_of, pose, same_cells
from agents.policy import Lots, Observations, Observed, Policy, grid_lots, read_observations
from agents.rollouts.allocation import Progress, play
from execution_env import DayStream, Scenario
from execution_env.allocation.actions import grid_size
from execution_env.allocation.adverse_selection import moves_with_factor
from execution_env.allocation.formulas import posting_price
from execution_env.allocation.market.day_stream import POLICY
from execution_env.allocation.market.model import market_model
from execution_env.allocation.parameters import Parameters
from execution_env.core.jit import jit

Floats = NDArray[np.float64]

WORK = 6e8
"""Number of fills counted while solving, which takes about 2 seconds."""

MOST_DRAWS = 65536
LEAST_DRAWS = 64
MOST_RATES = 1 << 22
"""Largest number of fill rates drawn; each takes 16 bytes with its other numbers, 32 with
shortfall."""

FINE, FINE_ACTIONS = 12, 1500
"""Largest resolution and number of actions of the grid of ``dp-fine``."""

MOST_TABLES = 1000
"""Largest number of tables of ``dp-adaptive``, one for each combination of multipliers."""

MOST_VALUES = 40
"""Largest number of multipliers of an algo in these tables."""

MOST_ENTRIES = 1 << 26
"""Largest number of actions in all these tables together, 2 bytes each."""

ADAPTIVE_WORK = 2e9
"""Number of actions times fills in solving these tables, which takes about 4 seconds."""

ADAPTIVE_LEVELS = 128
"""Largest number of levels of remaining lots in these tables."""

RECORDED = 1000
"""Number of days on which multipliers are recorded, to find the range that tables must cover."""

COVERED = (0.005, 0.995)
"""Quantiles of the recorded multipliers that limit the range of the tables."""

LEAST_MULTIPLIER = 0.02

TABLES_PER_REPORT = 64
"""Number of tables between reports of progress."""


class DynamicProgramming(Policy):
    """Policy that reads grid actions from tables over bucket, remaining lots and postable lots.

    Args:
        scenario: the scenario to play.
        name: name in tables.
        problem: the problem that was solved.
        solution: its solution.

    Attributes:
        value: objective at the start, as backward induction computed it. The policy achieves it, up
            to the noise of its draws, only where dynamic programming is optimal.
    """

    def __init__(self, scenario: Scenario, name: str, problem: Problem, solution: Solution) -> None:
        super().__init__(scenario, name)
        self._resolution, self._postable = problem.resolution, problem.postable
        self._actions = solution.actions
        self.value = float(solution.values[0, -1])

    def decide(self, observations: Observations) -> Lots:
        """Return the (n, K) lots of the best grid action.

        Where the tables do not have the remaining or postable lots, the nearest case decides.
        """
        observed = read_observations(self.scenario, observations)
        levels = self._postable.shape[2] - 1
        level = np.rint(observed.remaining * (levels / self.scenario.lots)).astype(np.int64)
        cases = self._postable[observed.bucket, :, level]
        case = np.abs(cases - observed.postable[:, None]).argmin(axis=1)
        actions = self._actions[(*self._table(observed), observed.bucket, case, level)]
        postable = observed.postable.astype(np.int32)
        return grid_lots(self.scenario, actions.astype(np.int64), postable, self._resolution)

    def _table(self, _: Observed) -> tuple[NDArray[np.int64], ...]:
        """Return the indices (n,) of the table that decides; () where there is one table."""
        return ()


class AdaptiveDynamicProgramming(DynamicProgramming):
    """Policy that reads grid actions from tables over bucket, lots and multipliers.

    The lots are the remaining and the postable lots.

    Args:
        scenario: the scenario to play.
        name: name in tables.
        problem: the problem that was solved.
        multipliers: K grids, ascending.
        solution: actions (C, B, L, J + 1) for every combination of multipliers, the last algo's
            changing fastest; the value is that of ``dp``, with the predictions before the start.
    """

    def __init__(
        self,
        scenario: Scenario,
        name: str,
        problem: Problem,
        multipliers: list[Floats],
        solution: Solution,
    ) -> None:
        super().__init__(scenario, name, problem, solution)
        self._multipliers = multipliers

    def _table(self, observed: Observed) -> tuple[NDArray[np.int64], ...]:
        multipliers = multipliers_of(self.scenario, observed)
        table = np.zeros(observed.bucket.size, np.int64)
        for i, grid in enumerate(self._multipliers):
            middles = np.sqrt(grid[1:] * grid[:-1])
            table = table * grid.size + np.searchsorted(middles, multipliers[:, i])
        return (table,)


def multipliers_of(scenario: Scenario, observed: Observed) -> Floats:
    """Return the (n, K) multipliers m, estimate over prediction; 1 where the prediction is 0."""
    f = scenario.predictions[observed.bucket]
    multipliers: Floats = np.divide(observed.estimates, f, out=np.ones_like(f), where=f > 0)
    return multipliers


def dp(scenario: Scenario, seed: int = 0) -> DynamicProgramming:
    """Return ``dp`` on the scenario's action grid.

    Args:
        scenario: the scenario to solve.
        seed: seed of the draws.
    """
    return _solved(scenario, "dp", scenario.actions.resolution, seed)


def dp_fine(scenario: Scenario, seed: int = 0) -> DynamicProgramming:
    """Return ``dp`` on a finer grid, which includes the scenario's actions.

    Its resolution is the largest multiple of the scenario's that is at most ``FINE`` and has at
    most ``FINE_ACTIONS`` actions.

    Args:
        scenario: the scenario to solve.
        seed: seed of the draws.
    """
    own = scenario.actions.resolution
    algos = len(scenario.algos)
    finer = [r for r in range(own, FINE + 1, own) if grid_size(algos, r) <= FINE_ACTIONS]
    return _solved(scenario, "dp-fine", max([own, *finer]), seed)


def _solved(scenario: Scenario, name: str, resolution: int, seed: int) -> DynamicProgramming:
    problem = pose(scenario, resolution)
    solution = solve(problem, market_draws(problem, scenario, seed))
    return DynamicProgramming(scenario, name, problem, solution)


def market_draws(problem: Problem, scenario: Scenario, seed: int) -> Draws:
    """Draw the market as predicted before the order starts, as often as ``WORK`` allows."""
    source = same_cells(scenario)
    rooms = sum(len(np.unique(problem.postable[source == s])) for s in np.unique(source))
    most = min(MOST_DRAWS, MOST_RATES // scenario.predictions.size)
    count = min(int(WORK / (rooms * problem.lots.shape[1])), most)
    days = DayStream(scenario, seed, POLICY).draw(max(count, LEAST_DRAWS))
    drawn = days.fill_rate, days.rounding, days.depth, source
    if not scenario.shortfall:
        return Draws(*drawn)
    return Draws(*drawn, filled_prices(problem.parameters, days))


def dp_adaptive(
    scenario: Scenario, seed: int = 0, progress: Progress | None = None
) -> DynamicProgramming:
    """Return ``dp`` at the current estimates.

    It is ``dp`` itself where estimates are the same for every order: where nothing hidden can be
    learned and no order has its own prediction.

    The noise around an estimate is all noise of the scenario, as for dp. With the bucket's own
    noise alone the objective on 10,000 validation days was higher, that is worse: 0.726 instead of
    0.725 on baseline, 0.900 instead of 0.890 on drifting, 1.125 instead of 1.100 on vwap-u-shape.

    Args:
        scenario: the scenario to solve.
        seed: seed of the draws.
        progress: called with the number of tables solved since the last call.
    """
    plain = _solved(scenario, "dp-adaptive", scenario.actions.resolution, seed)
    model = market_model(scenario)
    differing = (hidden_sd(model) > 0) | (model.prediction_sd > 0)
    if not differing.any():
        return plain
    levels = levels_of(scenario.lots, ADAPTIVE_LEVELS)
    problem = pose(scenario, levels=levels)
    multipliers = _multiplier_grids(plain, differing, _most_tables(problem), seed)
    split = allocations(scenario, problem.resolution, levels)
    sources, cell = np.unique(same_cells(scenario), return_inverse=True)
    law, moves = laws(scenario, sources, multipliers), moves_with_factor(scenario)
    sizes = [grid.size for grid in multipliers]
    combinations = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)
    rows = np.rint(problem.postable * (levels / scenario.lots)).astype(np.int64)
    rows = np.minimum(rows, np.arange(levels + 1))
    actions = np.empty((len(combinations), *problem.postable.shape), np.int16)
    memory = scratch(split)
    for first in range(0, len(combinations), TABLES_PER_REPORT):
        some = slice(first, min(first + TABLES_PER_REPORT, len(combinations)))
        _solve_tables(
            problem.parameters,
            split,
            problem.lower,
            problem.upper,
            rows,
            law,
            moves,
            cell.reshape(-1),
            combinations[some],
            memory,
            actions[some],
        )
        if progress is not None:
            progress(some.stop - first)
    solution = Solution(actions, np.full((1, 1), plain.value))
    return AdaptiveDynamicProgramming(scenario, "dp-adaptive", problem, multipliers, solution)


def _most_tables(problem: Problem) -> int:
    """Return the number of tables that time and memory allow, at least 1."""
    size = problem.postable.size
    fills = problem.postable.sum() * (problem.levels / problem.parameters.order[0]["lots"])
    work = (fills + size) * problem.lots.shape[1]
    return int(max(min(MOST_TABLES, ADAPTIVE_WORK / work, MOST_ENTRIES / size), 1))


def _multiplier_grids(
    policy: DynamicProgramming, differing: NDArray[np.bool_], most: int, seed: int
) -> list[Floats]:
    """Return K grids of multipliers with at most ``most`` combinations.

    They cover nearly all multipliers seen while ``policy`` plays, evenly in their logarithms. The
    next value always goes to the algo whose values are furthest apart.
    """
    recorder = _Recorder(policy)
    play(recorder, policy.scenario, DayStream(policy.scenario, seed, POLICY).draw(RECORDED))
    seen = np.concatenate(recorder.seen)
    low, high = np.maximum(np.quantile(seen, COVERED, axis=0), LEAST_MULTIPLIER)
    width = np.where(differing, np.log(high / low), 0.0)
    sizes = np.ones(width.size, np.int64)
    while True:
        fits = (width > 0) & (sizes < MOST_VALUES) & (np.prod(sizes) // sizes * (sizes + 1) <= most)
        if not fits.any():
            break
        sizes[np.argmax(np.where(fits, width / sizes, -1.0))] += 1
    return [
        np.geomspace(low[i], high[i], size) if size > 1 else np.ones(1)
        for i, size in enumerate(sizes)
    ]


class _Recorder(Policy):
    """Policy that decides as another one does, and records the multipliers it meets."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.scenario, policy.name)
        self.policy = policy
        self.seen: list[Floats] = []

    def decide(self, observations: Observations) -> Lots:
        observed = read_observations(self.scenario, observations)
        self.seen.append(multipliers_of(self.scenario, observed))
        return self.policy.decide(observations)


@jit
def _solve_tables(
    parameters: Parameters,
    split: Allocations,
    lower: Floats,
    upper: Floats,
    rows: Lots,
    law: Laws,
    moves: Floats,
    cell: Lots,
    combinations: Lots,
    memory: Scratch,
    actions: NDArray[np.int16],
) -> None:
    order = parameters.order[0]
    levels = split.rooms.size - 1
    step = levels * order.per_lot if levels < order.lots else 1.0
    algos = combinations.shape[1]
    value, following = np.empty(levels + 1), np.empty(levels + 1)
    rate = np.empty((algos, law.rates.shape[3]), np.float32)
    price, limit, spared = np.empty(algos), np.empty(rate.shape), np.empty(law.tied.shape)
    for c in range(combinations.shape[0]):
        known = -1
        for j in range(levels + 1):
            following[j] = 0.0
        for b in range(order.buckets - 1, -1, -1):
            continuation(order, lower[b], upper[b], b, following, memory.ahead[0])
            for i in range(algos):
                price[i] = posting_price(order, parameters.cells[b, i].cost)
            if cell[b] != known:
                known = cell[b]
                memory.first[:] = -1
                for i in range(algos):
                    for s in range(law.rates.shape[3]):
                        rate[i, s] = law.rates[i, combinations[c, i], known, s]
                        limit[i, s] = law.limits[i, combinations[c, i], known, s]
                    for s in range(law.tied.shape[1]):
                        spared[i, s] = moves[b] * law.tied[i, s] * order.per_lot
            for case in range(rows.shape[1]):
                best_in_bucket(
                    split,
                    rows[b, case],
                    0,
                    step,
                    price,
                    order.charge_filled,
                    rate,
                    limit,
                    spared,
                    memory,
                    value,
                    actions[c, b, case],
                )
                if case == 0:
                    for j in range(levels + 1):
                        following[j] = value[j]
