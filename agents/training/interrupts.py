"""Delay of Ctrl-C until a moment at which a run can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_wait(then: Callable[[], object] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True once Ctrl-C was pressed.

    The first Ctrl-C only sets that answer, because half a block must not be saved. The second one
    raises KeyboardInterrupt at once, and nothing is saved.

    Args:
        then: called at the first Ctrl-C.
    """
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        then()

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield lambda: False  # other code handles the signal
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
