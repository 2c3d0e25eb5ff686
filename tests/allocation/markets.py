"""Scenarios of the kinds that order-book data ask for, for tests."""

from __future__ import annotations

from typing import Any

from execution_env import Scenario, load_scenario

SHORTFALL: dict[str, Any] = {
    "name": "shortfall",
    "order": {"size": 3000, "lot_size": 100, "buckets": 10},
    "costs": {"basis": "shortfall"},
    "algos": [
        {
            "name": "Aggressive",
            "half_spread": 3.5,
            "fee": 0.3,
            "fill_probability": 0.99,
            "depth": 0.5,
            "depth_sd": 0.5,
            "liquidity_loading": 0.3,
        },
        {
            "name": "Neutral",
            "half_spread": 0.0,
            "fill_probability": 0.6,
            "depth": 0.15,
            "depth_sd": 1.2,
            "liquidity_loading": 0.9,
        },
        {
            "name": "Passive",
            "half_spread": -3.5,
            "rebate": 0.2,
            "fill_probability": 0.3,
            "depth": 0.1,
            "depth_sd": 1.5,
            "liquidity_loading": 0.95,
        },
    ],
    "liquidity": {"sd": 1.0},
    "volume": {"expected": "flat", "total": 100_000, "sd": 0.7, "persistence": 0.3},
    "price": {"sd": 8.0, "liquidity_correlation": -0.5},
    "envelope": {"kind": "twap", "band": 0.3},
    "penalties": {"envelope": 1.0, "residual": 3.8, "residual_quadratic": 5.0},
}
"""Depth, adverse selection, a common factor, a clean-up with impact."""


def shortfall(**overrides: Any) -> Scenario:
    """``SHORTFALL``, with values by dotted key in which ``__`` stands for the dot."""
    return load_scenario(SHORTFALL, {key.replace("__", "."): v for key, v in overrides.items()})


def with_day_effects(**overrides: Any) -> Scenario:
    """``SHORTFALL`` with something about depth hidden all day."""
    return shortfall(algos__Neutral__day_sd=0.5, algos__Passive__day_sd=0.7, **overrides)
