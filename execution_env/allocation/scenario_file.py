"""Reading and writing of scenarios: TOML files, dictionaries, overrides, and shipped scenarios."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from execution_env.allocation.algo import Algo
from execution_env.allocation.scenario import OPTIONAL_SECTIONS, SECTIONS, Scenario
from execution_env.core.validation import ScenarioError, check_keys, fail, suggestion

MOST_BYTES = 2_000_000
"""Largest scenario file, bytes. A list of 1,000 buckets takes some 20,000."""

MOST_KEY_PARTS = 16
"""Largest number of words with dots between them in a key of a file. Sections need two.

The parser's time grows with the square of that number.
"""

SHIPPED = Path(__file__).parent / "scenarios"

LONG_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MOST_KEY_PARTS}}}"""
)
"""Pattern of as many words, bare or quoted, each with a dot after it; it never goes back."""

MOST_WORDS = 300
"""Largest number of characters of the parser's message in ours."""

REQUIRED_SECTIONS = ("order", "penalties")


def scenarios() -> list[str]:
    """Return the names of the shipped scenarios."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_scenario(
    scenario: str | Path | Mapping[str, Any] | Scenario = "baseline",
    overrides: Mapping[str, Any] | None = None,
) -> Scenario:
    """Return the scenario that ``scenario`` names or holds, with ``overrides`` applied.

    Args:
        scenario: a shipped name, the path of a TOML file, its content as a dictionary, or a
            ``Scenario``.
        overrides: values by dotted key, such as ``{"order.buckets": 20, "algos.Passive.cost": 0.2,
            "participation.window": None}``; None removes a key. An algo's key is its name or its
            number from 1.

    Raises:
        ScenarioError: the scenario does not exist, or something in it is wrong.
    """
    if overrides is not None and not isinstance(overrides, Mapping):
        raise fail("overrides", overrides, 'must be a dictionary such as {"order.buckets": 20}.')
    if isinstance(scenario, Scenario):
        return with_overrides(scenario, overrides) if overrides else scenario
    if isinstance(scenario, Mapping):
        return scenario_from_dict(_overridden(scenario, overrides or {}))
    if not isinstance(scenario, str | Path):
        raise fail("scenario", scenario, "must be a shipped name or the path of a TOML file.")
    path = _path(scenario)
    try:
        content = _text(path)
        if overrides:
            return scenario_from_dict(_overridden(_located(toml_content(content), path), overrides))
        return _scenario_of(content, path)
    except ScenarioError as error:
        raise ScenarioError(f"{path.name}: {error}") from None


def scenario_text(scenario: str | Path) -> str:
    """Return the text of the file of a shipped name or a path, comments included.

    Raises:
        ScenarioError: there is no such file, or it cannot be read.
    """
    return _text(_path(scenario))


def _path(scenario: str | Path) -> Path:
    if str(scenario) in scenarios():
        return SHIPPED / f"{scenario}.toml"
    path = Path(scenario)
    with contextlib.suppress(RuntimeError):  # no such user
        path = path.expanduser()
    if path.is_file():
        return path
    if path.suffix == ".toml" or "/" in str(scenario) or os.sep in str(scenario):
        raise ScenarioError(f"scenario file {path}: there is no such file.")
    raise fail(
        "scenario",
        str(scenario),
        f"is not shipped.{suggestion(scenario, scenarios())} Shipped are {', '.join(scenarios())}; "
        "or give the path of a .toml file.",
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ScenarioError(
                f"is larger than {MOST_BYTES:,} bytes, which no scenario is; give its TOML file."
            )
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"not a text file in UTF-8: {error}.") from None
    except OSError as error:
        raise ScenarioError(f"cannot be read: {error.strerror}.") from None


def toml_content(text: str) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ScenarioError: it is no TOML, or nested deeper than any scenario.
    """
    if LONG_KEY.search(text):
        raise ScenarioError(
            f"has a key of more than {MOST_KEY_PARTS} words with dots between them."
        )
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ScenarioError(
            "not a scenario: its lists or sections are nested too deeply."
        ) from None
    except ValueError as error:
        why = " ".join(str(error).split())
        if "sys.set_int_max_str_digits" in why:
            why = "a number has more than 4,300 digits"
        why = why if len(why) <= MOST_WORDS else f"{why[:MOST_WORDS]}..."
        raise ScenarioError(f"not valid TOML: {why}.") from None


def _located(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return ``content`` with the path of replayed days resolved against the folder of ``path``."""
    replay = content.get("replay")
    if isinstance(replay, dict) and isinstance(replay.get("file"), str):
        file = Path(replay["file"])
        with contextlib.suppress(RuntimeError):  # no such user
            file = file.expanduser()
        replay["file"] = str(path.parent / file)
    return content


@lru_cache(maxsize=64)
def _scenario_of(content: str, path: Path) -> Scenario:
    return scenario_from_dict(_located(toml_content(content), path))


def scenario_from_dict(content: Mapping[str, Any]) -> Scenario:
    """Return the scenario of a dictionary with the structure of a scenario file.

    Raises:
        ScenarioError: unknown or missing keys, wrong types, impossible values.
    """
    known = ["name", "description", *SECTIONS, "algos"]
    check_keys("", content, known)
    parts: dict[str, Any] = {
        key: _section(key, kind, content[key]) for key, kind in SECTIONS.items() if key in content
    }
    for key in REQUIRED_SECTIONS:
        if key not in parts:
            raise ScenarioError(f"[{key}]: missing section.")
    if "name" not in content:
        raise ScenarioError('name: missing; add a line such as name = "my scenario" at the top.')
    algos = content.get("algos", [])
    if isinstance(algos, Mapping) or not isinstance(algos, list | tuple):
        raise fail("algos", algos, "must be a list; write [[algos]] with double brackets.")
    parts["algos"] = tuple(_section(f"algos[{j}]", Algo, item) for j, item in enumerate(algos, 1))
    return Scenario(name=content["name"], description=content.get("description", ""), **parts)


def _section(key: str, kind: type, content: Any) -> Any:
    if not isinstance(content, Mapping):
        section = "[[algos]]" if kind is Algo else f"[{key}]"
        raise fail(key, content, f"must be a section {section} with keys.")
    fields = dataclasses.fields(kind)
    check_keys(key, content, [item.name for item in fields])
    for item in fields:
        required = item.default is dataclasses.MISSING
        if required and content.get(item.name) is None:
            raise ScenarioError(f"{key}.{item.name}: missing key.")
    return kind(**{name: value for name, value in content.items() if value is not None})


def scenario_to_dict(scenario: Scenario) -> dict[str, Any]:
    """Return the content of ``scenario``'s file as JSON primitives; defaults are left out."""
    content: dict[str, Any] = {"name": scenario.name, "description": scenario.description}
    for key in SECTIONS:
        part = getattr(scenario, key)
        values = {} if part is None else _non_default(part)
        if values or (key in OPTIONAL_SECTIONS and part is not None):
            content[key] = values
    content["algos"] = [_non_default(algo) for algo in scenario.algos]
    return content


def _non_default(part: Any) -> dict[str, Any]:
    values = {}
    for item in dataclasses.fields(part):
        value = getattr(part, item.name)
        if item.default is dataclasses.MISSING or value != item.default:
            values[item.name] = list(value) if isinstance(value, tuple) else value
    return values


def scenario_changes(one: Scenario, other: Scenario) -> dict[str, tuple[Any, Any]]:
    """Return the values of ``one`` and ``other`` that differ, by dotted key as in ``load_scenario``.

    A value is None where a scenario does not have its section or algo. Name and description do not
    count. If the algos have other names, their lists of names are the only difference in them.
    """
    algos = one.algo_names == other.algo_names
    values, given = zip(*(_flat(scenario, algos) for scenario in (one, other)), strict=True)
    found = {} if algos else {"algos": (list(one.algo_names), list(other.algo_names))}
    for key in [*values[0], *(key for key in values[1] if key not in values[0])]:
        pair = values[0].get(key), values[1].get(key)
        if pair[0] != pair[1] and (key in given[0] or key in given[1]):
            found[key] = pair
    return found


def _flat(scenario: Scenario, algos: bool) -> tuple[dict[str, Any], set[str]]:
    """Return all values by dotted key, and the keys of those that are not defaults."""
    parts = {key: getattr(scenario, key) for key in SECTIONS}
    parts |= {f"algos.{algo.name}": algo for algo in scenario.algos if algos}
    values: dict[str, Any] = {}
    given: set[str] = set()
    for key, part in parts.items():
        if part is None:
            continue
        values |= {
            f"{key}.{item.name}": getattr(part, item.name) for item in dataclasses.fields(part)
        }
        given |= {f"{key}.{name}" for name in _non_default(part)}
    return values, given


def scenario_to_toml(scenario: Scenario) -> str:
    """Return ``scenario`` as the text of a TOML file; reading it gives an equal scenario."""
    import tomlkit  # noqa: PLC0415  only writing needs it, and it takes a while

    text = tomlkit.dumps(scenario_to_dict(scenario))
    # Names and texts may hold signs that command a terminal; all of them are between quotes here.
    return "".join(
        sign if sign.isprintable() or sign == "\n" else f"\\U{ord(sign):08x}" for sign in text
    )


def with_overrides(scenario: Scenario, overrides: Mapping[str, Any]) -> Scenario:
    """Return ``scenario`` with other values, by dotted key as in ``load_scenario``."""
    return scenario_from_dict(_overridden(scenario_to_dict(scenario), overrides))


def _overridden(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    result = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in content.items()
    }
    algos = result.get("algos", [])
    if isinstance(algos, list | tuple):
        result["algos"] = [dict(a) if isinstance(a, Mapping) else a for a in algos]
    for path, value in overrides.items():
        *where, key = str(path).split(".")
        target = _target(result, where, path)
        if value is None:
            target.pop(key, None)
        else:
            target[key] = value
    return result


def _target(content: dict[str, Any], where: list[str], path: str) -> dict[str, Any]:
    """Return the dictionary that holds the last word of an override's ``path`` as a key."""
    if not where:
        return content
    if where[0] == "algos" and len(where) == 2:
        algos: list[dict[str, Any]] = content["algos"]
        if not isinstance(algos, list) or not all(isinstance(algo, dict) for algo in algos):
            raise fail("algos", algos, "must be a list; write [[algos]] with double brackets.")
        names = [str(algo.get("name")) for algo in algos]
        if where[1] in names:
            return algos[names.index(where[1])]
        if where[1].isascii() and where[1].isdecimal() and 1 <= int(where[1]) <= len(algos):
            return algos[int(where[1]) - 1]
        raise ScenarioError(
            f"override {path}: there is no algo {where[1]}.{suggestion(where[1], names)} "
            f"Algos here: {', '.join(names)}, or a number from 1 to {len(algos)}."
        )
    if where[0] in SECTIONS and len(where) == 1:
        section = content.setdefault(where[0], {})
        if isinstance(section, dict):
            return section
    raise ScenarioError(
        f"override {path}: no such key.{suggestion(where[0], [*SECTIONS, 'algos'])} Write "
        "section.key, such as order.buckets, or algos.NAME.key."
    )
