"""Numbers of the linear programme, from an observation.

The programme makes these assumptions about later buckets:

- estimates: an algo that fills m times its prediction now does so until the end, at most
  everything; with depth, in all its pieces (see ``agents.planning.pieces``);
- envelope: as expected at the start, also where it tracks the day's volume;
- volume: as expected.

Past volume is not observed. Where participation is counted since the start, past volume is inferred
from the lots that are postable now. Past fills in a participation window of several buckets are not
observed either; they are taken to have followed expected volume.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.lp.model import WHOLE, Arrays, most_posted
from agents.planning.pieces import pieces
from execution_env import Scenario
from execution_env.allocation.formulas import LOT_TOLERANCE
from execution_env.allocation.parameters import parameters
from execution_env.core.jit import inner_inline, jit

ROUNDING = 1e-4
"""Largest error of a whole number of lots, from float32 observations and the solver's tolerance."""

FIRST = np.dtype(
    [
        ("lots", np.float64),  # n
        ("unit", np.float64),  # size of a lot, percent of the order
        ("charge_filled", np.bool_),
        ("at_most", np.float64),  # most lots in the first bucket by max_posted and a one-bucket cap
        ("hard_upper", np.bool_),  # whether fills must be unable to cross the upper edge
        ("since_start", np.bool_),  # whether participation is counted since the order's start
        ("cap", np.float64),  # most lots filled after the first bucket under that participation
        ("below", np.float64),  # margins from the lower and the upper edge, lots
        ("above", np.float64),
    ],
    align=True,
)
"""Record of the numbers that hold for a whole horizon."""

LATER = np.dtype(
    [
        ("lower", np.float64),  # edges at the end of the bucket before
        ("upper", np.float64),
        ("total", np.float64),  # most lots filled before this bucket plus posted in it
        ("cap_more", np.float64),  # increase of FIRST.cap up to this bucket
        ("window", np.float64),  # lots that participation allows in the bucket's window
        ("window_past", np.float64),  # share of the lots filled so far that falls into the window
        ("window_base", np.bool_),  # whether it starts now or before; then all fills so far count
        ("bucket", np.float64),  # most lots posted
    ],
    align=True,
)
"""Record of one bucket after the first, in lots."""

Floats = NDArray[np.float64]


class Horizon(NamedTuple):
    """Numbers of the scenario for the last r buckets.

    Attributes:
        first: (1,) record of ``FIRST``.
        later: (r - 1,) records of ``LATER``.
        cells: (r, W) records of ``pieces.PIECE``.
    """

    first: NDArray[Any]
    later: NDArray[Any]
    cells: NDArray[Any]


def horizon_of(
    scenario: Scenario, bucket: int, at_most_remaining: bool, margins: Floats
) -> Horizon:
    """Return the horizon from ``bucket`` to the end, with ``margins`` (2,) in lots."""
    of = parameters(scenario)
    order, buckets = of.order[0], of.buckets
    n, numbers = float(order["lots"]), np.arange(bucket + 1, scenario.buckets)
    first, later = np.zeros(1, FIRST), np.zeros(numbers.size, LATER)
    first["lots"], first["unit"] = n, WHOLE / n
    first["charge_filled"] = order["charge_filled"]
    first["hard_upper"] = order["hard_upper"]
    first["below"], first["above"] = margins
    later["lower"], later["upper"] = buckets["lower"][bucket:-1], buckets["upper"][bucket:-1]
    later["total"] = n if at_most_remaining else np.inf
    if order["hard_upper"]:
        later["total"] = np.minimum(later["total"], whole(buckets["upper"][numbers]))
    most = np.full(scenario.buckets, float(order["max_posted"]))
    later_most = most.copy() if at_most_remaining else np.full_like(most, most_posted(scenario))
    if order["capped"]:
        rate, span = float(order["max_rate"]), int(order["window"])
        traded = np.concatenate([[0.0], np.cumsum(buckets["expected_volume"])])
        oldest = np.maximum(numbers + 1 - span, 0)
        later["window"] = whole(rate * (traded[numbers + 1] - traded[oldest]))
        later["window_base"] = oldest <= bucket
        if traded[bucket] > 0:
            past = np.maximum(traded[bucket] - traded[oldest], 0.0)
            later["window_past"] = past / traded[bucket]
        if span >= scenario.buckets:
            first["since_start"], first["cap"] = True, rate * traded[bucket + 1]
            later["cap_more"] = rate * (traded[numbers + 1] - traded[bucket + 1])
        elif span == 1:
            cap = whole(rate * buckets["expected_volume"])
            most, later_most = np.minimum(most, cap), np.minimum(later_most, cap)
    first["at_most"], later["bucket"] = most[bucket], later_most[numbers]
    return Horizon(first, later, pieces(scenario).cells[bucket:].copy())


def whole(lots: Floats) -> Floats:
    """Return lots rounded down, with the market's tolerance."""
    rounded: Floats = np.floor(lots + LOT_TOLERANCE)
    return rounded


@inner_inline
def _estimate(observation: Any, cells: Any, j: int, i: int) -> Any:
    """Return the expected fill rate of piece i in the j-th bucket from now."""
    estimate = np.float64(observation[2 + cells[j, i].algo])
    # Both rounded to float32, so that the multiplier is 1 where nothing has been learned.
    now = np.float64(np.float32(cells[0, i].prediction))
    if now > 0.0:
        return min(estimate / now * cells[j, i].rate, 1.0)
    return estimate if j == 0 else cells[j, i].rate


@jit
def put_estimates(horizon: Horizon, observation: NDArray[np.float32], fills: Floats) -> None:
    """Write the estimates into ``fills`` (S, r, W), the same in all S scenarios."""
    for s in range(fills.shape[0]):
        for j in range(fills.shape[1]):
            for i in range(fills.shape[2]):
                fills[s, j, i] = _estimate(observation, horizon.cells, j, i)


@inner_inline
def _inside(first: Any, lower: float, upper: float) -> tuple[float, float]:
    """Return the edges with their margins; where they would cross, both meet in between.

    An edge that no fill can cross, at 0 or n, has no margin.
    """
    low = lower + first.below if lower > 0.0 else lower
    high = upper - first.above if upper < first.lots else upper
    if low > high:
        low = high = min(max(0.5 * (low + high), lower), max(lower, upper))
    return low, high


@jit
def put(
    horizon: Horizon,
    observation: NDArray[np.float32],
    observed_edges: bool,
    arrays: Arrays,
) -> None:
    """Write the programme's numbers for a "full" observation into ``arrays``.

    Args:
        horizon: horizon from the observation's bucket on.
        observation: (5 + 2 K,) "full" observation.
        observed_edges: whether the first bucket's envelope is the observed one; else ``horizon``'s.
        arrays: arrays of the programme of that horizon; their ``fills`` are set already.
    """
    first, later, layout = horizon.first[0], horizon.later, arrays.layout[0]
    scenarios, buckets, algos = arrays.fills.shape
    n, unit = first.lots, first.unit
    filled = n - np.rint(np.float64(observation[0]) * n)
    postable = np.rint(np.float64(observation[-1]) * n)
    cost, least, most = arrays.columns
    row_least, row_most = arrays.rows
    row_most[0] = unit * postable
    for i in range(algos):
        cost[i] = 0.0
    for s in range(scenarios):
        row = 1 + s * layout.width
        start = (WHOLE if buckets == 1 else 0.0) - unit * filled
        row_least[row] = row_most[row] = start
        for j in range(buckets):
            for i in range(algos):
                fill, price = arrays.fills[s, j, i], horizon.cells[j, i].cost
                price = price * fill if first.charge_filled else price
                arrays.values[arrays.places[s, j, i]] = fill
                arrays.costs[s, j, i] = price
                # += because the first bucket's columns are common to all scenarios
                column = arrays.posted[s, j, i]
                cost[column] = (cost[column] if j == 0 else 0.0) + price / scenarios
    # If participation is the binding limit now, the postable lots tell the past volume.
    cap = filled + postable
    other = min(n - filled, first.at_most)
    if first.hard_upper:
        other = min(other, np.floor(n * np.float64(observation[-2]) + ROUNDING) - filled)
    if postable >= other:
        cap = max(cap, first.cap)
    room = filled + postable
    for j in range(buckets - 1):
        lower, upper = later[j].lower, later[j].upper
        if j == 0 and observed_edges:
            lower, upper = n * np.float64(observation[-3]), n * np.float64(observation[-2])
        lower, upper = _inside(first, lower, upper)
        total = later[j].total
        if first.since_start:
            total = min(total, np.floor(cap + later[j].cap_more + LOT_TOLERANCE))
        # Room never shrinks from bucket to bucket: else even posting nothing could be forbidden.
        room = max(room, total)
        window = max(later[j].window - later[j].window_past * filled, 0.0)
        if later[j].window_base:
            window += filled
        for s in range(scenarios):
            row = 1 + s * layout.width + j
            least[arrays.inside[s, j]] = unit * lower
            most[arrays.inside[s, j]] = unit * upper
            if layout.total:
                row_most[row + layout.total] = unit * room
            if layout.window:
                row_most[row + layout.window] = unit * window
            if layout.bucket:
                row_most[row + layout.bucket] = unit * later[j].bucket
