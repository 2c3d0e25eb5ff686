"""Q-learning in train.py: its options, directories, and that mistakes are one line and exit code 2."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import train
from agents.q_learning.algorithm import Hyperparameters
from agents.q_learning.run import FIELDS, ORDERS, Settings
from agents.storage.files import load_arrays
from agents.storage.run_directory import read_config
from agents.training import run as training_run
from execution_env import load_scenario
from execution_env.allocation.market.day_stream import stream_generator
from tests.learners.commands import complaint
from tests.learners.faster import faster

ROOT = Path(__file__).parents[2]
SIZES = {"order.size": 3000, "order.buckets": 3, "volume.total": 9000}
SMALL = ["--set", *(f"{key}={SIZES[key]}" for key in SIZES)]
SHORT = ["--scenario", "two-algos", *SMALL, "--episodes", str(2 * ORDERS), "--bins", "3"]


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster({"VALIDATION_DAYS": 64, "CURVE_POINTS": 8, "MEASURED_BLOCKS": 4}, patch.setattr)
        # Drawing a curve takes longer than these trainings, and no test here looks at one.
        patch.setattr(training_run, "learning_curve", lambda *_: b"")
        yield


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be written to the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trained") / "run"
    assert train.main([*SHORT, "--seed", "3", "--out", str(directory)]) == 0
    return directory


def test_options_arrive(finished: Path) -> None:
    numbers = {
        "omega": 0.7,
        "step_size": 0.2,
        "epsilon": 0.9,
        "final_epsilon": 0.1,
        "discount": 0.9,
        "trace": 0.5,
        "caution": 0.2,
    }
    numbers |= {"epsilon_share": 0.5, "bins": 2, "episodes": 2 * ORDERS}
    choices = {"epsilon_schedule": "exponential", "double": True, "start": "pessimistic"}
    options: dict[str, Any] = numbers | choices
    names = {field.name for field in fields(Hyperparameters)} | {"start", "bins", "episodes"}
    assert set(options) == names
    words = []
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    assert train.main([*SHORT[:6], "--seed", "7", "--out", "a", *words]) == 0
    config = read_config("a")
    assert config.hyperparameters == options
    assert config.seed == 7
    assert config.scenario == load_scenario("two-algos", SIZES)
    plain = read_config(finished).hyperparameters
    assert plain == Settings(2 * ORDERS, 3).flat()


def test_a_scenario_file_and_default_directories() -> None:
    from execution_env import scenario_to_toml

    Path("my case.toml").write_text(scenario_to_toml(load_scenario("known-rates", SIZES)))
    arguments = ["--scenario", "my case.toml", "--episodes", "1", "--seed", "5"]
    for _ in range(3):
        assert train.main(arguments) == 0
    names = [f"q-learning-my case-seed5{suffix}" for suffix in ("", "-2", "-3")]
    assert sorted(os.listdir("runs")) == names
    before = Path("runs", names[-1], "policy.npz").stat().st_mtime_ns
    assert train.main([*arguments, "--resume"]) == 0  # the last one, which is finished
    assert sorted(os.listdir("runs")) == names
    assert Path("runs", names[-1], "policy.npz").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["run[red]", "[/x]", "long" * 60])
def test_directories_with_odd_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--scenario", "known-rates", *SMALL, "--episodes", "1", "--out", name]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{name}: objective ")
    assert captured.out.count("\n") == 1
    assert captured.err.splitlines()[0].endswith(f" -> {name}")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", shown).split())
    for option in ("scenario", "set", "seed", "out", "resume", "episodes", "bins", "start"):
        assert f"--{option} " in text
    for field in fields(Hyperparameters):
        assert f"--{field.name.replace('_', '-')} " in text
    for words in (
        "A shipped name (python -m execution_env lists them) or the path of a TOML file.",
        "Values of the scenario to change, such as order.buckets=20.",
        "Of the training days and of exploration.",
        "Go on with the run in --out, with its own settings.",
        "Orders to train on, rounded up to whole blocks of 2,048; every day is played four times.",
        "Step size n^-omega at the n-th visit of a state and action; in (0, 1].",
        "Double Q-learning: two tables, each judging the other's choice.",
        "(default: baseline)",
    ):
        assert words in text
    assert "\n  python train.py --scenario drifting --seed 1 --episodes 20000000\n" in shown
    assert "\n  python train.py --resume --out runs/no-estimates\n" in shown


# Mistakes.


def test_directories_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert "file: it, or a folder above it, is a file." in complaint(capsys, "--out", "file")
    assert "is a file" in complaint(capsys, "--out", "file/below")
    assert "no path" in complaint(capsys, "--out", "a\0b")
    assert os.listdir() == ["file"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenario", "baselin"], ['"baselin"', "baseline"]),
        (["--scenario", "missing.toml"], ["missing.toml"]),
        (["--set", "order.buckets"], ["--set order.buckets: must be KEY=VALUE"]),
        (["--set", "order.buckets=0"], ["order.buckets = 0"]),
        (["--set", "order.bukets=3"], ["order.bukets: unknown key", '"buckets"']),
        (["--set", "a.b.c=3"], ["a"]),
        (["--set", "costs.basis=x", "costs.basis=y"], ["is set twice"]),
        (["--seed", "-1"], ["--seed: -1 must be a whole number of at least 0"]),
        (["--seed", "1.5"], ["--seed: 1.5 must be"]),
        (["--episodes", "0"], ["--episodes: 0 must be a whole number of at least 1"]),
        (["--episodes", "1e6"], ["--episodes: 1e6 must be"]),
        (["--episodes", "9" * 20], ["episodes = 99", "must be a whole number from 1 to 2,147"]),
        (["--bins", "0"], ["--bins: 0 must be"]),
        (["--bins", "65"], ["bins = 65: must be a whole number from 1"]),
        (["--start", "hopeful"], ["--start", "hopeful"]),
        (["--omega", "2"], ["omega = 2.0: must be a number in (0, 1]"]),
        (["--omega", "fast"], ["--omega", "fast"]),
        (["--omega", "nan"], ["omega = nan: must be"]),
        (["--step-size", "0"], ["step_size = 0.0: must be"]),
        (["--epsilon", "1.5"], ["epsilon = 1.5: must be"]),
        (["--final-epsilon", "-1"], ["final_epsilon = -1.0: must be"]),
        (["--epsilon", "0.1"], ["final_epsilon = ", "to epsilon = 0.1"]),
        (["--epsilon-share", "2"], ["epsilon_share = 2.0: must be"]),
        (["--epsilon-schedule", "cubic"], ["--epsilon-schedule", "cubic"]),
        (["--discount", "-0.1"], ["discount = -0.1: must be"]),
        (["--episode", "10"], ["--episode", "Did you mean --episodes?"]),
        (["--out"], ["--out"]),
        (["--out", ""], ["--out is empty: give a directory"]),
        (["--resume", "yes"], ["yes"]),
        (["q-lerning"], ['"q-lerning": no such command. Did you mean "q-learning"?']),
        (["--seed", "1", "--seed", "2"], ["--seed: given twice"]),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint(capsys, *arguments)
    for word in words:
        assert word in line, line
    assert os.listdir() == []


@pytest.mark.slow
def test_processes(finished: Path) -> None:
    """The script itself: exit codes and streams."""

    def running(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    wrong = running("--scenario", "nowhere")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: ")
    assert wrong.stderr.count("\n") == 1
    shutil.copytree(finished, "copy")
    right = running("--resume", "--out", "copy")
    assert right.returncode == 0
    assert right.stdout.startswith("copy: objective ")
    assert right.stdout.count("\n") == 1


def test_training_uses_its_own_streams(finished: Path) -> None:
    """Training days and exploration; numbered days would be key 0, validation 2."""
    checkpoint = load_arrays(finished / "checkpoint.npz", FIELDS)
    starts = [stream_generator(3, key).bit_generator.state["state"]["state"] for key in (1, 3)]
    for name, start in zip(("days", "exploration"), starts, strict=True):
        assert checkpoint[name].shape == start.shape
        # The last word of an SFC64 state counts the numbers drawn.
        assert checkpoint[name][3] > start[3] >= 1
