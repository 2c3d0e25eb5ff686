"""What can be wrong with depth, shortfall costs, prices and replays in a scenario."""

from __future__ import annotations

from typing import Any

import pytest

from execution_env import ScenarioError, load_scenario
from tests.allocation.markets import SHORTFALL


def refusal(overrides: dict[str, Any], scenario: Any = SHORTFALL) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(scenario, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        (
            "algos.Passive.fill_probability",
            1.2,
            "must be a probability, a finite number from 0 to 1",
        ),
        ("algos.Passive.fill_probability", [0.2, 0.3], "has 2 values, but there are 10 buckets"),
        ("algos.Passive.depth", 0.0, "must be above 0; no depth is fill_probability = 0"),
        ("algos.Passive.depth", -0.1, "must be a share of the volume"),
        ("algos.Passive.depth", [0.1] * 9, "has 9 values, but there are 10 buckets"),
        ("algos.Passive.depth_sd", -1, "must be a standard deviation"),
        ("algos.Passive.liquidity_loading", 1.1, "must be a correlation from -1 to 1"),
        ("algos.Passive.half_spread", "free", "must be basis points per filled share"),
        ("algos.Passive.half_spread", [1.0] * 3, "has 3 values, but there are 10 buckets"),
        ("algos.Passive.fee", -0.1, "must be basis points per filled share"),
        ("algos.Passive.rebate", -0.1, "must be basis points per filled share"),
        ("algos.Passive.cost", 1.0, 'has no meaning with costs.basis = "shortfall"'),
        ("algos.Passive.fill_rate", 0.5, "has no meaning for an algo with depth"),
        ("algos.Passive.bucket_sd", 0.5, "has no meaning for an algo with depth"),
        ("algos.Passive.prediction_sd", 0.5, "has no meaning for an algo with depth"),
        ("volume.persistence", 1.5, "must be an autocorrelation, a finite number from 0 to 1"),
        ("price.sd", -1.0, "must be basis points"),
        ("price.sd", [1.0] * 4, "has 4 values, but there are 10 buckets"),
        ("price.liquidity_correlation", -1.01, "must be a correlation"),
        ("replay.file", 7, "must be a text in quotes"),
        ("costs.basis", "short", 'Did you mean "shortfall"?'),
    ],
)
def test_a_wrong_value(key: str, value: Any, remedy: str) -> None:
    message = refusal({key: value})
    assert message.startswith(key)
    assert remedy in message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"algos.Passive.fill_probability": None}, "algos.Passive.fill_probability: missing"),
        ({"algos.Passive.half_spread": None}, "algos.Passive.half_spread: missing key"),
        (
            {"algos.Passive.depth": None, "algos.Passive.depth_sd": None},
            "algos.Passive.fill_rate: missing key; give a fill_rate, or depth",
        ),
        ({"volume.expected": None}, "volume.expected: missing key"),
        (
            {"estimator.kind": "ewma", "estimator.memory": 0.8},
            "cannot follow the depth of Aggressive",
        ),
        ({"costs.basis": "filled"}, "price: has no effect with costs.basis"),
        ({"replay.train": "a"}, "replay.file: missing key"),
        ({"price.liquidity_correlation": 0.1, "price.sd": None}, "price.sd: missing key"),
    ],
)
def test_something_missing_or_contradictory(overrides: dict[str, Any], message: str) -> None:
    assert message in refusal(overrides)


def test_depth_without_volume() -> None:
    content = {key: value for key, value in SHORTFALL.items() if key != "volume"}
    message = refusal({}, content)
    assert "algos.Aggressive.depth = 0.5: needs a [volume] section" in message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"algos.Passive.depth": 0.1}, "fill_rate"),
        ({"algos.Passive.fill_probability": 0.3}, "has no meaning for an algo with fill_rate"),
        ({"algos.Passive.depth_sd": 0.3}, "has no meaning for an algo with fill_rate"),
        ({"algos.Passive.half_spread": 1.0}, 'no meaning with costs.basis = "posted"'),
        ({"algos.Passive.fee": 1.0}, 'no meaning with costs.basis = "posted"'),
        ({"price.sd": 1.0}, "has no effect with costs.basis"),
        ({"costs.basis": "shortfall"}, "algos.Aggressive.half_spread: missing key"),
        ({"algos.Passive.prediction_sd": -1}, "must be a standard deviation"),
    ],
)
def test_rates_and_posted_costs(overrides: dict[str, Any], message: str) -> None:
    assert message in refusal(overrides, "baseline")
