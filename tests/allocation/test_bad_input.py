"""Bad content of a scenario: one clear error that names the key, the value and the remedy."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from execution_env import ScenarioError
from execution_env.allocation.scenario_file import scenario_from_dict
from tests.allocation.in_toml import in_toml
from tests.allocation.wrong_content import ABSENT, BASE, Content, changed


def refusal(content: Content) -> str:
    """The message with which ``content`` is refused."""
    with pytest.raises(ScenarioError) as caught:
        scenario_from_dict(content)
    message = str(caught.value)
    assert "\n" not in message
    return message


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
        ("algos.2.cost", "algos.Slow.cost"),
        ("algos.2.fill_rate", "algos.Slow.fill_rate"),
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
