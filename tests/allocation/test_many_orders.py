"""Ten million steps of orders in random scenarios of every kind, with invariants on each."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from execution_env import DayStream, OrderAllocationVectorEnv, Scenario
from execution_env.allocation.market.day_stream import TRAINING
from tests.allocation.strategies import markets_drawn, scenarios_drawn

EXAMPLES = 130
STEPS = 90_000
"""Order-steps of an example, about."""

SIZES = {"max_lots": 60, "max_algos": 4}
"""Of scenarios: action masks of large ones would take most of the time."""


class Played:
    """Number of order-steps so far."""

    steps = 0


def play(scenario: Scenario, action: str, seed: int) -> int:
    """Play random actions to the end; return the number of order-steps."""
    count = max(1, STEPS // scenario.buckets)
    env = OrderAllocationVectorEnv(
        count, scenario, action=action, observation="full", autoreset_mode=AutoresetMode.DISABLED
    )
    draw = np.random.default_rng(seed)
    env._stream = DayStream(scenario, seed, TRAINING)  # drawn together; numbered days are not
    observations, infos = env.reset()
    remaining, total = np.full(count, scenario.lots), np.zeros(count)
    for bucket in range(scenario.buckets):
        assert ((observations >= 0) & (observations <= 1)).all()
        postable = np.rint(observations[:, -1] * np.float64(scenario.lots)).astype(np.int64)
        assert (postable <= remaining).all()
        if action == "lots":
            actions = draw.integers(scenario.lots + 1, size=(count, len(scenario.algos)))
        else:
            actions = draw.integers(scenario.grid_size, size=count)
        observations, rewards, over, cut, infos = env.step(actions)
        posted, filled = infos["lots_posted"], infos["lots_filled"]
        assert (filled >= 0).all()
        assert (filled <= posted).all()
        assert (posted.sum(axis=1) <= postable).all()
        remaining = remaining - filled.sum(axis=1)
        np.testing.assert_array_equal(infos["remaining_lots"], remaining)
        np.testing.assert_array_equal(
            np.rint(observations[:, 0] * np.float64(scenario.lots)), remaining
        )
        assert (remaining >= 0).all()
        assert np.isfinite(rewards).all()
        parts = infos["posting_cost"] + infos["envelope_penalty"] + infos["residual_penalty"]
        np.testing.assert_allclose(rewards, -parts, rtol=1e-9, atol=1e-9)
        outside = infos["cost_envelope"] + infos["cost_residual"]
        np.testing.assert_allclose(infos["cost"], outside, rtol=1e-9, atol=1e-9)
        total += infos["cost"]
        np.testing.assert_allclose(infos["cost_sum"], total, rtol=1e-9, atol=1e-9)
        assert ((infos["estimates"] >= 0) & (infos["estimates"] <= 1)).all()
        assert (over == (bucket + 1 == scenario.buckets)).all()
        assert not cut.any()
        for name in ("envelope_penalty", "residual_penalty", "cost_envelope", "cost_residual"):
            assert (infos[name] >= 0).all()
    return count * scenario.buckets


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    scenario=st.one_of(scenarios_drawn(**SIZES), markets_drawn(**SIZES)),
    action=st.sampled_from(["grid", "lots"]),
    seed=st.integers(0, 2**31),
)
def test_random_orders_in_random_scenarios(scenario: Scenario, action: str, seed: int) -> None:
    Played.steps += play(scenario, action, seed)


@pytest.mark.slow
def test_there_were_ten_million_steps() -> None:
    """After the test above, in the same process."""
    if not Played.steps:
        pytest.skip("the test above was not run in this process")
    assert Played.steps >= 10_000_000
