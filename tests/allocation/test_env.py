from __future__ import annotations

import copy
import json
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import execution_env
from execution_env import (
    OrderAllocationEnv,
    OrderAllocationVectorEnv,
    Scenario,
    numbered_days,
)
from execution_env.allocation.formulas import LOT_TOLERANCE
from tests.allocation.playing import ID, modes, random_action, same
from tests.allocation.reference import ReferenceOrder
from tests.allocation.strategies import scenarios_drawn

KEYS = {
    "lots_posted", "lots_filled", "remaining_lots", "posting_cost", "envelope_penalty",
    "residual_penalty", "cost", "cost_envelope", "cost_residual", "cost_sum", "estimates",
    "action_mask",
}  # fmt: skip


def env_of(scenario: Scenario | str, **kwargs: Any) -> OrderAllocationEnv:
    return OrderAllocationEnv(scenario, **kwargs)


@pytest.mark.parametrize("observation", ["minimal", "default", "full"])
@pytest.mark.parametrize("action", ["grid", "lots"])
@pytest.mark.parametrize("scenario", execution_env.scenarios())
def test_gymnasiums_checker_has_no_complaint(scenario: str, action: str, observation: str) -> None:
    env = gym.make(ID, scenario=scenario, action=action, observation=observation)
    check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_the_checker_renders(mode: str) -> None:
    check_env(gym.make(ID, render_mode=mode).unwrapped)


@pytest.mark.parametrize("observation", ["minimal", "default", "full"])
@pytest.mark.parametrize("action", ["grid", "lots"])
@pytest.mark.parametrize("scenario", execution_env.scenarios())
def test_stable_baselines_checker_has_no_complaint(
    scenario: str, action: str, observation: str
) -> None:
    with warnings.catch_warnings():
        # Importing torch warns about itself; what the checker says must not be lost.
        warnings.simplefilter("ignore")
        checker = pytest.importorskip(
            "stable_baselines3.common.env_checker", reason="needs the agents extra"
        )
    checker.check_env(env_of(scenario, action=action, observation=observation))


def test_a_spec_survives_json() -> None:
    env = gym.make(ID, scenario="textbook", overrides={"order.buckets": 5}, observation="full")
    assert env.spec is not None
    text = env.spec.to_json()
    json.loads(text)
    again = gym.make(EnvSpec.from_json(text))
    assert again.observation_space == env.observation_space
    np.testing.assert_array_equal(again.reset(seed=3)[0], env.reset(seed=3)[0])


@settings(max_examples=30)
@given(scenarios_drawn(), st.integers(0, 2**40), st.fixed_dictionaries(modes))
def test_an_episode_obeys_the_model(scenario: Scenario, seed: int, mode: dict[str, str]) -> None:
    env = env_of(scenario, **mode)
    reference = ReferenceOrder(scenario, numbered_days(scenario, [seed]))
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    assert set(info) == KEYS
    filled = 0
    for b in range(scenario.buckets):
        assert env.observation_space.contains(observation)
        postable = reference.postable()
        before = env._batch.orders.multiplier[:, 0].copy()
        check_mask(env, info["action_mask"], postable)
        observation, reward, terminated, truncated, info = env.step(random_action(env, rng))
        assert set(info) == KEYS
        assert type(reward) is float
        assert terminated is (b + 1 == scenario.buckets)
        assert truncated is False
        posted, fills = info["lots_posted"], info["lots_filled"]
        assert (posted >= 0).all()
        assert (fills >= 0).all()
        assert (fills <= posted).all()
        assert posted.sum() <= postable <= scenario.lots
        filled += fills.sum()
        assert info["remaining_lots"] == scenario.lots - filled
        parts = info["posting_cost"], info["envelope_penalty"], info["residual_penalty"]
        assert reward == -(parts[0] + parts[1] + parts[2])
        assert info["cost"] == info["cost_envelope"] + info["cost_residual"]
        after = env._batch.orders.multiplier[:, 0]
        np.testing.assert_array_equal(after[posted == 0], before[posted == 0])
        for key, value in reference.step(posted).items():
            np.testing.assert_allclose(info[key], value, rtol=1e-9, atol=1e-9, err_msg=key)
        assert (info["estimates"] >= 0).all()
        assert (info["estimates"] <= 1).all()
    assert env.observation_space.contains(observation)
    assert observation[1] == 0


def check_mask(env: OrderAllocationEnv, mask: np.ndarray, postable: int) -> None:
    assert mask.dtype == np.int8
    np.testing.assert_array_equal(env.action_masks(), mask.astype(bool))
    assert env.action_masks().dtype == np.bool_
    if isinstance(env.action_space, gym.spaces.MultiDiscrete):
        expected = np.arange(env.scenario.lots + 1) <= postable
        np.testing.assert_array_equal(mask, np.tile(expected, len(env.scenario.algos)))
        return
    lots = []
    for action in range(len(mask)):
        twin = copy.deepcopy(env)
        lots.append(tuple(twin.step(action)[4]["lots_posted"].tolist()))
        assert sum(lots[-1]) <= postable
        if action > 12:  # enough: ``test_actions`` looks at whole grids
            break
    expected = [lots.index(allocation) == action for action, allocation in enumerate(lots)]
    assert mask[: len(lots)].astype(bool).tolist() == expected


@settings(max_examples=40)
@given(scenarios_drawn(max_buckets=12, max_lots=30), st.integers(0, 1000))
def test_a_masked_action_equals_its_twin(scenario: Scenario, seed: int) -> None:
    env = env_of(scenario)
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    for _ in range(scenario.buckets):
        row = min(int(env._batch.orders.postable[0]), len(env._batch.grid.twins) - 1)
        action = int(rng.integers(len(env.grid_actions)))
        other = copy.deepcopy(env)
        same(env.step(action), other.step(int(env._batch.grid.twins[row, action])))


def test_seed_zero_is_a_seed() -> None:
    env, again = env_of("baseline"), env_of("baseline")
    for one in (env, again):
        one.reset(seed=0)
    same(env.step(30), again.step(30))
    again.reset()
    again.reset(seed=0)
    env.reset(seed=0)
    same(env.step(30), again.step(30))
    assert env.np_random_seed == 0


def episode(env: OrderAllocationEnv, action: int = 20) -> list[Any]:
    return [env.step(action) for _ in range(env.scenario.buckets)]


def test_unseeded_resets_play_training_days_reproducibly() -> None:
    env, again, other = (env_of("baseline") for _ in range(3))
    env.reset(seed=7)
    again.reset(options={"training_seed": 7})
    other.reset(options={"training_seed": 8})
    env.reset()
    first, second, third = episode(env), episode(again), episode(other)
    assert [step[1] for step in first] == [step[1] for step in second]
    assert [step[1] for step in first] != [step[1] for step in third]
    env.reset(seed=7)
    numbered = episode(env)
    assert [step[1] for step in numbered] != [step[1] for step in first]
    env.reset()
    assert [step[1] for step in episode(env)] == [step[1] for step in first]
    env.reset()
    assert [step[1] for step in episode(env)] != [step[1] for step in first]


def test_a_numbered_day_with_its_own_training_seed() -> None:
    env, again = env_of("baseline"), env_of("baseline")
    env.reset(seed=3, options={"training_seed": 11})
    again.reset(options={"training_seed": 11})
    env.reset()
    assert [step[1] for step in episode(env)] == [step[1] for step in episode(again)]


def test_training_goes_on_past_a_block_of_days() -> None:
    env = env_of("known-rates", overrides={"order.buckets": 1})
    env.reset(options={"training_seed": 0})
    returns = [env.step(18)[1] for _ in range(300) if env.reset()]
    assert len(set(returns)) > 3
    assert returns[:128] != returns[128:256]


@settings(max_examples=30)
@given(scenarios_drawn(max_buckets=10), st.integers(0, 100))
def test_a_day_does_not_depend_on_the_actions(scenario: Scenario, seed: int) -> None:
    env, other = env_of(scenario), env_of(scenario)
    for one, action in ((env, 0), (other, len(env.grid_actions) - 1)):
        one.reset(seed=seed)
        episode(one, action)
    for array, same_array in zip(env._batch.days, other._batch.days, strict=True):
        assert array.tobytes() == same_array.tobytes()


def test_what_was_returned_stays_as_it_is() -> None:
    env = env_of("baseline", observation="full")
    results = [env.reset(seed=1)]
    results += [(step[0], step[4]) for step in (env.step(25) for _ in range(10))]
    snapshot = copy.deepcopy(results)
    env.reset(seed=2)
    episode(env, 3)
    for one, before in zip(results, snapshot, strict=True):
        same(one, before)


def test_a_copy_goes_its_own_way() -> None:
    env = env_of("drifting", observation="full")
    env.reset(seed=5)
    env.step(12)
    twin = copy.deepcopy(env)
    same(env.step(20), twin.step(20))
    env.step(34)
    other = copy.deepcopy(twin)
    same(twin.step(3), other.step(3))
    env.reset(options={"training_seed": 4})
    twin = copy.deepcopy(env)
    env.reset()
    twin.reset()
    same(env.step(20), twin.step(20))


def test_info_can_be_turned_off() -> None:
    env, quiet = env_of("baseline"), env_of("baseline", info="none")
    env.reset(seed=1)
    assert quiet.reset(seed=1)[1] == {}
    for _ in range(10):
        full, none = env.step(13), quiet.step(13)
        same(full[:4], none[:4])
        assert none[4] == {}


def test_the_return_is_minus_the_objective_by_hand() -> None:
    # Nothing is ever posted: nine bucket ends below a TWAP band, and the whole order left over.
    env = env_of("baseline")
    env.reset(seed=0)
    total = sum(step[1] for step in episode(env, 0))
    below = sum(max(0.0, (b + 1) / 10 - 0.15) for b in range(9))
    assert total == pytest.approx(-(5 * below + 10))


def test_no_envelope_penalty_for_the_last_bucket() -> None:
    env = env_of("textbook")
    env.reset(seed=0)
    steps = episode(env, 0)
    assert steps[-1][4]["envelope_penalty"] == 0
    assert steps[-1][4]["residual_penalty"] == 10


def test_fills_on_the_edge_of_the_envelope_are_inside() -> None:
    # .29 * 100 is 28.999999999999996 in floating point, and 29 lots all the same.
    env = env_of(
        {
            "name": "edge",
            "order": {"size": 100, "lot_size": 1, "buckets": 2},
            "algos": [{"name": "sure", "cost": 1.0, "fill_rate": 1.0}],
            "envelope": {"lower": [0.29, 1.0], "upper": [0.29, 1.0], "upper_mode": "hard"},
            "penalties": {"envelope": 1.0, "residual": 1.0},
        },
        action="lots",
    )
    env.reset(seed=0)
    info = env.step([29])[4]
    assert info["lots_filled"].tolist() == [29]
    assert info["cost_envelope"] == 0
    assert abs(0.29 * 100 - 29) < LOT_TOLERANCE


def test_evidence_in_the_full_observation() -> None:
    env = env_of("baseline", observation="full", action="lots")
    observation, _ = env.reset(seed=0)
    assert observation[5:8].tolist() == [0, 0, 0]
    observation, *_ = env.step([0, 10, 0])
    of = env._batch.parameters.algos[1]
    weight, icc = of["prior_weight"], of["icc"]
    expected = 7.5 / (1 + 9 * icc)
    assert observation[6] == np.float32(expected / (weight + expected))
    assert observation[5] == observation[7] == 0


def test_full_observation_shows_envelope_and_postable_lots() -> None:
    env = env_of("baseline", observation="full")
    observation, _ = env.reset(seed=0)
    assert observation[8:].tolist() == np.float32([0.0, 0.25, 0.3]).tolist()


def test_a_free_bucket_has_a_reward_of_plain_zero() -> None:
    env = env_of("baseline")
    env.reset(seed=0)
    assert str(env.step(0)[1]) == "0.0"


@pytest.mark.parametrize("make", [OrderAllocationEnv, OrderAllocationVectorEnv])
def test_unknown_reset_options_are_ignored_with_a_warning(make: Any) -> None:
    env = make(scenario="baseline")
    with pytest.warns(UserWarning, match='trainig_seed.*Did you mean "training_seed"'):
        env.reset(options={"trainig_seed": 1})
    with pytest.raises(TypeError, match="options = 5: must be a dictionary"):
        env.reset(options=5)
    # A warning would be an error here: Minari's wrapper passes on what is for itself.
    env.reset(options={"minari_autoseed": False})
