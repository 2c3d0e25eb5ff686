"""Results of something else in --out are replaced only with --overwrite."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import evaluate
from agents.commands import compare as compare_command
from agents.commands import frontier as frontier_command
from agents.evaluation.allocation.comparison import compare
from tests.evaluation.running import complaint, output

SMALL = ["--set", "order.buckets=3", "order.size=2000", "--episodes", "20"]
OUT = [*SMALL, "--out", "out"]
COMPARE = ["--policies", "twap", *OUT]
FRONTIER = ["frontier", "--policies", "lp", "twap", "--penalties", "0", "2", *OUT]

COMPARE_PAGE = """# baseline: policies compared

    python evaluate.py compare --scenario baseline --policies twap --episodes 20 --first-seed 1000000 \
--set order.buckets=3 order.size=2000 --no-figures --out out

Text.
"""

FRONTIER_PAGE = """# baseline: what staying inside the envelope costs

    python evaluate.py frontier --scenario baseline --policies lp twap --penalties 0 2 --episodes 20 \
--first-seed 1000000 --set order.buckets=3 order.size=2000 --out out
"""


@pytest.fixture(autouse=True)
def _earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with earlier results in out/, and compute nothing."""
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out/comparison.md").write_text(COMPARE_PAGE)
    Path("out/comparison.csv").write_text("policy,scenario\n")
    Path("out/frontier.md").write_text(FRONTIER_PAGE)

    def computed(*_: Any, **__: Any) -> None:
        raise ValueError("was computed")

    monkeypatch.setattr(compare_command, "compare", computed)
    monkeypatch.setattr(frontier_command, "frontier", computed)


OTHERS = [
    ["--policies", "lp", *OUT],
    ["--policies", "twap", "lp", *OUT],
    [*COMPARE, "--scenario", "vwap-u-shape"],
    [*COMPARE, "--set", "order.lot_size=50"],
    ["frontier", "--policies", "lp", "--penalties", "0", "2", *OUT],
    ["frontier", "--policies", "lp", "twap", "--penalties", "0", "5", *OUT],
]


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_other_results_are_not_replaced_unasked(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    line = complaint(capsys, *words)
    there = "--scenario baseline --set order.buckets=3 order.size=2000 --policies "
    there += "lp twap --penalties 0 2" if "frontier" in words else "twap"
    assert line == (
        f"error: out: holds results of {there}. Choose another --out, or replace them with "
        "--overwrite."
    )
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    assert "was computed" in complaint(capsys, *words, "--overwrite")


@pytest.mark.parametrize(
    "words",
    [
        COMPARE,
        [*COMPARE, "--first-seed", "5", "--no-figures"],
        FRONTIER,
        ["frontier", "--policies", "twap", "lp", "--penalties", "2", "0", *OUT],
        ["--policies", "twap", "--set", "order.size=2000", "order.buckets=3", "--out", "out"],
    ],
)
def test_the_same_question_may_be_asked_again(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With other days, or in another order."""
    assert "was computed" in complaint(capsys, *words)


def test_the_default_folder_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").mkdir()
    Path("out").rename("runs/comparison-baseline")
    assert "was computed" in complaint(capsys, "--policies", "lp")


def test_results_that_do_not_say_of_what(capsys: pytest.CaptureFixture[str]) -> None:
    for page in (None, "no command", b"\xff\xfe", "    python evaluate.py 'no end"):
        if page is None:
            Path("out/comparison.md").unlink()
        else:
            content = page if isinstance(page, bytes) else page.encode()
            Path("out/comparison.md").write_bytes(content)
        line = complaint(capsys, *COMPARE)
        assert line.startswith("error: out: holds results ")
        assert line.endswith("Choose another --out, or replace them with --overwrite.")
    os.unlink("out/comparison.md")
    os.unlink("out/comparison.csv")
    assert "was computed" in complaint(capsys, *COMPARE)  # a frontier is no comparison


def test_a_page_of_ours_is_recognised(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``compare`` writes is what ``compare`` reads."""
    monkeypatch.setattr(compare_command, "compare", compare)
    rest = [*SMALL, "--no-figures", "--out", "new one"]
    output(capsys, "--policies", "a b=twap", *rest)
    output(capsys, "--policies", "a b=twap", *rest)
    line = complaint(capsys, "--policies", "lp", *rest)
    assert "--policies 'a b=twap'. Choose another --out" in line
    output(capsys, "--policies", "lp", *rest, "--overwrite")
    assert "--overwrite" not in Path("new one/comparison.md").read_text()


def test_sigterm_leaves_earlier_results(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    monkeypatch.setattr(
        compare_command, "compare", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert evaluate.main(COMPARE) == 143
    assert "stopped; nothing was written, earlier results are untouched." in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
