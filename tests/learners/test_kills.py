"""Trainings that are killed a hundred times end as if nothing had happened; see ``killing``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.learners import LEARNERS

ROOT = Path(__file__).parents[2]

KILLS = int(os.environ.get("KILLS", "100"))
"""Number of kills of each learner's trainings."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEARNERS)
def test_kills_at_random_operations_change_no_bit(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.learners.killing", kind, str(tmp_path), "7", str(KILLS)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    said = (tmp_path / "said.txt").read_text(errors="replace")
    assert ended.returncode == 0, said[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["operation"] + found["write"] + found["moment"] >= KILLS
    assert min(found["operation"], found["write"], found["moment"]) >= KILLS // 20
    assert found["runs"] >= KILLS // 20
