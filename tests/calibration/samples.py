"""Real days in LEAN's format, which lie beside the repository and are not part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "../shared/data/lean"


def samples() -> Path:
    """The folder of the real days; skips the test where there is none."""
    if not SAMPLES.is_dir():
        pytest.skip(
            "needs the samples of LEAN's tick data, in shared/data/lean beside the repository"
        )
    return SAMPLES
