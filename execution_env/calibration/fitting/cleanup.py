"""Price of the clean-up: of a marketable order for what a parent order leaves at its end.

At the end of an order the far side displays levels of price p_l and size. A marketable order of q
shares takes t_l of them, best first. What the levels do not show, r shares, pays the last level's
price and an impact by a square-root law. Per share, as a mean over orders,

    c(q) = mean of [ sum_l t_l p_l + r (p_last + k sqrt(r)) ] / q.

The levels are measured. The impact beyond them cannot be measured from data without our own orders.
It is stated: k = sd of a bucket's move / sqrt(volume of a bucket), the square-root law with a factor
of one (Toth et al. 2011, Anomalous price impact and the critical nature of liquidity in financial
markets, Physical Review X 1), or k = I / sqrt(Q) where I basis points are given for the order of Q
shares.

A scenario charges a + b x per share where a fraction x of the order is left. Its line ends at c(Q)
for the whole order, unless I is given: then b = I. It is not below c(q) at the usual child order and
at a tenth of the order. And a is not below the all-in price of a share through the algo that
crosses furthest, h - d: half-spread less the mean move d of the mid against the order where that
algo fills, as far as d < 0. At that price an order loses nothing if it crosses in its last bucket
and cleans up the rest, because with a = h - d, fills f and a move of mean zero,

    E[f h + (1 - f) (move + a)] = E[f] (h - d - a) + a = a.

So leaving shares to the clean-up is never cheaper than crossing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from execution_env.calibration.fitting.estimate import Estimate, Floats, errors, means

TENTH = 0.1
"""Fraction of the order that is priced besides the usual child order."""


class Offers(NamedTuple):
    """Levels of the far side at the ends of O orders, best first.

    Attributes:
        price: (O, L) distance from the mid, basis points of the mid at arrival; not decreasing.
        size: (O, L) shares.
    """

    price: Floats
    size: Floats


@dataclass(frozen=True)
class Crossing:
    """Evidence on the price of crossing at an order's end.

    Attributes:
        offers: levels at the ends of O orders, those of ``weight``.
        weight: (1 + J, O).
        algo: name of the algo that crosses furthest.
        paid, drift: (1 + J,) its half-spread h, and the mean move d where it fills; NaN for a drift
            that is unknown.
        posted: shares of the usual child order.
        sd: (1 + J,) standard deviation of the mid's move in a bucket, basis points.
        volume: (1 + J,) mean volume of a bucket, shares.
        source: words on where ``offers`` are from.
        base: (1 + J,) basis points to add to the prices of ``offers``; 0 if those are from the mid.
        displayed: whether the sizes of ``offers`` were displayed.
    """

    offers: Offers
    weight: Floats
    algo: str
    paid: Floats
    drift: Floats
    posted: float
    sd: Floats
    volume: Floats
    source: str
    base: Floats | float = 0.0
    displayed: bool = False

    @property
    def all_in(self) -> Floats:
        """(1 + J,) price of a filled share, adverse moves included, basis points."""
        return np.asarray(self.paid - np.minimum(np.nan_to_num(self.drift), 0.0))

    def law(self, size: float, impact: float | None) -> Floats:
        """Return (1 + J,) k, basis points per root of a share.

        Args:
            size: shares of the order.
            impact: basis points for all of it; None is the square-root law.
        """
        if impact is not None:
            return np.full(len(self.weight), impact / math.sqrt(size))
        return np.asarray(self.sd / np.sqrt(self.volume))

    def price(self, shares: float, law: Floats) -> Floats:
        """Return (1 + J,) c, the mean price of a marketable order of ``shares``.

        ``law`` is (1 + J,) k.
        """
        price, size = self.offers
        before = np.cumsum(size, axis=1) - size
        taken = np.clip(shares - before, 0.0, size)
        rest = np.maximum(shares - size.sum(axis=1), 0.0)
        one = np.ones(len(rest))
        shown = means(self.weight, (taken * price).sum(axis=1) + rest * price[:, -1], one)
        beyond = means(self.weight, rest**1.5, one)
        return np.asarray(self.base + (shown + np.where(beyond > 0, law * beyond, 0.0)) / shares)

    def shown(self, shares: float) -> float:
        """Return the mean fraction of a marketable order of ``shares`` that is displayed."""
        return float(np.minimum(self.offers.size.sum(axis=1) / shares, 1.0).mean())


class Cleanup(NamedTuple):
    """The clean-up of a scenario, basis points per share, fee included; and what it is made of.

    Attributes:
        linear, quadratic: a and b, ``penalties.residual`` and ``residual_quadratic``.
        child, tenth, whole: c of the usual child order, of a tenth of the order and of all of it.
        all_in: all-in price of the algo that crosses furthest.
        floored: whether ``linear`` is that price, because the data show a lower one.
        given: whether the impact is given.
        words: sources of ``linear``, for the head of a file.
    """

    linear: Estimate
    quadratic: Estimate
    child: Estimate
    tenth: Estimate
    whole: Estimate
    all_in: Estimate
    floored: bool
    given: bool
    words: str


def price_cleanup(crossing: Crossing, size: int, fee: float, impact: float | None) -> Cleanup:
    """Return the clean-up of an order.

    Args:
        crossing: evidence.
        size: shares of the order.
        fee: fee minus rebate of the algo that crosses furthest, basis points.
        impact: extra basis points for all of the order at once; None is the square-root law.
    """
    law = crossing.law(size, impact)
    at = [min(crossing.posted, size), max(TENTH * size, 1.0), float(size)]
    child, tenth, whole = (crossing.price(shares, law) + fee for shares in at)
    floor = crossing.all_in + fee
    lines = []
    for shares, price in ((at[0], child), (at[1], tenth)):
        part = shares / size
        if impact is not None:
            lines.append(price - part * impact)
        elif part < 1.0:
            lines.append((price - part * whole) / (1.0 - part))
        else:
            lines.append(price)
    shown = np.maximum(*lines)
    linear = np.maximum(np.maximum(shown, floor), 0.0)
    floored = bool(floor[0] >= shown[0])
    quadratic = _estimate(np.maximum(whole - linear, 0.0)) if impact is None else Estimate(impact)
    priced = [_estimate(values) for values in (child, tenth, whole, floor)]
    why = (
        f"the all-in price of {crossing.algo}, which is above the line through these prices"
        if floored
        else "on the line through these prices"
    )
    shown_share = f", {crossing.shown(at[1]):.0%} of it displayed" if crossing.displayed else ""
    words = (
        f"a marketable order at an order's end pays, in bps of the mid at arrival, {priced[0]} for "
        f"{at[0]:,.0f} shares (the usual child order), {priced[1]} for {at[1]:,.0f} (a tenth of the "
        f"order{shown_share}) and {priced[2]} for {at[2]:,.0f} (all of "
        f"it): {crossing.source}. {crossing.algo} costs {priced[3]} all in. The price per share left "
        f"is {_estimate(linear)}, {why}"
        + (f"; a fee of {fee:g} is in all of them." if fee else ".")
    )
    return Cleanup(
        linear=_estimate(linear),
        quadratic=quadratic,
        child=priced[0],
        tenth=priced[1],
        whole=priced[2],
        all_in=priced[3],
        floored=floored,
        given=impact is not None,
        words=words,
    )


def _estimate(replicates: Floats) -> Estimate:
    return Estimate(float(replicates[0]), float(errors(replicates)))
