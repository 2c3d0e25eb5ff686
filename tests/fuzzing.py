"""Seeded damage to files, for fuzz tests of the readers.

A fuzz test writes a good file, damages it in ``rounds`` ways and reads it. The reader may accept what
it gets, or refuse it with one line; nothing else may happen.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NASTY = (
    *(b"", b" ", b"0", b"-1", b"1", b"nan", b"inf", b"-inf", b"1e300", b"-1e300", b"1e-300"),
    *(b"0.1", b"9" * 30, b"2147483648", b"9223372036854775808", b"-9223372036854775808"),
    *(
        "\uff11".encode(),
        "\u0663".encode(),
        b"1_000",
        b"1,000",
        b"0x10",
        b"1e",
        b"--1",
        b"\x00",
        b"\xff",
    ),
    *(b'"', b'""', b"'", b";", b"\t", b"\r", b"\n", b"[", b"]", b"{", b"=", b"#", "\xe9".encode()),
    *(b"true", b"null", b"None", b"1970-01-01", b"9999-99-99T99:99:99", b"x" * 5000),
)
"""Texts that readers of numbers, dates and names have stumbled over."""

Damage = Callable[[bytes, np.random.Generator], bytes]

BREAKS = b",;\t \n\r=[]:-T"
"""Bytes between two cells of a text."""


def _flip(content: bytearray, draw: np.random.Generator) -> bytearray:
    for _ in range(int(draw.integers(1, 4))):
        content[draw.integers(len(content))] ^= 1 << int(draw.integers(8))
    return content


def _cut(content: bytearray, draw: np.random.Generator) -> bytearray:
    return content[: draw.integers(len(content))]


def _remove(content: bytearray, draw: np.random.Generator) -> bytearray:
    first = int(draw.integers(len(content)))
    del content[first : first + int(draw.integers(1, 65))]
    return content


def _repeat(content: bytearray, draw: np.random.Generator) -> bytearray:
    first, last = sorted(int(at) for at in draw.integers(len(content) + 1, size=2))
    piece = content[first : min(last, first + 4096)]
    at = int(draw.integers(len(content) + 1))
    return content[:at] + piece + content[at:]


def _cell(content: bytearray, draw: np.random.Generator) -> bytearray:
    """Replace what stands between two breaks."""
    at = int(draw.integers(len(content)))
    first = last = at
    while first > 0 and content[first - 1] not in BREAKS and at - first < 64:
        first -= 1
    while last < len(content) and content[last] not in BREAKS and last - at < 64:
        last += 1
    return content[:first] + NASTY[draw.integers(len(NASTY))] + content[last:]


def damaged(content: bytes, draw: np.random.Generator) -> bytes:
    """Return ``content``, which must not be empty, with one to three kinds of damage."""
    changed = bytearray(content)
    for _ in range(int(draw.integers(1, 4))):
        if changed:
            kind = (_flip, _cut, _remove, _repeat, _cell, _cell)[draw.integers(6)]
            changed = kind(changed, draw)
    return bytes(changed)


NUMBERS = (0, 1, -1, 2, 7, 1000, 2**31 - 1, -(2**31), 2**62, 2**63 - 1, 0.5, -1e-300, 1e300)
ODD_NUMBERS = (*NUMBERS, np.nan, np.inf, -np.inf)
TYPES = ("<f8", "<f4", "<i8", "<i4", "<u8", "|u1", "|b1", "<c16", "<U3", "|S2", ">i8", "<M8[s]")


def damaged_arrays(
    arrays: dict[str, NDArray[Any]], draw: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Return ``arrays`` with one to three changes of numbers, types, shapes or names."""
    changed = {name: array.copy() for name, array in arrays.items()}
    for _ in range(int(draw.integers(1, 4))):
        name = str(draw.choice(sorted(changed)))
        array, kind = changed[name], int(draw.integers(10))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind < 5 and array.size and array.dtype.kind in "iuf":
                odd = ODD_NUMBERS[draw.integers(len(ODD_NUMBERS))]
                where = draw.random(array.shape) < draw.choice([0.01, 0.5, 1.0])
                where |= not where.any()
                changed[name] = np.where(where, np.float64(odd).astype(array.dtype), array)
            elif kind == 5 and array.ndim:
                axis = int(draw.integers(array.ndim))
                ends = np.arange(int(draw.integers(2 * array.shape[axis] + 1)))
                changed[name] = np.take(array, ends, axis, mode="wrap") if array.size else array
            elif kind == 6:
                shapes = (array.T, array.reshape(-1), array[None], array[..., None])
                changed[name] = shapes[draw.integers(len(shapes))]
            elif kind == 7:
                with contextlib.suppress(Exception):  # no such change
                    changed[name] = array.astype(TYPES[draw.integers(len(TYPES))])
            elif kind == 8 and draw.random() < 0.3:
                del changed[name]
            elif kind == 9 and draw.random() < 0.3:
                changed["more"] = array
            elif array.size and array.dtype.kind in "iuf":
                changed[name] = (array * np.float64(draw.choice([2, 1000]))).astype(array.dtype)
    return changed


def rounds(number: int, seed: int = 0) -> Iterator[np.random.Generator]:
    """Yield a generator for each of ``number`` rounds; round j of a seed is always the same."""
    for j in range(number):
        yield np.random.default_rng([seed, j])


def read_damaged(
    path: Path,
    read: Callable[[Path], Any],
    refusals: type[Exception] | tuple[type[Exception], ...],
    number: int,
    seed: int = 0,
    damage: Damage = damaged,
) -> int:
    """Damage the good file at ``path`` in ``number`` ways; return how many of them were refused.

    Args:
        path: path of the good file, which is replaced by each damaged one and put back at the end.
        read: function that reads the file at a path.
        refusals: exceptions that are refusals; their message must be one line that is not empty.
        number: rounds.
        seed: seed of all damage.
        damage: function that makes damaged bytes of good ones.

    Raises:
        AssertionError: reading raised anything else; the message names seed and round.
    """
    good = path.read_bytes()
    refused = 0
    try:
        for j, draw in enumerate(rounds(number, seed)):
            path.write_bytes(damage(good, draw))
            try:
                read(path)
            except refusals as error:
                refused += 1
                message = str(error)
                assert message.strip(), (seed, j)
                assert "\n" not in message, (seed, j, message)
            except Exception as error:
                raise AssertionError(f"seed {seed}, round {j}: {type(error).__name__}") from error
    finally:
        path.write_bytes(good)
    return refused
