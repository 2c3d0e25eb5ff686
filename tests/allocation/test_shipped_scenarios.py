"""The shipped scenarios: their numbers, and that they survive a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from execution_env import Scenario, load_scenario, scenario_to_toml, scenarios
from execution_env.allocation.scenario_file import SHIPPED as SHIPPED_FOLDER
from execution_env.allocation.scenario_file import (
    scenario_from_dict,
    scenario_to_dict,
    with_overrides,
)
from execution_env.allocation.sections import Penalties

SHIPPED = [
    "bac-2013",
    "baseline",
    "baseline-filled",
    "drifting",
    "five-algos",
    "ibm-2013",
    "known-rates",
    "textbook",
    "two-algos",
    "varying-predictions",
    "vwap-u-shape",
]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_scenario_survives_a_file(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name)
    path = tmp_path / "copy.toml"
    path.write_text(scenario_to_toml(scenario), encoding="utf-8")
    assert load_scenario(path) == scenario


def test_the_shipped_scenarios_are_those_as_specified() -> None:
    assert scenarios() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_scenario_is_described_under_its_own_name(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert len(scenario.description.split()) > 10


def assert_baseline_market(scenario: Scenario) -> None:
    """Facts that baseline, baseline-filled and known-rates share."""
    assert (scenario.order.size, scenario.order.lot_size, scenario.buckets) == (10_000, 100, 10)
    assert scenario.algo_names == ("Aggressive", "Neutral", "Passive")
    np.testing.assert_array_equal(scenario.posting_costs, [[2, 1, 0]] * 10)
    rates = [[0.95, 0.75, 0.25]] * 9 + [[1.0, 0.75, 0.25]]
    np.testing.assert_array_equal(scenario.predictions, rates)
    assert [algo.bucket_sd for algo in scenario.algos] == [0.3, 0.8, 1.0]
    np.testing.assert_allclose(scenario.expected_volume, [10_000] * 10)
    assert scenario.volume is not None
    assert scenario.volume.sd == 0
    assert scenario.participation is not None
    assert (scenario.participation.max_rate, scenario.participation.window) == (0.3, 1)
    assert scenario.participation.max_posted is None
    assert (scenario.envelope.kind, scenario.envelope.band) == ("twap", 0.15)
    assert scenario.penalties == Penalties(envelope=5, residual=10)
    assert scenario.grid_size == 35


@pytest.mark.parametrize(("name", "basis"), [("baseline", "posted"), ("baseline-filled", "filled")])
def test_baselines_have_the_numbers_as_specified(name: str, basis: str) -> None:
    scenario = load_scenario(name)
    assert_baseline_market(scenario)
    assert scenario.costs.basis == basis
    assert [algo.day_sd for algo in scenario.algos] == [0.3, 0.5, 0.6]
    assert [algo.liquidity_loading for algo in scenario.algos] == [0.5, 1, 1]
    assert (scenario.liquidity.sd, scenario.liquidity.persistence) == (0.3, 0.5)


def test_baseline_filled_differs_from_baseline_in_its_basis_only() -> None:
    filled = with_overrides(load_scenario("baseline"), {"costs.basis": "filled"})
    shipped = load_scenario("baseline-filled")
    assert dataclasses.replace(filled, name="", description="") == dataclasses.replace(
        shipped, name="", description=""
    )


def test_known_rates_hides_nothing() -> None:
    scenario = load_scenario("known-rates")
    assert_baseline_market(scenario)
    assert [algo.day_sd for algo in scenario.algos] == [0, 0, 0]
    assert scenario.liquidity.sd == 0


def test_varying_predictions_is_baseline_whose_orders_know_more() -> None:
    scenario = load_scenario("varying-predictions")
    assert_baseline_market(scenario)
    assert [algo.prediction_sd for algo in scenario.algos] == [0.3, 0.5, 0.8]
    hidden = [algo.day_sd for algo in load_scenario("baseline").algos]
    assert all(mine.day_sd < day_sd for mine, day_sd in zip(scenario.algos, hidden, strict=True))


@pytest.mark.parametrize("name", ["bac-2013", "ibm-2013"])
def test_real_markets_say_how_sure_their_numbers_are(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.shortfall
    assert scenario.price is not None
    assert scenario.price.liquidity_correlation < 0  # adverse selection
    assert all(algo.depth is not None for algo in scenario.algos)
    half_spreads = scenario.half_spreads[0]
    assert half_spreads[0] > 0 > half_spreads[2]
    text = (SHIPPED_FOLDER / f"{name}.toml").read_text()
    estimates = ("half_spread", "fill_probability", "depth", "depth_sd", "liquidity_loading")
    for line in text.splitlines():
        if line.partition(" = ")[0] in estimates:
            sure = "+-" in line and "(standard error, 26 windows)" in line
            assert sure or "not known" in line


def test_textbook_has_the_numbers_as_specified() -> None:
    scenario = load_scenario("textbook")
    assert (scenario.order.size, scenario.order.lot_size, scenario.buckets) == (10_000, 100, 5)
    rates = [[0.99, 0.5, 0.25]] * 5
    rates[2] = [0.99, 0.48, 0.25]
    rates[4] = [1.0, 0.5, 0.25]
    np.testing.assert_array_equal(scenario.predictions, rates)
    np.testing.assert_array_equal(scenario.posting_costs, [[2, 1, 0]] * 5)
    assert [algo.bucket_sd for algo in scenario.algos] == [0, 0.12, 0.16]
    assert [algo.day_sd for algo in scenario.algos] == [0, 0, 0]
    assert scenario.liquidity.sd == 0
    np.testing.assert_array_equal(
        scenario.expected_volume, [20_000, 20_000, 20_000, 30_000, 30_000]
    )
    assert scenario.participation is not None
    assert (scenario.participation.max_rate, scenario.participation.window) == (0.1, None)
    assert scenario.envelope.lower == (0, 0.1, 0.3, 0.5, 1)
    assert scenario.envelope.upper == (0.2, 0.4, 0.7, 0.9, 1)
    assert scenario.penalties == Penalties(envelope=5, residual=10)


def test_vwap_u_shape_follows_noisy_volume() -> None:
    scenario = load_scenario("vwap-u-shape")
    assert scenario.buckets == 13
    assert scenario.volume is not None
    assert scenario.volume.expected == "u-shaped"
    assert scenario.volume.sd > 0
    assert (scenario.envelope.kind, scenario.envelope.track_volume) == ("vwap", True)
    assert scenario.participation is not None
    assert scenario.participation.window == 1


@pytest.mark.parametrize(("name", "algos"), [("two-algos", 2), ("five-algos", 5)])
def test_ladders_of_cost_and_fill_rate(name: str, algos: int) -> None:
    scenario = load_scenario(name)
    assert len(scenario.algos) == algos
    assert np.all(np.diff(scenario.posting_costs[0]) < 0)
    assert np.all(np.diff(scenario.predictions[0]) < 0)


def test_drifting_has_a_strong_persistent_factor() -> None:
    scenario = load_scenario("drifting")
    assert scenario.liquidity.sd > load_scenario("baseline").liquidity.sd
    assert scenario.liquidity.persistence >= 0.9


@pytest.mark.parametrize("name", SHIPPED)
def test_equal_scenarios_have_equal_hashes(name: str) -> None:
    scenario = load_scenario(name)
    twin = scenario_from_dict(scenario_to_dict(scenario))
    assert twin is not scenario
    assert len({scenario, twin}) == 1
