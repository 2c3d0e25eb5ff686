"""Fill-rate estimates: what a trader can learn about today's fill rates from her own fills.

One multiplier ``m_i`` corrects the prediction ``f[b, i]`` of algo i. It starts at 1. It changes
only after buckets in which x_i > 0 lots were posted through algo i and a fill was expected:

    k   = 1 / (1 + (x_i - 1) icc_i)
    S_i = memory S_i + k filled_i
    T_i = memory T_i + k x_i f[b, i]
    m_i = (w_i + S_i) / (w_i + T_i)

This is the posterior mean of a Gamma-Poisson model (Gelman et al. 2013, Bayesian Data Analysis, 3rd
ed., section 2.6) with prior weight w_i in expected filled lots. The factor k divides by Kish's
design effect (Kish 1965, Survey Sampling, section 5.4), because the lots of one bucket share one
noise draw. The estimator sees posted and filled lots only.

For an algo with depth (see ``depth``), the multiplier is exp of the posterior mean of the day's
effect on log depth. S and T are that posterior's natural parameters less the prior's, and w is the
prior's precision. The estimate is the expected fraction of an even slice of the order that fills.
Here the estimator also sees the bucket's realised volume, which is public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.logistic_normal import variance_split
from execution_env.core.jit import inline

if TYPE_CHECKING:
    from execution_env.allocation.scenario import Scenario


@inline
def learned(
    ewma: bool,
    memory: float,
    prior_weight: float,
    icc: float,
    prediction: float,
    posted: float,
    filled: float,
    filled_evidence: float,
    expected_evidence: float,
    multiplier: float,
) -> tuple[float, float, float]:
    """Return one algo's S, T and m after a bucket.

    The code has no branches, so that a loop over orders runs in SIMD registers.
    """
    expected = posted * prediction
    moved = expected > 0.0
    memory = memory if moved else 1.0
    weight = 1.0 / (1.0 + max(posted - 1.0, 0.0) * icc)
    filled_evidence = memory * filled_evidence + weight * filled
    expected_evidence = memory * expected_evidence + weight * expected
    if ewma:
        ratio = filled / expected if moved else 0.0
        multiplier = memory * multiplier + (1.0 - memory) * ratio
    elif prior_weight < np.inf:  # an infinite weight: nothing is hidden, nothing to learn
        multiplier = (prior_weight + filled_evidence) / (prior_weight + expected_evidence)
    return filled_evidence, expected_evidence, multiplier


@inline
def estimate(multiplier: float, prediction: float) -> float:
    """Return the expected fraction of posted lots that fills, given the multiplier; in [0, 1]."""
    return min(max(multiplier * prediction, 0.0), 1.0)


def prior_of_estimates(scenario: Scenario) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return prior weights w and intraclass correlations icc, each (K,).

    For an algo with depth w is 1 / day_sd^2, and icc is 0; the scenario's ``estimator`` applies
    only to algos with rates.

    Values that ``estimator`` does not give follow from the scenario's noise. If an algo's mean fill
    rate of the day has variance v, its multiplier has variance v / f^2 around 1, hence w = f^2 / v.
    w is inf where nothing is hidden. The lots of a bucket share its noise, hence icc = E Var[F |
    hidden] / (f (1 - f)). v / f^2 and icc are averages over the buckets whose prediction is neither
    0 nor 1.
    """
    algos = scenario.algos
    weights, correlations = np.full(len(algos), np.inf), np.zeros(len(algos))
    for i, algo in enumerate(algos):
        if algo.depth is not None:
            continue
        rates, buckets = np.unique(scenario.predictions[:, i], return_counts=True)
        noisy = (rates > 0) & (rates < 1)
        if not noisy.any():
            continue
        rates, buckets = rates[noisy], buckets[noisy]
        hidden_sd = np.hypot(algo.day_sd, algo.liquidity_loading * scenario.liquidity.sd)
        of_hidden, of_bucket = variance_split(
            rates, np.full(rates.shape, hidden_sd), np.full(rates.shape, algo.bucket_sd)
        )
        variance = np.average(of_hidden / rates**2, weights=buckets)
        if variance > 0:
            weights[i] = 1.0 / variance
        correlations[i] = np.average(of_bucket / (rates * (1.0 - rates)), weights=buckets)
    estimator = scenario.estimator
    if estimator.prior_weight is not None:
        weights[:] = estimator.prior_weight
    if estimator.icc is not None:
        correlations[:] = estimator.icc
    for i, algo in enumerate(algos):
        if algo.depth is not None:
            weights[i] = algo.day_sd**-2 if algo.day_sd > 0 else np.inf
            correlations[i] = 0.0
    return weights, correlations
