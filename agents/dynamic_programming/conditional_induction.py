"""Backward induction where the algos fill independently of each other.

This is the recursion of ``backward_induction`` where everything that algos have in common is known.
The law of a bucket's fills is then the product of one law per algo, and

    E W(R - g_1 - ... - g_K) = E_1 E_2 ... E_K W(R - ...)

is taken one algo at a time, for all R with the same room at once. Actions whose allocations agree
in the first algos share the first steps. No draws of whole buckets are needed, so this is about a
hundred times faster. The remaining error comes from the samples of each law: fill rates in strata
of their distribution, or depths where depth decides. Rounding is averaged exactly.

With shortfall costs a filled lot does not pay the mid's move of its bucket. Each draw has its
expected move. The mean product of move and fill is the covariance, which is adverse selection.

Orders of more lots than levels are solved on equally spaced levels of remaining lots. A fill that
ends between two levels is then spread over both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.policy import Lots, grid_lots
from execution_env import Scenario
from execution_env.allocation.actions import action_grid
from execution_env.allocation.formulas import LOT_TOLERANCE
from execution_env.allocation.orders import Index
from execution_env.core.jit import inner_inline, splice

Floats = NDArray[np.float64]


class Allocations(NamedTuple):
    """Lots that the distinct actions of a grid post, by the number of levels that may be posted.

    Attributes:
        rooms: (J + 1,) lots that may be posted.
        amounts: (X,) all numbers of lots that are posted through an algo, ascending.
        distinct: (J + 1,) number of distinct actions.
        action: (J + 1, A) actions, the distinct ones in front.
        amount: (J + 1, A, K) lots that they post, as indices into ``amounts``.
        shared: (J + 1, A) number of algos, from the first on, that post as many lots as in the
            action before.
    """

    rooms: Lots
    amounts: Lots
    distinct: Lots
    action: NDArray[np.int32]
    amount: NDArray[np.int32]
    shared: NDArray[np.int32]


class Scratch(NamedTuple):
    """Memory of ``best_in_bucket``.

    Attributes:
        law: (K, X, J + 2) probability that 0, 1, ... levels of lots fill.
        first, last: (K, X) first and last level with a positive probability; ``first`` is -1 where
            the law is not computed yet.
        mean: (K, X) expected fill in lots.
        spared: (K, X) expected product of the fill and the move that a filled lot does not pay.
        ahead: (K + 1, J + 1) expected value, averaged over the fills of the first 0 to K algos.
    """

    law: Floats
    first: Lots
    last: Lots
    mean: Floats
    spared: Floats
    ahead: Floats


def allocations(scenario: Scenario, resolution: int, levels: int) -> Allocations:
    """Return the allocations of the grid of ``resolution`` on J = ``levels`` levels."""
    grid = action_grid(len(scenario.algos), resolution)
    rooms = (np.arange(levels + 1) * (scenario.lots / levels) + LOT_TOLERANCE).astype(np.int64)
    size, algos = grid.parts.shape
    mask = grid.mask[np.minimum(rooms, len(grid.mask) - 1)]
    distinct = mask.sum(axis=1, dtype=np.int64)
    # A stable sort of "is a twin" puts the distinct actions in front, in their order.
    action = np.argsort(1 - mask, axis=1, kind="stable").astype(np.int32)
    lots = grid_lots(
        scenario,
        action.reshape(-1).astype(np.int64),
        np.repeat(rooms, size).astype(np.int32),
        resolution,
    )
    amounts, amount = np.unique(lots, return_inverse=True)
    index: NDArray[np.int32] = amount.reshape(levels + 1, size, algos).astype(np.int32)
    shared = np.zeros((levels + 1, size), np.int32)
    alike = index[:, 1:] == index[:, :-1]
    shared[:, 1:] = np.logical_and.accumulate(alike, axis=2).sum(axis=2)
    return Allocations(
        rooms=rooms, amounts=amounts, distinct=distinct, action=action, amount=index, shared=shared
    )


def scratch(split: Allocations) -> Scratch:
    """Return memory for the levels, amounts and algos of ``split``."""
    levels, _, algos = split.amount.shape
    size = (algos, split.amounts.size)
    return Scratch(
        law=np.zeros((*size, levels + 1)),
        first=np.full(size, -1),
        last=np.zeros(size, np.int64),
        mean=np.zeros(size),
        spared=np.zeros(size),
        ahead=np.zeros((algos + 1, levels)),
    )


def stratified_normals(uniforms: Floats) -> Floats:
    """Return (n, S) standard normals, one in each of S equally likely strata.

    Args:
        uniforms: (n, S) uniform numbers in [0, 1).
    """
    # slow to import, and needed by few
    from scipy.special import ndtri  # type: ignore[import-untyped]  # noqa: PLC0415

    strata = np.arange(uniforms.shape[1])
    normals: Floats = ndtri((strata + np.maximum(uniforms, 1e-9)) / uniforms.shape[1])
    return normals


@inner_inline
def _fill_law(
    lots: int,
    step: float,
    rates: NDArray[np.float32],
    limits: Floats,
    spared: Floats,
    law: Floats,
) -> tuple[Index, Index, float, float]:
    """Write the law of the number of levels that the fills of ``lots`` posted lots take off.

    Given the fill rate F and the depth C, min(x F, C) + u rounded down is one of two neighbouring
    whole numbers.

    Args:
        lots: lots posted, x.
        step: levels per lot.
        rates: (S,) equally likely fill rates.
        limits: (S,) depth of each draw.
        spared: (S or 0,) move that a filled lot does not pay, in each draw.
        law: (J + 2,), written.

    Returns:
        First and last level with a positive probability, expected fill in lots, and the expectation
        of fill times ``spared``.
    """
    last = np.int64(min(np.ceil(lots * step), law.size - 2.0))
    for g in range(last + 2):
        law[g] = 0.0
    mean, together = 0.0, 0.0
    weight = 1.0 / rates.size
    for s in range(rates.size):
        fill = min(lots * np.float64(rates[s]), limits[s])
        low = np.int32(fill)
        high = np.int32(fill + (1.0 - LOT_TOLERANCE))
        chance = (fill - low) * (high - low)
        mean += weight * (low + chance)
        if spared.size > 0:
            together += weight * spared[s] * (low + chance)
        if step == 1.0:
            law[low] += weight * (1.0 - chance)
            law[low + 1] += weight * chance
        else:
            taken = (low + chance) * step
            whole = np.int64(taken)
            law[whole] += weight * (1.0 - (taken - whole))
            law[whole + 1] += weight * (taken - whole)
    first = 0
    while law[first] == 0.0:
        first += 1
    while law[last] == 0.0:
        last -= 1
    return first, last, mean, together


@splice
def best_in_bucket(
    split: Allocations,
    row: Lots,
    lowest: Index,
    step: float,
    price: Floats,
    charge_filled: bool,
    rates: NDArray[np.float32],
    limits: Floats,
    spared: Floats,
    memory: Scratch,
    value: Floats,
    actions: NDArray[np.int16],
) -> None:
    """Write the best action, and its value, at every level of remaining lots from ``lowest`` on.

    Args:
        split: allocations of the grid.
        row: (J + 1,) index of the room in ``split`` at each level.
        lowest: lowest level to solve.
        step: levels per lot.
        price: (K,) cost of a lot, per share of the order.
        charge_filled: whether filled lots are charged instead of posted lots.
        rates: (K, S) equally likely fill rates.
        limits: (K, S) depth of each draw: most lots that can fill, perhaps no whole number.
        spared: (K, S) move that a filled lot does not pay, per share of the order; or (K, 0).
        memory: ``ahead[0]`` holds W, the value after the bucket by the levels then remaining. Laws
            that are there already are used.
        value: (J + 1,), written.
        actions: (J + 1,), written.
    """
    algos, top = price.size, row.size
    cost = np.zeros(algos + 1)
    ahead = memory.ahead
    left = np.empty(algos + 1, np.int64)
    slack = 0 if step == 1.0 else 1  # a fill between two levels counts as the upper one, too
    start = lowest
    while start < top:
        here = row[start]
        stop = start + 1
        while stop < top and row[stop] == here:
            stop += 1
        best, choice = value[start:stop], actions[start:stop]
        for r in range(np.uint64(stop - start)):
            best[r] = np.inf
        left[0] = here
        for j in range(split.distinct[here]):
            for i in range(split.shared[here, j], algos):
                x = split.amount[here, j, i]
                lots = split.amounts[x]
                if memory.first[i, x] < 0:
                    found = _fill_law(lots, step, rates[i], limits[i], spared[i], memory.law[i, x])
                    memory.first[i, x], memory.last[i, x] = found[0], found[1]
                    memory.mean[i, x], memory.spared[i, x] = found[2], found[3]
                charged = memory.mean[i, x] if charge_filled else np.float64(lots)
                cost[i + 1] = cost[i] + price[i] * charged - memory.spared[i, x]
                # Levels that the other algos may still take off.
                left[i + 1] = left[i] - np.int64(lots * step)
                others = algos - 1 - i
                from_ = start
                if others > 0:
                    from_ = max(start - left[i + 1] - slack * others, 0)
                _expect(
                    memory.law[i, x],
                    memory.first[i, x],
                    memory.last[i, x],
                    ahead[i],
                    ahead[i + 1],
                    from_,
                    stop,
                )
            result = ahead[algos, start:stop]
            for r in range(np.uint64(stop - start)):
                total = cost[algos] + result[r]
                if total < best[r]:
                    best[r] = total
                    choice[r] = split.action[here, j]
        start = stop


@inner_inline
def _expect(
    law: Floats, first: int, last: int, ahead: Floats, out: Floats, start: Index, stop: Index
) -> None:
    """Write out[R] = E ahead[R - g] for start <= R < stop."""
    if stop - start == 1:
        total = 0.0
        for g in range(first, last + 1):
            total += law[g] * ahead[max(start - g, 0)]
        out[start] = total
        return
    for r in range(start, stop):
        out[r] = 0.0
    for g in range(first, last + 1):
        chance = law[g]
        inside = min(max(start, g), stop)
        for r in range(start, inside):  # only where a level is not a lot
            out[r] += chance * ahead[0]
        mine, theirs = out[inside:stop], ahead[inside - g : stop - g]
        for r in range(np.uint64(mine.size)):
            mine[r] += chance * theirs[r]
