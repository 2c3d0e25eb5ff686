"""Exact correlations of fills in the model, by Hermite series of functions of a latent.

With g(y) = sum_n a_n H_n(y) in normalised Hermite polynomials, the covariance of g(y) and g'(y') is
sum_(n > 0) a_n a'_n c^n, where c is the correlation of y and y' (Lancaster 1957, Some properties of
the bivariate normal distribution, Biometrika 44). The coefficients are integrals over the project's
own ``depth_score``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import roots_hermitenorm  # type: ignore[import-untyped]

from execution_env.allocation.depth import depth_score
from execution_env.calibration.fitting.dependence_seen import Seen, pairs, residuals
from execution_env.calibration.fitting.estimate import Floats
from execution_env.calibration.fitting.fit_depth import DepthLaw
from execution_env.core.jit import jit

TERMS = 100
"""Number of Hermite terms. Fills are almost a step function, so the series converges slowly. The
tail's total follows from the covariance at c = 1 and matters only there."""

_LATENT = np.linspace(-8.0, 8.0, 1601)
_CHANCE = np.exp(-0.5 * _LATENT**2)
_CHANCE /= _CHANCE.sum()
_NODES, _NODE_CHANCE = roots_hermitenorm(9)
_NODE_CHANCE = _NODE_CHANCE / _NODE_CHANCE.sum()


def _hermite() -> Floats:
    rows = [np.ones_like(_LATENT), _LATENT]
    for n in range(1, TERMS):
        rows.append((_LATENT * rows[n] - np.sqrt(n) * rows[n - 1]) / np.sqrt(n + 1))
    return np.array(rows) * _CHANCE


_POLYNOMIALS = _hermite()
"""Hermite polynomials times the density, (TERMS + 1, grid): their sum with g is a coefficient."""


@jit
def _scores(latent: Floats, chance: float, out: Floats) -> None:
    for j in range(latent.size):
        out[j] = depth_score(latent[j], chance)


class Series(NamedTuple):
    """Hermite series of a function of the latent and of the order's effect.

    Attributes:
        mean: mean of the function.
        variance: its variance in all.
        between: variance between orders, that of its mean given the order's effect.
        coefficients: (TERMS,) from the first on, averaged over the order's effect.
        squares: (TERMS,) squares of the coefficients given that effect, averaged.
        values: (grid,) averaged over the order's effect.
    """

    mean: float
    variance: float
    between: float
    coefficients: Floats
    squares: Floats
    values: Floats

    @staticmethod
    def of(values: Floats) -> Series:
        """Return the series of values (Q, grid), for Q effects of the order."""
        chance = _NODE_CHANCE if len(values) > 1 else np.ones(1)
        coefficients = values @ _POLYNOMIALS.T
        mean = float(chance @ coefficients[:, 0])
        return Series(
            mean=mean,
            variance=float(chance @ (values**2 @ _CHANCE)) - mean**2,
            between=float(chance @ coefficients[:, 0] ** 2) - mean**2,
            coefficients=chance @ coefficients[:, 1:],
            squares=chance @ coefficients[:, 1:] ** 2,
            values=chance @ values,
        )


class Algo:
    """An algo's Hermite series for any sd of the order's effect, given a replicate's law."""

    def __init__(
        self,
        chance: float,
        location: float,
        sd: float,
        size: float,
        most: float,
        volume_sd: float = 0.0,
    ) -> None:
        self.score = np.empty_like(_LATENT)
        _scores(_LATENT, chance, self.score)
        self.volume_sd = volume_sd
        self.location, self.sd, self.size, self.most = location, sd, size, most
        self.there = np.isfinite(self.score)
        # series of fills and of residuals, by sd of the order's effect
        self._memory: dict[float, tuple[Series, Series]] = {}

    def series(self, order_sd: float) -> tuple[Series, Series]:
        """Return the series of fills and of residuals for one sd of the order's effect."""
        if order_sd not in self._memory:
            nodes = _NODES if order_sd > 0.0 else _NODES[4:5]
            own = np.sqrt(max(self.sd**2 - order_sd**2, 0.0))
            score = np.where(self.there, self.score, 0.0)
            x = self.location + order_sd * nodes[:, None] + own * score
            fill = np.where(self.there, np.minimum(np.exp(np.minimum(x, 700.0)), self.size), 0.0)
            residual = np.zeros_like(fill)
            if self.sd > 0.0:
                top = np.log(self.most)
                residual = np.where(
                    self.there,
                    residuals(np.minimum(x, top), x > top, self.location, self.sd),
                    0.0,
                )
            if len(self._memory) > 64:
                self._memory.clear()
            self._memory[order_sd] = Series.of(fill), Series.of(residual)
        return self._memory[order_sd]

    def adverse(self) -> float:
        """Return E[y min(a, s v)] / E min(a, s v): the mean latent of an order's filled shares."""
        score = np.where(self.there, self.score, 0.0)
        volume = self.volume_sd * _NODES[:, None] - 0.5 * self.volume_sd**2
        x = np.minimum(self.location + self.sd * score + volume, 700.0)
        fill = _NODE_CHANCE @ np.where(self.there, np.minimum(np.exp(x), self.size), 0.0)
        mean, slope = fill @ _CHANCE, fill @ (_LATENT * _CHANCE)
        return float(slope / mean) if mean > 0.0 else 0.0


_ORDERS = np.arange(1, TERMS + 1)
_ODD = np.where(_ORDERS % 2 == 1, -1.0, 1.0)


def _powers(c: Floats) -> Floats:
    """Return (..., TERMS) powers c, c^2, ...

    Their size is at least exp(-60), because arithmetic with smaller numbers is slow.
    """
    size = np.exp(np.maximum(_ORDERS * np.log(np.maximum(np.abs(c), 1e-12))[..., None], -60.0))
    return np.asarray(np.where(c[..., None] < 0, _ODD, 1.0) * size)


def autocovariance(series: Series, latent: Floats | float) -> Floats:
    """Return covariances of an algo with itself in another bucket, given the latents' correlations.

    ``latent`` holds these correlations, in any shape.
    """
    latent = np.asarray(latent, np.float64)
    powers = _powers(latent)
    rest = series.variance - series.between - series.squares.sum()
    return np.asarray(series.between + powers @ series.squares + rest * latent ** (2 * TERMS))


class Model:
    """The model's correlations at any loadings, given one replicate of the law of depth."""

    def __init__(
        self, law: DepthLaw, which: int, size: float, volume_sd: float, seen: Seen, buckets: int
    ) -> None:
        of = law.chance[which], law.location[which], law.sd[which]
        self.algos = [
            Algo(of[0][k], of[1][k], of[2][k], size, most, volume_sd)
            for k, most in enumerate(law.most)
        ]
        self.slopes = np.array([algo.adverse() for algo in self.algos])
        self.lags, self.buckets = seen.lags, buckets
        self.far_weight = (buckets - seen.lags) / max((buckets - seen.lags).sum(), 1)

    def correlations(
        self, loading: Floats, move: float, persistence: float, order_sd: Floats
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the correlations as in ``Seen``: between (P,), adverse, next and far (K,)."""
        series = [algo.series(tau) for algo, tau in zip(self.algos, order_sd, strict=True)]
        fill = [f for f, _ in series]
        sd = np.sqrt([max(f.variance, 1e-300) for f in fill])
        between = []
        for i, j in pairs(len(fill)):
            products, c = fill[i].coefficients * fill[j].coefficients, loading[i] * loading[j]
            covariance = products @ _powers(np.asarray(c))
            if c > 0.9:
                whole = (fill[i].values * fill[j].values) @ _CHANCE - fill[i].mean * fill[j].mean
                covariance += (whole - products.sum()) * c ** (2 * TERMS)
            between.append(covariance / (sd[i] * sd[j]))
        new = (1.0 + (self.buckets - 1) * np.sqrt(1.0 - persistence**2)) / self.buckets
        adverse = self.slopes * loading * move * new
        following, far = [], []
        for k, (f, residual) in enumerate(series):
            following.append(autocovariance(f, loading[k] ** 2 * persistence) / sd[k] ** 2)
            apart = autocovariance(residual, loading[k] ** 2 * persistence**self.lags)
            far.append(self.far_weight @ apart / max(residual.variance, 1e-300))
        return np.array(between), adverse, np.array(following), np.array(far)
