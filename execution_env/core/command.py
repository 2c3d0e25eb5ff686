"""Ends of commands: exit codes, errors in one line, and requests to stop.

Ctrl-C and SIGTERM both raise ``KeyboardInterrupt``, so whatever saves at one saves at the other.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from gymnasium.error import Error as GymnasiumError

from execution_env.core.extras import missing
from execution_env.core.validation import printable

INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C, as shells have it: 130."""

TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as shells have it: 143."""

USER_ERRORS = (ValueError, OSError, ImportError, GymnasiumError, MemoryError)
"""Errors that a user can cause. Any other error is a mistake of ours and keeps its traceback."""


class Terminated(KeyboardInterrupt):
    """Request to stop by SIGTERM, such as that of ``kill``, ``timeout`` or a batch system."""


def flat(error: BaseException) -> str:
    """Return the message of ``error`` in one printable line, or its type where there is no message.

    That of a missing package has the command that installs it.
    """
    message = missing(error) if isinstance(error, ImportError) else str(error)
    return printable(" ".join(message.split())) or type(error).__name__


def terminate(number: int, frame: object) -> None:
    """Handle SIGTERM. Later ones are ignored: ``timeout`` sends two, and stopping must not be stopped.

    Raises:
        Terminated: always.
    """
    signal.signal(number, signal.SIG_IGN)
    raise Terminated


@contextlib.contextmanager
def sigterm_stops() -> Iterator[None]:
    """A block in which SIGTERM raises ``Terminated``, unless other code handles that signal."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run_command(
    main: Callable[[], int | None], interrupted: str = "stopped; nothing was written."
) -> int:
    """Run ``main``; return the exit code.

    That is what ``main`` returns (None is 0); 2 after an error that a user can cause, with one line
    on stderr; 130 after Ctrl-C; 143 after SIGTERM.

    Args:
        main: does what the command line asks for.
        interrupted: said after Ctrl-C and SIGTERM, outside ``saying``.
    """
    with sigterm_stops():
        try:
            code = main()
            sys.stdout.flush()
        except KeyboardInterrupt as stop:
            line_of_its_own = "\n" if sys.stderr.isatty() else ""  # the terminal shows ^C
            print(f"{line_of_its_own}{str(stop) or interrupted}", file=sys.stderr)
            return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
        except MemoryError as error:
            print(f"error: not enough memory ({flat(error)}).", file=sys.stderr)
            return 2
        except USER_ERRORS as error:
            for line in getattr(
                error, "lines", (flat(error),)
            ):  # a fill log has a line for each fault
                print(f"error: {printable(line)}", file=sys.stderr)
            return 2
    return code or 0


def stop_if_asked(code: int) -> None:
    """Stop as a command within this one did, where that was asked to.

    Args:
        code: exit code of that command.

    Raises:
        KeyboardInterrupt: it was stopped by Ctrl-C, or as ``Terminated`` by SIGTERM.
    """
    if code == TERMINATED:
        raise Terminated
    if code == INTERRUPTED:
        raise KeyboardInterrupt


@contextlib.contextmanager
def saying(interrupted: str) -> Iterator[None]:
    """A block after whose Ctrl-C or SIGTERM ``run_command`` says ``interrupted``.

    Inside another such block, the inner one counts.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise type(stop)(str(stop) or interrupted) from None
