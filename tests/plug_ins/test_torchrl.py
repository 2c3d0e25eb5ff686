"""TorchRL on the environment."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from execution_env.wrappers import MaskInObservation
from tests.plug_ins.examples import run_example
from tests.plug_ins.watch import ID, MASKED, WatchedVectorEnv, assert_never_masked, watched

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing TorchRL warns about its own deprecated classes
    import torch
    from tensordict.nn import TensorDictModule, TensorDictSequential
    from torchrl.collectors import Collector
    from torchrl.data import Binary
    from torchrl.envs import (
        ActionMask,
        Compose,
        DTypeCastTransform,
        EnvBase,
        ExplorationType,
        GymEnv,
        GymWrapper,
        TransformedEnv,
        check_env_specs,
        default_info_dict_reader,
        set_exploration_type,
    )
    from torchrl.modules import (
        MLP,
        EGreedyModule,
        MaskedCategorical,
        ProbabilisticActor,
        QValueActor,
        ValueOperator,
    )
    from torchrl.objectives import ClipPPOLoss, DQNLoss
    from torchrl.objectives.value import GAE

BUCKETS, ACTIONS = 10, 35


def test_the_example_plays() -> None:
    data = run_example("TorchRL")["data"]
    assert data.batch_size == (16, BUCKETS)
    assert data["next", "done"][:, -1].all()
    assert data["next", "reward"].isfinite().all()
    assert data["action_mask"].gather(-1, data["action"].unsqueeze(-1)).all()


def bool_masks() -> DTypeCastTransform:
    return DTypeCastTransform(torch.int8, torch.bool, in_keys=["action_mask"])


def with_masks(env: Any, *transforms: Any) -> EnvBase:
    """``env`` in TorchRL, the mask of its infos as an entry of what it returns, for ``ActionMask``."""
    wrapped = GymWrapper(env, categorical_action_encoding=True)
    spec = Binary(ACTIONS, shape=(*wrapped.batch_size, ACTIONS), dtype=torch.int8)
    wrapped.set_info_dict_reader(default_info_dict_reader(["action_mask"], spec=[spec]))
    compose = Compose(*(transforms or (bool_masks(), ActionMask())))
    # TorchRL has a transform of its own where orders start again by themselves ("SameStep").
    masked = TransformedEnv(wrapped, compose, auto_unwrap=True)
    env.forget()  # TorchRL may have played to find out what infos hold
    return masked


def vector(n: int = 4, mode: str = "Disabled", **arguments: Any) -> WatchedVectorEnv:
    return WatchedVectorEnv(n, **MASKED, autoreset_mode=mode, **arguments)


# Environments.


def one() -> EnvBase:
    return with_masks(watched())


def one_hot() -> EnvBase:
    env = GymWrapper(gym.make(ID))
    return TransformedEnv(env.auto_register_info_dict(), Compose(bool_masks(), ActionMask()))


def mask_in_observation() -> EnvBase:
    env = GymWrapper(MaskInObservation(gym.make(ID)), categorical_action_encoding=True)
    return TransformedEnv(env, Compose(bool_masks(), ActionMask()))


def lots() -> EnvBase:
    return GymWrapper(gym.make(ID, action="lots", observation="full"))


def by_name() -> EnvBase:
    return GymEnv(ID, scenario="drifting")


def by_name_with_module() -> EnvBase:
    return GymEnv(f"execution_env:{ID}", scenario="drifting")


def disabled() -> EnvBase:
    return with_masks(vector())


def same_step() -> EnvBase:
    return GymWrapper(vector(mode="SameStep"), categorical_action_encoding=True)


@pytest.mark.parametrize(
    "make",
    [one, one_hot, mask_in_observation, lots, by_name, by_name_with_module, disabled, same_step],
)
def test_environments_keep_to_their_specs(make: Any) -> None:
    env = make()
    check_env_specs(env)
    rollout = env.rollout(25, break_when_any_done=False)
    assert rollout.batch_size == (*env.batch_size, 25)
    assert rollout["next", "done"].sum(-2).eq(25 // BUCKETS).all()
    assert rollout["next", "reward"].isfinite().all()


def test_torchrl_refuses_orders_that_start_in_a_step_of_their_own() -> None:
    with pytest.raises(RuntimeError, match="must be one of SAME_STEP or DISABLED"):
        GymWrapper(vector(mode="NextStep"))


def play_day(env: EnvBase, day: int) -> Any:
    return env.rollout(BUCKETS, auto_reset=False, tensordict=env.reset(seed=day))


def test_a_rollout_is_the_day_that_gymnasium_plays() -> None:
    rollout, env = play_day(with_masks(watched()), 7), watched()
    observation, info = env.reset(seed=7)
    for step in rollout:
        np.testing.assert_array_equal(step["observation"], observation)
        np.testing.assert_array_equal(step["action_mask"], info["action_mask"].astype(bool))
        observation, reward, over, _, info = env.step(step["action"].item())
        np.testing.assert_array_equal(step["next", "observation"], observation)
        assert step["next", "reward"].item() == np.float32(reward)
        assert step["next", "done"].item() == over
    assert over


@pytest.mark.parametrize("mode", ["Disabled", "SameStep"])
def test_a_rollout_of_the_vector_environment_is_several_days(mode: str) -> None:
    rollout, env = play_day(with_masks(vector(3, mode)), 7), vector(3)
    observations, infos = env.reset(seed=7)
    for step in rollout.unbind(1):
        np.testing.assert_array_equal(step["observation"], observations)
        np.testing.assert_array_equal(step["action_mask"], infos["action_mask"].astype(bool))
        observations, rewards, over, _, infos = env.step(step["action"].numpy())
        np.testing.assert_array_equal(step["next", "observation"], observations)
        np.testing.assert_array_equal(step["next", "reward"][:, 0], rewards.astype(np.float32))
        np.testing.assert_array_equal(step["next", "done"][:, 0], over)
    assert over.all()


def test_setting_the_seed_starts_the_training_days_there() -> None:
    env, gymnasium = with_masks(watched()), watched()
    env.set_seed(7)
    rollout = env.rollout(BUCKETS)
    gymnasium.reset(options={"training_seed": 7})
    rewards = [gymnasium.step(action.item())[1] for action in rollout["action"]]
    np.testing.assert_array_equal(rollout["next", "reward"][:, 0], np.float32(rewards))


# Masks.


@pytest.mark.parametrize("mode", ["Disabled", "SameStep"])
def test_random_actions_are_never_masked(mode: str) -> None:
    scalar, many = watched(), vector(4, mode)
    for env in (scalar, many):
        with_masks(env).rollout(5 * BUCKETS, break_when_any_done=False)
    assert_never_masked(scalar, 5 * BUCKETS)
    assert_never_masked(many, 4 * 5 * BUCKETS)


def test_without_the_transform_they_are() -> None:
    env = watched()
    with_masks(env, bool_masks()).rollout(5 * BUCKETS, break_when_any_done=False)
    assert env.masked > BUCKETS


def q_network(env: EnvBase, action_mask_key: str | None = "action_mask") -> Any:
    actor = QValueActor(
        MLP(5, ACTIONS, num_cells=[32]),
        in_keys=["observation"],
        spec=env.action_spec_unbatched,
        action_mask_key=action_mask_key,
    )
    explore = EGreedyModule(env.action_spec_unbatched, 0.5, 0.5, action_mask_key=action_mask_key)
    return actor, TensorDictSequential(actor, explore)


def collect(env: EnvBase, policy: Any, frames: int, batches: int) -> Any:
    return Collector(
        env,
        policy,
        frames_per_batch=frames,
        total_frames=frames * batches,
        auto_register_policy_transforms=True,
    )


@pytest.mark.parametrize("make", [watched, vector])
def test_dqn_takes_no_masked_action(make: Any) -> None:
    torch.manual_seed(0)
    watch = make()
    env = with_masks(watch)
    actor, explore = q_network(env)
    loss = DQNLoss(actor, action_space="categorical", delay_value=False)
    optimizer = torch.optim.Adam(loss.parameters(), 1e-2)
    before = [p.detach().clone() for p in loss.parameters()]
    for data in collect(env, explore, 8 * BUCKETS, 20):
        optimizer.zero_grad()
        loss(data.reshape(-1))["loss"].backward()
        optimizer.step()
    assert not any(torch.equal(p, q) for p, q in zip(loss.parameters(), before, strict=True))
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        greedy = env.rollout(BUCKETS, explore)
    assert greedy["next", "reward"].isfinite().all()
    assert_never_masked(watch, 20 * 8 * BUCKETS + env.numel() * BUCKETS)


@pytest.mark.parametrize("exploration", [ExplorationType.RANDOM, ExplorationType.DETERMINISTIC])
def test_a_q_network_without_the_mask_does(exploration: ExplorationType) -> None:
    torch.manual_seed(0)
    watch = watched()
    env = with_masks(watch, bool_masks())
    with set_exploration_type(exploration):
        env.rollout(5 * BUCKETS, q_network(env, None)[1], break_when_any_done=False)
    assert watch.masked > 0


@pytest.mark.parametrize("make", [watched, vector])
def test_ppo_takes_no_masked_action(make: Any) -> None:
    torch.manual_seed(0)
    watch = make()
    env = with_masks(watch)
    logits = TensorDictModule(MLP(5, ACTIONS, num_cells=[32]), ["observation"], ["logits"])
    actor = ProbabilisticActor(
        logits,
        in_keys={"logits": "logits", "mask": "action_mask"},
        distribution_class=MaskedCategorical,
        return_log_prob=True,
    )
    critic = ValueOperator(MLP(5, 1, num_cells=[32]), in_keys=["observation"])
    loss = ClipPPOLoss(actor, critic)
    advantage = GAE(gamma=1, lmbda=0.95, value_network=critic)
    optimizer = torch.optim.Adam(loss.parameters(), 1e-2)
    for data in collect(env, actor, 8 * BUCKETS, 5):
        for _ in range(4):
            advantage(data)
            losses = loss(data.reshape(-1))
            total = sum(losses[key] for key in ("loss_objective", "loss_critic", "loss_entropy"))
            assert total.isfinite()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        env.rollout(BUCKETS, actor)
    assert_never_masked(watch, 5 * 8 * BUCKETS + env.numel() * BUCKETS)
