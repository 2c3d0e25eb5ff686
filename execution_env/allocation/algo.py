"""An execution algorithm as a section of a scenario: its costs and its fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from execution_env.allocation.sections import INF, MOST_NAME, Section, number_in
from execution_env.core import validation as check
from execution_env.core.validation import ScenarioError, fail

BY_DEPTH = ("depth", "depth_sd", "fill_probability")
"""Keys of an algo whose fills are limited by depth."""

BY_RATE = ("fill_rate", "last_fill_rate", "bucket_sd", "prediction_sd")
"""Keys of an algo whose fills follow a rate."""


@dataclass(frozen=True)
class Algo(Section):
    """[[algos]]: an execution algorithm that shares are posted through.

    With ``fill_rate`` a noisy fraction of the posted shares fills. With ``depth`` all of them fill,
    up to a random depth. The cost is a ``cost``; with costs.basis = "shortfall" it is a
    ``half_spread``, a ``fee`` and a ``rebate``.

    Attributes:
        name: unique; without dots, commas and equals signs.
        cost: per share, in half-spreads; one number or one per bucket.
        fill_rate: predicted fraction of posted lots that fills; one number or one per bucket.
        last_fill_rate: the fill rate of the last bucket, where ``fill_rate`` is one number.
        day_sd: standard deviation of the hidden effect of the day on the logit of the fill rate, or
            on the logarithm of the depth.
        bucket_sd: standard deviation of the bucket's own noise on the logit of the fill rate.
        liquidity_loading: coefficient of the common liquidity factor on the logit. With ``depth``
            it is the factor's correlation with the latent that decides the depth, from -1 to 1.
        prediction_sd: standard deviation, on the logit scale, by which the prediction of a single
            order differs from ``fill_rate``. The trader knows the order's own prediction: the first
            observation shows it.
        fill_probability: probability that a bucket has any depth; one number or one per bucket.
        depth: median depth where there is any, as a share of the bucket's market volume; one number
            or one per bucket.
        depth_sd: standard deviation of the logarithm of that share.
        half_spread: basis points that a filled share costs above the mid at the bucket's start;
            negative where it earns the spread. One number or one per bucket.
        fee, rebate: basis points per filled share that are charged, and paid back.
    """

    name: str
    cost: float | tuple[float, ...] | None = None
    fill_rate: float | tuple[float, ...] | None = None
    last_fill_rate: float | None = None
    day_sd: float = 0.0
    bucket_sd: float = 0.0
    liquidity_loading: float = 1.0
    prediction_sd: float = 0.0
    fill_probability: float | tuple[float, ...] | None = None
    depth: float | tuple[float, ...] | None = None
    depth_sd: float = 0.0
    half_spread: float | tuple[float, ...] | None = None
    fee: float = 0.0
    rebate: float = 0.0

    def __post_init__(self) -> None:
        name = check.text("algos.name", self.name, MOST_NAME)
        if not name.strip() or any(sign in name for sign in ".,="):
            raise fail("algos.name", name, "must be a name without dots, commas and equals signs.")
        key = f"algos.{name}"

        def each(field: str, low: float, high: float, what: str) -> Any:
            return lambda v: check.number_or_list(f"{key}.{field}", v, low, high, what)

        self._clean(
            cost=each("cost", 0, INF, "a cost per share"),
            fill_rate=each("fill_rate", 0, 1, "a fill rate"),
            last_fill_rate=number_in(f"{key}.last_fill_rate", "a fill rate", 0, 1),
            day_sd=number_in(f"{key}.day_sd", "a standard deviation", 0, 20),
            bucket_sd=number_in(f"{key}.bucket_sd", "a standard deviation", 0, 20),
            liquidity_loading=number_in(f"{key}.liquidity_loading", "a loading", -20, 20),
            prediction_sd=number_in(f"{key}.prediction_sd", "a standard deviation", 0, 20),
            fill_probability=each("fill_probability", 0, 1, "a probability"),
            depth=each("depth", 0, 1e6, "a share of the volume"),
            depth_sd=number_in(f"{key}.depth_sd", "a standard deviation", 0, 20),
            half_spread=each("half_spread", -10_000, 10_000, "basis points per filled share"),
            fee=number_in(f"{key}.fee", "basis points per filled share", 0, 10_000),
            rebate=number_in(f"{key}.rebate", "basis points per filled share", 0, 10_000),
        )
        self._check_fills(key)

    def _check_fills(self, key: str) -> None:
        if self.fill_rate is None and self.depth is None:
            raise ScenarioError(
                f"{key}.fill_rate: missing key; give a fill_rate, or depth and fill_probability."
            )
        other, kind = (BY_DEPTH, "fill_rate") if self.depth is None else (BY_RATE, "depth")
        for field in other:
            value = getattr(self, field)
            if value not in (None, 0.0):
                raise fail(f"{key}.{field}", value, f"has no meaning for an algo with {kind}.")
        if self.last_fill_rate is not None and isinstance(self.fill_rate, tuple):
            raise fail(
                f"{key}.last_fill_rate",
                self.last_fill_rate,
                f"leave it out where {key}.fill_rate is a list: the list says the last bucket too.",
            )
        if self.depth is None:
            return
        if self.fill_probability is None:
            raise ScenarioError(
                f"{key}.fill_probability: missing; {key}.depth needs it. 1 means that there always is "
                "some depth."
            )
        for j, depth in enumerate(
            self.depth if isinstance(self.depth, tuple) else (self.depth,), 1
        ):
            if depth == 0:
                raise fail(
                    f"{key}.depth[{j}]", depth, "must be above 0; no depth is fill_probability = 0."
                )
        if abs(self.liquidity_loading) > 1:
            raise fail(
                f"{key}.liquidity_loading",
                self.liquidity_loading,
                "must be a correlation from -1 to 1 for an algo with depth.",
            )
