"""What policies are read against: ``hindsight``, from the module of that name, and ``clairvoyant``.

``clairvoyant`` knows what is hidden about a day (the day effects, the whole path of liquidity, the
volumes) and not the noise of single buckets and rounding. So algos and buckets are independent for
it, and backward induction over the remaining lots on the scenario's action grid gives the least
expected objective given what it knows (see ``conditional_induction``). No policy on that grid is better
in expectation, since it knows less. Expectations are means over sampled noise, drawn independently
for every bucket, algo and day without bias; the minimum over actions of such means lies below the
true one in expectation, so sampling errs on the side of the bound.

In expectation, hindsight <= clairvoyant <= any policy on the grid.

With depth it knows what the latents y of a bucket have in common and draws what each has of its own.
With shortfall costs it knows the innovations xi of the liquidity factor with the factor's path, and so
what the moves of the mid are expected to be, E[M_b | xi_b] = sd_b r xi_b; where the path does not show
them, because it has no noise or is one number all day, it expects none, like anybody else. Charged to
what is left, that would be worth far more to it than all it knows of fills. So it is given sum_b M_b
R_b back, R_b lots being left before bucket b: for a policy, which knows R_b and nothing of M_b then,
that is zero in expectation, and a bound stays a bound (a penalty on what is known too early; Brown,
Smith & Sun 2010, Information relaxations and duality in stochastic dynamic programs, Operations
Research 58). What remains of M_b (R_b - g_b) is -M_b g_b, with the bucket's own fills g_b. On the
shortfall scenario of the tests the bound is -1.7 instead of -4.1 basis points. On a single day it says
nothing, as ever.

There is no clairvoyant bound on replayed days: nobody knows what was hidden about them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.bounds.day_limits import penalty_after, postable_lots, reach_of
from agents.bounds.hindsight_bound import DAYS_PER_REPORT, hindsight
from agents.dynamic_programming.conditional_induction import (
    Allocations,
    Scratch,
    allocations,
    best_in_bucket,
    scratch,
    stratified_normals,
)
from agents.dynamic_programming.problem import SOLVED_LEVELS, envelopes, levels_of
from agents.rollouts.allocation import Progress
from execution_env import Days, Scenario
from execution_env.allocation.formulas import (
    depth_of,
    fill_location,
    fill_rate,
    filled_price,
    latent_of,
    posting_price,
)
from execution_env.allocation.market.day_stream import POLICY, stream_generator
from execution_env.allocation.market.days import MarketModel
from execution_env.allocation.market.model import market_model
from execution_env.allocation.parameters import Parameters, parameters
from execution_env.core.jit import inner_inline, jit

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
    more than ``SOLVED_LEVELS`` lots are solved on fewer levels, which errs above: by some 0.05 % where
    the levels divide the lots (see ``levels_of``), else by up to 1 %.

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
        ValueError: ``draws`` is not positive, or the days are replayed.
    """
    if draws < 1:
        raise ValueError(f"draws = {draws}: must be at least 1.")
    if np.isnan(days.day_effect).any():
        raise ValueError(
            "clairvoyant knows what is hidden about a day, which nobody does of replayed days; "
            "hindsight bounds what can be achieved on them."
        )
    levels = levels_of(scenario.lots, SOLVED_LEVELS)
    split = allocations(scenario, scenario.actions.resolution, levels)
    memory = scratch(split)
    # A day's buckets and algos use different rows, so they are independent.
    rows = max(256, scenario.predictions.size)
    generator = stream_generator(seed, POLICY)
    noise = stratified_normals(generator.random((rows, draws)))
    objective = np.empty(days.size)
    for first in range(0, days.size, DAYS_PER_REPORT):
        part = days.part(slice(first, min(first + DAYS_PER_REPORT, days.size)))
        lower, upper = envelopes(scenario, part.volume)
        _clairvoyant(
            parameters(scenario),
            market_model(scenario),
            split,
            memory,
            np.ascontiguousarray(part.volume),
            np.ascontiguousarray(part.depth),
            np.ascontiguousarray(part.spread),
            np.ascontiguousarray(part.touch),
            np.ascontiguousarray(part.day_effect),
            np.ascontiguousarray(part.liquidity),
            lower,
            upper,
            noise,
            generator.integers(rows, size=part.size),
            objective[first : first + DAYS_PER_REPORT],
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
    spread: Floats,
    touch: Floats,
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
    price, limits = np.empty(algos), np.empty(rates.shape)
    nothing = np.empty((algos, 0))
    for day in range(out.size):
        reach_of(parameters, volume, upper, day, cap, reach)
        left_over = touch[0, day] if order.shortfall else order.residual_penalty
        for b in range(buckets - 1, -1, -1):
            move = _expected_move(model, liquidity, b, day) if order.shortfall else 0.0
            low = np.int64((order.lots - reach[b + 1]) * step)
            for j in range(low, levels + 1):
                filled = np.int64(np.rint(order.lots - j / step))
                after = penalty_after(
                    order, b, lower[b, day], upper[b, day], 0.0, left_over, filled
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
                terms = noise[(offset[day] + b * algos + i) % len(noise)]
                price[i] = posting_price(order, parameters.cells[b, i].cost)
                if order.shortfall:
                    fee = parameters.algos[i].fee
                    price[i] = filled_price(order, spread[b, i, day], fee, move)
                if model.by_depth[i]:
                    rates[i, :] = 1.0
                    median = model.per_volume[b, i] * volume[b, day] * np.exp(day_effect[i, day])
                    _depths(model, b, i, liquidity[b, day], median, terms, limits[i])
                    continue
                limits[i, :] = depth[b, i, day]
                location = fill_location(
                    model.intercept[b, i], day_effect[i, day], model.loading[i], liquidity[b, day]
                )
                for s in range(np.uint64(terms.size)):
                    rates[i, s] = fill_rate(location, model.bucket_sd[i], terms[s])
            memory.first[:] = -1
            best_in_bucket(
                split,
                row,
                low,
                step,
                price,
                order.charge_filled,
                rates,
                limits,
                nothing,
                memory,
                value,
                actions,
            )
        out[day] = value[levels]


@inner_inline
def _expected_move(model: MarketModel, liquidity: Floats, bucket: int, day: int) -> Any:
    """Basis points that the mid is expected to move against us, given the path of the factor."""
    new, noise = liquidity[bucket, day], model.liquidity[0]
    if bucket > 0:
        new, noise = new - model.liquidity[1] * liquidity[bucket - 1, day], model.liquidity[2]
    return model.move_sd[bucket] * model.move_correlation * new / noise if noise > 0.0 else 0.0


@inner_inline
def _depths(
    model: MarketModel,
    bucket: int,
    algo: int,
    liquidity: float,
    median: float,
    noise: Floats,
    limits: Floats,
) -> None:
    """Write the depths (S,) that go with the algo's own ``noise`` (S,)."""
    loading = model.loading[algo] if model.liquidity[0] > 0.0 else 0.0
    common = loading * liquidity / model.liquidity[0] if loading != 0.0 else 0.0
    for s in range(noise.size):
        latent = latent_of(common, loading, noise[s])
        limits[s] = depth_of(latent, model.chance[bucket, algo], median, 0.0, model.depth_sd[algo])
