"""sb3-contrib's MaskablePPO: the masks that it finds, and that no masked action gets past them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnvWrapper

from execution_env import ENV_ID
from execution_env.sb3 import OrderAllocationVecEnv
from tests.plug_ins.examples import run_example

THREE_LOTS = {"order.size": 300}
"""Of the 35 actions 20 differ from all earlier ones, then 10, 4 and 1 as the lots fill."""

ROLLOUT = {"n_steps": 60, "batch_size": 60, "seed": 0, "device": "cpu"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Networks this small are slower with more."""
    torch.set_num_threads(1)


class Watch:
    """What arrives at an environment: for each action, whether it was allowed when it came, and the
    share of actions that were.
    """

    def __init__(self) -> None:
        self.allowed: list[bool] = []
        self.shares: list[float] = []

    def see(self, masks: np.ndarray, action: Any) -> None:
        """``action`` in the order of the spaces of ``masks``: an index, or lots per algo."""
        rows = masks.reshape(np.size(action), -1)
        self.allowed.append(bool(rows[np.arange(len(rows)), np.ravel(action)].all()))
        self.shares.append(float(masks.mean()))


class Watched(gym.Wrapper):  # type: ignore[type-arg]
    """Between Stable-Baselines3 and what ``gymnasium.make`` gives."""

    def __init__(self, env: gym.Env[Any, Any], watch: Watch) -> None:
        super().__init__(env)
        self._watch = watch

    def step(self, action: Any) -> Any:
        self._watch.see(self.get_wrapper_attr("action_masks")(), action)
        return super().step(action)


class VecWatched(VecEnvWrapper):
    """Between Stable-Baselines3 and our adapter."""

    def __init__(self, envs: OrderAllocationVecEnv, watch: Watch) -> None:
        super().__init__(envs)
        self._watch = watch

    def reset(self) -> Any:
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        for masks, action in zip(self.venv.env_method("action_masks"), actions, strict=True):
            self._watch.see(masks, action)
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        return self.venv.step_wait()


def watched(kind: str, **arguments: Any) -> tuple[Any, Watch]:
    watch = Watch()
    if kind == "adapter":
        return VecWatched(OrderAllocationVecEnv(6, **arguments), watch), watch
    return Monitor(Watched(gym.make(ENV_ID, **arguments), watch)), watch


kinds = pytest.mark.parametrize("kind", ["gymnasium.make", "adapter"])
actions = pytest.mark.parametrize("action", ["grid", "lots"])


def test_the_example() -> None:
    names = run_example("MaskablePPO of sb3-contrib")
    assert names["slow"].num_timesteps == 1_024
    assert names["fast"].num_timesteps == 25_600
    chance = MaskablePPO("MlpPolicy", names["envs"], device="cpu")
    names["envs"].seed(1_000_000)
    untrained = -evaluate_policy(chance, names["envs"], 256, deterministic=False)[0]
    assert names["objectives"][1] < 0.7 * untrained
    assert names["env"].get_wrapper_attr("action_masks")()[names["action"]]


def test_masks_are_found() -> None:
    scalar = gym.make(ENV_ID, overrides=THREE_LOTS)
    dummy = make_vec_env(ENV_ID, 3, env_kwargs={"overrides": THREE_LOTS})
    adapter = OrderAllocationVecEnv(3, overrides=THREE_LOTS)
    masks = []
    for env in (scalar, Monitor(scalar), dummy, adapter):
        env.reset()
        assert is_masking_supported(env)
        masks.append(np.atleast_2d(get_action_masks(env))[0])
        assert masks[-1].dtype == np.bool_
        np.testing.assert_array_equal(masks[-1], masks[0])
    assert masks[0].sum() == 20


@actions
@pytest.mark.parametrize("info", ["full", "none"])
@kinds
def test_no_masked_action_is_taken(kind: str, info: str, action: str) -> None:
    env, watch = watched(kind, info=info, action=action, overrides=THREE_LOTS)
    model = MaskablePPO("MlpPolicy", env, **ROLLOUT).learn(360)
    evaluate_policy(model, env, 6, deterministic=True)
    evaluate_policy(model, env, 6, deterministic=False)
    assert len(watch.allowed) >= 360 + 2 * 60
    assert all(watch.allowed)
    assert 0.1 < np.mean(watch.shares) < 0.9


@actions
@kinds
def test_without_masks_masked_actions_are_taken(kind: str, action: str) -> None:
    """What the test above would see if masks went astray."""
    env, watch = watched(kind, action=action, overrides=THREE_LOTS)
    model = MaskablePPO("MlpPolicy", env, **ROLLOUT).learn(360, use_masking=False)
    assert np.mean(watch.allowed) < 0.9
    watch.allowed.clear()
    evaluate_policy(model, env, 6, deterministic=False, use_masking=False)
    assert np.mean(watch.allowed) < 0.9


@kinds
def test_masks_are_those_of_the_observation_at_hand(kind: str) -> None:
    """Also at the start of an order, when the one that ended allowed nothing but action 0."""
    env, _ = watched(kind, overrides=THREE_LOTS)
    model = MaskablePPO("MlpPolicy", env, **ROLLOUT)
    model.learn(60)
    buffer = model.rollout_buffer
    masks = buffer.action_masks.reshape(-1, 35) == 1
    remaining = np.rint(3 * buffer.observations.reshape(len(masks), -1)[:, 0]).astype(int)
    played = gym.make(ENV_ID, overrides=THREE_LOTS).unwrapped
    for lots in np.unique(remaining):
        # Which of 35 allocations of so many lots are new, by trying them all.
        posted = [tuple(post(played, lots, action)) for action in range(35)]
        new = [allocation not in posted[:i] for i, allocation in enumerate(posted)]
        np.testing.assert_array_equal(
            masks[remaining == lots], [new] * int((remaining == lots).sum())
        )
    assert len(np.unique(remaining)) > 2


def post(env: Any, lots: int, action: int) -> np.ndarray:
    """What ``action`` posts of an order of so many lots; zeros where nothing remains."""
    if lots == 0:
        return np.zeros(3, int)
    order = gym.make(ENV_ID, overrides={"order.size": 100 * lots})
    order.reset(seed=0)
    return order.step(action)[4]["lots_posted"]


def test_a_saved_model_acts_the_same(tmp_path: Path) -> None:
    env = gym.make(ENV_ID, overrides=THREE_LOTS)
    model = MaskablePPO("MlpPolicy", env, **ROLLOUT).learn(120)
    model.save(tmp_path / "model")
    loaded = MaskablePPO.load(tmp_path / "model", env=env, device="cpu")
    returns = [
        evaluate_policy(each, make_vec_env(ENV_ID, 1, seed=3), 20, return_episode_rewards=True)
        for each in (model, loaded)
    ]
    assert returns[0] == returns[1]
    assert len(set(returns[0][0])) > 1
