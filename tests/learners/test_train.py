"""The command line of train.py: what it prints, and that every mistake is one line and exit code 2."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import train
from agents.policy import load_policy
from agents.q_learning.algorithm import Hyperparameters
from agents.q_learning.orders import Trainer
from agents.q_learning.run import ORDERS, SAVED, Settings
from agents.storage import files as storage
from agents.storage.files import load_arrays
from agents.storage.run_directory import FILES, read_config, read_progress
from execution_env import load_scenario
from execution_env.allocation.market.day_stream import stream_generator
from tests.learners.faster import faster

ROOT = Path(__file__).parents[2]
SMALL = ["--set", "order.size=3000", "order.buckets=3", "volume.total=9000"]
SHORT = ["--scenario", "two-algos", *SMALL, "--episodes", str(20 * ORDERS), "--bins", "3"]


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster({"VALIDATION_DAYS": 64, "CURVE_POINTS": 8, "MEASURED_BLOCKS": 4}, patch.setattr)
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


def copied(finished: Path, *left_out: str) -> Path:
    directory = Path("copy")
    directory.mkdir()
    for name in os.listdir(finished):
        if name not in left_out:
            (directory / name).write_bytes((finished / name).read_bytes())
    return directory


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that these arguments lead to."""
    capsys.readouterr()
    try:
        code = train.main(list(arguments))
    except SystemExit as stopped:
        code = stopped.code  # type: ignore[assignment]
    captured = capsys.readouterr()
    assert code == 2, (code, captured)
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if not line.startswith("training q-")]
    assert line.startswith("error: ")
    assert "Traceback" not in line
    return line


# What it does.


def test_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main([*SHORT, "--out", "runs/mine"]) == 0
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    assert re.fullmatch(
        r"runs/mine: objective \d+\.\d{4} \[\d+\.\d{4}, \d+\.\d{4}\] on 64 validation days, after "
        r"122,880 updates in \d+\.\d s",
        line,
    )
    first, last = captured.err.splitlines()
    assert first == "training q-learning on two-algos, seed 0, 40,960 orders -> runs/mine"
    command = last.removeprefix("compare it on held-out days: ")
    assert shlex.split(command) == [
        *("python", "evaluate.py", "--scenario", "two-algos", *SMALL),
        *("--policies", "lp", "dp", "runs/mine"),
    ]
    assert sorted(os.listdir("runs/mine")) == sorted(FILES)
    with Image.open("runs/mine/learning_curve.png") as image:
        image.verify()
    assert load_policy("runs/mine").train_steps == 20 * ORDERS * 3


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
    overrides = {"order.size": 3000, "order.buckets": 3, "volume.total": 9000}
    assert config.scenario == load_scenario("two-algos", overrides)
    plain = read_config(finished).hyperparameters
    assert plain == Settings(20 * ORDERS, 3).flat()


def test_the_word_may_be_given() -> None:
    assert train.main(["q-learning", *SHORT, "--out", "b"]) == 0


def test_a_scenario_file_and_default_directories() -> None:
    from execution_env import scenario_to_toml

    Path("my case.toml").write_text(scenario_to_toml(load_scenario("known-rates")))
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
    assert train.main(["--scenario", "known-rates", "--episodes", "1", "--out", name]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{name}: objective ")
    assert captured.out.count("\n") == 1
    assert captured.err.splitlines()[0].endswith(f" -> {name}")


def test_the_same_seed_gives_the_same_policy(finished: Path) -> None:
    assert train.main([*SHORT, "--seed", "3", "--out", "again"]) == 0
    assert train.main([*SHORT, "--seed", "4", "--out", "other"]) == 0
    values = [
        load_arrays(directory / "checkpoint.npz", SAVED)["values"]
        for directory in (finished, Path("again"), Path("other"))
    ]
    assert np.array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


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


# Resuming.


def interrupted(monkeypatch: pytest.MonkeyPatch, directory: str) -> None:
    """A run that Ctrl-C stopped half-way."""
    original, played = Trainer.block, [0]

    def playing(self: Trainer, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        played[0] += 1
        if played[0] == 20:
            os.kill(os.getpid(), 2)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "block", playing)
        assert train.main([*SHORT, "--seed", "3", "--out", directory]) == 130


def test_ctrl_c_and_resume(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, "run")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == (
        "stopped. What was learned is kept: the same command with --resume goes on."
    )
    assert train.main(["--resume", "--out", "run"]) == 0
    said = capsys.readouterr()
    first, last = said.err.splitlines()
    assert first == "going on with q-learning on two-algos, seed 3, 40,960 orders -> run"
    assert "--scenario two-algos " in last
    ours, theirs = (load_arrays(d / "checkpoint.npz", SAVED) for d in (Path("run"), finished))
    for name in ours:
        assert name == "seconds" or np.array_equal(ours[name], theirs[name]), name
    rows = [[row | {"seconds": 0} for row in read_progress(d)] for d in (Path("run"), finished)]
    assert rows[0] == rows[1]


def test_the_same_command_with_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, "run")
    assert train.main([*SHORT, "--seed", "3", "--out", "run", "--resume"]) == 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--seed", "4"], "seed = 3"),
        (["--seed", "0"], "seed = 3"),  # the default, but said
        (["--scenario=baseline"], "scenario = two-algos"),
        (["--episodes", "25000000"], f"episodes = {20 * ORDERS}"),
        (["--episodes", "99999"], f"episodes = {20 * ORDERS}"),
        (["--bins", "2"], "bins = 3"),
        (["--start", "pessimistic"], "start = optimistic"),
        (["--scenario", "drifting"], "scenario = two-algos"),
        (["--scenario", "two-algos"], "scenario = two-algos"),
        (["--set", "order.buckets=4"], "scenario = two-algos"),
        (["--omega", "0.6"], "omega = "),
        (["--step-size", "0.6"], "step-size = None"),
        (["--double"], "double = False"),
        (["--final-epsilon", "0.01"], "final-epsilon = "),
        (["--epsilon-schedule", "exponential"], "epsilon-schedule = linear"),
    ],
)
def test_resuming_cannot_change_a_run(
    options: list[str], word: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = copied(finished)
    line = complaint(capsys, "--resume", "--out", str(directory), *options)
    assert line.startswith(f"error: --resume: the run in {directory} has {word}")
    assert "Leave the option out, or choose another --out." in line


def test_resuming_a_finished_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = copied(finished, "learning_curve.png")
    before = {name: (directory / name).read_bytes() for name in os.listdir(directory)}
    assert train.main(["--resume", "--out", str(directory)]) == 0
    captured = capsys.readouterr()
    assert "this run is finished" in captured.err
    assert captured.out.startswith(f"{directory}: objective ")
    assert (directory / "learning_curve.png").exists()
    assert before == {name: (directory / name).read_bytes() for name in before}


def test_resuming_where_there_is_nothing_starts(capsys: pytest.CaptureFixture[str]) -> None:
    """What was killed before it wrote anything is resumed by the same command."""
    assert train.main([*SHORT, "--resume", "--out", "new"]) == 0
    assert capsys.readouterr().err.startswith("training q-learning")


@pytest.mark.parametrize("missing", ["progress.csv", "policy.npz"])
def test_files_that_somebody_deleted(
    missing: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = copied(finished, missing)
    assert train.main(["--resume", "--out", str(directory)]) == 0
    assert sorted(os.listdir(directory)) == sorted(FILES)
    arrays = [load_arrays(d / "checkpoint.npz", SAVED) for d in (directory, finished)]
    assert np.array_equal(arrays[0]["values"], arrays[1]["values"])


def test_damage(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = copied(finished)

    def after(name: str, content: bytes | None) -> str:
        path, good = directory / name, (directory / name).read_bytes()
        path.unlink() if content is None else path.write_bytes(content)
        line = complaint(capsys, "--resume", "--out", str(directory))
        path.write_bytes(good)
        assert name in line
        return line

    config = json.loads((directory / "config.json").read_text())
    checkpoint = (directory / "checkpoint.npz").read_bytes()
    assert "it has no config.json" in after("config.json", None)
    assert "not valid JSON" in after("config.json", b"{")
    assert "another program" in after("config.json", b"[]")
    other = config | {"hyperparameters": {"learning_rate": 3e-4}}
    assert "not those of q-learning" in after("config.json", json.dumps(other).encode())
    other = config | {"seed": 8}
    text = json.dumps(other).encode()
    (directory / "config.json").write_bytes(text)
    line = complaint(capsys, "--resume", "--out", str(directory))
    assert "checkpoint.npz: does not fit this run's config.json" in line
    (directory / "config.json").write_text(json.dumps(config))
    assert "damaged" in after("checkpoint.npz", checkpoint[: len(checkpoint) // 2])
    assert "damaged" in after("checkpoint.npz", b"")
    policy = (directory / "policy.npz").read_bytes()
    assert "another program or version" in after("checkpoint.npz", policy)
    assert "its columns must be" in after("progress.csv", b"x\n1\n")
    assert "must be 8 numbers" in after("progress.csv", b"a,b,c,d,e,f,g,h\n1\n")
    (directory / "config.json").write_text(json.dumps(config))
    assert train.main(["--resume", "--out", str(directory)]) == 0


# Mistakes.


def test_a_directory_that_holds_a_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = copied(finished)
    line = complaint(capsys, *SHORT, "--out", str(directory))
    assert f"{directory}: holds another run" in line
    assert "--resume" in line


def test_directories_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert "file: it, or a folder above it, is a file." in complaint(capsys, "--out", "file")
    assert "is a file" in complaint(capsys, "--out", "file/below")
    assert "no path" in complaint(capsys, "--out", "a\0b")
    assert os.listdir() == ["file"]


def test_a_directory_that_may_not_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage.tempfile, "TemporaryFile", forbidden)
    line = complaint(capsys, *SHORT, "--out", "locked")
    assert "locked: cannot be written (Permission denied)" in line


def test_a_disk_that_is_full_during_the_training(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = storage.atomic_write

    def full(path: Any, write: Any) -> None:
        if Path(path).name == "checkpoint.npz":
            raise storage.unwritable(Path(path), OSError(28, "No space left on device"))
        original(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "atomic_write", full)
        line = complaint(capsys, *SHORT, "--seed", "3", "--out", "run")
    assert "run/checkpoint.npz: cannot be written (No space left on device)" in line
    assert "Free some space" in line
    assert train.main(["--resume", "--out", "run"]) == 0


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
    right = running("--resume", "--out", str(copied(finished)))
    assert right.returncode == 0
    assert right.stdout.startswith("copy: objective ")
    assert right.stdout.count("\n") == 1


def test_training_uses_its_own_streams(finished: Path) -> None:
    """Training days and exploration; numbered days would be key 0, validation 2."""
    checkpoint = load_arrays(finished / "checkpoint.npz", SAVED)
    starts = [stream_generator(3, key).bit_generator.state["state"]["state"] for key in (1, 3)]
    for name, start in zip(("days", "exploration"), starts, strict=True):
        assert checkpoint[name].shape == start.shape
        # The last word of an SFC64 state counts the numbers drawn.
        assert checkpoint[name][3] > start[3] >= 1
