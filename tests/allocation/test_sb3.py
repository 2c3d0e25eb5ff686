"""The Stable-Baselines3 adapter plays what ``DummyVecEnv`` plays, and answers like it."""

from __future__ import annotations

import copy
import csv
import gc
import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import execution_env
from execution_env import OrderAllocationVectorEnv, Scenario
from execution_env.allocation.market.day_stream import DayStream
from tests.allocation.playing import AgainAndAgain, modes, same
from tests.allocation.playing_sb3 import (
    SHORT,
    OrderAllocationVecEnv,
    VecEnv,
    VecMonitor,
    VecNormalize,
    dummy,
    get_monitor_files,
    load_results,
    plays_the_same,
    random_actions,
    same_infos,
    same_steps,
    wrappers,
)
from tests.allocation.strategies import scenarios_drawn

# Episodes.


@pytest.mark.parametrize(
    ("action", "observation", "info"),
    [("grid", "default", "full"), ("lots", "full", "full"), ("grid", "minimal", "none")],
)
@pytest.mark.parametrize("scenario", execution_env.scenarios())
def test_seeded_episodes_equal_those_of_dummy_vec_env(
    scenario: str, action: str, observation: str, info: str
) -> None:
    arguments = {"scenario": scenario, "action": action, "observation": observation, "info": info}
    ours = OrderAllocationVecEnv(3, **arguments)
    # Three episodes in a row, the first day twice. The last step gives the next order's start,
    # which is the same whatever its day brings, unless orders have predictions of their own.
    played = ours.envs.scenario
    steps = played.buckets - any(algo.prediction_sd > 0 for algo in played.algos)
    plays_the_same(ours, dummy(3, **arguments), [5, 1_000_000, 5], steps)


@settings(max_examples=30)
@given(scenarios_drawn(max_buckets=8), st.integers(0, 2**31), st.fixed_dictionaries(modes))
def test_seeded_episodes_equal_those_of_dummy_vec_env_in_any_scenario(
    scenario: Scenario, seed: int, mode: dict[str, str]
) -> None:
    for n in (1, 4):
        ours = OrderAllocationVecEnv(n, scenario=scenario, **mode)
        theirs = dummy(n, scenario=scenario, **mode)
        plays_the_same(ours, theirs, [seed, seed + 1], scenario.buckets)


@pytest.mark.parametrize("info", ["full", "none"])
@wrappers
def test_automatic_resets_equal_those_of_dummy_vec_env(
    wrap: Any, info: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"scenario": "textbook", "observation": "full", "info": info}
    arguments["monitor"] = wrap is not VecMonitor
    inner, dummies = OrderAllocationVecEnv(3, **arguments), dummy(3, AgainAndAgain, **arguments)
    ours, theirs = wrap(inner), wrap(dummies)
    ours.seed(4)
    theirs.seed(4)
    same(ours.reset(), theirs.reset())
    days = copy.deepcopy(inner.envs._batch.days)

    def replay(starting: np.ndarray) -> None:
        inner.envs._batch.days.put(starting, days.part(starting))

    monkeypatch.setattr(inner.envs, "_draw_days", replay)
    rng = np.random.default_rng(0)
    endings = set()
    for step in range(23):
        if step == 7:  # put one out of step with the others
            mask = np.array([False, True, False])
            inner.envs.reset(seed=4, options={"reset_mask": mask})
            inner._returns[mask] = inner._lengths[mask] = 0
            dummies.envs[1].reset(seed=5)
        actions = random_actions(ours, rng)
        starts = inner.reset_infos[:]
        played = ours.step(actions)
        same_steps(played, theirs.step(actions))
        same_infos(inner.reset_infos, dummies.reset_infos)
        # All orders start alike, so whether their infos are new is seen by identity alone.
        is_new = [one is not before for one, before in zip(inner.reset_infos, starts, strict=True)]
        assert is_new == played[2].tolist()
        endings.add(tuple(is_new))
        for info_of_one, done in zip(played[3], played[2], strict=True):
            assert ("terminal_observation" in info_of_one) == done
            assert ("episode" in info_of_one) == done
            assert info_of_one["TimeLimit.truncated"] is False
    assert len(endings) == 4  # none, one, the others, all


@pytest.mark.parametrize("action", ["grid", "lots"])
def test_training_episodes_equal_those_of_the_vector_environment(action: str) -> None:
    ours = OrderAllocationVecEnv(4, training_seed=6, action=action, **SHORT)
    native = OrderAllocationVectorEnv(4, action=action, autoreset_mode="SameStep", **SHORT)
    same(ours.reset(), native.reset(options={"training_seed": 6})[0])
    rng = np.random.default_rng(0)
    for _ in range(11):
        actions = random_actions(ours, rng)
        observations, rewards, dones, infos = ours.step(actions)
        theirs = native.step(actions)
        same(observations, theirs[0])
        same(rewards, theirs[1].astype(np.float32))
        same(dones, theirs[2])
        arrays = theirs[4]["final_info"] if dones.any() else theirs[4]
        for e, info in enumerate(infos):
            assert not info["TimeLimit.truncated"]
            for key in set(info) & set(arrays):
                same(info[key], arrays[key][e])
            if dones[e]:
                same(info["terminal_observation"], theirs[4]["final_obs"][e])


@pytest.mark.parametrize("action", ["grid", "lots"])
@wrappers
def test_observations_are_in_the_space(wrap: Any, action: str) -> None:
    venv = wrap(OrderAllocationVecEnv(3, action=action, monitor=False))
    observations, dones = venv.reset(), np.zeros(3, bool)
    while True:
        assert observations.shape == (3, *venv.observation_space.shape)
        if not isinstance(venv, VecNormalize):
            assert all(row in venv.observation_space for row in observations)
        if dones.any():
            break
        actions = [venv.action_space.sample() for _ in range(3)]  # a list will do
        observations, rewards, dones, infos = venv.step(actions)
        assert rewards.shape == dones.shape == (3,)
        assert observations.dtype == np.float32
        assert dones.dtype == np.bool_
        assert len(infos) == 3


def test_what_was_returned_stays_as_it_is() -> None:
    venv = OrderAllocationVecEnv(3, **SHORT)
    results: list[Any] = [venv.reset()] + [venv.step([3, 14, 25]) for _ in range(7)]
    snapshot = copy.deepcopy(results)
    venv.step([30, 30, 30])
    venv.reset()
    same(results[0], snapshot[0])
    for one, before in zip(results[1:], snapshot[1:], strict=True):
        same_steps(one, before)


@pytest.mark.parametrize("info", ["full", "none"])
def test_a_step_has_no_loop_over_environments(info: str) -> None:
    def instructions(n: int) -> list[int]:
        """Executed by Python in five steps, in the third of which all orders end."""
        venv = OrderAllocationVecEnv(n, info=info, **SHORT)
        venv.reset()
        counts = []

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            frame.f_trace_opcodes = True
            counts[-1] += 1
            return trace

        before = sys.gettrace()
        gc.collect()
        gc.disable()  # what it would finalise is Python, too
        try:
            for _ in range(5):
                actions = np.full(n, 20)
                counts.append(0)
                sys.settrace(trace)
                venv.step(actions)
                sys.settrace(before)
        finally:
            sys.settrace(before)
            gc.enable()
        return counts

    instructions(2)
    assert instructions(2) == instructions(50)


# Episode statistics.


@settings(max_examples=20)
@given(scenarios_drawn(max_buckets=6), st.integers(1, 5), st.integers(0, 2**31))
def test_episode_statistics_are_those_counted_by_hand(
    scenario: Scenario, n: int, seed: int
) -> None:
    venv = OrderAllocationVecEnv(n, scenario=scenario, training_seed=seed)
    rng = np.random.default_rng(seed)
    costs = ("posting_cost", "envelope_penalty", "residual_penalty")
    last_time = 0.0
    for steps in (3 * scenario.buckets, 1, scenario.buckets):  # a reset may come early
        venv.reset()
        objectives, lengths = [0.0] * n, [0] * n
        for _ in range(steps):
            _, rewards, dones, infos = venv.step(random_actions(venv, rng))
            for e, info in enumerate(infos):
                cost = sum(info[key] for key in costs)
                assert rewards[e] == np.float32(-cost)
                objectives[e] += cost
                lengths[e] += 1
                assert bool(dones[e]) == (lengths[e] == scenario.buckets)
                if dones[e]:
                    episode = info["episode"]
                    assert set(episode) == {"r", "l", "t"}
                    assert episode["r"] == pytest.approx(-objectives[e], abs=1e-6)
                    assert episode["l"] == scenario.buckets
                    assert last_time <= episode["t"] < 3600
                    last_time = episode["t"]
                    objectives[e], lengths[e] = 0.0, 0


def monitored_file(folder: Path) -> tuple[list[tuple[float, int]], Path]:
    """What ``VecMonitor`` writes to a file, and infos say, of seven steps of three orders."""
    venv = VecMonitor(
        OrderAllocationVecEnv(3, monitor=False, **SHORT),
        str(folder / "run"),
        info_keywords=("remaining_lots",),
    )
    venv.reset()
    episodes = []
    for _ in range(7):
        infos = venv.step([3, 14, 25])[3]
        episodes += [(i["episode"]["r"], i["episode"]["l"]) for i in infos if "episode" in i]
    venv.close()
    (file,) = get_monitor_files(str(folder))
    return episodes, Path(file)


def test_vec_monitor_writes_the_episodes_to_its_file(tmp_path: Path) -> None:
    episodes, file = monitored_file(tmp_path)
    header, *lines = file.read_text().splitlines()
    assert set(json.loads(header[1:])) == {"t_start", "env_id"}
    rows = list(csv.DictReader(lines))
    assert len(rows) == len(episodes) == 6
    assert [(np.float32(row["r"]), int(row["l"])) for row in rows] == episodes
    assert all(set(row) == {"r", "l", "t", "remaining_lots"} for row in rows)


def test_stable_baselines_loads_the_file_of_vec_monitor(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="load_results needs it")
    episodes, file = monitored_file(tmp_path)
    results = load_results(str(file.parent))
    assert sorted(results["l"]) == [length for _, length in episodes]
    assert sorted(results["r"].astype(np.float32)) == sorted(r for r, _ in episodes)


def test_vec_monitor_says_that_there_are_statistics_already() -> None:
    for venv in (OrderAllocationVecEnv(2), VecNormalize(OrderAllocationVecEnv(2))):
        with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
            VecMonitor(venv)


def test_without_a_monitor_there_are_no_statistics() -> None:
    venv = OrderAllocationVecEnv(2, monitor=False, **SHORT)
    venv.reset()
    infos = [info for _ in range(3) for info in venv.step([20, 20])[3]]
    assert not any("episode" in info for info in infos)
    assert "terminal_observation" in infos[-1]


# Days.


def rewards_of(venv: VecEnv, steps: int = 9) -> list[float]:
    """Of actions by which days can be told apart."""
    return [float(r) for _ in range(steps) for r in venv.step([18] * venv.num_envs)[1]]


def test_seeds_are_used_once() -> None:
    venv = OrderAllocationVecEnv(3, **SHORT)
    assert venv.seed(7) == [7, 8, 9]
    venv.reset()
    first = rewards_of(venv)
    venv.reset()
    assert rewards_of(venv) != first
    venv.seed(7)
    venv.reset()
    assert rewards_of(venv) == first  # the orders after the first, too


def test_seed_without_a_number_gives_every_environment_another_day() -> None:
    venv = OrderAllocationVecEnv(3, **SHORT)
    seeds = venv.seed()
    assert seeds == list(range(seeds[0], seeds[0] + 3))
    venv.reset()
    fill_rates = venv.envs._batch.days.fill_rate
    assert len({fill_rates[..., e].tobytes() for e in range(3)}) == 3


def test_options_are_used_once() -> None:
    venv = OrderAllocationVecEnv(3, **SHORT)

    def again(options: Any) -> list[float]:
        venv.set_options(options)
        venv.reset()
        return rewards_of(venv)

    first = again({"training_seed": 3})
    venv.reset()
    assert rewards_of(venv) != first
    assert again([{"training_seed": 3}] * 3) == first
    assert again({"training_seed": 4}) != first


def test_a_training_seed_fixes_the_whole_stream_of_training_days() -> None:
    venv = OrderAllocationVecEnv(3, training_seed=11, **SHORT)
    stream = DayStream(venv.envs.scenario, 11)
    venv.reset()
    for steps in (3, 3, 2, 0):  # orders that are played to their end, or not
        expected = stream.draw(3)
        np.testing.assert_array_equal(venv.envs._batch.days.fill_rate, expected.fill_rate)
        np.testing.assert_array_equal(venv.envs._batch.days.rounding, expected.rounding)
        for _ in range(steps):
            venv.step([18] * 3)
        if steps < 3:
            venv.reset()


def test_with_a_training_seed_only_seed_plays_numbered_days(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a numbered day")

    venv = OrderAllocationVecEnv(3, training_seed=0, **SHORT)
    with monkeypatch.context() as patch:
        patch.setattr("execution_env.allocation.vector_env.numbered_days", refuse)
        for _ in range(3):
            venv.reset()
            rewards_of(venv)
        venv.seed(7)
        with pytest.raises(AssertionError, match="a numbered day"):
            venv.reset()
    venv.reset()
    seeded = rewards_of(venv)
    plain = OrderAllocationVecEnv(3, **SHORT)
    plain.seed(7)
    plain.reset()
    assert seeded[:9] == rewards_of(plain, 3)


def test_after_seed_the_training_days_start_again_at_the_training_seed() -> None:
    venv, other = (OrderAllocationVecEnv(3, training_seed=5, **SHORT) for _ in range(2))
    venv.reset()
    trained = rewards_of(venv)
    other.seed(7)
    other.reset()
    seeded = rewards_of(other, 12)
    assert seeded[9:] == trained
    venv.seed(7)
    venv.reset()
    assert rewards_of(venv, 12) == seeded
