"""Tianshou on the environment."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from execution_env.wrappers import MaskInObservation
from tests.plug_ins.examples import run_example
from tests.plug_ins.watch import Watch, assert_never_masked, watched

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing Tianshou and torch warns about themselves
    import torch
    from tianshou.algorithm import DQN, QRDQN
    from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
    from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.trainer import OffPolicyTrainerParams
    from tianshou.utils.net.common import Net

BUCKETS, ACTIONS, ENVS = 10, 35, 4


def test_the_example_trains() -> None:
    names = run_example("Tianshou")
    result, memory = names["result"], names["memory"]
    assert result.train_step == 2 * 1040 == len(memory)  # whole batches of 80
    assert result.update_step > 0
    assert np.isfinite(memory.rew).all()
    assert memory.terminated.sum() == 2 * 1040 / BUCKETS


def orders(masked: bool = True, n: int = ENVS) -> tuple[DummyVectorEnv, list[Watch]]:
    """Watched orders side by side, with or without the mask in the observation."""
    watches = [watched() for _ in range(n)]
    envs = [MaskInObservation(env, "obs", "mask") if masked else env for env in watches]
    return DummyVectorEnv([lambda env=env: env for env in envs]), watches


def dqn(exploration: float) -> DQN[Any]:
    policy = DiscreteQLearningPolicy(
        model=Net(state_shape=5, action_shape=ACTIONS, hidden_sizes=[32]),
        action_space=gym.spaces.Discrete(ACTIONS),
        eps_training=exploration,
        eps_inference=exploration,
    )
    return DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-2), target_update_freq=10)


def quantiles(exploration: float) -> QRDQN[Any]:
    policy = QRDQNPolicy(
        model=Net(state_shape=5, action_shape=ACTIONS, hidden_sizes=[32], num_atoms=8),
        action_space=gym.spaces.Discrete(ACTIONS),
        eps_training=exploration,
        eps_inference=exploration,
    )
    optimizer = AdamOptimizerFactory(lr=1e-2)
    return QRDQN(policy=policy, optim=optimizer, num_quantiles=8, target_update_freq=10)


# Days.


@pytest.mark.parametrize("day", [0, 7])
def test_a_collector_plays_the_day_that_gymnasium_plays(day: int) -> None:
    collector = Collector(dqn(1.0), orders(n=1)[0], exploration_noise=True)
    reset = {"seed": day}
    collector.collect(n_episode=1, reset_before_collect=True, gym_reset_kwargs=reset)
    steps, env = collector.buffer[:], watched()
    assert len(steps) == BUCKETS
    observation, info = env.reset(seed=day)
    for step in steps:
        np.testing.assert_array_equal(step.obs.obs, observation)
        np.testing.assert_array_equal(step.obs.mask, info["action_mask"])
        observation, reward, over, _, info = env.step(int(step.act))
        np.testing.assert_array_equal(step.obs_next.obs, observation)
        np.testing.assert_array_equal(step.obs_next.mask, info["action_mask"])
        assert step.rew == reward
        assert step.terminated == over
    assert over


def test_all_episodes_of_a_call_are_that_day() -> None:
    collector = Collector(dqn(0.0), orders()[0])
    reset = {"seed": 7}
    stats = collector.collect(n_episode=8, reset_before_collect=True, gym_reset_kwargs=reset)
    assert len(stats.returns) == 8
    assert len(set(stats.returns)) == 1


# Masks.


@pytest.mark.parametrize("make", [dqn, quantiles])
def test_training_takes_no_masked_action(make: Any) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    algorithm = make(exploration=0.3)
    before = [parameter.detach().clone() for parameter in algorithm.policy.parameters()]
    (training, watches), (test, tests) = orders(), orders()
    buffer = VectorReplayBuffer(1000, ENVS)
    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=Collector(algorithm, training, buffer, exploration_noise=True),
            test_collector=Collector(algorithm, test),
            test_step_num_episodes=5 * ENVS,
            max_epochs=1,
            epoch_num_steps=1600,
            collection_step_num_env_steps=ENVS * BUCKETS,
            update_step_num_gradient_steps_per_sample=0.1,
            show_progress=False,
            verbose=False,
        )
    )
    after = list(algorithm.policy.parameters())
    assert not all(torch.equal(p, q) for p, q in zip(before, after, strict=True))
    assert np.isfinite(result.best_reward)
    for env in watches:
        assert_never_masked(env, 1600 // ENVS)
    for env in tests:
        assert_never_masked(env, 2 * 5 * BUCKETS)


@pytest.mark.parametrize("make", [dqn, quantiles])
@pytest.mark.parametrize("exploration", [0.0, 1.0])
@pytest.mark.parametrize("masked", [True, False])
def test_the_mask_in_the_observation_is_what_keeps_to_it(
    make: Any, exploration: float, masked: bool
) -> None:
    torch.manual_seed(0)
    venv, watches = orders(masked)
    collector = Collector(make(exploration), venv, exploration_noise=True)
    collector.collect(n_episode=5 * ENVS, reset_before_collect=True)
    for env in watches:
        if masked:
            assert_never_masked(env, 5 * BUCKETS)
        else:
            assert env.masked > BUCKETS
