"""Run directories: what training leaves behind, written so that no failure costs what was there.

A run directory holds

- ``config.json``: the scenario in full, the kind of policy, hyperparameters, seed, versions, commit;
- ``policy.npz``: the trained policy, plain arrays;
- ``checkpoint.npz``: what continuing the training needs;
- ``progress.csv``: a row per evaluation during training;
- ``learning_curve.png``: a figure of it.

Every file is replaced at once or not at all. Arrays carry a checksum, and nothing is ever unpickled:
reading a file from elsewhere runs no code. Whatever a user can cause is a ``RunError``, one line that
names the path and what to do.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import subprocess
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from numbers import Real
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from execution_env import Scenario, ScenarioError, __version__
from execution_env.scenario_file import scenario_from_dict, scenario_to_dict
from execution_env.validation import shown, suggestion

CONFIG, POLICY, CHECKPOINT = "config.json", "policy.npz", "checkpoint.npz"
PROGRESS, LEARNING_CURVE = "progress.csv", "learning_curve.png"
FILES = (CONFIG, POLICY, CHECKPOINT, PROGRESS, LEARNING_CURVE)

FORMAT = 1
"""Version of what the files mean; a change that older code would misread makes it 2."""

REMEDIES = {
    CONFIG: "Restore it from a copy, or train again with another --out.",
    POLICY: "Restore it from a copy, or train again with another --out.",
    CHECKPOINT: "Restore it from a copy, or train from the start with another --out.",
    PROGRESS: "Delete it, or the lines that are wrong.",
}
ELSEWHERE = "Restore it from a copy, or make it again."

CHECKSUM = "checksum"
RESERVED = (CHECKSUM, "file", "args", "allow_pickle")
"""Names that arrays may not have: ours, and those of arguments of ``numpy.savez``."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)

PathLike = str | os.PathLike[str]
Row = Mapping[str, float]


class RunError(ValueError):
    """A run directory that cannot be read or written: one line that names the path and the remedy."""


def _remedy(path: Path) -> str:
    return REMEDIES.get(path.name, ELSEWHERE)


def _unwritable(path: Path, error: OSError) -> RunError:
    if error.errno in FULL:
        remedy = "Free some space, or choose another --out; what was there before is untouched."
    elif error.errno in FORBIDDEN:
        remedy = "Choose another --out, or change its permissions."
    else:
        remedy = "Choose another --out."
    return RunError(f"{path}: cannot be written ({error.strerror or error}). {remedy}")


def _unreadable(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path}: cannot be read ({error.strerror or error}). Check its permissions and the disk."
    )


# Writing.


def atomic_write(path: PathLike, write: Callable[[BinaryIO], None]) -> None:
    """Replace the file at ``path`` by what ``write`` writes, at once or not at all.

    The bytes go to a temporary file in the same folder, and reach the disk before it takes the name.
    After any failure, an interrupt included, there is no temporary file and the old file is intact.

    Args:
        path: of the file; its folder must exist.
        write: gets the temporary file, open for writing bytes.

    Raises:
        RunError: the disk is full, or the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise _unwritable(path, error) from error
    with contextlib.suppress(OSError):  # not every system lets a folder be flushed
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# Arrays.


def save_arrays(path: PathLike, /, **arrays: ArrayLike) -> None:
    """Write ``arrays`` as an uncompressed .npz file with a checksum, atomically.

    Raises:
        RunError: the file cannot be written; or an array holds numbers that are not finite, which the
            reader would refuse: then the good file of before stays.
        ValueError: an array has objects, which only pickle could hold, or a reserved name.
    """
    path = Path(path)
    named = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in named.items():
        if name in RESERVED:
            raise ValueError(f"array {name}: the name is reserved; choose another.")
        if array.dtype.hasobject:
            raise ValueError(f"array {name} of {array.dtype}: must hold numbers, texts or flags.")
        if not _all_finite(array):
            raise RunError(
                f"{path}: not written, because {name} has numbers that are not finite. Training has "
                "diverged; try smaller steps."
            )
    named[CHECKSUM] = _checksum(named)
    atomic_write(path, lambda file: np.savez(file, **named))  # type: ignore[arg-type]


def load_arrays(
    path: PathLike, expected: Mapping[str, tuple[DTypeLike, int]]
) -> dict[str, NDArray[Any]]:
    """The arrays that ``save_arrays`` wrote. Nothing is unpickled: no code is run.

    Args:
        path: of the .npz file.
        expected: dtype and number of axes of every array, by name; the file has these and no others.

    Raises:
        RunError: the file is missing, damaged, of something else, or not as expected.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what NumPy warns of, we have not written
            arrays = _read_archive(path, expected)
    except FileNotFoundError:
        raise RunError(
            f"{path}: there is no such file. Check the path; a run that stopped early has written "
            "none: train again, or longer."
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from error
    except RunError:
        raise
    except Exception as error:  # damaged bytes make the readers raise nearly anything
        raise RunError(
            f"{path}: damaged, or no .npz file of numbers ({_one_line(error)}). {_remedy(path)}"
        ) from error
    if not np.array_equal(arrays.pop(CHECKSUM), _checksum(arrays)):
        raise RunError(f"{path}: damaged, its checksum does not fit. {_remedy(path)}")
    for name, (dtype, axes) in expected.items():
        array = arrays[name]
        if array.dtype != np.dtype(dtype) or array.ndim != axes:
            raise RunError(
                f"{path}: {name} is {array.dtype} with {array.ndim} axes, not {np.dtype(dtype)} with "
                f"{axes}. It is of another program or version. {_remedy(path)}"
            )
        if not _all_finite(array):
            raise RunError(f"{path}: {name} has numbers that are not finite. {_remedy(path)}")
    return arrays


def _read_archive(path: Path, expected: Mapping[str, object]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = sorted(member.filename for member in members)
        right = sorted(f"{name}.npy" for name in (*expected, CHECKSUM))
        if names != right:
            raise RunError(
                f"{path}: holds {_listed(names)} instead of {_listed(right)}. It is of another "
                f"program or version. {_remedy(path)}"
            )
        size = os.fstat(file.fileno()).st_size
        for member in members:
            # We do not compress: a few bytes cannot ask for gigabytes.
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
                raise RunError(
                    f"{path}: {member.filename} is compressed; it was written by another program. "
                    f"{_remedy(path)}"
                )
            with archive.open(member) as content:
                array = np.lib.format.read_array(content, allow_pickle=False)
                if content.read(1):
                    raise ValueError(f"{member.filename} is longer than it says")
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """(32,) SHA-256 of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        described = [name, np.lib.format.dtype_to_descr(array.dtype), arrays[name].shape]
        digest.update(repr(described).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return np.frombuffer(digest.digest(), np.uint8)


def _all_finite(array: NDArray[Any]) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _listed(names: Sequence[str]) -> str:
    return shown(", ".join(names)) if names else "nothing"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


# Configuration.


@dataclass(frozen=True)
class RunConfig:
    """What a run was: enough to repeat it.

    Attributes:
        kind: of policy, such as "q-learning".
        scenario: that it was trained on.
        seed: of the training.
        hyperparameters: JSON values by name.
        versions: of the packages that matter, by name.
        git_commit: hash of the checkout, or None where there is none.

    Raises:
        RunError: a field has the wrong type or an impossible value; it is named.
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
    """The configuration of a run that starts now, with the versions and commit of this checkout.

    Raises:
        RunError: as ``RunConfig``.
    """
    return RunConfig(kind, scenario, seed, hyperparameters, package_versions(), git_commit())


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide what a run computes."""
    others = ("numpy", "numba", "gymnasium")
    return {"execution_env": __version__} | {name: metadata.version(name) for name in others}


def git_commit() -> str | None:
    """Hash of the commit that this checkout is at; None outside a checkout or without git."""
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
    content = {"format": FORMAT} | content
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    atomic_write(Path(directory) / CONFIG, _writing(text))


def read_config(directory: PathLike) -> RunConfig:
    """What ``write_config`` wrote; lists where it had tuples.

    Raises:
        RunError: there is no run directory, or its ``config.json`` is damaged, incomplete, of another
            program or of a newer version.
    """
    path = Path(directory) / CONFIG
    content = _read_json(Path(directory), path)
    try:
        return _config_of(content)
    except RunError as error:
        raise RunError(f"{path}: {error} {_remedy(path)}") from None
    except RecursionError:
        raise RunError(f"{path}: nested too deeply. {_remedy(path)}") from None


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
        raise _unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not valid JSON ({_one_line(error)}). {_remedy(path)}") from None


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


def _config_of(content: Any) -> RunConfig:
    if not isinstance(content, dict) or "format" not in content:
        raise RunError("is of another program: it has no format.")
    version = content.pop("format")
    if isinstance(version, bool) or not isinstance(version, int) or version != FORMAT:
        raise _wrong(
            "format", version, f"only {FORMAT} can be read; use the version that wrote it."
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
    """Replace ``progress.csv`` by ``rows``, numbers by column, atomically.

    Raises:
        RunError: it cannot be written.
        ValueError: rows differ in their columns, or hold something else than numbers.
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
    atomic_write(Path(directory) / PROGRESS, _writing(text.getvalue()))


def append_progress(directory: PathLike, *rows: Row) -> None:
    """Add ``rows`` to ``progress.csv``, atomically.

    Raises:
        RunError: the file cannot be written, or cannot be read.
        ValueError: rows differ in their columns, from each other or from the file's.
    """
    write_progress(directory, [*read_progress(directory), *rows])


def read_progress(directory: PathLike) -> list[dict[str, float]]:
    """The rows of ``progress.csv``; none where there is no such file. Whole numbers are ints.

    Raises:
        RunError: the file is no table of numbers.
    """
    path = Path(directory) / PROGRESS
    try:
        table = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, csv.Error) as error:
        raise RunError(f"{path}: no table ({_one_line(error)}). {_remedy(path)}") from None
    if not table:
        return []
    columns, *lines = table
    if len(set(columns)) != len(columns):
        raise RunError(f"{path}, line 1: columns with one name. {_remedy(path)}")
    rows = []
    for j, line in enumerate(lines, 2):
        try:
            rows.append(dict(zip(columns, map(_number, line), strict=True)))
        except ValueError:
            raise RunError(
                f"{path}, line {j}: must be {len(columns)} numbers. {_remedy(path)}"
            ) from None
    return rows


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else float(text)


def _writing(text: str) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        file.write(text.encode())

    return write


# Directories.


def new_run_directory(path: PathLike, resume: bool = False) -> Path:
    """The directory ``path``, there and writable, made where it is missing.

    Args:
        path: of the run, ``--out``.
        resume: whether to continue the run that is there, if there is one.

    Raises:
        RunError: it holds another run and ``resume`` is false; it is a file; it cannot be written.
    """
    if not str(path):
        raise RunError('--out is empty: give a directory, such as "runs/first".')
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = [name for name in FILES if (folder / name).exists()]
        if found and not resume:
            raise RunError(
                f"{folder}: holds another run ({', '.join(found)}). Choose another --out, or continue "
                "that run with --resume."
            )
        with tempfile.TemporaryFile(dir=folder):  # permissions alone do not tell
            pass
    except (FileExistsError, NotADirectoryError):
        raise RunError(
            f"{folder}: it, or a folder above it, is a file. Choose another --out."
        ) from None
    except OSError as error:
        raise _unwritable(folder, error) from error
    except RunError:
        raise
    except ValueError as error:  # a zero byte
        raise RunError(f"--out = {str(path)!r}: no path ({error}). Choose another.") from None
    return folder
