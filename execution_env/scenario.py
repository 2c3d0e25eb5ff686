"""What a parent order and its market are: everything a simulation needs, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from execution_env import validation as check
from execution_env.actions import grid_size
from execution_env.sections import (
    MOST_ACTIONS,
    Actions,
    Algo,
    Costs,
    Envelope,
    Estimator,
    Liquidity,
    Order,
    Participation,
    Penalties,
    Volume,
)
from execution_env.validation import ScenarioError, fail

SECTIONS: dict[str, type] = {
    "order": Order,
    "costs": Costs,
    "liquidity": Liquidity,
    "volume": Volume,
    "participation": Participation,
    "envelope": Envelope,
    "penalties": Penalties,
    "estimator": Estimator,
    "actions": Actions,
}
"""The sections of a scenario besides its algos, in the order of a file."""

OPTIONAL = ("volume", "participation")
"""Sections without which a scenario has no such thing, rather than a default one."""


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
    participation: Participation | None = None
    envelope: Envelope = field(default_factory=Envelope)
    estimator: Estimator = field(default_factory=Estimator)
    actions: Actions = field(default_factory=Actions)

    def __post_init__(self) -> None:
        check.text("name", self.name)
        check.text("description", self.description)
        self._check_parts()
        if not self.algos:
            raise ScenarioError("algos: none given; add at least one [[algos]] section.")
        names = [algo.name for algo in self.algos]
        for j, name in enumerate(names):
            if name in names[:j]:
                raise fail("algos.name", name, "is taken by an earlier algo; names must differ.")
        self._check_lengths()
        self._check_volume()
        size = self.grid_size
        if size > MOST_ACTIONS:
            raise fail(
                "actions.resolution",
                self.actions.resolution,
                f"makes a grid of {size:,} actions with {len(self.algos)} algos; at most "
                f"{MOST_ACTIONS:,} are supported. Choose a smaller resolution.",
            )

    def _check_parts(self) -> None:
        if not isinstance(self.algos, list | tuple):
            raise fail("algos", self.algos, "must be a sequence of Algo.")
        object.__setattr__(self, "algos", tuple(self.algos))
        values = [
            (key, getattr(self, key), kind)
            for key, kind in SECTIONS.items()
            if key not in OPTIONAL or getattr(self, key) is not None
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
            length(f"algos.{algo.name}.cost", algo.cost, self.buckets, "buckets")
            length(f"algos.{algo.name}.fill_rate", algo.fill_rate, self.buckets, "buckets")
        length("envelope.lower", self.envelope.lower, self.buckets, "buckets")
        length("envelope.upper", self.envelope.upper, self.buckets, "buckets")
        length("estimator.prior_weight", self.estimator.prior_weight, len(self.algos), "algos")
        length("estimator.icc", self.estimator.icc, len(self.algos), "algos")
        if self.volume is not None:
            length("volume.expected", self.volume.expected, self.buckets, "buckets")

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

    @property
    def lots(self) -> int:
        """n, the size of the order in lots."""
        return self.order.size // self.order.lot_size

    @property
    def buckets(self) -> int:
        """B."""
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
    def predictions(self) -> NDArray[np.float64]:
        """(B, K) expected fraction of posted lots that fills."""
        rates = np.array(
            [np.broadcast_to(algo.fill_rate, self.buckets) for algo in self.algos], np.float64
        ).T.copy()
        for i, algo in enumerate(self.algos):
            if algo.last_fill_rate is not None:
                rates[-1, i] = algo.last_fill_rate
        return rates

    @property
    def posting_costs(self) -> NDArray[np.float64]:
        """(B, K) cost per posted share, or per filled share with ``costs.basis = "filled"``."""
        return np.array(
            [np.broadcast_to(algo.cost, self.buckets) for algo in self.algos], np.float64
        ).T.copy()

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
        """L and U, each (B,), as fractions of the order at bucket ends; those expected at the start
        where the envelope tracks volume.
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
