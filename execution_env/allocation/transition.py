"""One bucket of the market: the only place where fills, costs and penalties are computed.

Everything that simulates (scalar and vector environment, rollouts, dynamic programming, the fused
learning loops) calls ``start`` and ``transition``; nothing restates them. There is no randomness
here: it all lies in the days (see ``market``).

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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.depth import expected_fill, learned_depth
from execution_env.allocation.estimation import estimate, learned
from execution_env.allocation.parameters import Parameters
from execution_env.core.jit import inline, inner_inline

LOT_TOLERANCE = 1e-6
"""Lots. Keeps floating-point noise from turning 30.0 lots of room into 29, or a cumulative fill on
the envelope's edge into a violation."""

Index = int | np.integer[Any]
Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


class Market(NamedTuple):
    """What the transition sees of n days; the arrays are those of ``market.Days``."""

    fill_rate: NDArray[np.float32]
    rounding: NDArray[np.float32]
    volume: Floats
    depth: Ints
    prediction: Floats
    spread: Floats
    move: Floats
    touch: Floats


class Orders(NamedTuple):
    """n orders in progress, before the decision for ``bucket``.

    Attributes:
        bucket: (n,) the bucket about to be decided; B when the order is over.
        remaining: (n,) lots, R_b.
        postable: (n,) most lots that may be posted in this bucket.
        lower, upper: (n,) lots between which the cumulative fill should lie at the bucket's end.
        market_volume: (n,) shares traded in the market since the start of the order.
        violation: (n,) constraint violation since the start, as a fraction of the order.
        fills: (B, n) lots filled in past buckets.
        filled_evidence, expected_evidence, multiplier: (K, n), S, T and m of ``estimation``.
        estimates: (K, n) expected fill rates in this bucket; those of the last bucket at the end.
        recent_volume, recent_fills: (n,) scratch, what the participation cap looks at.
    """

    bucket: Ints
    remaining: Ints
    postable: Ints
    lower: Floats
    upper: Floats
    market_volume: Floats
    violation: Floats
    fills: Ints
    filled_evidence: Floats
    expected_evidence: Floats
    multiplier: Floats
    estimates: Floats
    recent_volume: Floats
    recent_fills: Ints


class Outcome(NamedTuple):
    """What a bucket brought to n orders.

    Attributes:
        filled: (K, n) lots.
        posting_cost, envelope_penalty, residual_penalty: (n,) per share of the parent order. With
            shortfall the posting cost is what is not clean-up: spread, fees and drift.
        outside: (n,) lots outside the envelope, as a fraction of the order.
        residual: (n,) lots left over at the end, as a fraction of the order.
        reward: (n,) minus the sum of cost and penalties.
        spread_cost, fee_cost, drift_cost: (n,) the parts of the posting cost; zeros without shortfall.
    """

    filled: Ints
    posting_cost: Floats
    envelope_penalty: Floats
    residual_penalty: Floats
    outside: Floats
    residual: Floats
    reward: Floats
    spread_cost: Floats
    fee_cost: Floats
    drift_cost: Floats


@inline
def orders_in(ints: Ints, floats: Floats, algos: int) -> Orders:
    """Orders as views of two blocks, (4 + B, n) and (5 + 4 K, n): a call from Python costs as
    much as it has arrays, and this needs only two.
    """
    k = algos
    return Orders(
        ints[0],
        ints[1],
        ints[2],
        floats[0],
        floats[1],
        floats[2],
        floats[3],
        ints[4:],
        floats[5 : 5 + k],
        floats[5 + k : 5 + 2 * k],
        floats[5 + 2 * k : 5 + 3 * k],
        floats[5 + 3 * k : 5 + 4 * k],
        floats[4],
        ints[3],
    )


def order_blocks(buckets: int, algos: int, count: int) -> tuple[Ints, Floats]:
    """Room for n = ``count`` orders, to be viewed by ``orders_in``; ``start`` makes them valid."""
    return np.zeros((4 + buckets, count), np.int32), np.zeros((5 + 4 * algos, count))


@inline
def outcome_in(lots: Ints, floats: Floats) -> tuple[Ints, Outcome]:
    """Posted lots and an outcome, as views of (2, K, n) lots and of a (9, n) block."""
    outcome = Outcome(
        lots[1],
        floats[0],
        floats[1],
        floats[2],
        floats[3],
        floats[4],
        floats[5],
        floats[6],
        floats[7],
        floats[8],
    )
    return lots[0], outcome


def outcome_blocks(algos: int, count: int) -> tuple[Ints, Floats]:
    """Room for the postings and outcome of ``count`` orders, to be viewed by ``outcome_in``."""
    return np.zeros((2, algos, count), np.int32), np.zeros((9, count))


# Formulas: one order, one bucket.


@inline
def filled_lots(posted: Any, fill_rate: float, rounding: float, depth: Any) -> Any:
    """min(floor(x F + u), x, D): ``posted * fill_rate`` lots in expectation."""
    return min(np.int32(posted * fill_rate + rounding), posted, depth)


@inline
def schedule(volume: Any, expected: Any, expected_rest: Any) -> Any:
    """VWAP schedule at the end of a bucket before which ``volume`` shares have traded: the share
    of the order's volume, as expected now, that has traded then.
    """
    return (volume + expected) / (volume + expected_rest)


@inline
def distance_outside(lower: float, upper: float, filled: float) -> float:
    """Lots by which ``filled`` lies outside [lower, upper]."""
    distance = max(lower - filled, filled - upper)
    return distance if distance > LOT_TOLERANCE else 0.0


@inline
def participation_room(max_rate: float, volume: float, ours: float) -> Any:
    """Lots that keep our share of ``volume`` shares at ``max_rate`` lots per share or below, when
    ``ours`` lots have filled; a whole number, perhaps negative.
    """
    return np.floor(max_rate * volume + LOT_TOLERANCE) - ours


@inline
def envelope_room(upper: float, filled: float) -> Any:
    """Lots that may fill without crossing ``upper`` lots; a whole number, perhaps negative."""
    return np.floor(upper + LOT_TOLERANCE) - filled


@inline
def residual_price(penalty: float, quadratic: float, residual: float) -> float:
    """Kappa R + kappa2 R^2 / n per share of the order; ``residual`` is R / n."""
    return (penalty + quadratic * residual) * residual


# Loops over orders.


@inner_inline
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
    price = parameters.cells[bucket, algo].cost * parameters.order[0].per_lot
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


@inner_inline
def _charge(
    parameters: Parameters,
    market: Market,
    outcome: Outcome,
    bucket: Index,
    algo: int,
    first: Index,
    last: Index,
) -> None:
    """Spread and fee of filled lots."""
    share = parameters.order[0].per_lot
    fee = parameters.algos[algo].fee * share
    for e in range(first, last):
        filled = outcome.filled[algo, e]
        outcome.spread_cost[e] += market.spread[bucket, algo, e] * share * filled
        outcome.fee_cost[e] += fee * filled


@inner_inline
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


@inner_inline
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


@inner_inline
def _drift(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    outcome: Outcome,
    bucket: Index,
    first: Index,
    last: Index,
) -> None:
    """The mid's move, charged to what remains."""
    share = parameters.order[0].per_lot
    for e in range(first, last):
        remaining = orders.remaining[e] - orders.fills[bucket, e]
        drift = market.move[bucket, e] * (share * remaining)
        outcome.drift_cost[e] = drift
        outcome.posting_cost[e] = outcome.spread_cost[e] + outcome.fee_cost[e] + drift


@inner_inline
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


@inner_inline
def _clean_up(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    outcome: Outcome,
    bucket: Index,
    first: Index,
    last: Index,
) -> None:
    """What is left over at the end."""
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


@inner_inline
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


@inner_inline
def _bound(
    parameters: Parameters, orders: Orders, bucket: Index, first: Index, last: Index
) -> None:
    lower, upper = parameters.buckets[bucket].lower, parameters.buckets[bucket].upper
    for e in range(first, last):
        orders.lower[e] = lower
        orders.upper[e] = upper


@inner_inline
def _track(
    parameters: Parameters, orders: Orders, bucket: Index, first: Index, last: Index
) -> None:
    n, band = parameters.order[0].lots, parameters.order[0].band
    expected = parameters.buckets[bucket].expected_volume
    expected_rest = parameters.buckets[bucket].expected_rest
    for e in range(first, last):
        middle = schedule(orders.market_volume[e], expected, expected_rest)
        orders.lower[e] = n * max(middle - band, 0.0)
        orders.upper[e] = n * min(middle + band, 1.0)


@inner_inline
def _limit(parameters: Parameters, orders: Orders, first: Index, last: Index) -> None:
    most = np.int32(parameters.order[0].max_posted)
    for e in range(first, last):
        orders.postable[e] = min(orders.remaining[e], most)


@inner_inline
def _look_back(
    parameters: Parameters, orders: Orders, market: Market, bucket: Index, first: Index, last: Index
) -> None:
    """Volume and our fills in the past buckets of the participation window."""
    n = np.int32(parameters.order[0].lots)
    oldest = bucket + 1 - parameters.order[0].window
    if oldest <= 0:
        for e in range(first, last):
            orders.recent_volume[e] = orders.market_volume[e]
            orders.recent_fills[e] = n - orders.remaining[e]
        return
    for e in range(first, last):
        orders.recent_volume[e] = 0.0
        orders.recent_fills[e] = 0
    for past in range(np.uint64(oldest), np.uint64(bucket)):
        for e in range(first, last):
            orders.recent_volume[e] += market.volume[past, e]
            orders.recent_fills[e] += orders.fills[past, e]


@inner_inline
def _cap(parameters: Parameters, orders: Orders, bucket: Index, first: Index, last: Index) -> None:
    max_rate = parameters.order[0].max_rate
    expected = parameters.buckets[bucket].expected_volume
    for e in range(first, last):
        volume, ours = orders.recent_volume[e] + expected, np.float64(orders.recent_fills[e])
        room = participation_room(max_rate, volume, ours)
        orders.postable[e] = np.int32(max(min(np.float64(orders.postable[e]), room), 0.0))


@inner_inline
def _stay_below(parameters: Parameters, orders: Orders, first: Index, last: Index) -> None:
    n = np.int32(parameters.order[0].lots)
    for e in range(first, last):
        room = envelope_room(orders.upper[e], np.float64(n - orders.remaining[e]))
        orders.postable[e] = np.int32(max(min(np.float64(orders.postable[e]), room), 0.0))


@inner_inline
def _estimate(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    bucket: Index,
    algo: int,
    first: Index,
    last: Index,
) -> None:
    own = parameters.order[0].own_predictions
    prediction = parameters.cells[bucket, algo].prediction
    for e in range(first, last):
        orders.estimates[algo, e] = estimate(
            orders.multiplier[algo, e],
            market.prediction[bucket, algo, e] if own else prediction,
        )


@inner_inline
def _estimate_depth(
    parameters: Parameters, orders: Orders, bucket: Index, algo: int, first: Index, last: Index
) -> None:
    of, cell, posted = (
        parameters.algos[algo],
        parameters.cells[bucket, algo],
        parameters.order[0].reference,
    )
    for e in range(first, last):
        known = orders.expected_evidence[algo, e]
        if known == 0.0:
            orders.estimates[algo, e] = cell.prediction
        else:
            precision = of.prior_weight + known
            location = cell.location + orders.filled_evidence[algo, e] / precision
            sd = math.sqrt(of.spread * of.spread + 1.0 / precision)
            orders.estimates[algo, e] = expected_fill(posted, cell.chance, location, sd) / posted


@inner_inline
def _open(
    parameters: Parameters, orders: Orders, market: Market, bucket: Index, first: Index, last: Index
) -> None:
    """What is known before the decision for ``bucket``: envelope, postable lots, estimates.

    After the last bucket nothing may be posted; envelope and estimates stay those of the last.
    """
    order = parameters.order[0]
    if bucket == order.buckets:
        for e in range(first, last):
            orders.postable[e] = 0
        bucket -= 1
    else:
        if order.track_volume:
            _track(parameters, orders, bucket, first, last)
        else:
            _bound(parameters, orders, bucket, first, last)
        _limit(parameters, orders, first, last)
        if order.capped:
            _look_back(parameters, orders, market, bucket, first, last)
            _cap(parameters, orders, bucket, first, last)
        if order.hard_upper:
            _stay_below(parameters, orders, first, last)
    for algo in range(orders.estimates.shape[0]):
        if parameters.algos[algo].by_depth:
            _estimate_depth(parameters, orders, bucket, algo, first, last)
        else:
            _estimate(parameters, orders, market, bucket, algo, first, last)


# What the rest of the package calls.


@inline
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
    _open(parameters, orders, market, 0, first, last)


@inline
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
    _open(parameters, orders, market, bucket + 1, first, last)
