"""Windows of parent orders: whole buckets within a session."""

from __future__ import annotations

import numpy as np

from execution_env.calibration.readers.tape import DAY, NANOSECONDS, DataError, Ints, Tape
from execution_env.core.validation import ScenarioError, integer

DEFAULT_BUCKET, DEFAULT_WINDOW = 180 * NANOSECONDS, 1800 * NANOSECONDS
"""Default lengths, nanoseconds: a parent order of half an hour in ten buckets."""


def buckets_of(window: int, bucket: int) -> int:
    """Return the number of buckets in a window.

    Raises:
        ScenarioError: the window is not a whole number of them.
    """
    integer("bucket", bucket, 1, DAY, "nanoseconds")
    integer("window", window, 1, DAY, "nanoseconds")
    if window % bucket:
        raise ScenarioError(
            f"window = {_seconds(window)}, bucket = {_seconds(bucket)}: a window must be a whole "
            "number of buckets."
        )
    return window // bucket


def plan_windows(
    tape: Tape,
    bucket: int = DEFAULT_BUCKET,
    window: int = DEFAULT_WINDOW,
    *,
    skip_open: int = 0,
    skip_close: int = 0,
    every: int | None = None,
) -> Ints:
    """Return the starts of windows, by default back to back from the open on.

    The first and last minutes of a session differ from the rest. After the opening auction spreads
    are wide and volume is large; before the closing auction orders are in a hurry. These minutes
    are kept, because a desk trades in them too. The ``skip`` arguments leave them out.

    Args:
        tape: stock-day of the session.
        bucket, window: nanoseconds; a window is a whole number of buckets.
        skip_open, skip_close: nanoseconds after the open and before the close without windows.
        every: nanoseconds from one start to the next; None is ``window``, so that none overlap.
            Windows that do overlap are not independent of each other.

    Returns:
        (W,) nanoseconds since midnight, W >= 1.

    Raises:
        ScenarioError: an argument out of its range.
        DataError: the session, less what is skipped, is shorter than a window.
    """
    buckets_of(window, bucket)
    integer("skip_open", skip_open, 0, DAY, "nanoseconds")
    integer("skip_close", skip_close, 0, DAY, "nanoseconds")
    step = window if every is None else integer("every", every, 1, DAY, "nanoseconds")
    first, last = tape.open + skip_open, tape.close - skip_close - window
    if last < first:
        raise DataError(
            f"{tape.symbol} {tape.date}: the session lasts {_seconds(tape.close - tape.open)}"
            f", {_seconds(skip_open + skip_close)} of it are skipped: too short for a window of "
            f"{_seconds(window)}. Choose shorter windows."
        )
    return np.arange(first, last + 1, step, dtype=np.int64)


def check_starts(tape: Tape, starts: Ints, window: int) -> Ints:
    """Return ``starts`` as (W,) int64.

    Raises:
        ScenarioError: they are not a list of whole numbers, or a window is not within the session.
    """
    array = np.asarray(starts)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
        raise ScenarioError("starts: must be a list of whole nanoseconds since midnight.")
    for start in (int(array.min()), int(array.max())):
        if not tape.open <= start <= tape.close - window:
            raise ScenarioError(
                f"starts: a window of {_seconds(window)} from {_seconds(start)} after midnight is not "
                f"within the session of {tape.symbol} {tape.date}, {_seconds(tape.open)} to "
                f"{_seconds(tape.close)}."
            )
    return array.astype(np.int64)


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / NANOSECONDS:,.12g} s"
