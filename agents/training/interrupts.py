"""Ctrl-C that waits for a moment at which a run can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_wait(then: Callable[[], object] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C wait until it is asked for by the function given: half a block must not be
    saved. A second one does not wait, and nothing is saved then.

    Args:
        then: called at the first one.
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
        yield lambda: False  # somebody else's business
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
