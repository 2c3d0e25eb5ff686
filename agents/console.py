"""Progress and notes on the terminal.

Results go to stdout; progress, notes and errors to stderr, so that a redirected table is a table.
Bars show only on a terminal and leave nothing behind. What takes long gets a ``Track``: a function
that opens a bar and gives what moves it, so that nothing that computes knows of terminals.

>>> with bars() as track, track("days", 1000) as advance:
...     advance(10)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from gymnasium.error import Error as GymnasiumError
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Advance = Callable[[int], object]
"""Called with how much more is done."""

Track = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Opens a bar with a description and a total, None where it is not known."""

PIPED_WIDTH = 160
"""Columns where the output is no terminal."""


@contextmanager
def silent(description: str, total: int | None = None) -> Iterator[Advance]:
    """A ``Track`` that shows nothing."""
    yield lambda _: None


def output() -> Console:
    """The console for results."""
    return _console(stderr=False)


def notes() -> Console:
    """The console for notes and progress."""
    return _console(stderr=True)


def say(to: Console, text: str) -> None:
    """Print as it is: a path may hold brackets, and be longer than a line."""
    to.print(text, markup=False, soft_wrap=True)


def counted(number: int, what: str) -> str:
    """Such as "1 day" and "10,000 days"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, width=PIPED_WIDTH)
    return console


class TimeLeft(TimeRemainingColumn):
    """The time left, and nothing where the total is not known."""

    def render(self, task: Task) -> Text:
        """For one bar."""
        return super().render(task).append(" left") if task.total else Text()


@contextmanager
def bars(console: Console | None = None) -> Iterator[Track]:
    """A ``Track`` whose bars have a percentage and the time left; they vanish when done.

    Args:
        console: to show them on; default ``notes()``. Where it is no terminal nothing is shown.
    """
    console = console or notes()
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeLeft(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )

    @contextmanager
    def track(description: str, total: int | None = None) -> Iterator[Advance]:
        task = progress.add_task(description, total=total)
        try:
            yield lambda count: progress.advance(task, count)
        finally:
            progress.remove_task(task)

    with progress:
        yield track


USER_ERRORS = (ValueError, OSError, ImportError, GymnasiumError, MemoryError)
"""What a user can cause; anything else is a mistake of ours and keeps its traceback."""


def flat(error: BaseException) -> str:
    """What ``error`` says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
