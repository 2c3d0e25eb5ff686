"""Faults of a fill log: all of them are reported, each with its line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.calibration.readers.tape import DataError, Ints

MOST_SHOWN = 20
"""Maximum number of faults that are shown; the others are counted."""


class FaultyLogError(DataError):
    """All that is wrong in a fill log.

    The message is one line, the first fault. ``lines`` has a line for each fault, at most
    ``MOST_SHOWN``, and then one that counts the others.
    """

    def __init__(self, shown: Sequence[str], number: int) -> None:
        more = number - 1
        super().__init__(
            shown[0] + (f" ({more:,} more fault{'s' if more > 1 else ''})" if more else "")
        )
        left = number - len(shown)
        self.lines = (*shown, f"and {left:,} more faults.") if left else tuple(shown)


class _Fault(NamedTuple):
    line: int
    rank: int
    text: str


class Faults:
    """Faults found so far; only those that will be shown are kept, the others are counted."""

    def __init__(self, place: str) -> None:
        self.place, self.number = place, 0
        self._kept: list[_Fault] = []

    def add(self, lines: Ints, texts: Sequence[str], number: int | None = None) -> None:
        """Add faults in ``lines``, ascending, with a text each.

        Args:
            lines: line numbers; the first ``MOST_SHOWN`` are enough.
            texts: a text for each.
            number: number of faults if there are more than ``lines``.
        """
        rank = self.number
        self._kept += [
            _Fault(int(line), rank, text) for line, text in zip(lines, texts, strict=True)
        ]
        self.number += len(texts) if number is None else number

    def stop(self) -> None:
        """Raise FaultyLogError if there are faults."""
        if self.number:
            first = sorted(self._kept)[:MOST_SHOWN]
            raise FaultyLogError(
                [f"{self.place}, line {fault.line:,}: {fault.text}" for fault in first], self.number
            )


def first_of(wrong: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the positions of the first ``MOST_SHOWN`` of a mask."""
    return np.flatnonzero(wrong)[:MOST_SHOWN]
