"""What policies are read against: ``hindsight``, from the module of that name, and ``clairvoyant``.

``clairvoyant`` knows what is hidden about a day (the day effects, the whole path of liquidity, the
volumes) and not the noise of single buckets and rounding. So algos and buckets are independent for
it, and backward induction over the remaining lots on the scenario's action grid gives the least
expected objective given what it knows (see ``conditional_induction``). No policy on that grid is better
in expectation, since it knows less. Expectations are means over sampled noise, drawn independently
for every bucket, algo and day without bias; the minimum over actions of such means lies below the
true one in expectation, so sampling errs on the side of the bound.

In expectation, hindsight <= clairvoyant <= any policy on the grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.conditional_induction import (
    Allocations,
    Scratch,
    allocations,
    best_in_bucket,
    scratch,
    stratified_normals,
)
from agents.day_limits import penalty_after, postable_lots, reach_of
from agents.dp_problem import LEVELS, envelopes, levels_of
from agents.evaluation.rollouts import Progress
from agents.hindsight import CHUNK, hindsight
from agents.jit import jit
from execution_env import Days, Scenario
from execution_env.drawing import logistic
from execution_env.market import POLICY, MarketModel, market_model, stream_generator
from execution_env.parameters import Parameters, parameters

__all__ = ["clairvoyant", "hindsight"]

Floats = NDArray[np.float64]


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

    Where the window of a participation cap looks back further than one bucket and not to the start,
    past fills are taken to lie outside it as far as they can, as in ``hindsight``. More may then be
    posted, though in other parts: a bound up to the rounding to the grid.

    Args:
        scenario: what the days are of.
        days: n of them.
        draws: noise terms per bucket and algo. More come closer to the true minimum, from below: on
            baseline 16, 32, 64 and 128 fall short of it by 0.3, 0.06, 0.01 and less than 0.005 %.
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
                after = penalty_after(
                    order, b, lower[b, day], upper[b, day], 0.0, order.residual_penalty, filled
                )
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
