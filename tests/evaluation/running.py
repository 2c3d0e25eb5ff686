"""Commands run in this process, for tests."""

from __future__ import annotations

import pytest

import evaluate


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """Return the output of a successful command, and its notes."""
    assert evaluate.main(list(arguments)) == 0
    return capsys.readouterr()


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a failing command."""
    try:
        code = evaluate.main(list(arguments))
    except SystemExit as stopped:
        code = stopped.code  # type: ignore[assignment]
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line
