"""Compiled code that starts and plays the orders of a batch."""

from __future__ import annotations

import numpy as np
from numba import carray
from numpy.typing import DTypeLike, NDArray

from execution_env.allocation.actions import (
    allocate_grid,
    allocate_lots,
    first_outside,
    write_masks,
)
from execution_env.allocation.orders import (
    FLOATS_PER_ALGO,
    ORDER_FLOATS,
    ORDER_INTS,
    OUTCOME_FLOATS,
    Index,
    Market,
    Orders,
    Outcome,
    clear,
    orders_in,
    outcome_in,
)
from execution_env.allocation.parameters import ALGO, BUCKET, CELL, ORDER, Parameters
from execution_env.allocation.report import Array, Which, write_report
from execution_env.allocation.transition import start, transition
from execution_env.core.jit import jit, loop, splice
from execution_env.core.memory import pointer

HANDED_OVER: dict[str, DTypeLike] = {
    "order": ORDER,
    "buckets": BUCKET,
    "algos": ALGO,
    "cells": CELL,
    "order_ints": np.int32,
    "order_floats": np.float64,
    "fill_rate": np.float32,
    "rounding": np.float32,
    "volume": np.float64,
    "depth": np.int32,
    "prediction": np.float64,
    "spread": np.float64,
    "move": np.float64,
    "touch": np.float64,
    "outcome_lots": np.int32,
    "outcome_floats": np.float64,
    "parts": np.int32,
    "remainders": np.int32,
    "mask": np.int8,
}
"""Types by name of the arrays that ``advance`` gets by address: of ``Parameters``, the blocks of orders,
the days of ``Market``, the blocks of outcomes, and the action grid."""

FACTS = ("count", "algo_count", "grid_size", "resolution", "level", "most", "by_lots")
"""Numbers that ``advance`` gets beside them. ``level`` is the position of the kind of observation,
``most`` the largest number in an action."""

PLAYED, WRONG_SHAPE, FIRST_OVER = -1, -2, -3
"""Results of ``advance`` where no action is out of range."""

TILE = 512
"""Orders played at a time: few enough that what a bucket touches stays in the L2 cache."""


@jit
def advance(
    handle: NDArray[np.void],
    actions: NDArray[np.int64],
    starting: Which,
    playing: Which,
    observations: NDArray[np.float32],
    terminations: NDArray[np.bool_],
    floats: NDArray[np.float64],
    ints: NDArray[np.int64],
    masks: NDArray[np.int8],
) -> int:
    """Start some orders, and play the current bucket of some others, by ``Batch.advance``.

    Args:
        handle: (1,) of ``core.memory.handle``, with the arrays ``HANDED_OVER`` and ``FACTS``.
        actions: (n, 1) grid actions or (n, K) lots.
        starting, playing: (n,) which orders.
        observations, terminations, floats, ints, masks: of a ``Report``, written.

    Returns:
        ``PLAYED``; or why nothing was started or played: the first order whose action is out of range,
        ``WRONG_SHAPE``, or ``FIRST_OVER`` minus the first order to be played that is over.
    """
    at = handle[0]
    n, k, size, resolution = at.count, at.algo_count, at.grid_size, at.resolution
    width = k if at.by_lots == 1 else 1
    if starting.size != n or playing.size != n or actions.shape != (n, width):
        return WRONG_SHAPE
    outside = first_outside(actions, at.most, playing)
    if outside >= 0:
        return outside
    order = carray(pointer(at.order), (1,), ORDER)
    b = order[0].buckets
    parameters = Parameters(
        order=order,
        buckets=carray(pointer(at.buckets), (b,), BUCKET),
        algos=carray(pointer(at.algos), (k,), ALGO),
        cells=carray(pointer(at.cells), (b, k), CELL),
    )
    orders = orders_in(
        carray(pointer(at.order_ints), (ORDER_INTS + b, n), np.int32),
        carray(pointer(at.order_floats), (ORDER_FLOATS + FLOATS_PER_ALGO * k, n), np.float64),
        k,
    )
    for e in range(n):
        if playing[e] and not starting[e] and not 0 <= orders.bucket[e] < b:
            return FIRST_OVER - e
    own = b if order[0].own_predictions else 0
    priced = b if order[0].shortfall else 0
    market = Market(
        fill_rate=carray(pointer(at.fill_rate), (b, k, n), np.float32),
        rounding=carray(pointer(at.rounding), (b, k, n), np.float32),
        volume=carray(pointer(at.volume), (b, n), np.float64),
        depth=carray(pointer(at.depth), (b, k, n), np.int32),
        prediction=carray(pointer(at.prediction), (own, k, n), np.float64),
        spread=carray(pointer(at.spread), (priced, k, n), np.float64),
        move=carray(pointer(at.move), (priced, n), np.float64),
        touch=carray(pointer(at.touch), (min(priced, 1), n), np.float64),
    )
    lots = carray(pointer(at.outcome_lots), (2, k, n), np.int32)
    results = carray(pointer(at.outcome_floats), (OUTCOME_FLOATS, n), np.float64)
    parts = carray(pointer(at.parts), (size, k), np.int32)
    remainders = carray(pointer(at.remainders), (resolution, size, k), np.int32)
    mask_rows = carray(pointer(at.mask), (2 * resolution + 1, size), np.int8)
    posted, outcome = outcome_in(lots, results)
    for first in range(0, n, TILE):
        last = min(first + TILE, n)
        _start(parameters, orders, market, lots, results, starting, first, last)
        if at.by_lots == 1:
            allocate_lots(actions, orders.postable, playing, posted, first, last)
        else:
            allocate_grid(parts, remainders, actions, orders.postable, playing, posted, first, last)
        _play(parameters, orders, market, posted, outcome, playing, first, last)
        _observe(parameters, orders, at.level, observations, first, last)
        for e in range(np.uint64(first), np.uint64(last)):
            floats[e] = outcome.reward[e]
            terminations[e] = orders.bucket[e] == b
        if ints.size > 0:
            write_report(orders, posted, outcome, ints, floats, first, last)
        if masks.shape[0] > 0:
            write_masks(mask_rows, orders.postable, masks, first, last)
    return -1


@splice
def _start(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    lots: Array,
    results: Array,
    which: Which,
    first: Index,
    last: Index,
) -> None:
    """Start runs of neighbours."""
    while first < last:
        stop = first + 1
        if which[first]:
            while stop < last and which[stop]:
                stop += 1
            start(parameters, orders, market, first, stop)
            clear(lots, results, first, stop)
        first = stop


@splice
def _play(
    parameters: Parameters,
    orders: Orders,
    market: Market,
    posted: Array,
    outcome: Outcome,
    which: Which,
    first: Index,
    last: Index,
) -> None:
    """Play runs of neighbours that are in the same bucket; orders in step are one run."""
    while first < last:
        stop = first + 1
        if which[first]:
            bucket = np.int64(orders.bucket[first])
            while stop < last and which[stop] and orders.bucket[stop] == bucket:
                stop += 1
            transition(parameters, orders, market, posted, outcome, bucket, first, stop)
        first = stop


@loop
def _observe(
    parameters: Parameters,
    orders: Orders,
    level: int,
    out: NDArray[np.float32],
    first: Index,
    last: Index,
) -> None:
    count, share = parameters.order[0].buckets, parameters.order[0].per_lot
    k = parameters.algos.size
    first, last = np.uint64(first), np.uint64(last)
    for e in range(first, last):
        out[e, 0] = share * orders.remaining[e]
        out[e, 1] = (count - orders.bucket[e]) / count
    if level >= 1:
        for i in range(k):
            for e in range(first, last):
                out[e, 2 + i] = orders.estimates[i, e]
    if level >= 2:
        for i in range(k):
            weight = parameters.algos[i].prior_weight
            for e in range(first, last):
                expected = orders.expected_evidence[i, e]
                out[e, 2 + k + i] = expected / (weight + expected)
        for e in range(first, last):
            out[e, 2 + 2 * k] = share * orders.lower[e]
            out[e, 3 + 2 * k] = share * orders.upper[e]
            out[e, 4 + 2 * k] = share * orders.postable[e]
