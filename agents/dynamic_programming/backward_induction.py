"""Backward induction over buckets, on the law of a bucket's fills.

Before bucket b, R lots remain and m = m_b(R) of them may be posted. g(a) lots fill when action a of
an allocation grid is played. Then

    V_b(R) = min_a  cost_b(a, m) + E W_b(R - g(a)),        W_b(R') = penalty_b(R') + V_{b+1}(R'),

V_B = 0 (Bellman 1957, Dynamic Programming; Puterman 2005, Markov Decision Processes, section 4.5).
The penalty is for lots outside the envelope, and after the last bucket for those left over. The
expectation is a mean over draws of (F, u), the fill rates and rounding of one bucket, joint over
algos. Fills and penalties are the formulas of ``transition``. The law of g depends on R through m
only. So it is counted once per m and action, and serves all R and all buckets with the same draws.

Where levels of R are further apart than a lot, W is interpolated linearly between them: a fill that
ends between two levels is spread over both.

With shortfall costs the mid's move M_b, in basis points against us, is charged to the lots that
remain after the bucket. Given the past, its mean is zero, so

    E M_b (R - sum_i g_i) / n = -E M_b sum_i g_i / n:

the lots that wait cost nothing on average. Only the covariance of the move with the bucket's own
fills is left, which is adverse selection. It is estimated from the same joint draws. M_b is taken
about its mean over them, because R times that mean is noise that all actions share. So a filled lot
of algo i is charged

    spread_i + fee_i - (M_b - mean M_b)

per draw (see ``filled_prices``), and all fills of a bucket are joint with its move.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.dynamic_programming.problem import Floats, Ints, Problem
from agents.policy import Lots
from execution_env import Days
from execution_env.allocation.formulas import (
    distance_outside,
    filled_lots,
    filled_price,
    posting_price,
    residual_price,
)
from execution_env.allocation.parameters import Parameters
from execution_env.core.jit import jit

MEMORY = 1 << 23
"""Largest number of probabilities held at a time; they take 64 MiB."""


class Draws(NamedTuple):
    """D draws of the market in each bucket.

    Attributes:
        fill_rate, rounding, depth: (B, K, D), as in ``market.days.Days``.
        source: (B,) for every bucket the one whose draws it uses.
        price: (B, K, D) cost of a filled lot with shortfall, basis points per share of the order,
            see ``filled_prices``; (0, 0, 0) without shortfall.
    """

    fill_rate: NDArray[np.float32]
    rounding: NDArray[np.float32]
    depth: Ints
    source: NDArray[np.int64]
    price: Floats = np.empty((0, 0, 0))


class Solution(NamedTuple):
    """Result of backward induction.

    Attributes:
        actions: (B, L, J + 1) int16, the best action.
        values: (B + 1, J + 1) objective from each bucket on, per share of the parent order.
    """

    actions: NDArray[np.int16]
    values: Floats


def filled_prices(parameters: Parameters, days: Days) -> Floats:
    """Return (B, K, n) the cost of a filled lot on each of ``days``, per share of the order.

    With shortfall it is spread plus fee minus the mid's move about its mean over the days, because
    a filled lot does not pay the move.
    """
    moves = days.move - days.move.mean(axis=1, keepdims=True)
    prices = np.empty(days.spread.shape)
    _filled_prices(parameters, days.spread, moves, prices)
    return prices


@jit
def _filled_prices(parameters: Parameters, spread: Floats, moves: Floats, prices: Floats) -> None:
    order = parameters.order[0]
    for b in range(prices.shape[0]):
        for i in range(prices.shape[1]):
            fee = parameters.algos[i].fee
            for d in range(prices.shape[2]):
                prices[b, i, d] = filled_price(order, spread[b, i, d], fee, moves[b, d])


def solve(problem: Problem, draws: Draws) -> Solution:
    """Return the best action and the value of every state, by backward induction."""
    order, buckets = problem.parameters.order[0], len(problem.lower)
    values = np.zeros((buckets + 1, problem.levels + 1))
    actions = np.zeros(problem.postable.shape, np.int16)
    after = np.empty(problem.levels + 1)
    count = problem.lots.shape[1]
    width = problem.levels + 2
    part = min(max(MEMORY // (count * width), 1), problem.rooms.size)
    probability, cost = np.empty((part, count, width)), np.empty((part, count))
    last = np.empty((part, count), np.int64)
    held, unpriced = (-1, -1), np.empty((0, 0))
    for bucket in range(buckets - 1, -1, -1):
        lower, upper = problem.lower[bucket], problem.upper[bucket]
        continuation(order, lower, upper, bucket, values[bucket + 1], after)
        best = np.full(problem.postable.shape[1:], np.inf)
        source = draws.source[bucket]
        of_source = np.flatnonzero(draws.source == source)
        needed = np.unique(np.concatenate([problem.runs[b][:, 0] for b in of_source]))
        for first in range(0, needed.size, part):
            which = needed[first : first + part]
            if held != (source, first):
                _count(
                    order,
                    problem.parameters.cells[bucket],
                    problem.lots,
                    problem.distinct,
                    which,
                    draws.fill_rate[source],
                    draws.rounding[source],
                    draws.depth[source],
                    draws.price[source] if order["shortfall"] else unpriced,
                    probability,
                    last,
                    cost,
                )
                held = (source, first)
            _improve(
                probability, last, cost, which, problem.runs[bucket], after, best, actions[bucket]
            )
        values[bucket] = best[0]
    return Solution(actions, values)


@jit
def continuation(
    order: Any, lower: float, upper: float, bucket: int, following: Floats, after: Floats
) -> None:
    """Write W, penalty after ``bucket`` plus ``following``, at every level of remaining lots."""
    share = 1.0 / (following.size - 1)
    for j in range(following.size):
        left = j * share
        if bucket + 1 == order.buckets:
            after[j] = residual_price(order.residual_penalty, order.residual_quadratic, left)
        else:
            distance = distance_outside(lower, upper, order.lots * (1.0 - left))
            after[j] = order.envelope_penalty * order.per_lot * distance + following[j]


@jit
def _count(
    order: Any,
    cells: NDArray[Any],
    lots: Ints,
    distinct: NDArray[np.bool_],
    which: Lots,
    fill_rate: NDArray[np.float32],
    rounding: NDArray[np.float32],
    depth: Ints,
    filled_price: Floats,
    probability: Floats,
    last: Lots,
    cost: Floats,
) -> None:
    """Count the fills in the draws, for the rooms ``which``.

    Args:
        order, cells: order parameters, and cell parameters of one bucket.
        lots, distinct: as in ``Problem``.
        which: (m,) indices of rooms.
        fill_rate, rounding, depth: (K, D) draws.
        filled_price: (K, D) cost of a filled lot in each draw, with shortfall.
        probability: (m, A, J + 2), written: probability that an action's fills take off 0, 1, ...
            levels.
        last: (m, A), written: largest number of levels that may be taken off.
        cost: (m, A), written: expected cost per share of the order; inf where not distinct.
    """
    draws = np.uint64(fill_rate.shape[1])
    levels = probability.shape[2] - 2
    step = levels * order.per_lot
    total = np.empty(draws, np.int32)
    for j in range(which.size):
        for action in range(lots.shape[1]):
            cost[j, action] = np.inf
            if not distinct[which[j], action]:
                continue
            for d in range(draws):
                total[d] = 0
            price = 0.0
            posted = 0
            for i in range(lots.shape[2]):
                x = lots[which[j], action, i]
                if x == 0:
                    continue
                posted += x
                ours, paid = 0, 0.0
                for d in range(draws):
                    filled = filled_lots(
                        x, np.float64(fill_rate[i, d]), np.float64(rounding[i, d]), depth[i, d]
                    )
                    total[d] += filled
                    ours += filled
                    if order.shortfall:
                        paid += filled_price[i, d] * filled
                charged = ours / draws if order.charge_filled else np.float64(x)
                if order.shortfall:
                    price += paid / draws
                else:
                    price += posting_price(order, cells[i].cost) * charged
            cost[j, action] = price
            law = probability[j, action]
            last[j, action] = min(np.int64(np.ceil(posted * step)), levels)
            for k in range(last[j, action] + 2):
                law[k] = 0.0
            if levels == order.lots:
                for d in range(draws):
                    law[total[d]] += 1.0
            else:
                for d in range(draws):
                    taken = total[d] * step
                    whole = np.int64(taken)
                    law[whole] += 1.0 - (taken - whole)
                    law[whole + 1] += taken - whole
            for k in range(last[j, action] + 1):
                law[k] /= draws


@jit
def _improve(
    probability: Floats,
    last: Lots,
    cost: Floats,
    which: Lots,
    runs: Lots,
    after: Floats,
    best: Floats,
    actions: NDArray[np.int16],
) -> None:
    """Minimise cost + E W at all levels of remaining lots that have one of the rooms ``which``."""
    expected = np.empty(after.size)
    j = 0
    for run in range(runs.shape[0]):
        room, case, start, stop = runs[run]
        while j < which.size and which[j] < room:
            j += 1
        if j == which.size:
            return
        if which[j] != room:
            continue
        size = np.uint64(stop - start)
        for action in range(cost.shape[1]):
            if cost[j, action] == np.inf:
                continue
            for r in range(size):
                expected[r] = cost[j, action]
            for k in range(min(last[j, action], stop - 1) + 1):
                chance = probability[j, action, k]
                if chance == 0.0:
                    continue
                skip = max(k - start, 0)  # levels with fewer than k levels of lots left
                ahead = after[start + skip - k : stop - k]
                ours = expected[skip:]
                for r in range(np.uint64(stop - start - skip)):
                    ours[r] += chance * ahead[r]
            value = best[case, start:stop]
            choice = actions[case, start:stop]
            for r in range(size):
                if expected[r] < value[r]:
                    value[r] = expected[r]
                    choice[r] = action
