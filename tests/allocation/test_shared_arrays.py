"""Arrays that caches hand out to every environment of a process cannot be written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.planning.pieces import pieces
from execution_env import load_scenario, scenario_to_toml, scenarios
from execution_env.allocation.actions import action_grid
from execution_env.allocation.market.days_file import replayed, write_days
from execution_env.allocation.market.model import market_model
from execution_env.allocation.parameters import parameters
from tests.allocation.markets import shortfall
from tests.allocation.replayed import file_of


def arrays_of(record: tuple[object, ...]) -> list[np.ndarray]:
    return [value for value in record if isinstance(value, np.ndarray) and value.size]


@pytest.mark.parametrize("name", scenarios())
@pytest.mark.parametrize("cache", [parameters, market_model, pieces])
def test_of_a_scenario(name: str, cache: object) -> None:
    scenario = load_scenario(name)
    record = cache(scenario)  # type: ignore[operator]
    assert record is cache(scenario)  # type: ignore[operator]
    for array in arrays_of(record):
        with pytest.raises(ValueError, match="read-only"):
            array.flat[0] = array.flat[0]


def test_of_an_action_grid() -> None:
    for array in arrays_of(action_grid(3, 4)):
        with pytest.raises(ValueError, match="read-only"):
            array.flat[0] = 1


def test_of_replayed_days(tmp_path: Path) -> None:
    write_days(tmp_path / "days.npz", file_of())
    text = scenario_to_toml(shortfall()) + '\n[replay]\nfile = "days.npz"\n'
    (tmp_path / "real.toml").write_text(text)
    scenario = load_scenario(tmp_path / "real.toml")
    assert scenario.replay is not None
    for array in arrays_of(replayed(scenario, scenario.replay.test)):
        with pytest.raises(ValueError, match="read-only"):
            array.flat[0] = array.flat[0]
