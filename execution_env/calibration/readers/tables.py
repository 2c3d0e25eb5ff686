"""Strict reader of tables of market data: csv without a header, plain or alone in a zip.

Every row must have every column, and whole numbers must be whole numbers; otherwise the error names
the row. The fast parser accepts or refuses a file. After a refusal the rows are read again, one by
one, to find the reason.
"""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from execution_env.calibration.readers.tape import DataError, Ints
from execution_env.core.archive import too_much
from execution_env.core.validation import printable, shown

try:
    import polars as pl
except ImportError as error:
    raise ImportError(
        'Reading market data needs polars: pip install "execution_env[calibration]"'
    ) from error

AGAIN = "Download the file again."
MOST_BYTES = 100_000_000
"""Bytes that any zip may unpack to."""

MOST_GROWTH = 12
"""A zip that is larger may unpack to so many times its own size; real quotes unpack to 6 to 9 times."""

MOST_CELLS, MOST_CELL_GROWTH = 8_000_000, 3.25
"""Cells that any zip may hold, and cells per byte of a larger one: a table takes some 25 bytes each.
Real quotes have up to 2.8."""

_WHOLE = re.compile(r"[ ]*[+-]?[0-9]{1,19}")
_BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # encrypted
    NotImplementedError,  # packed in a way that Python does not know
)


@dataclass(frozen=True)
class Source:
    """Content of one file.

    Attributes:
        place: path in errors; for a zip, with its member.
        name: name of the file, within the zip if it came from one.
        data: bytes of the file.
    """

    place: str
    name: str
    data: bytes


def read_source(path: Path, wanted: str | None = None) -> Source:
    """Return the file at ``path``, or the file in the zip there.

    Args:
        path: a csv file, or a zip of one.
        wanted: part of the member's name, needed for a zip that holds several.

    Raises:
        DataError: there is no such file; or it ends in .zip and is none, is damaged, is empty, or
            does not hold exactly one file (with ``wanted`` in its name).
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file.")
    if path.suffix.lower() != ".zip":
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error}).") from error
        return _not_empty(Source(str(path), path.name, data))
    try:
        with zipfile.ZipFile(path) as archive:
            member = _member(path, archive, wanted)
            data = _unpacked(path, archive, member)
    except _BROKEN_ZIP as error:
        raise DataError(f"{path}: {_why_broken(path, error)}") from error
    return _not_empty(Source(f"{path}, {printable(member)}", Path(member).name, data))


def _unpacked(path: Path, archive: zipfile.ZipFile, member: str) -> bytes:
    """Return the content of a member, which must not be far larger than the zip."""
    size, packed = archive.getinfo(member).file_size, path.stat().st_size
    growth = too_much(size, packed, MOST_BYTES, MOST_GROWTH)
    if growth:
        raise DataError(f"{path}: {growth}, more than market data do. {AGAIN}")
    with archive.open(member) as file:
        data = file.read(size)  # no more than was checked, whatever the member holds
        if file.read(1):
            raise zipfile.BadZipFile(f"{member} is longer than it says")
    cells = data.count(b",") + data.count(b"\n")
    if cells > max(MOST_CELLS, MOST_CELL_GROWTH * packed):
        raise DataError(
            f"{path}: holds {cells:,} cells in {packed / 1e6:,.1f} MB, more than market data do. {AGAIN}"
        )
    return data


def _member(path: Path, archive: zipfile.ZipFile, wanted: str | None) -> str:
    names = [item.filename for item in archive.infolist() if not item.is_dir()]
    if not names:
        raise DataError(f"{path}: an empty zip. {AGAIN}")
    fitting = [name for name in names if wanted and wanted in Path(name).name.lower()]
    if len(names) > 1 and len(fitting) != 1:
        raise DataError(
            f"{path}: holds {len(names)} files ({printable(', '.join(names[:4]))}"
            f"{', ...' if len(names) > 4 else ''}), must hold one"
            f"{f', or one with {shown(wanted)} in its name' if wanted else ''}. Take the others out."
        )
    return fitting[0] if len(fitting) == 1 else names[0]


def _why_broken(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as file:
            begins_well = file.read(2) == b"PK"
    except OSError as unreadable:
        return f"cannot be read ({unreadable})."
    if not begins_well:
        return f"not a zip file. {AGAIN}"
    return f"a zip that is cut off, damaged or encrypted ({error}). {AGAIN}"


def _not_empty(source: Source) -> Source:
    if not source.data.strip():
        raise DataError(f"{source.place}: no rows. {AGAIN}")
    return source


@dataclass(frozen=True)
class Table:
    """Rows of a file, by column; rows count from 1, as an editor shows them."""

    place: str
    frame: pl.DataFrame

    def __len__(self) -> int:
        return self.frame.height

    def ints(self, name: str) -> Ints:
        """Return a column of whole numbers, (rows,)."""
        return self.frame[name].to_numpy()

    def matrix(self, names: Sequence[str]) -> Ints:
        """Return several columns of whole numbers, (rows, names); a new array."""
        return np.stack([self.ints(name) for name in names], axis=1)

    def words(self, name: str) -> NDArray[np.str_]:
        """Return a column of text without empty cells, (rows,)."""
        column = self.frame[name]
        self.refuse(name, column.is_null().to_numpy(), "must not be empty.")
        return column.to_numpy().astype(np.str_)

    def equal(self, name: str, word: str) -> NDArray[np.bool_]:
        """Return where a column of text without empty cells equals ``word``, (rows,)."""
        column = self.frame[name]
        self.refuse(name, column.is_null().to_numpy(), "must not be empty.")
        return (column == word).to_numpy()

    def decimals(self, name: str, digits: int, unit: str) -> Ints:
        """Return a column of decimal numbers times 10^``digits``, (rows,); exact, never floats."""
        column = self.frame[name]
        whole = column.str.extract(r"^([0-9]{1,9})(?:\.[0-9]{1,9})?$")
        part = column.str.extract(r"\.([0-9]+)$").fill_null("")
        wrong = whole.is_null() | (part.str.len_bytes() > digits)
        self.refuse(
            name,
            wrong.to_numpy(),
            f"must be {unit}: digits, with at most {digits} of them behind a decimal point.",
        )
        scaled: Ints = (
            whole.cast(pl.Int64) * 10**digits + part.str.pad_end(digits, "0").cast(pl.Int64)
        ).to_numpy()
        return scaled

    def flags(self, name: str) -> Ints:
        """Return a column of hexadecimal numbers of up to 32 bits, (rows,); an empty cell is 0."""
        column = self.frame[name].fill_null("0")
        value = column.str.to_integer(base=16, strict=False).fill_null(-1).to_numpy()
        self.refuse(
            name,
            (value < 0) | (value >= 1 << 32),
            "must be flags, a hexadecimal number of 32 bits.",
        )
        flags: Ints = value
        return flags

    def refuse(self, name: str, wrong: NDArray[np.bool_], right: str) -> None:
        """Raise for the first row where ``name`` is ``wrong``."""
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            value = self.frame[name][row]
            more = f" ({int(wrong.sum()):,} such rows)" if wrong.sum() > 1 else ""
            raise DataError(
                f"{self.place}, row {row + 1:,}: {name} = {shown('' if value is None else value)}: "
                f"{right}{more}"
            )


def read_table(source: Source, columns: dict[str, type]) -> Table:
    """Return the rows of ``source``.

    Args:
        source: file to read: columns between commas, no header, no quotation marks.
        columns: name and type, int or str, of every column, in order. The last must be int, so that
            a row that is too short shows there.

    Raises:
        DataError: a row has other columns, or text where a whole number should be.
    """
    types = {name: pl.Int64 if kind is int else pl.String for name, kind in columns.items()}
    try:
        frame = pl.read_csv(
            source.data.rstrip(b"\r\n"), has_header=False, schema=types, quote_char=None
        )
    except pl.exceptions.PolarsError as error:
        raise _why_wrong(source, columns) from error
    ints = [name for name, kind in columns.items() if kind is int]
    if any(frame[name].null_count() for name in ints):
        raise _why_wrong(source, columns)
    return Table(source.place, frame)


def width(source: Source) -> int:
    """Return the number of columns in the first row."""
    return source.data.partition(b"\n")[0].count(b",") + 1


def _why_wrong(source: Source, columns: dict[str, type]) -> DataError:
    for row, line in enumerate(source.data.rstrip(b"\r\n").split(b"\n"), 1):
        where = f"{source.place}, row {row:,}"
        try:
            cells = line.rstrip(b"\r").decode().split(",")
        except UnicodeDecodeError:
            return DataError(f"{where}: bytes that are no text. {AGAIN}")
        if len(cells) != len(columns):
            found = f"{len(cells)} column{'s' if len(cells) > 1 else ''}"
            names = (
                ", ".join(columns) if len(columns) <= 12 else f"{', '.join([*columns][:4])}, ..."
            )
            return DataError(
                f"{where}: {found}, must be {len(columns)}: {names}. A file of another kind, or "
                f"damaged. {AGAIN}"
            )
        for (name, kind), cell in zip(columns.items(), cells, strict=True):
            if kind is int and not (_WHOLE.fullmatch(cell) and abs(int(cell)) < 1 << 63):
                return DataError(f"{where}: {name} = {shown(cell)}: must be a whole number.")
    return DataError(
        f"{source.place}: cannot be read as a table of {len(columns)} columns. {AGAIN}"
    )
