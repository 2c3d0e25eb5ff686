"""Arrays of n orders: the market they meet, their state, and what a bucket brings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.core.jit import loop, splice

Index = int | np.integer[Any]
Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


class Market(NamedTuple):
    """The part of n days that the transition sees; the arrays are those of ``market.days.Days``."""

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
    """The outcome of a bucket for n orders.

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


ORDER_INTS, ORDER_FLOATS, FLOATS_PER_ALGO, OUTCOME_FLOATS = 4, 5, 4, 9
"""Rows of the blocks behind ``Orders`` and ``Outcome``: int32 rows before those of past fills, float64
rows before those of algos, float64 rows per algo, and float64 rows of an outcome. ``orders_in`` and
``outcome_in`` say which is which."""


@splice
def orders_in(ints: Ints, floats: Floats, algos: int) -> Orders:
    """Return orders as views of two blocks, (4 + B, n) and (5 + 4 K, n).

    A call from Python costs as much as it has arrays, and this needs only two.
    """
    k, per_algo = algos, floats[ORDER_FLOATS:]
    return Orders(
        bucket=ints[0],
        remaining=ints[1],
        postable=ints[2],
        lower=floats[0],
        upper=floats[1],
        market_volume=floats[2],
        violation=floats[3],
        fills=ints[ORDER_INTS:],
        filled_evidence=per_algo[:k],
        expected_evidence=per_algo[k : 2 * k],
        multiplier=per_algo[2 * k : 3 * k],
        estimates=per_algo[3 * k : 4 * k],
        recent_volume=floats[4],
        recent_fills=ints[3],
    )


def order_blocks(buckets: int, algos: int, count: int) -> tuple[Ints, Floats]:
    """Return room for n = ``count`` orders, for ``orders_in`` to view; ``start`` makes them valid."""
    ints = np.zeros((ORDER_INTS + buckets, count), np.int32)
    return ints, np.zeros((ORDER_FLOATS + FLOATS_PER_ALGO * algos, count))


@splice
def outcome_in(lots: Ints, floats: Floats) -> tuple[Ints, Outcome]:
    """Return posted lots and an outcome, as views of (2, K, n) lots and of a (9, n) block."""
    outcome = Outcome(
        filled=lots[1],
        posting_cost=floats[0],
        envelope_penalty=floats[1],
        residual_penalty=floats[2],
        outside=floats[3],
        residual=floats[4],
        reward=floats[5],
        spread_cost=floats[6],
        fee_cost=floats[7],
        drift_cost=floats[8],
    )
    return lots[0], outcome


def outcome_blocks(algos: int, count: int) -> tuple[Ints, Floats]:
    """Return room for the postings and outcome of ``count`` orders, to be viewed by ``outcome_in``."""
    return np.zeros((2, algos, count), np.int32), np.zeros((OUTCOME_FLOATS, count))


@loop
def clear(lots: Ints, floats: Floats, first: Index, last: Index) -> None:
    """Zero the columns [first, last) of the blocks of postings and outcome."""
    first, last = np.uint64(first), np.uint64(last)
    for j in range(lots.shape[0]):
        for i in range(lots.shape[1]):
            for e in range(first, last):
                lots[j, i, e] = 0
    for j in range(floats.shape[0]):
        for e in range(first, last):
            floats[j, e] = 0.0
