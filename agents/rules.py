"""Fixed rules: policies that a desk could follow without optimising anything.

- ``all-aggressive``, ``all-passive``, ...: everything postable through one algo, every bucket.
- ``passive-then-sweep``: through the cheapest algo while there is time, then the best-filling one.
- ``twap``: as much as the schedule asks for, through the cheapest algo that can keep up.
- ``random``: a uniformly random action of the scenario's grid.

The cheapest algo has the lowest price of an expected filled share. With estimate e and cost c in
the bucket, that price is c / e where posting is charged, and c where filling is. It is infinite for
an algo that is not expected to fill. With shortfall costs c is half-spread plus fee minus rebate,
which is below 0 for an algo that earns the spread. These rules leave out adverse selection. Ties go
to the higher estimate, then to the lower index.

With depth, twice the lots fill less than twice as much: see ``agents.planning.expected_fills``.

All rules but ``random`` are pure functions of "full" observations. The orders of a batch may be in
different buckets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agents.planning.expected_fills import Curves, curves, expected_fill, expected_fills, lots_for
from agents.policy import (
    Floats,
    GridPolicy,
    Lots,
    Observations,
    Observed,
    Policy,
    read_observations,
    read_state,
)
from execution_env import Scenario
from execution_env.allocation.market.day_stream import POLICY, stream_generator
from execution_env.allocation.parameters import parameters
from execution_env.core.jit import jit
from execution_env.core.validation import integer, natural

Factory = Callable[[Scenario], Policy]

HALF_A_LOT = 0.5
"""Least expected rest, in lots, of an order that is not expected to complete."""

OBSERVATION_ERROR = 1e-6
"""Relative error of numbers computed from float32 observations, rounded up."""


def rules(scenario: Scenario) -> dict[str, Factory]:
    """Return the factories of the rules for ``scenario``, by name."""
    found: dict[str, Factory] = {
        name: partial(OneAlgo, algo=j, name=name)
        for j, name in enumerate(one_algo_names(scenario), 1)
    }
    return found | {"passive-then-sweep": PassiveThenSweep, "twap": Twap, "random": Random}


def one_algo_names(scenario: Scenario) -> list[str]:
    """Return the (K,) names of the rules that use one algo.

    A name is "all-" and the algo's name in lower case, with dashes for spaces. Where two algos
    would share a name, the later one gets its number, from 1, as an ending.
    """
    names: list[str] = []
    for j, algo in enumerate(scenario.algo_names, 1):
        name = "all-" + "-".join(algo.lower().split())
        while name in names:
            name += f"-{j}"
        names.append(name)
    return names


class OneAlgo(Policy):
    """Policy that posts everything postable through one algo.

    Args:
        scenario: the scenario to play.
        algo: number of the algo, 1 to K.
        name: name in tables; default as in ``one_algo_names``.

    Raises:
        ScenarioError: there is no such algo.
    """

    def __init__(self, scenario: Scenario, algo: int = 1, name: str | None = None) -> None:
        number = integer("algo", algo, 1, len(scenario.algos), "algos")
        super().__init__(scenario, name or one_algo_names(scenario)[number - 1])
        self._algo = number - 1

    def decide(self, observations: Observations) -> Lots:
        """Return (n, K) lots to post."""
        seen = read_observations(self.scenario, observations)
        return _through(np.full(seen.bucket.shape, self._algo), seen.postable, seen.estimates)


class PassiveThenSweep(Policy):
    """Policy that posts through the cheapest algo while there is time, then the best-filling one.

    This second part, the sweep, starts at the last moment. The rule supposes that this bucket goes
    through the cheapest algo and that all later buckets are swept. The sweep starts if that is
    expected to leave half a lot or more. Expected fills of later buckets rest on these assumptions:

    - each estimate keeps its ratio to the prediction, at most 1;
    - a later bucket may post the lots left, within max_posted, the participation rate of its own
      expected volume, and a hard upper edge;
    - room that earlier buckets leave unused is lost;
    - the envelope's lower edge is ignored.
    """

    def __init__(self, scenario: Scenario, name: str = "passive-then-sweep") -> None:
        super().__init__(scenario, name)
        self._predictions, self._costs = scenario.predictions, scenario.posting_costs
        self._capacity, self._curves = _expected_capacity(scenario), curves(scenario)
        hard = scenario.envelope.upper_mode == "hard"
        upper = scenario.envelope_bounds[1] if hard else np.full(scenario.buckets, np.inf)
        self._upper = upper * scenario.lots

    def decide(self, observations: Observations) -> Lots:
        """Return (n, K) lots to post."""
        seen = read_observations(self.scenario, observations)
        cheapest = _cheapest(_price(self.scenario, self._costs, seen), seen.estimates)
        sweeping = self._rest_after_a_late_sweep(seen, cheapest) >= HALF_A_LOT
        return _through(
            np.where(sweeping, _best_filling(self._costs, seen), cheapest),
            seen.postable,
            seen.estimates,
        )

    def _rest_after_a_late_sweep(self, seen: Observed, cheapest: Lots) -> Floats:
        """Return (n,) lots expected to be left over if the sweep starts in the next bucket."""
        estimates, fills = np.ascontiguousarray(seen.estimates), np.empty(seen.estimates.shape)
        expected_fills(self._curves, seen.bucket, estimates, seen.postable, fills)
        rest = seen.remaining - np.take_along_axis(fills, cheapest[:, None], axis=1)[:, 0]
        _sweep(
            seen.bucket,
            estimates,
            self._predictions,
            self._curves,
            self._capacity,
            self._upper - self.scenario.lots,
            rest,
        )
        return rest


@jit
def _sweep(
    bucket: Lots,
    estimates: Floats,
    predictions: Floats,
    curves: Curves,
    capacity: Floats,
    room: Floats,
    rest: Floats,
) -> None:
    """Subtract from ``rest`` the lots that sweeping the later buckets is expected to fill.

    Args:
        bucket: (n,) bucket that each order is in.
        estimates: (n, K) expected fill rates in that bucket.
        predictions: (B, K) predicted fill rates.
        curves: expected fills as functions of lots.
        capacity: (B,) lots that may be posted.
        room: (B,) hard upper edge minus the order's lots, 0 or less; inf where there is no hard
            edge. Each lot left makes room for one more.
        rest: (n,) lots left after ``bucket``; changed in place, until it is below half a lot.
    """
    buckets, algos = predictions.shape
    for e in range(rest.size):
        for k in range(bucket[e] + 1, buckets):
            if rest[e] < HALF_A_LOT:
                break
            best, posted = 0.0, min(rest[e], capacity[k], max(room[k] + rest[e], 0.0))
            for i in range(algos):
                before = predictions[bucket[e], i]
                multiple = estimates[e, i] / before if before > 0.0 else 1.0
                rate = min(multiple * predictions[k, i], 1.0)
                best = max(best, expected_fill(curves, k, i, rate, posted))
            rest[e] -= best


class Twap(Policy):
    """Policy that follows a schedule with the cheapest algo that is expected to keep up.

    The schedule says how many lots should be filled by the bucket's end:

    - the centre line of a TWAP or VWAP envelope;
    - the middle between explicit edges;
    - the TWAP line without an envelope;
    - in the last bucket, the whole order.

    With g lots missing, algos with ``estimate * postable >= g`` can keep up. The cheapest of them
    posts ``g / estimate`` lots, rounded up. With depth, ``expected_fills`` and ``lots_for`` replace
    these formulas. If no algo can keep up, the one with the highest estimate posts everything
    postable.
    """

    def __init__(self, scenario: Scenario, name: str = "twap") -> None:
        super().__init__(scenario, name)
        self._costs, self._curves = scenario.posting_costs, curves(scenario)
        follows = scenario.envelope.kind == "vwap"
        weights = scenario.expected_volume if follows else np.ones(scenario.buckets)
        self._line = scenario.lots * np.cumsum(weights) / weights.sum()

    def decide(self, observations: Observations) -> Lots:
        """Return (n, K) lots to post."""
        seen = read_observations(self.scenario, observations)
        filled = self.scenario.lots - seen.remaining
        # A rounding error of the schedule must not add a lot.
        rounding = min(OBSERVATION_ERROR * self.scenario.lots, 0.01)
        needed = np.maximum(self.schedule(seen) - rounding - filled, 0.0)
        estimates, fills = np.ascontiguousarray(seen.estimates), np.empty(seen.estimates.shape)
        expected_fills(self._curves, seen.bucket, estimates, seen.postable, fills)
        able = (fills >= needed[:, None]) & (seen.estimates > 0)
        keeps_up = able.any(axis=1)
        price = np.where(able, _price(self.scenario, self._costs, seen), np.inf)
        cheapest, best = _cheapest(price, seen.estimates), _best_filling(self._costs, seen)
        algo = np.where(keeps_up, cheapest, best)
        wanted = np.empty(needed.shape)
        lots_for(
            self._curves, seen.bucket, estimates, algo, np.where(keeps_up, needed, 0.0), wanted
        )
        lots = np.where(keeps_up, np.ceil(wanted).astype(np.int64), seen.postable)
        lots[needed == 0] = 0
        return _through(algo, np.minimum(lots, seen.postable), seen.estimates)

    def schedule(self, seen: Observed) -> Floats:
        """Return (n,) lots that should be filled by the end of the bucket."""
        envelope = self.scenario.envelope
        target: Floats
        if envelope.lower is not None:
            target = (seen.lower + seen.upper) / 2.0
        elif envelope.track_volume:
            # An edge at 0 or at the whole order may have been cut there: use the other edge.
            band = (envelope.band or 0.0) * self.scenario.lots
            target = np.where(
                seen.lower > 0,
                seen.lower + band,
                np.where(
                    seen.upper < self.scenario.lots, seen.upper - band, self._line[seen.bucket]
                ),
            )
        else:
            target = self._line[seen.bucket]
        return np.where(seen.bucket == self.scenario.buckets - 1, self.scenario.lots, target)


class Random(GridPolicy):
    """Policy that posts a uniformly random action of the grid in every bucket.

    An order gets its B random numbers in its first bucket, orders of a batch one after the other.
    So a fresh policy decides alike in a loop over days and in a batch of the same days in the same
    order. The numbers belong to places in the batch. If the batch size changes, all orders count as
    new, whatever bucket they are in.

    Args:
        scenario: the scenario to play.
        seed: seed of the policy's own randomness.
        name: name in tables.

    Raises:
        ValueError: ``seed`` is not a non-negative integer.
    """

    observation = "minimal"

    def __init__(self, scenario: Scenario, seed: int = 0, name: str = "random") -> None:
        super().__init__(scenario, name)
        self._generator = stream_generator(natural("seed", seed), POLICY)
        self._uniforms = np.empty((0, scenario.buckets))

    def actions(self, observations: Observations) -> NDArray[np.int64]:
        """Return (n,) indices into the grid; advance the policy's random generator."""
        bucket, _ = read_state(self.scenario, observations)
        starting = bucket == 0
        if len(self._uniforms) != bucket.size:
            self._uniforms = np.empty((bucket.size, self.scenario.buckets))
            starting = np.ones(bucket.shape, np.bool_)
        shape = (int(np.count_nonzero(starting)), self.scenario.buckets)
        self._uniforms[starting] = self._generator.random(shape)
        drawn = self._uniforms[np.arange(bucket.size), bucket]
        return (drawn * self.scenario.grid_size).astype(np.int64)


def _through(algo: Lots, lots: Lots, like: Floats) -> Lots:
    """Return (n, K) lots with ``lots`` (n,) through the one ``algo`` (n,) of each order."""
    posted = np.zeros(like.shape, np.int64)
    np.put_along_axis(posted, algo[:, None], lots[:, None], axis=1)
    return posted


def _price(scenario: Scenario, costs: Floats, seen: Observed) -> Floats:
    """Return the (n, K) price of an expected filled share; inf where no fill is expected."""
    now = costs[seen.bucket]
    price = np.full(now.shape, np.inf)
    if scenario.costs.basis != "posted":
        return np.where(seen.estimates > 0, now, price)
    return np.asarray(np.divide(now, seen.estimates, out=price, where=seen.estimates > 0))


def _cheapest(price: Floats, estimates: Floats) -> Lots:
    """Return (n,) algos of lowest price; ties go to the higher estimate, then the lower index."""
    lowest = price == price.min(axis=1, keepdims=True)
    return np.asarray(np.where(lowest, estimates, -1.0).argmax(axis=1), np.int64)


def _best_filling(costs: Floats, seen: Observed) -> Lots:
    """Return (n,) algos of highest estimate; ties go to the lower cost, then the lower index."""
    highest = seen.estimates == seen.estimates.max(axis=1, keepdims=True)
    return np.asarray(np.where(highest, costs[seen.bucket], np.inf).argmin(axis=1), np.int64)


def _expected_capacity(scenario: Scenario) -> Floats:
    """Return (B,) lots that may be posted in each bucket if its volume is as expected.

    Room that earlier buckets left unused does not count.
    """
    model = parameters(scenario)
    capacity = np.full(scenario.buckets, float(model.order["max_posted"][0]))
    if model.order["capped"][0]:
        rate = float(model.order["max_rate"][0])
        capacity = np.minimum(capacity, rate * model.buckets["expected_volume"])
    return np.asarray(np.floor(capacity * (1.0 + OBSERVATION_ERROR)))
