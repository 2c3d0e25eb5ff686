"""Fit of a scenario's numbers to a log of a trader's own child orders.

What an algo posted in a bucket shows no depth beyond it. A full fill shows that the depth was no less.
A fill cut short shows the depth. No fill (or less than a share) shows that there was no depth.
``fit_depth`` takes such data. ``children`` adds rows up to buckets; windows are taken for independent
of each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from execution_env.calibration.fitting.children import Children, add_up
from execution_env.calibration.fitting.cleanup import Crossing, Offers
from execution_env.calibration.fitting.estimate import Estimate, Floats, estimate, weights
from execution_env.calibration.fitting.evidence import Evidence
from execution_env.calibration.fitting.fit import (
    LARGEST_CHILD,
    NEVER,
    Fit,
    fit_sample,
    persistence_of,
)
from execution_env.calibration.fitting.fit_market import fit_volume
from execution_env.calibration.fitting.sample import SIGNS, Sample
from execution_env.calibration.readers.cleaning import note
from execution_env.calibration.readers.fill_log import FillLog
from execution_env.calibration.readers.tape import DataError
from execution_env.calibration.simulator.windows import DEFAULT_BUCKET, DEFAULT_WINDOW, buckets_of

USUAL = 0.2
"""Quantile of posted shares of volume that is the usual child order; few orders are smaller."""

GIVEN = "given, not estimated"


class LogFit(NamedTuple):
    """The fit of a log: the market, the data it was fitted on, and lines on what was assumed."""

    fit: Fit
    evidence: Evidence
    assumed: list[str]


def fit_log(
    log: FillLog,
    *,
    bucket: int = DEFAULT_BUCKET,
    window: int = DEFAULT_WINDOW,
    most: float = LARGEST_CHILD,
    volume: float | None = None,
    half_spreads: Mapping[str, float] | None = None,
    price_sd: float | None = None,
    touch: float | None = None,
) -> LogFit:
    """Fit the market that a log of fills comes from.

    Args:
        log: log of child orders.
        bucket, window: nanoseconds.
        most: share of a bucket's volume that one child order is at most.
        volume: the market's shares per bucket, for a log without volume.
        half_spreads: basis points by algo, for algos whose mids are not in the log.
        price_sd: basis points of the mid's move in a bucket, for a log without mid_end.
        touch: basis points from the mid to the far touch; None is the largest half-spread.

    Raises:
        DataError: the log lacks a column that no argument stands in for, or its child orders are far
            from as long as a bucket.
    """
    given = dict(half_spreads or {})
    _check_columns(log, volume, given, price_sd)
    buckets = buckets_of(window, bucket)
    mid = np.full(log.time.size, np.nan) if log.mid is None else log.mid
    with np.errstate(invalid="ignore"):
        price = SIGNS[log.side] * (log.price - mid) / mid * 1e4
    names = _names(log, price, given)
    algo = np.array([names.index(name) for name in log.algo])
    children = add_up(log, price, algo, bucket, window)
    if volume is not None:
        children = children._replace(volume=np.full_like(children.volume, volume))
    traded = children.volume[children.window, children.bucket]
    sample = _sample(children, traded, buckets, len(names))
    weight = weights(sample.cluster)
    expected, volume_sd, volume_persistence = _volume(children.volume, volume)
    with np.errstate(invalid="ignore", divide="ignore"):
        posted = (children.posted / traded)[traded > 0]
    if not posted.size:
        raise DataError(
            "no row of the log has a volume above 0. Fill the column, or give --volume."
        )
    size = float(np.quantile(posted, USUAL))
    mean = float(np.mean([b.value for b in expected]))
    counts = dict(children.counts)
    note(counts, "buckets of an algo without a trade in the market", int((traded == 0).sum()))
    widest = _largest(sample, given, names) if touch is None else touch
    sample = sample._replace(touch=np.full(sample.cluster.size, widest))
    found = fit_sample(
        sample,
        weight,
        names,
        size * mean,
        size,
        most,
        expected,
        volume_sd,
        volume_persistence,
        counts,
    )
    seen = _evidence(children, sample)
    return LogFit(_with_given(found, log, given, price_sd, touch, widest), seen, children.assumed)


def _check_columns(
    log: FillLog, volume: float | None, given: Mapping[str, float], price_sd: float | None
) -> None:
    if log.volume is None and volume is None:
        raise DataError(
            "the log has no column volume, which depth is a share of: add it, or give the market's "
            "shares per bucket, --volume SHARES."
        )
    missing = [str(name) for name in np.unique(log.algo) if name not in given]
    if log.mid is None and missing:
        raise DataError(
            "the log has no column mid, which prices are measured from: add it, or give "
            f"{' '.join(f'--half-spread {name}=BPS' for name in missing)}."
        )
    if (log.mid_end is None or log.mid is None) and price_sd is None:
        raise DataError(
            f"the log has no column {'mid' if log.mid is None else 'mid_end'}, which the mid's moves "
            "are measured by: add it, or give --price-sd BPS."
        )


def _names(log: FillLog, price: Floats, given: Mapping[str, float]) -> list[str]:
    """Return the algos, those that pay most first."""
    paid: dict[str, float] = {}
    for name in map(str, np.unique(log.algo)):
        mine = (log.algo == name) & (log.filled > 0) & ~np.isnan(price)
        if name in given:
            paid[name] = given[name]
        elif mine.any():
            paid[name] = float(np.average(price[mine], weights=log.filled[mine]))
        else:
            raise DataError(
                f"algo {name} never filled where the log has a mid, so what it pays is unknown: give "
                f"--half-spread {name}=BPS, or take its rows out."
            )
    return sorted(paid, key=lambda name: (-paid[name], name))


def _sample(children: Children, traded: Floats, buckets: int, algos: int) -> Sample:
    orders = int(children.order.max()) + 1
    at = children.order, children.bucket, children.algo
    filled = np.where(children.filled < 1.0, 0.0, children.filled)

    def spread_out(values: Floats) -> Floats:
        out = np.full((orders, buckets, algos), np.nan)
        out[at] = values
        return out

    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(traded > 0, filled / traded, np.nan)
        posted = np.where(traded > 0, children.posted / traded, np.nan)
    cluster, sign = np.empty(orders, np.int64), np.empty(orders)
    cluster[children.order] = children.window
    sign[children.order] = SIGNS[children.side]
    mid = children.mid[cluster]
    arrival = np.take_along_axis(mid, (~np.isnan(mid)).argmax(axis=1)[:, None], axis=1)
    move = sign[:, None] * (children.mid_end[cluster] - mid) / arrival * 1e4
    volume = np.ones((orders, buckets))
    known = np.flatnonzero(traded > 0)
    volume[children.order[known], children.bucket[known]] = traded[known] / traded[known].mean()
    return Sample(
        cluster=cluster,
        share=spread_out(share),
        posted=spread_out(posted),
        price=spread_out(children.price),
        filled=np.nan_to_num(spread_out(filled)),
        move=move,
        touch=np.full(orders, np.nan),
        volume=volume,
    )


def _evidence(children: Children, sample: Sample) -> Evidence:
    """Return the same sample in shares."""
    volume = children.volume[sample.cluster]
    return Evidence(
        cluster=sample.cluster,
        depth=sample.share * volume[..., None],
        # slightly less, so that rounding does not make the posted shares look larger
        posted=sample.posted * volume[..., None] * (1 - 1e-12),
        volume=volume,
        move=sample.move,
        time=children.start[sample.cluster],
    )


def _volume(volume: Floats, given: float | None) -> tuple[tuple[Estimate, ...], Estimate, Estimate]:
    """Return the expected volume of every bucket, and sd and autocorrelation of its logarithm.

    Args:
        volume: (W, B) shares; NaN where unknown.
        given: shares per bucket, for a log without volume.
    """
    windows, buckets = volume.shape
    if given is not None:
        nothing = Estimate(0.0, note="no column volume")
        return (Estimate(given, note=GIVEN),) * buckets, nothing, nothing
    law = fit_volume(weights(np.arange(windows)), volume)
    if not np.isfinite(law.expected[0]).all():
        empty = ", ".join(str(b + 1) for b in np.flatnonzero(~np.isfinite(law.expected[0])))
        raise DataError(
            f"no row of the log has a volume in bucket {empty} of a window: choose --bucket and "
            "--orders-of as the orders were, or give --volume SHARES."
        )
    return (
        tuple(estimate(law.expected[:, b]) for b in range(buckets)),
        estimate(law.sd),
        persistence_of(law.persistence, "log volume"),
    )


def _crossing(
    found: Fit, given: Mapping[str, float], price_sd: float | None, touch: float | None
) -> Crossing:
    """Return the evidence on crossing, with the given values in place of those the log lacks.

    Prices that the first algo paid are those of child orders of the usual size, impact included.
    A given touch is that of no size.
    """
    crossing = found.crossing
    changes: dict[str, Any] = {}
    if crossing.algo in given:
        changes["paid"] = np.full(len(crossing.weight), given[crossing.algo])
    if price_sd is not None:
        changes["sd"] = np.full(len(crossing.weight), price_sd)
    if touch is None:
        paid = changes.get("paid", crossing.paid)
        nothing = np.zeros((crossing.weight.shape[1], 1))
        changes["offers"] = Offers(nothing, nothing + crossing.posted)
        changes["base"] = np.maximum(paid, 0.0)
        changes["source"] = (
            f"what {crossing.algo} paid for the usual child order, a square-root law beyond"
        )
    else:
        changes["source"] = "the given touch and a square-root law"
    return dataclasses.replace(crossing, **changes)


def _largest(sample: Sample, given: Mapping[str, float], names: list[str]) -> float:
    """Return the largest half-spread, that of the first algo; at least 0 if it is from the log."""
    if names[0] in given:
        return given[names[0]]
    price, filled = sample.price[..., 0], sample.filled[..., 0]
    known = (filled > 0) & ~np.isnan(price)
    return max(float(np.average(price[known], weights=filled[known])), 0.0)


def _with_given(
    found: Fit,
    log: FillLog,
    given: Mapping[str, float],
    price_sd: float | None,
    touch: float | None,
    widest: float,
) -> Fit:
    """Return ``found`` with the given values in place of those that the log lacks."""
    algos = tuple(
        dataclasses.replace(algo, half_spread=Estimate(given[algo.name], note=GIVEN))
        if algo.name in given
        else algo
        for algo in found.algos
    )
    changes: dict[str, Any] = {}
    if price_sd is not None:
        changes["price_sd"] = Estimate(price_sd, note=GIVEN)
    if log.mid is None or log.mid_end is None:
        changes["move_correlation"] = Estimate(0.0, note="no column mid_end to tell it from")
    changes["touch"] = (
        Estimate(widest, algos[0].half_spread.error, f"the half-spread of {algos[0].name}")
        if touch is None
        else Estimate(touch, note=GIVEN)
    )
    changes["crossing"] = _crossing(found, given, price_sd, touch)
    if any(algo.fill_probability.note == NEVER for algo in algos) and len(algos) == 1:
        raise DataError("nothing in the log ever filled: there is nothing to fit.")
    return dataclasses.replace(found, algos=algos, **changes)
