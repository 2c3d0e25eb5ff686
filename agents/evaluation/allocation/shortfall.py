"""Parts of an implementation shortfall, and its comparison with the market: ``shortfall.csv``.

Units are basis points of the mid at arrival, per share of the parent order. ``shortfall`` is the
sum of ``spread``, ``fees``, ``drift`` and ``clean_up`` (Perold 1988). With ``envelope_penalty`` it
is the objective. ``vwap_slippage`` and ``markout`` are as in
``agents.rollouts.allocation.Rollout``. Intervals are 95 %, as in the other tables.

Where both sides of every window are played, as on replayed days, a market move that helps one side
hurts the other. The mean slippage against VWAP is then the mean shortfall without its fees.

Most of a shortfall's noise is the drift of shares that waited. This drift has mean zero as long as
nobody can predict the mid. ``adjusted`` is the objective without it (``Rollout.waiting_drift``). It
then has the same mean and a much narrower interval. ``adjusted_diff_vs_lp`` is policy minus plain
``lp``, paired by day. On replayed days the drift is what it was: read both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation import statistics
from agents.evaluation.allocation.report import markdown_table
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.tables import Row
from agents.rollouts.allocation import Rollout

SHORTFALL_COLUMNS = (
    "policy",
    "scenario",
    "episodes",
    "shortfall_mean",
    "shortfall_ci_low",
    "shortfall_ci_high",
    "spread_mean",
    "fees_mean",
    "drift_mean",
    "clean_up_mean",
    "envelope_penalty_mean",
    "vwap_slippage_mean",
    "vwap_slippage_ci_low",
    "vwap_slippage_ci_high",
    "markout_mean",
    "markout_ci_low",
    "markout_ci_high",
    "adjusted_mean",
    "adjusted_ci_low",
    "adjusted_ci_high",
    "adjusted_diff_vs_lp_mean",
    "adjusted_diff_vs_lp_ci_low",
    "adjusted_diff_vs_lp_ci_high",
)

SHORTFALL_HEADER = (
    "policy",
    "shortfall",
    "95 % interval",
    "spread",
    "fees",
    "drift",
    "clean-up",
    "envelope",
)
HEADER_MARKET = ("vwap slippage", "markout", "adjusted minus lp", "95 % interval")

SHORTFALL_ABOUT = (
    "Shortfall: price paid above the mid at arrival, in basis points per share of the order, and what "
    "it consists of: spread and fees of what filled, the drift of the mid while shares waited, and the "
    "clean-up of what was left. VWAP slippage: price paid above the market's average, fees aside. "
    "Markout: how far the mid at a bucket's end lies above the price of what filled in it; negative is "
    "adverse selection. Adjusted: the objective without the drift of shares that waited at a bucket's "
    "start, whose mean is zero where nobody can tell where the mid goes; minus that of lp, by day."
)

Floats = NDArray[np.float64]


class Shortfall(NamedTuple):
    """Parts of a policy's shortfall on n days, each (n,)."""

    spread: Floats
    fees: Floats
    drift: Floats
    clean_up: Floats
    envelope_penalty: Floats
    slippage: Floats
    markout: Floats
    adjusted: Floats


def shortfall_of(rollout: Rollout) -> Shortfall:
    """Return the parts of a rollout under shortfall costs."""
    return Shortfall(
        spread=rollout.spread_cost,
        fees=rollout.fee_cost,
        drift=rollout.drift_cost,
        clean_up=rollout.residual_penalty,
        envelope_penalty=rollout.envelope_penalty,
        slippage=rollout.slippage,
        markout=rollout.markout,
        adjusted=rollout.adjusted,
    )


def shortfall_rows(
    scenario: str,
    parts: Mapping[str, Shortfall],
    order: Sequence[str],
    clusters: NDArray[np.int64] | None = None,
) -> list[Row]:
    """Return the rows of ``shortfall.csv``, with a cell for every one of ``SHORTFALL_COLUMNS``.

    Args:
        scenario: name of the scenario.
        parts: parts of the shortfall by label; plain ``lp`` is among them.
        order: labels, in the order of the rows; those without parts are left out.
        clusters: (n,) clusters of the days, see ``statistics.clustered``.
    """
    rows: list[Row] = []
    for label in order:
        if label not in parts:
            continue
        of = parts[label]
        whole = of.spread + of.fees + of.drift + of.clean_up
        row: Row = {"policy": label, "scenario": scenario, "episodes": whole.size}
        row |= _interval("shortfall", whole, clusters)
        row |= {
            "spread_mean": float(of.spread.mean()),
            "fees_mean": float(of.fees.mean()),
            "drift_mean": float(of.drift.mean()),
            "clean_up_mean": float(of.clean_up.mean()),
            "envelope_penalty_mean": float(of.envelope_penalty.mean()),
        }
        row |= _interval("vwap_slippage", of.slippage, clusters)
        row |= _interval("markout", of.markout, clusters)
        row |= _interval("adjusted", of.adjusted, clusters)
        against = of.adjusted - parts[REFERENCE].adjusted
        row |= _interval("adjusted_diff_vs_lp", against, clusters)
        rows.append(row)
    return rows


def _interval(name: str, values: Floats, clusters: NDArray[np.int64] | None) -> Row:
    keys = (f"{name}_mean", f"{name}_ci_low", f"{name}_ci_high")
    known = np.isfinite(values)
    if not known.any():
        return dict.fromkeys(keys)
    of_known = None if clusters is None else clusters[known]
    found = statistics.mean(values[known], clusters=of_known)
    return {key: None if np.isnan(v) else float(v) for key, v in zip(keys, found, strict=True)}


def shortfall_markdown(rows: Sequence[Row]) -> str:
    """Return the table in markdown."""
    lines = []
    for row in rows:
        numbers = [f"{row[f'{part}_mean']:+.3f}" for part in SHORTFALL_PARTS]
        lines.append(
            (
                str(row["policy"]),
                f"{row['shortfall_mean']:.3f}",
                _ends(row, "shortfall"),
                *numbers,
                f"{row['vwap_slippage_mean']:+.3f}",
                "" if row["markout_mean"] is None else f"{row['markout_mean']:+.3f}",
                f"{row['adjusted_diff_vs_lp_mean']:+.3f}",
                _ends(row, "adjusted_diff_vs_lp"),
            )
        )
    return markdown_table(SHORTFALL_HEADER + HEADER_MARKET, lines)


SHORTFALL_PARTS = ("spread", "fees", "drift", "clean_up", "envelope_penalty")


def _ends(row: Row, name: str) -> str:
    low, high = row[f"{name}_ci_low"], row[f"{name}_ci_high"]
    return "" if low is None else f"{low:.3f} to {high:.3f}"
