"""Loops over the native vector environment as CleanRL writes them: masks, autoreset, learning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from torch import nn
from torch.distributions import Categorical

from execution_env import ENV_ID
from tests.plug_ins.examples import run_example

THREE_LOTS = {"order.size": 300}
"""Of the 35 actions 20 differ from all earlier ones, then 10, 4 and 1 as the lots fill."""

BUCKETS = 10


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Networks this small are slower with more; and chance is the same in every run."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(autoreset_mode: str, num_envs: int = 64, **arguments: Any) -> Any:
    return gym.make_vec(
        ENV_ID,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=autoreset_mode,
        **arguments,
    )


class Watched(gym.vector.VectorWrapper):  # type: ignore[type-arg]
    """Notes of each action that plays a bucket whether it was allowed when it came."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.allowed: list[bool] = []
        self.shares: list[float] = []

    def step(self, actions: Any) -> Any:
        masks = self.env.unwrapped.action_masks()
        self.allowed += masks[np.arange(self.num_envs), actions].tolist()
        self.shares.append(float(masks.mean()))
        return self.env.step(actions)


class Agent(nn.Module):
    """Actor and critic, as in CleanRL's ``ppo.py``, with masks."""

    def __init__(self, envs: Any) -> None:
        super().__init__()
        size, count = envs.single_observation_space.shape[0], envs.single_action_space.n
        self.critic = nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, 1))
        self.actor = nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, int(count)))

    def policy(self, obs: torch.Tensor, masks: torch.Tensor) -> Categorical:
        return Categorical(logits=self.actor(obs).masked_fill(~masks, -1e8))


@dataclass
class Training:
    """What a training leaves behind."""

    agent: Agent
    envs: Any
    watched: Watched
    episodes: list[tuple[float, int]] = field(default_factory=list)
    by_hand: list[tuple[float, int]] = field(default_factory=list)
    idle_rewards: list[float] = field(default_factory=list)


def train(autoreset_mode: str, *, masked: bool = True, iterations: int = 40) -> Training:
    """CleanRL's PPO; what differs is marked by comments."""
    watched = Watched(make(autoreset_mode, overrides=THREE_LOTS))
    envs = RecordEpisodeStatistics(watched)
    agent = Agent(envs)
    optimizer = torch.optim.Adam(agent.parameters(), lr=3e-3, eps=1e-5)
    training = Training(agent, envs, watched)
    steps, n = 22, envs.num_envs  # endings fall on other steps in every rollout
    next_obs, infos = envs.reset(options={"training_seed": 0})
    next_done = np.zeros(n, np.bool_)
    totals, lengths = np.zeros(n), np.zeros(n, int)
    for _ in range(iterations):
        obs, masks, actions, logprobs, values, rewards, dones = ([] for _ in range(7))
        for _ in range(steps):
            obs.append(torch.as_tensor(next_obs))
            dones.append(torch.as_tensor(next_done))
            mask = torch.as_tensor(infos["action_mask"]).bool()  # of the observation beside it
            masks.append(mask if masked else torch.ones_like(mask))
            with torch.no_grad():
                policy = agent.policy(obs[-1], masks[-1])
                values.append(agent.critic(obs[-1]).flatten())
            actions.append(policy.sample())
            logprobs.append(policy.log_prob(actions[-1]))
            started = next_done
            next_obs, reward, terminated, truncated, infos = envs.step(actions[-1].numpy())
            next_done = terminated | truncated
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            # The same statistics by hand.
            idle = started & (autoreset_mode == "NextStep")
            training.idle_rewards += reward[idle].tolist()
            totals += reward
            lengths += ~idle
            training.by_hand += list(zip(totals[next_done], lengths[next_done], strict=True))
            totals[next_done], lengths[next_done] = 0.0, 0
            if "episode" in infos:
                which = infos["_episode"]
                ended = infos["episode"]["r"][which], infos["episode"]["l"][which]
                training.episodes += list(zip(*ended, strict=True))
        with torch.no_grad():
            advantages = torch.zeros(steps, n)
            following, last = agent.critic(torch.as_tensor(next_obs)).flatten(), torch.zeros(n)
            unended = [~done for done in [*dones[1:], torch.as_tensor(next_done)]]
            for t in reversed(range(steps)):
                delta = rewards[t] + following * unended[t] - values[t]
                advantages[t] = last = delta + 0.95 * unended[t] * last
                following = values[t]
        # With NEXT_STEP the step after an ending played nothing: no such row is learned from.
        real = torch.stack(dones).flatten().logical_not() | (autoreset_mode != "NextStep")
        rows = [torch.cat(x)[real] for x in (obs, masks, actions, logprobs, values)]
        advantage = advantages.flatten()[real]
        for _ in range(4):
            for batch in torch.randperm(len(advantage)).chunk(4):
                o, m, a, old, value = (x[batch] for x in rows)
                policy = agent.policy(o, m)
                ratio = (policy.log_prob(a) - old).exp()
                normal = (advantage[batch] - advantage[batch].mean()) / advantage[batch].std()
                gain = torch.min(ratio * normal, ratio.clamp(0.8, 1.2) * normal)
                error = agent.critic(o).flatten() - (value + advantage[batch])
                loss = (0.5 * error.square() - gain - 0.01 * policy.entropy()).mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
    return training


def objective(choose: Any) -> float:
    """Mean over 2,000 days of orders of three lots."""
    envs = Watched(make("SameStep", 2_000, overrides=THREE_LOTS))
    (obs, infos), total = envs.reset(seed=1_000_000), 0.0
    for _ in range(BUCKETS):
        obs, rewards, ended, _, infos = envs.step(choose(obs, infos["action_mask"]))
        total -= rewards.mean()
    assert ended.all()
    assert all(envs.allowed)
    return total


def at_random(_: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """One of the allowed actions, each as likely."""
    return Categorical(probs=torch.as_tensor(masks, dtype=torch.float32)).sample().numpy()


def test_the_example() -> None:
    names = run_example("A loop in the style of CleanRL")
    envs = names["envs"]
    assert envs.episode_count == names["updates"] // BUCKETS * envs.num_envs
    assert set(envs.length_queue) == {BUCKETS}
    observations, infos = envs.reset(seed=1_000_000)
    assert infos["action_mask"].all()
    untrained = make("SameStep", 256)
    untrained.reset(seed=1_000_000)
    random, chance, reached = np.random.default_rng(0), 0.0, 0.0
    for _ in range(BUCKETS):
        chance -= untrained.step(random.integers(35, size=256))[1].mean()
        masks = torch.from_numpy(infos["action_mask"]).bool()
        with torch.no_grad():
            logits = names["networks"](torch.from_numpy(observations))[:, :-1]
        actions = logits.masked_fill(~masks, -1e8).argmax(1)
        observations, rewards, _, _, infos = envs.step(actions.numpy())
        reached -= rewards.mean()
    assert reached < 0.5 * chance


@pytest.mark.parametrize("autoreset_mode", ["NextStep", "SameStep"])
def test_ppo_learns_and_takes_no_masked_action(autoreset_mode: str) -> None:
    training = train(autoreset_mode)
    assert len(training.watched.allowed) == 40 * 22 * 64
    assert all(training.watched.allowed)
    assert np.mean(training.watched.shares) < 0.5

    period = BUCKETS + (autoreset_mode == "NextStep")
    assert len(training.episodes) == training.envs.episode_count == 40 * 22 // period * 64
    np.testing.assert_allclose(training.episodes, training.by_hand, rtol=1e-9)
    assert {length for _, length in training.episodes} == {BUCKETS}
    assert set(training.idle_rewards) == ({0.0} if autoreset_mode == "NextStep" else set())

    def greedy(obs: np.ndarray, masks: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            allowed = torch.as_tensor(masks).bool()
            return training.agent.policy(torch.as_tensor(obs), allowed).logits.argmax(1).numpy()

    assert objective(greedy) < 0.5 * objective(at_random)


def test_without_masks_masked_actions_are_taken() -> None:
    """What the test above would see if masks went astray."""
    training = train("SameStep", masked=False, iterations=2)
    assert np.mean(training.watched.allowed) < 0.9


@pytest.mark.parametrize(
    ("autoreset_mode", "after_the_last_bucket"),
    [("NextStep", 1), ("SameStep", 20), ("Disabled", 1)],
)
def test_every_row_of_masks_allows_something(
    autoreset_mode: str, after_the_last_bucket: int
) -> None:
    """Else a masked ``Categorical`` would have no probabilities; also after the last bucket."""
    envs = make(autoreset_mode, overrides=THREE_LOTS)
    observations, infos = envs.reset(seed=0)
    endings = 0
    for _ in range(2 * BUCKETS + 2):
        masks = infos["action_mask"]
        assert masks[:, 0].all()
        observations, _, ended, _, infos = envs.step(at_random(observations, masks))
        np.testing.assert_array_equal(infos["action_mask"], envs.action_masks())
        if ended.all():
            endings += 1
            assert set(infos["action_mask"].sum(1)) == {after_the_last_bucket}
            if autoreset_mode == "Disabled":
                observations, infos = envs.reset(options={"reset_mask": ended})
    assert endings == 2
