"""Cells of a fill log: from text to numbers, times, sides and names, with every fault noted.

Digits are ASCII digits. A number may have groups of three digits, by commas, apostrophes or blanks;
nothing else that a programming language would take for a number (``1_000``, ``nan``) is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from execution_env.calibration.readers.fill_log.faults import MOST_SHOWN, Faults, first_of
from execution_env.calibration.readers.tape import BUY, NANOSECONDS, SELL, DataError, Ints
from execution_env.core.validation import shown

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BLANKS = "[ \u00a0\u2009\u202f]"
_TIME = (
    r"^(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]"
    r"(?::[0-5][0-9](?:\.[0-9]{1,9})?)?$"
)
_SIDES = {
    **dict.fromkeys(("buy", "b", "bid", "bot", "bought", "buytocover", "1"), BUY),
    **dict.fromkeys(("sell", "s", "ask", "offer", "sld", "sold", "sellshort", "2", "5"), SELL),
}
"""Words for the sides without blanks and case; numbers are those of the FIX protocol."""

_DIRECTIVES = frozenset("aAbBdeHIMSpyYmjTF%")
TIME_EXAMPLE = '--time-format "%d.%m.%Y %H:%M:%S"'
MOST_SECONDS = 86_400.0


@dataclass(frozen=True)
class Cells:
    """Cells by our name of their column.

    Attributes:
        frame: text of the cells.
        given: name of each column in the file.
        lines: (m,) line of each row.
        faults: takes what is wrong.
    """

    frame: pl.DataFrame
    given: Mapping[str, str]
    lines: Ints
    faults: Faults

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def wrong(self, name: str, mask: Bools, right: str) -> None:
        """Note a fault for every row of a mask, one if all are: ``right`` says what the cell must be."""
        if mask.any():
            at = first_of(mask)
            column = self.frame[name]
            if mask.all() and mask.size > MOST_SHOWN:  # a column of another kind is one fault
                text = f"{self.given[name]} = {shown(column[0])}, and all other rows: {right}"
                self.faults.add(self.lines[:1], [text])
                return
            texts = [f"{self.given[name]} = {shown(column[int(j)])}: {right}" for j in at]
            self.faults.add(self.lines[at], texts, int(mask.sum()))

    def where(self, name: str, pattern: str) -> Bools:
        """Return which cells match a regular expression, (m,)."""
        return self.frame[name].str.contains(pattern).to_numpy()

    def numbers(
        self, name: str, right: str, comma: bool, low: float = 0.0, above: bool = False
    ) -> tuple[Floats, Bools]:
        """Return finite numbers of at least, or ``above``, ``low``, and which cells are valid.

        Args:
            name: a column; NaN where its cell is empty.
            right: sentence on what is right.
            comma: whether the decimal sign is a comma.
        """
        mark, group = (",", r"\.") if comma else (r"\.", ",")
        tail = rf"(?:{mark}[0-9]*)?(?:[eE][+-]?[0-9]{{1,3}})?$"
        column = self.frame[name]
        plain = rf"^[+-]?(?:[0-9]+(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]{{1,3}})?$"
        good = column.str.contains(plain)
        text = column
        if not good.all():
            groups = "|".join(rf"(?:{sign}[0-9]{{3}})+" for sign in (group, "'", "\u2019", _BLANKS))
            good |= column.str.contains(rf"^[+-]?[0-9]{{1,3}}(?:{groups}){tail}")
            text = text.str.replace_all(rf"[{group}'\u2019]|{_BLANKS}", "")
        if comma:
            text = text.str.replace_all(",", ".", literal=True)
        text = pl.select(pl.when(good).then(text)).to_series()
        value = text.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy().copy()
        empty = (column == "").to_numpy()
        valid = np.isfinite(value) & (value > low if above else value >= low)
        self.wrong(name, ~(valid | empty), right)
        value[~valid] = np.nan
        return value, valid | empty

    def dollars_are_clear(self, names: list[str]) -> None:
        """Refuse prices such as ``100,123``: dollars with a decimal comma, or a hundred thousand."""
        grouped = {
            name: self.where(name, r"^[0-9]{1,3},[0-9]{3}$") for name in names if name in self.given
        }
        if any(mask.any() for mask in grouped.values()) and not any(
            self.where(name, r"\.").any() for name in grouped
        ):
            for name, mask in grouped.items():
                self.wrong(
                    name, mask, "could be 3 decimals or thousands: give --decimal , or --decimal ."
                )

    def times(self, name: str, pattern: str | None, needed: bool = True) -> tuple[Ints, Bools]:
        """Return nanoseconds since 1970, and which cells are valid times.

        Args:
            name: a column.
            pattern: format as ``strptime`` has it; None for 2013-10-07T09:30:00.25.
            needed: whether an empty cell is a fault.
        """
        column = self.frame[name]
        if pattern is None:
            right = "must be date and time without zone, such as 2013-10-07T09:30:00."
            if needed:
                right = right[:-1] + f", or say how it is written, such as {TIME_EXAMPLE}."
            good = column.str.contains(_TIME)
            full = column.str.replace(" ", "T", literal=True)
            short = column.str.len_bytes() == 16
            full = pl.select(pl.when(short).then(full + ":00").otherwise(full)).to_series()
            pattern = "%Y-%m-%dT%H:%M:%S%.f"
        else:
            right = f"must be date and time as in --time-format {shown(pattern)}."
            pattern = time_format(pattern)
            full = column
            good = column.str.contains(r"^[ -~]+$")
        full = pl.select(pl.when(good).then(full)).to_series()
        try:
            day = full.str.to_datetime(pattern, strict=False, time_unit="us").dt.year()
            within = ((day >= 1900) & (day < 2100)).fill_null(False)
            full = pl.select(pl.when(within).then(full)).to_series()
            value = full.str.to_datetime(pattern, strict=False, time_unit="ns")
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0][:200]
            raise DataError(f"--time-format {shown(pattern)}: {reason}.") from error
        valid = value.is_not_null().to_numpy()
        empty = (column == "").to_numpy()
        self.wrong(name, ~valid & (needed | ~empty), right)
        return value.dt.epoch("ns").fill_null(0).to_numpy().copy(), valid

    def sides(self) -> NDArray[np.int8]:
        """Return the sides, (m,); ``tape.BUY`` where a cell is wrong."""
        words = self.frame["side"].str.to_lowercase().str.replace_all(r"[ _-]", "")
        # "-1" is no side of FIX
        words = pl.select(
            pl.when(self.frame["side"].str.contains("^-")).then(pl.lit("")).otherwise(words)
        ).to_series()
        side = words.replace_strict(_SIDES, default=-1, return_dtype=pl.Int8).to_numpy().copy()
        self.wrong("side", side < 0, "must be buy or sell.")
        side[side < 0] = BUY
        return side

    def algos(self) -> tuple[NDArray[np.str_], dict[str, int]]:
        """Return the algos, (m,), and counts of rows whose algo is another's name in other letters.

        Such a row gets the name that more rows have.
        """
        column = self.frame["algo"]
        self.wrong("algo", (column == "").to_numpy(), "must be a name.")
        right = "must be a name without line breaks and the like."
        self.wrong("algo", self.where("algo", r"[\p{C}\p{Zl}\p{Zp}]"), right)
        names = column.value_counts(sort=True, name="rows").sort(
            ["rows", "algo"], descending=[True, False]
        )
        first: dict[str, str] = {}
        taken: dict[str, str] = {}
        counts: dict[str, int] = {}
        for name, rows in names.iter_rows():
            main = first.setdefault(" ".join(name.casefold().split()), name)
            taken[name] = main
            if main != name:
                counts[f"rows of algo {name}, taken for {main}"] = rows
        if counts:
            column = column.replace(taken)
        return column.to_numpy().astype(np.str_), counts


def time_format(pattern: str) -> str:
    """Return a format of ``strptime`` as polars has it.

    Raises:
        DataError: it has no date, no time of the day, a zone, or a directive that is not known.
    """
    where = f"--time-format {shown(pattern)}"
    words = re.findall(r"\.?%(.?)", pattern.replace(".%f", ""), re.DOTALL)
    unknown = [word for word in words if word not in _DIRECTIVES or not word]
    if unknown:
        remedy = (
            "decimals of a second are written .%f." if unknown[0] == "f"
            else f"Known here: {' '.join(f'%{word}' for word in sorted(_DIRECTIVES))} and .%f."
        )  # fmt: skip
        raise DataError(f"{where}: %{unknown[0]} is not known. {remedy}")
    given = set(words)
    day = "F" in given or (given & {"y", "Y"} and ("j" in given or given & {"m", "b", "B"}))
    clock = "T" in given or "H" in given or {"I", "p"} <= given
    if not day or not clock:
        raise DataError(f"{where}: must have date and time of the day, such as {TIME_EXAMPLE}.")
    return pattern.replace(".%f", "%.f")


def seconds(cells: Cells, comma: bool) -> tuple[Ints, Bools]:
    """Return nanoseconds of the column ``seconds``, and which are known."""
    right = "must be a number of seconds from 0 to a day, or empty."
    value, valid = cells.numbers("seconds", right, comma)
    long = value > MOST_SECONDS
    cells.wrong("seconds", valid & long, right)
    known = ~np.isnan(value) & ~long
    return np.rint(np.where(known, value, 0.0) * NANOSECONDS).astype(np.int64), known
