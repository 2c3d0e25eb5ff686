"""Trace of one day bucket by bucket, under several policies side by side.

Day and policies are those of a comparison. Each order is then replayed lot by lot, so that every
bucket's cost is the environment's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.console import Track, silent
from agents.evaluation.allocation.comparison import compare
from agents.evaluation.allocation.played_days import FIRST_SEED
from agents.evaluation.allocation.selection import Given
from agents.evaluation.tables import csv_text
from agents.policy import Lots
from agents.rollouts.one_order import Bucket, Replay
from execution_env import Days, Scenario, load_scenario, numbered_days

DEFAULT = ("lp", "dp-adaptive")
"""Default policies of a trace."""

TRACE_COLUMNS = (
    "policy",
    "bucket",
    "algo",
    "posted",
    "filled",
    "estimate",
    "fill_rate",
    "postable",
    "filled_by_end",
    "envelope_lower",
    "envelope_upper",
    "volume",
    "posting_cost",
    "envelope_penalty",
    "residual_penalty",
)
"""Columns of ``trace.csv``. Buckets count from 1. Quantities are shares. Costs are per share of the
order, in the scenario's unit. A row per policy, bucket and algo gives the shares posted and filled
there, the expected fill rate (estimate) and the day's hidden one (fill_rate). A row with an empty
algo is of the whole bucket. It gives totals, the postable shares, the shares filled by its end, the
envelope, the market's volume, and costs. A policy's costs add up to its objective. The envelope of
the last bucket is empty."""


class Played(NamedTuple):
    """A policy's order on the day.

    Attributes:
        label: label of the policy.
        buckets: outcome of each bucket.
        objective: cost and penalties per share of the order, in the scenario's unit, as in
            ``compare``.
    """

    label: str
    buckets: list[Bucket]
    objective: float

    @property
    def posted(self) -> Lots:
        """Return (B, K) posted lots."""
        return np.array([bucket.posted for bucket in self.buckets])

    @property
    def filled(self) -> Lots:
        """Return (B, K) filled lots."""
        return np.array([bucket.filled for bucket in self.buckets])

    @property
    def posting_cost(self) -> float:
        """Return the posting cost per share of the order."""
        return sum(bucket.posting_cost for bucket in self.buckets)

    @property
    def envelope_penalty(self) -> float:
        """Return the envelope penalty per share of the order."""
        return sum(bucket.envelope_penalty for bucket in self.buckets)

    @property
    def residual_penalty(self) -> float:
        """Return the residual penalty per share of the order."""
        return sum(bucket.residual_penalty for bucket in self.buckets)


@dataclass(frozen=True)
class Trace:
    """A day under several policies.

    Attributes:
        scenario: scenario that was played.
        seed: seed of the day.
        day: everything the market did, with the fill rates that no policy could see.
        orders: one order per policy, in the order given.
        bounds: objectives by name. No policy gets below "hindsight" on this day. "clairvoyant" is
            the expected objective of the best policy on the action grid that knows the day's hidden
            state, but not the noise. Luck can beat it on a single day. A bound is left out if the
            scenario is too large for it.
        notes: notes to the reader, a sentence each.
    """

    scenario: Scenario
    seed: int
    day: Days
    orders: list[Played]
    bounds: dict[str, float]
    notes: list[str]


def trace(
    policies: Iterable[Given] = DEFAULT,
    scenario: str | Path | Mapping[str, Any] | Scenario = "baseline",
    seed: int = FIRST_SEED,
    *,
    track: Track = silent,
    trust: bool = False,
    normalise: Sequence[str | Path] = (),
) -> Trace:
    """Play the day that ``env.reset(seed=seed)`` plays under every policy.

    Args:
        policies: names, run directories, zips or ``package.module:factory``, each also as
            ``label=...``; or policies.
        scenario: as for ``load_scenario``.
        seed: seed of the day.
        track: shows slow steps.
        trust: whether to load zips and their statistics; see ``load_policy``.
        normalise: statistics of zips; see ``select``.

    Raises:
        ValueError: as ``compare``, or there are no policies.
    """
    scenario = load_scenario(scenario)
    wanted = policies if isinstance(policies, str | Path) else list(policies)
    if not wanted:
        raise ValueError("policies: there are none; name at least one, such as lp.")
    result = compare(wanted, scenario, [seed], track=track, trust=trust, normalise=normalise)
    day = numbered_days(scenario, [seed])
    orders = [
        Played(
            label,
            _replayed(scenario, day, result.rollouts[label].posted[:, :, 0]),
            float(result.rollouts[label].objective[0]),
        )
        for label in result.names[: len(wanted)]  # compare adds lp where it is missing
    ]
    bounds = {name: float(values[0]) for name, values in result.bounds.items()}
    return Trace(
        scenario=scenario, seed=seed, day=day, orders=orders, bounds=bounds, notes=result.notes
    )


def _replayed(scenario: Scenario, day: Days, posted: NDArray[np.int32]) -> list[Bucket]:
    replay = Replay(scenario, day)
    return [replay.post(lots) for lots in posted]


def standing(bucket: Bucket) -> str:
    """Return where the order stood in the envelope: "inside", "behind" or "ahead"."""
    if bucket.outside == 0:
        return "inside"
    return "behind" if bucket.done < bucket.lower else "ahead"


def trace_csv(found: Trace) -> str:
    """Return ``trace.csv``, see ``TRACE_COLUMNS``."""
    rows: list[dict[str, object]] = []
    scenario, lot = found.scenario, found.scenario.order.lot_size
    for order in found.orders:
        for b, bucket in enumerate(order.buckets):
            what: dict[str, object] = {"policy": order.label, "bucket": b + 1}
            for i, algo in enumerate(scenario.algo_names):
                rows.append(
                    what
                    | {
                        "algo": algo,
                        "posted": int(bucket.posted[i]) * lot,
                        "filled": int(bucket.filled[i]) * lot,
                        "estimate": float(bucket.estimates[i]),
                        "fill_rate": float(found.day.fill_rate[b, i, 0]),
                    }
                )
            row = what | {
                "posted": int(bucket.posted.sum()) * lot,
                "filled": int(bucket.filled.sum()) * lot,
                "postable": bucket.postable * lot,
                "filled_by_end": bucket.done * lot,
                "posting_cost": bucket.posting_cost,
                "envelope_penalty": bucket.envelope_penalty,
                "residual_penalty": bucket.residual_penalty,
            }
            if b < scenario.buckets - 1:
                row["envelope_lower"] = round(bucket.lower * lot, 6)
                row["envelope_upper"] = round(bucket.upper * lot, 6)
            if scenario.volume is not None:
                row["volume"] = float(found.day.volume[b, 0])
            rows.append(row)
    return csv_text(TRACE_COLUMNS, rows)
