"""Files of days: real ones from ``calibrate --days``, or drawn ones (``days_file``).

A file holds N orders of B buckets and K algos, a *day* each, and splits of them by name. It is a
NumPy archive (``.npz``, never pickled) with

    format            1
    algos             (K,) names
    bucket_seconds    length of a bucket; NaN where it is not known
    depth             (N, B, K) shares that a child order could have filled at most
    spread            (N, B, K) cost of a filled share above the mid at its bucket's start
    volume            (N, B) shares traded in the market
    move              (N, B) move of the mid against the order in the bucket
    touch             (N,) price of a share left over above the last mid, without fee: distance to
                      the far touch, and what a marketable order pays beyond it
    vwap              (N, B) the market's average price above the mid at arrival
    symbol, date      (N,) such as "ibm", "20131007"
    start             (N,) seconds since midnight at the exchange
    side              (N,) 1 buy, -1 sell
    split_NAME        (M,) numbers of the days of the split NAME

and nothing else.

Prices are basis points of the mid at arrival; positive prices cost the order money. The two sides
of one window share their market, so they are one cluster for statistics (``clusters``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.market.days import UNLIMITED, Days
from execution_env.allocation.scenario import Scenario
from execution_env.core.archive import ArchiveError, Field, read_archive
from execution_env.core.atomic import atomic_write
from execution_env.core.memory import read_only
from execution_env.core.validation import ScenarioError, fail, suggestion

DAYS_FORMAT = 1

MOST_SHARES = 1e15
"""Largest number of shares."""

MOST_BPS = 1e6
"""Largest price, basis points: a hundred times the mid at arrival."""

Floats = NDArray[np.float64]


class DaysFile(NamedTuple):
    """Content of a file of days.

    Attributes:
        splits: numbers of days by name of split. The other fields are those of the file.
    """

    algos: tuple[str, ...]
    bucket_seconds: float
    depth: Floats
    spread: Floats
    volume: Floats
    move: Floats
    touch: Floats
    vwap: Floats
    symbol: NDArray[np.str_]
    date: NDArray[np.str_]
    start: Floats
    side: NDArray[np.int64]
    splits: dict[str, NDArray[np.int64]]

    @property
    def clusters(self) -> NDArray[np.int64]:
        """(N,) a number per window: equal for its two sides."""
        windows = np.stack([self.symbol, self.date, self.start.astype(np.str_)], axis=1)
        return np.unique(windows, axis=0, return_inverse=True)[1].reshape(-1)


_SHARES = Field(np.float64, low=0.0, high=MOST_SHARES)
_PRICE = Field(np.float64, low=-MOST_BPS, high=MOST_BPS)

FIELDS = {
    "format": Field(np.int64, equal=DAYS_FORMAT, about=f"this version reads {DAYS_FORMAT}"),
    "algos": Field(str, ("K",)),
    "bucket_seconds": Field(np.float64, low=0.0, nan=True),
    "depth": _SHARES._replace(axes=("N", "B", "K")),
    "spread": _PRICE._replace(axes=("N", "B", "K")),
    "volume": _SHARES._replace(axes=("N", "B")),
    "move": _PRICE._replace(axes=("N", "B")),
    "touch": _PRICE._replace(axes=("N",)),
    "vwap": _PRICE._replace(axes=("N", "B")),
    "symbol": Field(str, ("N",)),
    "date": Field(str, ("N",)),
    "start": Field(np.float64, ("N",), low=0.0),
    "side": Field(np.int64, ("N",), among=(1, -1)),
    "split_*": Field(np.int64, ("*",), low=0, below="N"),
}
"""Requirements on every array of the file; see ``core.archive``."""


def write_days(path: Path, days: DaysFile) -> None:
    """Write a file of days, at once or not at all.

    Raises:
        WriteError: the file cannot be written.
    """
    content: dict[str, Any] = {"format": DAYS_FORMAT, **days._asdict()}
    content |= {f"split_{name}": which for name, which in content.pop("splits").items()}
    # An open file, because savez would append .npz to another ending.
    atomic_write(path, lambda file: np.savez_compressed(file, **content))


def read_days(path: Path) -> DaysFile:
    """Read a file of days.

    Raises:
        ScenarioError: the file is missing, damaged, of another format, or has numbers that no days
            have.
    """
    try:
        content = read_archive(path, FIELDS, casting="safe", compressed=True)
    except FileNotFoundError:
        raise ScenarioError(
            f"days {path}: there is no such file; python -m execution_env calibrate --days makes one."
        ) from None
    except OSError as error:
        raise ScenarioError(f"days {path}: cannot be read ({error.strerror or error}).") from None
    except ArchiveError as error:
        raise ScenarioError(
            f"days {path}: {error}. Make it anew with python -m execution_env calibrate --days."
        ) from None
    for name, which in content.items():
        if name.startswith("split_") and np.unique(which).size < which.size:
            raise ScenarioError(f"days {path}: {name} names a day twice. Make it anew.")
    return DaysFile(
        tuple(str(name) for name in content.pop("algos")),
        float(content.pop("bucket_seconds")),
        splits={
            name.removeprefix("split_"): content[name]
            for name in content
            if name.startswith("split_")
        },
        **{name: content[name] for name in DaysFile._fields if name in content},
    )


def days_file(scenario: Scenario, splits: Mapping[str, Days]) -> DaysFile:
    """Return drawn days as a file; ``replayed`` returns their market for any scenario that fits.

    Each day is a buy and a window of its own.

    Args:
        scenario: scenario that the days were drawn from; its algos have depths, its costs are a
            shortfall.
        splits: days by name of split.
    """
    days = Days._make(
        np.concatenate(arrays, axis=-1) for arrays in zip(*splits.values(), strict=True)
    )
    ends = np.cumsum([0, *(of.size for of in splits.values())])
    n = days.size
    return DaysFile(
        algos=scenario.algo_names,
        bucket_seconds=np.nan,
        depth=scenario.order.lot_size * days.depth.transpose(2, 0, 1).astype(np.float64),
        spread=days.spread.transpose(2, 0, 1),
        volume=days.volume.T,
        move=days.move.T,
        touch=days.touch[0] - scenario.crossing_fee,
        vwap=days.vwap.T,
        symbol=np.full(n, scenario.name),
        date=np.full(n, "drawn"),
        start=np.arange(n, dtype=np.float64),
        side=np.ones(n, np.int64),
        splits={name: np.arange(*ends[j : j + 2]) for j, name in enumerate(splits)},
    )


def replayed(scenario: Scenario, split: str) -> Days:
    """Return the days of ``split`` of the file that ``scenario`` replays.

    Raises:
        ScenarioError: the file or the split is missing or does not fit the scenario.
    """
    return _replayed(scenario, split, _stamp(scenario))


@lru_cache(maxsize=32)
def _replayed(scenario: Scenario, split: str, stamp: int) -> Days:
    assert scenario.replay is not None
    file = _read(scenario.replay.file, stamp)
    which = _checked_split(scenario, file, split)
    for algo in scenario.algos:
        if algo.depth is None:
            raise fail(
                f"algos.{algo.name}.fill_rate",
                algo.fill_rate,
                "replayed days have a depth: give depth and fill_probability instead.",
            )
    buckets = file.depth.shape[1]
    if buckets != scenario.buckets:
        raise fail(
            "order.buckets", scenario.buckets, f"the days of {_of(scenario)} have {buckets}."
        )
    if file.algos != scenario.algo_names:
        raise fail(
            "algos",
            list(scenario.algo_names),
            f"the days of {_of(scenario)} are of {', '.join(file.algos)}.",
        )
    days = Days.of(scenario, which.size)
    days.fill_rate[:] = 1.0
    days.rounding[:] = 0.0
    days.volume[:] = file.volume[which].T
    lots = np.rint(file.depth[which] / scenario.order.lot_size)  # without bias, as in the model
    days.depth[:] = np.minimum(lots, UNLIMITED).astype(np.int32).transpose(1, 2, 0)
    days.day_effect[:] = np.nan
    days.liquidity[:] = np.nan
    if scenario.shortfall:
        days.spread[:] = file.spread[which].transpose(1, 2, 0)
        days.move[:] = file.move[which].T
        days.touch[0] = file.touch[which] + scenario.crossing_fee
        days.vwap[:] = file.vwap[which].T
    return read_only(days)


class ReplayedOrders(NamedTuple):
    """File, windows, dates and sides of M replayed days.

    Attributes:
        file: name of the file.
        clusters: (M,) number of every day's window: equal for its two sides.
        dates: (M,) such as "20131007".
        sides: (M,) 1 buy, -1 sell.
    """

    file: str
    clusters: NDArray[np.int64]
    dates: NDArray[np.str_]
    sides: NDArray[np.int64]


def replayed_orders(scenario: Scenario, split: str | None = None) -> ReplayedOrders:
    """Return windows, dates and sides of a split of the file that ``scenario`` replays.

    The default split is that of the numbered days.

    Raises:
        ScenarioError: the file or the split is missing.
    """
    assert scenario.replay is not None
    file = _read(scenario.replay.file, _stamp(scenario))
    which = _checked_split(scenario, file, split or scenario.replay.test)
    return ReplayedOrders(_of(scenario), file.clusters[which], file.date[which], file.side[which])


def _stamp(scenario: Scenario) -> int:
    """Return when the file last changed, in nanoseconds; 0 if unknown: reading then explains."""
    assert scenario.replay is not None
    try:
        return Path(scenario.replay.file).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=8)
def _read(path: str, stamp: int) -> DaysFile:
    return read_only(read_days(Path(path)))


def _checked_split(scenario: Scenario, file: DaysFile, split: str) -> NDArray[np.int64]:
    assert scenario.replay is not None
    key = "replay.test" if split == scenario.replay.test else "replay.train"
    found = file.splits.get(split)
    if found is None:
        raise fail(
            key,
            split,
            f"is no split of {_of(scenario)}.{suggestion(split, file.splits)} There are "
            f"{', '.join(file.splits) or 'none'}.",
        )
    if not found.size:
        raise fail(key, split, f"is an empty split of {_of(scenario)}.")
    return found


def _of(scenario: Scenario) -> str:
    assert scenario.replay is not None
    return Path(scenario.replay.file).name
