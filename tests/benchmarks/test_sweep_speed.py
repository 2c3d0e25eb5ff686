"""How much faster a sweep is with two workers than with one: eight short trainings of the Q-learner.

    python -m pytest tests/benchmarks/test_sweep_speed.py -m slow --benchmark-enable --benchmark-only

Each round is a new process, so that starting workers, importing and loading compiled code count.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Benchmark = Any

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("episodes", ["2000000", "4000000"])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_sweep(benchmark: Benchmark, tmp_path: Path, jobs: str, episodes: str) -> None:
    episodes = episodes if benchmark.enabled else "1"
    rounds = iter(range(10))

    def sweep() -> None:
        words = ["--seed", *map(str, range(8)), "--episodes", episodes, "--jobs", jobs]
        out = str(tmp_path / str(next(rounds)))
        command = [sys.executable, str(ROOT / "train.py"), "sweep", *words, "--out", out]
        subprocess.run(command, check=True, capture_output=True)

    benchmark.group = f"8 trainings of {episodes} orders"
    benchmark.pedantic(sweep, rounds=3, iterations=1)
