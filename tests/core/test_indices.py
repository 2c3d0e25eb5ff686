"""Compiled loops under numba's checks of indices, which are off otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TESTS = (
    "tests/allocation/test_vector_env.py",
    "tests/planners/test_bounds.py",
    "tests/learners/test_q_training.py",
    "tests/calibration/test_child_orders.py",
)
"""Tests of environment, bounds, learner and simulator; SECURITY.md has the command for all kernels."""


@pytest.mark.slow
def test_no_loop_leaves_its_arrays(tmp_path: Path) -> None:
    env = os.environ | {"NUMBA_BOUNDSCHECK": "1", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_checks_work(tmp_path: Path) -> None:
    """The variable reaches our compiler, and its code is not that of the cache."""
    program = (
        "import numpy as np\n"
        "from execution_env.core.jit import jit\n"
        "@jit\n"
        "def last(x): return x[x.size]\n"
        "try:\n"
        "    last(np.zeros(3))\n"
        "except IndexError:\n"
        "    print('noticed')\n"
        "else:\n"
        "    print('not noticed')\n"
    )
    (tmp_path / "program.py").write_text(program)
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    said = [
        subprocess.run(
            [sys.executable, str(tmp_path / "program.py")],
            env=env | {"NUMBA_BOUNDSCHECK": check}, capture_output=True, text=True, check=True,
        ).stdout.strip()
        for check in ("0", "1")
    ]  # fmt: skip
    assert said == ["not noticed", "noticed"]
