"""numba's compiler with a disk cache that notices every edit of what a function is made of.

numba's own cache keeps a compiled function as long as the file that defines it is unchanged, so a
caller in another file goes on calling the old version of an edited callee. Here every module has a
cache folder of its own, named by a hash of the sources that its compiled functions can reach: its own,
and those of the modules whose compiled functions it imports. Constants that it imports count by value.
An edit of any other source, of a figure or of a reader, recompiles nothing. Settings of numba that
change the code count too, such as ``NUMBA_BOUNDSCHECK``.

``code_cache`` says where the folders lie, and who may write there.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import event
from numba.core.extending import _Intrinsic
from numba.core.registry import CPUDispatcher

from execution_env.core.code_cache import cache_root, keep

Function = TypeVar("Function", bound=Callable[..., Any])

AT_ONCE = 0.5
"""Seconds of compiling after which a person is told of it."""

COMPILING = (
    "execution_env: compiling for this machine, once. The environment takes some 20 s, planners and "
    "learners about as long again ..."
)
"""Line on stderr that says what takes long."""

SETTINGS = ("BOUNDSCHECK", "DEBUGINFO_DEFAULT", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE")
"""Settings of numba that change the code compiled; its own key has the processor, and none of these."""


# Sources.


def reached(module: ModuleType) -> list[ModuleType]:
    """Return the modules that compiled functions of ``module`` can reach, itself the first.

    A module is reached through its compiled functions. Ask when ``module`` has imported what its own
    functions use: before the first of them is compiled.
    """
    found: list[ModuleType] = []
    waiting = [module]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.append(one)
        for value in list(vars(one).values()):
            if isinstance(value, CPUDispatcher):
                waiting.append(sys.modules[value.py_func.__module__])
            elif isinstance(value, _Intrinsic):
                waiting.append(sys.modules[value.__module__])
    return found


def constants_of(names: Mapping[str, Any]) -> str:
    """Return the constants among a module's ``names``, with their values: compiled code copies them.

    Record types are constants, and so are the fields of named tuples.
    """
    kinds = (bool, int, float, complex, str, np.number, np.dtype)
    found = []
    for name, value in sorted(names.items()):
        flat = value if isinstance(value, tuple) else (value,)
        if not name.startswith("__") and all(isinstance(item, kinds) for item in flat):
            found.append(f"{name}={value!r}")
        elif isinstance(value, type) and hasattr(value, "_fields"):
            found.append(f"{name}={value._fields}")
        elif isinstance(value, np.ndarray):
            found.append(f"{name}={value.dtype} {value.shape} {value.tobytes().hex()}")
    return "\n".join(found)


def hash_of(module: ModuleType) -> str:
    """Return a hash of the sources and constants of all reached modules, and of the compilers."""
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__}".encode())
    digest.update(repr([(name, getattr(numba.config, name, None)) for name in SETTINGS]).encode())
    digest.update(Path(__file__).read_bytes())  # how all of them are compiled
    for one in sorted(reached(module), key=lambda one: one.__name__):
        digest.update(one.__name__.encode() + b"\0" + Path(str(one.__file__)).read_bytes() + b"\0")
        digest.update(constants_of(vars(one)).encode() + b"\0")
    return digest.hexdigest()[:16]


# Folders.


@cache
def cache_folder(name: str) -> Path | None:
    """Return the folder for compiled code of the module called ``name``, made when it is written to.

    It is None where no folder can be written.
    """
    root = cache_root()
    last = name.rpartition(".")[2]
    return None if root is None else root / f"{last}-{hash_of(sys.modules[name])}"


# Decorators.


def compiler(
    *,
    inlined: bool = False,
    spliced: bool = False,
    from_python: bool = True,
    counting: bool = True,
) -> Callable[[Function], Function]:
    """Return a decorator like ``numba.njit`` whose cache depends on all that the function is made of.

    Args:
        inlined: whether the machine code of the functions is copied into their callers. Arguments that
            are named tuples of arrays are large structures: a real call copies them, which for one
            order takes longer than its work.
        spliced: whether their statements are, before anything is compiled. For functions that only call
            others: compiled on their own, all below them would be optimised once more.
        from_python: whether Python may call them. What takes apart arguments that come from Python is
            most of what there is to compile of a small function with many of them; without it a call
            from Python is a TypeError.
        counting: whether they count references. Functions that neither make nor return arrays need not:
            their callers hold what they work on. The code for it is a tenth of what there is to compile.
    """
    # Nobody asks for an entry from C.
    options: dict[str, Any] = {"no_cfunc_wrapper": True, "no_cpython_wrapper": not from_python}
    options |= {"_nrt": counting} if not counting else {}
    options |= {"forceinline": inlined, "inline": "always" if spliced else "never"}

    def decorator(function: Function) -> Function:
        # error_model: a division by zero gives inf or nan as in NumPy, and costs no branch.
        compiled = numba.njit(error_model="numpy", **options)(function)
        keep(compiled, cache_folder(function.__module__))
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


jit = compiler()
"""The decorator for jitted functions that Python calls."""

inline = compiler(inlined=True)
"""The same, copied into jitted callers."""

inner = compiler(from_python=False)
"""The decorator for private functions, which only jitted ones call."""

inner_inline = compiler(inlined=True, from_python=False)
"""The same, copied into their callers."""

loop = compiler(inlined=True, from_python=False, counting=False)
"""The decorator for private loops over orders or days, which make and return no array."""

splice = compiler(spliced=True)
"""The decorator for functions that only call others, made part of their jitted callers."""


class _Announcer(event.Listener):  # type: ignore[misc]  # numba is untyped
    """Tells a person, once in a process, that compiling takes a while."""

    def __init__(self) -> None:
        self.said = False
        self._depth = 0
        self._timer: threading.Timer | None = None

    def on_start(self, event: event.Event) -> None:
        """Set the time after which it is said."""
        self._depth += 1
        if not self.said and self._timer is None:
            self._timer = threading.Timer(AT_ONCE, self._say)
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, event: event.Event) -> None:
        """Say nothing where all was compiled in less than that."""
        self._depth -= 1
        if self._depth == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say(self) -> None:
        if not self.said:
            self.said = True
            print(COMPILING, file=sys.stderr, flush=True)


ANNOUNCER = _Announcer()
"""The listener that tells a person."""

event.register("numba:compile", ANNOUNCER)
