"""Packages that are not installed: one line with the pip command, for every command that needs one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from execution_env.core.extras import missing

ROOT = Path(__file__).parents[2]
SMALL = "--set order.buckets=3 order.size=1000"


def test_the_name_for_pip() -> None:
    for package, name in (("torch", "torch"), ("PIL.Image", "pillow"), ("polars", "polars")):
        error = ModuleNotFoundError(f"No module named {package!r}", name=package)
        assert missing(error).startswith(f"the package {name} is not installed: pip install ")
    for error in (
        ImportError("cannot import name 'a'\nfrom 'b'", name="b"),
        ModuleNotFoundError("needs x: pip install x", name="x"),
        ModuleNotFoundError("No module named 'agents.lpp'", name="agents.lpp"),
        ModuleNotFoundError("No module named 'tkinter'", name="tkinter"),
    ):
        assert missing(error) == " ".join(str(error).split())


COMMANDS = {
    "tyro": "train.py",
    "rich": "evaluate.py",
    "rich.table": "-m results",
    "highspy": f"evaluate.py --policies lp --episodes 2 {SMALL}",
    "matplotlib": f"evaluate.py --policies twap --episodes 2 {SMALL}",
    "torch": f"train.py ppo --timesteps 10 {SMALL}",
    "stable_baselines3": f"train.py ppo --timesteps 10 {SMALL}",
    "sb3_contrib": f"train.py ppo --masked --timesteps 10 {SMALL}",
    "scipy": f"evaluate.py --policies dp --episodes 3 {SMALL}",
    "polars": "-m execution_env calibrate --fill-log fills.csv --out mine.toml",
    "PIL": "-m execution_env play baseline --picture order.png",
}


@pytest.mark.parametrize(
    "package",
    [
        "tyro",
        *(pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS if name != "tyro"),
    ],
)
def test_a_command_without_a_package(package: str, tmp_path: Path) -> None:
    words = COMMANDS[package].split()
    (tmp_path / "fills.csv").write_text("a,b\n1,2\n")
    start = "run_module" if words[0] == "-m" else "run_path"
    target = words[1] if words[0] == "-m" else str(ROOT / words[0])
    rest = words[2:] if words[0] == "-m" else words[1:]
    code = (
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"class Absent:\n"
        f"    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {package!r}: raise ModuleNotFoundError('No module', name=name)\n"
        f"sys.meta_path.insert(0, Absent())\n"
        f"sys.argv = {['x', *rest]!r}\n"
        f"runpy.{start}({target!r}, run_name='__main__')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.returncode == 2, found.stderr
    lines = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "pip install" in lines[0]
    assert "Traceback" not in found.stderr
