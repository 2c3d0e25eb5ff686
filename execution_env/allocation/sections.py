"""The sections of a scenario: frozen dataclasses that validate themselves.

Each class is a section of a scenario file (see ``scenario_file``), each field a key. Every error is
a ``ScenarioError`` that names the key, the value and what would be right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from execution_env.core import validation as check
from execution_env.core.validation import ScenarioError, fail

INF = float("inf")
MOST_LOTS = 2**24  # whole numbers up to here are exact in float32 observations
MOST_BUCKETS = 100_000
MOST_CELLS = 1_000_000  # buckets times algos
MOST_ACTIONS = 10_000
MOST_PARTS = 1_000  # the grid's tables have 3 resolution rows of all actions
TOTAL = 10**12  # shares
MOST_NAME = 200  # characters
MOST_PATH = 4096  # characters, as on Linux
BASES = ("posted", "filled", "shortfall")


class Section:
    """Base class of sections: it checks and converts their fields."""

    def _clean(self, **checks: Callable[[Any], Any]) -> None:
        optional = [item.name for item in fields(self) if item.default is None]  # type: ignore[arg-type]
        for name, clean in checks.items():
            value = getattr(self, name)
            if value is not None or name not in optional:
                object.__setattr__(self, name, clean(value))


def integer_in(key: str, low: int, high: int, unit: str) -> Callable[[Any], int]:
    """Return a check that a value is a whole number of ``unit`` in [low, high]."""
    return lambda value: check.integer(key, value, low, high, unit)


def number_in(key: str, what: str, low: float = 0.0, high: float = INF) -> Callable[[Any], float]:
    """Return a check that a value is a number in [low, high]; errors call the value ``what``."""
    return lambda value: check.number(key, value, low, high, what)


@dataclass(frozen=True)
class Order(Section):
    """[order]: the parent order.

    Attributes:
        size: shares to fill, a multiple of ``lot_size``.
        lot_size: shares in the smallest tradable unit.
        buckets: time buckets to fill them in.
    """

    size: int
    lot_size: int
    buckets: int

    def __post_init__(self) -> None:
        self._clean(
            size=integer_in("order.size", 1, TOTAL, "shares"),
            lot_size=integer_in("order.lot_size", 1, TOTAL, "shares"),
            buckets=integer_in("order.buckets", 1, MOST_BUCKETS, "buckets"),
        )
        if self.size % self.lot_size:
            raise fail(
                "order.size",
                self.size,
                f"must be a multiple of order.lot_size = {self.lot_size}, "
                f"such as {max(1, self.size // self.lot_size) * self.lot_size}.",
            )
        if self.size // self.lot_size > MOST_LOTS:
            raise fail(
                "order.lot_size",
                self.lot_size,
                f"makes {self.size // self.lot_size:,} lots of order.size = {self.size}; at most "
                f"{MOST_LOTS:,} are supported. Choose a larger lot.",
            )


@dataclass(frozen=True)
class Costs(Section):
    """[costs]: how costs are charged.

    Attributes:
        basis: "posted" charges every posted share (routing and signalling), "filled" every filled
            share. "shortfall" measures implementation shortfall (Perold 1988, J. Portfolio
            Management 14) in basis points of the mid at arrival. It sums spread and fees of filled
            shares, the drift of the mid while shares wait, and the clean-up of what is left.
    """

    basis: str = "posted"

    def __post_init__(self) -> None:
        self._clean(basis=lambda v: check.choice("costs.basis", v, BASES))


@dataclass(frozen=True)
class Liquidity(Section):
    """[liquidity]: a hidden factor common to all algos, AR(1) over the buckets.

    Attributes:
        sd: stationary standard deviation on the logit scale.
        persistence: autocorrelation from one bucket to the next; 1 is a constant of the day.
    """

    sd: float = 0.0
    persistence: float = 0.0

    def __post_init__(self) -> None:
        self._clean(
            sd=number_in("liquidity.sd", "a standard deviation", 0, 20),
            persistence=number_in("liquidity.persistence", "an autocorrelation", 0, 1),
        )


@dataclass(frozen=True)
class Volume(Section):
    """[volume]: shares that the whole market trades.

    Attributes:
        expected: shares per bucket as a list, or the shape "flat" or "u-shaped".
        total: shares over all buckets, where ``expected`` is a shape.
        sd: standard deviation of the log of a bucket's volume around its expectation.
        persistence: autocorrelation of that log from one bucket to the next.
    """

    expected: str | tuple[float, ...]
    total: float | None = None
    sd: float = 0.0
    persistence: float = 0.0

    def __post_init__(self) -> None:
        self._clean(
            total=number_in("volume.total", "shares over all buckets", 1, TOTAL),
            sd=number_in("volume.sd", "a standard deviation", 0, 5),
            persistence=number_in("volume.persistence", "an autocorrelation", 0, 1),
        )
        if isinstance(self.expected, str):
            check.choice("volume.expected", self.expected, ("flat", "u-shaped"))
            if self.total is None:
                raise ScenarioError(
                    f'volume.total: missing; with volume.expected = "{self.expected}" give the '
                    "shares over all buckets, such as total = 100000."
                )
            return
        if not isinstance(self.expected, list | tuple | np.ndarray):
            raise fail(
                "volume.expected",
                self.expected,
                'must be a list of numbers, shares for every bucket, or "flat" or "u-shaped".',
            )
        self._clean(
            expected=lambda v: check.numbers("volume.expected", v, 0, TOTAL, "shares"),
        )
        if sum(self.expected) <= 0:
            raise fail("volume.expected", self.expected, "must have volume in some bucket.")
        if self.total is not None:
            raise fail(
                "volume.total",
                self.total,
                "leave it out where volume.expected is a list, or make volume.expected a shape.",
            )


@dataclass(frozen=True)
class Price(Section):
    """[price]: the mid price, with costs.basis = "shortfall".

    In every bucket the mid moves by ``sd (r xi + sqrt(1 - r^2) g)`` against the order. Here xi is
    the innovation of the common liquidity factor, and g is independent noise; the mid is a
    martingale. With r < 0 it moves away from a buyer when liquidity is short. This is adverse
    selection: a cheap fill comes when the price is about to be better.

    Attributes:
        sd: standard deviation of the move in a bucket, basis points; one number or one per bucket.
        liquidity_correlation: r, correlation of a move against the order with the factor. Negative
            where passive orders fill as the price comes to them.
    """

    sd: float | tuple[float, ...]
    liquidity_correlation: float = 0.0

    def __post_init__(self) -> None:
        self._clean(
            sd=lambda v: check.number_or_list("price.sd", v, 0, 10_000, "basis points"),
            liquidity_correlation=number_in("price.liquidity_correlation", "a correlation", -1, 1),
        )


@dataclass(frozen=True)
class Replay(Section):
    """[replay]: days that come from a file instead of a model (see ``market.days_file``).

    Policies still plan with the rest of the scenario.

    Attributes:
        file: path of the days; in a scenario file, relative to it.
        train: name of the split of the file that training draws from.
        test: name of the split of the numbered days; day = seed modulo its length.
    """

    file: str
    train: str = "train"
    test: str = "test"

    def __post_init__(self) -> None:
        self._clean(
            file=lambda v: check.text("replay.file", v, MOST_PATH),
            train=lambda v: check.text("replay.train", v, MOST_NAME),
            test=lambda v: check.text("replay.test", v, MOST_NAME),
        )


@dataclass(frozen=True)
class Participation(Section):
    """[participation]: limits on what may be posted.

    Attributes:
        max_rate: largest share of the market's volume that may be ours.
        window: buckets, the current one included, over which volume and our fills are summed for
            ``max_rate``; None for all since the start. 1 caps each bucket on its own.
        max_posted: shares that may be posted in one bucket, whatever the volume (a risk limit).
    """

    max_rate: float | None = None
    window: int | None = None
    max_posted: int | None = None

    def __post_init__(self) -> None:
        self._clean(
            max_rate=lambda v: check.number(
                "participation.max_rate", v, 0, 1, "a share of the volume", above=True
            ),
            window=integer_in("participation.window", 1, MOST_BUCKETS, "buckets"),
            max_posted=integer_in("participation.max_posted", 1, TOTAL, "shares"),
        )
        if self.max_rate is None and self.window is not None:
            raise fail(
                "participation.window", self.window, "has no effect without participation.max_rate."
            )


@dataclass(frozen=True)
class Envelope(Section):
    """[envelope]: limits for the cumulative fill at the end of every bucket.

    Attributes:
        lower, upper: edges as fractions of the order, one per bucket, non-decreasing.
        kind: "twap" or "vwap", a schedule instead of ``lower`` and ``upper``; needs ``band``.
        band: half-width around that schedule, as a fraction of the order.
        upper_mode: "soft" penalises fills above the upper edge, "hard" also allows no posting that
            could lead there.
        track_volume: whether a VWAP schedule follows the realised volume of the day.
    """

    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None
    kind: str | None = None
    band: float | None = None
    upper_mode: str = "soft"
    track_volume: bool = False

    def __post_init__(self) -> None:
        self._clean(
            lower=lambda v: check.numbers("envelope.lower", v, 0, 1, "a fraction of the order"),
            upper=lambda v: check.numbers("envelope.upper", v, 0, 1, "a fraction of the order"),
            kind=lambda v: check.choice("envelope.kind", v, ("twap", "vwap")),
            band=number_in("envelope.band", "a fraction of the order", 0, 1),
            upper_mode=lambda v: check.choice("envelope.upper_mode", v, ("soft", "hard")),
            track_volume=lambda v: check.flag("envelope.track_volume", v),
        )
        if self.kind is not None and (self.lower is not None or self.upper is not None):
            raise fail(
                "envelope.kind",
                self.kind,
                "contradicts envelope.lower and upper: give kind and band, or lower and upper.",
            )
        for given, missing in (("kind", "band"), ("band", "kind"), ("lower", "upper")):
            self._together(given, missing)
        self._together("upper", "lower")
        if self.track_volume and self.kind != "vwap":
            raise fail(
                "envelope.track_volume", True, 'needs envelope.kind = "vwap", the only one to move.'
            )
        self._check_edges()

    def _together(self, given: str, missing: str) -> None:
        if getattr(self, given) is not None and getattr(self, missing) is None:
            raise ScenarioError(f"envelope.{missing}: missing; envelope.{given} needs it.")

    def _check_edges(self) -> None:
        for name in ("lower", "upper"):
            edge = getattr(self, name) or ()
            for j in range(1, len(edge)):
                if edge[j] < edge[j - 1]:
                    raise fail(
                        f"envelope.{name}",
                        edge,
                        f"must not decrease, but bucket {j + 1} has {edge[j]:g} after "
                        f"{edge[j - 1]:g}: cumulative fills never go down.",
                    )
        for j, (low, high) in enumerate(zip(self.lower or (), self.upper or (), strict=False), 1):
            if low > high:
                raise ScenarioError(
                    f"envelope.lower[{j}] = {low:g} lies above envelope.upper[{j}] = {high:g}: "
                    "the lower edge must not exceed the upper."
                )


@dataclass(frozen=True)
class Penalties(Section):
    """[penalties]: prices of missing the limits, in units of the costs.

    Attributes:
        envelope: per share outside the envelope, at every bucket end but the last.
        residual: per share left over at the end: the all-in price of finishing outside the model.
            With costs.basis = "shortfall" the clean-up: distance to the far touch and fee, basis
            points.
        residual_quadratic: extra price per share left over, times the fraction of the order left
            over; the impact of the clean-up.
    """

    envelope: float
    residual: float
    residual_quadratic: float = 0.0

    def __post_init__(self) -> None:
        self._clean(
            envelope=number_in("penalties.envelope", "a price per share"),
            residual=number_in("penalties.residual", "a price per share"),
            residual_quadratic=number_in("penalties.residual_quadratic", "a price per share"),
        )


@dataclass(frozen=True)
class Estimator(Section):
    """[estimator]: how the trader corrects predictions by fills (see ``estimation``).

    Attributes:
        kind: "pseudo-count" or "ewma".
        prior_weight: weight of the prediction in expected filled lots; a number, or one per algo.
            Default: the value that the scenario's hidden day effect and liquidity factor imply.
        icc: intraclass correlation of the lots of one bucket; a number, or one per algo. Default:
            the value that the scenario's bucket noise implies.
        memory: factor on older evidence at each new bucket; 1 forgets nothing. Must be below 1 for
            "ewma".
    """

    kind: str = "pseudo-count"
    prior_weight: float | tuple[float, ...] | None = None
    icc: float | tuple[float, ...] | None = None
    memory: float = 1.0

    def __post_init__(self) -> None:
        self._clean(
            kind=lambda v: check.choice("estimator.kind", v, ("pseudo-count", "ewma")),
            prior_weight=lambda v: check.number_or_list(
                "estimator.prior_weight",
                v,
                0,
                INF,
                "a number of expected filled lots",
                "algo",
                True,
            ),
            icc=lambda v: check.number_or_list("estimator.icc", v, 0, 1, "a correlation", "algo"),
            memory=number_in("estimator.memory", "the weight of older evidence", 0, 1),
        )
        if self.kind == "ewma" and self.memory == 1:
            raise fail(
                "estimator.memory",
                self.memory,
                'must be below 1 with kind = "ewma": at 1 nothing would ever be learned. Try 0.8.',
            )


@dataclass(frozen=True)
class Actions(Section):
    """[actions]: the grid of discrete actions (see ``actions``).

    Attributes:
        resolution: number of parts that the postable lots are split into.
    """

    resolution: int = 4

    def __post_init__(self) -> None:
        self._clean(resolution=integer_in("actions.resolution", 1, MOST_PARTS, "parts"))
