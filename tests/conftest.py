"""Settings that all tests share."""

from __future__ import annotations

import os

# Before NumPy or torch are imported: on matrices as small as here more threads only spin, and take the
# cores from whatever else is tested.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# Asserts in what tests share tell as much as those of tests.
for folder in ("allocation", "calibration", "evaluation", "learners", "planners"):
    pytest.register_assert_rewrite(f"tests.{folder}")

# Compiled code is slow once, when it is compiled: no deadlines.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    """Compile before there are workers, where there will be some; what compiles later says nothing."""
    from execution_env.core import jit

    jit.ANNOUNCER.said = True  # tests look at what commands print
    if getattr(config.option, "numprocesses", None) and not config.option.collectonly:
        from tests.compiling import compile_first

        compile_first()
