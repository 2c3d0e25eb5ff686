"""What ties depths together: a factor common to the algos, its persistence, the mid's move, the order.

In the model an algo's share s = C / V is an increasing function of a latent y, standard normal, and of
the order's own effect (``depth``); two latents have a correlation c:

    l_i l_j          algos i and j in a bucket          l_i^2 rho^h     an algo, h buckets apart
    l_i r k_b        an algo and the bucket's move: k = 1 in the first bucket, where all of the factor is
                     new, and sqrt(1 - rho^2) afterwards.

With g(y) = sum_n a_n H_n(y) in normalised Hermite polynomials, the covariance of g(y) and g'(y') is
sum_(n > 0) a_n a'_n c^n (Mehler's formula; Lancaster 1957, Some properties of the bivariate normal
distribution, Biometrika 44). The coefficients are integrals over the project's own ``depth_score``. So
the model's correlations are exact, and l, r, rho and the sd tau_i of the order's effect are where they
are nearest to those of the data, in units of the latter's standard errors:

    fills min(a, s) between algos, and with themselves a bucket later       l, rho
    move per share of fills min(a, s v) in units of its sd                  l, r
    the likelihood's residuals of log s, some buckets apart                 tau

a being a child order of the usual size, and v a bucket's volume as a multiple of the mean. The first
leave volume out, which says nothing of the factor. The second is what adverse selection costs a child
order of so many shares, as in the environment: it is matched as it is paid, v being lognormal. rho is 0
where it is within two standard errors of that, and tau where the residuals' correlation is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares  # type: ignore[import-untyped]
from scipy.special import log_ndtr, roots_hermitenorm  # type: ignore[import-untyped]

from execution_env.calibration.estimate import Floats, correlations, errors, means
from execution_env.calibration.fit_depth import DepthLaw
from execution_env.calibration.sample import Sample
from execution_env.depth import depth_score
from execution_env.jit import jit

TERMS = 100
"""Of a Hermite series. Fills are nearly a step, whose series ends slowly: what is beyond is known in sum
from the covariance at c = 1, and matters there only."""

SIGNIFICANT = 2.0
"""Standard errors from which on there is persistence, or an effect of the order."""

FEWEST = 10
"""Fills that are whole and that are not, or some and none, which it takes to tell a loading: with fewer,
a handful of buckets would decide it, and a jackknife would not notice."""

PULL = 1e-3
"""Of a parameter to where the search starts, in standard errors: what data do not tell stays there."""

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
"""(TERMS + 1, grid) each times the density: a sum with g is a coefficient."""


class Dependence(NamedTuple):
    """1 + J replicates.

    Attributes:
        loading: (1 + J, K) l.
        move: (1 + J,) r.
        persistence: (1 + J,) rho.
        order_sd: (1 + J, K) tau.
        persistent: whether the persistence is above 0 by two standard errors.
        by_order: (K,) whether orders differ beyond two standard errors.
        free: (K,) whether the loading could be told (``FEWEST``); else it is 0, or 1 for an algo alone.
        seen: what was matched.
        tried: (1 + J,) the persistence that was not told from 0; None where it was, or not above 0.
    """

    loading: Floats
    move: Floats
    persistence: Floats
    order_sd: Floats
    persistent: bool
    by_order: NDArray[np.bool_]
    free: NDArray[np.bool_]
    seen: Seen
    tried: Floats | None


class Seen(NamedTuple):
    """Correlations in the data, 1 + J replicates; NaN where something does not vary or is not known.

    Attributes:
        between: (1 + J, P) of the fills of the P pairs of algos.
        moves: (1 + J, K) of fills with the move of the mid against the order.
        adverse: (1 + J, K) mean move of the shares of an order of fixed size that fill, in standard
            deviations of the move.
        next: (1 + J, K) of fills with those a bucket later.
        far: (1 + J, K) of residuals with those ``lags`` later.
        lags: (L,) buckets.
    """

    between: Floats
    moves: Floats
    adverse: Floats
    next: Floats
    far: Floats
    lags: NDArray[np.int64]


@jit
def _scores(latent: Floats, chance: float, out: Floats) -> None:
    for j in range(latent.size):
        out[j] = depth_score(latent[j], chance)


def pairs(algos: int) -> list[tuple[int, int]]:
    """Pairs of algos, in the order of ``Seen.between``."""
    return [(i, j) for i in range(algos) for j in range(i + 1, algos)]


def fills(sample: Sample, size: float) -> Floats:
    """(O, B, K) min(size, s), shares of volume; NaN where less than that was posted."""
    known = ~np.isnan(sample.share) & (sample.posted >= size)
    return np.where(known, np.minimum(sample.share, size), np.nan)


def adverse_moves(weight: Floats, sample: Sample, size: float) -> Floats:
    """``Seen.adverse``: the mean of the mid's move against the order, of shares that filled."""
    shares = sample.share * sample.volume[..., None]
    with np.errstate(invalid="ignore"):  # all of nothing, where nothing was traded
        known = ~np.isnan(shares) & (sample.posted * sample.volume[..., None] >= size)
    known &= ~np.isnan(sample.move)[..., None]
    fill = np.where(known, np.minimum(shares, size), 0.0)
    move = np.nan_to_num(sample.move)
    of_fills = means(weight, (fill * move[..., None]).sum(axis=1), fill.sum(axis=1))
    squares = np.where(np.isnan(sample.move), 0.0, move**2).sum(axis=1)
    sd = np.sqrt(means(weight, squares, (~np.isnan(sample.move)).sum(axis=1).astype(float)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(sd[:, None] > 0, of_fills / sd[:, None], np.nan))


def _residuals(log_share: Floats, cut: NDArray[np.bool_], location: float, sd: float) -> Floats:
    """Derivative of the log likelihood by mu; its mean is 0."""
    z = (location - log_share) / sd
    ratio = np.exp(-0.5 * z * z - log_ndtr(z)) / np.sqrt(2.0 * np.pi)
    return np.asarray(np.where(cut, ratio, -z) / sd)


def _sample_residuals(sample: Sample, law: DepthLaw) -> Floats:
    """(O, B, K) residuals of log s; 0 where there was no depth, NaN where nothing is known."""
    out = np.where(np.isnan(sample.share), np.nan, 0.0)
    for k in range(sample.share.shape[2]):
        share, cut = sample.share[..., k], sample.cut[..., k]
        some = share > 0
        if not (law.sd[0, k] > 0):
            continue
        x = np.log(np.minimum(share[some], law.most[k]))
        above = cut[some] | (share[some] > law.most[k])
        out[..., k][some] = _residuals(x, above, law.location[0, k], law.sd[0, k])
    return out


def see(weight: Floats, sample: Sample, law: DepthLaw, size: float) -> Seen:
    """The correlations of a sample; ``size`` is the usual child order as a share of volume."""
    filled, residual = fills(sample, size), _sample_residuals(sample, law)
    buckets, algos = filled.shape[1:]
    lags = np.arange(max(2, (buckets + 1) // 3), buckets)

    def stacked(columns: list[Floats]) -> Floats:
        return np.stack(columns, axis=1) if columns else np.empty((len(weight), 0))

    def later(values: Floats, lag: int) -> tuple[Floats, Floats]:
        return values[:, : buckets - lag], values[:, lag:]

    nothing = np.full(len(weight), np.nan)
    far, following = [], []
    for k in range(algos):
        apart = [later(residual[..., k], lag) for lag in lags]
        far.append(
            correlations(weight, *(np.concatenate(side, 1) for side in zip(*apart, strict=True)))
            if apart
            else nothing
        )
        following.append(
            correlations(weight, *later(filled[..., k], 1)) if buckets > 1 else nothing
        )
    return Seen(
        stacked([correlations(weight, filled[..., i], filled[..., j]) for i, j in pairs(algos)]),
        stacked([correlations(weight, filled[..., k], sample.move) for k in range(algos)]),
        adverse_moves(weight, sample, size),
        stacked(following),
        stacked(far),
        lags,
    )


class _Series(NamedTuple):
    """A function of the latent and of the order's effect, mean zero aside.

    Attributes:
        mean: of it; variance: in all, and ``between`` orders: of its mean given the order's effect.
        coefficients: (TERMS,) from the first on, averaged over the order's effect.
        squares: (TERMS,) of the coefficients given that effect, averaged.
        values: (grid,) averaged over the order's effect.
    """

    mean: float
    variance: float
    between: float
    coefficients: Floats
    squares: Floats
    values: Floats

    @staticmethod
    def of(values: Floats) -> _Series:
        """Of values (Q, grid), for Q effects of the order."""
        chance = _NODE_CHANCE if len(values) > 1 else np.ones(1)
        coefficients = values @ _POLYNOMIALS.T
        mean = float(chance @ coefficients[:, 0])
        return _Series(
            mean,
            float(chance @ (values**2 @ _CHANCE)) - mean**2,
            float(chance @ coefficients[:, 0] ** 2) - mean**2,
            chance @ coefficients[:, 1:],
            chance @ coefficients[:, 1:] ** 2,
            chance @ values,
        )


class _Algo:
    """An algo's Hermite series, a replicate's law given, for any sd of the order's effect."""

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
        # what the residual is made of does not depend on the order's effect
        self._memory: dict[float, tuple[_Series, _Series]] = {}

    def series(self, order_sd: float) -> tuple[_Series, _Series]:
        """Fills and residuals, for each of the order's effects."""
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
                    _residuals(np.minimum(x, top), x > top, self.location, self.sd),
                    0.0,
                )
            if len(self._memory) > 64:
                self._memory.clear()
            self._memory[order_sd] = _Series.of(fill), _Series.of(residual)
        return self._memory[order_sd]

    def adverse(self) -> float:
        """E[y min(a, s v)] / E min(a, s v): the mean latent of the shares of an order that fill."""
        score = np.where(self.there, self.score, 0.0)
        volume = self.volume_sd * _NODES[:, None] - 0.5 * self.volume_sd**2
        x = np.minimum(self.location + self.sd * score + volume, 700.0)
        fill = _NODE_CHANCE @ np.where(self.there, np.minimum(np.exp(x), self.size), 0.0)
        mean, slope = fill @ _CHANCE, fill @ (_LATENT * _CHANCE)
        return float(slope / mean) if mean > 0.0 else 0.0


_ORDERS = np.arange(1, TERMS + 1)
_ODD = np.where(_ORDERS % 2 == 1, -1.0, 1.0)


def _powers(c: Floats) -> Floats:
    """(..., TERMS) c, c^2, ...; those too small to matter are not, as arithmetic with them is slow."""
    size = np.exp(np.maximum(_ORDERS * np.log(np.maximum(np.abs(c), 1e-12))[..., None], -60.0))
    return np.asarray(np.where(c[..., None] < 0, _ODD, 1.0) * size)


def _own(series: _Series, latent: Floats | float) -> Floats:
    """Covariances of an algo with itself in another bucket, latents' correlations given, any shape."""
    latent = np.asarray(latent, np.float64)
    powers = _powers(latent)
    rest = series.variance - series.between - series.squares.sum()
    return np.asarray(series.between + powers @ series.squares + rest * latent ** (2 * TERMS))


class _Model:
    """The model's correlations at any loadings, given one replicate of the law of depth."""

    def __init__(
        self, law: DepthLaw, which: int, size: float, volume_sd: float, seen: Seen, buckets: int
    ) -> None:
        of = law.chance[which], law.location[which], law.sd[which]
        self.algos = [
            _Algo(of[0][k], of[1][k], of[2][k], size, most, volume_sd)
            for k, most in enumerate(law.most)
        ]
        self.slopes = np.array([algo.adverse() for algo in self.algos])
        self.lags, self.buckets = seen.lags, buckets
        self.far_weight = (buckets - seen.lags) / max((buckets - seen.lags).sum(), 1)

    def correlations(
        self, loading: Floats, move: float, persistence: float, order_sd: Floats
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """As ``Seen`` has them: between (P,), adverse, next and far (K,)."""
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
            following.append(_own(f, loading[k] ** 2 * persistence) / sd[k] ** 2)
            apart = _own(residual, loading[k] ** 2 * persistence**self.lags)
            far.append(self.far_weight @ apart / max(residual.variance, 1e-300))
        return np.array(between), adverse, np.array(following), np.array(far)


MATCHED = ("between", "adverse", "next", "far")
"""Of ``Seen``, in the order of the model's."""


def fit_dependence(
    weight: Floats, sample: Sample, law: DepthLaw, size: float, volume_sd: float
) -> Dependence:
    """Loadings, correlation with the move, persistence and effects of the order.

    Args:
        weight: (1 + J, O).
        sample: of O orders.
        law: of depth, its replicates by ``weight``.
        size: of the usual child order, as a share of a bucket's mean volume.
        volume_sd: standard deviation of log volume.
    """
    seen = see(weight, sample, law, size)
    error = {name: _tolerance(getattr(seen, name), sample) for name in MATCHED}
    filled = fills(sample, size)
    known = ~np.isnan(filled)
    missed = (known & (filled < size)).sum(axis=(0, 1))
    met = (known & (filled > 0)).sum(axis=(0, 1))
    free = np.minimum(missed, met) >= FEWEST
    alone = free.sum() == 1
    use_far = np.array(free & (seen.far[0] > SIGNIFICANT * error["far"]))
    use_next = bool((free & (seen.next[0] > error["next"])).any())
    tried = None
    while True:
        fit = _fitted(
            law, size, volume_sd, seen, error, sample, free, bool(alone), use_next, use_far
        )
        if use_next and not fit[2][0] > max(SIGNIFICANT * float(errors(fit[2])), 1e-6):
            use_next, tried = False, fit[2] if fit[2][0] > 1e-6 else None
            continue
        return Dependence(*fit, use_next, use_far, free, seen, tried)


def _tolerance(seen: Floats, sample: Sample) -> Floats:
    """Standard errors by which distances are measured: the jackknife's, but none below that of
    correlations of unrelated buckets, (1 - c^2) / sqrt(n). Fills that are rarely missed look more
    regular by chance than they are.
    """
    least = (1.0 - np.nan_to_num(seen[0]) ** 2) / np.sqrt(
        max(np.isfinite(sample.share[..., 0]).sum(), 1)
    )
    found = errors(seen)
    return np.asarray(np.maximum(np.nan_to_num(found), np.maximum(least, 1e-3)))


def _fitted(
    law: DepthLaw,
    size: float,
    volume_sd: float,
    seen: Seen,
    error: dict[str, Floats],
    sample: Sample,
    free: NDArray[np.bool_],
    alone: bool,
    use_next: bool,
    use_far: NDArray[np.bool_],
) -> tuple[Floats, Floats, Floats, Floats]:
    replicates, algos = law.chance.shape
    buckets = sample.share.shape[1]
    matched = [
        np.isfinite(seen.between[0])
        & np.array([free[i] and free[j] for i, j in pairs(algos)], np.bool_),
        np.isfinite(seen.adverse[0]) & free,
        np.isfinite(seen.next[0]) & free & use_next,
        np.isfinite(seen.far[0]) & use_far,
    ]
    by_move = bool(matched[1].any())
    loose = np.flatnonzero(free) if not alone else np.array([], np.int64)
    ends = np.flatnonzero(use_far)
    first = len(loose) + by_move

    def unpacked(at: Floats, which: int) -> tuple[Floats, float, float, Floats]:
        """Sines, so that nothing can leave its range: the search needs no bounds."""
        loading, order_sd = np.where(free & alone, 1.0, 0.0), np.zeros(algos)
        sines = np.sin(at)
        loading[loose] = sines[: len(loose)]
        move = float(sines[len(loose)]) if by_move else 0.0
        shares = list(0.999 * sines[first:] ** 2)
        persistence = float(shares.pop(0)) if use_next else 0.0
        order_sd[ends] = np.array(shares) * law.sd[which, ends]
        return loading, move, persistence, order_sd

    def distance(at: Floats, which: int, model: _Model) -> Floats:
        found = model.correlations(*unpacked(at, which))
        parts = [PULL * (at - start)]
        for mine, name, use in zip(found, MATCHED, matched, strict=True):
            theirs = getattr(seen, name)[which]
            parts.append(((mine - theirs) / error[name])[use & np.isfinite(theirs)])
        return np.concatenate(parts)

    loading, order_sd = np.empty((replicates, algos)), np.empty((replicates, algos))
    move, persistence = np.empty(replicates), np.empty(replicates)
    begin = start = _start(seen, free, loose, by_move, use_next, len(ends), algos)
    for which in range(replicates):
        at = begin
        if len(start):
            model = _Model(law, which, size, volume_sd, seen, buckets)
            at = least_squares(distance, begin, args=(which, model), xtol=1e-4, ftol=1e-6).x
            if which == 0:  # not quite from there: at a bound the slope is none
                begin = 0.95 * at + 0.05 * start
        loading[which], move[which], persistence[which], order_sd[which] = unpacked(at, which)
    if loading[0].sum() < 0:  # the factor has no sign of its own: more of it is more depth
        loading, move = -loading, -move
    return loading, move, persistence, order_sd


def _start(
    seen: Seen,
    free: NDArray[np.bool_],
    loose: NDArray[np.int64],
    by_move: bool,
    use_next: bool,
    ends: int,
    algos: int,
) -> Floats:
    """Angles where the search starts, with the signs of the fills' first principal component."""
    matrix = np.eye(algos)
    for (i, j), value in zip(pairs(algos), seen.between[0], strict=True):
        matrix[i, j] = matrix[j, i] = value if np.isfinite(value) else 0.0
    first = np.linalg.eigh(matrix)[1][:, -1]
    first = first if first.sum() >= 0 else -first
    sign = np.where(first >= 0, 1.0, -1.0)
    with_move = np.nansum(seen.moves[0] * sign)
    start = list(0.6 * sign[loose])
    start += [0.4 * (1.0 if with_move >= 0 else -1.0)] * by_move
    return np.asarray(np.arcsin(start + [0.5] * use_next + [0.6] * ends))
