"""Arrays of days, and of the model that a scenario's days are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.scenario import Scenario

UNLIMITED = np.iinfo(np.int32).max

SHIFT_REACH = 8.0
"""Standard deviations to either side that the tables of orders' own predictions reach."""

Floats = NDArray[np.float64]

_seen = attrgetter(
    *("fill_rate", "rounding", "volume", "depth", "prediction", "spread", "move", "touch")
)


class Days(NamedTuple):
    """n days side by side; the day is the last axis, so that loops over orders are contiguous.

    What a scenario does not have takes no room: a first axis of 0.

    Attributes:
        fill_rate: (B, K, n) float32, F; 1 where depth decides.
        rounding: (B, K, n) float32 in [0, 1), u.
        volume: (B, n) float64, shares traded in the market, V; zeros without a volume model.
        depth: (B, K, n) int32, the most lots an algo can fill, D; unlimited where a rate decides.
        prediction: (B, K, n) the order's own f, known before it starts; with prediction_sd.
        spread: (B, K, n) basis points that a filled share costs above the mid at the bucket's start.
            This and what follows up to ``vwap`` with shortfall costs.
        move: (B, n) basis points by which the mid moves against us in the bucket.
        touch: (1, n) basis points that a share left over costs above the mid at the end, impact aside.
        vwap: (B, n) basis points of the market's average price in the bucket above the mid at arrival.
            No policy depends on it; slippage is measured against it.
        day_effect: (K, n) float64, day_i, with what the order's own prediction knows of it. Hidden
            from the trader, for the clairvoyant bound; nan on replayed days.
        liquidity: (B, n) float64, z. Hidden too.
    """

    fill_rate: NDArray[np.float32]
    rounding: NDArray[np.float32]
    volume: Floats
    depth: NDArray[np.int32]
    prediction: Floats
    spread: Floats
    move: Floats
    touch: Floats
    vwap: Floats
    day_effect: Floats
    liquidity: Floats

    @staticmethod
    def empty(
        buckets: int,
        algos: int,
        count: int,
        shortfall: bool = False,
        own_predictions: bool = False,
    ) -> Days:
        """Room for ``count`` days; of depth, unlimited."""
        priced = buckets if shortfall else 0
        return Days(
            fill_rate=np.empty((buckets, algos, count), np.float32),
            rounding=np.empty((buckets, algos, count), np.float32),
            volume=np.empty((buckets, count)),
            depth=np.full((buckets, algos, count), UNLIMITED, np.int32),
            prediction=np.empty((buckets if own_predictions else 0, algos, count)),
            spread=np.empty((priced, algos, count)),
            move=np.empty((priced, count)),
            touch=np.empty((min(priced, 1), count)),
            vwap=np.empty((priced, count)),
            day_effect=np.empty((algos, count)),
            liquidity=np.empty((buckets, count)),
        )

    @staticmethod
    def of(scenario: Scenario, count: int) -> Days:
        """Room for ``count`` days of ``scenario``."""
        own = any(algo.prediction_sd > 0 for algo in scenario.algos)
        return Days.empty(scenario.buckets, len(scenario.algos), count, scenario.shortfall, own)

    @property
    def size(self) -> int:
        """Number of days, n."""
        return int(self.volume.shape[1])

    @property
    def seen(self) -> tuple[Any, ...]:
        """Return the arrays that the transition sees, in the order of ``orders.Market``."""
        return _seen(self)

    def part(self, which: slice) -> Days:
        """Some of the days, as views."""
        return Days._make(array[..., which] for array in self)

    def pick(self, which: NDArray[np.int64]) -> Days:
        """The days with these numbers, as copies."""
        return Days._make(np.ascontiguousarray(array[..., which]) for array in self)

    def put(
        self, which: NDArray[np.bool_] | slice | int, days: Days | Sequence[NDArray[Any]]
    ) -> None:
        """Overwrite the days that ``which`` selects."""
        for mine, theirs in zip(self._asdict().values(), days, strict=True):
            mine[..., which] = theirs


class MarketModel(NamedTuple):
    """The noise of a scenario, as arrays.

    Attributes:
        intercept: (B, K).
        day_sd, loading, bucket_sd: (K,).
        liquidity: (3,), the standard deviation of z_0, rho, and that of z's innovations.
        expected_volume: (B,) shares.
        volume_sd: of log volume.
        volume_persistence: autocorrelation of its noise.
        by_depth: (K,) whether depth decides what fills.
        chance: (B, K) that there is any.
        per_volume: (B, K) lots of its median per share of market volume.
        depth_sd: (K,) of its logarithm, the day given.
        prediction_sd: (K,).
        predictions: (B or 0, K, G) an order's own f, at equally spaced shifts of the logit from
            -SHIFT_REACH to SHIFT_REACH standard deviations.
        spread: (B, K) basis points; move_sd: (B,).
        move_correlation: of a move with the innovation of z.
        touch: basis points.
    """

    intercept: Floats
    day_sd: Floats
    loading: Floats
    bucket_sd: Floats
    liquidity: Floats
    expected_volume: Floats
    volume_sd: float
    volume_persistence: float
    by_depth: NDArray[np.bool_]
    chance: Floats
    per_volume: Floats
    depth_sd: Floats
    prediction_sd: Floats
    predictions: Floats
    spread: Floats
    move_sd: Floats
    move_correlation: float
    touch: float
