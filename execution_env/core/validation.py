"""Checks of values; their errors name the key, the value and what would be right."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 80
"""Largest number of characters of a value in a message."""


class ScenarioError(ValueError):
    """Error in a scenario; the message names the key, the value and the remedy, in one line."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Return ``text`` in one line, with escapes for what cannot be printed.

    Names and paths of a scenario may hold any character, those that command a terminal included.
    """
    flat = " ".join(text.split()) if any(sign in text for sign in "\n\r\t") else text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in flat)


def fail(key: str, value: object, remedy: str) -> ScenarioError:
    """Return the error for ``key``; ``remedy`` starts with "must be ..." or is a sentence of its
    own.
    """
    return ScenarioError(f"{key} = {shown(value)}: {remedy}")


def shown(value: object) -> str:
    """Return ``value`` as written in a TOML file, in one line of at most ``WIDTH`` characters."""
    text = _written(value, WIDTH)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def _written(value: object, room: int) -> str:
    """Return ``value`` as written in a TOML file; of a longer one the first ``room`` characters.

    Every level of a nested value takes a character of ``room``, so the depth does not matter.
    """
    if isinstance(value, str):
        start = value[: room + 1]
        return json.dumps(start, ensure_ascii=not start.isprintable())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence | Mapping):
        text, end = ("{", "}") if isinstance(value, Mapping) else ("[", "]")
        for j, item in enumerate(value):
            if len(text) > room:
                return text
            text += ", " if j else ""
            if isinstance(value, Mapping):
                text += f"{_written(item, room - len(text))} = "
                item = value[item]  # noqa: PLW2901
            text += _written(item, room - len(text))
        return text + end
    try:
        return " ".join(str(value).split())
    except ValueError:  # Python refuses to write whole numbers of more than 4,300 digits
        return "a whole number of more than 4,300 digits"


def suggestion(word: object, known: Iterable[str]) -> str:
    """Return ' Did you mean ...?' if a known word is close, else an empty string."""
    if not isinstance(word, str | Path) or len(str(word)) > WIDTH:
        return ""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" Did you mean {shown(close[0])}?" if close else ""


def check_keys(where: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise ScenarioError for the first given key that is not known."""
    for key in given:
        if key not in known:
            short = len(str(key)) <= WIDTH and str(key).isprintable()
            word = str(key) if short else shown(str(key))
            path = f"{where}.{word}" if where else word
            raise ScenarioError(
                f"{path}: unknown key.{suggestion(key, known)} Known here: {', '.join(known)}."
            )


def integer(key: str, value: Any, low: int, high: int, unit: str) -> int:
    """Return ``value`` as an int in [low, high]."""
    right = f"must be a whole number of {unit} from {low:,} to {high:,}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise fail(key, value, f"{right}, without quotes or decimal point.")
    result = int(value)
    if not low <= result <= high:
        raise fail(key, value, f"{right}.")
    return result


def digits(text: str) -> int:
    """Return the whole number that ``text`` writes in ASCII digits, with or without a sign.

    Raises:
        ValueError: it is written otherwise, such as with underscores, or has over 40 digits.
    """
    if not re.fullmatch(r"[+-]?[0-9]{1,40}", text):
        raise ValueError(f"{shown(text)}: must be a whole number, in at most 40 digits 0 to 9.")
    return int(text)


def decimal(text: str) -> float:
    """Return the number that ``text`` writes in ASCII digits, such as -1, .5 or 1e3, nan and inf too.

    Raises:
        ValueError: it is written otherwise, such as with underscores.
    """
    if not text.isascii() or "_" in text:
        raise ValueError(f"{shown(text)}: must be a number, in digits 0 to 9.")
    return float(text)


def number(key: str, value: Any, low: float, high: float, what: str, above: bool = False) -> float:
    """Return ``value`` as a finite float in [low, high], or in (low, high] with ``above``."""
    right = f"must be {what}, a finite number{_interval(low, high, above)}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise fail(key, value, right)
    try:
        result = float(value)
    except OverflowError:
        raise fail(key, value, right) from None
    if not (math.isfinite(result) and low <= result <= high) or (above and result == low):
        raise fail(key, value, right)
    return result


def _interval(low: float, high: float, above: bool) -> str:
    if above:
        return f" above {low:g}" + ("" if math.isinf(high) else f" and at most {high:g}")
    if math.isinf(high):
        return f" of at least {low:g}"
    return f" from {low:g} to {high:g}"


def numbers(
    key: str,
    value: Any,
    low: float,
    high: float,
    what: str,
    unit: str = "bucket",
    above: bool = False,
) -> tuple[float, ...]:
    """Return the list ``value`` as a tuple of numbers, each checked as in ``number``."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise fail(key, value, f"must be a list of numbers, {what} for every {unit}.")
    return tuple(
        number(f"{key}[{j}]", item, low, high, what, above) for j, item in enumerate(value, 1)
    )


def number_or_list(
    key: str,
    value: Any,
    low: float,
    high: float,
    what: str,
    unit: str = "bucket",
    above: bool = False,
) -> float | tuple[float, ...]:
    """Return a number that holds for every ``unit``, or a tuple with one number for each."""
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return numbers(key, value, low, high, what, unit, above)
    return number(key, value, low, high, what, above)


def choice(key: str, value: Any, allowed: Sequence[str]) -> str:
    """Return ``value``, which must be one of ``allowed``."""
    if not isinstance(value, str) or value not in allowed:
        options = " or ".join(shown(option) for option in allowed)
        raise fail(key, value, f"must be {options}.{suggestion(value, allowed)}")
    return value


def flag(key: str, value: Any) -> bool:
    """Return ``value`` as a bool; it must be true or false."""
    if not isinstance(value, bool | np.bool_):
        raise fail(key, value, "must be true or false, without quotes.")
    return bool(value)


def text(key: str, value: Any, most: int | None = None) -> str:
    """Return ``value``, which must be a string, of at most ``most`` characters."""
    if not isinstance(value, str):
        raise fail(key, value, "must be a text in quotes.")
    if most is not None and len(value) > most:
        raise fail(key, value, f"has {len(value):,} characters; at most {most:,} are supported.")
    return value


def check_indices(name: str, indices: NDArray[np.integer[Any]], size: int | None = None) -> None:
    """Check indices of any shape before compiled code uses them, because that does not.

    Args:
        name: their name in errors.
        indices: whole numbers, at least 0.
        size: size of the axis that they index; default no limit.

    Raises:
        ValueError: one is out of range.
    """
    if indices.size and not (indices.min() >= 0 and (size is None or indices.max() < size)):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        right = "at least 0" if size is None else f"from 0 to {size - 1}"
        raise ValueError(f"{name}: has {wrong}, must be {right}.")


def natural(key: str, seed: Any) -> int:
    """Return ``seed`` as a non-negative int.

    Raises:
        ValueError: ``seed`` is anything else.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or int(seed) < 0:
        raise ValueError(f"{key} = {seed!r}: must be a non-negative integer, or left out.")
    return int(seed)


def optional_natural(key: str, seed: Any) -> int | None:
    """Return ``seed`` as a non-negative int, checked as in ``natural``, or None."""
    return None if seed is None else natural(key, seed)
