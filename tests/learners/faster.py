"""Trainings of a second or less, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agents.evaluation import validation
from agents.q_learning import run as q_run
from agents.training import run as training_run

PLACES: Mapping[str, Any] = {
    "VALIDATION_DAYS": validation,
    "CURVE_POINTS": training_run,
    "MEASURED_BLOCKS": q_run,
    "CHECKPOINT_SECONDS": training_run,
    "CHECKPOINT_SHARE": training_run,
}
"""Modules of the constants that decide how long a training takes besides its length."""


def faster(numbers: Mapping[str, float], put: Callable[..., object] = setattr) -> None:
    """Give constants other values, with a monkeypatch's ``setattr`` or for good."""
    for name, number in numbers.items():
        put(PLACES[name], name, number)
