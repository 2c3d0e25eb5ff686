"""Ways to play the environment, for tests."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from hypothesis import strategies as st

from execution_env import OrderAllocationEnv

ID = "execution_env/OrderAllocation-v0"
modes = {
    "action": st.sampled_from(["grid", "lots"]),
    "observation": st.sampled_from(["minimal", "default", "full"]),
}


def random_action(env: OrderAllocationEnv, rng: np.random.Generator) -> Any:
    if isinstance(env.action_space, gym.spaces.Discrete):
        return int(rng.integers(env.action_space.n))
    largest = rng.choice([1, 5, env.scenario.lots + 1])
    return rng.integers(0, min(largest, env.scenario.lots) + 1, len(env.scenario.algos))


def same(one: Any, other: Any) -> None:
    """Bit-identical, types included."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            same(first, second)
    elif isinstance(one, np.ndarray | np.generic):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other


class AgainAndAgain(OrderAllocationEnv):
    """Plays the same day after every automatic reset, to compare those too."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._day = seed if seed is not None else self._day
        return super().reset(seed=self._day, options=options)
