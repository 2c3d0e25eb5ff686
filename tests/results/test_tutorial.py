"""The tutorial: its file is what it shows, does what it says, and beats the linear programme."""

from __future__ import annotations

import doctest
import importlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from agents.evaluation import Comparison, compare
from agents.evaluation.allocation.report import finding, table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
LINES = 60
FULL, QUICK = "SIDE_BY_SIDE, SEED = 4_000_000, 1_000, 0", "SIDE_BY_SIDE, SEED = 400_000, 500, 0"
FIRST_DAY = 1_000_000
SHAPE = (10, 101, 3, 3)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def the_file() -> str:
    """The page's blocks, one after the other."""
    return "\n\n".join(blocks("python"))


def trained(text: str, folder: Path) -> str:
    """Write and run the file in ``folder``; what it printed."""
    (folder / "tutorial.py").write_text(text, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", "tutorial.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout


def compared(
    policies: list[str], folder: Path, days: int, monkeypatch: pytest.MonkeyPatch
) -> Comparison:
    """``policies`` on held-out days, where ``folder`` has the file."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "tutorial", raising=False)
    importlib.invalidate_caches()
    seeds = range(FIRST_DAY, FIRST_DAY + days)
    result = compare(policies, "baseline", seeds)
    del sys.modules["tutorial"]
    return result


def as_printed(result: Comparison) -> str:
    """What ``evaluate.py`` prints, without the decision times."""
    screen = io.StringIO()
    console = Console(width=200, file=screen)
    rows = [{**row, "decision_us": None} for row in result.rows]
    first, last = result.seeds[0], result.seeds[-1]
    title = f"{result.scenario.name}, {len(result.seeds):,} days (seeds {first} to {last})"
    console.print(table(rows, title, 200))
    return screen.getvalue() + finding(result.rows, result.level)


def words(text: str) -> list[str]:
    return [word for word in text.replace("─", " ").split() if word != "decision"]


def test_file_has_at_most_60_lines_and_the_title_says_so() -> None:
    assert len([line for line in the_file().splitlines() if line.strip()]) <= LINES
    assert f"in {LINES} lines" in PAGE


def test_file_is_formatted_and_clean(tmp_path: Path) -> None:
    path = tmp_path / "tutorial.py"
    path.write_text(the_file(), encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    subprocess.run([*ruff, "format", "--check", *options, path], check=True)
    # What a tutorial has no docstrings for, the page has prose for.
    subprocess.run([*ruff, "check", *options, "--ignore", "D", path], check=True)


def test_file_uses_no_learner() -> None:
    imported = re.findall(r"^(?:import|from) (\w+)", the_file(), re.MULTILINE)
    assert imported == ["gymnasium", "numpy", "execution_env"]


def test_prompt_shows_what_happens() -> None:
    (session,) = blocks("pycon")
    example = doctest.DocTestParser().get_doctest(session, {}, "prompt", "tutorial.md", 0)
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.slow
def test_short_training_beats_the_linear_programme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FULL in the_file()
    trained(the_file().replace(FULL, QUICK), tmp_path)
    result = compared(["lp", "tutorial:make"], tmp_path, 200, monkeypatch)
    (row,) = (row for row in result.rows if row["policy"] == "tutorial:make")
    assert row["diff_vs_lp_ci_high"] < 0


@pytest.mark.slow
def test_page_has_the_digits_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = trained(the_file(), tmp_path)
    training, shown = blocks("text")
    assert printed == training
    policies = ["lp", "lp-buffered", "tutorial:make"]
    result = compared(policies, tmp_path, 10_000, monkeypatch)
    assert words(shown) == words(as_printed(result))
