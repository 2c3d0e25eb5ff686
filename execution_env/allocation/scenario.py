"""A parent order and its market: everything that a simulation needs, in one frozen object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.actions import grid_size
from execution_env.allocation.algo import Algo
from execution_env.allocation.depth import expected_fill
from execution_env.allocation.sections import (
    MOST_ACTIONS,
    MOST_CELLS,
    MOST_NAME,
    TOTAL,
    Actions,
    Costs,
    Envelope,
    Estimator,
    Liquidity,
    Order,
    Participation,
    Penalties,
    Price,
    Replay,
    Volume,
)
from execution_env.core import validation as check
from execution_env.core.validation import ScenarioError, fail

SECTIONS: dict[str, type] = {
    "order": Order,
    "costs": Costs,
    "liquidity": Liquidity,
    "volume": Volume,
    "price": Price,
    "participation": Participation,
    "envelope": Envelope,
    "penalties": Penalties,
    "estimator": Estimator,
    "actions": Actions,
    "replay": Replay,
}
"""Sections of a scenario besides its algos, in the order of a file."""

OPTIONAL_SECTIONS = ("volume", "price", "participation", "replay")
"""Sections that are None, not a default, where a scenario does not give them."""


@dataclass(frozen=True)
class Scenario:
    """One kind of parent order in one kind of market: everything a simulation needs.

    Raises:
        ScenarioError: a value is wrong in type or range, lengths do not match the buckets or
            algos, or a part needs another that is missing.
    """

    name: str
    order: Order
    algos: tuple[Algo, ...]
    penalties: Penalties
    description: str = ""
    costs: Costs = field(default_factory=Costs)
    liquidity: Liquidity = field(default_factory=Liquidity)
    volume: Volume | None = None
    price: Price | None = None
    participation: Participation | None = None
    envelope: Envelope = field(default_factory=Envelope)
    estimator: Estimator = field(default_factory=Estimator)
    actions: Actions = field(default_factory=Actions)
    replay: Replay | None = None

    def __post_init__(self) -> None:
        check.text("name", self.name, MOST_NAME)
        check.text("description", self.description)
        self._check_parts()
        if not self.algos:
            raise ScenarioError("algos: none given; add at least one [[algos]] section.")
        if len(self.algos) * self.buckets > MOST_CELLS:
            raise fail(
                "order.buckets",
                self.buckets,
                f"times {len(self.algos):,} algos must be at most {MOST_CELLS:,}.",
            )
        taken: set[str] = set()
        for name in self.algo_names:
            if name in taken:
                raise fail("algos.name", name, "is taken by an earlier algo; names must differ.")
            taken.add(name)
        self._check_lengths()
        self._check_volume()
        self._check_costs()
        self._check_depth()
        size = self.grid_size
        if size > MOST_ACTIONS:
            shown = f"{size:,}" if size < TOTAL else f"more than {TOTAL:,}"
            raise fail(
                "actions.resolution",
                self.actions.resolution,
                f"makes a grid of {shown} actions with {len(self.algos)} algos; at most "
                f"{MOST_ACTIONS:,} are supported. Choose a smaller resolution.",
            )

    def _check_parts(self) -> None:
        if not isinstance(self.algos, list | tuple):
            raise fail("algos", self.algos, "must be a sequence of Algo.")
        object.__setattr__(self, "algos", tuple(self.algos))
        values = [
            (key, getattr(self, key), kind)
            for key, kind in SECTIONS.items()
            if key not in OPTIONAL_SECTIONS or getattr(self, key) is not None
        ]
        values += [(f"algos[{j}]", algo, Algo) for j, algo in enumerate(self.algos, 1)]
        for key, value, kind in values:
            if not isinstance(value, kind):
                raise fail(key, value, f"must be of type {kind.__name__}.")

    def _check_lengths(self) -> None:
        def length(key: str, value: object, right: int, unit: str) -> None:
            if isinstance(value, tuple) and len(value) != right:
                raise ScenarioError(
                    f"{key} has {len(value)} values, but there are {right} {unit}: "
                    f"give one number per {unit[:-1]}."
                )

        for algo in self.algos:
            for key in ("cost", "fill_rate", "fill_probability", "depth", "half_spread"):
                length(f"algos.{algo.name}.{key}", getattr(algo, key), self.buckets, "buckets")
        length("envelope.lower", self.envelope.lower, self.buckets, "buckets")
        length("envelope.upper", self.envelope.upper, self.buckets, "buckets")
        length("estimator.prior_weight", self.estimator.prior_weight, len(self.algos), "algos")
        length("estimator.icc", self.estimator.icc, len(self.algos), "algos")
        if self.volume is not None:
            length("volume.expected", self.volume.expected, self.buckets, "buckets")
        if self.price is not None:
            length("price.sd", self.price.sd, self.buckets, "buckets")

    def _check_volume(self) -> None:
        if self.volume is None and self.envelope.kind == "vwap":
            raise fail("envelope.kind", "vwap", "needs a [volume] section to weigh the buckets by.")
        if self.participation is None:
            return
        if self.volume is None and self.participation.max_rate is not None:
            raise fail(
                "participation.max_rate",
                self.participation.max_rate,
                "needs a [volume] section to be a share of.",
            )
        most = self.participation.max_posted
        if most is not None and most < self.order.lot_size:
            raise fail(
                "participation.max_posted",
                most,
                f"is less than one lot; must be at least order.lot_size = {self.order.lot_size}.",
            )

    def _check_costs(self) -> None:
        basis = self.costs.basis
        needed = "half_spread" if self.shortfall else "cost"
        others = ["cost"] if self.shortfall else ["half_spread", "fee", "rebate"]
        if self.price is not None and not self.shortfall:
            raise ScenarioError(
                f'price: has no effect with costs.basis = "{basis}"; set costs.basis = "shortfall".'
            )
        for algo in self.algos:
            if getattr(algo, needed) is None:
                raise ScenarioError(
                    f"algos.{algo.name}.{needed}: missing key; "
                    f'costs.basis = "{basis}" charges by it.'
                )
            for key in others:
                value = getattr(algo, key)
                if value not in (None, 0.0):
                    raise fail(
                        f"algos.{algo.name}.{key}",
                        value,
                        f'has no meaning with costs.basis = "{basis}"; it charges {needed}.',
                    )

    def _check_depth(self) -> None:
        for algo in self.algos:
            if algo.depth is None:
                continue
            if self.volume is None:
                raise fail(
                    f"algos.{algo.name}.depth",
                    algo.depth,
                    "needs a [volume] section to be a share of.",
                )
            if self.estimator.kind == "ewma":
                raise fail(
                    "estimator.kind",
                    "ewma",
                    f"cannot follow the depth of {algo.name}; leave it out.",
                )

    @property
    def shortfall(self) -> bool:
        """Whether costs are implementation shortfall in basis points."""
        return self.costs.basis == "shortfall"

    @property
    def unit(self) -> str:
        """Unit of costs, penalties and objectives, per share."""
        return "basis points" if self.shortfall else "half-spreads"

    @property
    def lots(self) -> int:
        """n, the size of the order in lots."""
        return self.order.size // self.order.lot_size

    @property
    def buckets(self) -> int:
        """B, the number of buckets."""
        return self.order.buckets

    @property
    def grid_size(self) -> int:
        """A, the number of actions on the grid."""
        return grid_size(len(self.algos), self.actions.resolution)

    @property
    def algo_names(self) -> tuple[str, ...]:
        """(K,) names."""
        return tuple(algo.name for algo in self.algos)

    @property
    def reference_lots(self) -> int:
        """Lots of an even slice of the order; the fill rate of an algo with depth is for these."""
        return max(1, round(self.lots / self.buckets))

    @property
    def predictions(self) -> NDArray[np.float64]:
        """(B, K) expected fraction of posted lots that fills; with depth, at ``reference_lots``."""
        rates = np.empty((self.buckets, len(self.algos)))
        chances, locations, sds = self.fill_probability, self.depth_location, self.depth_sd
        x = float(self.reference_lots)
        for i, algo in enumerate(self.algos):
            if algo.depth is None:
                rates[:, i] = algo.fill_rate
                if algo.last_fill_rate is not None:
                    rates[-1, i] = algo.last_fill_rate
                continue
            for b in range(self.buckets):
                fill = expected_fill(x, chances[b, i], locations[b, i], sds[i])
                rates[b, i] = fill / x
        return rates

    @property
    def fill_probability(self) -> NDArray[np.float64]:
        """(B, K) probability that there is any depth; 1 for algos with a fill rate."""
        return self._per_bucket([algo.fill_probability for algo in self.algos], 1.0)

    @property
    def depth_per_volume(self) -> NDArray[np.float64]:
        """(B, K) lots of median depth per share of market volume; inf where a rate decides."""
        shares = self._per_bucket([algo.depth for algo in self.algos], np.inf)
        return shares / self.order.lot_size

    @property
    def depth_location(self) -> NDArray[np.float64]:
        """(B, K) expected log of depth in lots, where there is any; inf where a rate decides."""
        volume_sd = 0.0 if self.volume is None else self.volume.sd
        depth = self.depth_per_volume
        # A bucket may be expected to trade nothing.
        with np.errstate(divide="ignore", invalid="ignore"):
            volume = np.log(self.expected_volume) - 0.5 * volume_sd**2
            return np.where(np.isinf(depth), np.inf, np.log(depth) + volume[:, None])

    @property
    def depth_sd(self) -> NDArray[np.float64]:
        """(K,) standard deviation of the logarithm of the depth before the order starts.

        It covers the share of volume, the day and the volume together.
        """
        volume_sd = 0.0 if self.volume is None else self.volume.sd
        return np.array(
            [np.sqrt(algo.depth_sd**2 + algo.day_sd**2 + volume_sd**2) for algo in self.algos]
        )

    def _per_bucket(
        self, values: Sequence[float | tuple[float, ...] | None], missing: float
    ) -> NDArray[np.float64]:
        """Return (B, K) of one entry per algo: None, a number, or one per bucket."""
        filled = [missing if value is None else value for value in values]
        return np.array([np.broadcast_to(v, self.buckets) for v in filled], np.float64).T.copy()

    @property
    def posting_costs(self) -> NDArray[np.float64]:
        """(B, K) cost per posted share, or per filled share (``costs.basis`` not "posted").

        With "shortfall" it is half-spread plus fee minus rebate.
        """
        if self.shortfall:
            return self.half_spreads + self.fees
        return self._per_bucket([algo.cost for algo in self.algos], 0.0)

    @property
    def half_spreads(self) -> NDArray[np.float64]:
        """(B, K) basis points that a filled share costs above the mid at the bucket's start; zeros
        unless ``shortfall``.
        """
        return self._per_bucket([algo.half_spread for algo in self.algos], 0.0)

    @property
    def fees(self) -> NDArray[np.float64]:
        """(K,) fee minus rebate, basis points per filled share."""
        return np.array([algo.fee - algo.rebate for algo in self.algos])

    @property
    def crossing_algo(self) -> int:
        """Position of the algo that crosses furthest, which cleans up: the largest half-spread."""
        return int(self.half_spreads.mean(axis=0).argmax())

    @property
    def crossing_fee(self) -> float:
        """Fee minus rebate, in basis points, of ``crossing_algo``."""
        return float(self.fees[self.crossing_algo])

    @property
    def expected_volume(self) -> NDArray[np.float64]:
        """(B,) shares; zeros where the scenario has no volume."""
        if self.volume is None:
            return np.zeros(self.buckets)
        if not isinstance(self.volume.expected, str):
            return np.array(self.volume.expected)
        shape = np.ones(self.buckets)
        if self.volume.expected == "u-shaped":
            # A parabola three times as high at the ends as in the middle: the intraday volume
            # smile of US equities (Jain & Joh 1988, J. Financial and Quantitative Analysis 23).
            middle = (np.arange(self.buckets) + 0.5) / self.buckets
            shape += 2.0 * (2.0 * middle - 1.0) ** 2
        assert self.volume.total is not None
        volume: NDArray[np.float64] = shape / shape.sum() * self.volume.total
        return volume

    @property
    def envelope_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """L and U, each (B,), as fractions of the order at bucket ends.

        Where the envelope tracks volume, they are those expected at the start.
        """
        envelope = self.envelope
        if envelope.lower is not None and envelope.upper is not None:
            return np.array(envelope.lower), np.array(envelope.upper)
        if envelope.kind is None or envelope.band is None:
            return np.zeros(self.buckets), np.ones(self.buckets)
        weights = np.ones(self.buckets) if envelope.kind == "twap" else self.expected_volume
        schedule = np.cumsum(weights) / weights.sum()
        lower = np.clip(schedule - envelope.band, 0.0, 1.0)
        return lower, np.clip(schedule + envelope.band, 0.0, 1.0)
