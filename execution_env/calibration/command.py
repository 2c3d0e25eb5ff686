"""``python -m execution_env calibrate``: from files of market data to files of a scenario.

All results are computed before anything is written. Files appear whole or not at all.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.diagnosis import ladder, oddities
from execution_env.allocation.market.days_file import DaysFile
from execution_env.allocation.sections import TOTAL
from execution_env.allocation.verdicts import WARNING, items, written
from execution_env.calibration.console import Progress, show, warn
from execution_env.calibration.days import days_bytes, days_of, split_windows
from execution_env.calibration.fitting.cleanup import Cleanup
from execution_env.calibration.fitting.comparison import compare
from execution_env.calibration.fitting.evidence import Evidence, of_outcomes
from execution_env.calibration.fitting.fit import Fit, fit
from execution_env.calibration.gather import assumptions_of, gather, windows_of
from execution_env.calibration.options import said_command, shown_duration
from execution_env.calibration.readers.tape import DataError
from execution_env.calibration.simulator.outcomes import Outcomes
from execution_env.calibration.simulator.placement import PLACEMENTS, Assumptions, Placement
from execution_env.calibration.simulator.windows import buckets_of
from execution_env.calibration.write import (
    Choices,
    beyond_touch,
    cleanup,
    lot_of,
    scenario_of,
    scenario_toml,
)
from execution_env.core.atomic import PathLike, write_files
from execution_env.core.command import saying
from execution_env.core.validation import fail, integer, number, suggestion

SHARE = 0.05
"""Default order size, as a fraction of mean market volume over the order."""


class Found(NamedTuple):
    """A fit and its origin.

    Attributes:
        fit: the market.
        size: size of an order, shares.
        data, used: descriptions of the data, and of the part that was fitted on.
        assumed: lines on what the simulator assumed.
        counts: number of cases mended and left out, by reason.
        evidence: data that was fitted on.
        days: days for the file of days; None if none is asked for.
    """

    fit: Fit
    size: float
    data: str
    used: str
    assumed: list[str]
    counts: Mapping[str, int]
    evidence: Evidence
    days: DaysFile | None = None


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the command; return the exit code.

    Args:
        options: as parsed.
        arguments: the words of the command line, for the file's head.

    Raises:
        ValueError, OSError, ImportError: an error that the user can correct.
        KeyboardInterrupt: after Ctrl-C or SIGTERM.
    """
    with saying("interrupted: nothing was written"):
        _calibrate(options, arguments)
    return 0


def _calibrate(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    figure = _figure_path(options)
    _check(options, figure)
    with Progress() as progress:
        found = _from_log(options) if options.fill_log else _from_tapes(options, progress)
        choices = _choices(options, found)
        scenario = scenario_of(found.fit, choices)  # raises before anything is written
        progress.phase("comparing model and data")
        compared = compare(scenario, found.evidence, found.fit.posted)
        verdicts = compared.verdicts + [WARNING + odd for odd in _out_of_order(options, found.fit)]
        odd = oddities(scenario)
        head = _head(arguments, found, cleanup(found.fit, choices), verdicts, odd)
        files: dict[PathLike, bytes] = {
            options.out: scenario_toml(found.fit, choices, head).encode()
        }
        if found.days is not None:
            beyond = beyond_touch(found.fit, choices)
            files[options.days] = days_bytes(found.days._replace(touch=found.days.touch + beyond))
            where = Path(os.path.relpath(options.days, options.out.parent)).as_posix()
            real = dataclasses.replace(choices, name=f"{choices.name}-replay")
            replay = scenario_toml(found.fit, real, head, where)
            files[_replay_path(options)] = replay.encode()
        if figure:
            progress.phase("drawing model and data")
            from execution_env.calibration.figure import diagnostic  # noqa: PLC0415  slow to import

            unit, title = shown_duration(options.bucket), f"{found.data}; {found.used}"
            files[figure] = diagnostic(scenario, compared, found.fit.posted, title, unit)
        names = ", ".join(map(str, files))
        with saying(f"interrupted while writing: {names} may be new or as they were"):
            write_files(files)
    with saying(f"interrupted: wrote {names}"):
        show(found.fit, choices, found.data, found.used, found.counts, verdicts, odd)
        for path in files:
            print(f"wrote {path}")
        warn(options.out, verdicts, odd)


def _out_of_order(options: argparse.Namespace, fitted: Fit) -> list[str]:
    """Return warnings where prices contradict the placements that they come from."""
    if options.fill_log:
        return []
    rank = [(placement.at, placement.ticks) for placement in _placements(options)]
    order = sorted(range(len(rank)), key=lambda k: rank[k], reverse=True)
    algos = [fitted.algos[k] for k in order]
    spreads = [algo.half_spread for algo in algos]
    return ladder(
        [algo.name for algo in algos],
        np.array([spread.value for spread in spreads]),
        np.array([spread.error for spread in spreads]),
    )


def _placements(options: argparse.Namespace) -> tuple[Placement, ...]:
    return tuple(Placement(**given) for given in options.algo) if options.algo else PLACEMENTS


def _check(options: argparse.Namespace, figure: Path | None) -> None:
    """Check the options as far as possible without data."""
    buckets_of(options.orders_of, options.bucket)
    number("--max-rate", options.max_rate, 0, 1, "a share of the volume", above=True)
    for key, value in (("--size", options.size), ("--lot-size", options.lot_size)):
        if value is not None:
            integer(key, value, 1, TOTAL, "shares")
    if options.out.suffix != ".toml":
        raise fail("--out", str(options.out), "must end in .toml.")
    paths = [options.out, options.days, figure, _replay_path(options) if options.days else None]
    given = [path for path in paths if path]
    for path in given:
        if not path.parent.is_dir():
            raise DataError(f"{path}: there is no folder {path.parent}.")
        if path.is_dir():
            raise DataError(f"{path}: is a folder. Give the name of a file.")
        if not os.access(path.parent, os.W_OK):
            raise DataError(f"{path}: nothing may be written to the folder {path.parent}.")
    if len({path.absolute() for path in given}) < len(given):
        raise DataError("two of the files to write are the same. Give them different names.")
    if options.lean and not options.symbol:
        raise DataError("--lean needs --symbol, such as --symbol ibm.")
    names = [name for name, _ in options.split or []]
    if len(set(names)) < len(names):
        raise DataError(f"--split {', '.join(names)}: names must differ. Join dates by commas.")
    if options.fill_log and options.days:
        raise DataError(
            "--days: a fill log shows what was filled, not what could have been; days to replay need "
            "--lean or --lobster."
        )
    for key in ("columns", "time_format", "decimal"):
        if getattr(options, key) and not options.fill_log:
            raise DataError(f"--{key.replace('_', '-')} goes with --fill-log.")
    if options.fill_log and (options.split or options.fit_on):
        raise DataError("--split and --fit-on go with --lean and --lobster; a log is all used.")
    if options.days and names and not {"train", "test"} <= set(names):
        raise DataError("--split: --days needs a split train and a split test.")


def _figure_path(options: argparse.Namespace) -> Path | None:
    if options.no_figure:
        return None
    path: Path = options.figure or options.out.with_suffix(".png")
    return path


def _replay_path(options: argparse.Namespace) -> Path:
    path: Path = options.out.with_name(f"{options.out.stem}-replay.toml")
    return path


def _from_tapes(options: argparse.Namespace, progress: Progress) -> Found:
    placements = _placements(options)
    outcomes, data, counts = gather(options, placements, progress)
    split = options.days or options.split or options.fit_on not in (None, "all")
    splits = split_windows(outcomes, dict(options.split or [])) if split else {}
    used, chosen = _fit_on(options, outcomes, splits)
    progress.phase("estimating")
    part = windows_of(outcomes, chosen)
    names = [placement.name for placement in placements]
    size = options.size or SHARE * float(part.volume.sum(axis=1).mean())
    fitted = fit(part, names, size / part.volume.shape[1], options.max_rate)
    days = days_of(outcomes, names, options.bucket, splits) if options.days else None
    assumed = [
        _placed(placement, assumptions_of(options)) for placement in placements
    ] + _assumed(assumptions_of(options), options)  # fmt: skip
    seen = of_outcomes(part, options.bucket)
    return Found(
        fit=fitted,
        size=size,
        data=data,
        used=used,
        assumed=assumed,
        counts=counts,
        evidence=seen,
        days=days,
    )


def _fit_on(
    options: argparse.Namespace, outcomes: Outcomes, splits: Mapping[str, NDArray[np.bool_]]
) -> tuple[str, NDArray[np.bool_]]:
    """Return a description of the fitting sample, and a (W,) mask of its windows."""
    name = options.fit_on or ("train" if "train" in splits else "all")
    if name == "all":
        seen = ", those of the test split too" if "test" in splits else ""
        return f"all dates{seen}", np.ones(outcomes.start.size, np.bool_)
    if name not in splits:
        raise DataError(
            f"--fit-on {name}: there is no such split.{suggestion(name, splits)} There are "
            f"{', '.join([*splits, 'all'])}."
        )
    chosen = splits[name]
    if not chosen.any():
        raise DataError(f"--fit-on {name}: that split has no windows.")
    return f"split {name} ({', '.join(np.unique(outcomes.date[chosen]))})", chosen


def _from_log(options: argparse.Namespace) -> Found:
    from execution_env.calibration.fitting.fit_log import fit_log  # noqa: PLC0415
    from execution_env.calibration.readers.fill_log import read_fill_log  # noqa: PLC0415

    log = read_fill_log(
        options.fill_log,
        columns=dict(options.columns or []),
        time_format=options.time_format,
        symbol=options.symbol,
        decimal=options.decimal,
    )
    fitted, seen, more = fit_log(
        log,
        bucket=options.bucket,
        window=options.orders_of,
        most=options.max_rate,
        volume=options.volume,
        half_spreads=dict(options.half_spread or []),
        price_sd=options.price_sd,
        touch=options.touch,
    )
    days = np.unique(log.time.astype("datetime64[D]")).astype(str)
    children = log.time.size if log.order is None else np.unique(log.order).size
    data = f"{Path(options.fill_log).name}, {children:,} child orders, {days[0]} to {days[-1]}"
    size = options.size or SHARE * sum(b.value for b in fitted.expected)
    assumed = ["depth is cut off at what was posted, and estimated as such", *more]
    return Found(
        fit=fitted,
        size=size,
        data=data,
        used="all of it",
        assumed=assumed,
        counts=log.repairs,
        evidence=seen,
    )


def _choices(options: argparse.Namespace, found: Found) -> Choices:
    names = [algo.name for algo in found.fit.algos]
    for key in ("fee", "rebate", "half_spread"):
        for name, _ in getattr(options, key) or []:
            if name not in names:
                raise DataError(
                    f"--{key.replace('_', '-')} {name}: there is no such algo."
                    f"{suggestion(name, names)} There are {', '.join(names)}."
                )
    lot = options.lot_size or lot_of(found.size)
    size = options.size or max(1, round(found.size / lot)) * lot
    buckets = len(found.fit.expected)
    return Choices(
        name=options.name or options.out.stem,
        description=(
            f"{size:,} shares in {buckets} buckets of {shown_duration(options.bucket)}, fitted on "
            f"{found.data}, {found.used}."
        ),
        size=size,
        lot_size=lot,
        max_rate=options.max_rate,
        band=options.band,
        envelope_penalty=options.envelope_penalty,
        fees=dict(options.fee or []),
        rebates=dict(options.rebate or []),
        impact=options.impact,
    )


def _placed(placement: Placement, assumptions: Assumptions) -> str:
    ticks = f", {placement.ticks} ticks beyond" if placement.ticks else ""
    half = ", half ticks" if placement.half_ticks else ""
    return (
        f"algo {placement.name}: limit at {placement.at:g} from near touch to far{ticks}{half}, "
        f"{placement.queue:.0%} of the queue ahead"
    )


def _assumed(assumptions: Assumptions, options: argparse.Namespace) -> list[str]:
    """Return lines on the simulator's assumptions."""
    lines = [
        "no impact; off-exchange and hidden prints "
        + ("fill orders" if assumptions.dark else "fill nobody")
    ]
    if options.lean:
        lines.append(
            f"queue: cancellations ahead {assumptions.cancellations}, {assumptions.elsewhere:g} times "
            "the quoted size at other exchanges"
        )
    lines.append(
        f"latency {shown_duration(assumptions.latency)}; quotes are believed for "
        f"{shown_duration(assumptions.stale_after)}"
    )
    return lines


def _head(
    arguments: Sequence[str],
    found: Found,
    left: Cleanup,
    verdicts: Sequence[str],
    odd: Sequence[str],
) -> list[str]:
    """Return the lines of the comment at the top of a scenario file."""
    fitted = found.fit
    lines = [
        f"Data: {found.data}.",
        f"Fitted on: {found.used}; {fitted.windows} windows of {len(fitted.expected)} buckets, buys "
        "and sells. A window is one observation for the standard errors, which are jackknifed.",
        f"Usual child order, by which prices and correlations go: {fitted.posted:,.0f} shares, "
        f"{fitted.size:.1%} of a bucket's volume.",
        f"Clean-up: {left.words}",
        "Assumed:",
        *(f"  {line}" for line in found.assumed),
    ]
    counts = {**found.counts, **fitted.counts}
    if counts:
        lines += ["Mended and left out:", *(f"  {why}: {n:,}" for why, n in counts.items())]
    return [
        "Made by",  # a line of its own, however long, so that it can be copied
        said_command(arguments),
        "",
        *(part for line in lines for part in textwrap.wrap(line, 98, subsequent_indent="    ")),
        *written(verdicts),
        *(["Odd about it:", *items(odd)] if odd else []),
    ]
