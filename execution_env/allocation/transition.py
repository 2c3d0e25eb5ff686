"""One bucket of the market: the only place where fills, costs and penalties are computed.

Everything that simulates (scalar and vector environment, rollouts, dynamic programming, the fused
learning loops) calls ``start`` and ``transition``; nothing restates them. There is no randomness
here: it all lies in the days (see ``market.model``).

Orders stand side by side, the order is the last axis, and a call plays one bucket of the orders
[first, last), which must all be in that bucket. Formulas are functions of one order; each has a
short loop over orders without branches, which the compiler turns into SIMD code. That is why the
loops are many and small, and why their bounds are unsigned: a signed index may be negative, and
numba's code for that case keeps a loop out of SIMD registers.

Quantities are integer lots, volumes are shares. Costs and penalties are per share of the parent
order, in units of the costs (one half-spread).

With costs.basis = "shortfall" the unit is a basis point of the mid at arrival, and the objective is the
implementation shortfall plus the envelope penalty. Filled shares pay spread and fee; what waits pays the
drift of the mid. Summed by parts, with M_b the mid's move against us up to bucket b and R_B left over,

    sum_b fills_b M_b + R_B M_B = sum_b (M_{b+1} - M_b) R_{b+1},

so every bucket's move is charged to the lots that remain after it, and no state holds past moves.
"""

from __future__ import annotations

import math

import numpy as np

from execution_env.allocation.depth import learned_depth
from execution_env.allocation.estimation import learned
from execution_env.allocation.formulas import (
    distance_outside,
    filled_lots,
    posting_price,
    residual_price,
)
from execution_env.allocation.opening import open_bucket
from execution_env.allocation.orders import Index, Ints, Market, Orders, Outcome
from execution_env.allocation.parameters import Parameters
from execution_env.core.jit import loop, splice

# Loops over orders.


@loop
def _fill(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    posted: Ints,
    outcome: Outcome,
    bucket: Index,
    algo: int,
    first: Index,
    last: Index,
) -> None:
    price = posting_price(parameters.order[0], parameters.cells[bucket, algo].cost)
    charge_filled = parameters.order[0].charge_filled
    if parameters.order[0].shortfall:
        price = 0.0  # _charge has the day's
    for e in range(first, last):
        lots = posted[algo, e]
        filled = filled_lots(
            lots,
            np.float64(market.fill_rate[bucket, algo, e]),
            np.float64(market.rounding[bucket, algo, e]),
            market.depth[bucket, algo, e],
        )
        outcome.filled[algo, e] = filled
        orders.fills[bucket, e] += filled
        outcome.posting_cost[e] += price * (filled if charge_filled else lots)


@loop
def _charge(
    parameters: Parameters,
    market: Market,
    outcome: Outcome,
    bucket: Index,
    algo: int,
    first: Index,
    last: Index,
) -> None:
    """Charge spread and fee of filled lots."""
    share = parameters.order[0].per_lot
    fee = parameters.algos[algo].fee * share
    for e in range(first, last):
        filled = outcome.filled[algo, e]
        outcome.spread_cost[e] += market.spread[bucket, algo, e] * share * filled
        outcome.fee_cost[e] += fee * filled


@loop
def _learn(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    posted: Ints,
    outcome: Outcome,
    bucket: Index,
    algo: int,
    first: Index,
    last: Index,
) -> None:
    ewma, memory = parameters.order[0].ewma, parameters.order[0].memory
    prior_weight, icc = parameters.algos[algo].prior_weight, parameters.algos[algo].icc
    own = parameters.order[0].own_predictions
    prediction = parameters.cells[bucket, algo].prediction
    for e in range(first, last):
        s, t, m = learned(
            ewma,
            memory,
            prior_weight,
            icc,
            market.prediction[bucket, algo, e] if own else prediction,
            np.float64(posted[algo, e]),
            np.float64(outcome.filled[algo, e]),
            orders.filled_evidence[algo, e],
            orders.expected_evidence[algo, e],
            orders.multiplier[algo, e],
        )
        orders.filled_evidence[algo, e] = s
        orders.expected_evidence[algo, e] = t
        orders.multiplier[algo, e] = m


@loop
def _learn_depth(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    posted: Ints,
    outcome: Outcome,
    bucket: Index,
    algo: int,
    first: Index,
    last: Index,
) -> None:
    precision, noise = parameters.algos[algo].prior_weight, parameters.algos[algo].noise
    if precision == np.inf:
        return
    per_volume = parameters.cells[bucket, algo].per_volume
    for e in range(first, last):
        # A replayed bucket may have had depth on show and no trade: depth is no share of nothing.
        if outcome.filled[algo, e] > 0 and market.volume[bucket, e] > 0.0:
            s, t = learned_depth(
                parameters.order[0].memory,
                precision,
                noise,
                np.float64(posted[algo, e]),
                np.float64(outcome.filled[algo, e]),
                math.log(per_volume * market.volume[bucket, e]),
                orders.filled_evidence[algo, e],
                orders.expected_evidence[algo, e],
            )
            orders.filled_evidence[algo, e] = s
            orders.expected_evidence[algo, e] = t
            orders.multiplier[algo, e] = math.exp(s / (precision + t))


@loop
def _drift(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    outcome: Outcome,
    bucket: Index,
    first: Index,
    last: Index,
) -> None:
    """Charge the mid's move to the lots that remain."""
    share = parameters.order[0].per_lot
    for e in range(first, last):
        remaining = orders.remaining[e] - orders.fills[bucket, e]
        drift = market.move[bucket, e] * (share * remaining)
        outcome.drift_cost[e] = drift
        outcome.posting_cost[e] = outcome.spread_cost[e] + outcome.fee_cost[e] + drift


@loop
def _check_envelope(
    parameters: Parameters,
    orders: Orders,
    outcome: Outcome,
    bucket: Index,
    first: Index,
    last: Index,
) -> None:
    order = parameters.order[0]
    n, share, penalty = np.int32(order.lots), order.per_lot, order.envelope_penalty
    for e in range(first, last):
        remaining = orders.remaining[e] - orders.fills[bucket, e]
        distance = distance_outside(orders.lower[e], orders.upper[e], np.float64(n - remaining))
        outcome.outside[e] = share * distance
        outcome.envelope_penalty[e] = penalty * (share * distance)
        outcome.residual[e] = 0.0
        outcome.residual_penalty[e] = 0.0


@loop
def _clean_up(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    outcome: Outcome,
    bucket: Index,
    first: Index,
    last: Index,
) -> None:
    """Charge the lots that are left over at the end."""
    order = parameters.order[0]
    share, linear, quadratic = order.per_lot, order.residual_penalty, order.residual_quadratic
    for e in range(first, last):
        residual = share * (orders.remaining[e] - orders.fills[bucket, e])
        outcome.outside[e] = 0.0
        outcome.envelope_penalty[e] = 0.0
        outcome.residual[e] = residual
        outcome.residual_penalty[e] = residual_price(linear, quadratic, residual)
    if order.shortfall:
        for e in range(first, last):
            touch = market.touch[0, e]
            outcome.residual_penalty[e] = residual_price(touch, quadratic, outcome.residual[e])


@loop
def _settle(
    orders: Orders, market: Market, outcome: Outcome, bucket: Index, first: Index, last: Index
) -> None:
    for e in range(first, last):
        # 0 - sum, because -(0.0) would be a reward of -0.0
        outcome.reward[e] = 0.0 - (
            outcome.posting_cost[e] + outcome.envelope_penalty[e] + outcome.residual_penalty[e]
        )
        orders.violation[e] += outcome.outside[e] + outcome.residual[e]
        orders.remaining[e] -= orders.fills[bucket, e]
        orders.market_volume[e] += market.volume[bucket, e]
        orders.bucket[e] = bucket + 1


# The two functions that the rest of the package calls.


@splice
def start(
    parameters: Parameters, orders: Orders, market: Market, first: Index, last: Index
) -> None:
    """Put the orders [first, last) at the start."""
    first, last = np.uint64(first), np.uint64(last)
    for e in range(first, last):
        orders.bucket[e] = 0
        orders.remaining[e] = parameters.order[0].lots
        orders.market_volume[e] = 0.0
        orders.violation[e] = 0.0
    for algo in range(orders.multiplier.shape[0]):
        for e in range(first, last):
            orders.filled_evidence[algo, e] = 0.0
            orders.expected_evidence[algo, e] = 0.0
            orders.multiplier[algo, e] = 1.0
    open_bucket(parameters, orders, market, np.int64(0), first, last)


@splice
def transition(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    posted: Ints,
    outcome: Outcome,
    bucket: Index,
    first: Index,
    last: Index,
) -> None:
    """Play ``bucket`` of the orders [first, last), in place.

    Args:
        parameters: of the scenario.
        orders: n orders; those in [first, last) are before the decision for ``bucket``.
        market: of n days, day e for order e.
        posted: (K, n) lots, non-negative, per order at most ``orders.postable`` in total.
        outcome: of n orders, written.
        bucket: 0 to B - 1.
        first, last: the orders to play.
    """
    first, last = np.uint64(first), np.uint64(last)
    for e in range(first, last):
        orders.fills[bucket, e] = 0
        outcome.posting_cost[e] = 0.0
    shortfall = parameters.order[0].shortfall
    if shortfall:
        for e in range(first, last):
            outcome.spread_cost[e] = 0.0
            outcome.fee_cost[e] = 0.0
    for algo in range(posted.shape[0]):
        _fill(parameters, orders, market, posted, outcome, bucket, algo, first, last)
        if shortfall:
            _charge(parameters, market, outcome, bucket, algo, first, last)
        if parameters.algos[algo].by_depth:
            _learn_depth(parameters, orders, market, posted, outcome, bucket, algo, first, last)
        else:
            _learn(parameters, orders, market, posted, outcome, bucket, algo, first, last)
    if shortfall:
        _drift(parameters, orders, market, outcome, bucket, first, last)
    if bucket + 1 == parameters.order[0].buckets:
        _clean_up(parameters, orders, market, outcome, bucket, first, last)
    else:
        _check_envelope(parameters, orders, outcome, bucket, first, last)
    _settle(orders, market, outcome, bucket, first, last)
    open_bucket(parameters, orders, market, bucket + 1, first, last)
