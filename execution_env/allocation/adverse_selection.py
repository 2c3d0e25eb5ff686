"""Adverse selection: the cost of a filled share because the mid moves as it fills.

With shortfall costs the mid moves in bucket b by M_b = sd_b (r xi_b + sqrt(1 - r^2) h_b). Here xi_b
is the innovation of the common liquidity factor. The move is charged to the lots that remain after
the bucket (see ``transition``). Its mean is zero given the past. So if g of R lots fill,

    E M_b (R - g) = -E M_b g:

on average only the covariance of the move with the bucket's own fills is paid. If x lots are posted
through algo i, a filled share costs, in basis points on top of spread and fee,

    a_i(x) = -E[M_b g_i(x)] / E g_i(x) = -sd_b r E[xi_b g_i(x)] / E g_i(x)

This is adverse selection (Glosten & Milgrom 1985, J. Financial Economics 14): a passive order fills
when the price comes to it, and has bought what is cheaper a moment later. A plan that charges a_i
is right in expectation, and linear where g is.

Depth C depends on xi through its latent y alone, and E[xi_b | y] = loading w_b y. Here w_b is the
correlation of xi_b with z_b, 1 in the first bucket and sqrt(1 - rho^2) after it. Where there is
depth, y = -q(p Phi(-G)) with the standard normal score G of ``depth`` and the normal quantile q, so

    E[xi_b min(x, C)] = loading w_b p E_G[ y(G) E[min(x, C) | G] ],

one integral, by the trapezoidal rule as in ``logistic_normal``. The inner mean, over day effect and
volume, is a closed form. Where a rate decides, g = x F and the integral is over z_b.

The policy ``dp`` needs no such formula, because it draws fills and moves together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.depth import expected_fill, normal_cdf, normal_quantile
from execution_env.allocation.logistic_normal import NODES, WEIGHTS, mean
from execution_env.allocation.market.model import market_model
from execution_env.allocation.scenario import Scenario
from execution_env.core.jit import jit

Floats = NDArray[np.float64]


def adverse_selection(scenario: Scenario) -> Floats:
    """Return (B, K) a_i at ``reference_lots``, basis points per filled share.

    It is zero without shortfall, and where nothing ever fills.
    """
    fills, moves = fills_and_moves(scenario, np.array([float(scenario.reference_lots)]))
    price: Floats = np.divide(-moves, fills, out=np.zeros(fills.shape), where=fills > 0)[..., 0]
    return price


def filled_share_price(scenario: Scenario) -> Floats:
    """Return the (B, K) mean cost of a filled share, adverse selection included.

    Where posting is charged, it is the cost of a posted share.
    """
    if not scenario.shortfall:
        return scenario.posting_costs
    return scenario.posting_costs + adverse_selection(scenario)


def crossing_price(scenario: Scenario) -> float:
    """Return the mean cost of a share that ``Scenario.crossing_algo`` fills in the last bucket.

    It includes adverse selection.
    """
    return float(filled_share_price(scenario)[-1, scenario.crossing_algo])


def fills_and_moves(scenario: Scenario, posted: Floats) -> tuple[Floats, Floats]:
    """Return E g_i(x), lots, and E[M_b g_i(x)], basis points times lots, each (B, K, S).

    The expectations are taken before the order starts, for the S postings x in ``posted``.
    """
    model, shape = market_model(scenario), (*scenario.predictions.shape, posted.size)
    fills, with_factor = np.zeros(shape), np.zeros(shape)
    chances, locations, sds = scenario.fill_probability, scenario.depth_location, scenario.depth_sd
    for i, by_depth in enumerate(model.by_depth):
        if by_depth:
            cells = np.column_stack([chances[:, i], locations[:, i]])
            cells, where = np.unique(cells, axis=0, return_inverse=True)
            found = np.empty((2, len(cells), posted.size))
            rest = np.hypot(model.day_sd[i], model.volume_sd)
            _by_depth(cells, sds[i], model.depth_sd[i], rest, posted, *found)
            fills[:, i], with_factor[:, i] = found[:, where.reshape(-1)]
            with_factor[:, i] *= model.loading[i]
        else:
            sd = np.sqrt(
                model.day_sd[i] ** 2 + model.bucket_sd[i] ** 2 + model.prediction_sd[i] ** 2
            )
            at, where = np.unique(model.intercept[:, i], return_inverse=True)
            shifted = at[:, None] + model.loading[i] * model.liquidity[0] * NODES
            given = mean(shifted, np.full(shifted.shape, sd)) @ (NODES * WEIGHTS)
            fills[:, i] = scenario.predictions[:, i, None] * posted
            with_factor[:, i] = given[where.reshape(-1)][:, None] * posted
    return fills, moves_with_factor(scenario)[:, None, None] * with_factor


def moves_with_factor(scenario: Scenario) -> Floats:
    """Return (B,) E[M_b | z_b] per standard deviation of z_b."""
    model = market_model(scenario)
    new = np.full(scenario.buckets, np.sqrt(1.0 - model.liquidity[1] ** 2))
    new[0] = 1.0
    there = float(scenario.shortfall and model.liquidity[0] > 0)
    moves: Floats = there * model.move_sd * model.move_correlation * new
    return moves


@jit
def _by_depth(
    cells: Floats, sd: float, own: float, rest: float, posted: Floats, fills: Floats, tied: Floats
) -> None:
    """Write E min(x, C), and E[y min(x, C)], each (U, S).

    Args:
        cells: (U, 2) probability of any depth, and mean of its logarithm.
        sd: standard deviation of that logarithm.
        own: part of ``sd`` that comes from G.
        rest: other part of ``sd``, from day effect and volume.
        posted: (S,) lots x.
        fills, tied: (U, S), written.
    """
    for c in range(cells.shape[0]):
        chance, location = cells[c]
        for s in range(posted.size):
            fills[c, s] = expected_fill(posted[s], chance, location, sd)
            tied[c, s] = 0.0
        if chance <= 0.0:
            continue
        for k in range(NODES.size):
            above, below = normal_cdf(-NODES[k]), normal_cdf(NODES[k])
            # Compute y from the nearer tail, which keeps full precision.
            y = -normal_quantile(chance * above)
            if y < 0.0:
                y = normal_quantile(1.0 - chance + chance * below)
            for s in range(posted.size):
                given = expected_fill(posted[s], 1.0, location + own * NODES[k], rest)
                tied[c, s] += chance * WEIGHTS[k] * y * given
