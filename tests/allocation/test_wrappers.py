"""The wrapper that moves the action mask into the observation."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from execution_env import OrderAllocationEnv
from execution_env.wrappers import MaskInObservation
from tests.allocation.playing import same

ID = "execution_env/OrderAllocation-v0"
# Six lots: as soon as fewer than four remain, some actions are masked.
SMALL: dict[str, Any] = {"overrides": {"order.size": 600, "order.buckets": 4}}
modes = pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"info": "none"},
        {"action": "lots"},
        {"action": "lots", "info": "none"},
        {"observation": "full"},
    ],
    ids=str,
)
keys = pytest.mark.parametrize(
    "keys",
    [("observation", "action_mask"), ("observations", "action_mask"), ("obs", "mask")],
    ids=["default", "RLlib", "Tianshou"],
)


def episode(env: gym.Env[Any, Any], seed: int) -> Any:
    """What ``reset`` and every ``step`` return, with actions that ``seed`` draws."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    yield observation, info
    over = False
    while not over:
        observation, reward, over, truncated, info = env.step(env.action_space.sample())
        yield observation, info, reward, over, truncated


# Spaces and observations.


@keys
def test_the_keys_name_observation_and_mask(keys: tuple[str, str]) -> None:
    bare = gym.make(ID)
    env = MaskInObservation(gym.make(ID), *keys)
    assert env.observation_space == gym.spaces.Dict(
        {
            keys[0]: bare.observation_space,
            keys[1]: gym.spaces.Box(0, 1, (bare.action_space.n,), np.int8),
        }
    )
    assert env.action_space == bare.action_space
    observation, _ = env.reset(seed=1)
    assert tuple(observation) == keys
    assert observation in env.observation_space


def test_each_key_can_be_named_alone() -> None:
    assert set(MaskInObservation(gym.make(ID), mask_key="mask").observation_space) == {
        "observation",
        "mask",
    }
    assert set(MaskInObservation(gym.make(ID), "obs").observation_space) == {"obs", "action_mask"}


def test_with_lots_the_mask_has_a_part_per_algo() -> None:
    env = MaskInObservation(gym.make(ID, action="lots", **SMALL))
    assert env.observation_space["action_mask"].shape == (3 * 7,)
    observation, _ = env.reset(seed=1)
    postable = np.arange(7) <= observation["action_mask"][:7].sum() - 1
    np.testing.assert_array_equal(observation["action_mask"], np.tile(postable, 3))


@modes
def test_an_episode_is_the_bare_one_with_masks(arguments: dict[str, Any]) -> None:
    bare, env = (gym.make(ID, **SMALL, **arguments) for _ in range(2))
    wrapped = MaskInObservation(env)
    masked, steps = 0, 0
    for ours, theirs in zip(episode(wrapped, 3), episode(bare, 3), strict=True):
        assert ours[0] in wrapped.observation_space
        same(ours[0]["observation"], theirs[0])
        same(ours[0]["action_mask"], bare.unwrapped.action_masks().astype(np.int8))
        same(ours[1:], theirs[1:])  # infos as they were, the mask among them or not
        assert ("action_mask" in ours[1]) == (arguments.get("info") != "none")
        masked += int((ours[0]["action_mask"] == 0).sum())
        steps += 1
    assert steps == 1 + 4
    assert masked > 0


def test_masks_change_within_an_episode() -> None:
    masks = [
        step[0]["action_mask"] for step in episode(MaskInObservation(gym.make(ID, **SMALL)), 3)
    ]
    assert len({mask.tobytes() for mask in masks}) > 1
    # After the last bucket nothing can be posted: only the action that posts nothing is not masked.
    np.testing.assert_array_equal(np.flatnonzero(masks[-1]), [0])


def test_what_was_returned_stays_as_it_was() -> None:
    env = MaskInObservation(gym.make(ID, **SMALL))
    returned, copies = [], []
    for observation, *_ in episode(env, 3):
        returned.append(observation)
        copies.append(copy.deepcopy(observation))
    same(tuple(returned), tuple(copies))


def test_writing_into_an_observation_changes_nothing() -> None:
    plain, scribbled = (MaskInObservation(gym.make(ID, **SMALL)) for _ in range(2))
    for theirs, ours in zip(episode(plain, 3), episode(scribbled, 3), strict=True):
        same(ours, theirs)
        for array in ours[0].values():
            array.fill(1)


def test_a_copy_and_a_pickle_have_masks_of_their_own() -> None:
    env = MaskInObservation(OrderAllocationEnv(**SMALL))
    env.reset(seed=3)
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for _ in range(4):
        expected = env.step(1)
        for twin in twins:
            same(twin.step(1), expected)


def test_the_policys_own_call_still_works() -> None:
    env = MaskInObservation(gym.make(ID, **SMALL))
    observation, _ = env.reset(seed=3)
    masks = env.get_wrapper_attr("action_masks")()
    np.testing.assert_array_equal(masks, observation["action_mask"].astype(bool))


# In Gymnasium.


@modes
def test_gymnasiums_checker_has_no_complaint(arguments: dict[str, Any]) -> None:
    # Other warnings are errors here. This one is for every wrapper.
    with pytest.warns(UserWarning, match="is different from the unwrapped version") as told:
        check_env(MaskInObservation(OrderAllocationEnv(**arguments)), skip_render_check=True)
    assert len(told) == 1


@pytest.mark.parametrize("action", ["grid", "lots"])
def test_the_specification_goes_through_json(action: str) -> None:
    env = MaskInObservation(gym.make(ID, action=action, **SMALL), "obs", mask_key="mask")
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    for ours, theirs in zip(episode(again, 3), episode(env, 3), strict=True):
        same(ours, theirs)


def test_in_a_vector_of_environments() -> None:
    envs = SyncVectorEnv([lambda: MaskInObservation(gym.make(ID, **SMALL))] * 3)
    same_as_native(envs)


def test_as_a_wrapper_of_make_vec() -> None:
    envs = gym.make_vec(
        ID, num_envs=3, vectorization_mode="sync", wrappers=[MaskInObservation], **SMALL
    )
    same_as_native(envs)


def same_as_native(envs: Any) -> None:
    """Two orders in a row, the masks beside those that the native vector environment tells."""
    native = gym.make_vec(ID, num_envs=3, vectorization_mode="vector_entry_point", **SMALL)
    observations, _ = envs.reset(seed=5)
    expected, _ = native.reset(seed=5)
    generator = np.random.default_rng(5)
    for _ in range(1 + 4):  # the last step starts the next orders, on other days
        same(observations["observation"], expected)
        same(observations["action_mask"], native.unwrapped.action_masks().astype(np.int8))
        actions = generator.integers(envs.single_action_space.n, size=3)
        observations, *_ = envs.step(actions)
        expected, *_ = native.step(actions)
    assert observations in envs.observation_space
    assert observations["action_mask"].shape == (3, 35)


# Bad input.


@pytest.mark.parametrize("name", ["observation_key", "mask_key"])
@pytest.mark.parametrize("key", ["", None, 3])
def test_a_key_that_is_no_text(name: str, key: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} = {key!r}: must be a text"):
        MaskInObservation(gym.make(ID), **{name: key})


def test_both_keys_the_same() -> None:
    with pytest.raises(ValueError, match=r"^mask_key = 'obs': is the observation_key as well"):
        MaskInObservation(gym.make(ID), "obs", "obs")


def test_an_environment_without_masks() -> None:
    with pytest.raises(TypeError, match=r"has no action_masks\(\).* Wrap an OrderAllocationEnv\.$"):
        MaskInObservation(gym.make("CartPole-v1"))
