"""Laws of fills that ``dp-adaptive`` plans with: the fills of a bucket if the estimates are right.

An algo's law has S strata of equal probability, with S normal quantiles e_s. With estimate m f,

    a rate decides:    F_s = logistic(a(m f) + sd e_s),    E F = m f
    depth decides:     C_s of the law with E min(x, C) = m f x at the reference x: log C is shifted
                       to make it so; its standard deviation and the chance of any depth stay

where sd includes all noise there is before the order starts. With shortfall costs the mean move of
the mid in stratum s is E[M_b | e_s] = t e_s. Here e is the noise of the logit, or the latent of
depth, and t is the covariance of the move with it: ``moves_with_factor`` times the correlation of e
with the common factor.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.dynamic_programming.conditional_induction import stratified_normals
from execution_env import Scenario
from execution_env.allocation.depth import expected_fill
from execution_env.allocation.formulas import depth_of
from execution_env.allocation.logistic_normal import intercept, logistic
from execution_env.allocation.market.days import MarketModel
from execution_env.allocation.market.model import market_model
from execution_env.core.jit import jit

STRATA = 64
"""Number of fill rates or depths that represent the distribution of one."""

FARTHEST = 20.0
"""Largest shift of the logarithm of depth."""

Floats = NDArray[np.float64]


class Laws(NamedTuple):
    """S draws for V multipliers of K algos in U different buckets.

    Attributes:
        rates: (K, V, U, S) fill rates; 1 where depth decides.
        limits: (K, V, U, S) depth in lots; the order's lots where a rate decides.
        tied: (K, S) expectation of the common factor given each draw, in its standard deviations;
            (K, 0) without shortfall.
    """

    rates: NDArray[np.float32]
    limits: Floats
    tied: Floats


def hidden_sd(model: MarketModel) -> Floats:
    """Return the (K,) standard deviation of the hidden effects that estimates can learn.

    They are the day's effect and, for an algo with a rate, the liquidity factor.
    """
    factor = np.where(model.by_depth, 0.0, model.loading * model.liquidity[0])
    return np.asarray(np.hypot(model.day_sd, factor))


def laws(scenario: Scenario, buckets: NDArray[np.int64], multipliers: list[Floats]) -> Laws:
    """Return the laws at ``multipliers``, K grids of at most V each, in U ``buckets``."""
    model = market_model(scenario)
    sd = np.hypot(hidden_sd(model), model.bucket_sd)
    shape = (len(multipliers), max(grid.size for grid in multipliers), buckets.size, STRATA)
    found = Laws(
        np.zeros(shape, np.float32),
        np.full(shape, float(scenario.lots)),
        np.zeros((shape[0], STRATA if scenario.shortfall else 0)),
    )
    middles = stratified_normals(np.full((1, STRATA), 0.5))[0]
    predictions, locations = scenario.predictions[buckets], scenario.depth_location[buckets]
    for i, grid in enumerate(multipliers):
        predicted = np.clip(grid[:, None] * predictions[:, i], 0.0, 1.0)
        if model.by_depth[i]:
            found.rates[i] = 1.0
            cells = np.column_stack([model.chance[buckets, i], locations[:, i]])
            _depths(
                predicted,
                cells,
                float(scenario.depth_sd[i]),
                float(scenario.reference_lots),
                middles,
                found.limits[i],
            )
        else:
            found.rates[i, : grid.size] = _rates(predicted, sd[i], middles)
        if scenario.shortfall and model.liquidity[0] > 0:
            tie = model.loading[i]
            if not model.by_depth[i]:
                tie = tie * model.liquidity[0] / sd[i] if sd[i] > 0 else 0.0
            found.tied[i] = tie * middles
    return found


def _rates(predicted: Floats, sd: float, normals: Floats) -> NDArray[np.float32]:
    """Return (V, U, S) fill rates with means ``predicted`` (V, U)."""
    logits = np.linspace(-12.0, 12.0, 129)
    # Solving for every location takes long, and between these points it is almost linear.
    locations = intercept(logistic(logits), np.full(logits.size, sd))
    with np.errstate(divide="ignore"):
        wanted = np.log(predicted) - np.log1p(-predicted)
    found = np.interp(wanted, logits, locations)
    location = np.where(np.isinf(wanted), wanted, found)
    rates: NDArray[np.float32] = logistic(location[..., None] + sd * normals).astype(np.float32)
    return rates


@jit
def _depths(
    predicted: Floats, cells: Floats, sd: float, posted: float, normals: Floats, limits: Floats
) -> None:
    """Write depths (V, U, S) such that a share ``predicted`` (V, U) of ``posted`` lots fills.

    Args:
        predicted: (V, U) share, reached as far as the chance of any depth and ``FARTHEST`` allow.
        cells: (U, 2) chance of any depth, and mean of the logarithm of depth.
        sd: standard deviation of that logarithm.
        posted: lots posted.
        normals: (S,) latents.
        limits: (V, U, S), written.
    """
    for u in range(cells.shape[0]):
        chance, location = cells[u]
        for v in range(predicted.shape[0]):
            low, high = -FARTHEST, FARTHEST
            for _ in range(50):
                middle = 0.5 * (low + high)
                fill = expected_fill(posted, chance, location + middle, sd)
                if fill < predicted[v, u] * posted:
                    low = middle
                else:
                    high = middle
            for s in range(normals.size):
                limits[v, u, s] = depth_of(
                    normals[s], chance, 1.0, location + 0.5 * (low + high), sd
                )
