"""Ends of commands: SIGTERM is like Ctrl-C, with an exit code of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from execution_env.core.command import (
    INTERRUPTED,
    TERMINATED,
    Terminated,
    run_command,
    saying,
    stop_if_asked,
)


def sent(number: int, times: int = 1) -> Callable[[], None]:
    def main() -> None:
        for _ in range(times):
            os.kill(os.getpid(), number)

    return main


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)]
)
def test_signals_end_with_a_line_and_their_code(
    number: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    assert code == 128 + number
    assert run_command(sent(number), "stopped; all is saved.") == code
    assert capsys.readouterr().err == "stopped; all is saved.\n"
    assert signal.getsignal(number) is before


def test_the_inner_words_count(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        with saying("outer"), saying("inner"):
            sent(signal.SIGTERM)()

    assert run_command(main) == TERMINATED
    assert capsys.readouterr().err == "inner\n"


def test_a_second_sigterm_does_not_stop_the_stopping(capsys: pytest.CaptureFixture[str]) -> None:
    """``timeout`` sends one to the process and one to its group."""
    saved = []

    def main() -> None:
        try:
            sent(signal.SIGTERM)()
        finally:
            sent(signal.SIGTERM, 3)()
            saved.append(True)

    assert run_command(main, "stopped.") == TERMINATED
    assert saved
    assert capsys.readouterr().err == "stopped.\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_ones_handler_of_sigterm_is_left_alone() -> None:
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
    try:
        assert run_command(sent(signal.SIGTERM)) == 0
        assert caught
    finally:
        signal.signal(signal.SIGTERM, before)


def test_commands_in_threads_leave_signals_alone() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_command(lambda: 3)))
    thread.start()
    thread.join()
    assert codes == [3]


def test_a_command_within_a_command_stops_both(capsys: pytest.CaptureFixture[str]) -> None:
    def outer() -> None:
        stop_if_asked(run_command(sent(signal.SIGTERM), "inner"))
        pytest.fail("goes on")

    assert run_command(outer, "outer") == TERMINATED
    assert capsys.readouterr().err == "inner\nouter\n"
    stop_if_asked(0)
    stop_if_asked(2)
    with pytest.raises(KeyboardInterrupt) as stopped:
        stop_if_asked(INTERRUPTED)
    assert not isinstance(stopped.value, Terminated)


def test_a_broken_pipe_of_something_else_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> Any:
        raise BrokenPipeError(32, "Broken pipe")

    assert run_command(main) == 2
    assert "Broken pipe" in capsys.readouterr().err
