"""Fit of the market's part of a scenario: volume, the mid's moves, the touch, and costs of fills.

    V_b = expected_b exp(sd g_b - sd^2 / 2),  g of lag-1 autocorrelation rho_V
    expected_b    mean over windows
    sd            standard deviation of log(V / expected), all windows and buckets together
    rho_V         its autocorrelation from one bucket to the next within a window

Windows of all times of the day are pooled. So sd and rho_V include differences between times of the
day, such as a busier open than noon. Moves of the mid have mean zero, because the two sides of a
window have opposite ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from execution_env.calibration.fitting.estimate import Floats, correlations, means
from execution_env.calibration.fitting.sample import Sample


class VolumeLaw(NamedTuple):
    """1 + J replicates of the market's volume; ``empty`` counts buckets without trades."""

    expected: Floats  # (1 + J, B) shares
    sd: Floats  # (1 + J,)
    persistence: Floats  # (1 + J,) NaN where there is one bucket
    empty: int


def fit_volume(weight: Floats, volume: Floats) -> VolumeLaw:
    """Fit the law of volume.

    Args:
        weight: (1 + J, W).
        volume: (W, B) shares, NaN where unknown. Buckets without trades count for the expectation
            and have no logarithm.
    """
    known = ~np.isnan(volume)
    expected = means(weight, np.where(known, volume, 0.0), known.astype(float))
    replicates, buckets = expected.shape
    sd, persistence = np.empty(replicates), np.full(replicates, np.nan)
    positive = volume > 0
    raw = np.log(np.where(positive, volume, 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.log(expected)
    for j in range(replicates):
        mine = weight[j : j + 1]
        x = np.where(positive & np.isfinite(level[j]), raw - level[j], np.nan)
        there = ~np.isnan(x)
        total = np.where(there, x, 0.0)
        each = mine @ np.stack([there.sum(1), total.sum(1), (total**2).sum(1)], 1)
        count, first, second = each[0]
        sd[j] = np.sqrt(max(second / count - (first / count) ** 2, 0.0)) if count else 0.0
        if buckets > 1:
            persistence[j] = correlations(mine, x[:, :-1], x[:, 1:])[0]
    return VolumeLaw(expected, sd, persistence, int((volume == 0).sum()))


def fit_moves(weight: Floats, move: Floats) -> Floats:
    """Return (1 + J,) root mean square of moves (O, B), basis points; NaN where none is known."""
    known = ~np.isnan(move)
    square = np.where(known, move, 0.0) ** 2
    return np.asarray(np.sqrt(means(weight, square.sum(axis=1), known.sum(axis=1).astype(float))))


def fit_touch(weight: Floats, touch: Floats) -> Floats:
    """Return (1 + J,) mean of touches (O,), basis points; NaN where none is known."""
    known = ~np.isnan(touch)
    return means(weight, np.where(known, touch, 0.0), known.astype(float))


class Prices(NamedTuple):
    """1 + J replicates, (1 + J, K) each, basis points per filled share.

    Attributes:
        paid: cost above the mid at the bucket's start.
        drift: move of the mid against the order in the buckets that filled it. Where negative, the
            order paid that much too much: a fill at the bucket's end would have been cheaper.
        all_in: cost per share posted, if the rest crosses the spread at the bucket's end. Filled
            shares cost ``paid``, the others the move and the distance to the far touch.
    """

    paid: Floats
    drift: Floats
    all_in: Floats


def fit_prices(weight: Floats, sample: Sample, filled: Floats, touch: float) -> Prices:
    """Fit the cost of fills.

    Args:
        weight: (1 + J, O).
        sample: of O orders.
        filled: (O, B, K) share of the usual child order that fills; NaN where unknown.
        touch: distance to the far touch, basis points.
    """
    known = (sample.filled > 0) & ~np.isnan(sample.price)
    shares = np.where(known, sample.filled, 0.0)
    price = np.where(known, sample.price, 0.0)
    paid = means(weight, (shares * price).sum(axis=1), shares.sum(axis=1))
    # where nothing ever filled: the price that would have been paid
    posted = ~np.isnan(sample.price)
    plain = means(weight, np.where(posted, sample.price, 0.0).sum(1), posted.sum(1).astype(float))
    move = sample.move[..., None]
    both = ~np.isnan(move) & ~np.isnan(filled)
    fill, moved = np.where(both, filled, 0.0), np.where(both, move, 0.0)
    drift = means(weight, (fill * moved).sum(axis=1), fill.sum(axis=1))
    whole = both & ((fill == 0) | known)
    cost = np.where(whole, fill * price + (1.0 - fill) * (moved + touch), 0.0)
    all_in = means(weight, cost.sum(axis=1), whole.sum(axis=1).astype(float))
    return Prices(np.where(np.isnan(paid), plain, paid), drift, all_in)
