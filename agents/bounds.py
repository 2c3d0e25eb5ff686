"""What nobody can beat: the objective with hindsight, and that of a clairvoyant.

``hindsight`` knows everything about a day, rounding included, and chooses among all allocations in
lots. With C lots filled so far, and C_b(g, m) the least cost of posting at most m lots so that
exactly g fill in bucket b of this day,

    V_b(C) = min_{g <= m_b(C)}  C_b(g, m_b(C)) + penalty_b(C + g) + V_{b+1}(C + g)

which is solved exactly. No policy gets below it on any day, whatever it does.

``clairvoyant`` knows what is hidden about a day (the day effects, the whole path of liquidity, the
volumes) and not the noise of single buckets and rounding. So algos and buckets are independent for
it, and backward induction over the remaining lots on the scenario's action grid gives the least
expected objective given what it knows. No policy on that grid is better in expectation, since it
knows less. Expectations are means over sampled noise, drawn independently for every bucket, algo and
day without bias; the minimum over actions of such means lies below the true one in expectation, so
sampling errs on the side of the bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri  # type: ignore[import-untyped]

from agents.backward_induction import LEVELS, envelopes, levels_of
from agents.conditional_induction import Allocations, Scratch, allocations, best_in_bucket, scratch
from agents.evaluation.rollouts import Progress
from agents.jit import inline, jit
from execution_env import Days, Scenario
from execution_env.market import POLICY, MarketModel, logistic, market_model, stream_generator
from execution_env.parameters import Parameters, parameters
from execution_env.transition import (
    Index,
    Market,
    distance_outside,
    envelope_room,
    filled_lots,
    participation_room,
    residual_price,
)

MOST_POSTED = 2000
"""Lots in a bucket up to which hindsight looks at all ways to split them: tables have their square."""

CHUNK = 512
"""Days between reports of progress."""

Floats = NDArray[np.float64]


def hindsight(scenario: Scenario, days: Days, progress: Progress | None = None) -> Floats:
    """The least objective of every day, (n,) per share of the parent order.

    Exact but for rounding of the order of 1e-15, and for caps on participation whose window looks
    back further than one bucket and not to the start: there, past fills are taken to lie outside
    the window as far as they can, which lets more be posted and so keeps the bound a bound.

    Args:
        scenario: what the days are of.
        days: n of them.
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
    for first in range(0, days.size, CHUNK):
        part = days.part(slice(first, min(first + CHUNK, days.size)))
        lower, upper = envelopes(scenario, part.volume)
        market = Market._make(np.ascontiguousarray(array) for array in part[:4])
        _hindsight(
            parameters(scenario), market, lower, upper, most, objective[first : first + CHUNK]
        )
        if progress is not None:
            progress(part.size)
    return objective


def most_postable(scenario: Scenario, days: Days) -> int:
    """An upper limit of the lots that can be posted in any bucket of ``days``."""
    order = parameters(scenario).order[0]
    most = int(order["max_posted"])
    if order["capped"] and days.size:
        volume = np.cumsum(days.volume, axis=0) - days.volume + scenario.expected_volume[:, None]
        if order["window"] == 1:
            volume = np.broadcast_to(scenario.expected_volume[:, None], volume.shape)
        most = min(most, int(order["max_rate"] * volume.max() + 1.0))
    return max(most, 1)


@inline
def cap_volume(
    order: Any, bucket: int, expected: float, volume: Floats, day: int
) -> tuple[int, Any]:
    """The first bucket of the participation window of ``bucket``, and the volume in it."""
    oldest = max(bucket + 1 - order.window, 0)
    total = 0.0
    for past in range(oldest, bucket):
        total += volume[past, day]
    return oldest, total + expected


@inline
def postable_lots(order: Any, cap: float, upper: float, filled: Index, outside: Index) -> Any:
    """Lots that may be posted when ``filled`` have filled, at most ``outside`` of them before the
    participation window; ``cap`` is the room in that window without fills.
    """
    room: Any = min(np.float64(order.lots - filled), np.float64(order.max_posted))
    if order.capped:
        room = min(room, cap - max(filled - outside, 0))
    if order.hard_upper:
        room = min(room, envelope_room(upper, np.float64(filled)))
    return np.int64(max(room, 0.0))


@inline
def penalty_after(order: Any, bucket: int, lower: float, upper: float, filled: Index) -> Any:
    """Per share of the order, when ``filled`` lots have filled at the end of ``bucket``."""
    if bucket + 1 == order.buckets:
        left = (order.lots - filled) * order.per_lot
        return residual_price(order.residual_penalty, order.residual_quadratic, left)
    distance = distance_outside(lower, upper, np.float64(filled))
    return order.envelope_penalty * order.per_lot * distance


@jit
def reach_of(
    parameters: Parameters, volume: Floats, upper: Floats, day: int, cap: Floats, reach: Any
) -> None:
    """What can be reached on a day.

    Args:
        parameters: of the scenario.
        volume, upper: (B, n) of the days.
        day: which.
        cap: (B,), written: lots that the participation window has room for without fills in it.
        reach: (B + 1,), written: most lots that can have filled before a bucket.
    """
    order = parameters.order[0]
    reach[0] = 0
    for b in range(order.buckets):
        oldest, total = cap_volume(order, b, parameters.buckets[b].expected_volume, volume, day)
        cap[b] = participation_room(order.max_rate, total, 0.0)
        # What has filled plus what may be posted does not fall as more has filled.
        reach[b + 1] = reach[b] + postable_lots(
            order, cap[b], upper[b, day], reach[b], reach[oldest]
        )


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
    for day in range(out.size):
        reach_of(parameters, market.volume, upper, day, cap, reach)
        for b in range(buckets - 1, -1, -1):
            for done in range(reach[b + 1] + 1):
                after[done] = penalty_after(order, b, lower[b, day], upper[b, day], done)
                if b + 1 < buckets:
                    after[done] += value[done]
            outside = reach[max(b + 1 - order.window, 0)]
            room = postable_lots(order, cap[b], upper[b, day], 0, outside)
            for i in range(algos):
                jumps[i] = _staircase(market, b, i, day, room, posted[i], filled[i])
            _most_first(jumps, turn)
            now = _least_cost(parameters, b, room, turn, jumps, posted, filled, least)
            for done in range(reach[b] + 1):
                room = postable_lots(order, cap[b], upper[b, day], done, outside)
                cost, ahead = least[now, room], after[done:]
                best = np.inf
                for g in range(np.uint64(room + 1)):
                    best = min(best, cost[g] + ahead[g])
                value[done] = best
        out[day] = value[0]


@inline
def _staircase(
    market: Market, bucket: int, algo: int, day: int, room: int, posted: Any, filled: Any
) -> int:
    """Write the fewest lots to post for every number of lots that can fill; returns how many."""
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


@inline
def _most_first(jumps: Any, turn: Any) -> None:
    """Write the indices of ``jumps`` (K,), the largest first."""
    for i in range(jumps.size):
        place = i
        while place > 0 and jumps[turn[place - 1]] < jumps[i]:
            turn[place] = turn[place - 1]
            place -= 1
        turn[place] = i


@inline
def _least_cost(
    parameters: Parameters,
    bucket: int,
    room: int,
    turn: Any,
    jumps: Any,
    posted: Any,
    filled: Any,
    least: Floats,
) -> int:
    """Write the least cost of posting at most p lots so that exactly g fill, ``least[now, p, g]``
    for g <= p <= ``room``; returns ``now``.

    Algos join one after the other, in ``turn``. One with j jumps costs j p^2 / 2 operations, except
    the first, so the one with the most jumps is first.
    """
    order = parameters.order[0]
    now, used = 0, 0
    for p in range(room + 1):
        for g in range(np.uint64(p + 1)):
            least[0, p, g] = np.inf
    least[0, 0, 0] = 0.0
    for j in range(turn.size):
        i = turn[j]
        price = parameters.cells[bucket, i].cost * order.per_lot
        old, new = least[now], least[1 - now]
        for p in range(room + 1):
            for g in range(np.uint64(p + 1)):
                new[p, g] = old[p, g]
        for jump in range(1, jumps[i]):
            x, fill = posted[i, jump], filled[i, jump]
            cost = price * (fill if order.charge_filled else x)
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


def clairvoyant(
    scenario: Scenario,
    days: Days,
    draws: int = 64,
    seed: int = 0,
    progress: Progress | None = None,
) -> Floats:
    """The least expected objective given each day's effects, liquidity and volumes, (n,) per share of
    the parent order: on average over days a bound for policies on the scenario's action grid.

    Rounding is averaged exactly, a bucket's noise over ``draws`` strata of its distribution. Orders of
    more than ``LEVELS`` lots are solved on fewer levels, which errs above: by some 0.05 % where the
    levels divide the lots (see ``levels_of``), else by up to 1 %.

    Args:
        scenario: what the days are of.
        days: n of them.
        draws: noise terms per bucket and algo; more come closer to the true minimum, from below.
        seed: of those.
        progress: called now and then, with the number of days done since the last call.

    Raises:
        ValueError: ``draws`` is not positive.
    """
    if draws < 1:
        raise ValueError(f"draws = {draws}: must be at least 1.")
    levels = levels_of(scenario.lots, LEVELS)
    split = allocations(scenario, scenario.actions.resolution, levels)
    memory = scratch(split)
    # A day's buckets and algos use different rows, so they are independent.
    rows = max(256, scenario.predictions.size)
    generator = stream_generator(seed, POLICY)
    noise = stratified_normals(generator.random((rows, draws)))
    objective = np.empty(days.size)
    for first in range(0, days.size, CHUNK):
        part = days.part(slice(first, min(first + CHUNK, days.size)))
        lower, upper = envelopes(scenario, part.volume)
        _clairvoyant(
            parameters(scenario),
            market_model(scenario),
            split,
            memory,
            np.ascontiguousarray(part.volume),
            np.ascontiguousarray(part.depth),
            np.ascontiguousarray(part.day_effect),
            np.ascontiguousarray(part.liquidity),
            lower,
            upper,
            noise,
            generator.integers(rows, size=part.size),
            objective[first : first + CHUNK],
        )
        if progress is not None:
            progress(part.size)
    return objective


def stratified_normals(uniforms: Floats) -> Floats:
    """(n, S) standard normals, one in each of S equally likely strata, from uniforms in [0, 1)."""
    strata = np.arange(uniforms.shape[1])
    normals: Floats = ndtri((strata + np.maximum(uniforms, 1e-9)) / uniforms.shape[1])
    return normals


@jit
def _clairvoyant(
    parameters: Parameters,
    model: MarketModel,
    split: Allocations,
    memory: Scratch,
    volume: Floats,
    depth: NDArray[np.int32],
    day_effect: Floats,
    liquidity: Floats,
    lower: Floats,
    upper: Floats,
    noise: Floats,
    offset: NDArray[np.int64],
    out: Floats,
) -> None:
    order = parameters.order[0]
    buckets, algos = model.intercept.shape
    levels = split.rooms.size - 1
    step = levels * order.per_lot if levels < order.lots else 1.0
    cap, reach = np.empty(buckets), np.empty(buckets + 1, np.int64)
    row, value = np.zeros(levels + 1, np.int64), np.zeros(levels + 1)
    actions = np.zeros(levels + 1, np.int16)
    rates = np.empty((algos, noise.shape[1]), np.float32)
    price, depths = np.empty(algos), np.empty(algos, np.int32)
    for day in range(out.size):
        reach_of(parameters, volume, upper, day, cap, reach)
        for b in range(buckets - 1, -1, -1):
            low = np.int64((order.lots - reach[b + 1]) * step)
            for j in range(low, levels + 1):
                filled = np.int64(np.rint(order.lots - j / step))
                after = penalty_after(order, b, lower[b, day], upper[b, day], filled)
                if b + 1 < buckets:
                    after += value[j]
                memory.ahead[0, j] = after
            low = np.int64((order.lots - reach[b]) * step)
            outside = reach[max(b + 1 - order.window, 0)]
            for j in range(low, levels + 1):
                filled = np.int64(np.rint(order.lots - j / step))
                room = postable_lots(order, cap[b], upper[b, day], filled, outside)
                row[j] = min(np.int64(np.rint(room * step)), np.int64(j))
            for i in range(algos):
                location = (
                    model.intercept[b, i]
                    + day_effect[i, day]
                    + model.loading[i] * liquidity[b, day]
                )
                terms = noise[(offset[day] + b * algos + i) % len(noise)]
                for s in range(np.uint64(terms.size)):
                    rates[i, s] = logistic(np.float32(location + model.bucket_sd[i] * terms[s]))
                price[i] = parameters.cells[b, i].cost * order.per_lot
                depths[i] = depth[b, i, day]
            memory.first[:] = -1
            best_in_bucket(
                split,
                row,
                low,
                step,
                price,
                order.charge_filled,
                rates,
                depths,
                memory,
                value,
                actions,
            )
        out[day] = value[levels]
