"""numba's compiler for the functions of this package: their cache depends on both packages' sources."""

from __future__ import annotations

from pathlib import Path

import execution_env
from execution_env.core.jit import compiler

_SOURCES = (Path(__file__).parent, Path(execution_env.__file__).parent)

jit = compiler(*_SOURCES)
"""The decorator for jitted functions that Python calls."""

inline = compiler(*_SOURCES, inlined=True)
"""The same, copied into jitted callers."""

inner_inline = compiler(*_SOURCES, inlined=True, from_python=False)
"""The decorator for private functions, which only jitted ones call, copied into them."""
