"""The sections of a scenario: frozen dataclasses that validate themselves.

They mirror the sections of a scenario file (see ``scenario_file``), their fields its keys. Every
error is a ``ScenarioError`` that names the key, the value and what would be right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from execution_env import validation as check
from execution_env.validation import ScenarioError, fail

INF = float("inf")
MOST_LOTS = 2**24  # whole numbers up to here are exact in float32 observations
MOST_BUCKETS = 100_000
MOST_ACTIONS = 10_000
MOST_PARTS = 1_000  # the grid's tables have 3 resolution rows of all actions
TOTAL = 10**12  # shares


class _Section:
    """A section: a dataclass whose fields are cleaned, and validated, by the checks it names."""

    def _clean(self, **checks: Callable[[Any], Any]) -> None:
        optional = [item.name for item in fields(self) if item.default is None]  # type: ignore[arg-type]
        for name, clean in checks.items():
            value = getattr(self, name)
            if value is not None or name not in optional:
                object.__setattr__(self, name, clean(value))


def _integer(key: str, low: int, high: int, unit: str) -> Callable[[Any], int]:
    return lambda value: check.integer(key, value, low, high, unit)


def _number(key: str, what: str, low: float = 0.0, high: float = INF) -> Callable[[Any], float]:
    return lambda value: check.number(key, value, low, high, what)


@dataclass(frozen=True)
class Order(_Section):
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
            size=_integer("order.size", 1, TOTAL, "shares"),
            lot_size=_integer("order.lot_size", 1, TOTAL, "shares"),
            buckets=_integer("order.buckets", 1, MOST_BUCKETS, "buckets"),
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
class Costs(_Section):
    """[costs]: what is charged.

    Attributes:
        basis: "posted" charges every posted share (routing and signalling), "filled" every filled.
    """

    basis: str = "posted"

    def __post_init__(self) -> None:
        self._clean(basis=lambda v: check.choice("costs.basis", v, ("posted", "filled")))


@dataclass(frozen=True)
class Algo(_Section):
    """[[algos]]: an execution algorithm that shares are posted through.

    Attributes:
        name: unique; without dots, commas and equals signs.
        cost: per share, in half-spreads; one number or one per bucket.
        fill_rate: predicted fraction of posted lots that fills; one number or one per bucket.
        last_fill_rate: the fill rate of the last bucket, where ``fill_rate`` is one number.
        day_sd: standard deviation of the hidden effect of the day on the logit of the fill rate.
        bucket_sd: standard deviation of the bucket's own noise on the logit of the fill rate.
        liquidity_loading: how strongly the common liquidity factor moves the logit.
    """

    name: str
    cost: float | tuple[float, ...]
    fill_rate: float | tuple[float, ...]
    last_fill_rate: float | None = None
    day_sd: float = 0.0
    bucket_sd: float = 0.0
    liquidity_loading: float = 1.0

    def __post_init__(self) -> None:
        name = check.text("algos.name", self.name)
        if not name.strip() or any(sign in name for sign in ".,="):
            raise fail("algos.name", name, "must be a name without dots, commas and equals signs.")
        key = f"algos.{name}"
        self._clean(
            cost=lambda v: check.number_or_list(f"{key}.cost", v, 0, INF, "a cost per share"),
            fill_rate=lambda v: check.number_or_list(f"{key}.fill_rate", v, 0, 1, "a fill rate"),
            last_fill_rate=_number(f"{key}.last_fill_rate", "a fill rate", 0, 1),
            day_sd=_number(f"{key}.day_sd", "a standard deviation", 0, 20),
            bucket_sd=_number(f"{key}.bucket_sd", "a standard deviation", 0, 20),
            liquidity_loading=_number(f"{key}.liquidity_loading", "a loading", -20, 20),
        )
        if self.last_fill_rate is not None and isinstance(self.fill_rate, tuple):
            raise fail(
                f"{key}.last_fill_rate",
                self.last_fill_rate,
                f"leave it out where {key}.fill_rate is a list: the list says the last bucket too.",
            )


@dataclass(frozen=True)
class Liquidity(_Section):
    """[liquidity]: a hidden factor common to all algos, AR(1) over the buckets.

    Attributes:
        sd: stationary standard deviation on the logit scale.
        persistence: autocorrelation from one bucket to the next; 1 is a constant of the day.
    """

    sd: float = 0.0
    persistence: float = 0.0

    def __post_init__(self) -> None:
        self._clean(
            sd=_number("liquidity.sd", "a standard deviation", 0, 20),
            persistence=_number("liquidity.persistence", "an autocorrelation", 0, 1),
        )


@dataclass(frozen=True)
class Volume(_Section):
    """[volume]: what the whole market trades.

    Attributes:
        expected: shares per bucket as a list, or the shape "flat" or "u-shaped".
        total: shares over all buckets, where ``expected`` is a shape.
        sd: standard deviation of the log of a bucket's volume around its expectation.
    """

    expected: str | tuple[float, ...]
    total: float | None = None
    sd: float = 0.0

    def __post_init__(self) -> None:
        self._clean(
            total=_number("volume.total", "shares over all buckets", 1, TOTAL),
            sd=_number("volume.sd", "a standard deviation", 0, 5),
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
class Participation(_Section):
    """[participation]: how much may be posted.

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
            window=_integer("participation.window", 1, MOST_BUCKETS, "buckets"),
            max_posted=_integer("participation.max_posted", 1, TOTAL, "shares"),
        )
        if self.max_rate is None and self.window is not None:
            raise fail(
                "participation.window", self.window, "has no effect without participation.max_rate."
            )


@dataclass(frozen=True)
class Envelope(_Section):
    """[envelope]: where the cumulative fill should lie at the end of every bucket.

    Attributes:
        lower, upper: fractions of the order, one per bucket, non-decreasing; or instead of them
        kind: "twap" or "vwap", and
        band: half-width around that schedule, as a fraction of the order.
        upper_mode: "soft" penalises fills above the upper edge, "hard" also allows no posting that
            could lead there.
        track_volume: a VWAP schedule follows the realised volume of the day.
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
            band=_number("envelope.band", "a fraction of the order", 0, 1),
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
class Penalties(_Section):
    """[penalties]: prices of missing the limits, in units of the costs.

    Attributes:
        envelope: per share outside the envelope, at every bucket end but the last.
        residual: per share left over at the end: the all-in price of finishing outside the model.
        residual_quadratic: extra price per share left over, times the fraction of the order left over.
    """

    envelope: float
    residual: float
    residual_quadratic: float = 0.0

    def __post_init__(self) -> None:
        self._clean(
            envelope=_number("penalties.envelope", "a price per share"),
            residual=_number("penalties.residual", "a price per share"),
            residual_quadratic=_number("penalties.residual_quadratic", "a price per share"),
        )


@dataclass(frozen=True)
class Estimator(_Section):
    """[estimator]: how the trader corrects predictions by what filled (see ``estimation``).

    Attributes:
        kind: "pseudo-count" or "ewma".
        prior_weight: expected filled lots that the prediction is worth; a number, or one per algo.
            Default: what the scenario's hidden day effect and liquidity factor imply.
        icc: intraclass correlation of the lots of one bucket; a number, or one per algo. Default:
            what the scenario's bucket noise implies.
        memory: what remains of older evidence at each new bucket; 1 forgets nothing. Must be below
            1 for "ewma".
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
            memory=_number("estimator.memory", "the weight of older evidence", 0, 1),
        )
        if self.kind == "ewma" and self.memory == 1:
            raise fail(
                "estimator.memory",
                self.memory,
                'must be below 1 with kind = "ewma": at 1 nothing would ever be learned. Try 0.8.',
            )


@dataclass(frozen=True)
class Actions(_Section):
    """[actions]: the grid of discrete actions (see ``actions``).

    Attributes:
        resolution: parts that the postable lots are split into.
    """

    resolution: int = 4

    def __post_init__(self) -> None:
        self._clean(resolution=_integer("actions.resolution", 1, MOST_PARTS, "parts"))
