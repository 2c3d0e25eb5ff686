"""A wheel, built and used as a stranger would. Needs a package index: ``pytest -m packaging``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = (".git", ".venv*", "build", "*.egg-info", "__pycache__", ".*_cache", "runs")
PROGRAM = """
import pathlib, sys
import gymnasium as gym, execution_env
assert "site-packages" in execution_env.__file__, execution_env.__file__
assert "agents" not in sys.modules and "matplotlib" not in sys.modules and "torch" not in sys.modules
for name in execution_env.scenarios():
    env = gym.make("execution_env/OrderAllocation-v0", scenario=name)
    env.reset(seed=0)
    env.step(env.action_space.sample())
envs = gym.make_vec("execution_env/OrderAllocation-v0", num_envs=3,
                    vectorization_mode="vector_entry_point")
envs.reset(seed=0)
envs.step(envs.action_space.sample())
print("played", len(execution_env.scenarios()))
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.packaging
def test_a_wheel_works_in_an_empty_environment_from_another_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT))
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"execution_env"}
    shipped = {path.name for path in (ROOT / "execution_env/allocation/scenarios").glob("*.toml")}
    assert shipped == {Path(name).name for name in names if name.endswith(".toml")}
    assert "execution_env/py.typed" in names

    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = ROOT / "constraints.txt"
    run(python, "-m", "pip", "install", "-q", "-c", constraints, wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run(python, "-W", "error", "-c", PROGRAM, cwd=elsewhere).startswith("played ")
    assert "baseline" in run(python, "-m", "execution_env", cwd=elsewhere)
    sketch = run(python, "-m", "execution_env", "show", "textbook", cwd=elsewhere)
    assert "envelope" in sketch
