"""Pieces of algos: the piecewise linear expected fills of the linear programme.

Where a rate decides, twice the lots fill twice as much, and an algo is one piece. With depth C the
expected fill of x lots, E min(x, C), is concave in x. The programme uses its chords. An algo's lots
are cut at multiples of an even slice of the order. Each piece (a, b] takes at most b - a lots, and
a constant share of these fills,

    e = (E min(b, C) - E min(a, C)) / (b - a),

which falls from piece to piece. A programme that minimises costs fills the first piece first, where
that matters. It does not matter where posting has no limit; there ``join`` puts the lots into the
right pieces. The chords agree with E min(x, C) at their ends and lie below in between.

The price of a filled share includes expected adverse selection (see ``adverse_selection``). It
comes from the change of E[M min(x, C)] over a piece, per share that fills there. The prices of an
algo's pieces must not fall, else the programme would start with the last piece. Where they would,
each piece costs as much as the dearest before it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env import Scenario
from execution_env.allocation.adverse_selection import filled_share_price, fills_and_moves
from execution_env.core.jit import jit
from execution_env.core.memory import read_only

CUT_MULTIPLES = (1, 2, 4)
"""Multiples of an even slice of the order at which algos with depth are cut."""

PIECE = np.dtype(
    [
        ("algo", np.int64),
        ("cost", np.float64),  # per posted or per filled lot, as the scenario charges
        ("prediction", np.float64),  # f[b, i] of the algo, to which its estimate is compared
        ("rate", np.float64),  # share of the piece's lots that is predicted to fill
        ("by_depth", np.bool_),
        ("start", np.float64),  # a and b, lots
        ("stop", np.float64),
        ("chance", np.float64),  # probability of any depth
        ("location", np.float64),  # mean of the logarithm of the depth in lots
    ],
    align=True,
)
"""Record of one bucket and piece."""

Floats = NDArray[np.float64]


class Pieces(NamedTuple):
    """W pieces, those of an algo side by side.

    Attributes:
        cells: (B, W) records of ``PIECE``.
        algo: (W,) algo of each piece.
        widths: (W,) most lots in each piece; inf for the last piece of an algo.
    """

    cells: NDArray[Any]
    algo: NDArray[np.int64]
    widths: Floats


@lru_cache(maxsize=256)
def pieces(scenario: Scenario) -> Pieces:
    """Return the pieces of ``scenario``, which callers share; their arrays are read-only."""
    slice_ = float(scenario.reference_lots)
    cuts = [slice_ * m for m in CUT_MULTIPLES if slice_ * m < scenario.lots]
    edges = np.array([0.0, *cuts, float(scenario.lots)])
    of = [edges if algo.depth is not None else edges[[0, -1]] for algo in scenario.algos]
    algo = np.repeat(np.arange(len(of)), [ends.size - 1 for ends in of])
    widths = np.concatenate([np.append(np.diff(ends)[:-1], np.inf) for ends in of])
    cells = np.zeros((scenario.buckets, algo.size), PIECE)
    cells["algo"] = algo
    cells["by_depth"] = [scenario.algos[i].depth is not None for i in algo]
    cells["start"] = np.concatenate([ends[:-1] for ends in of])
    cells["stop"] = np.concatenate([ends[1:] for ends in of])
    cells["prediction"] = cells["rate"] = scenario.predictions[:, algo]
    cells["cost"] = filled_share_price(scenario)[:, algo]
    cells["chance"] = scenario.fill_probability[:, algo]
    cells["location"] = scenario.depth_location[:, algo]
    if edges.size > 2 or cells["by_depth"].any():
        fills, moves = fills_and_moves(scenario, edges[1:])
        fills = np.diff(fills, axis=2, prepend=0.0)
        moves = np.diff(moves, axis=2, prepend=0.0)
        rates = np.minimum.accumulate(np.maximum(fills / np.diff(edges), 0.0), axis=2)
        adverse = np.divide(
            -moves, fills, out=np.full(fills.shape, -np.inf), where=rates > LEAST_FILL
        )
        adverse = np.maximum.accumulate(adverse, axis=2)
        adverse[np.isinf(adverse)] = 0.0
        for i, plain in enumerate(scenario.posting_costs.T):
            mine = algo == i
            if scenario.algos[i].depth is not None:
                cells["rate"][:, mine] = rates[:, i]
                cells["cost"][:, mine] = plain[:, None] + adverse[:, i]
    return read_only(Pieces(cells, algo, widths))


LEAST_FILL = 1e-9
"""Least share that fills in a piece with its own adverse selection."""


@jit
def join(
    posted: Floats, fills: Floats, algo: NDArray[np.int64], widths: Floats, out: Floats
) -> None:
    """Write the lots of each algo that have the same expected fill as ``posted`` in pieces.

    An algo's lots go into its pieces from the first on, and each is full before the next begins.

    Args:
        posted: (n, W) lots in each piece, in the unit of ``widths``.
        fills: (n, W) shares of them that fill.
        algo, widths: (W,) algo and width of each piece.
        out: (n, K), written.
    """
    for e in range(posted.shape[0]):
        for i in range(out.shape[1]):
            out[e, i] = 0.0
        p = 0
        while p < algo.size:
            i, end = algo[p], p + 1
            while end < algo.size and algo[end] == i:
                end += 1
            if end == p + 1:
                out[e, i] = posted[e, p]
            else:
                rest = 0.0
                for q in range(p, end):
                    rest += posted[e, q] * fills[e, q]
                for q in range(p, end):
                    if rest <= 0.0 or fills[e, q] <= 0.0:
                        break
                    lots = min(rest / fills[e, q], widths[q])
                    out[e, i] += lots
                    rest -= lots * fills[e, q]
            p = end
