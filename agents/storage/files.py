"""Files that survive failures: replaced at once or not at all, checked, never unpickled.

Arrays have a checksum, and reading a file from elsewhere runs no code. Every error that a user can
cause is a ``RunError``: one line that names the path and the remedy.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from execution_env.core import atomic
from execution_env.core.archive import ArchiveError, Field, Sizes, read_archive
from execution_env.core.atomic import PathLike, Write

REMEDIES = {
    "config.json": "Restore it from a copy, or train again with another --out.",
    "policy.npz": "Restore it from a copy, or train again with another --out.",
    "checkpoint.npz": "Restore it from a copy, or train from the start with another --out.",
    "progress.csv": "Delete it, or the lines that are wrong.",
}
ELSEWHERE = "Restore it from a copy, or make it again."

CHECKSUM = "checksum"
DIGEST_BYTES = hashlib.sha256().digest_size
RESERVED = (CHECKSUM, "file", "args", "allow_pickle")
"""Names that arrays must not have: the checksum's, and those of arguments of ``numpy.savez``."""


class RunError(ValueError):
    """Error of a file that cannot be read or written, in one line with the path and the remedy."""


def remedy(path: Path) -> str:
    """Return the advice for a file that is wrong."""
    return REMEDIES.get(path.name, ELSEWHERE)


def unwritable(path: Path, error: OSError) -> RunError:
    """Return the error for a file or folder that the system does not let us write."""
    return RunError(str(atomic.unwritable(path, error)))


def unreadable(path: Path, error: OSError) -> RunError:
    """Return the error for a file that the system does not let us read."""
    return RunError(
        f"{path}: cannot be read ({error.strerror or error}). Check its permissions and the disk."
    )


# Writing.


def atomic_write(path: PathLike, write: Write) -> None:
    """Write a file as ``atomic.atomic_write`` does.

    Raises:
        RunError: the disk is full, or the file cannot be written.
    """
    with _run_errors():
        atomic.atomic_write(path, write)


def writable_folder(path: PathLike) -> Path:
    """Return the folder ``path``, which is made if missing and checked to be writable.

    Args:
        path: value of ``--out``.

    Raises:
        RunError: ``path`` is empty or no path; it is a file; it cannot be written.
    """
    if not str(path):
        raise RunError('--out is empty: give a directory, such as "runs/first".')
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # checking permissions is not enough
            pass
    except (FileExistsError, NotADirectoryError):
        raise RunError(
            f"{folder}: it, or a folder above it, is a file. Choose another --out."
        ) from None
    except OSError as error:
        raise unwritable(folder, error) from error
    except ValueError as error:  # a zero byte
        raise RunError(f"--out = {str(path)!r}: no path ({error}). Choose another.") from None
    return folder


def write_files(files: Mapping[PathLike, str | bytes]) -> None:
    """Replace the files at these paths by these contents, texts in UTF-8, all of them or none.

    Raises:
        RunError: the disk is full, or a file cannot be written. Then all files are as they were.
    """
    contents = {
        path: content.encode() if isinstance(content, str) else content
        for path, content in files.items()
    }
    with _run_errors():
        atomic.write_files(contents)


def write_text(path: PathLike, text: str) -> None:
    """Replace the file at ``path`` by ``text`` in UTF-8, at once or not at all.

    Raises:
        RunError: the disk is full, or the file cannot be written.
    """
    atomic_write(path, lambda file: file.write(text.encode()))


def write_bytes(path: PathLike, content: bytes) -> None:
    """Replace the file at ``path`` by ``content``, at once or not at all.

    Raises:
        RunError: the disk is full, or the file cannot be written.
    """
    atomic_write(path, lambda file: file.write(content))


@contextlib.contextmanager
def _run_errors() -> Iterator[None]:
    try:
        yield
    except atomic.WriteError as error:
        raise RunError(str(error)) from error


# Arrays.


def save_arrays(path: PathLike, /, **arrays: ArrayLike) -> None:
    """Write ``arrays`` as an uncompressed .npz file with a checksum, atomically.

    Raises:
        RunError: the file cannot be written; or an array holds numbers that are not finite, which
            the reader would refuse. The old file then stays.
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
    path: PathLike, fields: Mapping[str, Field], sizes: Sizes | None = None
) -> dict[str, NDArray[Any]]:
    """Return the arrays that ``save_arrays`` wrote. Nothing is unpickled: no code is run.

    Args:
        path: path of the .npz file.
        fields: what every array must be, by name; the file must hold these and no others.
        sizes: sizes of axes that are known.

    Raises:
        RunError: the file is missing, damaged, of another program, or not as ``fields`` say.
    """
    path = Path(path)
    try:
        arrays = read_archive(path, {**fields, CHECKSUM: Field(np.uint8, (DIGEST_BYTES,))}, sizes)
    except FileNotFoundError:
        raise RunError(
            f"{path}: there is no such file. Check the path; a run that stopped early has written "
            "none: train again, or longer."
        ) from None
    except OSError as error:
        raise unreadable(path, error) from error
    except ArchiveError as error:
        raise RunError(f"{path}: {error}. {remedy(path)}") from error
    if not np.array_equal(arrays.pop(CHECKSUM), _checksum(arrays)):
        raise RunError(f"{path}: damaged, its checksum does not fit. {remedy(path)}")
    return arrays


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Return the (32,) SHA-256 of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        described = [name, np.lib.format.dtype_to_descr(array.dtype), arrays[name].shape]
        digest.update(repr(described).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return np.frombuffer(digest.digest(), np.uint8)


def _all_finite(array: NDArray[Any]) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def one_line(error: Exception) -> str:
    """Return the message of ``error`` on one line, at most 120 characters, or its type."""
    return " ".join(str(error).split())[:120] or type(error).__name__
