"""The linear programme that plans for several outcomes of the first bucket.

A two-stage stochastic programme (Birge & Louveaux 2011, Introduction to Stochastic Programming): the
first bucket's lots are decided before its fills are known, everything after that knows them.
Scenario s has the fill rates, on the logit scale,

    first bucket     logit e[0, i] + sqrt(h_i + v_i) u[s, i]
    later buckets    logit e[j, i] + h_i / sqrt(h_i + v_i) u[s, i]

where e are the estimates, v_i is the variance of one bucket's noise and h_i what is still hidden of
day effect and liquidity: their variance times 1 - T / (w + T), the evidence of the observation. The
first bucket mixes both; what it teaches about the rest is the regression of the hidden part on their
sum, and no more: a scenario that knew the noise of later buckets would plan around it. Rates are then
scaled so that their mean over scenarios is e. The liquidity factor is taken to hold for the rest of
the order.

Where depth C decides, the first bucket has its quantiles,

    first bucket     the share of a piece (a, b] that fills at the depth at the level Phi(u[s, i])
    later buckets    that expected to fill if log C is h_i / sqrt(h_i + v_i) u[s, i] more than expected

with v_i the variance of log C on a day, volume included, and h_i what is still hidden of its day effect
alone: estimates learn nothing of liquidity there. Many outcomes of the first bucket are no fill at all.

Shocks tied as liquidity ties the algos gained nothing on 13,000 days of two such markets.

The shocks u are drawn once: normal quantiles, (s + 1/2) / S, shuffled for each algo (Latin hypercube;
McKay, Beckman & Conover 1979, Technometrics 21), the least correlated of many shuffles. So every
marginal is right with few scenarios, and decisions are functions of the observation alone.

S = 12, and no noise in later buckets, were chosen on tuning days of baseline, drifting and known-rates:
more scenarios gained nothing there, fewer scenarios or more noise lost. Margins in addition help where
the hidden factor moves (drifting, 2 lots below and 1 above: 0.866 instead of 0.896 on 500 tuning days)
and cost elsewhere (known-rates, the same: 0.715 instead of 0.695 on 250), so there are none by default.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.lp.data import Horizon, put_estimates
from agents.lp.policy import LinearProgramme
from agents.policy import Observations
from execution_env import Scenario
from execution_env.allocation.depth import expected_fill
from execution_env.allocation.formulas import depth_of
from execution_env.core.jit import inner_inline, jit

SHUFFLES = 500

Floats = NDArray[np.float64]


def shocks(generator: np.random.Generator, scenarios: int, algos: int) -> Floats:
    """(S, K) of mean 0 and variance 1 per algo, hardly correlated."""
    quantiles = np.array([NormalDist().inv_cdf((s + 0.5) / scenarios) for s in range(scenarios)])
    if scenarios > 1:
        quantiles /= quantiles.std()
    fixed = np.broadcast_to(quantiles, (SHUFFLES, 1, scenarios))
    others = np.broadcast_to(quantiles, (SHUFFLES, algos - 1, scenarios))
    drawn = np.concatenate([fixed, generator.permuted(others, axis=2)], axis=1)
    products = drawn @ drawn.transpose(0, 2, 1) / scenarios
    worst = np.abs(products - np.eye(algos)).max(axis=(1, 2))
    best: Floats = drawn[np.argmin(worst)].T.copy()
    return best


@jit
def put_scenarios(
    horizon: Horizon,
    observation: NDArray[np.float32],
    shocks: Floats,
    hidden: Floats,
    noise: Floats,
    random: NDArray[np.bool_],
    fills: Floats,
) -> None:
    """Turn ``fills`` (S, r, W), the estimates, into scenarios around them.

    Args:
        horizon: from the observation's bucket on.
        observation: (5 + 2 K,).
        shocks: (S, K) u.
        hidden: (K,) variance of what is hidden at the start.
        noise: (K,) v.
        random: (K,) whether depth decides, and is not taken to be certain.
        fills: written.
    """
    scenarios, buckets, size = fills.shape
    algos = hidden.size
    for i in range(size):
        algo = horizon.cells[0, i].algo
        unknown = hidden[algo] * (1.0 - np.float64(observation[2 + algos + algo]))
        sd = np.sqrt(unknown + noise[algo])
        for j in range(buckets):
            cell = horizon.cells[j, i]
            prediction, estimate = cell.prediction, fills[0, j, i]
            if cell.by_depth:
                if random[algo] and estimate > 0.0 and (j == 0 or unknown > 0.0):
                    for s in range(scenarios):
                        if j == 0:
                            fills[s, j, i] = _quantile(cell, shocks[s, algo], sd)
                        else:
                            learned = unknown / sd * shocks[s, algo]
                            fills[s, j, i] = _expected(cell, learned, np.sqrt(noise[algo]))
                    _scale(estimate, fills[:, j, i])
                continue
            # A prediction of 0 or 1 is certain.
            if sd > 0.0 and 0.0 < prediction < 1.0 and 0.0 < estimate < 1.0:
                scale = sd if j == 0 else unknown / sd
                odds = estimate / (1.0 - estimate)
                for s in range(scenarios):
                    shifted = odds * np.exp(scale * shocks[s, algo])
                    fills[s, j, i] = shifted / (1.0 + shifted)
                _scale(estimate, fills[:, j, i])


@inner_inline
def _quantile(cell: Any, shock: float, sd: float) -> Any:
    """Share of a piece that fills at the depth that ``shock``, a normal quantile, stands for."""
    depth = depth_of(shock, cell.chance, 1.0, cell.location, sd)
    if depth == 0.0:
        return 0.0
    width = cell.stop - cell.start
    return min(max(depth - cell.start, 0.0), width) / width


@inner_inline
def _expected(cell: Any, more: float, sd: float) -> Any:
    """Share of a piece that is expected to fill if the logarithm of depth is ``more`` than predicted."""
    location = cell.location + more
    until = expected_fill(cell.stop, cell.chance, location, sd)
    before = expected_fill(cell.start, cell.chance, location, sd)
    return max(until - before, 0.0) / (cell.stop - cell.start)


@inner_inline
def _scale(mean: float, rates: Floats) -> None:
    """Bring the mean of ``rates`` to ``mean``, as far as none exceeds 1; if all are 0 they become it."""
    total = 0.0
    for s in range(rates.size):
        total += rates[s]
    for s in range(rates.size):
        rates[s] = min(rates[s] * mean * rates.size / total, 1.0) if total > 0.0 else mean


class ScenarioProgramme(LinearProgramme):
    """Posts what is best on average over several outcomes of the first bucket.

    Args:
        scenario: what is planned for.
        name: that tables call it by.
        scenarios: S, of fills.
        noise: what the standard deviations of the scenarios are multiplied by; 0 is plain ``lp``.
        seed: of the scenarios, and of random allocations.
        arguments: of ``LinearProgramme``.

    Raises:
        ValueError: an argument is out of range or of the wrong length.
    """

    def __init__(
        self,
        scenario: Scenario,
        name: str = "lp-scenario",
        scenarios: int = 12,
        noise: float = 1.0,
        seed: int = 0,
        **arguments: Any,
    ) -> None:
        super().__init__(scenario, name, seed=seed, **arguments)
        if isinstance(scenarios, bool) or not isinstance(scenarios, int) or scenarios < 1:
            raise ValueError(f"scenarios = {scenarios!r}: must be a whole number, at least 1.")
        if not (np.isfinite(noise) and noise >= 0):
            raise ValueError(f"noise = {noise!r}: must be a finite number, at least 0.")
        self.scenarios = scenarios
        algos, liquidity = scenario.algos, scenario.liquidity.sd
        by_depth = np.array([algo.depth is not None for algo in algos])
        hidden = [algo.day_sd**2 + (algo.liquidity_loading * liquidity) ** 2 for algo in algos]
        own = [algo.bucket_sd**2 for algo in algos]
        if by_depth.any():
            day = np.array([algo.day_sd**2 for algo in algos])
            hidden = list(np.where(by_depth, day, hidden))
            own = list(np.where(by_depth, scenario.depth_sd**2 - day, own))
        self._hidden, self._noise = noise**2 * np.array(hidden), noise**2 * np.array(own)
        self._by_depth = by_depth & (noise > 0)
        self._shocks = shocks(self._generator, scenarios, len(algos))

    def _put_fills(self, horizon: Horizon, observation: Observations, fills: Floats) -> None:
        put_estimates(horizon, observation, fills)
        put_scenarios(
            horizon, observation, self._shocks, self._hidden, self._noise, self._by_depth, fills
        )
