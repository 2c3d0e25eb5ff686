"""What is imported when: the environment must not need what only market data needs."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_environment_needs_neither_polars_nor_scipy() -> None:
    """Polars is not even imported; numba imports scipy where there is one, to look at its version."""
    code = "import sys; sys.modules['scipy'] = None; import execution_env"
    code += "; print('polars' in sys.modules)"
    assert run(code).stdout.strip() == "False"


def test_without_polars() -> None:
    code = "import sys; sys.modules['polars'] = None; import execution_env.calibration.readers.lean"
    assert 'pip install "execution_env[calibration]"' in run(code).stderr
