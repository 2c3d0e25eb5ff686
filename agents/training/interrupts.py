"""Delay of Ctrl-C and SIGTERM until a moment at which a run can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from execution_env.core.command import Terminated, terminate

STOPS: dict[int, type[KeyboardInterrupt]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: Terminated,
}
"""Signals that ask to stop, and what each raises."""

USUAL: dict[int, tuple[Any, ...]] = {
    signal.SIGINT: (signal.default_int_handler,),
    signal.SIGTERM: (terminate, signal.SIG_DFL),
}
"""Handlers of these signals where no other code handles them."""


@contextmanager
def interrupts_wait(
    then: Callable[[], object] = lambda: None,
) -> Iterator[Callable[[], KeyboardInterrupt | None]]:
    """Yield a function that returns what to raise once Ctrl-C or SIGTERM came, and None before.

    The first of these signals only sets that answer, because half a block must not be saved. Ctrl-C
    after it raises at once, and nothing is saved. SIGTERM after it changes nothing.

    Args:
        then: called at the first signal.
    """
    asked: KeyboardInterrupt | None = None

    def note(number: int, frame: object) -> None:
        nonlocal asked
        if asked is None:
            asked = STOPS[number]()
            then()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in STOPS}
    ours = [number for number, handler in before.items() if handler in USUAL[number]]
    if threading.current_thread() is not threading.main_thread():
        ours = []  # other threads get no signals
    for number in ours:
        signal.signal(number, note)
    try:
        yield lambda: asked
    finally:
        for number in ours:
            # ``run_command`` resets what is ignored; without it, nobody would.
            ignored = isinstance(asked, Terminated) and before[number] is terminate
            signal.signal(number, signal.SIG_IGN if ignored else before[number])
