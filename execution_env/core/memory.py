"""Arrays handed to compiled code by address.

A call from Python into numba costs about 0.1 microseconds for every array argument. For one order
that is several times the work itself. A handle is one record of addresses with names, made once.
Compiled code turns an address back into an array by
``numba.carray(pointer(handle[0].name), shape, dtype)``. The owner of a handle must keep the arrays
alive and in place; nothing else does. There is no plain Python equivalent, so NUMBA_DISABLE_JIT=1
cannot be used; ``tests/allocation/reference.py`` is the model in plain Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import DTypeLike, NDArray

Record = TypeVar("Record", bound=tuple[Any, ...])


def handle_type(arrays: Iterable[str], facts: Iterable[str]) -> np.dtype[np.void]:
    """Return the type of a handle: one int64 per array and per fact, by name."""
    return np.dtype([(name, np.int64) for name in (*arrays, *facts)])


def handle(
    arrays: Mapping[str, NDArray[Any]],
    types: Mapping[str, DTypeLike],
    facts: Mapping[str, int],
) -> NDArray[np.void]:
    """Return a handle, (1,) of ``handle_type(types, facts)``: addresses of ``arrays``, and ``facts``.

    Raises:
        TypeError: an array is missing or not asked for, is not C-contiguous, or is not of its type in
            ``types``; compiled code would misread it.
    """
    if list(arrays) != list(types):
        raise TypeError(f"arrays {', '.join(arrays)}: must be {', '.join(types)}")
    for name, array in arrays.items():
        if array.dtype != types[name] or not array.flags.c_contiguous:
            raise TypeError(
                f"array {name} has type {array.dtype}, must be contiguous and {types[name]}"
            )
    found = np.zeros(1, handle_type(types, facts))
    for name, array in arrays.items():
        found[name] = array.ctypes.data
    for name, fact in facts.items():
        found[name] = fact
    return found


def read_only(record: Record) -> Record:
    """Return ``record``, a named tuple, with its arrays made read-only.

    Caches hand out such records: whoever wrote to one would change every later environment.
    """
    for value in record:
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return record


@intrinsic  # type: ignore[untyped-decorator]
def pointer(_context: Any, address: Any) -> Any:
    """Turn an integer address into a pointer."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), generate
