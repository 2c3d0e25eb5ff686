"""History of an order, as a person gives it: read, checked and replayed.

The state of an order follows from its past by the environment's own transition. So the past is
replayed on a day made for it. Fill rates are 1, the depth equals the lots that filled, and the
market volume is the volume given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.rollouts.one_order import Bucket, Replay
from execution_env import Days, Scenario
from execution_env.allocation.market.model import own_predictions
from execution_env.allocation.parameters import parameters
from execution_env.core.validation import decimal, shown

PerAlgo = str | Sequence[object]
"""Number of shares per algo: "1000,500,0" or [1000, 500, 0]."""

Lots = NDArray[np.int64]


class History(NamedTuple):
    """An order that has been replayed up to the bucket about to be decided.

    Attributes:
        replay: replay of the order, before that bucket.
        past: results of the past buckets.
        volumes: shares traded in the market in past buckets; as expected where they are not known.
        notes: sentences on assumptions, and on odd facts.
    """

    replay: Replay
    past: list[Bucket]
    volumes: list[float]
    notes: list[str]


def replayed(
    scenario: Scenario,
    posted: Sequence[PerAlgo] = (),
    filled: Sequence[PerAlgo] = (),
    volume: Sequence[object] | None = None,
    prediction: PerAlgo | None = None,
) -> History:
    """Return the order after its past buckets.

    Args:
        scenario: scenario of the order.
        posted, filled: (b, K) shares in every past bucket through every algo, whole lots.
        volume: (b,) shares traded in the whole market; None for the expected volume.
        prediction: (K,) the order's own predicted fill rates in the first bucket, where orders have
            some; None for the scenario's.

    Raises:
        ValueError: a value is no number, is impossible, or does not fit the rest; the message names
            bucket (from 1), algo, value and remedy.
    """
    _check_lengths(scenario, posted, filled, volume)
    lots_posted = [_lots(scenario, "posted", b, row) for b, row in enumerate(posted, 1)]
    lots_filled = [_lots(scenario, "filled", b, row) for b, row in enumerate(filled, 1)]
    for b, (mine, theirs) in enumerate(zip(lots_posted, lots_filled, strict=True), 1):
        _check_fills(scenario, b, mine, theirs)
    known = [] if volume is None else list(volume)
    volumes = [_volume(scenario, b, value) for b, value in enumerate(known, 1)]
    notes = _notes(scenario, volumes, lots_filled)
    if not volumes:
        volumes = scenario.expected_volume[: len(lots_posted)].tolist()
    day = _day(scenario, lots_filled, volumes)
    if prediction is not None:
        own = own_predictions(scenario, _rates(scenario, prediction))
        day.prediction[:, :, 0] = own
    elif day.prediction.size:
        notes.append(
            "Orders here have predictions of their own; without --prediction the scenario's are taken."
        )
    replay = Replay(scenario, day)
    past = []
    for b, lots in enumerate(lots_posted, 1):
        _check_postable(replay, b, lots)
        past.append(replay.post(lots))
    return History(replay, past, volumes, notes)


def volume_matters(scenario: Scenario) -> bool:
    """Return True if past volume affects the postable lots, the envelope or the estimates."""
    order = parameters(scenario).order[0]
    learns = any(algo.depth is not None and algo.day_sd > 0 for algo in scenario.algos)
    return bool(order["track_volume"] or (order["capped"] and order["window"] > 1) or learns)


def _day(scenario: Scenario, filled: list[list[int]], volumes: list[float]) -> Days:
    """Return a day on which the lots of ``filled`` fill, and no more.

    Spreads are as expected, and the mid does not move.
    """
    day = Days.of(scenario, 1)
    day.fill_rate[:], day.rounding[:] = 1.0, 0.0
    day.day_effect[:], day.liquidity[:] = 0.0, 0.0
    day.volume[:, 0] = scenario.expected_volume
    if day.prediction.size:
        day.prediction[:, :, 0] = scenario.predictions
    if scenario.shortfall:
        day.spread[:, :, 0] = scenario.half_spreads
        day.move[:], day.vwap[:], day.touch[:] = 0.0, 0.0, scenario.penalties.residual
    if filled:
        day.volume[: len(volumes), 0] = volumes
        # A fill larger than the order was posted too, and ``_check_postable`` will refuse it.
        deep = [[min(lots, scenario.lots) for lots in bucket] for bucket in filled]
        day.depth[: len(filled), :, 0] = deep
    return day


# Reading.


def _rates(scenario: Scenario, given: PerAlgo) -> list[float]:
    """Return the order's own predictions as numbers."""
    items = given.split(",") if isinstance(given, str) else list(given)
    if len(items) != len(scenario.algos):
        raise ValueError(
            f"prediction = {shown(given)}: must be {len(scenario.algos)} fill rates, of "
            f"{', '.join(scenario.algo_names)}."
        )
    try:
        return [_number(item) for item in items]
    except (TypeError, ValueError):
        raise ValueError(f"prediction = {shown(given)}: must be numbers from 0 to 1.") from None


def _check_lengths(
    scenario: Scenario,
    posted: Sequence[PerAlgo],
    filled: Sequence[PerAlgo],
    volume: Sequence[object] | None,
) -> None:
    for name, rows in (("posted", posted), ("filled", filled)):
        if isinstance(rows, str):
            raise ValueError(
                f"{name} = {shown(rows)}: must be a list of buckets, also of one; put it in brackets."
            )
    if len(posted) != len(filled):
        raise ValueError(
            f"posted is given for {_buckets(len(posted))}, filled for {_buckets(len(filled))}: give "
            "both for every past bucket, zeros where nothing was posted or filled."
        )
    if volume is not None and len(volume) != len(posted):
        raise ValueError(
            f"volume is given for {_buckets(len(volume))}, posted for {_buckets(len(posted))}: give one "
            "number for every past bucket, or leave volume out."
        )
    if len(posted) >= scenario.buckets:
        raise ValueError(
            f"posted is given for {_buckets(len(posted))}, and {scenario.name} has "
            f"{scenario.buckets}: the order is over. Give the buckets before the one to decide."
        )


def _buckets(count: int) -> str:
    return f"{count} bucket{'' if count == 1 else 's'}"


def _lots(scenario: Scenario, name: str, bucket: int, row: PerAlgo) -> list[int]:
    """Return the (K,) lots of the shares given for one bucket, counted from 1."""
    names, lot = scenario.algo_names, scenario.order.lot_size
    words = row.split(",") if isinstance(row, str) else row
    if not isinstance(words, Sequence | np.ndarray) or len(words) != len(names):
        given = shown(row if isinstance(row, str) else str(row))
        raise ValueError(
            f"{name} in bucket {bucket} = {given}: must be {len(names)} number"
            f"{'s' if len(names) > 1 else ''} of shares, for {', '.join(names)}, with commas and no "
            "spaces between, such as " + ",".join([str(lot), *["0"] * (len(names) - 1)]) + "."
        )
    found = []
    for algo, word in zip(names, words, strict=True):
        what = f"{name} in bucket {bucket} through {algo} = {shown(word)}"
        shares = _whole(word)
        if shares is None or shares < 0:
            raise ValueError(f"{what}: must be a whole number of shares, 0 or more.")
        if shares % lot:
            raise ValueError(
                f"{what}: must be a multiple of the lot size, {lot:,} shares; the nearest are "
                f"{shares // lot * lot} and {(shares // lot + 1) * lot}."
            )
        found.append(shares // lot)
    return found


def _whole(word: object) -> int | None:
    """Return ``word`` as a whole number, or None if it is none."""
    if isinstance(word, bool | np.bool_):
        return None
    try:
        if isinstance(word, str):
            digits = word.strip().lstrip("+-")
            if digits.isascii() and digits.isdigit():
                return int(word)
        number = _number(word)
        if not (math.isfinite(number) and number == int(number)):
            return None
        return int(number) if isinstance(word, str) else int(word)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None


def _number(word: object) -> float:
    return decimal(word) if isinstance(word, str) else float(word)  # type: ignore[arg-type]


def _volume(scenario: Scenario, bucket: int, word: object) -> float:
    what = f"volume in bucket {bucket} = {shown(word)}"
    if scenario.volume is None:
        raise ValueError(f"{what}: {scenario.name} has no [volume] section; leave volume out.")
    try:
        number = math.nan if isinstance(word, bool) else _number(word)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{what}: must be a number of shares traded in the market, above 0.")
    return number


# Checking.


def _check_fills(scenario: Scenario, bucket: int, posted: list[int], filled: list[int]) -> None:
    lot = scenario.order.lot_size
    for algo, mine, theirs in zip(scenario.algo_names, posted, filled, strict=True):
        if theirs > mine:
            much = f"only {mine * lot:,} were" if mine else "nothing was"
            raise ValueError(
                f"filled in bucket {bucket} through {algo} = {theirs * lot}: {much} posted there, "
                "and no more can fill. Correct one of the two."
            )


def _check_postable(replay: Replay, bucket: int, lots: list[int]) -> None:
    """Raise ValueError for postings that the environment would scale down silently."""
    lot, total = replay.scenario.order.lot_size, sum(lots)
    if total > replay.postable:
        raise ValueError(
            f"posted in bucket {bucket} = {total * lot} in total: at most {replay.postable * lot:,} "
            f"shares could be posted there, after {replay.done * lot:,} had filled; the limit is "
            f"{' and '.join(replay.binding())}. Correct what was posted or filled, or give the scenario "
            "that the order was traded in."
        )


def _notes(scenario: Scenario, volumes: list[float], filled: list[list[int]]) -> list[str]:
    notes = []
    if filled and not volumes and volume_matters(scenario):
        notes.append(
            "No volume is given: past buckets are taken to have traded what was expected, and what may "
            "be posted or the envelope depends on it."
        )
    if volumes and not volume_matters(scenario):
        notes.append(
            f"The volume given changes nothing: in {scenario.name} neither what may be posted nor the "
            "envelope looks back at it."
        )
    for b, (traded, lots) in enumerate(zip(volumes, filled, strict=False), 1):
        ours = sum(lots) * scenario.order.lot_size
        if ours > traded:
            notes.append(
                f"In bucket {b} the market is said to have traded {traded:,.0f} shares, and {ours:,} of "
                "this order filled. Can that be? The model allows it, a market does not."
            )
    return notes
