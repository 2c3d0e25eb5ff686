"""The hindsight bound: an objective that no policy can beat on any day.

``hindsight`` knows everything about a day, rounding included, and chooses among all allocations in
lots. C lots have filled so far. c_b(g, m) is the least cost of posting at most m lots so that
exactly g fill in bucket b of this day. Then

    V_b(C) = min_{g <= m_b(C)}  c_b(g, m_b(C)) + penalty_b(C + g) + V_{b+1}(C + g),

which is solved exactly. With shortfall costs c_b charges spread and fee of this day. The penalty
then includes the mid's move of bucket b on the n - C - g lots left after it. After the last bucket
it also includes the clean-up at this day's touch.

c_b comes from the algos' staircases, which are joined one algo after the other. A staircase gives
the fewest lots to post for every number of lots that can fill.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.bounds.day_limits import penalty_after, postable_lots, reach_of
from agents.dynamic_programming.problem import envelopes
from agents.rollouts.allocation import Progress
from execution_env import Days, Scenario
from execution_env.allocation.formulas import filled_lots, filled_price, posting_price
from execution_env.allocation.orders import Market
from execution_env.allocation.parameters import Parameters, parameters
from execution_env.core.jit import inner_inline, jit

MOST_POSTED = 2000
"""Largest number of lots in a bucket that ``hindsight`` accepts; tables grow with its square."""

DAYS_PER_REPORT = 512
"""Number of days between reports of progress."""

Floats = NDArray[np.float64]


def hindsight(scenario: Scenario, days: Days, progress: Progress | None = None) -> Floats:
    """Return the least objective of every day, (n,) per share of the parent order.

    It is exact but for rounding of the order of 1e-15, with one exception: caps on participation
    whose window looks back further than one bucket and not to the start. There, past fills are
    taken to lie outside the window as far as they can. So more may be posted, and the result is
    still a lower bound.

    Args:
        scenario: scenario of the days.
        days: n days.
        progress: called now and then, with the number of days done since the last call.

    Raises:
        ValueError: more than ``MOST_POSTED`` lots can be posted in one bucket.
    """
    most = most_postable(scenario, days)
    if most > MOST_POSTED:
        raise ValueError(
            f"hindsight looks at every split of up to {MOST_POSTED:,} lots in a bucket, but here "
            f"{most:,} may be posted; choose a larger order.lot_size."
        )
    objective = np.empty(days.size)
    for first in range(0, days.size, DAYS_PER_REPORT):
        part = days.part(slice(first, min(first + DAYS_PER_REPORT, days.size)))
        lower, upper = envelopes(scenario, part.volume)
        market = Market._make(np.ascontiguousarray(array) for array in part.seen)
        _hindsight(
            parameters(scenario),
            market,
            lower,
            upper,
            most,
            objective[first : first + DAYS_PER_REPORT],
        )
        if progress is not None:
            progress(part.size)
    return objective


def most_postable(scenario: Scenario, days: Days) -> int:
    """Return an upper limit of the lots that can be posted in any bucket of ``days``."""
    order = parameters(scenario).order[0]
    most = int(order["max_posted"])
    if order["capped"] and days.size:
        volume = np.cumsum(days.volume, axis=0) - days.volume + scenario.expected_volume[:, None]
        if order["window"] == 1:
            volume = np.broadcast_to(scenario.expected_volume[:, None], volume.shape)
        most = min(most, int(order["max_rate"] * volume.max() + 1.0))
    return max(most, 1)


@jit
def _hindsight(
    parameters: Parameters, market: Market, lower: Floats, upper: Floats, most: int, out: Floats
) -> None:
    order = parameters.order[0]
    buckets, algos = order.buckets, market.fill_rate.shape[1]
    cap, reach = np.empty(buckets), np.empty(buckets + 1, np.int64)
    value, after = np.empty(order.lots + 1), np.empty(order.lots + 1)
    least = np.empty((2, most + 1, most + 1))
    posted, filled = np.empty((2, algos, most + 1), np.int64)
    jumps, turn = np.empty(algos, np.int64), np.empty(algos, np.int64)
    price = np.empty(algos)
    for day in range(out.size):
        reach_of(parameters, market.volume, upper, day, cap, reach)
        touch = market.touch[0, day] if order.shortfall else order.residual_penalty
        for b in range(buckets - 1, -1, -1):
            move = market.move[b, day] if order.shortfall else 0.0
            for done in range(reach[b + 1] + 1):
                after[done] = penalty_after(
                    order, b, lower[b, day], upper[b, day], move, touch, done
                )
                if b + 1 < buckets:
                    after[done] += value[done]
            outside = reach[max(b + 1 - order.window, 0)]
            room = postable_lots(order, cap[b], upper[b, day], 0, outside)
            for i in range(algos):
                jumps[i] = _staircase(market, b, i, day, room, posted[i], filled[i])
                price[i] = posting_price(order, parameters.cells[b, i].cost)
                if order.shortfall:
                    # The move is in ``penalty_after``.
                    fee = parameters.algos[i].fee
                    price[i] = filled_price(order, market.spread[b, i, day], fee, 0.0)
            _most_first(jumps, turn)
            now = _least_cost(order.charge_filled, price, room, turn, jumps, posted, filled, least)
            for done in range(reach[b] + 1):
                room = postable_lots(order, cap[b], upper[b, day], done, outside)
                cost, ahead = least[now, room], after[done:]
                best = np.inf
                for g in range(np.uint64(room + 1)):
                    best = min(best, cost[g] + ahead[g])
                value[done] = best
        out[day] = value[0]


@inner_inline
def _staircase(
    market: Market, bucket: int, algo: int, day: int, room: int, posted: Any, filled: Any
) -> int:
    """Write the fewest lots to post for every number of lots that can fill.

    Returns:
        Number of entries written to ``posted`` and ``filled``.
    """
    rate = np.float64(market.fill_rate[bucket, algo, day])
    rounding = np.float64(market.rounding[bucket, algo, day])
    depth = market.depth[bucket, algo, day]
    posted[0] = filled[0] = 0
    count = 1
    for x in range(1, room + 1):
        fill = filled_lots(np.int32(x), rate, rounding, depth)
        if fill > filled[count - 1]:
            posted[count], filled[count] = x, fill
            count += 1
    return count


@inner_inline
def _most_first(jumps: Any, turn: Any) -> None:
    """Write into ``turn`` the indices of ``jumps`` (K,), the largest first."""
    for i in range(jumps.size):
        place = i
        while place > 0 and jumps[turn[place - 1]] < jumps[i]:
            turn[place] = turn[place - 1]
            place -= 1
        turn[place] = i


@inner_inline
def _least_cost(
    charge_filled: bool,
    price: Floats,
    room: int,
    turn: Any,
    jumps: Any,
    posted: Any,
    filled: Any,
    least: Floats,
) -> int:
    """Write the least cost of posting at most p lots so that exactly g fill.

    Algos join one after the other, in ``turn``. An algo with j jumps costs j p^2 / 2 operations,
    except the first, so the one with the most jumps is first. ``price`` (K,) is the price of a
    filled lot if ``charge_filled``, else of a posted one.

    Returns:
        Index ``now``: the costs are ``least[now, p, g]`` for g <= p <= ``room``.
    """
    now, used = 0, 0
    for p in range(room + 1):
        for g in range(np.uint64(p + 1)):
            least[0, p, g] = np.inf
    least[0, 0, 0] = 0.0
    for j in range(turn.size):
        i = turn[j]
        old, new = least[now], least[1 - now]
        for p in range(room + 1):
            for g in range(np.uint64(p + 1)):
                new[p, g] = old[p, g]
        for jump in range(1, jumps[i]):
            x, fill = posted[i, jump], filled[i, jump]
            cost = price[i] * (fill if charge_filled else x)
            for p in range(min(used, room - x) + 1):
                before, then = old[p], new[p + x, fill:]
                for g in range(np.uint64(p + 1)):
                    then[g] = min(then[g], before[g] + cost)
        used = room if jumps[i] > 1 else used
        now = 1 - now
    for p in range(1, room + 1):
        fewer, here = least[now, p - 1], least[now, p]
        for g in range(np.uint64(p)):
            here[g] = min(here[g], fewer[g])
    return now
