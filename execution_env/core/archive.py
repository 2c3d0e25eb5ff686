"""The one reader of archives of arrays: days files, policies and checkpoints.

An archive is a zip of ``.npy`` files, as ``numpy.savez`` writes it. It may come from a stranger, so
a table of ``Field`` says what it must hold. Names, types, shapes and sizes are checked before an
array is unpacked, and its numbers before anything is done with them. Nothing is unpickled.

A new format adds a table of fields. Relations between fields that no ``Field`` can say are checked by
whoever reads the format.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from execution_env.core.validation import shown

MOST_BYTES = 200_000_000
"""Bytes that any archive may unpack to."""

MOST_GROWTH = 20
"""An archive that is larger than ``MOST_BYTES`` may unpack to so many times its own size. Days of
real or drawn markets unpack to at most 5 times; zeros can unpack to 1,000 times."""

MOST_LETTERS = 64
"""Longest text in an array."""

FOREIGN = "it is of another program or version, or was changed by hand"
DAMAGED = "damaged, or no .npz file of numbers"

Sizes = Mapping[str, int]
Casting = Literal["no", "safe"]


class ArchiveError(ValueError):
    """Error of an archive; the message is one line, without its path."""


class Field(NamedTuple):
    """Requirements on an array.

    Attributes:
        dtype: type of the array that is returned; ``str`` for texts of at most ``MOST_LETTERS``
            printable letters.
        axes: its axes, in order: the name of a size of at least 1 that arrays share, a size, or "*"
            for any size. No axes: a number.
        low, high: least and largest number that it may hold.
        below: name of an axis; numbers must be below its size.
        among: the only numbers that it may hold; empty for no such limit.
        nan: whether numbers may be missing (NaN). Infinite ones are always refused.
        equal: the only right array, such as a version of the format. It is judged before all other
            arrays, because these differ where it differs.
        about: what the error of a wrong array says after ``equal``.
    """

    dtype: DTypeLike
    axes: tuple[str | int, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    below: str = ""
    among: tuple[int, ...] = ()
    nan: bool = False
    equal: int | NDArray[Any] | None = None
    about: str = ""


def read_archive(
    path: Path,
    fields: Mapping[str, Field],
    sizes: Sizes | None = None,
    casting: Casting = "no",
    compressed: bool = False,
) -> dict[str, NDArray[Any]]:
    """Return the arrays of the archive at ``path``.

    Args:
        path: path of the archive.
        fields: what every array must be, by name. A name that ends in ``*`` stands for any number of
            arrays whose names begin so.
        sizes: sizes of axes that are known; the others are those of the first array that has them.
        casting: "no" for arrays of exactly the types of ``fields``; "safe" for such that can become
            them without loss.
        compressed: whether arrays may be compressed.

    Raises:
        ArchiveError: the archive is damaged, or not as ``fields`` say.
        OSError: the file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # sound archives cause no warnings of NumPy
            with path.open("rb") as file, zipfile.ZipFile(file) as archive:
                return _read(archive, path.stat().st_size, fields, sizes, casting, compressed)
    except (ArchiveError, OSError):
        raise
    except Exception as error:  # damaged bytes make zipfile and NumPy raise nearly anything
        what = " ".join(str(error).split())[:120] or type(error).__name__
        raise ArchiveError(f"{DAMAGED} ({what})") from error


def _read(
    archive: zipfile.ZipFile,
    size: int,
    fields: Mapping[str, Field],
    sizes: Sizes | None,
    casting: Casting,
    compressed: bool,
) -> dict[str, NDArray[Any]]:
    members = _members(archive, size, compressed)
    known = dict(sizes or {})
    arrays: dict[str, NDArray[Any]] = {}
    for name, field in fields.items():
        if field.equal is not None and name in members:
            arrays[name] = _array(archive, members[name], field, known, casting)
            if not np.array_equal(arrays[name], field.equal):
                value = f"{name} = {arrays[name]}: " if not arrays[name].ndim else ""
                raise ArchiveError(f"{value}{field.about}")
    every = _fields_of(members, fields)
    for name, field in every.items():
        if name not in arrays:
            arrays[name] = _array(archive, members[name], field, known, casting)
    for name, field in every.items():
        if field.below:
            _check_range(name, arrays[name], field._replace(high=known[field.below] - 1))
    return arrays


def _members(archive: zipfile.ZipFile, size: int, compressed: bool) -> dict[str, zipfile.ZipInfo]:
    """Return the members of the zip by name of array; nothing is unpacked."""
    members: dict[str, zipfile.ZipInfo] = {}
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if compressed else (zipfile.ZIP_STORED,)
    unpacked = 0
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            raise ArchiveError(f"holds {shown(member.filename)}, which is no array; {FOREIGN}")
        if name in members:
            raise ArchiveError(f"holds two arrays {shown(name)}; {FOREIGN}")
        if member.compress_type not in methods:
            raise ArchiveError(
                f"{name} is {'packed in an unknown way' if compressed else 'compressed'}; {FOREIGN}"
            )
        if member.compress_type == zipfile.ZIP_STORED and member.file_size > size:
            raise ArchiveError(f"{DAMAGED} ({name} is larger than the file)")
        unpacked += member.file_size
        members[name] = member
    growth = too_much(unpacked, size, MOST_BYTES, MOST_GROWTH)
    if growth:
        raise ArchiveError(f"{growth}, more than arrays of numbers do; {FOREIGN}")
    return members


def too_much(unpacked: int, packed: int, most: int, growth: int) -> str:
    """Return words on a zip that would unpack to too much; empty where it would not.

    Args:
        unpacked, packed: bytes.
        most: bytes that any zip may unpack to.
        growth: multiple of its own size that a larger one may unpack to.
    """
    if unpacked <= max(most, growth * packed):
        return ""
    return f"would unpack to {unpacked / 1e6:,.0f} MB from {packed / 1e6:,.1f} MB"


def _fields_of(
    members: Mapping[str, zipfile.ZipInfo], fields: Mapping[str, Field]
) -> dict[str, Field]:
    """Return the field of every member, in the order of ``fields``; all must be there."""
    every: dict[str, Field] = {}
    for name, field in fields.items():
        found = [name]
        if name.endswith("*"):
            found = [member for member in members if member.startswith(name[:-1])]
        every |= dict.fromkeys(found, field)
    missing = [name for name in every if name not in members]
    unknown = [name for name in members if name not in every]
    if missing or unknown:
        facts = [
            f"{verb} {shown(', '.join(names))}"
            for verb, names in (("lacks", missing), ("holds the unknown", unknown))
            if names
        ]
        raise ArchiveError(f"{' and '.join(facts)}; {FOREIGN}")
    return every


def _array(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    field: Field,
    sizes: dict[str, int],
    casting: Casting,
) -> NDArray[Any]:
    """Return one array, checked; sizes of axes that it is the first to have are added to ``sizes``."""
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as content:
        shape, dtype, length = _header(content)
    _check_type(name, dtype, field, casting)
    _check_shape(name, shape, field, sizes)
    if length + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ArchiveError(f"{DAMAGED} ({name} is not as long as it says)")
    with archive.open(member) as content:
        array = np.lib.format.read_array(content, allow_pickle=False)
        content.read(1)  # the end of the member, where zipfile checks its checksum
    if field.dtype is str:
        _check_texts(name, array)
        return array
    array = array.astype(field.dtype, copy=False)
    _check_range(name, array, field)
    return array


def _header(content: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape, type and length in bytes of a ``.npy`` header."""
    version = np.lib.format.read_magic(content)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format")
    shape, _, dtype = read(content)
    return shape, dtype, content.tell()


def _check_type(name: str, dtype: np.dtype[Any], field: Field, casting: Casting) -> None:
    if field.dtype is str:
        if dtype.kind != "U":
            raise ArchiveError(f"{name} is {str(dtype)[:80]}, not texts; {FOREIGN}")
        if dtype.itemsize > 4 * MOST_LETTERS:
            raise ArchiveError(
                f"{name} has texts of {dtype.itemsize // 4:,} letters, the most are {MOST_LETTERS}; "
                f"{FOREIGN}"
            )
        return
    right = np.dtype(field.dtype)
    if dtype.kind not in "biuf" or not np.can_cast(dtype, right, casting):
        raise ArchiveError(f"{name} is {str(dtype)[:80]}, not {right}; {FOREIGN}")


def _check_shape(name: str, shape: tuple[int, ...], field: Field, sizes: dict[str, int]) -> None:
    fits = len(shape) == len(field.axes)
    if fits:
        for size, axis in zip(shape, field.axes, strict=True):
            if axis != "*":
                known = sizes.get(axis) if isinstance(axis, str) else axis
                fits &= size >= 1 if known is None else size == known
                if known is None and fits:
                    sizes[str(axis)] = size
    if not fits:
        right = ", ".join(str(sizes.get(str(axis), axis)) for axis in field.axes)
        comma = "," if len(field.axes) == 1 else ""
        raise ArchiveError(f"{name} has shape {str(shape)[:80]}, not ({right}{comma}); {FOREIGN}")


def _check_texts(name: str, array: NDArray[np.str_]) -> None:
    for text in np.unique(array):
        if not str(text).isprintable():
            raise ArchiveError(f"{name} has the text {shown(str(text))}; {FOREIGN}")


def _check_range(name: str, array: NDArray[Any], field: Field) -> None:
    """Check numbers without another array of their size, unless one of them is wrong."""
    if not array.size or array.dtype.kind == "b":
        return
    missing = np.isnan(array) if field.nan and array.dtype.kind == "f" else None
    numbers = array if missing is None else array[~missing]
    if not numbers.size:
        return
    least, largest = numbers.min(), numbers.max()  # NaN if any is NaN
    finite = bool(np.isfinite(least) and np.isfinite(largest))
    among = not field.among or bool(np.isin(numbers, field.among).all())
    if finite and among and field.low <= least and largest <= field.high:
        return
    if not finite:
        raise ArchiveError(f"{name} has numbers that are not finite; {FOREIGN}")
    wrong = (numbers < field.low) | (numbers > field.high)
    if field.among:
        wrong |= ~np.isin(numbers, field.among)
    first = numbers[wrong].flat[0]
    raise ArchiveError(f"{name} has {first:.15g}, {_right(field)}; {FOREIGN}")


def _right(field: Field) -> str:
    if field.among:
        return f"must be {' or '.join(map(str, field.among))}"
    if math.isinf(field.high):
        return f"must be at least {field.low:.15g}"
    if math.isinf(field.low):
        return f"must be at most {field.high:.15g}"
    return f"must be from {field.low:.15g} to {field.high:.15g}"
