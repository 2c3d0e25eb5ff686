"""Compiled code on disk, which a later process can load instead of compiling.

Loading an entry runs it: an index is a pickle, and an entry is machine code. So they lie in private
folders (see ``private_folders``), the first of these that passes:

1. ``NUMBA_CACHE_DIR``, where that is set. It is the user's wish, so the folders above it are not
   checked; it must itself pass.
2. ``execution_env/compiled`` in the user's cache directory.
3. ``execution_env-UID/compiled`` in the temporary directory.
4. A new folder in the temporary directory, which is removed when the process ends.

An entry that is cut or damaged is removed, and its function is compiled anew. An entry that cannot be
written, on a full disk say, costs one line on stderr. A module's folder that no process used for
``UNUSED_DAYS`` is removed when another is made beside it.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import pickle
import re
import shutil
import stat
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps

from execution_env.core.private_folders import (
    ELSEWHERE,
    UnsafeFolderError,
    check_private,
    make_folders,
    make_private,
)

UNUSED_DAYS = 30.0
"""Days after which a folder that no process used is removed."""

SEAL = 32
"""Number of bytes of the checksum in front of a file's content, SHA-256."""

MODULE_FOLDER = re.compile(r"\w+-[0-9a-f]{16}")
"""Pattern of the names of folders made for a module."""

DAY = 86400.0
"""Seconds of a day."""


_said: set[str] = set()


def say(line: str) -> None:
    """Print ``line`` on stderr, once in a process."""
    if line not in _said:
        _said.add(line)
        print(f"execution_env: {line}", file=sys.stderr, flush=True)


# Folders.


def user_cache() -> Path:
    """Return the user's cache directory, which may be missing."""
    if sys.platform == "win32":
        default = "~/AppData/Local"
    elif sys.platform == "darwin":
        default = "~/Library/Caches"
    else:
        default = "~/.cache"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    return Path(os.environ.get(variable) or os.path.expanduser(default))


def _usable(folder: Path, own: int) -> bool:
    """Return True if ``folder`` is private and can be written; if it is unsafe, say so."""
    if not folder.is_absolute():  # there is no home directory
        return False
    try:
        make_private(folder, own)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except UnsafeFolderError as error:
        say(str(error))
    except OSError:
        pass
    return False


def _chosen(folder: Path) -> bool:
    """Return True if ``folder``, the user's wish, is private; say why if not."""
    try:
        make_folders(folder)
        check_private(folder, folder.stat(), ours=False)
        return True
    except UnsafeFolderError as error:
        say(str(error))
    except OSError as error:
        say(f"NUMBA_CACHE_DIR = {folder}: compiled code cannot be kept there: {error}.")
    return False


def _of_this_process() -> Path | None:
    """Return a new private folder that is removed when the process ends; None if there is no room.

    A line says so, unless one has said why.
    """
    try:
        folder: Path | None = Path(tempfile.mkdtemp(prefix="execution_env-"))
    except OSError:
        folder = None
    if not _said:
        say(f"compiled code cannot be kept, so every process compiles anew; {ELSEWHERE}.")
    if folder is None:
        return None
    maker = os.getpid()

    def remove() -> None:
        if os.getpid() == maker:  # and not a fork of it
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


@cache
def cache_root() -> Path | None:
    """Return the folder that modules' folders are made in, which is private; None if there is none."""
    wish = numba.config.CACHE_DIR
    if wish:
        chosen = Path(wish).resolve()
        return chosen if _chosen(chosen) else _of_this_process()
    who = os.getuid() if sys.platform != "win32" else ""
    for root in (
        user_cache() / "execution_env" / "compiled",
        Path(tempfile.gettempdir()) / f"execution_env-{who}" / "compiled",
    ):
        if _usable(root, own=2):
            return root
    return _of_this_process()


def remove_unused(root: Path, days: float = UNUSED_DAYS) -> None:
    """Remove the modules' folders in ``root`` that no process used for ``days``.

    A folder gets another name first, so that other processes find it whole or not at all. A process
    that has loaded from it goes on; one that was about to compiles.
    """
    for folder in root.iterdir():
        with suppress(OSError):
            name, state = folder.name, folder.lstat()
            aside = name.startswith(".removed-")
            if not (aside or MODULE_FOLDER.fullmatch(name)) or not stat.S_ISDIR(state.st_mode):
                continue
            if time.time() - state.st_mtime > days * DAY:
                if not aside:
                    folder = folder.rename(root / f".removed-{uuid.uuid4().hex}")  # noqa: PLW2901
                shutil.rmtree(folder, ignore_errors=True)


# Files.


def _sealed(content: bytes) -> bytes:
    """Return ``content`` with its checksum in front."""
    return hashlib.sha256(content).digest() + content


def _read(path: Path) -> bytes | None:
    """Return what was written to ``path``; None if there is nothing, or it cannot be read.

    Raises:
        ValueError: it is cut or damaged.
    """
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    seal, content = whole[:SEAL], whole[SEAL:]
    if hashlib.sha256(content).digest() != seal:
        raise ValueError(f"{path} is damaged")
    return content


def _write(path: Path, content: bytes) -> None:
    """Write a file that other processes find whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    number, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(_sealed(content))
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


class Entries:
    """The compiled versions of one function on disk: an index, and a file for each.

    Args:
        folder: the module's folder; None if nothing can be kept.
        base: beginning of the files' names.
    """

    def __init__(self, folder: Path | None, base: str) -> None:
        self._folder, self._base = folder, base
        self._index = None if folder is None else folder / f"{base}.nbi"

    def _names(self) -> dict[Any, str]:
        """Return the names of the entries' files by key; none if the folder is not private.

        It may raise anything if the index is damaged.
        """
        if self._folder is None or self._index is None or not _safe(self._folder):
            return {}
        # Nobody but us or root could write here, as ``_safe`` has found; else nothing is loaded.
        content = _read(self._index)
        found: dict[Any, str] = {} if content is None else pickle.loads(content)
        return found

    def load(self, key: Any) -> Any:
        """Return what was saved under ``key``; None if there is nothing.

        It may raise anything if a file is damaged.
        """
        names = self._names()
        if self._folder is None or key not in names:
            return None
        content = _read(self._folder / names[key])
        if content is None:
            return None
        _touch(self._folder)
        return pickle.loads(content)  # of the same folder as the index, which ``_names`` judged

    def save(self, key: Any, data: Any) -> None:
        """Save ``data`` under ``key``; the entry's name is new, so that no other process writes it.

        Raises:
            OSError: it cannot be written, or the folder is not private.
        """
        if self._folder is None or self._index is None:
            return
        _prepare(self._folder)
        try:
            names = self._names()
        except Exception:  # damaged; a pickle may raise anything
            self.drop()
            names = {}
        before = names.get(key)
        names[key] = f"{self._base}.{uuid.uuid4().hex[:12]}.nbc"
        _write(self._folder / names[key], dumps(data))
        _write(self._index, dumps(names))
        if before is not None:
            with suppress(OSError):
                (self._folder / before).unlink()

    def drop(self) -> None:
        """Remove the function's files: they are damaged, or of no use."""
        if self._folder is not None and _safe(self._folder):
            for path in [*self._folder.glob(f"{self._base}.*")]:
                with suppress(OSError):
                    path.unlink()


_trusted: set[Path] = set()
"""Folders that were found to be private."""


def _safe(folder: Path) -> bool:
    """Return True if only we, or root, can write to ``folder``; say so if others can."""
    if folder in _trusted:
        return True
    try:
        state = folder.lstat()
        check_private(folder, state, ours=state.st_uid != 0 or stat.S_ISLNK(state.st_mode))
    except UnsafeFolderError as error:
        say(str(error))
        return False
    except OSError:  # not there yet
        return False
    _trusted.add(folder)
    return True


@cache
def _touch(folder: Path) -> None:
    """Note, once in a process and a day, that ``folder`` is in use."""
    with suppress(OSError):
        if time.time() - folder.stat().st_mtime > DAY:
            os.utime(folder)


def _prepare(folder: Path) -> None:
    """Make a module's folder; if it was missing, remove those that nobody used for long.

    Raises:
        OSError: it cannot be made, or is not private.
    """
    folder.parent.mkdir(
        mode=0o700, parents=True, exist_ok=True
    )  # somebody may have emptied the cache
    missing = not folder.exists()
    make_private(folder, above=folder.parent)
    if missing and not numba.config.CACHE_DIR:
        _tidy(folder.parent)


@cache
def _tidy(root: Path) -> None:
    with suppress(OSError):
        remove_unused(root)


# What numba calls.


class _Functions(CompileResultCacheImpl):  # type: ignore[misc]  # numba is untyped
    """Numba's conversion of a compiled function to and from bytes, without its choice of a folder."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = self
        self._py_file = function.__code__.co_filename


class CodeCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function, in ``Entries``: no damage and no full disk stops it."""

    def __init__(self, function: Callable[..., Any], folder: Path | None) -> None:
        self._name, self._py_func = repr(function), function
        self._impl = _Functions(function)
        self._cache_path = str(folder)
        version = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
        name = re.sub(r"[<>]", "", function.__qualname__)
        line = function.__code__.co_firstlineno
        self._entries = Entries(folder, f"{name}-{line}.{version}")
        self.enable()

    def flush(self) -> None:
        """Forget all entries."""
        self._entries.drop()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the function compiled for ``sig``; None if it must be compiled."""
        target_context.refresh()
        if not self._enabled:
            return None
        try:
            data = self._entries.load(self._index_key(sig, target_context.codegen()))
            return None if data is None else self._impl.rebuild(target_context, data)
        except Exception:  # damaged; a pickle may raise anything
            self._entries.drop()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save ``data``, what was compiled for ``sig``; if that is not possible, say so."""
        if not self._enabled or not self._impl.check_cachable(data):
            return
        try:
            self._entries.save(self._index_key(sig, data.codegen), self._impl.reduce(data))
        except UnsafeFolderError as error:
            say(str(error))
        except OSError as error:
            say(
                f"compiled code cannot be kept in {Path(self._cache_path).parent} ({error.strerror}), "
                f"so every process compiles anew; make room there, or {ELSEWHERE}."
            )


def keep(compiled: Any, folder: Path | None) -> None:
    """Keep what ``compiled``, a dispatcher of numba, compiles in ``folder``.

    A numba whose dispatchers have no ``_cache`` compiles anew in every process; the tests tell.
    """
    if hasattr(compiled, "_cache"):
        compiled._cache = CodeCache(compiled.py_func, folder)
