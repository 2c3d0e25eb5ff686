"""Ways to play environments through Stable-Baselines3, for tests; skips where that is missing."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from execution_env import OrderAllocationEnv
from tests.allocation.playing import random_action, same

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing torch warns about itself
    pytest.importorskip("stable_baselines3", reason="needs the agents extra")
    from stable_baselines3.common.monitor import Monitor, get_monitor_files, load_results
    from stable_baselines3.common.vec_env import (
        DummyVecEnv,
        VecCheckNan,
        VecEnv,
        VecFrameStack,
        VecMonitor,
        VecNormalize,
    )

    from execution_env.sb3 import OrderAllocationVecEnv

__all__ = [
    "SHORT",
    "DummyVecEnv",
    "Monitor",
    "OrderAllocationVecEnv",
    "VecEnv",
    "VecFrameStack",
    "VecMonitor",
    "VecNormalize",
    "dummy",
    "get_monitor_files",
    "load_results",
    "plays_the_same",
    "random_actions",
    "same_infos",
    "same_steps",
    "wrappers",
]

Info = dict[str, Any]
SHORT = {"scenario": "baseline", "overrides": {"order.buckets": 3}}
WRAPPERS = {
    "nothing": lambda venv: venv,
    "VecNormalize": VecNormalize,
    "VecFrameStack": lambda venv: VecFrameStack(venv, n_stack=2),
    "VecCheckNan": lambda venv: VecCheckNan(venv, raise_exception=True),
    "VecMonitor": VecMonitor,
}
wrappers = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


def dummy(
    n: int, make: Any = OrderAllocationEnv, monitor: bool = True, **arguments: Any
) -> DummyVecEnv:
    def one() -> gym.Env[Any, Any]:
        return Monitor(make(**arguments)) if monitor else make(**arguments)

    return DummyVecEnv([one] * n)


def random_actions(venv: VecEnv, rng: np.random.Generator) -> np.ndarray:
    single = OrderAllocationEnv(
        venv.get_attr("scenario")[0],
        action="grid" if isinstance(venv.action_space, gym.spaces.Discrete) else "lots",
    )
    return np.array([random_action(single, rng) for _ in range(venv.num_envs)])


def same_infos(ours: list[Info], theirs: list[Info]) -> None:
    """Bit-identical but for the times of episodes."""
    assert type(ours) is type(theirs) is list
    for one, other in zip(ours, theirs, strict=True):
        if "episode" not in other:
            same(one, other)
            continue
        assert type(one["episode"]["t"]) is float
        with_time = {**one, "episode": {**one["episode"], "t": other["episode"]["t"]}}
        same(with_time, other)


def same_steps(ours: Any, theirs: Any) -> None:
    same(ours[:3], theirs[:3])
    same_infos(ours[3], theirs[3])


def plays_the_same(ours: VecEnv, theirs: VecEnv, seeds: list[int], buckets: int) -> None:
    rng = np.random.default_rng(seeds[0])
    for seed in seeds:
        assert ours.seed(seed) == theirs.seed(seed)
        same(ours.reset(), theirs.reset())
        same_infos(ours.reset_infos, theirs.reset_infos)
        for _ in range(buckets):
            actions = random_actions(ours, rng)
            same_steps(ours.step(actions), theirs.step(actions))
            same_infos(ours.reset_infos, theirs.reset_infos)
