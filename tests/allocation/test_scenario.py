"""Scenarios: TOML and dictionaries, overrides, and the arrays derived from them."""

from __future__ import annotations

import copy
import dataclasses
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from execution_env import Scenario, ScenarioError, load_scenario, scenario_to_toml
from execution_env.allocation.algo import Algo
from execution_env.allocation.scenario_file import (
    scenario_changes,
    scenario_from_dict,
    scenario_to_dict,
    with_overrides,
)
from execution_env.allocation.sections import Envelope, Order
from tests.allocation.strategies import scenario_dicts


def four_buckets(**sections: Any) -> Scenario:
    """Two algos and 100 lots; ``sections`` replace or add what they name."""
    content: dict[str, Any] = {
        "name": "four buckets",
        "order": {"size": 1000, "lot_size": 10, "buckets": 4},
        "penalties": {"envelope": 5, "residual": 10},
        "algos": [
            {"name": "Fast", "cost": 2, "fill_rate": 0.9},
            {"name": "Slow", "cost": 0, "fill_rate": 0.2},
        ],
    }
    return scenario_from_dict(content | sections)


def round_trip(scenario: Scenario) -> Scenario:
    return scenario_from_dict(tomllib.loads(scenario_to_toml(scenario)))


@settings(max_examples=100, deadline=None)
@given(scenario_dicts())
def test_a_scenario_survives_toml_and_a_dictionary(content: dict[str, Any]) -> None:
    scenario = scenario_from_dict(content)
    assert round_trip(scenario) == scenario
    assert scenario_from_dict(scenario_to_dict(scenario)) == scenario


@settings(max_examples=50, deadline=None)
@given(scenario_dicts())
def test_reading_leaves_the_dictionary_alone(content: dict[str, Any]) -> None:
    before = copy.deepcopy(content)
    load_scenario(content, {"algos.1.cost": 3.0, "actions.resolution": 1})
    assert content == before


@pytest.mark.parametrize(
    "text",
    [
        'quotes " and """ three',
        "back\\slash",
        "lines\nand\ttabs\r\n",
        "Ünïcödé ✓ 𝄞",
        "\x00\x07\x1f\x7f",
        "# no comment",
        "",
    ],
)
def test_names_and_descriptions_survive_toml(text: str) -> None:
    scenario = dataclasses.replace(load_scenario("textbook"), name=text, description=text)
    assert round_trip(scenario) == scenario


def test_empty_optional_sections_survive_toml() -> None:
    scenario = four_buckets(participation={}, envelope={}, estimator={})
    assert scenario.participation is not None
    assert round_trip(scenario) == scenario


def test_defaults_stay_out_of_the_file() -> None:
    content = scenario_to_dict(four_buckets())
    assert set(content) == {"name", "description", "order", "penalties", "algos"}
    assert set(content["algos"][0]) == {"name", "cost", "fill_rate"}


def test_defaults_are_those_of_the_schema() -> None:
    scenario = four_buckets()
    algo = scenario.algos[0]
    assert (algo.day_sd, algo.bucket_sd, algo.liquidity_loading) == (0, 0, 1)
    assert scenario.costs.basis == "posted"
    assert (scenario.liquidity.sd, scenario.liquidity.persistence) == (0, 0)
    assert scenario.volume is None
    assert scenario.participation is None
    assert (scenario.envelope.upper_mode, scenario.envelope.track_volume) == ("soft", False)
    assert scenario.penalties.residual_quadratic == 0
    assert (scenario.estimator.kind, scenario.estimator.memory) == ("pseudo-count", 1)
    assert scenario.actions.resolution == 4


def test_more_buckets_by_override() -> None:
    scenario = load_scenario("baseline", {"order.buckets": 20})
    assert scenario.buckets == 20
    np.testing.assert_allclose(scenario.expected_volume, [5_000] * 20)
    np.testing.assert_array_equal(scenario.predictions[:, 0], [0.95] * 19 + [1.0])


@pytest.mark.parametrize("key", ["algos.Passive.cost", "algos.3.cost"])
def test_an_algo_goes_by_name_and_by_number(key: str) -> None:
    scenario = load_scenario("baseline", {key: 0.2})
    assert [algo.cost for algo in scenario.algos] == [2, 1, 0.2]


def test_an_algo_named_like_a_number_goes_by_its_name() -> None:
    algos = [{"name": "2", "cost": 1, "fill_rate": 0.5}, {"name": "1", "cost": 0, "fill_rate": 0.2}]
    scenario = with_overrides(four_buckets(algos=algos), {"algos.1.cost": 0.7})
    assert [algo.cost for algo in scenario.algos] == [1, 0.7]


def test_none_removes_a_key() -> None:
    scenario = load_scenario("baseline", {"participation.window": None})
    assert scenario.participation is not None
    assert (scenario.participation.max_rate, scenario.participation.window) == (0.3, None)


def test_none_removes_a_section() -> None:
    scenario = load_scenario("baseline", {"participation": None, "volume": None})
    assert scenario.participation is None
    assert scenario.volume is None


def test_none_removes_what_is_not_there() -> None:
    assert load_scenario("baseline", {"estimator.icc": None}) == load_scenario("baseline")


def test_an_override_creates_its_section() -> None:
    scenario = load_scenario("baseline", {"estimator.memory": 0.8, "actions.resolution": 6})
    assert scenario.estimator.memory == 0.8
    assert scenario.actions.resolution == 6


def test_an_override_replaces_a_section() -> None:
    scenario = load_scenario("baseline", {"envelope": {"kind": "twap", "band": 0.3}, "name": "x"})
    assert scenario.envelope == Envelope(kind="twap", band=0.3)
    assert scenario.name == "x"


def test_overrides_apply_together() -> None:
    # The first alone would contradict the envelope's length.
    scenario = load_scenario(
        "textbook",
        {
            "order.buckets": 2,
            "volume.expected": [1, 2],
            "algos.Neutral.fill_rate": 0.5,
            "envelope": None,
        },
    )
    assert scenario.buckets == 2


def test_overrides_leave_the_scenario_alone() -> None:
    scenario = load_scenario("baseline")
    load_scenario(scenario, {"algos.1.cost": 3.0, "order.buckets": 2})
    assert scenario == load_scenario("baseline")
    assert scenario.buckets == 10


def test_overrides_leave_a_dictionary_alone_whose_algos_are_a_tuple() -> None:
    content = scenario_to_dict(load_scenario("baseline"))
    content["algos"] = tuple(content["algos"])
    load_scenario(content, {"algos.1.cost": 3.0})
    assert content["algos"][0]["cost"] == 2.0


def test_a_scenario_is_loaded_from_whatever_names_it(tmp_path: Path) -> None:
    scenario = load_scenario("textbook")
    path = tmp_path / "mine.toml"
    path.write_text(scenario_to_toml(scenario), encoding="utf-8")
    for source in (scenario, str(path), path, scenario_to_dict(scenario), Path("textbook")):
        assert load_scenario(source) == scenario
        changed = load_scenario(source, {"penalties.residual": 7})
        assert changed.penalties.residual == 7


def test_the_default_is_baseline() -> None:
    assert load_scenario() == load_scenario("baseline")


def test_a_relative_path_and_an_edited_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("mine.toml")
    for buckets in (3, 4, 5):
        content = {"order": {"size": 100, "lot_size": 1, "buckets": buckets}}
        path.write_text(scenario_to_toml(four_buckets(**content)), encoding="utf-8")
        assert load_scenario("mine.toml").buckets == buckets


def test_a_scenario_is_frozen() -> None:
    scenario = load_scenario("baseline")
    for part, field in ((scenario, "name"), (scenario.order, "size"), (scenario.algos[0], "cost")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, field, 1)


def test_lists_and_arrays_become_tuples() -> None:
    algo = Algo(name="A", cost=[1, 2], fill_rate=np.array([0.5, 0.25]))  # type: ignore[arg-type]
    assert algo.cost == (1.0, 2.0)
    assert algo.fill_rate == (0.5, 0.25)
    assert isinstance(hash(algo), int)


def test_numpy_numbers_become_plain_ones() -> None:
    order = Order(np.int64(100), np.int32(10), np.int8(2))  # type: ignore[arg-type]
    assert [type(value) for value in dataclasses.astuple(order)] == [int, int, int]
    algo = Algo(name="A", cost=np.float32(0.5), fill_rate=np.int64(1))  # type: ignore[arg-type]
    assert (type(algo.cost), type(algo.fill_rate)) == (float, float)


def test_lots_are_the_size_in_lots() -> None:
    assert four_buckets().lots == 100
    assert load_scenario("vwap-u-shape").lots == 100


def test_predictions_take_the_last_fill_rate_in_the_last_bucket_only() -> None:
    scenario = four_buckets(
        algos=[
            {"name": "A", "cost": 1, "fill_rate": 0.5, "last_fill_rate": 1},
            {"name": "B", "cost": 0, "fill_rate": [0.1, 0.2, 0.3, 0.4]},
        ]
    )
    expected = [[0.5, 0.1], [0.5, 0.2], [0.5, 0.3], [1.0, 0.4]]
    np.testing.assert_array_equal(scenario.predictions, expected)


def test_the_last_fill_rate_of_a_single_bucket() -> None:
    algos = [{"name": "A", "cost": 1, "fill_rate": 0.5, "last_fill_rate": 0.75}]
    order = {"size": 10, "lot_size": 1, "buckets": 1}
    np.testing.assert_array_equal(four_buckets(algos=algos, order=order).predictions, [[0.75]])


def test_posting_costs_are_one_number_or_one_per_bucket() -> None:
    scenario = four_buckets(
        algos=[
            {"name": "A", "cost": [4, 3, 2, 1], "fill_rate": 0.9},
            {"name": "B", "cost": 0.5, "fill_rate": 0.5},
        ]
    )
    expected = [[4, 0.5], [3, 0.5], [2, 0.5], [1, 0.5]]
    np.testing.assert_array_equal(scenario.posting_costs, expected)


# The u-shape is 1 + 2 (2 m - 1)^2 at the buckets' middles m = 1/8, 3/8, 5/8, 7/8:
# 2.125, 1.125, 1.125, 2.125, which sum to 6.5.
@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (None, [0, 0, 0, 0]),
        ({"expected": "flat", "total": 1000}, [250, 250, 250, 250]),
        ({"expected": "u-shaped", "total": 650}, [212.5, 112.5, 112.5, 212.5]),
        ({"expected": [10, 0, 20, 40]}, [10, 0, 20, 40]),
    ],
    ids=["none", "flat", "u-shaped", "list"],
)
def test_expected_volume(volume: dict[str, Any] | None, expected: list[float]) -> None:
    scenario = four_buckets() if volume is None else four_buckets(volume=volume)
    np.testing.assert_allclose(scenario.expected_volume, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("envelope", "lower", "upper"),
    [
        ({}, [0, 0, 0, 0], [1, 1, 1, 1]),
        ({"kind": "twap", "band": 0.3}, [0, 0.2, 0.45, 0.7], [0.55, 0.8, 1, 1]),
        ({"kind": "twap", "band": 0}, [0.25, 0.5, 0.75, 1], [0.25, 0.5, 0.75, 1]),
        ({"kind": "vwap", "band": 0.15}, [0, 0.25, 0.45, 0.85], [0.25, 0.55, 0.75, 1]),
        (
            {"lower": [0, 0.1, 0.1, 1], "upper": [0.5, 0.5, 1, 1]},
            [0, 0.1, 0.1, 1],
            [0.5, 0.5, 1, 1],
        ),
    ],
    ids=["none", "twap", "twap without band", "vwap", "explicit"],
)
def test_envelope_bounds(envelope: dict[str, Any], lower: list[float], upper: list[float]) -> None:
    # Cumulative volume is 10, 40, 60, 100 of 100.
    scenario = four_buckets(envelope=envelope, volume={"expected": [10, 30, 20, 40]})
    bounds = scenario.envelope_bounds
    np.testing.assert_allclose(bounds[0], lower, atol=1e-14)
    np.testing.assert_allclose(bounds[1], upper, atol=1e-14)


def test_changes_of_a_scenario() -> None:
    scenario = four_buckets(volume={"expected": [10, 30, 20, 40]})
    assert scenario_changes(scenario, scenario) == {}
    renamed = load_scenario(scenario, {"name": "b", "description": "c"})
    assert scenario_changes(scenario, renamed) == {}
    other = load_scenario(
        scenario, {"costs.basis": "filled", "volume": None, "algos.1.day_sd": 0.5}
    )
    name = scenario.algo_names[0]
    assert scenario_changes(scenario, other) == {
        "costs.basis": ("posted", "filled"),
        "volume.expected": ((10.0, 30.0, 20.0, 40.0), None),
        f"algos.{name}.day_sd": (scenario.algos[0].day_sd, 0.5),
    }
    fewer = load_scenario("two-algos")
    found = scenario_changes(load_scenario("baseline"), fewer)
    assert found["algos"] == (["Aggressive", "Neutral", "Passive"], list(fewer.algo_names))
    assert not any(key.startswith("algos.") for key in found)


@settings(max_examples=50, deadline=None)
@given(scenario_dicts())
def test_derived_arrays_fit_the_order(content: dict[str, Any]) -> None:
    scenario = scenario_from_dict(content)
    shape = (scenario.buckets, len(scenario.algos))
    assert scenario.predictions.shape == scenario.posting_costs.shape == shape
    assert scenario.expected_volume.shape == (scenario.buckets,)
    lower, upper = scenario.envelope_bounds
    assert lower.shape == upper.shape == (scenario.buckets,)
    assert np.all((lower >= 0) & (lower <= upper) & (upper <= 1))
    assert np.all(np.diff(lower) >= 0)
    assert np.all(np.diff(upper) >= 0)


@pytest.mark.parametrize("name", ["predictions", "posting_costs", "expected_volume"])
def test_writing_to_a_derived_array_does_not_change_the_scenario(name: str) -> None:
    scenario = load_scenario("textbook")
    before = getattr(scenario, name).copy()
    getattr(scenario, name)[:] = 0.125
    np.testing.assert_array_equal(getattr(scenario, name), before)


@pytest.mark.parametrize("key", ["order", "penalties", "volume", "envelope", "algos"])
def test_a_scenario_built_in_python_checks_the_types_of_its_sections(key: str) -> None:
    with pytest.raises(ScenarioError, match=rf"^{key} = 5: must be "):
        dataclasses.replace(load_scenario("baseline"), **{key: 5})
    if key in ("order", "penalties", "envelope"):
        with pytest.raises(ScenarioError, match=rf"^{key} = None: must be of type"):
            dataclasses.replace(load_scenario("baseline"), **{key: None})


def test_files_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = []
    for folder, cost in (("a", 1.0), ("b", 3.0)):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        scenario = load_scenario("baseline", {"algos.Neutral.cost": cost})
        file = Path("same.toml")
        file.write_text(scenario_to_toml(scenario))
        os.utime(file, (0, 0))
        costs.append(load_scenario("same.toml").algos[1].cost)
    assert costs == [1.0, 3.0]
