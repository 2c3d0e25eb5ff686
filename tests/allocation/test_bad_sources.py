"""Bad files, names and overrides of scenarios: one clear error that names them and the remedy."""

from __future__ import annotations

from math import nan
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from execution_env import (
    ScenarioError,
    load_scenario,
    scenarios,
)
from tests.allocation.wrong_content import BASE, changed


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
