from __future__ import annotations

import errno
import json
import os
import platform
import re
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import execution_env
from agents.storage import run_directory
from agents.storage.files import RunError
from agents.storage.run_directory import (
    RunConfig,
    new_config,
    new_run_directory,
    read_config,
    read_progress,
    write_config,
    write_progress,
)
from execution_env import load_scenario
from tests.learners.complaints import one_line, only

# Configuration.


@pytest.fixture
def config() -> RunConfig:
    return new_config(
        "q-learning",
        load_scenario("vwap-u-shape", {"order.buckets": 12}),
        0,
        {"episodes": 10_000, "alpha": 0.1, "double": False, "bins": [2, 3], "note": "ü", "x": None},
    )


@pytest.mark.parametrize("name", execution_env.scenarios())
def test_a_config_comes_back(tmp_path: Path, config: RunConfig, name: str) -> None:
    config = RunConfig(**(vars(config) | {"scenario": load_scenario(name)}))
    write_config(tmp_path, config)
    assert read_config(tmp_path) == config
    assert only(tmp_path, "config.json")


def test_a_config_says_what_made_it(config: RunConfig) -> None:
    names = ["execution_env", "python", "numpy", "numba", "gymnasium", "highspy", "scipy"]
    names += ["torch", "stable-baselines3", "sb3-contrib"]
    assert list(config.versions) == names
    assert config.versions["numpy"] == np.__version__
    assert config.versions["python"] == platform.python_version()
    assert config.git_commit is None or re.fullmatch("[0-9a-f]{40,64}", config.git_commit)


def test_versions_are_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "highspy":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    names = ["execution_env", "python", "numpy", "numba", "gymnasium", "scipy"]
    names += ["torch", "stable-baselines3", "sb3-contrib"]
    assert list(run_directory.package_versions()) == names


@pytest.mark.parametrize("error", [FileNotFoundError, subprocess.TimeoutExpired("git", 10)])
def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert run_directory.git_commit() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": ""}, 'kind = "": must be a name such as'),
        ({"kind": "Q learning"}, 'kind = "Q learning"'),
        ({"kind": 3}, "kind = 3"),
        ({"seed": -1}, "seed = -1: must be a non-negative whole number"),
        ({"seed": 1.0}, "seed = 1.0"),
        ({"seed": True}, "seed = true"),
        ({"seed": None}, "seed = None"),
        ({"hyperparameters": [1]}, r"hyperparameters = \[1\]: must be names with finite numbers"),
        ({"hyperparameters": {"alpha": 1e999}}, "hyperparameters = "),
        ({"versions": {"numpy": 2}}, "versions = .*must be package names with version texts"),
        ({"versions": "2.0"}, "versions = "),
        ({"git_commit": "HEAD"}, 'git_commit = "HEAD": must be a commit hash'),
        ({"git_commit": 5}, "git_commit = 5"),
        ({"scenario": "baseline"}, 'scenario = "baseline": must be a scenario in full'),
        ({"scenario": {"name": "x"}}, r"scenario: \[order\]: missing section"),
        ({"format": 2}, "format = 2: only 1 can be read; use the version that wrote it"),
        ({"format": "1"}, 'format = "1": only 1 can be read'),
        ({"format": True}, "format = true"),
        ({"sed": 3}, r'"sed": unknown key. Did you mean "seed"\?'),
    ],
)
def test_a_config_with_a_wrong_value(
    tmp_path: Path, config: RunConfig, change: dict[str, Any], message: str
) -> None:
    write_config(tmp_path, config)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text()) | change
    path.write_text(json.dumps(content).replace("Infinity", "1e999"))
    with pytest.raises(RunError, match=message) as error:
        read_config(tmp_path)
    one_line(error, str(path), "Restore it from a copy")


KEYS = ["format", "kind", "scenario", "seed", "hyperparameters", "versions", "git_commit"]


@pytest.mark.parametrize("key", KEYS)
def test_a_config_that_lacks_a_key(tmp_path: Path, config: RunConfig, key: str) -> None:
    write_config(tmp_path, config)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    assert list(content) == KEYS
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=f"no {key}" if key == "format" else f"{key}: missing"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"format": 1, "kind"', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"format": NaN}', "NaN is no number in JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "of another program"),
        (b'{"editor.tabSize": 4}', "of another program"),
        (b"12", "of another program"),
    ],
)
def test_a_config_of_something_else(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=message) as error:
        read_config(tmp_path)
    one_line(error, str(tmp_path / "config.json"))


def test_a_config_nested_too_deeply(tmp_path: Path, config: RunConfig) -> None:
    write_config(tmp_path, config)
    path = tmp_path / "config.json"
    for depth in (300, 600, 900):
        nested = "[" * depth + "]" * depth
        text = path.read_text().replace(
            '"hyperparameters": {', f'"hyperparameters": {{"a": {nested},'
        )
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / "config.json").write_text(text)
        try:
            read_config(tmp_path / "deep")
        except RunError as error:
            assert "nested" in str(error) or "JSON" in str(error)  # noqa: PT017


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run directory, it has no config\.json") as error:
        read_config(tmp_path)
    one_line(error, str(tmp_path), "policy.npz", "learning_curve.png", "--out")
    with pytest.raises(RunError, match="there is no such directory"):
        read_config(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file, not a run directory"):
        read_config(tmp_path / "file")
    (tmp_path / "odd" / "config.json").mkdir(parents=True)
    with pytest.raises(RunError, match="cannot be read"):
        read_config(tmp_path / "odd")


# Progress.


def test_progress_comes_back_and_is_rewritten(tmp_path: Path) -> None:
    assert read_progress(tmp_path) == []
    rows: list[dict[str, float]] = [
        {"steps": 10**12, "objective": 0.1 + 0.2, "diff": float("inf")},
        {"steps": 3, "objective": -1e-300, "diff": -2.0},
    ]
    shuffled: dict[str, Any] = {"objective": -1e-300, "diff": -2.0, "steps": np.int64(3)}
    write_progress(tmp_path, [rows[0], shuffled])
    assert read_progress(tmp_path) == rows
    assert isinstance(read_progress(tmp_path)[0]["steps"], int)
    assert (tmp_path / "progress.csv").read_text().splitlines()[0] == "steps,objective,diff"
    write_progress(tmp_path, rows[:1])
    assert read_progress(tmp_path) == rows[:1]
    write_progress(tmp_path, [])
    assert read_progress(tmp_path) == []
    other: dict[str, Any] = {"other": np.float32(0.5)}
    write_progress(tmp_path, [other])
    assert read_progress(tmp_path) == [{"other": 0.5}]
    assert only(tmp_path, "progress.csv")


def test_progress_with_other_columns(tmp_path: Path) -> None:
    write_progress(tmp_path, [{"a": 1, "b": 2}])
    good = (tmp_path / "progress.csv").read_bytes()
    with pytest.raises(ValueError, match=r"row with columns \['a'\]: must be \['a', 'b'\]"):
        write_progress(tmp_path, [{"a": 1, "b": 2}, {"a": 1}])
    bad: Any = {"a": 1, "b": "two"}
    with pytest.raises(ValueError, match="b = 'two': must be a number"):
        write_progress(tmp_path, [bad])
    assert (tmp_path / "progress.csv").read_bytes() == good


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n3\n", "line 3: must be 2 numbers"),
        (b"a,b\n1,2\n3,4,5\n", "line 3: must be 2 numbers"),
        (b"a,b\n1,x\n", "line 2: must be 2 numbers"),
        (b"a,a\n1,2\n", "line 1: columns with one name"),
        (b'a,b\n"1,2\n', "no table"),
        (b"\xff\xfe\n", "no table"),
    ],
)
def test_progress_that_is_no_table_of_numbers(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "progress.csv").write_bytes(content)
    with pytest.raises(RunError, match=message) as error:
        read_progress(tmp_path)
    one_line(error, str(tmp_path / "progress.csv"), "Delete it")
    assert (tmp_path / "progress.csv").read_bytes() == content


# Directories.


def test_a_directory_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    assert new_run_directory(folder) == folder
    assert only(folder)
    assert new_run_directory(str(folder)) == folder  # empty still
    (folder / "notes.txt").write_text("mine")
    assert new_run_directory(folder) == folder
    assert new_run_directory(tmp_path / "second", resume=True).is_dir()


@pytest.mark.parametrize("name", run_directory.FILES)
def test_a_directory_with_another_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(RunError, match="holds another run") as error:
        new_run_directory(tmp_path)
    one_line(error, str(tmp_path), name, "Choose another --out", "--resume")
    assert new_run_directory(tmp_path, resume=True) == tmp_path
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("resume", [False, True])
def test_leftovers_of_killed_writes_are_removed(tmp_path: Path, resume: bool) -> None:
    for name in run_directory.FILES:
        (tmp_path / f".{name}.89abcdef.tmp").write_bytes(b"half")
    mine = ("notes.txt", ".notes.txt.89abcdef.tmp", ".policy.npz.tmp", ".policy.npz.backup.tmp")
    for name in mine:
        (tmp_path / name).write_text("mine")
    assert new_run_directory(tmp_path, resume) == tmp_path
    assert only(tmp_path, *mine)


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=r"is a file\. Choose another --out"):
            new_run_directory(path)
    with pytest.raises(RunError, match="--out is empty"):
        new_run_directory("")
    with pytest.raises(RunError, match="no path"):
        new_run_directory("a\0b")
    with pytest.raises(RunError, match="cannot be written"):
        new_run_directory(tmp_path / ("x" * 300))


def test_a_directory_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", forbidden)
        with pytest.raises(RunError, match=r"cannot be written \(Permission denied\)") as error:
            new_run_directory(tmp_path)
    one_line(error, str(tmp_path), "permissions")
    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(RunError, match="Permission denied"):
        new_run_directory(tmp_path / "run")
