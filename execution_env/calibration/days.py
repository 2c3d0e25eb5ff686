"""Days for replay from simulated child orders: one day for every window and side."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.market.days_file import DaysFile, write_days
from execution_env.calibration.fitting.sample import SIGNS
from execution_env.calibration.readers.tape import NANOSECONDS, DataError
from execution_env.calibration.simulator.outcomes import Outcomes


def days_of(
    outcomes: Outcomes,
    names: Sequence[str],
    bucket: int,
    splits: Mapping[str, NDArray[np.bool_]],
) -> DaysFile:
    """Return the days of ``outcomes``, ordered by date, start and side, a buy before a sell.

    Prices are basis points of the mid at arrival, mid_0; positive prices cost the order money. With
    s = 1 for a buy and s = -1 for a sell,

        spread_b = price_b mid_b / mid_0            move_b = s (mid_{b+1} - mid_b) / mid_0
        touch = touch_B mid_B / mid_0               vwap_b = s (vwap_b - mid_0) / mid_0

    Args:
        outcomes: W windows.
        names: (K,) names of the algos.
        bucket: nanoseconds.
        splits: (W,) windows that belong to each split.

    Returns:
        N = 2 W days. The touch is that of one share, and without fees: the scenario has those.
    """
    order = np.lexsort((outcomes.start, outcomes.date))
    windows = order.size
    mid, arrival = outcomes.mid[order], outcomes.mid[order][:, :1]
    sign = SIGNS[:, None, None]

    def by_day(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reshape (2, W, ...) to (2 W, ...), a window's sides together."""
        return np.moveaxis(values, 0, 1).reshape(2 * windows, *values.shape[2:])

    return DaysFile(
        algos=tuple(names),
        bucket_seconds=bucket / NANOSECONDS,
        depth=by_day(outcomes.depth[:, order]),
        spread=by_day(outcomes.price[:, order] * (mid[:, :-1] / arrival)[..., None]),
        volume=np.repeat(outcomes.volume[order], 2, axis=0),
        move=by_day(sign * np.diff(mid, axis=1) / arrival * 1e4),
        touch=by_day(outcomes.touch[:, order, -1] * mid[:, -1] / arrival[:, 0]),
        vwap=by_day(sign * (outcomes.vwap[order] - arrival) / arrival * 1e4),
        symbol=np.repeat(outcomes.symbol[order], 2),
        date=np.repeat(outcomes.date[order], 2),
        start=np.repeat(outcomes.start[order] / NANOSECONDS, 2),
        side=np.tile(np.array([1, -1]), windows),
        splits={name: np.flatnonzero(np.repeat(which[order], 2)) for name, which in splits.items()},
    )


def days_bytes(days: DaysFile) -> bytes:
    """Return the content of the file of ``days``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "days.npz"
        write_days(path, days)
        return io.BytesIO(path.read_bytes()).getvalue()


def split_windows(
    outcomes: Outcomes, wanted: Mapping[str, Sequence[str]]
) -> dict[str, NDArray[np.bool_]]:
    """Return a (W,) mask of the windows of every split.

    Args:
        outcomes: W windows.
        wanted: dates of each split by name. If empty, the last date is ``test``, the others are
            ``train``. If there is one date only, the last third of its windows is ``test``.

    Raises:
        DataError: a date has no windows, or is in two splits, or there is only one window.
    """
    dates = np.unique(outcomes.date)
    if wanted:
        seen: dict[str, str] = {}
        for name, of in wanted.items():
            for date in of:
                if date not in dates:
                    raise DataError(
                        f"--split {name}={','.join(of)}: there are no windows of {date}. Dates are "
                        f"{', '.join(dates)}."
                    )
                if date in seen:
                    raise DataError(
                        f"--split {name}={','.join(of)}: {date} is in split {seen[date]} already; "
                        "what is fitted and trained on must not be tested on."
                    )
                seen[date] = name
        return {name: np.isin(outcomes.date, list(of)) for name, of in wanted.items()}
    if dates.size > 1:
        test = outcomes.date == dates[-1]
    else:
        windows = outcomes.start.size
        if windows < 2:
            raise DataError(
                "one window is too few for a split train and a split test. Give more dates, or "
                "shorter windows."
            )
        test = np.argsort(np.argsort(outcomes.start)) >= windows - max(1, windows // 3)
    return {"train": ~test, "test": test}
