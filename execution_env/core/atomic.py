"""Files that are written whole or not at all, and the removal of what killed writes left behind.

The bytes go to a temporary file ``.NAME.HEX.tmp`` in the same folder, which then takes the name
``NAME``. A writer holds a lock on its temporary file. A process that is killed loses the lock, so
whoever writes the same file next can tell a leftover from a write that is under way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, which does not remove files that are open
    fcntl = None  # type: ignore[assignment]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)

PathLike = str | os.PathLike[str]
Write = Callable[[BinaryIO], object]
"""Function that writes a file's content to a file that is open for bytes."""


class WriteError(OSError):
    """Error of a file that cannot be written, in one line with the path and the remedy."""


def unwritable(path: PathLike, error: OSError) -> WriteError:
    """Return the error for a file or folder that the system does not let us write."""
    if error.errno in DISK_FULL:
        advice = "Free some space, or choose another path; what was there before is untouched."
    elif error.errno in FORBIDDEN:
        advice = "Choose another path, or change its permissions."
    else:
        advice = "Choose another path."
    return WriteError(f"{path}: cannot be written ({error.strerror or error}). {advice}")


def atomic_write(path: PathLike, write: Write) -> None:
    """Let ``write`` write a file, and put it at ``path`` at once or not at all.

    After any failure, an interrupt included, there is no temporary file and the old file is intact.

    Args:
        path: path of the file; its folder must exist. The file that a link points to is replaced,
            not the link. A device or a pipe is written to.
        write: function that gets the temporary file, open for writing bytes.

    Raises:
        WriteError: the disk is full, or the file cannot be written.
    """
    atomic_writes({path: write})


def write_files(files: Mapping[PathLike, bytes]) -> None:
    """Replace the files at these paths by these contents, all of them or none.

    Raises:
        WriteError: the disk is full, or a file cannot be written. Then all files are as they were,
            unless a renaming itself failed.
    """
    atomic_writes({path: partial(_put, content) for path, content in files.items()})


def atomic_writes(files: Mapping[PathLike, Write]) -> None:
    """Write several files as ``atomic_write`` does. The first is renamed once the last is on disk.

    Raises:
        WriteError: as ``write_files``.
    """
    with contextlib.ExitStack() as stack:
        written: list[tuple[PathLike, Path, Path]] = []
        folders = dict.fromkeys(Path(os.path.realpath(path)).parent for path in files)
        for path, write in files.items():
            with _named(path):
                target = Path(os.path.realpath(path))
                if _is_stream(target):
                    with open(target, "wb") as file:
                        write(file)
                else:
                    remove_leftovers(target.parent, [target.name])
                    written.append((path, _temporary(stack, target, write), target))
        for path, temporary, target in written:
            with _named(path):
                os.replace(temporary, target)
        for folder in folders:
            with contextlib.suppress(OSError):  # not every system lets a folder be flushed
                _flush_folder(folder)


def remove_leftovers(folder: PathLike, names: Iterable[str]) -> None:
    """Remove temporary files that killed writes of the files ``names`` left in ``folder``.

    Files of other names stay, and so do those of a process that is still writing.
    """
    alternatives = "|".join(map(re.escape, names))
    ours = re.compile(rf"\.(?:{alternatives})\.[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError), open(entry.path, "r+b") as file:
                    _lock(file)
                    os.unlink(entry.path)


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)


@contextlib.contextmanager
def _named(path: PathLike) -> Iterator[None]:
    """Name ``path`` in errors of the system."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def _is_stream(path: Path) -> bool:
    """Return whether ``path`` is a device or a pipe, which nothing may replace."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _temporary(stack: contextlib.ExitStack, path: Path, write: Write) -> Path:
    """Write a temporary file for ``path``; ``stack`` closes it, and removes it if it is still there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    stack.callback(_remove, temporary)
    file = open(temporary, "xb")  # noqa: SIM115  until it is renamed, to keep the lock
    stack.callback(_close, file)
    with contextlib.suppress(OSError):  # some network drives have no locks
        _lock(file)
    write(file)
    file.flush()
    os.fsync(file.fileno())
    if fcntl is None:
        file.close()  # Windows does not rename files that are open
    return temporary


def _close(file: BinaryIO) -> None:
    with contextlib.suppress(OSError):  # after a failure: what is left in its buffer does not fit
        file.close()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _lock(file: BinaryIO) -> None:
    """Lock a file until it is closed or its process ends.

    Raises:
        OSError: another process has the lock, or the file system has none.
    """
    if fcntl is not None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
