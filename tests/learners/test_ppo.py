"""PPO on our environment: days, units, randomness, and that it learns."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.policy import load_policy
from agents.ppo.learner import Learner, Seen, cost_unit
from agents.ppo.policy import feature_count, features
from agents.ppo.run import PPOTraining
from agents.ppo.settings import Hyperparameters, Settings
from agents.rollouts.allocation import play
from execution_env import DayStream, Scenario, load_scenario
from execution_env.allocation import vector_env
from execution_env.allocation.market.day_stream import TRAINING, VALIDATION
from execution_env.allocation.scenario_file import scenario_from_dict
from execution_env.sb3 import OrderAllocationVecEnv

FEW = {"order.size": 1500, "order.buckets": 4, "volume.total": 10000}
"""Fifteen lots, of which seven or so may be posted: masks matter."""
SCENARIO = load_scenario("two-algos", FEW)
SMALL = Hyperparameters(n_envs=32, minibatches=2, n_epochs=2, width=16, learning_rate=0.01)

COSTLY: dict[str, Any] = {
    "name": "costly",
    "order": {"size": 8, "lot_size": 1, "buckets": 4},
    "algos": [
        {"name": "sure", "cost": 1.0, "fill_rate": 1.0},
        {"name": "cheap", "cost": 0.3, "fill_rate": [0.5, 0.25, 0.75, 0.25]},
    ],
    "penalties": {"envelope": 0.5, "residual": 3.0},
    "envelope": {"kind": "twap", "band": 0.1},
    "actions": {"resolution": 4},
}
"""Nothing is hidden, so that dynamic programming is optimal; no rule is."""


# What it learns from.


def test_the_environment_is_seen_through_features_and_in_units_of_cost() -> None:
    arguments = {"scenario": SCENARIO, "observation": "default", "info": "none"}
    plain = OrderAllocationVecEnv(3, training_seed=5, **arguments)
    seen = Seen(OrderAllocationVecEnv(3, training_seed=5, **arguments), SCENARIO, "default")
    assert seen.observation_space.shape == (feature_count(SCENARIO, "default"),)
    assert np.array_equal(seen.reset(), features(SCENARIO, "default", plain.reset()))
    for action in range(9):
        actions = np.full(3, action)
        observations, rewards, dones, infos = seen.step(actions)
        raw = plain.step(actions)
        assert np.array_equal(observations, features(SCENARIO, "default", raw[0]))
        assert rewards == pytest.approx(raw[1] / 2)  # the dearest algo costs 2
        assert rewards.dtype == np.float32
        assert np.array_equal(dones, raw[2])
        assert [info.keys() for info in infos] == [info.keys() for info in raw[3]]


@pytest.mark.parametrize(
    ("overrides", "unit"),
    [
        ({}, 2.0),
        ({"algos.Aggressive.cost": [1.0, 0.0, 5.0, 2.0]}, 5.0),
        ({"algos.Aggressive.cost": 0.0, "algos.Passive.cost": 0.0, "penalties.residual": 7.0}, 7.0),
        (
            {"algos.Aggressive.cost": 0.5, "algos.Passive.cost": 0.25, "penalties.residual": 7.0},
            0.5,
        ),
    ],
)
def test_the_unit_of_rewards(overrides: dict[str, Any], unit: float) -> None:
    assert cost_unit(load_scenario("two-algos", FEW | overrides)) == unit


def test_where_nothing_costs_anything_the_unit_is_one() -> None:
    free = dict.fromkeys(("envelope", "residual"), 0.0)
    algos = [{"name": "free", "cost": 0.0, "fill_rate": 1.0}]
    scenario = scenario_from_dict(COSTLY | {"penalties": free, "algos": algos})
    assert cost_unit(scenario) == 1.0
    training = PPOTraining(scenario, 0, Settings(10**4, hyperparameters=SMALL))
    training.learner.set_parameters(np.zeros_like(training.learner.parameters()))
    training.advance(1)
    # All returns are the same: of their variance no share is explained, and nan could not be saved.
    assert training.facts()["explained_variance"] == 0.0


# Learning.


def trained(
    scenario: Scenario = SCENARIO, seed: int = 0, masked: bool = False, **settings: Any
) -> PPOTraining:
    hyperparameters = replace(SMALL, **settings)
    training = PPOTraining(
        scenario, seed, Settings(10**5, masked=masked, hyperparameters=hyperparameters)
    )
    training.advance(3)
    return training


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_a_small_order_is_learned(masked: bool) -> None:
    """Against dynamic programming, which is optimal here, and the best rule."""
    scenario = scenario_from_dict(COSTLY)
    days = DayStream(scenario, 1, VALIDATION).draw(4096)

    def objective(policy: Any) -> float:
        return float(play(policy, scenario, days).objective.mean())

    optimum = objective(load_policy("dp", scenario))
    rules = ("all-sure", "all-cheap", "passive-then-sweep", "twap")
    best_rule = min(objective(load_policy(name, scenario)) for name in rules)
    fast = Hyperparameters(n_envs=128, minibatches=2, width=32, layers=1, learning_rate=0.02)
    training = PPOTraining(scenario, 0, Settings(30 * 128 * 4, masked=masked, hyperparameters=fast))
    before = objective(training.policy())
    training.advance(training.total)
    after = objective(training.policy())
    assert optimum <= after < optimum + 0.03 < best_rule < before
    assert training.facts()["entropy"] < 1


@pytest.mark.parametrize("masked", [False, True])
def test_the_currency_does_not_matter(masked: bool) -> None:
    """Four times all prices is exact in binary, so that not a bit may differ."""
    dear = {f"algos.{algo.name}.cost": 4.0 * algo.cost for algo in SCENARIO.algos}
    for name in ("envelope", "residual", "residual_quadratic"):
        dear[f"penalties.{name}"] = 4.0 * getattr(SCENARIO.penalties, name)
    scenario = load_scenario("two-algos", FEW | dear)
    first, second = trained(masked=masked), trained(scenario, masked=masked)
    assert np.array_equal(first.learner.parameters(), second.learner.parameters())


def unsettle() -> None:
    """Leave all global generators where nobody expects them."""
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(17)


@pytest.mark.parametrize("masked", [False, True])
def test_the_seed_decides_and_nothing_else(masked: bool) -> None:
    first = trained(masked=masked)
    unsettle()
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        again = PPOTraining(SCENARIO, 0, first.settings)
        for _ in range(3):
            again.advance(1)
            unsettle()
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(first.learner.parameters(), again.learner.parameters())
    for one, other in zip(first.learner.moments(), again.learner.moments(), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(first.learner.parameters(), trained(seed=1).learner.parameters())


def test_torch_computes_in_one_thread() -> None:
    """In more it would sum up in another order."""
    learner = Learner(SCENARIO, 0, "default", False, SMALL)
    threads = set()
    learner.model.policy.mlp_extractor.register_forward_pre_hook(
        lambda *_: threads.add(torch.get_num_threads())
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        learner.learn(1, 0.01)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == {1}


@pytest.mark.parametrize("masked", [False, True])
def test_training_plays_training_days_only(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    streams, days = [], []

    class Recorded(DayStream):
        def __init__(self, scenario: Any, seed: Any, purpose: int = TRAINING) -> None:
            super().__init__(scenario, seed, purpose)
            streams.append((seed, purpose))

        def draw_into(self, drawn: Any) -> None:
            super().draw_into(drawn)
            days.append(drawn.fill_rate.tobytes())

    def refuse(*_: Any) -> None:
        raise AssertionError("a numbered day")

    monkeypatch.setattr(vector_env, "DayStream", Recorded)
    monkeypatch.setattr(vector_env, "numbered_days", refuse)
    for seed in (0, 1):
        trained(seed=seed, masked=masked)
    seeds = [seed for seed, _ in streams if seed is not None]
    assert {purpose for _, purpose in streams} == {TRAINING}
    assert len(seeds) == len(set(seeds)) == 6  # three batches of two trainings
    assert min(seeds) > 2**32  # nobody's own small number
    assert len(days) == len(set(days)) >= 6


def test_the_learning_rate_falls_and_is_never_zero() -> None:
    training = PPOTraining(SCENARIO, 0, Settings(4 * 32 * 5, hyperparameters=SMALL))
    assert training.total == 5
    rates = []
    for _ in range(5):
        training.advance(1)
        (group,) = training.learner.model.policy.optimizer.param_groups
        rates.append(group["lr"])
    assert rates == pytest.approx([0.01, 0.008, 0.006, 0.004, 0.002])
    assert training.blocks == 5
    training.advance(1)
    assert training.blocks == 5
    assert training.steps == 4 * 32 * 5


def test_hyperparameters_arrive() -> None:
    """All that PPO is told; what is measured of them is not ours to test."""
    values = {"n_epochs": 3, "gae_lambda": 0.5, "gamma": 0.75, "ent_coef": 0.1, "vf_coef": 0.3}
    values |= {"max_grad_norm": 0.7}
    learner = Learner(
        SCENARIO, 0, "full", False, replace(SMALL, **values, clip_range=0.1, layers=1)
    )
    model = learner.model
    assert {name: getattr(model, name) for name in values} == values
    assert model.clip_range(1.0) == 0.1
    assert (model.n_envs, model.n_steps, model.batch_size) == (32, 4, 64)
    shapes = [layer.weights.shape for layer in learner.layers()]
    assert shapes == [(16, feature_count(SCENARIO, "full")), (SCENARIO.grid_size, 16)]


def test_weights_and_moments_come_back() -> None:
    learner = trained().learner
    weights, (steps, means, squares) = learner.parameters(), learner.moments()
    assert steps == 3 * 2 * 2  # batches, passes, parts
    assert means.any()
    assert (squares >= 0).all()
    other = Learner(SCENARIO, 5, "default", False, SMALL)
    assert other.moments()[0] == 0
    assert not other.moments()[1].any()
    other.set_parameters(weights)
    other.set_moments(steps, means, squares)
    assert np.array_equal(other.parameters(), weights)
    assert other.moments()[0] == steps
    assert np.array_equal(other.moments()[1], means)
    assert np.array_equal(other.moments()[2], squares)
    for vector in (weights, means, squares):  # theirs are copies
        vector[:] = 7
    assert not (other.parameters() == 7).any()
    assert not (other.moments()[1] == 7).any()
    learner.learn(4, 0.01)
    other.seed = learner.seed
    other.learn(4, 0.01)
    assert np.array_equal(other.parameters(), learner.parameters())


def test_weights_of_other_networks_are_refused() -> None:
    learner = Learner(SCENARIO, 0, "default", False, SMALL)
    before = learner.parameters()
    right = np.zeros_like(before)
    for wrong in (right[:-1], np.append(right, right[:1]), right[None]):
        with pytest.raises(ValueError, match=rf"weights: these networks have {right.size}\."):
            learner.set_parameters(wrong)
        for moments in ((wrong, right), (right, wrong)):
            with pytest.raises(ValueError, match="weights: these networks have"):
                learner.set_moments(1, *moments)
    assert np.array_equal(learner.parameters(), before)
    assert learner.moments()[0] == 0


def test_one_step_is_no_minibatch() -> None:
    order = {"size": 8, "lot_size": 1, "buckets": 1}
    scenario = scenario_from_dict(COSTLY | {"order": order, "algos": COSTLY["algos"][:1]})
    two = replace(SMALL, n_envs=4, minibatches=2)
    PPOTraining(scenario, 0, Settings(8, hyperparameters=two)).advance(2)
    with pytest.raises(ValueError, match=r"minibatches = 4: leaves one step a minibatch"):
        Learner(scenario, 0, "default", False, replace(two, minibatches=4))


@pytest.mark.parametrize(
    ("timesteps", "n_envs", "minibatches"),
    [
        (1, 64, 1),
        (10_000, 128, 1),
        (1_000_000, 1024, 8),
        (3_000_000, 2048, 16),
        (10_000_000, 4096, 32),
        (10**12, 4096, 32),
    ],
)
def test_batches_grow_with_the_square_root_of_the_budget(
    timesteps: int, n_envs: int, minibatches: int
) -> None:
    baseline = load_scenario("baseline")
    chosen = Hyperparameters().chosen(baseline, timesteps)
    assert (chosen.n_envs, chosen.minibatches) == (n_envs, minibatches)
    assert chosen.chosen(baseline, 5) == chosen


@pytest.mark.parametrize("n_envs", [1, 7, 130, 1000, 4096])
@pytest.mark.parametrize("name", ["textbook", "baseline", "vwap-u-shape"])
def test_minibatches_that_are_not_told_their_size_divide_the_batch(name: str, n_envs: int) -> None:
    scenario = load_scenario(name)
    chosen = Hyperparameters(n_envs=n_envs).chosen(scenario, 1)
    assert chosen.n_envs == n_envs
    assert n_envs % chosen.minibatches == 0
    steps = n_envs * scenario.buckets
    assert chosen.minibatches * chosen.batch_size(scenario) == steps
    assert chosen.batch_size(scenario) >= min(steps, 800)
