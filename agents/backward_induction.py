"""Backward induction over buckets, on the law of a bucket's fills.

With R lots remaining before bucket b, of which m = m_b(R) may be posted, and g(a) the lots that fill
when action a of an allocation grid is played,

    V_b(R) = min_a  cost_b(a, m) + E W_b(R - g(a)),        W_b(R') = penalty_b(R') + V_{b+1}(R'),

V_B = 0 (Bellman 1957, Dynamic Programming; Puterman 2005, Markov Decision Processes, section 4.5). The
penalty is for lots outside the envelope, and after the last bucket for those left over. The
expectation is a mean over draws of (F, u), the fill rates and rounding of one bucket, joint over
algos. Fills and penalties are the formulas of ``transition``. The law of g depends on R through m
only: it is counted once per m and action, and serves all R and all buckets with the same draws.

Orders of more than ``LEVELS`` lots are solved on fewer, equally spaced levels of R. W is then taken
to be linear between them: a fill that ends between two levels is spread over both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.jit import jit
from agents.policy import Lots, grid_lots
from execution_env import Scenario
from execution_env.actions import action_grid
from execution_env.batch import Batch
from execution_env.parameters import Parameters, parameters
from execution_env.transition import (
    LOT_TOLERANCE,
    distance_outside,
    envelope_room,
    filled_lots,
    participation_room,
    residual_price,
)

LEVELS = 512
"""Most levels of remaining lots; up to that many lots, a level is a lot."""

MEMORY = 1 << 23
"""Most probabilities held at a time, 64 MiB."""

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


def levels_of(lots: int, most: int = LEVELS) -> int:
    """J, how many levels of remaining lots to solve on: all ``lots``, or at most ``most``.

    A number that divides the lots where there is one: envelopes have their edges at round fractions
    of the order, and an edge between two levels blurs by up to a level.
    """
    if lots <= most:
        return lots
    fair = [levels for levels in range(most, most // 4, -1) if lots % levels == 0]
    return fair[0] if fair else most


class Problem(NamedTuple):
    """A scenario on a grid of A actions and J + 1 equally spaced levels of remaining lots.

    Attributes:
        parameters: of the scenario.
        resolution: of the action grid.
        lower, upper: (B,) lots between which the cumulative fill should lie.
        postable: (B, L, J + 1) lots that may be posted at each level. [:, 0] is what is expected
            there; [:, 1:] are other cases that the market may lead to.
        rooms: (M,) ascending, all numbers of lots in ``postable``.
        runs: for every bucket (N, 4): a room's index, a case l and the levels [j, k) that have that room
            in ``postable[b, l]``; rooms ascending.
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
        """J."""
        return int(self.postable.shape[2]) - 1


class Draws(NamedTuple):
    """D draws of what one bucket brings.

    Attributes:
        fill_rate, rounding, depth: (B, K, D), as in ``market.Days``.
        source: (B,) for every bucket the one whose draws it uses.
    """

    fill_rate: NDArray[np.float32]
    rounding: NDArray[np.float32]
    depth: Ints
    source: NDArray[np.int64]


class Solution(NamedTuple):
    """What backward induction found.

    Attributes:
        actions: (B, L, J + 1) int16, the best action.
        values: (B + 1, J + 1) objective from here on, per share of the parent order.
    """

    actions: NDArray[np.int16]
    values: Floats


def pose(scenario: Scenario, resolution: int | None = None, levels: int = LEVELS) -> Problem:
    """``scenario`` on at most ``levels`` levels, on its own grid or one of ``resolution``."""
    resolution = resolution or scenario.actions.resolution
    levels = levels_of(scenario.lots, levels)
    lower, upper = envelopes(scenario, scenario.expected_volume[:, None])
    remaining = np.arange(levels + 1, dtype=np.float64) * (scenario.lots / levels)
    room = _expected_room(scenario, upper[:, 0], remaining)[:, None]
    if _room_varies(scenario):
        # Denser where there is little room: there a lot more or less matters.
        most = float(parameters(scenario).order[0]["max_posted"])
        others = np.unique(np.rint(most * np.linspace(0.0, 1.0, 25) ** 2))[:, None]
        shape = (scenario.buckets, len(others), levels + 1)
        room = np.concatenate([room, np.broadcast_to(others, shape)], axis=1)
    limited = np.minimum(room, remaining + LOT_TOLERANCE)
    postable = np.floor(np.maximum(limited, 0.0)).astype(np.int64)
    rooms = np.unique(postable)
    grid = action_grid(len(scenario.algos), resolution)
    count = len(grid.parts)
    actions = np.tile(np.arange(count), rooms.size)
    lots = grid_lots(scenario, actions, np.repeat(rooms, count).astype(np.int32), resolution)
    return Problem(
        parameters(scenario),
        resolution,
        lower[:, 0],
        upper[:, 0],
        postable,
        rooms,
        [_runs(np.searchsorted(rooms, lots)) for lots in postable],
        lots.reshape(rooms.size, count, -1).astype(np.int32),
        grid.mask[np.minimum(rooms, len(grid.mask) - 1)] == 1,
    )


def _runs(indices: NDArray[np.int64]) -> Lots:
    """(N, 4): value, row, and [start, stop) of the runs of equal numbers in rows (L, J + 1)."""
    rows, width = indices.shape
    change = np.ones((rows, width), np.bool_)
    change[:, 1:] = indices[:, 1:] != indices[:, :-1]
    first = np.flatnonzero(change)
    stop = np.append(first[1:], rows * width)
    row = first // width
    runs = np.stack([indices.reshape(-1)[first], row, first - row * width, stop - row * width], 1)
    return np.ascontiguousarray(runs[np.argsort(runs[:, 0], kind="stable")])


def envelopes(scenario: Scenario, volume: Floats) -> tuple[Floats, Floats]:
    """Lower and upper bounds (B, n) in lots on n days with ``volume`` (B, n) shares.

    Nothing posted moves them: they are read off orders that post nothing.
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
    """Whether postable lots depend on more than bucket and remaining lots."""
    order = parameters(scenario).order[0]
    noisy = scenario.volume is not None and scenario.volume.sd > 0
    looks_back = bool(order["capped"] and order["window"] > 1)
    partly = looks_back and bool(order["window"] < scenario.buckets)
    tracked = bool(order["hard_upper"] and order["track_volume"])
    return partly or (noisy and (looks_back or tracked))


def _expected_room(scenario: Scenario, upper: Floats, remaining: Floats) -> Floats:
    """(B, J + 1) lots that limits other than ``remaining`` (J + 1,) leave room for.

    Past volume is as expected. Past fills all count where the cap looks back to the start; where it
    looks at the last few buckets, they count as if fills had been spread evenly over the past.
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
    """(B,) for every bucket the first one with the same predictions and costs."""
    cells = np.hstack([scenario.predictions, scenario.posting_costs])
    _, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[inverse.reshape(-1)], np.int64)


def solve(problem: Problem, draws: Draws) -> Solution:
    """The best action everywhere, by backward induction."""
    order, buckets = problem.parameters.order[0], len(problem.lower)
    values = np.zeros((buckets + 1, problem.levels + 1))
    actions = np.zeros(problem.postable.shape, np.int16)
    after = np.empty(problem.levels + 1)
    count = problem.lots.shape[1]
    width = problem.levels + 2
    part = min(max(MEMORY // (count * width), 1), problem.rooms.size)
    probability, cost = np.empty((part, count, width)), np.empty((part, count))
    last = np.empty((part, count), np.int64)
    held = (-1, -1)
    for bucket in range(buckets - 1, -1, -1):
        lower, upper = problem.lower[bucket], problem.upper[bucket]
        _continue(order, lower, upper, bucket, values[bucket + 1], after)
        best = np.full(problem.postable.shape[1:], np.inf)
        source = draws.source[bucket]
        of_source = np.flatnonzero(draws.source == source)
        needed = np.unique(np.concatenate([problem.runs[b][:, 0] for b in of_source]))
        for first in range(0, needed.size, part):
            which = needed[first : first + part]
            if held != (source, first):
                _count(
                    order,
                    problem.parameters.cells[bucket],
                    problem.lots,
                    problem.distinct,
                    which,
                    draws.fill_rate[source],
                    draws.rounding[source],
                    draws.depth[source],
                    probability,
                    last,
                    cost,
                )
                held = (source, first)
            _improve(
                probability, last, cost, which, problem.runs[bucket], after, best, actions[bucket]
            )
        values[bucket] = best[0]
    return Solution(actions, values)


@jit
def _continue(
    order: Any, lower: float, upper: float, bucket: int, following: Floats, after: Floats
) -> None:
    """Write W: penalty after ``bucket`` plus what follows, at every level of remaining lots."""
    share = 1.0 / (following.size - 1)
    for j in range(following.size):
        left = j * share
        if bucket + 1 == order.buckets:
            after[j] = residual_price(order.residual_penalty, order.residual_quadratic, left)
        else:
            distance = distance_outside(lower, upper, order.lots * (1.0 - left))
            after[j] = order.envelope_penalty * order.per_lot * distance + following[j]


@jit
def _count(
    order: Any,
    cells: NDArray[Any],
    lots: Ints,
    distinct: NDArray[np.bool_],
    which: Lots,
    fill_rate: NDArray[np.float32],
    rounding: NDArray[np.float32],
    depth: Ints,
    probability: Floats,
    last: Lots,
    cost: Floats,
) -> None:
    """Count what fills, for the rooms ``which``.

    Args:
        order, cells: of the parameters, cells of one bucket.
        lots, distinct: of the problem.
        which: (m,) indices of rooms.
        fill_rate, rounding, depth: (K, D) draws.
        probability: (m, A, J + 2), written: that an action takes so many levels off.
        last: (m, A), written: the last level with a probability.
        cost: (m, A), written: expected, per share of the order; inf where not distinct.
    """
    draws = np.uint64(fill_rate.shape[1])
    levels = probability.shape[2] - 2
    step = levels * order.per_lot
    total = np.empty(draws, np.int32)
    for j in range(which.size):
        for action in range(lots.shape[1]):
            cost[j, action] = np.inf
            if not distinct[which[j], action]:
                continue
            for d in range(draws):
                total[d] = 0
            price = 0.0
            posted = 0
            for i in range(lots.shape[2]):
                x = lots[which[j], action, i]
                if x == 0:
                    continue
                posted += x
                ours = 0
                for d in range(draws):
                    filled = filled_lots(
                        x, np.float64(fill_rate[i, d]), np.float64(rounding[i, d]), depth[i, d]
                    )
                    total[d] += filled
                    ours += filled
                charged = ours / draws if order.charge_filled else np.float64(x)
                price += cells[i].cost * order.per_lot * charged
            cost[j, action] = price
            law = probability[j, action]
            last[j, action] = min(np.int64(np.ceil(posted * step)), levels)
            for k in range(last[j, action] + 2):
                law[k] = 0.0
            if levels == order.lots:
                for d in range(draws):
                    law[total[d]] += 1.0
            else:
                for d in range(draws):
                    taken = total[d] * step
                    whole = np.int64(taken)
                    law[whole] += 1.0 - (taken - whole)
                    law[whole + 1] += taken - whole
            for k in range(last[j, action] + 1):
                law[k] /= draws


@jit
def _improve(
    probability: Floats,
    last: Lots,
    cost: Floats,
    which: Lots,
    runs: Lots,
    after: Floats,
    best: Floats,
    actions: NDArray[np.int16],
) -> None:
    """Take the best action wherever one of the rooms ``which`` is: minimise cost + E W."""
    expected = np.empty(after.size)
    j = 0
    for run in range(runs.shape[0]):
        room, case, start, stop = runs[run]
        while j < which.size and which[j] < room:
            j += 1
        if j == which.size:
            return
        if which[j] != room:
            continue
        size = np.uint64(stop - start)
        for action in range(cost.shape[1]):
            if cost[j, action] == np.inf:
                continue
            for r in range(size):
                expected[r] = cost[j, action]
            for k in range(min(last[j, action], stop - 1) + 1):
                chance = probability[j, action, k]
                if chance == 0.0:
                    continue
                skip = max(k - start, 0)  # levels that so many lots cannot be taken from
                ahead = after[start + skip - k : stop - k]
                ours = expected[skip:]
                for r in range(np.uint64(stop - start - skip)):
                    ours[r] += chance * ahead[r]
            value = best[case, start:stop]
            choice = actions[case, start:stop]
            for r in range(size):
                if expected[r] < value[r]:
                    value[r] = expected[r]
                    choice[r] = action
