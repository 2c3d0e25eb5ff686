"""Fit of what ties depths together: a common factor, its persistence, the mid's move, the order.

In the model an algo's share s = C / V is an increasing function of a standard normal latent y and
of the order's own effect (``depth``). Two latents have a correlation c:

    l_i l_j          algos i and j in a bucket          l_i^2 rho^h     an algo, h buckets apart
    l_i r k_b        an algo and the bucket's move: k = 1 in the first bucket, where all of the
                     factor is new, and sqrt(1 - rho^2) afterwards.

The correlations of fills follow exactly (``dependence_model``). The fit chooses l, r, rho and the
sd tau_i of the order's effect. With them the model's correlations are nearest to those of the data
(``dependence_seen``), in units of the latter's standard errors:

    fills min(a, s) between algos, and with themselves a bucket later       l, rho
    move per share of fills min(a, s v) in units of its sd                  l, r
    the likelihood's residuals of log s, some buckets apart                 tau

Here a is a child order of the usual size, and v a bucket's volume as a multiple of the mean. The
first row leaves volume out, because volume says nothing about the factor. The second row is the
cost of adverse selection for a child order of so many shares, as in the environment, with v
lognormal. rho is 0 if it is within two standard errors of 0; tau is 0 if the residuals' correlation
is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from execution_env.calibration.fitting.dependence_model import Model
from execution_env.calibration.fitting.dependence_seen import Seen, fills, pairs, see
from execution_env.calibration.fitting.estimate import Floats, errors
from execution_env.calibration.fitting.fit_depth import DepthLaw
from execution_env.calibration.fitting.sample import Sample

SIGNIFICANT = 2.0
"""Number of standard errors above 0 from which persistence, or an effect of the order, is kept."""

FEWEST_FILLS = 10
"""Least number of child orders not filled whole, and of those with a fill, that a loading needs.
With fewer a handful of buckets would decide the loading, and a jackknife would not notice."""

PULL = 1e-3
"""Strength of a parameter's pull to the start of the search, in standard errors. A parameter on
which the data say nothing stays there."""


class Dependence(NamedTuple):
    """Estimates of the dependence, 1 + J replicates.

    Attributes:
        loading: (1 + J, K) l.
        move: (1 + J,) r.
        persistence: (1 + J,) rho.
        order_sd: (1 + J, K) tau.
        persistent: whether the persistence is above 0 by two standard errors.
        by_order: (K,) whether orders differ beyond two standard errors.
        free: (K,) whether the loading has enough data (``FEWEST_FILLS``); if not, it is 0. If this holds
            for one algo alone, its loading is 1.
        seen: statistics of the data that were matched.
        tried: (1 + J,) a persistence that was fitted and not kept, as it is within two standard
            errors of 0; None if there is none, or if it is 0.
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


MATCHED = ("between", "adverse", "next", "far")
"""Fields of ``Seen``, in the order of the model's correlations."""


def fit_dependence(
    weight: Floats, sample: Sample, law: DepthLaw, size: float, volume_sd: float
) -> Dependence:
    """Fit loadings, correlation with the move, persistence and effects of the order.

    Args:
        weight: (1 + J, O).
        sample: of O orders.
        law: law of depth, its replicates by ``weight``.
        size: the usual child order, as a share of a bucket's mean volume.
        volume_sd: standard deviation of log volume.
    """
    seen = see(weight, sample, law, size)
    error = {name: _tolerance(getattr(seen, name), sample) for name in MATCHED}
    filled = fills(sample, size)
    known = ~np.isnan(filled)
    missed = (known & (filled < size)).sum(axis=(0, 1))
    met = (known & (filled > 0)).sum(axis=(0, 1))
    free = np.minimum(missed, met) >= FEWEST_FILLS
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
    """Return the standard errors by which distances are measured.

    They are the jackknife's, but at least those of correlations of unrelated buckets, (1 - c^2) /
    sqrt(n). Fills that are rarely missed look more regular by chance than they are.
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
        """Return loadings, correlation with the move, persistence and tau at the angles ``at``.

        Sines keep every value in its range, so that the search needs no bounds.
        """
        loading, order_sd = np.where(free & alone, 1.0, 0.0), np.zeros(algos)
        sines = np.sin(at)
        loading[loose] = sines[: len(loose)]
        move = float(sines[len(loose)]) if by_move else 0.0
        shares = list(0.999 * sines[first:] ** 2)
        persistence = float(shares.pop(0)) if use_next else 0.0
        order_sd[ends] = np.array(shares) * law.sd[which, ends]
        return loading, move, persistence, order_sd

    def distance(at: Floats, which: int, model: Model) -> Floats:
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
            model = Model(law, which, size, volume_sd, seen, buckets)
            at = least_squares(distance, begin, args=(which, model), xtol=1e-4, ftol=1e-6).x
            if which == 0:  # not quite from there: at a bound the slope is 0
                begin = 0.95 * at + 0.05 * start
        loading[which], move[which], persistence[which], order_sd[which] = unpacked(at, which)
    if loading[0].sum() < 0:  # the factor's sign is free: more of it is more depth
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
    """Return the angles where the search starts, signed as the fills' first principal component."""
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
