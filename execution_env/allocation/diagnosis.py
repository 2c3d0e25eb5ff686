"""Warnings about scenarios that are valid but odd, whoever wrote them.

``check`` says them of a file, and ``calibrate`` of what it has fitted, before it writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.adverse_selection import crossing_price
from execution_env.allocation.batch import Batch
from execution_env.allocation.scenario import Scenario

SLACK = 1e-9


def oddities(scenario: Scenario) -> list[str]:
    """Return warnings about ``scenario``, each a sentence; an empty list if there are none."""
    bound = _fastest(scenario, everything_fills=True)
    return [
        *_crossing_that_earns(scenario),
        *_dominated_algos(scenario),
        *_cap_below_order(scenario, int(bound[-1])),
        *_unreachable_envelope(scenario, bound),
        *_cheap_residual(scenario),
    ]


def _dominated_algos(scenario: Scenario) -> list[str]:
    """Return a warning for each algo that a mix of the others and of not posting dominates.

    The mix fills no less at no higher expected cost per posted share. In the plane of cost and fill
    rate a dominated algo lies on or below the hull of the others.
    """
    fills = scenario.predictions
    costs = scenario.posting_costs
    if scenario.costs.basis != "posted":
        costs = costs * fills
    warnings = []
    for i, name in enumerate(scenario.algo_names):
        others = [j for j in range(len(scenario.algos)) if j != i]
        buckets = [
            b + 1
            for b in range(scenario.buckets)
            if _on_or_below_hull(
                costs[b, i],
                fills[b, i],
                np.append(costs[b, others], 0.0),
                np.append(fills[b, others], 0.0),
            )
        ]
        if buckets:
            where = _listed(buckets, scenario.buckets)
            better = _out_of_order(scenario, i, buckets[0] - 1)
            warnings.append(
                f"algo {name} is dominated in {where}: {better}."
                if better
                else f"algo {name} is dominated in {where}: a mix of the others fills as much for the "
                "same cost or less" + (", adverse selection aside." if scenario.shortfall else ".")
            )
    return warnings


def _out_of_order(scenario: Scenario, algo: int, bucket: int) -> str:
    """Return words on an algo that is cheaper than ``algo`` and fills more; empty if there is none."""
    price, fills = scenario.posting_costs[bucket], scenario.predictions[bucket]
    better = (price < price[algo] - SLACK) & (fills > fills[algo] + SLACK)
    if not better.any():
        return ""
    other = int(np.argmax(np.where(better, fills, -1.0)))
    names = scenario.algo_names
    return (
        f"prices and fill rates are out of order, {names[algo]} pays {price[algo]:.4g} and fills "
        f"{fills[algo]:.1%}, {names[other]} pays {price[other]:.4g} and fills {fills[other]:.1%}"
    )


def ladder(
    names: Sequence[str], prices: NDArray[np.float64], errors: NDArray[np.float64]
) -> list[str]:
    """Return a warning for every two neighbours of a ladder of algos whose prices are out of order.

    Args:
        names: (K,) algos, from the one whose limit is furthest on.
        prices: (K,) basis points that a filled share costs above the mid.
        errors: (K,) standard errors; NaN counts as 0. Two of them are left to chance.
    """
    warnings = []
    for i in range(len(names) - 1):
        slack = 2.0 * float(np.hypot(*np.nan_to_num(errors[i : i + 2]))) + SLACK
        if prices[i] < prices[i + 1] - slack:
            warnings.append(
                f"algos are out of order: the limit of {names[i]} is nearer to the far touch than that "
                f"of {names[i + 1]}, but it pays {prices[i]:.4g} bps and {names[i + 1]} "
                f"{prices[i + 1]:.4g}: the data, or --algo, are wrong."
            )
    return warnings


def _crossing_that_earns(scenario: Scenario) -> list[str]:
    """Return a warning if the algo that crosses furthest is paid for it."""
    if not scenario.shortfall:
        return []
    furthest = scenario.crossing_algo
    spread = scenario.half_spreads[:, furthest].mean()
    if spread >= -SLACK:
        return []
    return [
        f"crossing earns money: {scenario.algo_names[furthest]}, the algo that pays most, has a half-"
        f"spread of {spread:.4g} bps. No algo crosses the spread, or the data are wrong."
    ]


def _on_or_below_hull(
    cost: float, fill: float, costs: NDArray[np.float64], fills: NDArray[np.float64]
) -> bool:
    """Return True if a mix of two of the points costs at most ``cost`` and fills at least ``fill``.

    The points are (``costs``, ``fills``). In a plane, two points are enough for the best mix.
    """
    if np.any((costs <= cost + SLACK) & (fills >= fill - SLACK)):
        return True
    for j, k in combinations(range(len(costs)), 2):
        low, high = (j, k) if costs[j] <= costs[k] else (k, j)
        if costs[low] <= cost < costs[high]:
            share = (cost - costs[low]) / (costs[high] - costs[low])
            if fills[low] + share * (fills[high] - fills[low]) >= fill - SLACK:
                return True
    return False


def _listed(buckets: list[int], count: int) -> str:
    if len(buckets) == count:
        return "every bucket"
    shown = ", ".join(map(str, buckets[:8])) + (", ..." if len(buckets) > 8 else "")
    return f"bucket {shown}" if len(buckets) == 1 else f"buckets {shown}"


def _fastest(scenario: Scenario, everything_fills: bool) -> NDArray[np.float64]:
    """Return (B,) most lots that can be filled by each bucket's end on a day of expected volume.

    Every bucket posts all that may be posted through the algo with the highest fill rate. With
    ``everything_fills`` every posted lot fills: then no policy can be faster.
    """
    batch = Batch(scenario, 1, "lots", "minimal", informs=False)
    batch.days.fill_rate[:] = 1.0 if everything_fills else scenario.predictions[:, :, None]
    batch.days.rounding[:] = 0.5
    batch.days.volume[:] = scenario.expected_volume[:, None]
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    filled = np.empty(scenario.buckets)
    for b in range(scenario.buckets):
        lots = batch.no_actions.copy()
        lots[0, scenario.predictions[b].argmax()] = batch.orders.postable[0]
        batch.advance(lots, batch.nobody, batch.everyone)
        filled[b] = scenario.lots - batch.orders.remaining[0]
    return filled


def _cap_below_order(scenario: Scenario, most: int) -> list[str]:
    if most >= scenario.lots:
        return []
    return [
        f"no more than {most} of the order's {scenario.lots} lots can be posted and filled on a day "
        "of expected volume: the participation cap, the risk limit or a hard upper envelope is "
        "below the order."
    ]


def _unreachable_envelope(scenario: Scenario, bound: NDArray[np.float64]) -> list[str]:
    lower, upper = (edge * scenario.lots for edge in scenario.envelope_bounds)
    warnings = []
    # The last bucket's envelope is not penalised: lots left over there pay the residual penalty.
    penalised = np.arange(scenario.buckets) < scenario.buckets - 1
    never = penalised & (bound < lower - SLACK)
    seldom = penalised & ~never & (_fastest(scenario, everything_fills=False) < lower - 1.0)
    empty = penalised & (np.floor(upper + SLACK) < np.ceil(lower - SLACK))
    for which, text in (
        (
            never,
            "no policy can reach the envelope's lower edge in {} on a day of expected volume, even "
            "if every lot fills.",
        ),
        (
            seldom,
            "the envelope's lower edge in {} is out of reach on an average day: posting everything "
            "through the algo with the highest fill rate stays below it.",
        ),
        (empty, "no whole number of lots lies inside the envelope in {}."),
    ):
        if which.any():
            buckets = (np.flatnonzero(which) + 1).tolist()
            warnings.append(text.format(_listed(buckets, scenario.buckets)))
    return warnings


def _cheap_residual(scenario: Scenario) -> list[str]:
    """Return a warning if leaving a share costs less than filling it through the surest algo.

    With shortfall the clean-up fills what is left. It is compared with the algo that crosses
    furthest, adverse selection included (see ``adverse_selection``). For a single share only the
    linear price matters: the quadratic price grows with the residual.
    """
    penalties = scenario.penalties
    if penalties.residual + penalties.residual_quadratic <= SLACK:
        return ["leaving the whole order unfilled costs nothing: policies need not trade at all."]
    if scenario.shortfall:
        price, name = crossing_price(scenario), scenario.algo_names[scenario.crossing_algo]
        if penalties.residual >= price - SLACK:
            return []
        return [
            f"the clean-up is cheaper than crossing: it costs {penalties.residual:.4g} bps a share, and "
            f"{name} {price:.4g} in the last bucket, adverse selection "
            "included: policies will leave part of the order to it."
        ]
    with np.errstate(divide="ignore", invalid="ignore"):
        prices = scenario.posting_costs.copy()
        if scenario.costs.basis == "posted":
            prices = np.where(scenario.predictions > 0, prices / scenario.predictions, np.inf)
    surest = prices[-1, scenario.predictions[-1].argmax()]
    if penalties.residual >= surest or np.isinf(surest):
        return []
    return [
        f"leaving a share unfilled costs {penalties.residual:g}, less than the {surest:g} of "
        "filling it through the surest algo in the last bucket: policies will not complete the order."
    ]
