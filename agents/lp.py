"""The linear programme: at every bucket the best plan for the rest of the order at current estimates.

Model predictive control (Rawlings, Mayne & Diehl 2017, Model Predictive Control, chapter 1): the
fill-rate estimates of now are taken for the truth, the programme of ``lp_model`` over the remaining
buckets is solved, its first bucket is posted, and at the next bucket everything is done anew. What it
does not see is that fills are uncertain: ``lp-buffered`` keeps a margin from the envelope's edges, and
``lp-scenario`` (in ``lp_scenario``) plans for several outcomes at once.

What is taken for granted about later buckets:

- estimates: an algo that fills m times its prediction now does so until the end;
- envelope: as expected at the start, also where it tracks the day's volume;
- volume: as expected. Past volume is not observed; where it matters (participation since the start),
  it is what makes the postable lots of now right. Past fills in a participation window of several
  buckets are not observed either, and taken to have followed expected volume.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import highspy
import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.jit import jit
from agents.lp_model import WHOLE, Data, Programme
from agents.policy import Lots, Observations, Observed, Policy, read_observations
from execution_env import Scenario
from execution_env.actions import split_lots
from execution_env.market import POLICY, stream_generator
from execution_env.parameters import parameters
from execution_env.transition import LOT_TOLERANCE

ROUNDING = 1e-4
"""Lots. What observations in float32 and the solver's tolerance may take from a whole number."""

BINS = 16
"""Of remaining lots; a solve starts from the basis that is optimal in the middle of its bin."""

EXPLORATION = 0.3
"""Share of a random allocation at the first bucket, falling linearly to 0 at the last."""

Floats = NDArray[np.float64]


class Plan(NamedTuple):
    """A plan for the r remaining buckets. Costs are per share of the order, in half-spreads.

    Prices are in half-spreads per share: by how much the cost of the whole order, in half-spreads,
    falls when a limit gives way by one share. They are 0 where a limit does not bind.

    Attributes:
        status: "Optimal"; else what the solver says is wrong, and the numbers mean nothing.
        allocations: (r, K) lots to post, not rounded.
        expected_fills: (r,) lots.
        expected_cost: from here to the end: posting, envelope and residual together.
        posting_cost, envelope_penalty, residual_penalty: its parts.
        lower_prices: (r,) of having to have filled at least L_k; 0 in the last bucket.
        upper_prices: (r,) of having to have filled at most U_k; 0 in the last bucket.
        limit_prices: (r,) of all limits on what may be posted in a bucket: remaining lots,
            participation, ``max_posted``, hard upper edge.
        completion_price: of having to fill one more share by the end, whatever else.
    """

    status: str
    allocations: Floats
    expected_fills: Floats
    expected_cost: float
    posting_cost: float
    envelope_penalty: float
    residual_penalty: float
    lower_prices: Floats
    upper_prices: Floats
    limit_prices: Floats
    completion_price: float


class _Horizon(NamedTuple):
    """What the scenario says about the r buckets from one on, in lots.

    Attributes:
        predictions, costs: (r, K).
        lower, upper: (r - 1,) edges after all buckets but the last.
        total: (r - 1,) most that may have been filled and be posted, for every later bucket,
            participation aside.
        cap_now: lots that may have filled by the end of the first bucket for the participation
            since the start; inf where that does not matter.
        cap_more: (r - 1,) what later buckets add to it.
        window: (r - 1,) lots that participation allows in the window of a later bucket.
        window_past: (r - 1,) share of the lots filled so far that falls into that window.
        bucket: (r - 1,) most that may be posted in a later bucket.
        at_most: most that may be posted in the first bucket, remaining and participation aside.
    """

    predictions: Floats
    costs: Floats
    lower: Floats
    upper: Floats
    total: Floats
    cap_now: float
    cap_more: Floats
    window: Floats
    window_past: Floats
    bucket: Floats
    at_most: float


def _horizon(scenario: Scenario, bucket: int, at_most_remaining: bool) -> _Horizon:
    order, buckets = parameters(scenario).order[0], parameters(scenario).buckets
    n, later = float(order["lots"]), np.arange(bucket + 1, scenario.buckets)
    upper = buckets["upper"]
    total = np.full(later.size, n if at_most_remaining else np.inf)
    if order["hard_upper"]:
        total = np.minimum(total, np.floor(upper[later] + LOT_TOLERANCE))
    traded = np.concatenate([[0.0], np.cumsum(buckets["expected_volume"])])
    cap_now, cap_more = np.inf, np.zeros(later.size)
    window, window_past = np.full(later.size, np.inf), np.zeros(later.size)
    most = np.full(scenario.buckets, float(order["max_posted"]))
    if order["capped"]:
        rate, span = float(order["max_rate"]), int(order["window"])
        first = np.maximum(later + 1 - span, 0)
        window = np.floor(rate * (traded[later + 1] - traded[first]) + LOT_TOLERANCE)
        if traded[bucket] > 0:
            window_past = np.maximum(traded[bucket] - traded[first], 0.0) / traded[bucket]
        if span >= scenario.buckets:
            cap_now = rate * traded[bucket + 1]
            cap_more = rate * (traded[later + 1] - traded[bucket + 1])
        elif span == 1:
            cap = np.floor(rate * buckets["expected_volume"] + LOT_TOLERANCE)
            most = np.minimum(most, cap)
    return _Horizon(
        scenario.predictions[bucket:],
        scenario.posting_costs[bucket:],
        buckets["lower"][bucket:-1],
        upper[bucket:-1],
        total,
        cap_now,
        cap_more,
        window,
        window_past,
        most[later],
        float(most[bucket]),
    )


@jit
def round_lots(wanted: Floats, postable: Lots, fine: float, out: Any) -> None:
    """Whole lots: the largest remainder of the total rounded down, ties to the lower index.

    Args:
        wanted: (n, K) lots.
        postable: (n,) most lots in total.
        fine: what ``wanted`` is multiplied by to become the whole weights of ``split_lots``.
        out: (n, K), written.
    """
    weights: Any = np.empty(wanted.shape[1], np.int64)  # 32 bits would be too few
    for e in range(wanted.shape[0]):
        for i in range(weights.size):
            weights[i] = np.int64(np.rint(max(wanted[e, i], 0.0) * fine))
        total = np.int64(np.floor(weights.sum() / fine + ROUNDING))
        split_lots(max(min(total, postable[e]), 0), weights, out[e])


class LinearProgramme(Policy):
    """Posts the first bucket of the best plan at the current estimates.

    A decision is a function of the observation alone: every solve starts from a basis that depends
    on the bucket and the remaining lots only (see ``lp_model.Programme``).

    Args:
        scenario: what is planned for.
        name: that tables call it by.
        margins: lots by which the plan stays inside the envelope's lower and upper edge, where
            there is such an edge (L > 0, U < 1).
        at_most_remaining: whether the plan for later buckets knows that no bucket may post more
            than remains then.
        exploration: share of a random allocation mixed in when exploring, one number or one per
            bucket.
        explore: whether to explore always; ``predict(..., deterministic=False)`` does so too.
        seed: of the random allocations.

    Raises:
        ValueError: an argument is out of range or of the wrong length.
    """

    def __init__(
        self,
        scenario: Scenario,
        name: str = "lp",
        margins: tuple[float, float] = (0.0, 0.0),
        at_most_remaining: bool = True,
        exploration: ArrayLike | None = None,
        explore: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(scenario, name)
        if exploration is None:
            exploration = EXPLORATION * (1.0 - np.arange(scenario.buckets) / scenario.buckets)
        self.margins = _numbers("margins", margins, (2,), 0.0, np.inf, "lots for (lower, upper)")
        self.exploration = _numbers(
            "exploration", exploration, (scenario.buckets,), 0.0, 1.0, "a share, or one per bucket"
        )
        self.at_most_remaining, self.explore = at_most_remaining, explore
        self._generator = stream_generator(seed, POLICY)
        self._unit = WHOLE / scenario.lots
        bits = 62 - 2 * int(scenario.lots).bit_length()
        self._fine = 2.0 ** min(20, bits)  # lots times weights stay below 2^63
        self._horizons: dict[int, tuple[_Horizon, Programme]] = {}
        self._bases: dict[tuple[int, int], highspy.HighsBasis] = {}

    scenarios = 1
    """S, of fills."""

    def decide(self, observations: Observations) -> Lots:
        """(n, K) lots to post, for "full" observations (n, 5 + 2 K)."""
        return self._act(observations, True)

    def _act(self, observations: Observations, deterministic: bool) -> NDArray[np.int64]:
        if len(observations) == 1:
            wanted = self._wanted(observations)
        else:
            different, where = np.unique(observations, axis=0, return_inverse=True)
            wanted = self._wanted(different)[where.reshape(-1)]
        seen = read_observations(self.scenario, observations)
        if self.explore or not deterministic:
            share = self.exploration[seen.bucket, None]
            wanted = (1.0 - share) * wanted + share * self._random(wanted)
        lots = np.empty(wanted.shape, np.int64)
        round_lots(wanted, seen.postable, self._fine, lots)
        return lots

    def _random(self, wanted: Floats) -> Floats:
        """Uniform on the simplex, with the totals of ``wanted``."""
        shares = self._generator.standard_exponential(wanted.shape)
        mixed: Floats = shares * (wanted.sum(axis=1) / shares.sum(axis=1))[:, None]
        return mixed

    def _wanted(self, observations: Observations) -> Floats:
        """(n, K) lots of the plans' first buckets, not rounded."""
        seen = read_observations(self.scenario, observations)
        wanted = np.empty(seen.estimates.shape)
        for e in range(len(wanted)):
            wanted[e] = self._first(Observed._make(column[e] for column in seen))
        return wanted

    def _first(self, seen: Observed) -> Floats:
        horizon, programme = self._built(int(seen.bucket))
        data = self._data(horizon, seen)
        if programme.run(data, self._basis(seen)) or programme.run(data):
            first: Floats = np.array(programme.first) / self._unit
            return first
        return self._safe(seen)

    def _safe(self, seen: Observed) -> Floats:
        """What to post when there is no plan, which numerical trouble alone can bring about: towards
        the middle of the envelope, through the algo that fills most.
        """
        middle = 0.5 * (seen.lower + seen.upper) - (self.scenario.lots - seen.remaining)
        best = int(np.argmax(seen.estimates))
        wanted = np.zeros(seen.estimates.size)
        wanted[best] = np.clip(middle / max(seen.estimates[best], 1e-3), 0.0, seen.postable)
        return wanted

    def _built(self, bucket: int) -> tuple[_Horizon, Programme]:
        found = self._horizons.get(bucket)
        if found is None:
            horizon = _horizon(self.scenario, bucket, self.at_most_remaining)
            programme = Programme(self.scenario, bucket, self.scenarios, self.at_most_remaining)
            found = self._horizons[bucket] = horizon, programme
        return found

    def _basis(self, seen: Observed) -> highspy.HighsBasis | None:
        """Where the search for a plan starts: the best basis at predicted fill rates and expected
        volume, with the remaining lots in the middle of their bin.
        """
        bucket, lots = int(seen.bucket), self.scenario.lots
        key = bucket, min(int(seen.remaining) * BINS // lots, BINS - 1)
        basis = self._bases.get(key)
        if basis is None:
            horizon, programme = self._built(bucket)
            remaining: Any = np.float64((key[1] + 0.5) / BINS * lots if bucket else lots)
            edges = parameters(self.scenario).buckets[bucket]
            typical = Observed(
                seen.bucket,
                remaining,
                horizon.predictions[0],
                np.zeros(horizon.predictions.shape[1]),
                edges["lower"],
                edges["upper"],
                np.minimum(remaining, horizon.at_most),
            )
            programme.run(self._data(horizon, typical))
            basis = self._bases[key] = programme.basis
        return basis

    def _fills(self, horizon: _Horizon, seen: Observed) -> Floats:
        """(S, r, K) fill rates that are planned with."""
        now = horizon.predictions[0]
        multiplier = np.divide(seen.estimates, now, out=np.ones(now.size), where=now > 0)
        fills = np.minimum(multiplier * horizon.predictions, 1.0)
        fills[0] = seen.estimates
        one: Floats = fills[None]
        return one

    def _data(
        self,
        horizon: _Horizon,
        seen: Observed,
        costs: Floats | None = None,
        lower: Floats | None = None,
        upper: Floats | None = None,
    ) -> Data:
        """The programme's numbers for one observation; ``lower`` and ``upper`` in lots."""
        n, unit = self.scenario.lots, self._unit
        filled, postable = n - float(seen.remaining), float(seen.postable)
        fills = self._fills(horizon, seen)
        if costs is None:
            costs = horizon.costs
        if self.scenario.costs.basis == "filled":
            costs = costs * fills
        else:
            costs = np.broadcast_to(costs, fills.shape)
        total = horizon.total
        if upper is not None and self.scenario.envelope.upper_mode == "hard":
            total = np.full(total.size, float(n) if self.at_most_remaining else np.inf)
            total = np.minimum(total, np.floor(upper[1:] + LOT_TOLERANCE))
            postable = min(postable, max(np.floor(upper[0] + LOT_TOLERANCE) - filled, 0.0))
        if np.isfinite(horizon.cap_now):
            # Where the cap is what limits us now, postable lots tell what volume was.
            cap = filled + postable
            if postable >= min(n - filled, horizon.at_most):
                cap = max(cap, horizon.cap_now)
            total = np.minimum(total, np.floor(cap + horizon.cap_more + LOT_TOLERANCE))
        if total.size:
            # Room that is there now does not vanish: else no posting at all could be a plan.
            total = np.maximum.accumulate(np.maximum(total, filled + postable))
        edges = []
        for edge, given, now in (
            (horizon.lower, lower, seen.lower),
            (horizon.upper, upper, seen.upper),
        ):
            if given is None:
                edges.append(np.concatenate([[now], edge[1:]])[: edge.size])
            else:
                edges.append(given[: edge.size])
        low, high = self._inside(*edges)
        window = np.maximum(horizon.window - horizon.window_past * filled, 0.0) + filled
        return Data(
            unit * filled,
            unit * postable,
            fills,
            costs,
            unit * low,
            unit * high,
            unit * total,
            unit * window,
            unit * horizon.bucket,
        )

    def _inside(self, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """The envelope with its margins; where they would cross, both edges meet in between."""
        below, above = self.margins
        if below == above == 0:
            return lower, upper
        low = np.where(lower > 0, lower + below, lower)
        high = np.where(upper < self.scenario.lots, upper - above, upper)
        crossed = low > high
        middle = np.clip(0.5 * (low + high), lower, upper)
        return np.where(crossed, middle, low), np.where(crossed, middle, high)

    def plan(
        self,
        observation: ArrayLike,
        costs: ArrayLike | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
    ) -> Plan:
        """The plan for the r remaining buckets.

        Args:
            observation: (5 + 2 K,) of kind "full".
            costs: (K,) or (r, K) half-spreads per share, posted or filled as in the scenario;
                default the scenario's.
            lower, upper: (r,) envelope as fractions of the order, at the ends of the remaining
                buckets; default the observed and then the scenario's. The last one's edges say
                nothing, except that a hard upper edge also limits posting there.

        Raises:
            ValueError: an argument is of the wrong length, not finite or out of range.
        """
        observations, alone = self._batched(observation)
        if not alone:
            raise ValueError(
                f"observation of shape {observations.shape}: a plan is for one observation, "
                f"give ({observations.shape[1]},)."
            )
        batch = read_observations(self.scenario, observations)
        seen = Observed._make(column[0] for column in batch)
        if not 0 <= seen.bucket < self.scenario.buckets:
            raise ValueError(
                f"observation[1] = {observations[0, 1]}: buckets left / B must be above 0 and at "
                "most 1; there is nothing to plan once the order is over."
            )
        horizon, programme = self._built(int(seen.bucket))
        shape = horizon.predictions.shape
        if costs is not None:
            costs = _numbers("costs", costs, shape, 0.0, np.inf, "half-spreads per share")
        edges = [
            None
            if edge is None
            else self.scenario.lots
            * _numbers(
                name, edge, shape[:1], 0.0, 1.0, "a fraction of the order per remaining bucket"
            )
            for name, edge in (("lower", lower), ("upper", upper))
        ]
        data = self._data(horizon, seen, costs, *edges)
        if not programme.run(data, self._basis(seen)):
            programme.run(data)
        return self._read(programme, data)

    def _read(self, programme: Programme, data: Data) -> Plan:
        found, scenarios = programme.solution, self.scenarios
        posted = found.posted.mean(axis=0)
        last = np.zeros(1)
        edges = np.concatenate([found.edge_prices.sum(axis=0), last])
        penalty = self.scenario.penalties.envelope
        return Plan(
            found.status,
            posted / self._unit,
            (found.posted * data.fills).sum(axis=2).mean(axis=0) / self._unit,
            found.objective,
            float((found.posted * data.costs).sum()) / scenarios / WHOLE,
            penalty * float((found.below + found.above).sum()) / scenarios / WHOLE,
            float((found.residual * programme.slopes).sum()) / scenarios / WHOLE,
            np.maximum(edges, 0.0),
            np.maximum(-edges, 0.0),
            np.maximum(-found.limit_prices.sum(axis=0), 0.0),
            float(found.completion_prices.sum()),
        )


def _numbers(
    key: str, value: Any, shape: tuple[int, ...], low: float, high: float, what: str
) -> Floats:
    """``value`` as finite numbers in [low, high], broadcast to ``shape``."""
    right = f"must be {what}: finite numbers from {low:g} to {high:g}, of shape {shape}"
    try:
        numbers = np.array(np.broadcast_to(np.asarray(value, np.float64), shape))
    except (TypeError, ValueError):
        raise ValueError(f"{key} = {value!r}: {right}.") from None
    if not (np.isfinite(numbers).all() and (numbers >= low).all() and (numbers <= high).all()):
        raise ValueError(f"{key} = {value!r}: {right}.")
    return numbers


def lp(scenario: Scenario) -> LinearProgramme:
    """The plain linear programme."""
    return LinearProgramme(scenario)
