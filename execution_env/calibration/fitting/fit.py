"""Fit of a scenario's numbers to outcomes of child orders, each with a standard error.

``fit_depth`` fits the law of an algo's depth, ``fit_dependence`` the dependence of algos, buckets
and the mid, ``fit_market`` volume, moves and prices. All buckets and sides are pooled. A window,
with all its buckets and both sides, is one observation: standard errors are by the jackknife over
windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from execution_env.calibration.fitting.cleanup import Crossing, Offers
from execution_env.calibration.fitting.dependence_seen import fills
from execution_env.calibration.fitting.estimate import (
    Estimate,
    Floats,
    errors,
    estimate,
    means,
    weights,
)
from execution_env.calibration.fitting.fit_dependence import SIGNIFICANT, Dependence, fit_dependence
from execution_env.calibration.fitting.fit_depth import DepthLaw, fit_depth
from execution_env.calibration.fitting.fit_market import (
    Prices,
    fit_moves,
    fit_prices,
    fit_touch,
    fit_volume,
)
from execution_env.calibration.fitting.sample import Sample, sample_of
from execution_env.calibration.readers.tape import DataError
from execution_env.calibration.simulator.outcomes import Outcomes

NEVER = "never filled"
NO_MOVES = "the data have no moves of the mid"
SMALLER = "no child order of the algo was as large"
SAME = "its fills do not vary"
AT_BOUND = "at its bound, where a standard error says little"
LARGEST_CHILD = 0.3
"""Default maximum child-order size, as a fraction of bucket volume."""


@dataclass(frozen=True)
class AlgoFit:
    """An algo's keys in a scenario, and further estimates about it.

    Attributes:
        name: name of the algo.
        fill_probability, depth, depth_sd, day_sd, liquidity_loading, half_spread: as in
            ``algo.Algo``.
        fill: expected fraction of the usual child order that fills.
        whole: probability that all of it fills.
        next: autocorrelation of its fills from one bucket to the next.
        with_move: correlation of its fills with the mid's move against the order.
        drift: basis points by which the mid moved against the order in the buckets that filled it.
        all_in: basis points per share posted, if the rest crosses the spread at the bucket's end.
    """

    name: str
    fill_probability: Estimate
    depth: Estimate
    depth_sd: Estimate
    day_sd: Estimate
    liquidity_loading: Estimate
    half_spread: Estimate
    fill: Estimate
    whole: Estimate
    next: Estimate
    with_move: Estimate
    drift: Estimate
    all_in: Estimate


@dataclass(frozen=True)
class Fit:
    """A fitted market.

    Attributes:
        algos: the K algos.
        persistence: persistence of the common factor.
        expected: (B,) market volume of every bucket, shares.
        volume_sd, volume_persistence: standard deviation and persistence of log volume.
        price_sd: standard deviation of the mid's move in a bucket, basis points of the mid at
            arrival.
        move_correlation: correlation of the move with the innovation of the common factor.
        touch: distance from the mid to the far touch at an order's end, basis points, without fees.
        windows: number of windows in the fit.
        posted: shares of the usual child order; ``size`` is the same as a share of a bucket's mean
            volume.
        most: share of a bucket's volume above which depths do not matter.
        counts: number of cases left out or odd, for each reason.
        crossing: evidence on the price of crossing at an order's end.
    """

    algos: tuple[AlgoFit, ...]
    persistence: Estimate
    expected: tuple[Estimate, ...]
    volume_sd: Estimate
    volume_persistence: Estimate
    price_sd: Estimate
    move_correlation: Estimate
    touch: Estimate
    windows: int
    posted: float
    size: float
    most: float
    counts: dict[str, int]
    crossing: Crossing


def fit(
    outcomes: Outcomes,
    names: Sequence[str],
    posted: float | None = None,
    most: float = LARGEST_CHILD,
) -> Fit:
    """Fit the market that ``outcomes`` come from.

    Args:
        outcomes: W windows of child orders of K algos.
        names: (K,) names of the algos.
        posted: shares of the usual child order; None is 5 % of a bucket's mean volume.
        most: share of a bucket's volume that one child order is at most, see ``fit_depth``.

    Raises:
        DataError: there are no windows, or the market never traded in them.
    """
    if not outcomes.start.size:
        raise DataError("no windows to fit on. Give more dates, or shorter windows.")
    mean = float(outcomes.volume.mean())
    if not mean > 0:
        raise DataError("the market traded nothing in any window. Check the files of trades.")
    posted = 0.05 * mean if posted is None else posted
    sample = sample_of(outcomes, posted)
    volume = fit_volume(weights(np.arange(outcomes.start.size)), outcomes.volume)
    weight = weights(sample.cluster)
    expected = tuple(estimate(volume.expected[:, b]) for b in range(outcomes.volume.shape[1]))
    return fit_sample(
        sample,
        weight,
        names,
        posted,
        posted / mean,
        most,
        expected,
        estimate(volume.sd),
        persistence_of(volume.persistence, "log volume"),
        {"buckets without a trade": volume.empty} if volume.empty else {},
    )


def fit_sample(
    sample: Sample,
    weight: Floats,
    names: Sequence[str],
    posted: float,
    size: float,
    most: float,
    expected: tuple[Estimate, ...],
    volume_sd: Estimate,
    volume_persistence: Estimate,
    counts: dict[str, int],
) -> Fit:
    """Fit the market to a sample, given the law of volume; see ``Fit`` for the arguments."""
    law = fit_depth(weight, sample.share, sample.cut, most)
    tied = fit_dependence(weight, sample, law, size, volume_sd.value)
    touch = fit_touch(weight, sample.touch)
    filled = fills(sample, size) / size
    prices = fit_prices(weight, sample, filled, float(touch[0]) if touch[0] == touch[0] else 0.0)
    known = ~np.isnan(filled)
    fill = means(weight, np.where(known, filled, 0.0).sum(axis=1), known.sum(axis=1).astype(float))
    full = known & (filled >= 1.0)
    whole = means(weight, full.sum(axis=1).astype(float), known.sum(axis=1).astype(float))
    moves = fit_moves(weight, sample.move)
    mean = float(np.mean([b.value for b in expected]))
    return Fit(
        algos=tuple(
            _algo(k, name, law, tied, prices, fill, whole, len(expected))
            for k, name in enumerate(names)
        ),
        persistence=_factor_persistence(tied, len(expected)),
        expected=expected,
        volume_sd=volume_sd,
        volume_persistence=volume_persistence,
        price_sd=estimate(moves, why=NO_MOVES),
        move_correlation=_at_bound(estimate(tied.move)),
        touch=estimate(touch, why="no quote at the end of an order"),
        windows=int(np.unique(sample.cluster).size),
        posted=posted,
        size=size,
        most=most,
        counts=counts,
        crossing=_crossing(sample, weight, names, prices, posted, moves, mean),
    )


def _crossing(
    sample: Sample,
    weight: Floats,
    names: Sequence[str],
    prices: Prices,
    posted: float,
    sd: Floats,
    volume: float,
) -> Crossing:
    """Return the evidence on crossing; where no levels are known, the touch with no size."""
    k = int(np.argmax(np.nan_to_num(prices.paid[0], nan=-np.inf)))
    offers, source = sample.offers, "displayed levels, a square-root law beyond"
    if offers is None:
        offers = Offers(sample.touch[:, None], np.zeros((sample.touch.size, 1)))
        source = "the touch and a square-root law"
    traded = means(
        weight, sample.volume.sum(1), np.full(len(sample.volume), sample.volume.shape[1])
    )
    return Crossing(
        offers=offers,
        weight=weight,
        algo=names[k],
        paid=prices.paid[:, k],
        drift=prices.drift[:, k],
        posted=posted,
        sd=sd,
        volume=volume * traded / traded[0],
        source=source,
        displayed=sample.offers is not None,
    )


def persistence_of(replicates: Floats, what: str) -> Estimate:
    """Return an autocorrelation as a scenario can have it: from 0 to 1."""
    found = estimate(replicates)
    if not math.isfinite(found.value):
        return Estimate(0.0, note="one bucket, or no variation: no autocorrelation")
    if found.value < 0:
        return Estimate(0.0, note=f"{what} had {found}, not above 0")
    return found


def _factor_persistence(tied: Dependence, buckets: int) -> Estimate:
    if tied.persistent:
        return estimate(tied.persistence)
    found = (
        ""
        if tied.tried is None
        else f" by {SIGNIFICANT:g} standard errors ({estimate(tied.tried)})"
    )
    following = [_next(tied, k, buckets) for k in range(tied.loading.shape[1])]
    seen = ", ".join(str(fills) for fills in following if fills.known) or str(following[0])
    return Estimate(
        0.0,
        note=f"not told from 0{found}; autocorrelation of fills {seen}",
    )


def _next(tied: Dependence, k: int, buckets: int) -> Estimate:
    """Return the autocorrelation of an algo's fills from one bucket to the next."""
    return estimate(tied.seen.next[:, k], why=SAME if buckets > 1 else "an order is one bucket")


def _depth(replicates: Floats, note: str) -> Estimate:
    return Estimate(float(replicates[0]), note=note) if note else estimate(replicates)


def _at_bound(found: Estimate) -> Estimate:
    bound = abs(found.value) > 0.999
    return Estimate(found.value, found.error, AT_BOUND) if bound else found


def _algo(
    k: int,
    name: str,
    law: DepthLaw,
    tied: Dependence,
    prices: Prices,
    fill: Floats,
    whole: Floats,
    buckets: int,
) -> AlgoFit:
    never = not law.chance[0, k] > 0
    order_sd, sd = tied.order_sd[:, k], law.sd[:, k]
    own = np.sqrt(np.maximum(sd**2 - order_sd**2, 0.0))
    if tied.by_order[k]:
        day_sd = estimate(order_sd)
    else:
        residual = Estimate(tied.seen.far[0, k], float(errors(tied.seen.far[:, k])))
        day_sd = Estimate(
            0.0,
            note="nothing to tell it from"
            if never or not math.isfinite(residual.value)
            else f"not told from 0: autocorrelation of log depth some buckets apart {residual}",
        )
    unmoved = SAME if np.isfinite(tied.seen.adverse[0]).any() else NO_MOVES
    loading = _at_bound(estimate(tied.loading[:, k]))
    if not tied.free[k]:
        loading = Estimate(0.0, note="not known: its fills hardly vary")
    elif tied.free.sum() == 1:
        loading = Estimate(1.0, note="an algo alone is the factor")
    return AlgoFit(
        name=name,
        fill_probability=Estimate(0.0, note=NEVER) if never else estimate(law.chance[:, k]),
        depth=Estimate(1.0, note=f"{NEVER}: any number")
        if never
        else _depth(np.exp(law.location[:, k]), law.notes[k]),
        depth_sd=Estimate(0.0, note=NEVER) if never else _depth(own, law.notes[k]),
        day_sd=day_sd,
        liquidity_loading=loading,
        half_spread=estimate(prices.paid[:, k], f"{NEVER}: its limit" if never else ""),
        fill=estimate(fill[:, k], why=SMALLER),
        whole=estimate(whole[:, k], why=SMALLER),
        next=_next(tied, k, buckets),
        with_move=estimate(tied.seen.moves[:, k], why=unmoved),
        drift=estimate(prices.drift[:, k], why=NEVER if unmoved is SAME else unmoved),
        all_in=estimate(prices.all_in[:, k], why=unmoved),
    )
