from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluate
from agents.commands import compare as command_of
from agents.evaluation import compare, gallery
from agents.evaluation.allocation.columns import COMPARISON_COLUMNS
from agents.evaluation.gallery import PICTURES
from agents.learners import LEARNERS, Q_LEARNING
from agents.policy import Policy
from agents.policy import loading as policies
from agents.rules import Twap
from agents.storage.run_directory import RunConfig, new_config, write_config
from execution_env import Scenario, load_scenario, scenario_to_toml
from tests.evaluation.running import complaint, output

ROOT = Path(__file__).parents[2]
SMALL = ["--set", "order.buckets=3", "order.size=2000", "--episodes", "20", "--no-figures"]
BASELINE = load_scenario("baseline")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, without runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes runs of a kind of its own in runs/."""

    def load(directory: Path, config: RunConfig) -> Policy:
        return Twap(config.scenario)

    module = type(sys)("fake_loader")
    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_loader", module)
    fake = replace(LEARNERS[Q_LEARNING], loader="fake_loader:load")
    monkeypatch.setitem(LEARNERS, "fake", fake)

    def make(name: str, scenario: Scenario = BASELINE, seed: int = 0) -> Path:
        path = Path("runs") / name
        path.mkdir(parents=True)
        write_config(path, new_config("fake", scenario, seed, {}))
        return path

    return make


# What it does.


@pytest.mark.parametrize("word", [[], ["compare"]])
def test_results_are_printed_and_written(
    capsys: pytest.CaptureFixture[str], word: list[str]
) -> None:
    shown, noted = output(
        capsys, *word, "--policies", "twap", "all-passive", *SMALL, "--out", "a/b"
    )
    assert "baseline, 20 days (seeds 1000000 to 1000019)" in shown
    for name in ("twap", "all-passive", "lp", "hindsight (bound)", "clairvoyant (bound)"):
        assert name in shown
    assert "Best is " in shown
    assert re.search(r"Wrote comparison\.csv, comparison\.md and episodes\.csv to a/b", noted)
    assert sorted(os.listdir("a/b")) == ["comparison.csv", "comparison.md", "episodes.csv"]

    scenario = load_scenario("baseline", {"order.buckets": 3, "order.size": 2000})
    result = compare(["twap", "all-passive"], scenario, range(1_000_000, 1_000_020))
    rows = table(Path("a/b/comparison.csv"))
    assert list(rows[0]) == list(COMPARISON_COLUMNS)
    for row, right in zip(rows, result.rows, strict=True):
        for key in set(COMPARISON_COLUMNS) - {"decision_us"}:
            assert row[key] == ("" if right[key] is None else str(right[key]))
    days = table(Path("a/b/episodes.csv"))
    assert list(days[0]) == ["seed", *(row["policy"] for row in rows)]
    assert [int(day["seed"]) for day in days] == result.seeds
    objectives = dict(zip(result.names, result.objectives, strict=True)) | result.bounds
    for name, numbers in objectives.items():
        assert np.array_equal([float(day[name]) for day in days], numbers)


def test_the_page_has_the_command_that_makes_it(
    capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    mine = elsewhere / "my own.toml"
    mine.write_text(scenario_to_toml(load_scenario("textbook", {"name": "mine"})))
    arguments = ["--scenario", str(mine), "--policies", "x=twap", "--first-seed", "0"]
    output(
        capsys,
        *arguments,
        "--episodes",
        "8",
        "--set",
        "costs.basis=filled",
        "--no-figures",
        "--out",
        "first",
    )
    page = Path("first/comparison.md").read_text()
    assert page.startswith("# mine: policies compared\n")
    assert "8 days, seeds 0 to 7." in page
    assert re.search(r"execution_env \S+, python \S+, .*, scipy \S+, torch .*; commit \w+\.", page)
    assert "| x |" in page
    assert "Best is " in page
    (command,) = re.findall(r"^    (python evaluate\.py .*)$", page, re.MULTILINE)
    before = Path("first/episodes.csv").read_text()
    Path("first/episodes.csv").write_text("old")
    output(capsys, *shlex.split(command)[2:])
    assert Path("first/episodes.csv").read_text() == before


def test_figures_are_drawn_and_shown_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    small = [word for word in SMALL if word != "--no-figures"]
    _, noted = output(capsys, "--policies", "twap", "dp", *small, "--out", "out")
    assert "comparison.md and episodes.csv, with figures, to out" in noted
    page = Path("out/comparison.md").read_text()
    shown = re.findall(r"!\[.+?\]\((.+?)\)", page)
    assert shown == [name for name in PICTURES if name != "learning_curves.png"]
    assert {path.name for path in Path("out").glob("*.png")} == set(shown)
    for name in shown:
        assert (Path("out") / name).read_bytes().startswith(b"\x89PNG")
    assert "--no-figures" not in page


def test_many_days_are_compared_without_figures_of_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MOST_ROLLOUT_BYTES", 1)
    small = [word for word in SMALL if word != "--no-figures"]
    _, noted = output(capsys, "--policies", "twap", *small, "--out", "out")
    assert "no memory for figures of what was posted and filled" in noted
    left = {path.name for path in Path("out").glob("*.png")}
    assert left == {"objectives.png", "differences.png", "heat_map.png"}


def test_the_same_command_twice(capsys: pytest.CaptureFixture[str]) -> None:
    results = []
    for folder in ("one", "two"):
        output(capsys, "--policies", "random", "dp", "lp-scenario", *SMALL, "--out", folder)
        rows = [row | {"decision_us": ""} for row in table(Path(folder) / "comparison.csv")]
        results.append((rows, (Path(folder) / "episodes.csv").read_text()))
    assert results[0] == results[1]


def test_without_arguments_everything_is_compared(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., Path],
) -> None:
    names = [name for name in policies.BUILT_IN if name not in ("dp-fine", "dp-adaptive")]
    monkeypatch.setattr(policies, "BUILT_IN", {name: policies.BUILT_IN[name] for name in names})
    monkeypatch.setattr("agents.evaluation.allocation.played_days.EPISODES", 5)
    scenario = load_scenario("baseline", {"order.buckets": 3, "order.size": 2000})
    run("good", scenario), run("of another", load_scenario("textbook"))
    _, noted = output(capsys, *SMALL)
    assert "Found in runs: good." in noted
    rows = table(Path("runs/comparison-baseline/comparison.csv"))
    expected = {*policies.policy_names(scenario), "good", "clairvoyant", "hindsight"}
    assert {row["policy"] for row in rows} == expected
    page = Path("runs/comparison-baseline/comparison.md").read_text()
    assert "good=runs/good" in page


def test_without_runs_a_line_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    def given(scenario: Scenario, folder: Path) -> Any:
        return ["twap"], real(scenario, folder)[1]

    real = command_of.everything
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_of, "everything", given)
        _, noted = output(capsys, *SMALL)
    assert "No run in runs was trained on this scenario; python train.py makes one." in noted


def test_a_run_from_elsewhere(capsys: pytest.CaptureFixture[str], run: Callable[..., Path]) -> None:
    path = run("first", load_scenario("baseline", {"name": "calm", "liquidity.sd": 0.0}))
    arguments = ["--episodes", "5", "--policies", f"mine={path}", "--no-figures", "--out", "out"]
    _, noted = output(capsys, *arguments)
    differs = "mine was trained on another scenario, calm: liquidity.sd 0.0, here "
    assert differs in noted
    assert differs in Path("out/comparison.md").read_text()


def test_a_policy_from_where_the_user_is(
    capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    (elsewhere / "my_policies.py").write_text(
        "import numpy as np\n"
        "class Model:\n"
        "    def predict(self, observation, deterministic):\n"
        "        return np.zeros(len(observation), int), None\n"
        "def make(scenario): return Model()\n"
    )
    shown, _ = output(capsys, "--policies", "my_policies:make", *SMALL, "--out", "out")
    assert "my_policies:make" in shown
    sys.modules.pop("my_policies", None)


def test_labels_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    shown, _ = output(capsys, "--policies", "[red]x=twap", *SMALL, "--out", "out")
    assert "[red]x" in shown


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["compare", "-h"]):
        with pytest.raises(SystemExit) as stopped:
            evaluate.main(arguments)
        assert stopped.value.code == 0
        shown = capsys.readouterr().out
        for word in (*policies.BUILT_IN, "passive-then-sweep", "twap", "random", "--first-seed"):
            assert word in shown
        assert "python evaluate.py --policies lp twap runs/first --episodes 1000" in shown


def test_from_a_shell_into_a_pipe(elsewhere: Path) -> None:
    words = ["--policies", "twap", *SMALL, "--out", "out"]
    found = subprocess.run(
        [sys.executable, str(ROOT / "evaluate.py"), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in found.stdout + found.stderr
    assert "gap to clairvoyant" in found.stdout
    assert len(found.stderr.splitlines()) == 1  # no bars


# What can go wrong.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--episodes", "0"], ["--episodes: 0 must be a whole number of at least 1"]),
        (["--episodes", "-1"], ["--episodes: -1 must be"]),
        (["--episodes", "1e4"], ["--episodes: 1e4 must be"]),
        (["--episodes", "1" + 30 * "0"], ["000: must be at most 10,000,000."]),
        (["--episodes", "10000001"], ["--episodes 10000001: must be at most 10,000,000."]),
        (["--first-seed", "-5"], ["--first-seed: -5 must be a whole number of at least 0"]),
        (["--set", "order.buckets"], ["--set order.buckets: must be KEY=VALUE"]),
        (["--set", "order.bukets=3"], ["order.bukets", 'Did you mean "buckets"?']),
        (["--set", "order.buckets=three"], ['order.buckets = "three": must be a whole number']),
        (["--scenario", "baselin"], ['scenario = "baselin"', 'Did you mean "baseline"?']),
        (["--scenario", "none/such.toml"], ["none/such.toml: there is no such file"]),
        (["--policies", "twpa"], ['"twpa": is no built-in policy', 'Did you mean "twap"?']),
        (["--policies", "clairvoyant"], ["is a bound"]),
        (["--policies", "runs/none"], ["runs/none: there is no such directory"]),
        (["--policies", "twap", "twap"], ["policy twap: is there twice"]),
        (["--policies", "none_such:make"], ["cannot be imported"]),
        (["--policis", "twap"], ["Did you mean --policies?"]),
        (["--policy", "twap"], ["Did you mean --policies?"]),
        (["compar"], ["no such command", 'Did you mean "compare"?']),
        (["--out", ""], ["--out is empty"]),
        (["--out", "file"], ["file: it, or a folder above it, is a file"]),
        (["--out", "file/below"], ["is a file. Choose another --out"]),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    Path("file").write_text("")
    line = complaint(capsys, *arguments)
    for word in words:
        assert word in line


def test_a_folder_that_cannot_be_written_shows_before_anything_is_computed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_of, "compare", lambda *_, **__: pytest.fail("was computed"))
    Path("file").write_text("")
    assert "is a file" in complaint(capsys, "--policies", "twap", "--out", "file")


def test_runs_that_cannot_be_compared(
    capsys: pytest.CaptureFixture[str], run: Callable[..., Path]
) -> None:
    path = run("first", load_scenario("textbook"))
    line = complaint(capsys, "--policies", str(path))
    assert "was trained for something else than baseline: buckets 5, here 10." in line
    assert "Play what it was trained on with --scenario textbook, or train on" in line
    (path / "config.json").write_text("{}")
    assert "is of another program" in complaint(capsys, "--policies", str(path))
    assert "there is no such directory" in complaint(capsys, "--policies", "a=runs/second")


@pytest.mark.parametrize("where", ["agents.bounds.hindsight", "agents.rules.Twap.decide"])
def test_an_interrupt_leaves_earlier_results(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    output(capsys, "--policies", "twap", *SMALL, "--out", "out")
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    monkeypatch.setattr(where, interrupted)
    assert evaluate.main(["--policies", "twap", *SMALL, "--out", "out", "--first-seed", "3"]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "stopped; nothing was written, earlier results are untouched." in captured.err
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_an_interrupt_while_writing_does_not_say_that_nothing_was_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    words = ["--policies", "twap", *SMALL, "--out", "out"]
    with monkeypatch.context() as patch:
        patch.setattr(command_of, "episodes_csv", interrupted)
        assert evaluate.main(words) == 130
    said = capsys.readouterr().err
    assert "stopped while writing" in said
    assert (
        "comparison.csv, episodes.csv and comparison.md in out may be new or as they were" in said
    )
    assert os.listdir("out") == []
    monkeypatch.setattr(command_of, "table", interrupted)
    assert evaluate.main(words) == 130
    assert "stopped; the results are in out." in capsys.readouterr().err
    assert sorted(os.listdir("out")) == ["comparison.csv", "comparison.md", "episodes.csv"]


def test_a_run_called_like_a_built_in_policy(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., Path],
) -> None:
    monkeypatch.setattr(policies, "BUILT_IN", {"lp": policies.BUILT_IN["lp"]})
    run("lp", load_scenario("baseline", {"order.buckets": 3, "order.size": 2000}))
    _, noted = output(capsys, *SMALL)
    assert "Found in runs: runs/lp." in noted
    names = {row["policy"] for row in table(Path("runs/comparison-baseline/comparison.csv"))}
    assert {"lp", "runs/lp"} <= names
