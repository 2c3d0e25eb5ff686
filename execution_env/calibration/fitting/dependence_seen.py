"""Correlations of fills in data: between algos, with the mid's move, from bucket to bucket."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr  # type: ignore[import-untyped]

from execution_env.calibration.fitting.estimate import Floats, correlations, means
from execution_env.calibration.fitting.fit_depth import DepthLaw
from execution_env.calibration.fitting.sample import Sample


class Seen(NamedTuple):
    """Correlations in the data, 1 + J replicates; NaN where a variable is constant or unknown.

    Attributes:
        between: (1 + J, P) of the fills of the P pairs of algos.
        moves: (1 + J, K) of fills with the move of the mid against the order.
        adverse: (1 + J, K) mean move for the shares that fill of an order of fixed size, in
            standard deviations of the move.
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


def pairs(algos: int) -> list[tuple[int, int]]:
    """Return the pairs of algos, in the order of ``Seen.between``."""
    return [(i, j) for i in range(algos) for j in range(i + 1, algos)]


def fills(sample: Sample, size: float) -> Floats:
    """Return (O, B, K) min(size, s), shares of volume; NaN where less than that was posted."""
    known = ~np.isnan(sample.share) & (sample.posted >= size)
    return np.where(known, np.minimum(sample.share, size), np.nan)


def adverse_moves(weight: Floats, sample: Sample, size: float) -> Floats:
    """Return ``Seen.adverse``, the mean of the mid's move against the order over filled shares."""
    shares = sample.share * sample.volume[..., None]
    with np.errstate(invalid="ignore"):  # infinity times 0, where nothing was traded
        known = ~np.isnan(shares) & (sample.posted * sample.volume[..., None] >= size)
    known &= ~np.isnan(sample.move)[..., None]
    fill = np.where(known, np.minimum(shares, size), 0.0)
    move = np.nan_to_num(sample.move)
    of_fills = means(weight, (fill * move[..., None]).sum(axis=1), fill.sum(axis=1))
    squares = np.where(np.isnan(sample.move), 0.0, move**2).sum(axis=1)
    sd = np.sqrt(means(weight, squares, (~np.isnan(sample.move)).sum(axis=1).astype(float)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(sd[:, None] > 0, of_fills / sd[:, None], np.nan))


def residuals(log_share: Floats, cut: NDArray[np.bool_], location: float, sd: float) -> Floats:
    """Return the derivative of the log likelihood by mu; its mean is 0."""
    z = (location - log_share) / sd
    ratio = np.exp(-0.5 * z * z - log_ndtr(z)) / np.sqrt(2.0 * np.pi)
    return np.asarray(np.where(cut, ratio, -z) / sd)


def _sample_residuals(sample: Sample, law: DepthLaw) -> Floats:
    """Return (O, B, K) residuals of log s; 0 without depth, NaN where nothing is known."""
    out = np.where(np.isnan(sample.share), np.nan, 0.0)
    for k in range(sample.share.shape[2]):
        share, cut = sample.share[..., k], sample.cut[..., k]
        some = share > 0
        if not (law.sd[0, k] > 0):
            continue
        x = np.log(np.minimum(share[some], law.most[k]))
        above = cut[some] | (share[some] > law.most[k])
        out[..., k][some] = residuals(x, above, law.location[0, k], law.sd[0, k])
    return out


def see(weight: Floats, sample: Sample, law: DepthLaw, size: float) -> Seen:
    """Return the correlations of a sample.

    ``size`` is the usual child order as a share of volume.
    """
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
        between=stacked(
            [correlations(weight, filled[..., i], filled[..., j]) for i, j in pairs(algos)]
        ),
        moves=stacked([correlations(weight, filled[..., k], sample.move) for k in range(algos)]),
        adverse=adverse_moves(weight, sample, size),
        next=stacked(following),
        far=stacked(far),
        lags=lags,
    )
