"""Earlier results in a folder, which a command replaces only where they are of the same question."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from agents.commands.command_line import grouped
from agents.storage.files import RunError, unreadable

QUESTION = ("--scenario", "--set", "--policies", "--penalties")
"""Options that say what is compared; the others say how many days and where."""

COMMAND = "    python evaluate.py "
"""Beginning of the line of a page that has its command."""


def check_earlier(folder: Path, page: str, table: str, command: str) -> None:
    """Check that results in ``folder`` are of the same scenario and policies as the new ones.

    Args:
        folder: value of ``--out``.
        page: name of the page with the command that made the results.
        table: name of their table, which alone shows that there are some.
        command: command of the new results.

    Raises:
        RunError: they are of another scenario or of other policies, or cannot be told.
    """
    if not ((folder / page).exists() or (folder / table).exists()):
        return
    earlier = _command_in(folder / page)
    if earlier is not None and _question(earlier) == _question(command):
        return
    there = "results that do not say of what" if earlier is None else f"results of {_said(earlier)}"
    raise RunError(
        f"{folder}: holds {there}. Choose another --out, or replace them with --overwrite."
    )


def _command_in(path: Path) -> str | None:
    """Return the command of a page; None where it has none.

    Raises:
        RunError: the page cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    return next((line.strip() for line in lines if line.startswith(COMMAND)), None)


def _question(command: str) -> dict[str, list[str]]:
    """Return the values of the options that say what is compared, sorted."""
    options = grouped(_words(command))
    return {key: sorted(options[key]) for key in QUESTION if options.get(key)}


def _said(command: str) -> str:
    options = grouped(_words(command))
    words = [word for key in QUESTION if options.get(key) for word in (key, *options[key])]
    return shlex.join(words)


def _words(command: str) -> Sequence[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a quotation without an end
        return command.split()
