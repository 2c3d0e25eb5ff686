"""The model that days are drawn from: its mathematics, and its parameters solved once per scenario.

A day does not depend on what is posted, so it can be drawn before the order starts. This gives
common random numbers for paired comparison, hindsight bounds, replay of real days, and speed. With
the scenario's standard deviations and loadings, in bucket b for algo i,

    logit F[b, i] = a[b, i] + p_i + day_i + loading_i z_b + bucket_sd_i e[b, i]
    z_b = rho z_{b-1} + sqrt(1 - rho^2) sd xi_b,        z_0 ~ N(0, sd^2)
    log V[b] = log expected[b] + sd_V g_b - sd_V^2 / 2

F is the fill rate, z the common liquidity factor, V the market's volume. day_i ~ N(0, day_sd_i^2)
holds all day. e, xi and g are standard normal; g is AR(1) over buckets. The intercepts a make E
F[b, i] the prediction f[b, i]. p_i ~ N(0, prediction_sd_i^2) is the part that only the order's own
prediction, E[F | p], knows.

For algos with depth F = 1, and the depth D is that of ``depth`` with the latent y_i = loading_i z_b
/ sd + sqrt(1 - loading_i^2) e[b, i]. With shortfall costs the mid moves by

    M[b] = sd_M (r xi_b + sqrt(1 - r^2) h_b),        h standard normal,

where xi_0 = z_0 / sd.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.logistic_normal import intercept, mean
from execution_env.allocation.market.days import SHIFT_REACH, MarketModel
from execution_env.allocation.scenario import Scenario
from execution_env.core.memory import read_only
from execution_env.core.validation import shown

SHIFTS = 513
"""Number of shifts of the logit at which orders' own predictions are tabulated."""


@lru_cache(maxsize=256)
def market_model(scenario: Scenario) -> MarketModel:
    """Return the model of ``scenario``; callers share its arrays, which are read-only."""
    algos, factor = scenario.algos, scenario.liquidity
    day_sd = np.array([algo.day_sd for algo in algos])
    loading = np.array([algo.liquidity_loading for algo in algos])
    bucket_sd = np.array([algo.bucket_sd for algo in algos])
    prediction_sd = np.array([algo.prediction_sd for algo in algos])
    by_depth = np.array([algo.depth is not None for algo in algos])
    hidden_sd = np.sqrt(day_sd**2 + (loading * factor.sd) ** 2 + bucket_sd**2)
    f = scenario.predictions
    locations = np.zeros(f.shape)
    shifts = np.linspace(-SHIFT_REACH, SHIFT_REACH, SHIFTS)
    tables = np.empty((scenario.buckets if prediction_sd.any() else 0, len(algos), SHIFTS))
    for i in np.flatnonzero(~by_depth):
        rates, where = np.unique(f[:, i], return_inverse=True)
        total_sd = np.hypot(hidden_sd[i], prediction_sd[i])
        found = intercept(rates, np.full(rates.shape, total_sd))
        locations[:, i] = found[where]
        if len(tables):
            shifted = found[:, None] + prediction_sd[i] * shifts
            tables[:, i] = mean(shifted, np.full(shifted.shape, hidden_sd[i]))[where]
    if len(tables):
        tables[:, by_depth] = f[:, by_depth, None]
    innovation = factor.sd * np.sqrt(1.0 - factor.persistence**2)
    volume, price = scenario.volume, scenario.price
    model = MarketModel(
        intercept=locations,
        day_sd=day_sd,
        loading=loading,
        bucket_sd=bucket_sd,
        liquidity=np.array([factor.sd, factor.persistence, innovation]),
        expected_volume=scenario.expected_volume,
        volume_sd=0.0 if volume is None else volume.sd,
        volume_persistence=0.0 if volume is None else volume.persistence,
        by_depth=by_depth,
        chance=scenario.fill_probability,
        per_volume=scenario.depth_per_volume,
        depth_sd=np.array([algo.depth_sd for algo in algos]),
        prediction_sd=prediction_sd,
        predictions=tables,
        spread=scenario.half_spreads,
        move_sd=np.array(np.broadcast_to(0.0 if price is None else price.sd, scenario.buckets)),
        move_correlation=0.0 if price is None else price.liquidity_correlation,
        touch=scenario.penalties.residual,
    )
    return read_only(model)


def own_predictions(scenario: Scenario, first: Sequence[float]) -> NDArray[np.float64]:
    """Return (B, K) predictions of an order whose own are ``first`` (K,) in the first bucket.

    The order's own knowledge moves the logits of all its buckets alike.

    Raises:
        ValueError: the scenario's orders have no predictions of their own, or ``first`` is out of
            range.
    """
    tables = market_model(scenario).predictions
    if not len(tables):
        raise ValueError(
            f"prediction = {shown(list(first))}: orders of {scenario.name} have no predictions of their "
            "own; leave it out, or give algos a prediction_sd."
        )
    found = scenario.predictions
    for i, name in enumerate(scenario.algo_names):
        table = tables[0, i]
        low, high = table[0], table[-1]
        if not low - 1e-9 <= first[i] <= high + 1e-9:
            raise ValueError(
                f"prediction = {first[i]:g} for {name}: must be from {low:.4g} to {high:.4g}, which is "
                f"{SHIFT_REACH:g} standard deviations to either side of the scenario's."
            )
        if high > low:
            shift = np.interp(first[i], table, np.arange(table.size))
            found[:, i] = [np.interp(shift, np.arange(table.size), of) for of in tables[:, i]]
    return found
