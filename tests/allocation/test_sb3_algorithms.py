"""Stable-Baselines3's algorithms learn on the adapter, and meet the days they should."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from execution_env import numbered_days
from tests.allocation.playing import same  # first: it skips where Stable-Baselines3 is missing
from tests.allocation.playing_sb3 import (  # first: it skips where Stable-Baselines3 is missing
    Monitor,
    OrderAllocationVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    dummy,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing tensorboard warns about itself
    import torch
    from stable_baselines3 import A2C, DQN, PPO
    from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
    from stable_baselines3.common.evaluation import evaluate_policy

SMALL = {"policy_kwargs": {"net_arch": [8]}, "device": "cpu"}
ROLLOUT = {**SMALL, "n_steps": 10}
PPO_ROLLOUT = {**ROLLOUT, "batch_size": 20, "n_epochs": 1}
OFF_POLICY = {**SMALL, "learning_starts": 40, "train_freq": 5, "buffer_size": 240}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Returns(BaseCallback):
    """Collects the returns of the orders that end, in order of steps and environments."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[float] = []

    def _on_step(self) -> bool:
        self.all += [i["episode"]["r"] for i in self.locals["infos"] if "episode" in i]
        return True


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [(PPO, PPO_ROLLOUT), (A2C, ROLLOUT), (DQN, OFF_POLICY)],
    ids=["PPO", "A2C", "DQN"],
)
@pytest.mark.parametrize("info", ["full", "none"])
def test_algorithms_learn(algorithm: Any, options: dict[str, Any], info: str) -> None:
    venv = OrderAllocationVecEnv(4, scenario="baseline", info=info, training_seed=0)
    model = algorithm("MlpPolicy", venv, seed=0, **options)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(400)
    assert any((before[name] != value).any() for name, value in model.policy.state_dict().items())
    assert model.num_timesteps == 400
    assert [episode["l"] for episode in model.ep_info_buffer] == [10] * 40
    assert all(-20 < episode["r"] < 0 for episode in model.ep_info_buffer)


@pytest.mark.parametrize("algorithm", [PPO, A2C], ids=["PPO", "A2C"])
def test_algorithms_learn_to_post_lots(algorithm: Any) -> None:
    venv = OrderAllocationVecEnv(4, action="lots", observation="full")
    options = PPO_ROLLOUT if algorithm is PPO else ROLLOUT
    algorithm("MlpPolicy", venv, **options).learn(200)


@pytest.mark.parametrize(
    "wrap",
    [VecNormalize, lambda venv: VecFrameStack(VecNormalize(venv), 3)],
    ids=["VecNormalize", "VecFrameStack"],
)
def test_ppo_learns_through_wrappers(wrap: Any) -> None:
    venv = wrap(OrderAllocationVecEnv(4))
    model = PPO("MlpPolicy", venv, **PPO_ROLLOUT).learn(200)
    assert model.get_vec_normalize_env().ret_rms.count > 200
    assert len(model.ep_info_buffer) == 20


def test_the_replay_buffer_holds_the_last_observations_of_orders() -> None:
    venv = OrderAllocationVecEnv(4)
    model = DQN("MlpPolicy", venv, **OFF_POLICY).learn(200)
    buffer = model.replay_buffer
    assert buffer.pos == 50
    buckets_left, later = (
        array[:50, :, 1] for array in (buffer.observations, buffer.next_observations)
    )
    assert buffer.dones[:50].sum() == 20
    assert not buffer.timeouts.any()  # orders end, they are not cut off: nothing to bootstrap from
    np.testing.assert_array_equal(buffer.dones[:50] == 1, later == 0)
    np.testing.assert_allclose(later, buckets_left - 0.1, atol=1e-6)


@pytest.mark.parametrize("info", ["full", "none"])
def test_maskable_ppo_takes_no_masked_action(info: str, monkeypatch: pytest.MonkeyPatch) -> None:
    contrib = pytest.importorskip("sb3_contrib", reason="needs the agents extra")
    # Little is postable at a time, so that many actions post the same and are masked.
    overrides = {"participation.max_posted": 200}
    venv = OrderAllocationVecEnv(4, scenario="baseline", overrides=overrides, info=info)
    play, allowed = venv.envs.step, []

    def checked(actions: np.ndarray) -> Any:
        masks = venv.envs.action_masks()
        assert masks[np.arange(4), actions].all()
        allowed.append(masks.mean())
        return play(actions)

    monkeypatch.setattr(venv.envs, "step", checked)
    model = contrib.MaskablePPO("MlpPolicy", venv, **PPO_ROLLOUT).learn(400)
    assert len(allowed) == 100
    assert np.mean(allowed) < 0.8
    observations = venv.reset()
    for _ in range(10):
        masks = np.stack(venv.env_method("action_masks"))
        actions, _ = model.predict(observations, action_masks=masks, deterministic=False)
        observations = venv.step(actions)[0]


def test_evaluate_policy_plays_the_days_asked_for() -> None:
    ours, theirs = OrderAllocationVecEnv(4), dummy(4)
    model = PPO("MlpPolicy", ours, **PPO_ROLLOUT)
    results = []
    for venv in (ours, theirs, VecMonitor(OrderAllocationVecEnv(4, monitor=False))):
        venv.seed(1_000_000)
        results.append(evaluate_policy(model, venv, 4, return_episode_rewards=True))
    assert results[0] == results[1]
    assert results[0][1] == results[2][1] == [10] * 4
    np.testing.assert_allclose(results[0][0], results[2][0], rtol=1e-6)


def test_evaluate_policy_says_that_nothing_monitors() -> None:
    venv = OrderAllocationVecEnv(2, monitor=False)
    model = PPO("MlpPolicy", venv, **PPO_ROLLOUT)
    with pytest.warns(UserWarning, match="not wrapped with a ``Monitor``"):
        evaluate_policy(model, venv, 2)


def test_an_eval_callback_evaluates_on_another_adapter(tmp_path: Path) -> None:
    evaluation = EvalCallback(
        OrderAllocationVecEnv(3), n_eval_episodes=3, eval_freq=20, log_path=str(tmp_path), verbose=0
    )
    model = PPO("MlpPolicy", OrderAllocationVecEnv(4), **PPO_ROLLOUT)
    model.learn(160, callback=evaluation)
    results = np.load(tmp_path / "evaluations.npz")
    assert results["results"].shape == (2, 3)
    assert (results["ep_lengths"] == 10).all()


def test_a_saved_model_goes_on(tmp_path: Path) -> None:
    model = PPO("MlpPolicy", OrderAllocationVecEnv(4), **PPO_ROLLOUT).learn(80)
    model.save(tmp_path / "model")
    venv = OrderAllocationVecEnv(4, training_seed=1)
    loaded = PPO.load(tmp_path / "model", env=venv, device="cpu")
    observations = venv.reset()
    same(
        model.predict(observations, deterministic=True),
        loaded.predict(observations, deterministic=True),
    )
    loaded.learn(80, reset_num_timesteps=False)
    assert loaded.num_timesteps == 160
    other = OrderAllocationVecEnv(4)
    loaded.set_env(other)
    loaded.learn(80, reset_num_timesteps=False)
    assert loaded.num_timesteps == 240
    assert other.env_is_wrapped(Monitor) == [True] * 4
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        loaded.set_env(OrderAllocationVecEnv(4, observation="full"))


def returns(seed: int | None, training_seed: int | None) -> list[float]:
    """Of the orders of a short training."""
    venv = OrderAllocationVecEnv(4, training_seed=training_seed)
    met = Returns()
    PPO("MlpPolicy", venv, **PPO_ROLLOUT, seed=seed).learn(120, callback=met)
    return met.all


def test_a_seeded_model_plays_numbered_days_first(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[list[int]] = []

    def noted(scenario: Any, seeds: list[int]) -> Any:
        played.append(list(seeds))
        return numbered_days(scenario, seeds)

    monkeypatch.setattr("execution_env.allocation.vector_env.numbered_days", noted)
    first = returns(seed=7, training_seed=None)
    assert played == [[7, 8, 9, 10]]
    assert len(first) == 12
    assert returns(seed=7, training_seed=None) == first
    assert returns(seed=8, training_seed=None) != first
    mixed = returns(seed=7, training_seed=3)
    assert mixed[:4] == first[:4]
    assert mixed[4:] != first[4:]
    played.clear()
    returns(seed=None, training_seed=3)
    assert played == []
