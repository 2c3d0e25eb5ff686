"""Folders that nobody else can write to.

What is loaded from them is run. So every folder made here has mode 0700. A folder is used only if it and
all folders above it belong to us or to root, and nobody else can write to them. The system's temporary
directory, where others cannot touch what is ours, is fine above it. Our own folders are never links. A
link above them counts if it belongs to us or to root, and then its target is checked in the same way.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

ELSEWHERE = "set NUMBA_CACHE_DIR to a folder of your own"
"""Remedy that always helps."""

MOST_LINKS = 40
"""Largest number of links on the way to a folder, as in Linux."""


class UnsafeFolderError(OSError):
    """Error: others could write what we would load; the message is a line with the remedy."""


def check_private(path: Path, state: os.stat_result, ours: bool) -> None:
    """Check the owner and the mode of a folder.

    Args:
        path: the folder.
        state: its state, as ``lstat`` tells it.
        ours: whether it must be ours alone. Else it may be root's, and others may write to it if
            they cannot remove what is ours (the sticky bit).

    Raises:
        UnsafeFolderError: it fails.
        NotADirectoryError: it is no folder.
    """
    if ours and stat.S_ISLNK(state.st_mode):
        raise UnsafeFolderError(
            f"{path} is a link, so compiled code is not kept there; remove it, or {ELSEWHERE}."
        )
    if not stat.S_ISDIR(state.st_mode):
        raise NotADirectoryError(f"{path} is no folder")
    if sys.platform == "win32":  # profiles are private there, and modes say nothing
        return
    if state.st_uid not in _owners(ours):
        raise UnsafeFolderError(
            f"{path} belongs to another user ({state.st_uid}), so compiled code is not kept there; "
            f"{ELSEWHERE}."
        )
    by_others = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if by_others and (ours or not state.st_mode & stat.S_ISVTX):
        raise UnsafeFolderError(
            f"{path} can be written by others, so compiled code is not kept there; "
            f"chmod go-w {path}, or {ELSEWHERE}."
        )


def _owners(ours: bool) -> tuple[int, ...]:
    """Return the users who may own a folder; root can do anything anyway, but makes none for us."""
    if sys.platform == "win32":
        return (0,)
    return (os.getuid(),) if ours else (os.getuid(), 0)


def _there(path: Path) -> os.stat_result:
    """Return the state of ``path``, a new folder of mode 0700 if there was nothing."""
    with suppress(FileNotFoundError):
        return path.lstat()
    with suppress(FileExistsError):  # another process was faster
        path.mkdir(mode=0o700)
    return path.lstat()


def make_folders(folder: Path) -> None:
    """Make ``folder`` and all that are missing above it, with mode 0700.

    Raises:
        OSError: one cannot be made.
    """
    for one in (*reversed(folder.parents), folder):
        if not one.is_dir():
            one.mkdir(mode=0o700, exist_ok=True)


def make_private(folder: Path, own: int = 1, above: Path | None = None) -> None:
    """Make ``folder`` if it is missing, and check that nobody else can write what it holds.

    Args:
        folder: absolute path.
        own: number of folders at its end that must be ours alone, and no links.
        above: folder in which the check starts; default the root of the file system.

    Raises:
        UnsafeFolderError: others can write to it, or to a folder above it.
        OSError: it cannot be made.
    """
    path = above or Path(folder.anchor)
    waiting = list(folder.relative_to(path).parts)
    check_private(path, path.stat(), ours=False)
    links = 0
    while waiting:
        ours = len(waiting) <= own
        one = path / waiting.pop(0)
        state = _there(one)
        if ours or not stat.S_ISLNK(state.st_mode):
            check_private(one, state, ours)
            path = one
            continue
        links += 1
        if links > MOST_LINKS or state.st_uid not in _owners(ours=False):
            raise UnsafeFolderError(
                f"{one} is a link of another user, so compiled code is not kept there; {ELSEWHERE}."
            )
        target = Path(os.path.normpath(path / one.readlink()))
        waiting = [*target.relative_to(target.anchor).parts, *waiting]
        path = Path(target.anchor)
