"""The policy that solves a linear programme at every bucket and posts the first bucket of its plan.

A decision is a function of the observation alone. A plan is more: what it is expected to cost, and
what every limit costs at the margin.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import highspy
import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.lp.data import ROUNDING, Horizon, horizon_of, put, put_estimates, whole
from agents.lp.model import WHOLE, Programme
from agents.planning.pieces import join, pieces
from agents.policy import Lots, Observations, Policy, read_observations, read_state
from agents.policy.observed import check_going
from execution_env import Scenario
from execution_env.allocation.actions import split_lots
from execution_env.allocation.market.day_stream import POLICY, stream_generator
from execution_env.core.jit import jit

BINS = 16
"""Of remaining lots; a solve starts from the basis that is optimal in the middle of its bin."""

EXPLORATION = 0.3
"""Share of a random allocation at the first bucket, falling linearly to 0 at the order's end."""

Floats = NDArray[np.float64]


class Plan(NamedTuple):
    """A plan for the r remaining buckets. Costs are per share of the order, in half-spreads, or in basis
    points with shortfall, when the posting cost is what filled shares cost, adverse selection included.

    Prices are in the same unit per share: by how much the cost of the whole order falls when a limit
    gives way by one share. They are 0 where a limit does not bind.

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


class Tuning(NamedTuple):
    """How margins were found.

    Attributes:
        seed: of the tuning days (``DayStream(scenario, seed, VALIDATION)``).
        days: how many.
        objectives: mean objective on them, for every pair of margins that was tried.
    """

    seed: int
    days: int
    objectives: dict[tuple[float, float], float]


@jit
def round_lots(
    wanted: Floats, observations: Observations, size: float, fine: float, out: Any
) -> None:
    """Whole lots: the largest remainder of the total rounded down, ties to the lower index.

    Args:
        wanted: (n, K) lots.
        observations: (n, 5 + 2 K), whose postable lots are not exceeded.
        size: of the order, in lots.
        fine: what ``wanted`` is multiplied by to become the whole weights of ``split_lots``.
        out: (n, K), written.
    """
    weights: Any = np.empty(wanted.shape[1], np.int64)  # 32 bits would be too few
    for e in range(wanted.shape[0]):
        for i in range(weights.size):
            weights[i] = np.int64(np.rint(max(wanted[e, i], 0.0) * fine))
        postable = np.int64(np.rint(size * np.float64(observations[e, -1])))
        total: Any = np.int64(np.floor(weights.sum() / fine + ROUNDING))
        split_lots(max(min(total, postable), 0), weights, out[e])


class LinearProgramme(Policy):
    """Posts the first bucket of the best plan at the current estimates.

    A decision is a function of the observation alone: every solve starts from a basis that depends
    on the bucket and the remaining lots only (see ``lp_model.Programme``). Threads may share a policy;
    they solve one after the other.

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
        self._pieces = pieces(scenario)
        self._cut = self._pieces.algo.size > len(scenario.algos)
        bits = 62 - 2 * int(scenario.lots).bit_length()
        self._fine = 2.0 ** min(20, bits)  # lots times weights stay below 2^63
        self._forget()

    def _forget(self) -> None:
        """Start without the solver's state, which no other thread may touch and no copy can share."""
        self._lock = threading.RLock()
        self._horizons: dict[int, tuple[Horizon, Programme]] = {}
        self._bases: dict[tuple[int, int], highspy.HighsBasis] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy or a pickle, which builds its programmes anew."""
        native = ("_lock", "_horizons", "_bases")
        return {name: value for name, value in vars(self).items() if name not in native}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what ``__getstate__`` returned."""
        vars(self).update(state)
        self._forget()

    scenarios = 1
    """S, of fills."""

    tuning: Tuning | None = None
    """How the margins were found, where they were searched for."""

    def decide(self, observations: Observations) -> Lots:
        """(n, K) lots to post, for "full" observations (n, 5 + 2 K)."""
        return self._act(observations, True)

    def _act(self, observations: Observations, deterministic: bool) -> NDArray[np.int64]:
        check_going(observations)
        if len(observations) == 1:
            wanted = self._wanted(observations)
        else:
            different, where = np.unique(observations, axis=0, return_inverse=True)
            wanted = self._wanted(different)[where.reshape(-1)]
        if self.explore or not deterministic:
            share = self.exploration[read_state(self.scenario, observations)[0], None]
            wanted = (1.0 - share) * wanted + share * self._random(wanted)
        lots = np.empty(wanted.shape, np.int64)
        round_lots(wanted, observations, float(self.scenario.lots), self._fine, lots)
        return lots

    def _random(self, wanted: Floats) -> Floats:
        """Uniform on the simplex, with the totals of ``wanted``."""
        shares = self._generator.standard_exponential(wanted.shape)
        mixed: Floats = shares * (wanted.sum(axis=1) / shares.sum(axis=1))[:, None]
        return mixed

    def _wanted(self, observations: Observations) -> Floats:
        """(n, K) lots of the plans' first buckets, not rounded."""
        with self._lock:
            return self._solved(observations)

    def _solved(self, observations: Observations) -> Floats:
        wanted = np.empty((len(observations), len(self.scenario.algos)))
        for e, observation in enumerate(observations):
            programme = self._ready(observation)
            if programme.run(self._basis(observation)) or programme.run():
                if self._cut:
                    fills = programme.arrays.fills[:, 0].mean(axis=0)
                    wanted[e] = self._joined(np.array([programme.first]), fills[None])[0]
                else:
                    wanted[e] = programme.first
                wanted[e] /= self._unit
            else:
                wanted[e] = self._safe(observation)
        return wanted

    def _joined(self, posted: Floats, fills: Floats) -> Floats:
        """(n, K) of what is posted in pieces (n, W), of which ``fills`` (n, W) is filled."""
        lots = np.empty((len(posted), len(self.scenario.algos)))
        join(posted, fills, self._pieces.algo, self._pieces.widths * self._unit, lots)
        return lots

    def _safe(self, observation: Observations) -> Floats:
        """What to post when there is no plan, which numerical trouble alone can bring about: towards
        the middle of the envelope, through the algo that fills most.
        """
        seen = read_observations(self.scenario, observation[None])
        middle = 0.5 * (seen.lower + seen.upper) - (self.scenario.lots - seen.remaining)
        wanted = np.zeros(seen.estimates.shape[1])
        best = int(np.argmax(seen.estimates))
        posted = np.clip(middle / max(seen.estimates[0, best], 1e-3), 0.0, seen.postable)
        wanted[best] = posted[0]
        return wanted

    def _ready(self, observation: Observations) -> Programme:
        """The programme for an observation (5 + 2 K,), ready to run."""
        horizon, programme = self._built(self._bucket(observation))
        self._put_fills(horizon, observation, programme.arrays.fills)
        put(horizon, observation, True, programme.arrays)
        return programme

    def _put_fills(self, horizon: Horizon, observation: Observations, fills: Floats) -> None:
        """Write the fill rates that are planned with, (S, r, W)."""
        put_estimates(horizon, observation, fills)

    def _bucket(self, observation: Observations) -> int:
        return self.scenario.buckets - round(float(observation[1]) * self.scenario.buckets)

    def _built(self, bucket: int) -> tuple[Horizon, Programme]:
        found = self._horizons.get(bucket)
        if found is None:
            horizon = horizon_of(self.scenario, bucket, self.at_most_remaining, self.margins)
            programme = Programme(self.scenario, bucket, self.scenarios, self.at_most_remaining)
            found = self._horizons[bucket] = horizon, programme
        return found

    def _basis(self, observation: Observations) -> highspy.HighsBasis:
        """Where the search for a plan starts: the best basis at predicted fill rates and expected
        volume, with the remaining lots in the middle of their bin.

        Building it overwrites the programme's arrays, which are then put back.
        """
        bucket = self._bucket(observation)
        key = bucket, min(int(observation[0] * BINS), BINS - 1)
        basis = self._bases.get(key)
        if basis is None:
            programme = self._ready(self._typical(*key))
            programme.run()
            basis = self._bases[key] = programme.basis
            self._ready(observation)
        return basis

    def _typical(self, bucket: int, bin_: int) -> Observations:
        """The "full" observation in the middle of a bin of remaining lots."""
        horizon, _ = self._built(bucket)
        n, first = self.scenario.lots, horizon.first[0]
        remaining = (bin_ + 0.5) / BINS if bucket else 1.0
        lower, upper = (edge[bucket] for edge in self.scenario.envelope_bounds)
        rates = self.scenario.predictions[bucket]
        return np.array(
            [
                remaining,
                (self.scenario.buckets - bucket) / self.scenario.buckets,
                *rates,
                *np.zeros(rates.size),
                lower,
                upper,
                min(remaining, first["at_most"] / n),
            ],
            np.float32,
        )

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
            costs: (K,) or (r, K) half-spreads per share, posted or filled as in the scenario; with
                shortfall basis points per filled share, adverse selection included, perhaps negative.
                Default the scenario's.
            lower, upper: (r,) envelope as fractions of the order, at the ends of the remaining
                buckets; default the observed and then the scenario's. The last one's edges say
                nothing, except that a hard upper edge also limits posting there. A hard upper edge
                above the observed one does not loosen the first bucket: what may be posted now is
                the observation's.

        Raises:
            ValueError: an argument is of the wrong length, not finite or out of range.
        """
        observations, alone = self._batched(observation)
        if not alone:
            raise ValueError(
                f"observation of shape {observations.shape}: a plan is for one observation, "
                f"give ({observations.shape[1]},)."
            )
        check_going(observations)
        with self._lock:
            return self._planned(observations[0].copy(), costs, lower, upper)

    def _planned(
        self,
        seen: Observations,
        costs: ArrayLike | None,
        lower: ArrayLike | None,
        upper: ArrayLike | None,
    ) -> Plan:
        horizon, programme = self._built(self._bucket(seen))
        basis = self._basis(seen)
        changed = self._changed(horizon, seen, costs, lower, upper)
        self._put_fills(changed, seen, programme.arrays.fills)
        put(changed, seen, lower is None and upper is None, programme.arrays)
        if not programme.run(basis):
            programme.run()
        return self._read(programme)

    def _changed(
        self,
        horizon: Horizon,
        seen: Observations,
        costs: ArrayLike | None,
        lower: ArrayLike | None,
        upper: ArrayLike | None,
    ) -> Horizon:
        """``horizon`` with new costs and edges; what a hard edge makes of the upper edge and
        the postable lots in ``seen`` is written there.
        """
        cells, later, n = horizon.cells.copy(), horizon.later.copy(), self.scenario.lots
        if costs is not None:
            unit, least = "half-spreads per share", 0.0
            if self.scenario.shortfall:
                unit, least = "basis points per filled share", -np.inf
            shape = (len(cells), len(self.scenario.algos))
            prices = _numbers("costs", costs, shape, least, np.inf, unit)
            cells["cost"] = prices[:, self._pieces.algo]
        for name, edge, column in (("lower", lower, -3), ("upper", upper, -2)):
            if edge is None:
                later[name][:1] = n * np.float64(seen[column])
                continue
            what = "fractions of the order, one per remaining bucket"
            lots = n * _numbers(name, edge, cells.shape[:1], 0.0, 1.0, what)
            later[name] = lots[:-1]
            if name == "upper" and self.scenario.envelope.upper_mode == "hard":
                later["total"] = np.minimum(
                    n if self.at_most_remaining else np.inf, whole(lots[1:])
                )
                room = max(0.0, float(whole(lots[:1])[0]) - n * (1.0 - float(seen[0])))
                seen[-1] = min(float(seen[-1]), room / n)
                seen[-2] = min(float(seen[-2]), lots[0] / n)
        for j in np.flatnonzero(later["lower"] > later["upper"] + ROUNDING):
            raise ValueError(
                f"lower[{j}] = {later['lower'][j] / n:g} lies above upper[{j}] = "
                f"{later['upper'][j] / n:g}: the lower edge must not exceed the upper; give both."
            )
        return horizon._replace(later=later, cells=cells)

    def _read(self, programme: Programme) -> Plan:
        found, arrays, per = programme.solution, programme.arrays, self.scenarios * WHOLE
        edges = np.append(found.edge_prices.sum(axis=0), 0.0)
        penalty = self.scenario.penalties.envelope
        posted = found.posted
        if self._cut:
            fills = arrays.fills.copy()
            fills[:, 0] = fills[:, 0].mean(axis=0)
            width = posted.shape[2]
            joined = self._joined(posted.reshape(-1, width), fills.reshape(-1, width))
            posted = joined.reshape(*posted.shape[:2], -1)
        return Plan(
            status=found.status,
            allocations=posted.mean(axis=0) / self._unit,
            expected_fills=(found.posted * arrays.fills).sum(axis=2).mean(axis=0) / self._unit,
            expected_cost=found.objective,
            posting_cost=float((found.posted * arrays.costs).sum()) / per,
            envelope_penalty=penalty * float((found.below + found.above).sum()) / per,
            residual_penalty=float((found.residual * programme.slopes).sum()) / per,
            lower_prices=np.maximum(edges, 0.0),
            upper_prices=np.maximum(-edges, 0.0),
            limit_prices=np.maximum(-found.limit_prices.sum(axis=0), 0.0),
            completion_price=float(found.completion_prices.sum()),
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
