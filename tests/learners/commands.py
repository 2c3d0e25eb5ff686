"""Error messages of train.py."""

from __future__ import annotations

import pytest

import train


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that these arguments lead to."""
    capsys.readouterr()
    try:
        code = train.main(list(arguments))
    except SystemExit as stopped:
        code = stopped.code  # type: ignore[assignment]
    captured = capsys.readouterr()
    assert code == 2, (code, captured)
    assert captured.out == ""
    started = ("training q-learning on ", "training ppo on ")
    (line,) = [line for line in captured.err.splitlines() if not line.startswith(started)]
    assert line.startswith("error: ")
    assert "Traceback" not in line
    return line
