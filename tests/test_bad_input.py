"""Bad input: one clear error that names the key, the value and the remedy."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tomlkit
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from execution_env import (
    OrderAllocationEnv,
    OrderAllocationVectorEnv,
    ScenarioError,
    load_scenario,
    scenarios,
)
from execution_env.scenario_file import scenario_from_dict

Content = dict[str, Any]

BASE: Content = {
    "name": "base",
    "description": "every section, and nothing wrong",
    "order": {"size": 1000, "lot_size": 10, "buckets": 4},
    "costs": {"basis": "posted"},
    "algos": [
        {
            "name": "Fast",
            "cost": [2.0, 2.0, 2.0, 3.0],
            "fill_rate": [0.9, 0.9, 0.9, 1.0],
            "day_sd": 0.3,
            "bucket_sd": 0.3,
            "liquidity_loading": 0.5,
        },
        {"name": "Slow", "cost": 0.0, "fill_rate": 0.25, "last_fill_rate": 0.3},
    ],
    "liquidity": {"sd": 0.3, "persistence": 0.5},
    "volume": {"expected": [2000.0, 1000.0, 1000.0, 2000.0], "sd": 0.2},
    "participation": {"max_rate": 0.3, "window": 2, "max_posted": 500},
    "envelope": {"lower": [0.1, 0.2, 0.4, 0.8], "upper": [0.5, 0.6, 0.9, 1.0]},
    "penalties": {"envelope": 5.0, "residual": 10.0, "residual_quadratic": 1.0},
    "estimator": {"kind": "pseudo-count", "prior_weight": [5.0, 6.0], "icc": 0.1, "memory": 0.9},
    "actions": {"resolution": 4},
}
ABSENT = object()


def changed(changes: dict[str, Any]) -> Content:
    """``BASE`` with other values, by dotted key; algos go by number from 1. Not the package's own
    overrides: these can break the content in every way."""
    content = copy.deepcopy(BASE)
    for path, value in changes.items():
        *where, key = path.split(".")
        target: Any = content
        for word in where:
            target = target[int(word) - 1] if word.isdecimal() else target[word]
        if value is ABSENT:
            del target[key]
        else:
            target[key] = value
    return content


def refusal(content: Content) -> str:
    """The message with which ``content`` is refused."""
    with pytest.raises(ScenarioError) as caught:
        scenario_from_dict(content)
    message = str(caught.value)
    assert "\n" not in message
    return message


def in_toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    return str(value)


def named(path: str) -> str:
    """The key as errors have it: algos by name."""
    return path.replace("algos.1.", "algos.Fast.").replace("algos.2.", "algos.Slow.")


def wrong(path: str, remedy: str, *values: object) -> list[Any]:
    """Cases: ``path`` with each of ``values`` is refused with words of ``remedy``."""
    return [pytest.param(path, value, remedy, id=f"{path}={value!r:.40}") for value in values]


FRACTION = "from 0 to 1"
NOT_A_FRACTION = (-0.01, 1.01, nan, inf, -inf, "0.5", True)
NOT_A_PRICE = (-0.01, nan, inf, -inf, "1", True)
NOT_A_SD = (-0.01, 20.01, nan, inf, "0.1", False, [0.1])

WRONG = [
    *wrong("name", "text in quotes", 5, True, ["base"]),
    *wrong("description", "text in quotes", 5, ["why"]),
    *wrong("order.size", "whole number of shares", "1000", 1000.0, True, nan, inf, [1000]),
    *wrong("order.size", "from 1 to 1,000,000,000,000", 0, -10, 10**12 + 10),
    *wrong("order.lot_size", "whole number of shares", "10", 10.0, False, nan, [10]),
    *wrong("order.lot_size", "from 1 to 1,000,000,000,000", 0, -1, 10**12 + 1),
    *wrong("order.buckets", "whole number of buckets", "4", 4.0, True, nan, [4]),
    *wrong("order.buckets", "from 1 to 100,000", 0, -4, 100_001),
    *wrong("costs.basis", '"posted" or "filled"', "post", "", 1, True, ["posted"]),
    *wrong("algos.1.cost", "of at least 0", *NOT_A_PRICE),
    *wrong("algos.1.fill_rate", FRACTION, *NOT_A_FRACTION),
    *wrong("algos.2.last_fill_rate", FRACTION, *NOT_A_FRACTION, [0.3]),
    *wrong("algos.1.day_sd", "from 0 to 20", *NOT_A_SD),
    *wrong("algos.1.bucket_sd", "from 0 to 20", *NOT_A_SD),
    *wrong(
        "algos.1.liquidity_loading", "from -20 to 20", -20.01, 20.01, nan, inf, "1", True, [1.0]
    ),
    *wrong("liquidity.sd", "from 0 to 20", *NOT_A_SD),
    *wrong("liquidity.persistence", FRACTION, *NOT_A_FRACTION, [0.5]),
    *wrong("volume.expected", "list", nan, True, []),
    *wrong("volume.expected", '"flat" or "u-shaped"', "flatt", "", 4000),
    *wrong("volume.expected", "volume in some bucket", [0.0, 0.0, 0.0, 0.0]),
    *wrong("volume.total", "at most 1e+12|from 1 to 1e+12", 0.5, 0, -1, 2e12, nan, inf, "1", [9]),
    *wrong("volume.sd", "from 0 to 5", -0.01, 5.01, nan, inf, "0.1", True, [0.1]),
    *wrong("participation.max_rate", "above 0 and at most 1", 0, *NOT_A_FRACTION, [0.3]),
    *wrong("participation.window", "whole number of buckets", "2", 1.5, True, nan, [2]),
    *wrong("participation.window", "from 1 to 100,000", 0, -1, 100_001),
    *wrong("participation.max_posted", "whole number of shares", "500", 500.0, True, inf),
    *wrong("participation.max_posted", "from 1 to", 0, -500, 10**12 + 1),
    *wrong("participation.max_posted", "at least order.lot_size = 10", 9),
    *wrong("envelope.lower", "list of numbers", 0.1, nan, "twap", True, []),
    *wrong("envelope.upper", "list of numbers", 0.9, nan, "twap", True, []),
    *wrong("envelope.kind", '"twap" or "vwap"', "twp", "", 1, True),
    *wrong("envelope.band", FRACTION, *NOT_A_FRACTION, [0.1]),
    *wrong("envelope.upper_mode", '"soft" or "hard"', "sotf", 1, True),
    *wrong("envelope.track_volume", "true or false", 1, 0.0, "true", nan),
    *wrong("penalties.envelope", "of at least 0", *NOT_A_PRICE, [5.0]),
    *wrong("penalties.residual", "of at least 0", *NOT_A_PRICE, [10.0]),
    *wrong("penalties.residual_quadratic", "of at least 0", *NOT_A_PRICE, [1.0]),
    *wrong("estimator.kind", '"pseudo-count" or "ewma"', "pseudo", "", 1),
    *wrong("estimator.prior_weight", "above 0", 0, -1, nan, inf, "5", True),
    *wrong("estimator.icc", FRACTION, *NOT_A_FRACTION),
    *wrong("estimator.memory", FRACTION, *NOT_A_FRACTION, [0.9]),
    *wrong("actions.resolution", "whole number of parts", "4", 4.0, True, nan, [4]),
    *wrong("actions.resolution", "from 1 to 1,000", 0, -1, 1_001),
]


@pytest.mark.parametrize(("path", "value", "remedy"), WRONG)
def test_a_wrong_value(path: str, value: object, remedy: str) -> None:
    message = refusal(changed({path: value}))
    assert message.startswith(f"{named(path)} = {in_toml(value)}: ")
    assert any(words in message for words in remedy.split("|"))


ITEMS = [
    *wrong("algos.1.cost", "of at least 0", -1.0, nan, inf, "1", True, [1.0]),
    *wrong("algos.1.fill_rate", FRACTION, -0.01, 1.01, nan, inf, "1", True, [1.0]),
    *wrong("volume.expected", "from 0 to 1e+12", -1.0, 2e12, nan, inf, "1", True, [1.0]),
    *wrong("envelope.lower", FRACTION, -0.01, 1.01, nan, inf, "0.2", True, [0.2]),
    *wrong("envelope.upper", FRACTION, -0.01, 1.01, nan, inf, "0.6", True, [0.6]),
    *wrong("estimator.prior_weight", "above 0", 0, -1.0, nan, inf, "6", True, [6.0]),
    *wrong("estimator.icc", FRACTION, -0.01, 1.01, nan, inf, "0.1", True, [0.1]),
]


@pytest.mark.parametrize(("path", "value", "remedy"), ITEMS)
def test_a_wrong_item_of_a_list_is_named_by_its_number(
    path: str, value: object, remedy: str
) -> None:
    count = 2 if path.startswith("estimator") else 4
    items: list[object] = [0.5] * count
    items[1] = value
    message = refusal(changed({path: items}))
    assert message.startswith(f"{named(path)}[2] = {in_toml(value)}: ")
    assert remedy in message


@pytest.mark.parametrize("length", [1, 3, 5])
@pytest.mark.parametrize(
    ("path", "count", "unit"),
    [
        ("algos.1.cost", 4, "bucket"),
        ("algos.1.fill_rate", 4, "bucket"),
        ("volume.expected", 4, "bucket"),
        ("envelope.lower", 4, "bucket"),
        ("envelope.upper", 4, "bucket"),
        ("estimator.prior_weight", 2, "algo"),
        ("estimator.icc", 2, "algo"),
    ],
)
def test_a_list_of_the_wrong_length(path: str, count: int, unit: str, length: int) -> None:
    value = 0.9 if path == "envelope.upper" else 0.5  # the edges must not cross
    message = refusal(changed({path: [value] * length}))
    assert message.startswith(f"{named(path)} has {length} value")
    assert f"there are {count} {unit}s" in message
    assert f"one number per {unit}" in message


LIMITS = [
    {"order.size": 10, "order.lot_size": 10},
    {"order.size": 10**12, "order.lot_size": 10**12, "participation": ABSENT},
    {"order.size": 2**24, "order.lot_size": 1},
    {"algos.1.cost": 0, "algos.1.fill_rate": 0},
    {"algos.1.fill_rate": 1, "algos.2.last_fill_rate": 0},
    {"algos.2.last_fill_rate": 1},
    {"algos.1.day_sd": 0, "algos.1.bucket_sd": 0, "algos.1.liquidity_loading": -20},
    {"algos.1.day_sd": 20, "algos.1.bucket_sd": 20, "algos.1.liquidity_loading": 20},
    {"liquidity.sd": 0, "liquidity.persistence": 0},
    {"liquidity.sd": 20, "liquidity.persistence": 1},
    {"volume.sd": 0, "volume.expected": [0, 0, 0, 1]},
    {"volume.sd": 5, "volume.expected": [10**12] * 4},
    {"volume": {"expected": "flat", "total": 1}},
    {"volume": {"expected": "u-shaped", "total": 10**12}},
    {"participation": {"max_rate": 1e-9, "window": 1, "max_posted": 10}},
    {"participation": {"max_rate": 1, "window": 100_000, "max_posted": 10**12}},
    {"envelope": {"lower": [0, 0, 0, 1], "upper": [1, 1, 1, 1]}},
    {"envelope": {"lower": [0.5] * 4, "upper": [0.5] * 4}},
    {"envelope": {"kind": "twap", "band": 0}},
    {"envelope": {"kind": "vwap", "band": 1, "track_volume": True, "upper_mode": "hard"}},
    {"penalties": {"envelope": 0, "residual": 0, "residual_quadratic": 0}},
    {"estimator": {"memory": 0, "icc": 0, "prior_weight": 1e-9}},
    {"estimator": {"memory": 1, "icc": [0, 1], "prior_weight": 1e9}},
    {"estimator": {"kind": "ewma", "memory": 0.999}},
    {"actions.resolution": 1},
    {"actions.resolution": 139},
    {"name": "", "description": ""},
]


@pytest.mark.parametrize("changes", LIMITS, ids=str)
def test_values_on_the_limits_are_right(changes: dict[str, Any]) -> None:
    scenario_from_dict(changed(changes))


CONTRADICTIONS: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "size no multiple of the lot",
        {"order.size": 1005},
        ["order.size = 1005:", "multiple of order.lot_size = 10", "1000"],
    ),
    (
        "lot above the size",
        {"order.lot_size": 3000},
        ["order.size = 1000:", "multiple of order.lot_size = 3000", "such as 3000"],
    ),
    (
        "too many lots",
        {"order.size": 2**24 + 1, "order.lot_size": 1},
        ["order.lot_size = 1:", "16,777,217", "larger lot"],
    ),
    (
        "last fill rate beside a list",
        {"algos.1.last_fill_rate": 1.0},
        ["algos.Fast.last_fill_rate = 1.0:", "leave it out", "algos.Fast.fill_rate"],
    ),
    (
        "shape without total",
        {"volume": {"expected": "flat"}},
        ["volume.total", "missing", '"flat"', "total = 100000"],
    ),
    (
        "list with total",
        {"volume.total": 6000.0},
        ["volume.total = 6000.0:", "leave it out", "volume.expected"],
    ),
    (
        "participation without volume",
        {"volume": ABSENT},
        ["participation.max_rate = 0.3:", "[volume] section"],
    ),
    (
        "vwap without volume",
        {"volume": ABSENT, "participation": ABSENT, "envelope": {"kind": "vwap", "band": 0.1}},
        ['envelope.kind = "vwap":', "[volume] section"],
    ),
    (
        "volume tracked by twap",
        {"envelope": {"kind": "twap", "band": 0.1, "track_volume": True}},
        ["envelope.track_volume = true:", 'envelope.kind = "vwap"'],
    ),
    (
        "volume tracked by edges",
        {"envelope.track_volume": True},
        ["envelope.track_volume = true:", 'envelope.kind = "vwap"'],
    ),
    (
        "volume tracked without volume",
        {
            "volume": ABSENT,
            "participation": ABSENT,
            "envelope": {"kind": "vwap", "band": 0.1, "track_volume": True},
        },
        ["envelope.kind", "[volume] section"],
    ),
    (
        "window without max_rate",
        {"participation": {"window": 2}},
        ["participation.window = 2:", "without participation.max_rate"],
    ),
    (
        "lower above upper",
        {"envelope.lower": [0.1, 0.7, 0.8, 0.9]},
        ["envelope.lower[2] = 0.7", "envelope.upper[2] = 0.6", "must not exceed"],
    ),
    (
        "lower decreases",
        {"envelope.lower": [0.1, 0.3, 0.2, 0.8]},
        ["envelope.lower = [0.1, 0.3, 0.2, 0.8]:", "must not decrease", "bucket 3"],
    ),
    (
        "upper decreases",
        {"envelope.upper": [0.5, 0.6, 0.9, 0.85]},
        ["envelope.upper = [0.5, 0.6, 0.9, 0.85]:", "must not decrease", "bucket 4"],
    ),
    (
        "kind with edges",
        {"envelope.kind": "twap", "envelope.band": 0.1},
        ['envelope.kind = "twap":', "contradicts", "lower and upper"],
    ),
    (
        "kind with lower",
        {"envelope": {"kind": "twap", "band": 0.1, "lower": [0.0] * 4}},
        ['envelope.kind = "twap":', "contradicts", "lower and upper"],
    ),
    (
        "edges with band",
        {"envelope.band": 0.1},
        ["envelope.kind", "missing", "envelope.band"],
    ),
    ("band alone", {"envelope": {"band": 0.1}}, ["envelope.kind", "missing", "envelope.band"]),
    ("kind alone", {"envelope": {"kind": "twap"}}, ["envelope.band", "missing", "envelope.kind"]),
    (
        "lower alone",
        {"envelope.upper": ABSENT},
        ["envelope.upper", "missing", "envelope.lower"],
    ),
    (
        "upper alone",
        {"envelope.lower": ABSENT},
        ["envelope.lower", "missing", "envelope.upper"],
    ),
    (
        "ewma that never learns",
        {"estimator": {"kind": "ewma"}},
        ["estimator.memory = 1.0:", "below 1", "ewma"],
    ),
    (
        "two algos of one name",
        {"algos.2.name": "Fast"},
        ['algos.name = "Fast":', "must differ"],
    ),
    (
        "grid too large",
        {"actions.resolution": 140},
        ["actions.resolution = 140:", "10,011 actions", "at most 10,000", "smaller resolution"],
    ),
]


@pytest.mark.parametrize(
    ("changes", "words"),
    [case[1:] for case in CONTRADICTIONS],
    ids=[case[0] for case in CONTRADICTIONS],
)
def test_a_contradiction(changes: dict[str, Any], words: list[str]) -> None:
    message = refusal(changed(changes))
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", ["", " ", "a.b", "a,b", "a=b"])
def test_an_algo_name_that_overrides_could_not_say(name: str) -> None:
    message = refusal(changed({"algos.2.name": name}))
    assert message.startswith(f'algos.name = "{name}": ')
    assert "without dots, commas and equals signs" in message


@pytest.mark.parametrize("name", [5, True, nan, ["A"]])
def test_an_algo_name_that_is_no_text(name: object) -> None:
    message = refusal(changed({"algos.2.name": name}))
    assert message.startswith(f"algos.name = {in_toml(name)}: ")
    assert "text in quotes" in message


@pytest.mark.parametrize(
    "path", ["algos.1.cost", "penalties.residual", "volume.expected", "liquidity.sd"]
)
def test_a_number_beyond_all_floats(path: str) -> None:
    value = [10**400] * 4 if path == "volume.expected" else 10**400
    message = refusal(changed({path: value}))
    assert message.startswith(named(path))
    assert "finite number" in message


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("nme", "name"),
        ("descripton", "description"),
        ("ordr", "order"),
        ("cost", "costs"),
        ("algo", "algos"),
        ("volumes", "volume"),
        ("envelop", "envelope"),
        ("penalty", "penalties"),
        ("order.bucket", "buckets"),
        ("costs.base", "basis"),
        ("algos.1.fillrate", "fill_rate"),
        ("liquidity.persistance", "persistence"),
        ("volume.expects", "expected"),
        ("participation.maxrate", "max_rate"),
        ("envelope.uppr", "upper"),
        ("penalties.residuals", "residual"),
        ("estimator.memry", "memory"),
        ("actions.resoluton", "resolution"),
    ],
)
def test_an_unknown_key_with_a_suggestion(path: str, meant: str) -> None:
    message = refusal(changed({path: 1}))
    assert message.startswith(path.replace("algos.1", "algos[1]") + ": unknown key.")
    assert f'Did you mean "{meant}"?' in message


@pytest.mark.parametrize("section", ["", *(key for key in BASE if isinstance(BASE[key], dict))])
def test_a_key_like_no_other_lists_the_known_ones(section: str) -> None:
    path = f"{section}.zzz" if section else "zzz"
    message = refusal(changed({path: 1}))
    assert message.startswith(f"{path}: unknown key.")
    assert "Did you mean" not in message
    known = BASE[section] if section else BASE
    for key in known:
        assert key in message.split("Known here: ")[1]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("name", "name"),
        ("order", "[order]"),
        ("penalties", "[penalties]"),
        ("algos", "[[algos]]"),
        ("order.size", "order.size"),
        ("order.lot_size", "order.lot_size"),
        ("order.buckets", "order.buckets"),
        ("algos.2.name", "algos[2].name"),
        ("algos.2.cost", "algos[2].cost"),
        ("algos.2.fill_rate", "algos[2].fill_rate"),
        ("volume.expected", "volume.expected"),
        ("penalties.envelope", "penalties.envelope"),
        ("penalties.residual", "penalties.residual"),
    ],
)
def test_something_missing(path: str, key: str) -> None:
    message = refusal(changed({path: ABSENT}))
    assert key in message
    assert "missing" in message or "add" in message


@pytest.mark.parametrize("section", [key for key in BASE if isinstance(BASE[key], dict)])
@pytest.mark.parametrize("value", [5, "soft", [1, 2], True], ids=str)
def test_a_value_instead_of_a_section(section: str, value: object) -> None:
    message = refusal(changed({section: value}))
    assert message.startswith(f"{section} = {in_toml(value)}: ")
    assert f"section [{section}]" in message


@pytest.mark.parametrize(
    "value", [BASE["algos"][0], 5, "Fast"], ids=["single brackets", "number", "text"]
)
def test_algos_that_are_no_list(value: object) -> None:
    message = refusal(changed({"algos": value}))
    assert message.startswith("algos = ")
    assert "[[algos]] with double brackets" in message


def test_an_algo_that_is_no_section() -> None:
    message = refusal(changed({"algos": [BASE["algos"][0], "Slow"]}))
    assert message.startswith('algos[2] = "Slow": ')
    assert "[[algos]]" in message


def test_no_algos() -> None:
    message = refusal(changed({"algos": []}))
    assert message.startswith("algos: none")
    assert "[[algos]]" in message


def test_a_long_value_is_shortened() -> None:
    message = refusal(changed({"envelope.upper": [0.9, 0.8] + [0.1] * 500}))
    assert len(message) < 250
    assert "..." in message


@pytest.mark.parametrize(("path", "value"), [("order.buckets", 0), ("penalties.residual", nan)])
def test_a_wrong_file_is_named_too(path: str, value: object, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(tomlkit.dumps(changed({path: value})), encoding="utf-8")
    for overrides in (None, {"name": "other"}):
        with pytest.raises(ScenarioError) as caught:
            load_scenario(file, overrides)
        assert str(caught.value).startswith(f"mine.toml: {path} = {value}: ")


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "x"\n[order\n', encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"mine\.toml: not valid TOML: .*line 2"):
        load_scenario(file)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b"name = '\xff'")
    with pytest.raises(ScenarioError, match=r"mine\.toml: not a text file in UTF-8"):
        load_scenario(file)


@pytest.mark.parametrize("path", ["absent.toml", "folder/absent.toml", "folder/absent"])
def test_a_missing_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError, match=r"absent(\.toml)?: there is no such file"):
        load_scenario(path)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("basline", "baseline"), ("text-book", "textbook"), ("vwap-u-shaped", "vwap-u-shape")],
)
def test_an_unknown_name_with_a_suggestion(name: str, meant: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(name)
    message = str(caught.value)
    assert f'"{name}"' in message
    assert f'Did you mean "{meant}"?' in message
    assert all(shipped in message for shipped in scenarios())


@pytest.mark.parametrize("name", ["zzz", ""])
def test_a_name_like_no_other_lists_the_shipped_ones(name: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(name)
    assert "Did you mean" not in str(caught.value)
    assert all(shipped in str(caught.value) for shipped in scenarios())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"order.bucket": 20}, ["order.bucket: unknown key", 'Did you mean "buckets"?']),
        ({"ordr.buckets": 20}, ["override ordr.buckets", 'Did you mean "order"?']),
        ({"buckets": 20}, ["buckets: unknown key"]),
        ({"order.buckets.x": 20}, ["override order.buckets.x", "section.key"]),
        ({"algos.Pasive.cost": 0.1}, ["override algos.Pasive.cost", 'Did you mean "Passive"?']),
        ({"algos.0.cost": 0.1}, ["override algos.0.cost", "a number from 1 to 3"]),
        ({"algos.4.cost": 0.1}, ["override algos.4.cost", "a number from 1 to 3"]),
        ({"algos.cost": 0.1}, ["override algos.cost", "algos.NAME.key"]),
        ({"algos.Passive.cots": 0.1}, ["algos[3].cots: unknown key", 'Did you mean "cost"?']),
        ({"order.buckets": "20"}, ['order.buckets = "20":', "without quotes"]),
        ({"order.buckets": None}, ["order.buckets", "missing"]),
        ({"volume": None}, ["participation.max_rate = 0.3", "[volume] section"]),
    ],
    ids=str,
)
def test_a_wrong_override(overrides: dict[str, Any], words: list[str]) -> None:
    sources = ("baseline", load_scenario("baseline"))
    for source in sources:
        with pytest.raises(ScenarioError) as caught:
            load_scenario(source, overrides)
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize("algos", [BASE["algos"][0], [5], ["Fast"], 5], ids=str)
def test_an_override_of_broken_algos(algos: object) -> None:
    with pytest.raises(ScenarioError, match=r"algos"):
        load_scenario(changed({"algos": algos}), {"algos.1.cost": 1.0})


@pytest.mark.parametrize("overrides", ["order.buckets=20", [("order.buckets", 20)], 5], ids=str)
def test_overrides_that_are_no_mapping(overrides: Any) -> None:
    with pytest.raises(ValueError, match="overrides = "):
        load_scenario("baseline", overrides)


@pytest.mark.parametrize("scenario", [5, None, True, ["baseline"]], ids=str)
def test_a_scenario_that_names_nothing(scenario: Any) -> None:
    with pytest.raises(ScenarioError, match=r"scenario = .*shipped name or the path"):
        load_scenario(scenario)


ENVIRONMENTS: list[Callable[..., Any]] = [OrderAllocationEnv, OrderAllocationVectorEnv]


@pytest.mark.parametrize("make", ENVIRONMENTS)
@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("action", "gird", '"grid" or "lots". Did you mean "grid"?'),
        ("action", 5, '"grid" or "lots"'),
        ("observation", "ful", 'Did you mean "full"?'),
        ("observation", None, '"minimal"'),
        ("info", "al", '"full" or "none"'),
        ("info", True, '"full" or "none"'),
        ("render_mode", "human", '"ansi" or "rgb_array"'),
        ("scenario", "basline", 'Did you mean "baseline"?'),
        ("overrides", {"order.bucket": 2}, 'Did you mean "buckets"?'),
    ],
)
def test_a_wrong_argument(
    make: Callable[..., Any], argument: str, value: object, remedy: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)) as caught:
        make(**{argument: value})
    if argument != "overrides":
        assert f"{argument} = {in_toml(value)}" in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("num_envs", 0, "whole number of environments from 1"),
        ("num_envs", -3, "whole number of environments from 1"),
        ("num_envs", 2.0, "without quotes or decimal point"),
        ("num_envs", "3", "without quotes or decimal point"),
        ("num_envs", True, "whole number of environments"),
        ("autoreset_mode", "same", '"NextStep" or "SameStep" or "Disabled"'),
        ("autoreset_mode", "same_step", 'Did you mean "SameStep"?'),
        ("autoreset_mode", None, '"NextStep"'),
    ],
)
def test_a_wrong_argument_of_the_vector_env(argument: str, value: Any, remedy: str) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)) as caught:
        OrderAllocationVectorEnv(**{argument: value})
    assert str(caught.value).startswith(f"{argument} = {in_toml(value)}: ")


def test_a_wrong_argument_through_gym_make() -> None:
    with pytest.raises(ScenarioError, match=r'action = "gird".*Did you mean "grid"'):
        gym.make("execution_env/OrderAllocation-v0", action="gird")


GRID_REMEDY = "a whole number from 0 to 34, an index into the allocation grid"
LOTS_REMEDY = "3 whole numbers of lots, each from 0 to 100"
BAD_GRID = [-1, 35, 10**30, 2.0, 2.5, nan, inf, "2", None, [2], np.array([2]), np.float64(2)]
BAD_LOTS = [
    [-1, 0, 0],
    [0, 101, 0],
    [10**30, 0, 0],
    [1.0, 0.0, 0.0],
    [nan, 0, 0],
    [True, False, False],
    [1, 2],
    [1, 2, 3, 4],
    [[1, 2, 3]],
    [[1, 2], [3]],
    [],
    5,
    None,
    "1,2,3",
]


@pytest.mark.parametrize("action", BAD_GRID, ids=repr)
def test_a_grid_action_that_is_none(action: Any) -> None:
    env = OrderAllocationEnv()
    env.reset(seed=0)
    with pytest.raises(InvalidAction) as caught:
        env.step(action)
    assert str(caught.value).startswith("action = ")
    assert GRID_REMEDY in str(caught.value)


@pytest.mark.parametrize("action", BAD_LOTS, ids=repr)
def test_lots_that_are_none(action: Any) -> None:
    env = OrderAllocationEnv(action="lots")
    env.reset(seed=0)
    with pytest.raises(InvalidAction) as caught:
        env.step(action)
    assert str(caught.value).startswith("action = ")
    assert LOTS_REMEDY in str(caught.value)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ([0, 35], "actions[1] = 35: must be " + GRID_REMEDY),
        ([-1, 0], "actions[0] = -1: must be " + GRID_REMEDY),
        (np.array([0, 2**64 - 1], np.uint64), "actions[1]"),
        ([10**30, 0], "whole numbers of shape (2,)"),
        ([0.0, 1.0], "whole numbers of shape (2,)"),
        ([0, nan], "whole numbers of shape (2,)"),
        ([True, False], "whole numbers of shape (2,)"),
        ([0], "whole numbers of shape (2,)"),
        ([0, 0, 0], "whole numbers of shape (2,)"),
        ([[0], [0]], "whole numbers of shape (2,)"),
        ([[0], [0, 1]], "whole numbers of shape (2,)"),
        (0, "whole numbers of shape (2,)"),
        (None, "whole numbers of shape (2,)"),
    ],
    ids=str,
)
def test_grid_actions_of_the_vector_env_that_are_none(action: Any, words: str) -> None:
    envs = OrderAllocationVectorEnv(2)
    envs.reset(seed=0)
    with pytest.raises((InvalidAction, ValueError)) as caught:
        envs.step(action)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ([[0, 0, 0], [0, 0, 101]], LOTS_REMEDY),
        ([[0, -1, 0], [0, 0, 0]], LOTS_REMEDY),
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], "whole numbers of shape (2, 3)"),
        ([[0, 0, 0], [0, 0, nan]], "whole numbers of shape (2, 3)"),
        ([[0, 0, 0]], "whole numbers of shape (2, 3)"),
        ([0, 0, 0, 0, 0, 0], "whole numbers of shape (2, 3)"),
        ([0, 0], "whole numbers of shape (2, 3)"),
    ],
    ids=str,
)
def test_lots_of_the_vector_env_that_are_none(action: Any, words: str) -> None:
    envs = OrderAllocationVectorEnv(2, action="lots")
    envs.reset(seed=0)
    with pytest.raises((InvalidAction, ValueError)) as caught:
        envs.step(action)
    assert words in str(caught.value)


def played(env: Any, actions: list[Any]) -> tuple[list[NDArray[Any]], list[Any]]:
    """Observations and rewards of ``actions``."""
    steps = [env.step(action) for action in actions]
    return [step[0] for step in steps], [step[1] for step in steps]


@pytest.mark.parametrize("mode", ["grid", "lots"])
def test_a_rejected_action_plays_nothing(mode: str) -> None:
    good: list[Any] = [3, 7, 20] if mode == "grid" else [[5, 0, 9], [0, 1, 2], [30, 30, 30]]
    env, twin = OrderAllocationEnv(action=mode), OrderAllocationEnv(action=mode)
    env.reset(seed=4)
    twin.reset(seed=4)
    for action in good:
        for bad in BAD_GRID if mode == "grid" else BAD_LOTS:
            with pytest.raises((InvalidAction, ValueError)):
                env.step(bad)
        np.testing.assert_equal(env.step(action), twin.step(action))


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
@pytest.mark.parametrize("mode", ["grid", "lots"])
def test_a_rejected_action_plays_nothing_in_any_order(mode: str, autoreset: AutoresetMode) -> None:
    # More orders than are played at a time, with the bad action in the last.
    count, options = 600, {"action": mode, "autoreset_mode": autoreset}
    envs = OrderAllocationVectorEnv(count, **options)
    twins = OrderAllocationVectorEnv(count, **options)
    envs.reset(seed=4)
    twins.reset(seed=4)
    good = np.full(envs.action_space.shape, 3)
    bad = good.copy()
    bad[-1] = -1
    for _ in range(3):
        with pytest.raises(InvalidAction):
            envs.step(bad)
        np.testing.assert_equal(envs.step(good), twins.step(good))


@pytest.mark.parametrize("autoreset", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_rejected_action_draws_no_training_day(autoreset: AutoresetMode) -> None:
    # Bucket for bucket the second order runs one behind the first, so that one is over, or ends,
    # while the other plays.
    options = {"overrides": {"order.buckets": 3}, "autoreset_mode": autoreset}
    envs, twins = (OrderAllocationVectorEnv(2, **options) for _ in range(2))
    for env in (envs, twins):
        env.reset(options={"training_seed": 5})
        env.step([20, 20])
        env.reset(options={"reset_mask": np.array([False, True])})
    for _ in range(12):
        with pytest.raises(InvalidAction):
            envs.step([99, 99])
        np.testing.assert_equal(envs.step([20, 20]), twins.step([20, 20]))


def test_step_before_reset() -> None:
    with pytest.raises(ResetNeeded, match=r"step\(\) before reset\(\): call reset\(\)"):
        OrderAllocationEnv().step(0)


@pytest.mark.parametrize("method", ["render", "action_masks"])
@pytest.mark.parametrize("make", ENVIRONMENTS)
def test_other_methods_before_reset(make: Callable[..., Any], method: str) -> None:
    env = make(render_mode="ansi")
    with pytest.raises(ResetNeeded, match=rf"{method}\(\) before reset\(\): call reset\(\)"):
        getattr(env, method)()


def test_step_after_the_end() -> None:
    env = OrderAllocationEnv(overrides={"order.buckets": 2})
    env.reset(seed=0)
    env.step(0)
    assert env.step(0)[2] is True
    for _ in range(2):
        with pytest.raises(ResetNeeded, match=r"after the order's last bucket \(2\): call reset"):
            env.step(0)
    env.reset()
    env.step(0)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_step_of_the_vector_env_before_reset(mode: AutoresetMode) -> None:
    envs = OrderAllocationVectorEnv(2, autoreset_mode=mode)
    with pytest.raises(ResetNeeded, match=r"step\(\) before reset\(\): call reset\(\)"):
        envs.step([0, 0])


def test_step_of_the_vector_env_before_all_are_reset() -> None:
    envs = OrderAllocationVectorEnv(2)
    envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ResetNeeded, match=r"before reset"):
        envs.step([0, 0])
    envs.reset(options={"reset_mask": np.array([False, True])})
    envs.step([0, 0])


def test_step_with_autoreset_disabled_names_the_orders_that_are_over() -> None:
    envs = OrderAllocationVectorEnv(
        4, overrides={"order.buckets": 2}, autoreset_mode=AutoresetMode.DISABLED
    )
    envs.reset(seed=0)
    envs.step([0] * 4)
    envs.reset(options={"reset_mask": np.array([True, False, True, False])})
    envs.step([0] * 4)
    with pytest.raises(ResetNeeded, match=r"\[1, 3\] are over.*reset_mask"):
        envs.step([0] * 4)
    envs.reset(options={"reset_mask": np.array([False, True, False, True])})
    assert envs.step([0] * 4)[2].tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    "seed", [-1, 1.5, nan, "3", True, [3], np.float64(3), np.int64(-3)], ids=repr
)
def test_a_wrong_seed(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed = .*non-negative integer"):
        OrderAllocationEnv().reset(seed=seed)


@pytest.mark.parametrize(
    "seed", [-1, 1.5, nan, "3", True, np.float64(3), np.int64(-3), np.array(3.0)], ids=repr
)
def test_a_wrong_seed_of_the_vector_env(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed = .*non-negative integer"):
        OrderAllocationVectorEnv(2).reset(seed=seed)


@pytest.mark.parametrize("seed", [-1, 1.5, nan, "3", True, [3]], ids=repr)
@pytest.mark.parametrize("position", [0, 1])
def test_a_wrong_seed_in_a_list(seed: Any, position: int) -> None:
    seeds: list[Any] = [7, 7]
    seeds[position] = seed
    with pytest.raises(ValueError, match=rf"seed\[{position}\] = .*non-negative integer"):
        OrderAllocationVectorEnv(2).reset(seed=seeds)


@pytest.mark.parametrize("make", ENVIRONMENTS)
def test_a_numpy_integer_is_a_seed(make: Callable[..., Any]) -> None:
    env, twin = make(), make()
    env.reset(seed=np.int64(3))
    twin.reset(seed=3)
    action = np.full(env.action_space.shape, 20)
    np.testing.assert_equal(env.step(action), twin.step(action))


def test_an_array_of_wrong_seeds() -> None:
    with pytest.raises(ValueError, match=r"seed\[0\] = .*non-negative integer"):
        OrderAllocationVectorEnv(2).reset(seed=np.array([1.0, 2.0]))  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [[], [1], [1, 2, 3]])
def test_seeds_of_the_wrong_number(seeds: list[int | None]) -> None:
    with pytest.raises(ValueError, match=rf"seed has {len(seeds)} .*2 environments.*for each"):
        OrderAllocationVectorEnv(2).reset(seed=seeds)


@pytest.mark.parametrize("make", ENVIRONMENTS)
@pytest.mark.parametrize("seed", [-1, 1.5, nan, "3", True, [3]], ids=repr)
def test_a_wrong_training_seed(make: Callable[..., Any], seed: object) -> None:
    with pytest.raises(ValueError, match=r"training_seed = .*non-negative integer"):
        make().reset(options={"training_seed": seed})


@pytest.mark.parametrize(
    "options",
    [{"seed": [7, -1]}, {"seed": [-1, 7]}, {"seed": [7]}, {"options": {"training_seed": -1}}],
    ids=str,
)
def test_a_rejected_reset_leaves_the_orders_and_the_training_stream_alone(
    options: dict[str, Any],
) -> None:
    envs, twins = (OrderAllocationVectorEnv(2, overrides={"order.buckets": 2}) for _ in range(2))
    for env in (envs, twins):
        env.reset(options={"training_seed": 5})
    with pytest.raises(ValueError, match=r"seed"):
        envs.reset(**options)
    for _ in range(6):
        np.testing.assert_equal(envs.step([20, 20]), twins.step([20, 20]))


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        ([True, False], TypeError, r"reset_mask.*NumPy array.*bool"),
        (True, TypeError, r"reset_mask.*NumPy array.*bool"),
        (np.array([1, 0]), TypeError, r"reset_mask.*bool"),
        (np.array([1.0, nan]), TypeError, r"reset_mask.*bool"),
        (np.array([True]), ValueError, r"reset_mask has shape \(1,\).*\(2,\)"),
        (np.array(True), ValueError, r"reset_mask has shape \(\).*\(2,\)"),
        (np.array([[True, False]]), ValueError, r"reset_mask has shape \(1, 2\).*\(2,\)"),
        (np.array([False, False]), ValueError, r"reset_mask selects no .*at least one"),
    ],
    ids=repr,
)
def test_a_wrong_reset_mask(mask: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        OrderAllocationVectorEnv(2).reset(options={"reset_mask": mask})
