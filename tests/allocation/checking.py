"""Calls of ``python -m execution_env check`` on wrong files, for tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution_env.__main__ import main


def complaint(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command says of a wrong file."""
    assert main(["check", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line
