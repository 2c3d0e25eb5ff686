"""The state before a decision: envelope, postable lots, estimates."""

from __future__ import annotations

import math

import numpy as np

from execution_env.allocation.depth import expected_fill
from execution_env.allocation.estimation import estimate
from execution_env.allocation.formulas import (
    envelope_room,
    participation_room,
    schedule,
)
from execution_env.allocation.orders import Index, Market, Orders
from execution_env.allocation.parameters import Parameters
from execution_env.core.jit import loop, splice


@loop
def _bound(
    parameters: Parameters, orders: Orders, bucket: Index, first: Index, last: Index
) -> None:
    lower, upper = parameters.buckets[bucket].lower, parameters.buckets[bucket].upper
    for e in range(first, last):
        orders.lower[e] = lower
        orders.upper[e] = upper


@loop
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


@loop
def _limit(parameters: Parameters, orders: Orders, first: Index, last: Index) -> None:
    most = np.int32(parameters.order[0].max_posted)
    for e in range(first, last):
        orders.postable[e] = min(orders.remaining[e], most)


@loop
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


@loop
def _cap(parameters: Parameters, orders: Orders, bucket: Index, first: Index, last: Index) -> None:
    max_rate = parameters.order[0].max_rate
    expected = parameters.buckets[bucket].expected_volume
    for e in range(first, last):
        volume, ours = orders.recent_volume[e] + expected, np.float64(orders.recent_fills[e])
        room = participation_room(max_rate, volume, ours)
        orders.postable[e] = np.int32(max(min(np.float64(orders.postable[e]), room), 0.0))


@loop
def _stay_below(parameters: Parameters, orders: Orders, first: Index, last: Index) -> None:
    n = np.int32(parameters.order[0].lots)
    for e in range(first, last):
        room = envelope_room(orders.upper[e], np.float64(n - orders.remaining[e]))
        orders.postable[e] = np.int32(max(min(np.float64(orders.postable[e]), room), 0.0))


@loop
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


@loop
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
            sd = math.sqrt(of.depth_sd * of.depth_sd + 1.0 / precision)
            orders.estimates[algo, e] = expected_fill(posted, cell.chance, location, sd) / posted


@splice
def open_bucket(
    parameters: Parameters, orders: Orders, market: Market, bucket: Index, first: Index, last: Index
) -> None:
    """Write what is known before the decision for ``bucket``: envelope, postable lots, estimates.

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
