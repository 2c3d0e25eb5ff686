from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

import execution_env
from execution_env import OrderAllocationEnv, OrderAllocationVectorEnv, Scenario
from execution_env.allocation.advance import advance
from tests.allocation.playing import ID, AgainAndAgain, modes, random_action, same
from tests.allocation.strategies import scenarios_drawn

ALL_MODES = list(AutoresetMode)


def both(
    scenario: Any, n: int, mode: AutoresetMode = AutoresetMode.DISABLED, **kwargs: Any
) -> tuple[OrderAllocationVectorEnv, SyncVectorEnv]:
    sync = SyncVectorEnv(
        [lambda: OrderAllocationEnv(scenario, **kwargs) for _ in range(n)], autoreset_mode=mode
    )
    return OrderAllocationVectorEnv(n, scenario, autoreset_mode=mode, **kwargs), sync


def same_infos(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Bit-identical, but for final observations, which are a float32 array here and an array of
    objects there, and for the order of keys."""
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if key == "final_obs":
            present = theirs["_final_obs"]
            assert value.dtype == np.float32
            for e in np.flatnonzero(present):
                same(value[e], theirs[key][e])
            assert not value[~present].any()
        elif isinstance(value, dict):
            same_infos(value, theirs[key])
        else:
            same(np.ascontiguousarray(value), np.ascontiguousarray(theirs[key]))


def same_steps(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> None:
    for one, other in zip(ours[:-1], theirs[:-1], strict=True):
        same(one, other)
    same_infos(ours[-1], theirs[-1])


def random_actions(env: OrderAllocationVectorEnv, rng: np.random.Generator) -> np.ndarray:
    single = OrderAllocationEnv(env.scenario, action="lots" if env._batch.by_lots else "grid")
    return np.array([random_action(single, rng) for _ in range(env.num_envs)])


@settings(max_examples=60)
@given(scenarios_drawn(max_buckets=15), st.integers(0, 10**9), st.fixed_dictionaries(modes))
def test_seeded_episodes_equal_those_of_scalar_environments(
    scenario: Scenario, seed: int, mode: dict[str, str]
) -> None:
    ours, theirs = both(scenario, 3, **mode)
    rng = np.random.default_rng(seed)
    seeds = [seed, seed + 5, 0]
    same_steps(ours.reset(seed=seeds), theirs.reset(seed=seeds))
    for _ in range(scenario.buckets):
        actions = random_actions(ours, rng)
        same_steps(ours.step(actions), theirs.step(actions))


@settings(max_examples=40)
@given(scenarios_drawn(max_buckets=6), st.integers(0, 10**9), st.fixed_dictionaries(modes))
def test_reseeding_by_reset_mask_equals_scalar_environments(
    scenario: Scenario, seed: int, mode: dict[str, str]
) -> None:
    ours, theirs = both(scenario, 4, **mode)
    rng = np.random.default_rng(seed)
    same_steps(ours.reset(seed=seed), theirs.reset(seed=seed))
    for day in range(3 * scenario.buckets):
        bucket = ours._batch.orders.bucket
        mask = (bucket == scenario.buckets) | (rng.random(4) < 0.2)
        if mask.any():
            seeds = [seed + day + e for e in range(4)]
            same_steps(
                ours.reset(seed=seeds, options={"reset_mask": mask.copy()}),
                theirs.reset(seed=seeds, options={"reset_mask": mask.copy()}),
            )
        actions = random_actions(ours, rng)
        same_steps(ours.step(actions), theirs.step(actions))


@pytest.mark.parametrize("observation", ["minimal", "full"])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_automatic_resets_equal_those_of_gymnasium(
    mode: AutoresetMode, observation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, scenario = 3, "textbook"
    theirs = SyncVectorEnv(
        [lambda: AgainAndAgain(scenario, observation=observation)] * n, autoreset_mode=mode
    )
    ours = OrderAllocationVectorEnv(n, scenario, observation=observation, autoreset_mode=mode)
    same_steps(ours.reset(seed=4), theirs.reset(seed=4))
    days = copy.deepcopy(ours._batch.days)

    def replay(starting: np.ndarray) -> None:
        if starting.any():
            ours._batch.days.put(starting, days.part(starting))

    monkeypatch.setattr(ours, "_draw_days", replay)
    rng = np.random.default_rng(0)
    for step in range(23):
        if step == 7:  # put one out of step with the others
            mask = np.array([False, True, False])
            same_steps(
                ours.reset(seed=4, options={"reset_mask": mask.copy()}),
                theirs.reset(seed=4, options={"reset_mask": mask.copy()}),
            )
        actions = random_actions(ours, rng)
        same_steps(ours.step(actions), theirs.step(actions))


@pytest.mark.parametrize("mode", ALL_MODES)
def test_make_vec_gives_the_native_environment(mode: AutoresetMode) -> None:
    envs = gym.make_vec(
        ID, num_envs=5, vectorization_mode="vector_entry_point", scenario="two-algos",
        autoreset_mode=mode.value,
    )  # fmt: skip
    assert isinstance(envs, OrderAllocationVectorEnv)
    assert envs.metadata["autoreset_mode"] is mode
    assert envs.autoreset_mode is mode
    assert OrderAllocationVectorEnv.metadata.get("autoreset_mode") is None
    assert envs.observation_space.shape == (5, 4)
    assert envs.single_action_space == gym.spaces.Discrete(15)
    envs.spec.to_json()
    observations, infos = envs.reset(seed=0)
    assert observations in envs.observation_space
    envs.action_space.seed(0)
    for _ in range(10):
        observations, rewards, terminations, truncations, _ = envs.step(envs.action_space.sample())
        assert observations in envs.observation_space
        assert rewards.dtype == np.float64
        assert terminations.dtype == truncations.dtype == np.bool_
        assert not truncations.any()
    assert terminations.all()
    assert infos["_action_mask"].all()


def test_a_day_is_the_same_in_every_place_of_a_large_batch() -> None:
    # Loops over orders run in SIMD registers with a remainder, and in tiles: place must not matter.
    n = 1031
    envs = OrderAllocationVectorEnv(n, "baseline", observation="full")
    one = OrderAllocationEnv("baseline", observation="full")
    envs.reset(seed=[9] * n)
    one.reset(seed=9)
    for action in (3, 30, 17, 22, 34, 8, 1, 29, 16, 33):
        many, single = envs.step(np.full(n, action)), one.step(action)
        np.testing.assert_array_equal(many[0], np.tile(single[0], (n, 1)))
        np.testing.assert_array_equal(many[1], np.full(n, single[1]))
        for key, value in single[4].items():
            np.testing.assert_array_equal(many[4][key], np.broadcast_to(value, many[4][key].shape))


def test_training_days_follow_from_the_seed_and_go_on() -> None:
    def returns(**reset: Any) -> list[float]:
        envs = OrderAllocationVectorEnv(6, "known-rates", overrides={"order.buckets": 2})
        envs.reset(**reset)
        return [float(r) for _ in range(9) for r in envs.step(np.full(6, 18))[1]]

    assert returns(options={"training_seed": 3}) == returns(options={"training_seed": 3})
    assert returns(options={"training_seed": 3}) != returns(options={"training_seed": 4})
    assert returns(seed=3) == returns(seed=3)
    # From the first automatic reset on, the same training days.
    assert returns(seed=[3, 8, 8, 8, 8, 8])[18:] == returns(seed=3)[18:]


def test_masked_resets_leave_the_training_stream_alone() -> None:
    def play(masked: bool) -> list[float]:
        envs = OrderAllocationVectorEnv(4, "known-rates", overrides={"order.buckets": 3})
        envs.reset(seed=1)
        if masked:
            mask = np.array([True, False, False, False])
            envs.reset(seed=99, options={"reset_mask": mask})
        return [float(r) for _ in range(8) for r in envs.step(np.full(4, 18))[1][1:]]

    assert play(True) == play(False)


def test_infos_can_be_turned_off() -> None:
    for mode in ALL_MODES:
        full = OrderAllocationVectorEnv(3, "textbook", autoreset_mode=mode)
        quiet = OrderAllocationVectorEnv(3, "textbook", autoreset_mode=mode, info="none")
        same(full.reset(seed=1)[0], quiet.reset(seed=1)[0])
        for _ in range(5 if mode is AutoresetMode.DISABLED else 13):
            one, other = full.step(np.array([3, 14, 25])), quiet.step(np.array([3, 14, 25]))
            same(one[:4], other[:4])
            assert other[4] == {}


def test_what_was_returned_stays_as_it_is() -> None:
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        envs = OrderAllocationVectorEnv(3, "textbook", autoreset_mode=mode)
        results: list[Any] = [envs.reset(seed=1)]
        results += [envs.step(np.array([3, 14, 25])) for _ in range(12)]
        snapshot = copy.deepcopy(results)
        envs.step(np.array([30, 30, 30]))
        envs.reset(seed=7)
        for one, before in zip(results, snapshot, strict=True):
            same(one, before)
        arrays = [one[0] for one in results]
        assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def test_action_masks_are_those_of_the_infos() -> None:
    for action in ("grid", "lots"):
        envs = OrderAllocationVectorEnv(4, "baseline", action=action)
        _, infos = envs.reset(seed=0)
        np.testing.assert_array_equal(envs.action_masks(), infos["action_mask"].astype(bool))
        assert envs.action_masks().dtype == np.bool_


def test_rendering_gives_a_frame_per_environment() -> None:
    envs = gym.make_vec(ID, num_envs=2, vectorization_mode="vector_entry_point", render_mode="ansi")
    one = OrderAllocationEnv(render_mode="ansi")
    envs.reset(seed=5)
    one.reset(seed=6)
    envs.step(np.array([3, 20]))
    one.step(20)
    assert envs.render()[1] == one.render()


@pytest.mark.parametrize("scenario", execution_env.scenarios())
def test_a_copy_goes_its_own_way(scenario: str) -> None:
    envs = OrderAllocationVectorEnv(3, scenario)
    envs.reset(seed=2)
    envs.step(np.array([1, 2, 3]))
    twin = copy.deepcopy(envs)
    for _ in range(20):
        same_steps(envs.step(np.array([5, 6, 7])), twin.step(np.array([5, 6, 7])))


def test_read_only_actions_compile_nothing_new() -> None:
    envs = OrderAllocationVectorEnv(2, "baseline")
    envs.reset(seed=0)
    envs.step(np.array([3, 4]))
    before = list(advance.signatures)
    actions = np.array([3, 4])
    actions.setflags(write=False)
    envs.step(actions)
    assert list(advance.signatures) == before
