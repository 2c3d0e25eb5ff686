"""Checks of error messages and folders that tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.storage.files import RunError


def only(folder: Path, *names: str) -> bool:
    return sorted(os.listdir(folder)) == sorted(names)


def one_line(error: pytest.ExceptionInfo[RunError], *words: str) -> None:
    """One line that names the path first, and says what to do."""
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    for word in words:
        assert word in message
