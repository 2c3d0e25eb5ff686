"""The report of a step on n orders: observations, rewards, infos, and their layout in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.orders import Floats, Index, Ints, Orders, Outcome
from execution_env.core.jit import loop, splice

COSTS = (
    "posting_cost",
    "envelope_penalty",
    "residual_penalty",
    "cost_envelope",
    "cost_residual",
    "cost",
    "cost_sum",
)
"""Names in infos of the costs of every scenario, in the order of ``Blocks.costs``."""

SHORTFALL_COSTS = ("spread_cost", "fee_cost", "drift_cost")
"""Names in infos of the parts of a shortfall's posting cost; they follow ``COSTS``."""

POSTING_COST, ENVELOPE_PENALTY, RESIDUAL_PENALTY, COST_ENVELOPE, COST_RESIDUAL, COST, COST_SUM = (
    range(7)
)
SPREAD_COST, FEE_COST, DRIFT_COST = 7, 8, 9
"""Rows of ``Blocks.costs``, as their names are in ``COSTS`` and ``SHORTFALL_COSTS``."""

Array = NDArray[Any]
Which = NDArray[np.bool_]


class Blocks(NamedTuple):
    """The arrays in a report's two flat ones; ``blocks_in`` is the only place with their layout.

    Attributes:
        rewards: (n,).
        costs: (C, n), rows as ``COSTS`` and, with shortfall costs, ``SHORTFALL_COSTS``.
        estimates: (n, K).
        posted, filled: (n, K) lots.
        remaining: (n,) lots.
    """

    rewards: NDArray[np.float64]
    costs: NDArray[np.float64]
    estimates: NDArray[np.float64]
    posted: NDArray[np.int64]
    filled: NDArray[np.int64]
    remaining: NDArray[np.int64]


@splice
def blocks_in(floats: NDArray[np.float64], ints: NDArray[np.int64], count: int) -> Blocks:
    """Return views of a complete report's ``floats`` and ``ints``, for ``count`` = n orders."""
    n, k = count, ints.size // count // 2
    lots = ints[: 2 * n * k].reshape(2, n, k)
    ends = floats.size - n * k
    return Blocks(
        rewards=floats[:n],
        costs=floats[n:ends].reshape(ends // n - 1, n),
        estimates=floats[ends:].reshape(n, k),
        posted=lots[0],
        filled=lots[1],
        remaining=ints[2 * n * k :],
    )


def report_sizes(count: int, algos: int, shortfall: bool) -> tuple[int, int]:
    """Return the sizes of a complete report's ``floats`` and ``ints``."""
    costs = len(COSTS) + len(SHORTFALL_COSTS) * shortfall
    return (1 + costs + algos) * count, (2 * algos + 1) * count


_blocks: Callable[..., Blocks] = cast(Any, blocks_in).py_func
"""``blocks_in`` as plain Python: a call of compiled code takes longer than a few views."""


class Report(NamedTuple):
    """The report of a step on n orders, in memory of its own.

    Attributes:
        observations: (n, D).
        terminations: (n,).
        floats, ints: rewards, costs, estimates and lots, flat; ``blocks_in`` reads them. All but
            estimates and remaining lots are 0 for an order that has just started.
        masks: (n, A), 1 for actions that differ from all earlier ones; with ``action = "lots"``
            (n, K (lots + 1)), 1 for the numbers of lots of one algo that may be posted.

    In a batch that does not inform there are only rewards in ``floats``, no ``ints`` and no ``masks``.
    """

    observations: NDArray[np.float32]
    terminations: NDArray[np.bool_]
    floats: NDArray[np.float64]
    ints: NDArray[np.int64]
    masks: NDArray[np.int8]

    @property
    def rewards(self) -> NDArray[np.float64]:
        """(n,)."""
        return self.floats[: self.terminations.size]

    def infos(self) -> dict[str, Array]:
        """Return the entries of ``info``, with n as the first axis of every array.

        A batch that does not inform has none.
        """
        if not self.ints.size:
            return {}
        blocks = _blocks(self.floats, self.ints, self.terminations.size)
        return {
            "lots_posted": blocks.posted,
            "lots_filled": blocks.filled,
            "remaining_lots": blocks.remaining,
            **dict(zip(COSTS, blocks.costs, strict=False)),
            "estimates": blocks.estimates,
            "action_mask": self.masks,
            **dict(zip(SHORTFALL_COSTS, blocks.costs[len(COSTS) :], strict=False)),
        }

    def info(self) -> dict[str, Any]:
        """Return the same of a single order: NumPy scalars, and arrays without an order axis."""
        if not self.ints.size:
            return {}
        floats, ints = self.floats, self.ints
        posted, filled, remaining, of_costs, estimates, parts = _places(floats.size, ints.size)
        posting, envelope, residual, outside, left, both, total = of_costs(floats)
        # Written out, in the order of COSTS: this is a fifth of the time of a step.
        info = {
            "lots_posted": ints[posted],
            "lots_filled": ints[filled],
            "remaining_lots": ints[remaining],
            "posting_cost": posting,
            "envelope_penalty": envelope,
            "residual_penalty": residual,
            "cost_envelope": outside,
            "cost_residual": left,
            "cost": both,
            "cost_sum": total,
            "estimates": floats[estimates],
            "action_mask": self.masks[0],
        }
        for name, place in parts:
            info[name] = floats[place]
        return info


class Places(NamedTuple):
    """Places of a single order's numbers in a complete report.

    Attributes:
        posted, filled, remaining: in ``ints``.
        of_costs: fetches the ``COSTS`` from ``floats``.
        estimates: in ``floats``.
        parts: names and places in ``floats`` of the ``SHORTFALL_COSTS``, if there are any.
    """

    posted: slice
    filled: slice
    remaining: int
    of_costs: Callable[[Array], tuple[Any, ...]]
    estimates: slice
    parts: tuple[tuple[str, int], ...]


@lru_cache(maxsize=64)
def _places(floats: int, ints: int) -> Places:
    """Return where ``blocks_in`` finds the numbers of one order, found once because views take time."""
    blocks = _blocks(np.arange(float(floats)), np.arange(ints), 1)
    costs = [int(place) for place in blocks.costs[:, 0]]
    return Places(
        posted=_span(blocks.posted[0]),
        filled=_span(blocks.filled[0]),
        remaining=int(blocks.remaining[0]),
        of_costs=itemgetter(*costs[: len(COSTS)]),
        estimates=_span(blocks.estimates[0]),
        parts=tuple(zip(SHORTFALL_COSTS, costs[len(COSTS) :], strict=False)),
    )


def _span(places: Array) -> slice:
    return slice(int(places[0]), int(places[-1]) + 1)


@loop
def _write_row(out: NDArray[np.float64], values: Floats, first: Index, last: Index) -> None:
    for e in range(first, last):
        out[e] = values[e]


@splice
def write_report(
    orders: Orders,
    posted: Ints,
    outcome: Outcome,
    ints: NDArray[np.int64],
    floats: NDArray[np.float64],
    first: Index,
    last: Index,
) -> None:
    """Write the orders [first, last) of a complete report, all but their rewards."""
    blocks = blocks_in(floats, ints, orders.remaining.size)
    first, last = np.uint64(first), np.uint64(last)
    for i in range(posted.shape[0]):
        for e in range(first, last):
            blocks.posted[e, i] = posted[i, e]
            blocks.filled[e, i] = outcome.filled[i, e]
            blocks.estimates[e, i] = orders.estimates[i, e]
    for e in range(first, last):
        blocks.remaining[e] = orders.remaining[e]
        blocks.costs[COST, e] = outcome.outside[e] + outcome.residual[e]
    _write_row(blocks.costs[POSTING_COST], outcome.posting_cost, first, last)
    _write_row(blocks.costs[ENVELOPE_PENALTY], outcome.envelope_penalty, first, last)
    _write_row(blocks.costs[RESIDUAL_PENALTY], outcome.residual_penalty, first, last)
    _write_row(blocks.costs[COST_ENVELOPE], outcome.outside, first, last)
    _write_row(blocks.costs[COST_RESIDUAL], outcome.residual, first, last)
    _write_row(blocks.costs[COST_SUM], orders.violation, first, last)
    if blocks.costs.shape[0] > SPREAD_COST:
        _write_row(blocks.costs[SPREAD_COST], outcome.spread_cost, first, last)
        _write_row(blocks.costs[FEE_COST], outcome.fee_cost, first, last)
        _write_row(blocks.costs[DRIFT_COST], outcome.drift_cost, first, last)
