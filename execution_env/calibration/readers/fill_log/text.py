"""The text of a fill log: its lines, its header, and its cells as text.

RFC 4180 with any of four separators. Rows, their line numbers and their numbers of cells are found
from the bytes at once; the rows that have the header's number of cells are then parsed by polars.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from execution_env.calibration.readers.fill_log.faults import Faults, first_of
from execution_env.calibration.readers.tape import DataError, Ints

SEPARATORS = ",;\t|"

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Text:
    """Lines of a file.

    Attributes:
        path: path of the file.
        header: names of the columns, without blanks around them.
        header_line: line of the header.
        separator: sign between cells.
        lines: (m,) line in which each row begins.
        data: bytes of the m rows.
        quoted: whether there are quotation marks.
    """

    path: Path
    header: list[str]
    header_line: int
    separator: str
    lines: Ints
    data: bytes
    quoted: bool

    def frame(self, places: Sequence[int]) -> pl.DataFrame:
        """Return columns by place, named by it, as text without blanks around it."""
        names = [str(j) for j in range(len(self.header))]
        try:
            frame = pl.read_csv(
                self.data,
                has_header=False,
                separator=self.separator,
                quote_char='"' if self.quoted else None,
                schema=dict.fromkeys(names, pl.String),
                columns=list(places),
            )
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0][:200]
            raise DataError(f"{self.path}: cannot be read as csv ({reason}).") from error
        if frame.height != self.lines.size:
            raise DataError(
                f"{self.path}: cannot be read as csv: rows are lost in quotation marks."
            )
        return frame.select(pl.all().fill_null("").str.strip_chars())


def read_text(path: Path, recognised: Callable[[str], object], faults: Faults) -> Text:
    """Return the lines of the file at ``path``.

    Args:
        path: a csv file.
        recognised: returns whether a name is that of a known column; the separator that gives the
            header most known columns is taken.
        faults: takes rows whose number of cells is not the header's; they are left out.

    Raises:
        DataError: there is no such file, it is not text, its quotation marks do not match, or there
            are no rows.
    """
    data = _read(path)
    codes = np.frombuffer(data, np.uint8)
    marks = codes == ord('"')
    quoted = bool(marks.any())
    within: Bytes = np.zeros(1, np.uint8)
    if quoted:
        within = (np.cumsum(marks, dtype=np.uint8) & 1).astype(np.uint8)
    ends = np.flatnonzero((codes == ord("\n")) & (within == 0))
    starts = np.concatenate([[0], ends + 1])
    ends = np.concatenate([ends, [codes.size]])
    first = int(np.argmax(_with_content(codes, starts, "\n")))
    line = data[starts[first] : ends[first]].decode()
    separator, header = _header(path, line, recognised)
    if quoted:
        _check_quotes(path, codes, marks, within, separator)
    cells = _cells(codes, within, separator, starts, ends)
    content = _with_content(codes, starts, separator)
    numbers = _line_numbers(codes, starts, quoted)
    content[: first + 1] = False
    ragged = content & (cells != len(header))
    if ragged.any():
        names = ", ".join(header[:12]) + (", ..." if len(header) > 12 else "")
        at = first_of(ragged)
        texts = [
            f"{cells[j]:,} columns, must be {len(header)} as in the header: {names[:300]}."
            for j in at
        ]
        faults.add(numbers[at], texts, int(ragged.sum()))
    good = content & ~ragged
    if good.all():
        kept = data
    else:
        lengths = np.minimum(ends + 1, codes.size) - starts
        kept = codes[np.repeat(good, lengths)].tobytes()
    return Text(path, header, int(numbers[first]), separator, numbers[good], kept, quoted)


def _read(path: Path) -> bytes:
    """Return the file in UTF-8, with single newlines and none at its end."""
    if not path.exists():
        raise DataError(f"{path}: there is no such file.")
    if not path.is_file():
        raise DataError(f"{path}: is no file. Give a fill log, a csv.")
    try:
        data = path.read_bytes()
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            data = data.decode("utf-16").encode()
        elif not data.isascii():
            data.decode()  # only to see whether it can be
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line:,}: cannot be read as text in UTF-8 ({error.reason}). Save it as UTF-8."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    data = data.rstrip(b"\n")
    if not data.strip():
        raise DataError(f"{path}, line 1: no column time: the file is empty.")
    return data


def _header(path: Path, line: str, recognised: Callable[[str], object]) -> tuple[str, list[str]]:
    """Return the separator and the names of the columns."""
    best: tuple[int, int] = (-1, -1)
    separator, header = ",", [line]
    for sign in SEPARATORS:
        try:
            cells = [_name(cell) for cell in next(csv.reader([line], delimiter=sign), [])]
        except csv.Error as error:
            raise DataError(f"{path}: its first line is no header ({error}).") from error
        score = sum(bool(recognised(cell)) for cell in cells), len(cells)
        if score > best:
            best, separator, header = score, sign, cells
    return separator, header


def _name(cell: str) -> str:
    """Return a column's name on one line, without blanks around it."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(cell.split()))


def _with_content(codes: Bytes, starts: NDArray[np.intp], separator: str) -> NDArray[np.bool_]:
    """Return which rows hold more than separators, quotation marks and blanks."""
    content = (codes > ord(" ")) & (codes != ord(separator)) & (codes != ord('"'))
    return np.asarray(np.logical_or.reduceat(content, starts))


def _cells(
    codes: Bytes, within: Bytes, separator: str, starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return the number of cells in every row."""
    between = np.flatnonzero((codes == ord(separator)) & (within == 0))
    return np.searchsorted(between, ends) - np.searchsorted(between, starts) + 1


def _line_numbers(codes: Bytes, starts: NDArray[np.intp], quoted: bool) -> Ints:
    if not quoted:
        return np.arange(1, starts.size + 1)
    return np.searchsorted(np.flatnonzero(codes == ord("\n")), starts) + 1


def _check_quotes(
    path: Path, codes: Bytes, marks: NDArray[np.bool_], within: Bytes, separator: str
) -> None:
    """Refuse quotation marks that are not around a whole cell, or do not match."""
    at = np.flatnonzero(marks)
    around = np.array([ord("\n"), ord(separator), ord('"')], np.uint8)
    padded = np.concatenate([around[:1], codes, around[:1]])
    opening = within[at] == 1
    beside = np.where(opening, padded[at], padded[at + 2])
    wrong = np.flatnonzero(~np.isin(beside, around))
    if not wrong.size and not opening[-1]:
        return
    # a mark that is never closed shows at the next one: name where the pair begins
    j = int(wrong[0]) if wrong.size else at.size - 1
    place = int(at[j] if opening[j] else at[max(j - 1, 0)])
    line = int((codes[:place] == ord("\n")).sum()) + 1
    raise DataError(
        f"{path}, line {line:,}: not csv: a quotation mark that does not begin a cell, or is not closed "
        "at its end. Marks within a cell are doubled."
    )
