"""From files of market data to outcomes: read day after day, and walk child orders through each."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.calibration.console import Progress
from execution_env.calibration.readers.lean import dates_available, read_lean
from execution_env.calibration.readers.lobster import read_lobster
from execution_env.calibration.readers.tape import DataError, Tape
from execution_env.calibration.simulator.child_orders import simulate
from execution_env.calibration.simulator.outcomes import BY_SIDE, Outcomes
from execution_env.calibration.simulator.placement import Assumptions, Placement
from execution_env.calibration.simulator.windows import plan_windows


class Gathered(NamedTuple):
    """Outcomes of all days, a description of the data, and counts of what was mended."""

    outcomes: Outcomes
    data: str
    counts: Counter[str]


def gather(
    options: argparse.Namespace, placements: Sequence[Placement], progress: Progress
) -> Gathered:
    """Read the days that ``options`` name and walk child orders through them.

    One day is in memory at a time.

    Raises:
        DataError: a file cannot be read, days are of several symbols or given twice, or no window
            is usable.
        ScenarioError: an assumption is out of its range.
    """
    assumptions = assumptions_of(options)
    counts: Counter[str] = Counter()
    days: list[Outcomes] = []
    for tape in _tapes(options, progress):
        label = f"{tape.symbol} {tape.date}: walking child orders"
        starts = plan_windows(
            tape,
            options.bucket,
            options.orders_of,
            skip_open=options.skip_open,
            skip_close=options.skip_close,
        )
        found, left_out = simulate(
            tape,
            placements,
            assumptions,
            bucket=options.bucket,
            window=options.orders_of,
            starts=starts,
            progress=progress.steps(label),
        )
        days.append(found)
        counts.update(tape.repairs)
        counts.update(left_out)
    if not days:
        raise DataError("none of the files is of the dates asked for.")
    outcomes = days[0]
    for day in days[1:]:
        outcomes = outcomes.join(day)
    symbols = np.unique(outcomes.symbol)
    if symbols.size > 1:
        raise DataError(f"files of several symbols: {', '.join(symbols)}. A scenario is of one.")
    if not outcomes.start.size:
        raise DataError(
            f"no usable windows: {'; '.join(f'{why}: {n}' for why, n in counts.items())}."
        )
    kind = "LEAN" if options.lean else "LOBSTER"
    dates = ", ".join(np.unique(outcomes.date))
    return Gathered(outcomes, f"{symbols[0]} on {dates} ({kind})", counts)


def assumptions_of(options: argparse.Namespace) -> Assumptions:
    """Return the assumptions on the market; defaults where ``options`` give none."""
    names = ("cancellations", "elsewhere", "latency", "stale_after")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return Assumptions(dark=options.dark, **given)


def _tapes(options: argparse.Namespace, progress: Progress) -> Iterator[Tape]:
    if options.lean:
        wanted = options.dates or sorted({d for _, dates in options.split or [] for d in dates})
        for date in wanted or dates_available(options.lean, options.symbol):
            yield read_lean(options.lean, options.symbol, date, progress.phase)
        return
    seen: set[str] = set()
    for messages, book in options.lobster:
        tape = read_lobster(messages, book, options.symbol, None, progress.phase)
        if tape.date in seen:
            raise DataError(f"--lobster: two pairs of files of {tape.date}. Give each day once.")
        seen.add(tape.date)
        if options.dates is None or tape.date in options.dates:
            yield tape


def windows_of(outcomes: Outcomes, which: NDArray[np.bool_]) -> Outcomes:
    """Return the windows that the (W,) mask ``which`` selects."""
    return Outcomes(
        **{
            name: values[:, which] if name in BY_SIDE else values[which]
            for name, values in outcomes._asdict().items()
        }
    )
