from __future__ import annotations

import io

import pytest
from rich.console import Console

from agents.console import PIPED_WIDTH, bars, notes, output, silent


def terminal() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=True, width=100), text


def test_bars_tell_what_is_done_and_how_long_it_takes() -> None:
    console, text = terminal()
    with bars(console) as track:
        with track("days", 10) as advance:
            advance(5)
            advance(5)
        with track("thinking", None) as advance:
            advance(1)
    shown = text.getvalue()
    for word in ("days", "0%", "left", "thinking"):
        assert word in shown
    assert shown.rstrip("\r").endswith("\x1b[2K\x1b[?25h")  # nothing stays


def test_bars_go_when_something_fails() -> None:
    console, text = terminal()
    with pytest.raises(KeyboardInterrupt), bars(console) as track, track("days", 10):
        raise KeyboardInterrupt
    assert "\x1b[?25h" in text.getvalue()  # the cursor is back


def test_without_a_terminal_there_are_no_bars() -> None:
    text = io.StringIO()
    with bars(Console(file=text)) as track, track("days", 10) as advance:
        advance(10)
    assert text.getvalue() == ""
    with silent("days", 10) as advance:
        advance(3)


def test_results_and_notes_go_apart(capsys: pytest.CaptureFixture[str]) -> None:
    output().print("result " * 15)
    notes().print("note")
    captured = capsys.readouterr()
    assert captured.out.strip() == ("result " * 15).strip()  # on one line
    assert captured.err == "note\n"
    assert output().width == PIPED_WIDTH
