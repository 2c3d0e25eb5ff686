"""Terminal output: consoles for results and notes, and progress bars.

Results go to stdout; progress, notes and errors go to stderr, so a redirected table holds no notes.
Bars show only on a terminal and vanish when done. Code that takes long gets a ``Track``. It opens a
bar and returns the function that advances it, so code that computes does not depend on terminals.

>>> with bars() as track, track("days", 1000) as advance:
...     advance(10)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

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
"""Function that is called with the amount done since the last call."""

Track = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Function that opens a bar with a description and a total; the total is None where unknown."""

PIPED_WIDTH = 160
"""Number of columns where the output is no terminal."""


@contextmanager
def silent(description: str, total: int | None = None) -> Iterator[Advance]:
    """Open no bar: a ``Track`` that shows nothing."""
    yield lambda _: None


def output() -> Console:
    """Return the console for results, on stdout."""
    return _console(stderr=False)


def notes() -> Console:
    """Return the console for notes and progress, on stderr."""
    return _console(stderr=True)


def say(to: Console, text: str) -> None:
    """Print ``text`` unchanged: a path may hold brackets, and be longer than a line."""
    to.print(text, markup=False, soft_wrap=True)


def counted(number: int, what: str) -> str:
    """Return a number with its noun, such as "1 day" or "10,000 days"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, width=PIPED_WIDTH)
    return console


class TimeLeft(TimeRemainingColumn):
    """Column with the time left; empty where the total is unknown."""

    def render(self, task: Task) -> Text:
        """Return the text for one bar."""
        return super().render(task).append(" left") if task.total else Text()


@contextmanager
def bars(console: Console | None = None) -> Iterator[Track]:
    """Yield a ``Track`` whose bars show a percentage and the time left, and vanish when done.

    Args:
        console: console for the bars; default ``notes()``. Nothing is shown if it is no terminal.
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
