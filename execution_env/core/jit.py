"""numba's compiler with a disk cache that notices every edit.

numba's own cache keeps a compiled function as long as the file that defines it is unchanged, so a
caller in another file goes on calling the old version of an edited callee. Here the cache folder is
named by a hash of all sources of the package and of numba's version: an edit anywhere means a new
folder. The folder lies in the user's cache directory, or in the temporary directory where that
cannot be written, so a read-only installation works too.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


def sources_hash(directories: Iterable[Path]) -> str:
    """Hash of every Python source below ``directories``, of numba's and of NumPy's version."""
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__}".encode())
    for directory in directories:
        for source in sorted(directory.rglob("*.py")):
            digest.update(source.relative_to(directory).as_posix().encode() + b"\0")
            digest.update(source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _user_cache() -> Path:
    if sys.platform == "win32":
        default = "~/AppData/Local"
    elif sys.platform == "darwin":
        default = "~/Library/Caches"
    else:
        default = "~/.cache"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    return Path(os.environ.get(variable) or os.path.expanduser(default))


def _usable(folder: Path) -> bool:
    """Whether we can write ``folder`` and nobody else owns it: cache files are code."""
    if not folder.is_absolute():  # there is no home directory
        return False
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sys.platform != "win32":
            owners = {folder.stat().st_uid, folder.parent.stat().st_uid}
            if owners != {os.getuid()}:
                return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@cache
def cache_folder(*directories: Path) -> Path:
    """The folder for compiled code of the sources below ``directories``; created if need be."""
    name = f"numba-{sources_hash(directories)}"
    user = os.getuid() if sys.platform != "win32" else ""
    for root in (
        _user_cache() / "execution_env",
        Path(tempfile.gettempdir()) / f"execution_env-{user}",
    ):
        if _usable(root / name):
            return root / name
    return Path(tempfile.mkdtemp(prefix="execution_env-"))


def compiler(
    *directories: Path, inlined: bool = False, from_python: bool = True
) -> Callable[[Function], Function]:
    """A decorator like ``numba.njit`` whose cache depends on all sources below ``directories``.

    Name the package of the functions and every package whose jitted functions they call.

    Args:
        directories: whose sources count.
        inlined: whether the compiler copies the functions into their callers.
        from_python: whether Python may call them. What takes apart arguments that come from Python is
            most of what there is to compile of a small function with many of them; without it a call
            from Python is a TypeError.
    """
    folder = cache_folder(*directories)
    options = {} if from_python else {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

    def decorator(function: Function) -> Function:
        # numba reads the setting when a function is decorated: give it back at once, other
        # packages' caches are not ours to move. NUMBA_CACHE_DIR, where set, is the user's wish.
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(Path(before) / folder.name if before else folder)
        try:
            # error_model: a division by zero gives inf or nan as in NumPy, and costs no branch.
            compiled = numba.njit(cache=True, error_model="numpy", forceinline=inlined, **options)(
                function
            )
        finally:
            numba.config.CACHE_DIR = before
        if not from_python:
            _refuse_python(compiled, function.__name__)
        return cast(Function, compiled)

    return decorator


def _refuse_python(compiled: Any, name: str) -> None:
    """Make a call from Python a TypeError.

    Numba would call the missing entry: so the dispatcher is not told of what is compiled for others, and
    when it asks for its own it is refused. A numba that does this in another way keeps its own
    behaviour; the tests tell.
    """

    def refuse(*_: object, **__: object) -> None:
        raise TypeError(
            f"{name}: only compiled functions can call it; py_func is the function itself."
        )

    if hasattr(compiled, "_insert") and hasattr(compiled, "_compile_for_args"):
        compiled._insert = lambda *_, **__: None
        compiled._compile_for_args = refuse


@cache
def announce() -> None:
    """Tell a person at a terminal, once, that the first use compiles."""
    folder = cache_folder(Path(__file__).parents[1])
    if numba.config.CACHE_DIR:
        folder = Path(numba.config.CACHE_DIR) / folder.name
    if sys.stderr.isatty() and not any(folder.rglob("*.nbi")):
        print(
            "execution_env: compiling for this machine, some 40 seconds, once ...", file=sys.stderr
        )


jit = compiler(Path(__file__).parents[1])
"""The decorator for jitted functions of this package that Python calls."""

inline = compiler(Path(__file__).parents[1], inlined=True)
"""The same, copied into jitted callers. Arguments that are named tuples of arrays are large structures:
a real call copies them, which for one order takes longer than its work."""

inner = compiler(Path(__file__).parents[1], from_python=False)
"""The decorator for private functions, which only jitted ones call."""

inner_inline = compiler(Path(__file__).parents[1], inlined=True, from_python=False)
"""The same, copied into their callers."""
