"""RLlib on the environment, most of it in remote env runners."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from execution_env import OrderAllocationVectorEnv
from execution_env.wrappers import MaskInObservation
from tests.plug_ins.examples import run_example
from tests.plug_ins.watch import ID, MASKED, assert_never_masked, watched

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing Ray warns about itself
    import ray
    import torch
    from gymnasium.error import NamespaceNotFound
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
    from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
    from ray.tune.registry import register_env

BUCKETS = 10
ID_WITH_MODULE = f"execution_env:{ID}"

register_env("watched", lambda config: watched(**config))
register_env(
    "watched, with masks",
    lambda config: MaskInObservation(watched(**config), "observations", "action_mask"),
)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    # The environment warns by UserWarning, as Gymnasium's checker does: an error in remote processes
    # too.
    everywhere = {"env_vars": {"PYTHONWARNINGS": "error::UserWarning", "OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=everywhere)
    yield
    ray.shutdown()


def ppo(
    env: str, runners: int, orders: int, arguments: dict[str, Any] | None = None, **more: Any
) -> PPOConfig:
    return (
        PPOConfig()
        .environment(env, env_config=arguments or {})
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=orders, **more)
        .training(train_batch_size_per_learner=400, minibatch_size=100, num_epochs=2, lr=1e-3)
    )


def has_trained(result: dict[str, Any], steps: int) -> None:
    sampled, learned = result["env_runners"], result["learners"]["default_policy"]
    assert steps <= sampled["num_env_steps_sampled_lifetime"] < steps + 100
    assert sampled["episode_len_mean"] == BUCKETS
    assert np.isfinite(sampled["episode_return_mean"])
    assert np.isfinite(learned["total_loss"])
    assert learned["num_module_steps_trained_lifetime"] > steps  # several epochs
    assert learned["mean_kl_loss"] > 0  # the policy is no longer the one that sampled


def test_the_example_trains() -> None:
    has_trained(run_example("RLlib")["results"][-1], 3 * 800)


# Remote processes.


def test_a_warning_is_an_error_in_remote_processes() -> None:
    with pytest.raises(UserWarning, match="to be raised"):
        ray.get(ray.remote(lambda: gym.logger.warn("to be raised")).remote())


def test_remote_processes_know_the_id_by_its_module() -> None:
    make = ray.remote(gym.make)
    with pytest.raises(NamespaceNotFound):
        ray.get(make.remote(ID))
    env = ray.get(make.remote(ID_WITH_MODULE, scenario="drifting"))
    assert env.unwrapped.scenario.name == "drifting"


def of_environments(what: Any, group: Any) -> list[Any]:
    """``what`` of every environment of a group of env runners."""

    def of_runner(runner: Any) -> list[Any]:
        return [what(env) for env in runner.env.unwrapped.envs]

    local = group.num_remote_env_runners() == 0
    runners = group.foreach_env_runner(of_runner, local_env_runner=local)
    return [answer for runner in runners for answer in runner]


def test_ppo_on_the_id_with_two_runners() -> None:
    algorithm = ppo(ID_WITH_MODULE, 2, 4, MASKED).build_algo()
    has_trained([algorithm.train() for _ in range(2)][-1], 2 * 400)
    lots = of_environments(lambda env: env.unwrapped.scenario.lots, algorithm.env_runner_group)
    assert lots == [3] * (2 * 4)
    algorithm.stop()


# Episodes.


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_sampled_episodes_are_those_that_gymnasium_plays(mode: str) -> None:
    config = ppo(ID_WITH_MODULE, 0, 3, MASKED, gym_env_vectorize_mode=mode).debugging(seed=7)
    runner, env = SingleAgentEnvRunner(config=config), gym.make(ID, **MASKED)
    native = isinstance(runner.env.unwrapped, OrderAllocationVectorEnv)
    assert native == (mode == "vector_entry_point")
    episodes = runner.sample(num_episodes=3, random_actions=True)
    assert len(episodes) == 3
    for day, episode in enumerate(episodes, start=7):
        expected = [env.reset(seed=day)[0]]
        actions = episode.get_actions()
        assert len(actions) == BUCKETS
        rewards = []
        for action in actions:
            observation, reward, over, _, _ = env.step(action)
            expected.append(observation)
            rewards.append(reward)
        np.testing.assert_array_equal(episode.get_observations(), expected)
        np.testing.assert_array_equal(episode.get_rewards(), rewards)
        assert episode.is_terminated == over


def test_ppo_on_the_native_vector_environment() -> None:
    native = {"gym_env_vectorize_mode": "vector_entry_point"}
    algorithm = ppo(ID_WITH_MODULE, 1, 16, {"scenario": "drifting"}, **native).build_algo()
    has_trained([algorithm.train() for _ in range(2)][-1], 2 * 400)
    types = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: type(runner.env.unwrapped), local_env_runner=False
    )
    assert types == [OrderAllocationVectorEnv]
    algorithm.stop()


# Masks.


def counts(group: Any) -> Any:
    """What the environments of a group counted, together."""
    names = ("steps", "choices", "masked")
    each = of_environments(lambda env: [env.get_wrapper_attr(name) for name in names], group)
    return SimpleNamespace(**dict(zip(names, np.sum(each, axis=0), strict=True)))


def test_masked_ppo_takes_no_masked_action() -> None:
    algorithm = (
        ppo("watched, with masks", 1, 4)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=ActionMaskingTorchRLModule))
        .evaluation(
            evaluation_num_env_runners=1,
            evaluation_duration=20,
            evaluation_config={"explore": False},
        )
        .build_algo()
    )
    has_trained([algorithm.train() for _ in range(3)][-1], 3 * 400)
    assert np.isfinite(algorithm.evaluate()["env_runners"]["episode_return_mean"])
    assert_never_masked(counts(algorithm.env_runner_group), 3 * 400)
    assert_never_masked(counts(algorithm.eval_env_runner_group), 20 * BUCKETS)
    algorithm.stop()


# RLlib's own: in one process every env runner registers its environments anew under one name.
@pytest.mark.filterwarnings("ignore:.*Overriding environment rllib-single-agent-env-v0:UserWarning")
@pytest.mark.parametrize("explore", [True, False])
def test_without_the_mask_it_does(explore: bool) -> None:
    torch.manual_seed(0)
    runner = SingleAgentEnvRunner(config=ppo("watched", 0, 4))
    runner.sample(num_timesteps=20 * BUCKETS, explore=explore)
    assert sum(env.get_wrapper_attr("masked") for env in runner.env.unwrapped.envs) > BUCKETS
