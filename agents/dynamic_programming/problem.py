"""An order as a problem for dynamic programming: its states, postable lots and actions.

A state is a bucket and a level of remaining lots. Postings and penalties also depend on market
volume and on the buckets in which past lots filled. Both are as expected at the start.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.policy import Lots, Observations, grid_lots, widths
from execution_env import Scenario
from execution_env.allocation.actions import action_grid
from execution_env.allocation.batch import Batch
from execution_env.allocation.formulas import LOT_TOLERANCE, envelope_room, participation_room
from execution_env.allocation.parameters import Parameters, parameters

SOLVED_LEVELS = 512
"""Largest number of levels of remaining lots; up to that many lots, a level is a lot."""

MOST_STATES = 1 << 25
"""Largest product of buckets and levels."""

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


def levels_of(lots: int, most: int = SOLVED_LEVELS) -> int:
    """Return J, the number of levels of remaining lots: all ``lots``, or at most ``most``.

    J is the largest divisor of the lots above a quarter of ``most``, if there is one. Envelopes
    have their edges at round fractions of the order, and an edge between two levels blurs by up to
    a level.
    """
    if lots <= most:
        return lots
    fair = [levels for levels in range(most, most // 4, -1) if lots % levels == 0]
    return fair[0] if fair else most


class Problem(NamedTuple):
    """A scenario on a grid of A actions and J + 1 equally spaced levels of remaining lots.

    Attributes:
        parameters: parameters of the scenario.
        resolution: resolution of the action grid.
        lower, upper: (B,) lots between which the cumulative fill should lie.
        postable: (B, L, J + 1) lots that may be posted at each level. [:, 0] is the expected case;
            [:, 1:] are other cases that the market may lead to.
        rooms: (M,) all numbers of lots in ``postable``, ascending.
        runs: for every bucket (N, 4): a room's index, a case l and the levels [j, k) that have this
            room in ``postable[b, l]``; rooms ascending.
        lots: (M, A, K) lots that actions post in those rooms.
        distinct: (M, A) whether an action differs from all earlier ones.
    """

    parameters: Parameters
    resolution: int
    lower: Floats
    upper: Floats
    postable: Lots
    rooms: Lots
    runs: list[Lots]
    lots: Ints
    distinct: NDArray[np.bool_]

    @property
    def levels(self) -> int:
        """Number of levels J."""
        return int(self.postable.shape[2]) - 1


def pose(scenario: Scenario, resolution: int | None = None, levels: int = SOLVED_LEVELS) -> Problem:
    """Return the problem of ``scenario``, on its own grid or one of ``resolution``.

    There are at most ``levels`` levels of remaining lots.
    """
    resolution = resolution or scenario.actions.resolution
    levels = levels_of(scenario.lots, max(min(levels, MOST_STATES // scenario.buckets), 1))
    lower, upper = envelopes(scenario, scenario.expected_volume[:, None])
    remaining = np.arange(levels + 1, dtype=np.float64) * (scenario.lots / levels)
    room = _expected_room(scenario, upper[:, 0], remaining)[:, None]
    if _room_varies(scenario):
        # Denser where there is little room, because one lot matters more there.
        most = float(parameters(scenario).order[0]["max_posted"])
        others = np.unique(np.rint(most * np.linspace(0.0, 1.0, 25) ** 2))[:, None]
        shape = (scenario.buckets, len(others), levels + 1)
        room = np.concatenate([room, np.broadcast_to(others, shape)], axis=1)
    postable = _within(room, remaining)
    rooms = np.unique(postable)
    grid = action_grid(len(scenario.algos), resolution)
    count = len(grid.parts)
    actions = np.tile(np.arange(count), rooms.size)
    lots = grid_lots(scenario, actions, np.repeat(rooms, count).astype(np.int32), resolution)
    return Problem(
        parameters=parameters(scenario),
        resolution=resolution,
        lower=lower[:, 0],
        upper=upper[:, 0],
        postable=postable,
        rooms=rooms,
        runs=[_runs(np.searchsorted(rooms, lots)) for lots in postable],
        lots=lots.reshape(rooms.size, count, -1).astype(np.int32),
        distinct=grid.mask[np.minimum(rooms, len(grid.mask) - 1)] == 1,
    )


def _within(room: Floats, remaining: Floats) -> Lots:
    """Return the whole lots that ``room`` (..., J) and ``remaining`` (J,) allow."""
    limited = np.minimum(room, remaining + LOT_TOLERANCE)
    return np.floor(np.maximum(limited, 0.0)).astype(np.int64)


def expected_observations(scenario: Scenario, remaining: Lots) -> Observations:
    """Return "full" observations (B, L, 5 + 2 K) in every bucket at L levels of ``remaining`` lots.

    All else is as expected before the order starts: fill rates as predicted, with no evidence,
    volume and the envelope as expected, past fills as in ``_expected_room``.
    """
    levels = np.asarray(remaining, np.float64)
    algos = len(scenario.algos)
    lower, upper = envelopes(scenario, scenario.expected_volume[:, None])
    postable = _within(_expected_room(scenario, upper[:, 0], levels), levels)
    found = np.zeros((scenario.buckets, levels.size, widths(scenario)["full"]), np.float32)
    found[:, :, 0] = levels / scenario.lots
    found[:, :, 1] = 1.0 - np.arange(scenario.buckets)[:, None] / scenario.buckets
    found[:, :, 2 : 2 + algos] = scenario.predictions[:, None, :]
    found[:, :, -3], found[:, :, -2] = lower / scenario.lots, upper / scenario.lots
    found[:, :, -1] = postable / scenario.lots
    return found


def _runs(indices: NDArray[np.int64]) -> Lots:
    """Return (N, 4) value, row, and [start, stop) of runs of equal numbers in rows (L, J + 1)."""
    rows, width = indices.shape
    change = np.ones((rows, width), np.bool_)
    change[:, 1:] = indices[:, 1:] != indices[:, :-1]
    first = np.flatnonzero(change)
    stop = np.append(first[1:], rows * width)
    row = first // width
    runs = np.stack([indices.reshape(-1)[first], row, first - row * width, stop - row * width], 1)
    return np.ascontiguousarray(runs[np.argsort(runs[:, 0], kind="stable")])


def envelopes(scenario: Scenario, volume: Floats) -> tuple[Floats, Floats]:
    """Return the envelope's lower and upper edges (B, n), lots, on n days.

    Postings do not move the envelope, so it is read from orders that post nothing.

    Args:
        scenario: the scenario of the envelope.
        volume: (B, n) market volume of the days, shares.
    """
    batch = Batch(scenario, volume.shape[1], "lots", "minimal", informs=False)
    for array in batch.days:
        array[...] = 0
    batch.days.volume[...] = volume
    lower, upper = np.empty((2, *volume.shape))
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    for bucket in range(scenario.buckets):
        lower[bucket], upper[bucket] = batch.orders.lower, batch.orders.upper
        batch.advance(batch.no_actions, batch.nobody, batch.everyone)
    return lower, upper


def _room_varies(scenario: Scenario) -> bool:
    """Return True if postable lots depend on more than bucket and remaining lots."""
    order = parameters(scenario).order[0]
    noisy = scenario.volume is not None and scenario.volume.sd > 0
    looks_back = bool(order["capped"] and order["window"] > 1)
    partly = looks_back and bool(order["window"] < scenario.buckets)
    tracked = bool(order["hard_upper"] and order["track_volume"])
    return partly or (noisy and (looks_back or tracked))


def _expected_room(scenario: Scenario, upper: Floats, remaining: Floats) -> Floats:
    """Return (B, J + 1) lots that the limits other than ``remaining`` (J + 1,) allow.

    Past volume is as expected. All past fills count where the cap looks back to the start. Where it
    looks back at a few buckets, fills count as if they had been spread evenly over the past.
    """
    order = parameters(scenario).order[0]
    filled, expected = scenario.lots - remaining, scenario.expected_volume
    room = np.full((scenario.buckets, remaining.size), float(order["max_posted"]))
    for bucket in range(scenario.buckets):
        if order["capped"]:
            oldest = max(bucket + 1 - int(order["window"]), 0)
            volume, share = expected[oldest : bucket + 1].sum(), (bucket - oldest) / max(bucket, 1)
            ours = [participation_room(order["max_rate"], volume, share * lots) for lots in filled]
            room[bucket] = np.minimum(room[bucket], ours)
        if order["hard_upper"]:
            below = [envelope_room(upper[bucket], lots) for lots in filled]
            room[bucket] = np.minimum(room[bucket], below)
    return room


def same_cells(scenario: Scenario) -> NDArray[np.int64]:
    """Return (B,) for every bucket the first one with the same cells and laws.

    Such buckets have the same predictions and costs, the same law of depth, and the same law of the
    mid's move. Laws of depth differ in the chance of any depth or in its median in lots. Laws of
    moves differ in their standard deviation. The first bucket's law also differs if the liquidity
    factor persists. All of the factor is new in the first bucket, and only part of it later, so the
    correlation of move and fills differs.
    """
    cells = np.hstack([scenario.predictions, scenario.posting_costs])
    if any(algo.depth is not None for algo in scenario.algos):
        cells = np.hstack([cells, scenario.fill_probability, scenario.depth_location])
    if scenario.price is not None:
        moves = np.broadcast_to(np.asarray(scenario.price.sd), scenario.buckets)
        opens = (np.arange(scenario.buckets) == 0) & (scenario.liquidity.persistence > 0)
        cells = np.column_stack([cells, moves, opens])
    _, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[inverse.reshape(-1)], np.int64)
