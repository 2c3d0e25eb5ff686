"""Expected fills of any number of lots, as the rules use them.

Estimates are for an even slice of the order. With depth, a smaller share of a larger posting fills.
An algo that is estimated to fill a share e of an even slice is expected to fill, of x lots,

    e sum_p q_p min(max(x - a_p, 0), b_p - a_p)

over its pieces (a_p, b_p] (see ``pieces``). q_p is the share that piece p is predicted to fill
relative to the slice. Where a rate decides there is one piece, and the sum is e x.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.planning.pieces import pieces
from execution_env import Scenario
from execution_env.core.jit import inline, jit

Floats = NDArray[np.float64]
Lots = NDArray[np.int64]


class Curves(NamedTuple):
    """Expected fills as functions of lots, in W pieces.

    Attributes:
        algo: (W,) algo of each piece.
        start, width: (W,) start and width of each piece, lots.
        share: (B, W) q; 1 for the first piece of an algo.
    """

    algo: Lots
    start: Floats
    width: Floats
    share: Floats


def curves(scenario: Scenario) -> Curves:
    """Return the curves of ``scenario``."""
    cells, algo, widths = pieces(scenario)
    f, first = cells["prediction"], cells["start"][0] == 0.0
    share = np.divide(cells["rate"], f, out=np.zeros(f.shape), where=f > 0)
    return Curves(algo, cells["start"][0].copy(), widths, np.where(first, 1.0, share))


@inline
def expected_fill(curves: Curves, bucket: int, algo: int, estimate: float, lots: float) -> float:
    """Return the lots expected to fill of ``lots`` through ``algo``."""
    fill = 0.0
    for p in range(curves.algo.size):
        if curves.algo[p] == algo:
            inside = min(max(lots - curves.start[p], 0.0), curves.width[p])
            fill += estimate * curves.share[bucket, p] * inside
    return fill


@jit
def expected_fills(
    curves: Curves, bucket: Lots, estimates: Floats, lots: Lots, fills: Floats
) -> None:
    """Write ``fills`` (n, K), the lots expected to fill if all ``lots`` (n,) go through one algo.

    The orders are in ``bucket`` (n,), at ``estimates`` (n, K).
    """
    for e in range(lots.size):
        for i in range(estimates.shape[1]):
            fills[e, i] = expected_fill(curves, bucket[e], i, estimates[e, i], np.float64(lots[e]))


@jit
def lots_for(
    curves: Curves, bucket: Lots, estimates: Floats, algo: Lots, fills: Floats, lots: Floats
) -> None:
    """Write ``lots`` (n,), the lots that are expected to fill ``fills`` (n,) through ``algo`` (n,).

    The orders are in ``bucket`` (n,), at ``estimates`` (n, K).
    """
    for e in range(lots.size):
        missing, posted = fills[e], 0.0
        for p in range(curves.algo.size):
            share = estimates[e, algo[e]] * curves.share[bucket[e], p]
            if curves.algo[p] == algo[e] and missing > 0.0 and share > 0.0:
                taken = min(missing / share, curves.width[p])
                posted += taken
                missing -= share * taken
        lots[e] = posted
