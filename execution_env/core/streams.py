"""Standard streams of a command that survive a closed pipe, a closed descriptor and a full disk."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from execution_env.core.atomic import WriteError


class _Outlet(io.RawIOBase):
    """End of a standard stream, which drops everything once nobody reads it.

    Args:
        raw: file to write to.
        name: name of the stream in errors; empty where errors are dropped too.
    """

    def __init__(self, raw: Any, name: str) -> None:
        super().__init__()
        self._raw, self._name, self._over = raw, name, False

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self._raw.isatty())

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def write(self, data: Any) -> int | None:
        if self._over:
            return len(data)
        try:
            written: int | None = self._raw.write(data)
            return written
        except OSError as error:
            self._over = True
            if self._name and not isinstance(error, BrokenPipeError):
                raise WriteError(
                    f"{self._name}: cannot be written ({error.strerror or error}). Send it elsewhere."
                ) from error
            return len(data)


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Let a command print whatever becomes of its standard output and standard error.

    Where the reader of a pipe has seen enough, such as ``head -1``, the rest is dropped and the
    command goes on to its own exit code. A closed stream is like the null device. A stream that
    something else has replaced is left alone.

    Raises:
        SystemExit: 2 where the last of standard output cannot be written, after a line on standard
            error. What cannot be written before is a ``WriteError``.
    """
    before = sys.stdout, sys.stderr
    sys.stdout = _lasting(sys.stdout, sys.__stdout__, 1, "standard output")
    sys.stderr = _lasting(sys.stderr, sys.__stderr__, 2, "")
    try:
        yield
    finally:
        failure = None
        try:
            sys.stdout.flush()
        except WriteError as error:
            failure = error
            print(f"error: {error}", file=sys.stderr)
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
        if failure is not None:
            raise SystemExit(2) from None


def _lasting(stream: Any, usual: Any, number: int, name: str) -> Any:
    """Return what to use instead of ``stream``, the standard stream of this number."""
    if stream is None:
        _occupy(number)
        return open(os.devnull, "w", encoding="utf-8")
    if stream is not usual or not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    raw = getattr(stream.buffer, "raw", None)  # there is none where Python is told not to buffer
    outlet: Any = _Outlet(stream.buffer if raw is None else raw, name)
    return io.TextIOWrapper(
        outlet if raw is None else io.BufferedWriter(outlet),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _occupy(number: int) -> None:
    """Open the null device as this descriptor if it is closed, so that no file gets the number."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        if null != number:
            os.dup2(null, number)
            os.close(null)
