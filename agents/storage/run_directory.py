"""Run directories, which hold the files of a training run.

A run directory holds

- ``config.json``: the full scenario, the kind of policy, hyperparameters, seed, versions, commit;
- ``policy.npz``: the trained policy, plain arrays;
- ``checkpoint.npz``: the state from which the training can be resumed;
- ``progress.csv``: a row per evaluation during training;
- ``learning_curve.png``: a figure of these rows;
- ``tensorboard``: a folder of TensorBoard's files, where networks learned.

``files`` writes and checks them, so that no failure damages an existing file. Every error that a
user can cause is a ``RunError``.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib import metadata
from numbers import Real
from pathlib import Path
from typing import Any

from agents.storage.files import (
    RunError,
    one_line,
    remedy,
    unreadable,
    writable_folder,
    write_text,
)
from execution_env import Scenario, ScenarioError, __version__
from execution_env.allocation.scenario_file import scenario_from_dict, scenario_to_dict
from execution_env.core.atomic import PathLike, remove_leftovers
from execution_env.core.validation import shown, suggestion

CONFIG, POLICY_FILE, CHECKPOINT = "config.json", "policy.npz", "checkpoint.npz"
PROGRESS, LEARNING_CURVE = "progress.csv", "learning_curve.png"
TENSORBOARD = "tensorboard"
FILES = (CONFIG, POLICY_FILE, CHECKPOINT, PROGRESS, LEARNING_CURVE)

RUN_FORMAT = 1
"""Version of the file format; a change that older code would misread makes it 2."""

PACKAGES = (
    "numpy",
    "numba",
    "gymnasium",
    "highspy",
    "scipy",
    "torch",
    "stable-baselines3",
    "sb3-contrib",
)
"""Packages whose versions can change a run's result."""

Row = Mapping[str, float]


# Configuration.


@dataclass(frozen=True)
class RunConfig:
    """Configuration of a run, enough to repeat it.

    Attributes:
        kind: kind of policy, such as "q-learning".
        scenario: scenario of the training.
        seed: seed of the training.
        hyperparameters: JSON values by name.
        versions: versions of Python and of the packages that can change the result, by name.
        git_commit: hash of the checkout's commit, or None where there is none.

    Raises:
        RunError: a field has the wrong type or an impossible value; the message names it.
    """

    kind: str
    scenario: Scenario
    seed: int
    hyperparameters: Mapping[str, Any]
    versions: Mapping[str, str]
    git_commit: str | None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.kind):
            raise _wrong("kind", self.kind, 'must be a name such as "q-learning".')
        if not isinstance(self.scenario, Scenario):
            raise _wrong("scenario", self.scenario, "must be a scenario in full.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise _wrong("seed", self.seed, "must be a non-negative whole number.")
        if not _is_json_object(self.hyperparameters):
            raise _wrong(
                "hyperparameters",
                self.hyperparameters,
                "must be names with finite numbers, texts, flags, lists or null.",
            )
        if not isinstance(self.versions, Mapping) or not all(
            isinstance(text, str) for item in self.versions.items() for text in item
        ):
            raise _wrong("versions", self.versions, "must be package names with version texts.")
        commit = self.git_commit
        if commit is not None and not (
            isinstance(commit, str) and re.fullmatch("[0-9a-f]{40}([0-9a-f]{24})?", commit)
        ):
            raise _wrong(
                "git_commit", commit, "must be a commit hash of 40 or 64 hex digits, or null."
            )


def new_config(
    kind: str, scenario: Scenario, seed: int, hyperparameters: Mapping[str, Any]
) -> RunConfig:
    """Return the configuration of a run that starts now, with this checkout's versions and commit.

    Raises:
        RunError: as ``RunConfig``.
    """
    return RunConfig(
        kind=kind,
        scenario=scenario,
        seed=seed,
        hyperparameters=hyperparameters,
        versions=package_versions(),
        git_commit=git_commit(),
    )


def package_versions() -> dict[str, str]:
    """Return versions of Python and of installed packages that can change a run's result."""
    versions = {"execution_env": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def git_commit() -> str | None:
    """Return the hash of this checkout's commit; None outside a checkout or without git."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def write_config(directory: PathLike, config: RunConfig) -> None:
    """Write ``config.json``, atomically.

    Raises:
        RunError: it cannot be written.
    """
    content = {item.name: getattr(config, item.name) for item in fields(config)}
    content["scenario"] = scenario_to_dict(config.scenario)
    content = {"format": RUN_FORMAT} | content
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_text(Path(directory) / CONFIG, text)


def read_config(directory: PathLike) -> RunConfig:
    """Return the configuration that ``write_config`` wrote, with lists for tuples.

    Raises:
        RunError: there is no run directory, or its ``config.json`` is damaged, incomplete, of
            another program or of a newer version.
    """
    path = Path(directory) / CONFIG
    content = _read_json(Path(directory), path)
    try:
        return _config_of(content)
    except RunError as error:
        raise RunError(f"{path}: {error} {remedy(path)}") from None
    except RecursionError:
        raise RunError(f"{path}: nested too deeply. {remedy(path)}") from None


def existing_config(directory: PathLike) -> RunConfig | None:
    """Return the configuration of the run in ``directory``; None where there is no file of a run.

    Raises:
        RunError: there is such a file, but no ``config.json`` that can be read.
    """
    there = any((Path(directory) / name).exists() for name in FILES)
    return read_config(directory) if there else None


def _read_json(directory: Path, path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (FileNotFoundError, NotADirectoryError):
        if not directory.exists():
            what = "there is no such directory"
        elif not directory.is_dir():
            what = "is a file, not a run directory"
        else:
            what = f"is no run directory, it has no {CONFIG}"
        raise RunError(
            f"{directory}: {what}. Give the --out of a training; it holds {', '.join(FILES)}."
        ) from None
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not valid JSON ({one_line(error)}). {remedy(path)}") from None


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


def _config_of(content: Any) -> RunConfig:
    if not isinstance(content, dict) or "format" not in content:
        raise RunError("is of another program: it has no format.")
    version = content.pop("format")
    if isinstance(version, bool) or not isinstance(version, int) or version != RUN_FORMAT:
        raise _wrong(
            "format", version, f"only {RUN_FORMAT} can be read; use the version that wrote it."
        )
    known = [item.name for item in fields(RunConfig)]
    for key in content:
        if key not in known:
            raise RunError(f"{shown(key)}: unknown key.{suggestion(key, known)}")
    for key in known:
        if key not in content:
            raise RunError(f"{key}: missing.")
    if not isinstance(content["scenario"], dict):
        raise _wrong("scenario", content["scenario"], "must be a scenario in full.")
    try:
        scenario = scenario_from_dict(content.pop("scenario"))
    except ScenarioError as error:
        raise RunError(f"scenario: {error}") from None
    return RunConfig(scenario=scenario, **content)


def _wrong(key: str, value: object, remedy: str) -> RunError:
    return RunError(f"{key} = {shown(value)}: {remedy}")


def _is_json_object(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and _is_json(item) for key, item in value.items()
    )


def _is_json(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(_is_json(item) for item in value)
    return value is None or isinstance(value, str | int) or _is_json_object(value)


# Progress.


def write_progress(directory: PathLike, rows: Iterable[Row]) -> None:
    """Replace ``progress.csv`` by ``rows`` of numbers by column, atomically.

    Raises:
        RunError: it cannot be written.
        ValueError: rows differ in their columns, or hold a value that is no number.
    """
    listed = list(rows)
    columns = list(listed[0]) if listed else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if columns:
        writer.writerow(columns)
    for row in listed:
        if set(row) != set(columns):
            raise ValueError(f"row with columns {list(row)}: must be {columns}, as in other rows.")
        for column, value in row.items():
            if not isinstance(value, Real):
                raise ValueError(f"{column} = {value!r}: must be a number.")
        writer.writerow([row[column] for column in columns])
    write_text(Path(directory) / PROGRESS, text.getvalue())


def read_progress(directory: PathLike) -> list[dict[str, float]]:
    """Return the rows of ``progress.csv``, none if there is no such file. Whole numbers are ints.

    Raises:
        RunError: the file is no table of numbers.
    """
    path = Path(directory) / PROGRESS
    try:
        table = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, csv.Error) as error:
        raise RunError(f"{path}: no table ({one_line(error)}). {remedy(path)}") from None
    if not table:
        return []
    columns, *lines = table
    if len(set(columns)) != len(columns):
        raise RunError(f"{path}, line 1: columns with one name. {remedy(path)}")
    rows = []
    for j, line in enumerate(lines, 2):
        try:
            rows.append(dict(zip(columns, map(_number, line), strict=True)))
        except ValueError:
            raise RunError(
                f"{path}, line {j}: must be {len(columns)} numbers. {remedy(path)}"
            ) from None
    return rows


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else float(text)


# Directories.


def new_run_directory(path: PathLike, resume: bool = False) -> Path:
    """Return the run directory ``path``, which is made if missing and checked to be writable.

    Temporary files of writes that were killed are removed.

    Args:
        path: path of the run, ``--out``.
        resume: whether to continue the run in the directory, if there is one.

    Raises:
        RunError: the directory holds another run and ``resume`` is false; ``path`` is a file; it
            cannot be written.
    """
    folder = writable_folder(path)
    found = [name for name in FILES if (folder / name).exists()]
    if found and not resume:
        raise RunError(
            f"{folder}: holds another run ({', '.join(found)}). Choose another --out, or continue "
            "that run with --resume."
        )
    remove_leftovers(folder, FILES)
    return folder
