"""Proximal policy optimisation. ``Learner`` is imported on first use: torch takes seconds."""

from typing import Any

__all__ = ["Learner"]


def __getattr__(name: str) -> Any:
    if name == "Learner":
        from agents.ppo.learner import Learner  # noqa: PLC0415  see above

        return Learner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
