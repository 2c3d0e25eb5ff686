"""Arrays handed to compiled code by address.

A call from Python into numba costs about 0.1 microseconds for every array argument. For one order
that is several times the work itself. A handle is one array of addresses, made once. Compiled code
turns an entry back into an array by ``numba.carray(pointer(handle[j]), shape, dtype)``. The owner
of a handle must keep the arrays alive and in place; nothing else does. There is no plain Python
equivalent, so NUMBA_DISABLE_JIT=1 cannot be used; ``tests/allocation/reference.py`` is the model in
plain Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import DTypeLike, NDArray


def addresses(arrays: Sequence[NDArray[Any]], dtypes: Sequence[DTypeLike]) -> NDArray[np.int64]:
    """Return the addresses of ``arrays``, one int64 each.

    Raises:
        TypeError: an array is not C-contiguous or not of its type in ``dtypes``; compiled code
            would misread it.
    """
    for j, (array, dtype) in enumerate(zip(arrays, dtypes, strict=True)):
        if array.dtype != dtype or not array.flags.c_contiguous:
            raise TypeError(f"array {j} has type {array.dtype}, must be contiguous and {dtype}")
    return np.array([array.ctypes.data for array in arrays], np.int64)


@intrinsic  # type: ignore[untyped-decorator]
def pointer(_context: Any, address: Any) -> Any:
    """Turn an integer address into a pointer."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), generate
