"""A scenario as the arrays that jitted code reads.

Structured arrays, so that a jitted function says ``cells[b, i].prediction`` instead of indexing a
nameless column, and so that a call passes a handful of arguments. All quantities are in lots unless
a name says shares.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.estimation import prior_of_estimates
from execution_env.core.memory import read_only

if TYPE_CHECKING:
    from execution_env.allocation.scenario import Scenario

ORDER = np.dtype(
    [
        ("lots", np.int64),  # n
        ("per_lot", np.float64),  # 1 / n
        ("buckets", np.int64),  # B
        ("charge_filled", np.bool_),  # cost per filled instead of per posted share
        ("shortfall", np.bool_),  # costs are those of the day, in basis points
        ("own_predictions", np.bool_),  # every order has its own
        ("reference", np.float64),  # lots, the posting that fill rates under depth are of
        ("lot_size", np.float64),  # shares
        ("capped", np.bool_),  # a participation rate applies
        ("max_rate", np.float64),  # lots that may be ours per share of market volume
        ("window", np.int64),  # buckets the participation cap looks at, B when since the start
        ("max_posted", np.int64),  # lots per bucket, n when there is no limit
        ("hard_upper", np.bool_),
        ("track_volume", np.bool_),
        ("band", np.float64),  # half-width of a tracking envelope, fraction of the order
        ("envelope_penalty", np.float64),  # lambda
        ("residual_penalty", np.float64),  # kappa
        ("residual_quadratic", np.float64),  # kappa2
        ("ewma", np.bool_),
        ("memory", np.float64),
    ],
    align=True,
)
"""Type of the one record that holds for the whole order."""

BUCKET = np.dtype(
    [
        ("lower", np.float64),  # L_b n, unless the envelope tracks volume
        ("upper", np.float64),  # U_b n
        ("expected_volume", np.float64),  # shares in this bucket
        ("expected_rest", np.float64),  # shares from this bucket to the end
    ],
    align=True,
)
"""Type of a bucket's record."""

ALGO = np.dtype(
    [
        ("prior_weight", np.float64),  # with depth 1 / day_sd^2
        ("icc", np.float64),
        ("by_depth", np.bool_),
        ("noise", np.float64),  # sd of log depth as a share of the volume, the day given
        ("depth_sd", np.float64),  # the same as seen before a bucket whose volume is not known
        ("fee", np.float64),  # minus rebate, basis points per filled share
    ],
    align=True,
)
"""Type of an algo's record: how its estimate learns, and its fee. ``prior_weight`` is inf where
nothing is hidden."""

CELL = np.dtype(
    [
        ("prediction", np.float64),  # f[b, i]
        ("cost", np.float64),  # c[b, i]
        ("chance", np.float64),  # that there is any depth
        ("per_volume", np.float64),  # lots of median depth per share of market volume
        ("location", np.float64),  # log of lots, at the volume that is expected
    ],
    align=True,
)
"""Type of the record of a bucket and algo."""


class Parameters(NamedTuple):
    """The arrays of one scenario.

    Attributes:
        order: (1,) of ``ORDER``.
        buckets: (B,) of ``BUCKET``.
        algos: (K,) of ``ALGO``.
        cells: (B, K) of ``CELL``.
    """

    order: NDArray[Any]
    buckets: NDArray[Any]
    algos: NDArray[Any]
    cells: NDArray[Any]


@lru_cache(maxsize=256)
def parameters(scenario: Scenario) -> Parameters:
    """Return ``scenario`` as compiled code reads it; callers share the arrays, which are read-only."""
    size = scenario.lots
    order = np.zeros(1, ORDER)
    order["lots"] = size
    order["per_lot"] = 1.0 / size
    order["buckets"] = scenario.buckets
    order["charge_filled"] = scenario.costs.basis != "posted"
    order["shortfall"] = scenario.shortfall
    order["own_predictions"] = any(algo.prediction_sd > 0 for algo in scenario.algos)
    order["reference"] = scenario.reference_lots
    order["lot_size"] = scenario.order.lot_size
    order["max_posted"] = size
    order["window"] = scenario.buckets
    participation = scenario.participation
    if participation is not None:
        if participation.max_rate is not None:
            order["capped"] = True
            order["max_rate"] = participation.max_rate / scenario.order.lot_size
        if participation.window is not None:
            order["window"] = min(participation.window, scenario.buckets)
        if participation.max_posted is not None:
            order["max_posted"] = min(participation.max_posted // scenario.order.lot_size, size)
    order["hard_upper"] = scenario.envelope.upper_mode == "hard"
    order["track_volume"] = scenario.envelope.track_volume
    order["band"] = scenario.envelope.band or 0.0
    order["envelope_penalty"] = scenario.penalties.envelope
    order["residual_penalty"] = scenario.penalties.residual
    order["residual_quadratic"] = scenario.penalties.residual_quadratic
    order["ewma"] = scenario.estimator.kind == "ewma"
    order["memory"] = scenario.estimator.memory

    buckets = np.zeros(scenario.buckets, BUCKET)
    lower, upper = scenario.envelope_bounds
    buckets["lower"] = lower * size
    buckets["upper"] = upper * size
    expected = scenario.expected_volume
    buckets["expected_volume"] = expected
    buckets["expected_rest"] = np.cumsum(expected[::-1])[::-1]

    cells = np.zeros((scenario.buckets, len(scenario.algos)), CELL)
    cells["prediction"] = scenario.predictions
    cells["cost"] = scenario.posting_costs
    cells["chance"] = scenario.fill_probability
    cells["location"] = scenario.depth_location
    cells["per_volume"] = scenario.depth_per_volume

    algos = np.zeros(len(scenario.algos), ALGO)
    algos["by_depth"] = [algo.depth is not None for algo in scenario.algos]
    algos["noise"] = [algo.depth_sd for algo in scenario.algos]
    volume_sd = 0.0 if scenario.volume is None else scenario.volume.sd
    algos["depth_sd"] = np.hypot(algos["noise"], volume_sd)
    algos["fee"] = scenario.fees
    algos["prior_weight"], algos["icc"] = prior_of_estimates(scenario)
    return read_only(Parameters(order, buckets, algos, cells))
