"""The policy of PPO: what its network sees, and that ours in NumPy is Stable-Baselines3's in torch."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from agents.policy import widths
from agents.ppo.learner import Learner
from agents.ppo.policy import Layer, PPOPolicy, feature_count, features
from agents.ppo.settings import Hyperparameters
from execution_env import Scenario, load_scenario, numbered_days
from execution_env.allocation.batch import Batch
from tests.allocation.strategies import scenarios_drawn

KINDS = ("minimal", "default", "full")
FEW = {"order.size": 1500, "order.buckets": 4, "volume.total": 10000}
"""Fifteen lots, of which seven or so may be posted: masks matter."""
SCENARIO = load_scenario("two-algos", FEW)
SMALL = Hyperparameters(n_envs=32, minibatches=2, n_epochs=2, width=16, learning_rate=0.01)


def met(scenario: Scenario, count: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 5 + 2 K) "full" observations of random play, and the environment's (n, A) masks; the last
    ``count`` are of orders that are over.
    """
    batch = Batch(scenario, count, "grid", "full", informs=True)
    batch.days.put(slice(None), numbered_days(scenario, range(count)))
    report = batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    reports, generator = [report], np.random.default_rng(seed)
    for _ in range(scenario.buckets):
        actions = generator.integers(0, scenario.grid_size, (count, 1))
        reports.append(batch.advance(actions, batch.nobody, batch.everyone))
    observations = np.concatenate([report.observations for report in reports])
    return observations, np.concatenate([report.masks for report in reports]) == 1


def strong(learner: Learner, seed: int = 0) -> Learner:
    """The same with random weights: fresh networks find all actions nearly equally good."""
    size = learner.parameters().size
    weights = np.random.default_rng(seed).normal(0, 0.5, size).astype(np.float32)
    learner.set_parameters(weights)
    return learner


def policy_of(learner: Learner, sees: str, masked: bool = False, seed: int = 0) -> PPOPolicy:
    return PPOPolicy(learner.scenario, learner.layers(), sees, masked, seed=seed)


# What networks see.


@settings(max_examples=15)
@given(scenarios_drawn(max_buckets=6, max_lots=40, max_algos=3), st.sampled_from(KINDS))
def test_networks_see_columns_around_zero_and_which_bucket_it_is(
    scenario: Scenario, kind: str
) -> None:
    full, _ = met(scenario, 8)
    width, buckets = widths(scenario)[kind], scenario.buckets
    seen = features(scenario, kind, full)
    assert seen.shape == (len(full), feature_count(scenario, kind))
    assert seen.dtype == np.float32
    assert np.abs(seen).max() <= 1
    for j, (row, observation) in enumerate(zip(seen.tolist(), full.tolist(), strict=True)):
        assert row[:width] == pytest.approx([2 * x - 1 for x in observation[:width]], abs=1e-6)
        bucket = j // 8  # eight orders side by side; after the last bucket there is none
        assert row[width:] == [float(b == bucket) for b in range(buckets)]
    for wider in [columns for columns in widths(scenario).values() if columns >= width]:
        assert np.array_equal(features(scenario, kind, full[:, :wider]), seen)


# The policy in NumPy is the one in torch.


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("kind", "layers"), [("minimal", 0), ("default", 2), ("full", 3)])
def test_greedy_actions_and_logits_are_those_of_stable_baselines3(
    masked: bool, kind: str, layers: int
) -> None:
    learner = strong(Learner(SCENARIO, 0, kind, masked, replace(SMALL, layers=layers)))
    policy = policy_of(learner, kind, masked)
    full, masks = met(SCENARIO, 500)
    full, masks = full[:-500], masks[:-500]
    seen = features(SCENARIO, kind, full)
    arguments = {"action_masks": masks} if masked else {}
    logits = policy.logits(full)
    with torch.no_grad():
        distribution = learner.model.policy.get_distribution(torch.from_numpy(seen), **arguments)
    theirs = distribution.distribution.logits.double().numpy()
    best = logits.max(axis=1, keepdims=True)
    ours = logits - best - np.log(np.exp(logits - best).sum(axis=1, keepdims=True))
    assert np.array_equal(np.isneginf(ours), ~masks if masked else np.zeros_like(masks))
    finite = np.isfinite(ours)
    np.testing.assert_allclose(ours[finite], theirs[finite], rtol=1e-4, atol=1e-4)
    actions, _ = learner.model.predict(seen, deterministic=True, **arguments)
    clear = np.sort(ours, axis=1)
    clear = clear[:, -1] - clear[:, -2] > 1e-3
    assert clear.mean() > 0.95
    assert np.array_equal(policy.actions(full)[clear], actions[clear])
    assert len(set(actions.tolist())) > 2
    assert (theirs.std(axis=0) > 0.1).any()  # networks without opinions would agree as well


def test_drawn_actions_have_the_probabilities_of_stable_baselines3() -> None:
    learner = strong(Learner(SCENARIO, 0, "default", True, SMALL))
    full, masks = met(SCENARIO)
    which = int(np.flatnonzero((masks.sum(axis=1) > 5) & (masks.sum(axis=1) < masks.shape[1]))[0])
    one, mask = full[which], masks[which]
    seen = torch.from_numpy(features(SCENARIO, "default", one[None]))
    with torch.no_grad():
        distribution = learner.model.policy.get_distribution(seen, action_masks=mask[None])
    likely = distribution.distribution.probs[0].double().numpy()
    count = 20_000
    policy = policy_of(learner, "default", True, seed=1)
    drawn, _ = policy.predict(np.tile(one, (count, 1)), deterministic=False)
    frequencies = np.bincount(drawn, minlength=len(likely))
    assert frequencies[~mask].sum() == 0
    often = likely * count > 5
    assert often.sum() > 3
    assert frequencies[~often].sum() < 50
    expected = likely[often] / likely[often].sum() * frequencies[often].sum()
    assert chisquare(frequencies[often], expected).pvalue > 1e-3


def test_drawn_actions_follow_the_policys_own_seed() -> None:
    learner = Learner(SCENARIO, 0, "default", False, SMALL)
    full, _ = met(SCENARIO)
    first, second, other = (
        policy_of(learner, "default", seed=seed).predict(full, deterministic=False)[0]
        for seed in (3, 3, 4)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    fresh = [
        PPOPolicy(SCENARIO, learner.layers(), "default").predict(full, deterministic=False)[0]
        for _ in range(2)
    ]
    assert not np.array_equal(*fresh)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_order_alone_gets_what_it_gets_in_a_batch(kind: str, masked: bool) -> None:
    policy = policy_of(strong(Learner(SCENARIO, 0, kind, masked, SMALL)), kind, masked)
    full, masks = met(SCENARIO, 40)
    actions, state = policy.predict(full, state="kept")
    assert state == "kept"
    assert (actions[-40:] == 0).all()  # over
    assert actions[:-40].any()
    assert policy.observation == ("full" if masked else kind)
    width = widths(SCENARIO)[policy.observation]
    assert np.array_equal(policy.predict(full[:, :width])[0], actions)
    for row, action in zip(full, actions, strict=True):
        alone, _ = policy.predict(row[:width])
        assert np.shape(alone) == ()
        assert alone == action
    for deterministic in (True, False):
        taken, _ = policy.predict(full[:-40], deterministic=deterministic)
        allowed = masks[:-40][np.arange(len(taken)), taken]
        assert allowed.all() or not masked
    assert masked or not allowed.all()  # masks matter here


@pytest.mark.parametrize("sees", KINDS)
def test_what_a_masked_policy_reads_is_said(sees: str) -> None:
    policy = policy_of(Learner(SCENARIO, 0, sees, True, SMALL), sees, True)
    with pytest.raises(ValueError, match=r'ppo reads \(n, 9\).*observation="full"\.'):
        policy.predict(met(SCENARIO, 2)[0][:, :4])


@pytest.mark.parametrize("masked", [False, True])
def test_decided_lots_are_those_that_the_actions_post(masked: bool) -> None:
    policy = policy_of(strong(Learner(SCENARIO, 0, "default", masked, SMALL)), "default", masked)
    env = gym.make(
        "execution_env/OrderAllocation-v0", scenario=SCENARIO, observation="full", action="grid"
    )
    posted = 0
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            lots = policy.decide(observation[None])[0]
            action, _ = policy.predict(observation)
            observation, _, over, _, info = env.step(action)
            assert np.array_equal(info["lots_posted"], lots)
            posted += int(lots.sum())
    assert posted > 0


def test_a_network_by_hand() -> None:
    """Two hidden neurons: the second is off when few lots remain."""
    width = feature_count(SCENARIO, "minimal")
    hidden = np.zeros((2, width), np.float32)
    hidden[:, 0] = [-1, 1]  # of 2 remaining / n - 1
    last = np.zeros((SCENARIO.grid_size, 2), np.float32)
    last[4, 0], last[7, 1] = 1, 1
    biases = [np.zeros(len(matrix), np.float32) for matrix in (hidden, last)]
    layers = [Layer(hidden, biases[0]), Layer(last, biases[1])]
    policy = PPOPolicy(SCENARIO, layers, "minimal")
    observations = np.array([[0.25, 0.5], [0.75, 0.5], [1, 1], [0, 0.25]], np.float32)
    assert policy.logits(observations)[:, [4, 7]].tolist() == [[0.5, 0], [0, 0.5], [0, 1], [1, 0]]
    assert policy.actions(observations).tolist() == [4, 7, 7, 4]
