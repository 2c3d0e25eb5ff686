"""Verdicts of a calibration in the head of a scenario file: written there, and read by ``check``.

They are comments, so that a scenario file has no key that only some versions know:

    # Verdicts, model against data:
    #   - How often it fills whole: all 21 inside
    #   - warning: Volume by half-hour: 3 of 13 outside (0.7 by chance); worst 09:30: model ...
    #       data ...
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

TITLE = "Verdicts, model against data:"
WARNING = "warning: "
WIDTH = 98
"""Number of characters of a line, without the comment's sign."""

ITEM, MORE = "  - ", "      "
"""Beginnings of an item's first line and of its other lines."""


def written(verdicts: Sequence[str]) -> list[str]:
    """Return the lines of a head, without the comment's sign; none without ``verdicts``."""
    return [TITLE, *items(verdicts)] if verdicts else []


def items(texts: Sequence[str]) -> list[str]:
    """Return the lines of a list of ``texts``."""
    return [
        part
        for text in texts
        for part in textwrap.wrap(
            text, WIDTH, initial_indent=ITEM, subsequent_indent=MORE, break_on_hyphens=False
        )
    ]


def read(text: str) -> list[str]:
    """Return the verdicts in the head of a scenario file's ``text``; empty if there are none."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        comment = line.removeprefix("#").removeprefix(" ")
        if comment.rstrip() == TITLE:
            inside = True
        elif inside and comment.startswith(ITEM):
            found.append(comment.removeprefix(ITEM).strip())
        elif inside and found and comment.startswith(MORE):
            found[-1] += f" {comment.strip()}"
        else:
            inside = False
    return found
