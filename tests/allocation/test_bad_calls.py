from __future__ import annotations

import re
from collections.abc import Callable
from math import inf, nan
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from execution_env import (
    OrderAllocationEnv,
    OrderAllocationVectorEnv,
    ScenarioError,
)
from tests.allocation.in_toml import in_toml

ENVIRONMENTS: list[Callable[..., Any]] = [OrderAllocationEnv, OrderAllocationVectorEnv]


@pytest.mark.parametrize("make", ENVIRONMENTS)
@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("action", "gird", '"grid" or "lots". Did you mean "grid"?'),
        ("action", 5, '"grid" or "lots"'),
        ("observation", "ful", 'Did you mean "full"?'),
        ("observation", None, '"minimal"'),
        ("info", "al", '"full" or "none"'),
        ("info", True, '"full" or "none"'),
        ("render_mode", "human", '"ansi" or "rgb_array"'),
        ("scenario", "basline", 'Did you mean "baseline"?'),
        ("overrides", {"order.bucket": 2}, 'Did you mean "buckets"?'),
    ],
)
def test_a_wrong_argument(
    make: Callable[..., Any], argument: str, value: object, remedy: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)) as caught:
        make(**{argument: value})
    if argument != "overrides":
        assert f"{argument} = {in_toml(value)}" in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("num_envs", 0, "whole number of environments from 1"),
        ("num_envs", -3, "whole number of environments from 1"),
        ("num_envs", 2.0, "without quotes or decimal point"),
        ("num_envs", "3", "without quotes or decimal point"),
        ("num_envs", True, "whole number of environments"),
        ("autoreset_mode", "same", '"NextStep" or "SameStep" or "Disabled"'),
        ("autoreset_mode", "same_step", 'Did you mean "SameStep"?'),
        ("autoreset_mode", None, '"NextStep"'),
    ],
)
def test_a_wrong_argument_of_the_vector_env(argument: str, value: Any, remedy: str) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)) as caught:
        OrderAllocationVectorEnv(**{argument: value})
    assert str(caught.value).startswith(f"{argument} = {in_toml(value)}: ")


def test_a_wrong_argument_through_gym_make() -> None:
    with pytest.raises(ScenarioError, match=r'action = "gird".*Did you mean "grid"'):
        gym.make("execution_env/OrderAllocation-v0", action="gird")


GRID_REMEDY = "a whole number from 0 to 34, an index into the allocation grid"
LOTS_REMEDY = "3 whole numbers of lots, each from 0 to 100"
BAD_GRID = [-1, 35, 10**30, 2.0, 2.5, nan, inf, "2", None, [2], np.array([2]), np.float64(2)]
BAD_LOTS = [
    [-1, 0, 0],
    [0, 101, 0],
    [10**30, 0, 0],
    [1.0, 0.0, 0.0],
    [nan, 0, 0],
    [True, False, False],
    [1, 2],
    [1, 2, 3, 4],
    [[1, 2, 3]],
    [[1, 2], [3]],
    [],
    5,
    None,
    "1,2,3",
]


@pytest.mark.parametrize("action", BAD_GRID, ids=repr)
def test_a_grid_action_that_is_none(action: Any) -> None:
    env = OrderAllocationEnv()
    env.reset(seed=0)
    with pytest.raises(InvalidAction) as caught:
        env.step(action)
    assert str(caught.value).startswith("action = ")
    assert GRID_REMEDY in str(caught.value)


@pytest.mark.parametrize("action", BAD_LOTS, ids=repr)
def test_lots_that_are_none(action: Any) -> None:
    env = OrderAllocationEnv(action="lots")
    env.reset(seed=0)
    with pytest.raises(InvalidAction) as caught:
        env.step(action)
    assert str(caught.value).startswith("action = ")
    assert LOTS_REMEDY in str(caught.value)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ([0, 35], "actions[1] = 35: must be " + GRID_REMEDY),
        ([-1, 0], "actions[0] = -1: must be " + GRID_REMEDY),
        (np.array([0, 2**64 - 1], np.uint64), "actions[1]"),
        ([10**30, 0], "whole numbers of shape (2,)"),
        ([0.0, 1.0], "whole numbers of shape (2,)"),
        ([0, nan], "whole numbers of shape (2,)"),
        ([True, False], "whole numbers of shape (2,)"),
        ([0], "whole numbers of shape (2,)"),
        ([0, 0, 0], "whole numbers of shape (2,)"),
        ([[0], [0]], "whole numbers of shape (2,)"),
        ([[0], [0, 1]], "whole numbers of shape (2,)"),
        (0, "whole numbers of shape (2,)"),
        (None, "whole numbers of shape (2,)"),
    ],
    ids=str,
)
def test_grid_actions_of_the_vector_env_that_are_none(action: Any, words: str) -> None:
    envs = OrderAllocationVectorEnv(2)
    envs.reset(seed=0)
    with pytest.raises((InvalidAction, ValueError)) as caught:
        envs.step(action)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ([[0, 0, 0], [0, 0, 101]], LOTS_REMEDY),
        ([[0, -1, 0], [0, 0, 0]], LOTS_REMEDY),
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], "whole numbers of shape (2, 3)"),
        ([[0, 0, 0], [0, 0, nan]], "whole numbers of shape (2, 3)"),
        ([[0, 0, 0]], "whole numbers of shape (2, 3)"),
        ([0, 0, 0, 0, 0, 0], "whole numbers of shape (2, 3)"),
        ([0, 0], "whole numbers of shape (2, 3)"),
    ],
    ids=str,
)
def test_lots_of_the_vector_env_that_are_none(action: Any, words: str) -> None:
    envs = OrderAllocationVectorEnv(2, action="lots")
    envs.reset(seed=0)
    with pytest.raises((InvalidAction, ValueError)) as caught:
        envs.step(action)
    assert words in str(caught.value)


def played(env: Any, actions: list[Any]) -> tuple[list[NDArray[Any]], list[Any]]:
    """Observations and rewards of ``actions``."""
    steps = [env.step(action) for action in actions]
    return [step[0] for step in steps], [step[1] for step in steps]


@pytest.mark.parametrize("mode", ["grid", "lots"])
def test_a_rejected_action_plays_nothing(mode: str) -> None:
    good: list[Any] = [3, 7, 20] if mode == "grid" else [[5, 0, 9], [0, 1, 2], [30, 30, 30]]
    env, twin = OrderAllocationEnv(action=mode), OrderAllocationEnv(action=mode)
    env.reset(seed=4)
    twin.reset(seed=4)
    for action in good:
        for bad in BAD_GRID if mode == "grid" else BAD_LOTS:
            with pytest.raises((InvalidAction, ValueError)):
                env.step(bad)
        np.testing.assert_equal(env.step(action), twin.step(action))


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
@pytest.mark.parametrize("mode", ["grid", "lots"])
def test_a_rejected_action_plays_nothing_in_any_order(mode: str, autoreset: AutoresetMode) -> None:
    # More orders than are played at a time, with the bad action in the last.
    count, options = 600, {"action": mode, "autoreset_mode": autoreset}
    envs = OrderAllocationVectorEnv(count, **options)
    twins = OrderAllocationVectorEnv(count, **options)
    envs.reset(seed=4)
    twins.reset(seed=4)
    good = np.full(envs.action_space.shape, 3)
    bad = good.copy()
    bad[-1] = -1
    for _ in range(3):
        with pytest.raises(InvalidAction):
            envs.step(bad)
        np.testing.assert_equal(envs.step(good), twins.step(good))


@pytest.mark.parametrize("autoreset", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_rejected_action_draws_no_training_day(autoreset: AutoresetMode) -> None:
    # Bucket for bucket the second order runs one behind the first, so that one is over, or ends,
    # while the other plays.
    options = {"overrides": {"order.buckets": 3}, "autoreset_mode": autoreset}
    envs, twins = (OrderAllocationVectorEnv(2, **options) for _ in range(2))
    for env in (envs, twins):
        env.reset(options={"training_seed": 5})
        env.step([20, 20])
        env.reset(options={"reset_mask": np.array([False, True])})
    for _ in range(12):
        with pytest.raises(InvalidAction):
            envs.step([99, 99])
        np.testing.assert_equal(envs.step([20, 20]), twins.step([20, 20]))


def test_step_before_reset() -> None:
    with pytest.raises(ResetNeeded, match=r"step\(\) before reset\(\): call reset\(\)"):
        OrderAllocationEnv().step(0)


@pytest.mark.parametrize("method", ["render", "action_masks"])
@pytest.mark.parametrize("make", ENVIRONMENTS)
def test_other_methods_before_reset(make: Callable[..., Any], method: str) -> None:
    env = make(render_mode="ansi")
    with pytest.raises(ResetNeeded, match=rf"{method}\(\) before reset\(\): call reset\(\)"):
        getattr(env, method)()


def test_step_after_the_end() -> None:
    env = OrderAllocationEnv(overrides={"order.buckets": 2})
    env.reset(seed=0)
    env.step(0)
    assert env.step(0)[2] is True
    for _ in range(2):
        with pytest.raises(ResetNeeded, match=r"after the order's last bucket \(2\): call reset"):
            env.step(0)
    env.reset()
    env.step(0)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_step_of_the_vector_env_before_reset(mode: AutoresetMode) -> None:
    envs = OrderAllocationVectorEnv(2, autoreset_mode=mode)
    with pytest.raises(ResetNeeded, match=r"step\(\) before reset\(\): call reset\(\)"):
        envs.step([0, 0])


def test_step_of_the_vector_env_before_all_are_reset() -> None:
    envs = OrderAllocationVectorEnv(2)
    envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ResetNeeded, match=r"before reset"):
        envs.step([0, 0])
    envs.reset(options={"reset_mask": np.array([False, True])})
    envs.step([0, 0])


def test_step_with_autoreset_disabled_names_the_orders_that_are_over() -> None:
    envs = OrderAllocationVectorEnv(
        4, overrides={"order.buckets": 2}, autoreset_mode=AutoresetMode.DISABLED
    )
    envs.reset(seed=0)
    envs.step([0] * 4)
    envs.reset(options={"reset_mask": np.array([True, False, True, False])})
    envs.step([0] * 4)
    with pytest.raises(ResetNeeded, match=r"\[1, 3\] are over.*reset_mask"):
        envs.step([0] * 4)
    envs.reset(options={"reset_mask": np.array([False, True, False, True])})
    assert envs.step([0] * 4)[2].tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    "seed", [-1, 1.5, nan, "3", True, [3], np.float64(3), np.int64(-3)], ids=repr
)
def test_a_wrong_seed(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed = .*non-negative integer"):
        OrderAllocationEnv().reset(seed=seed)


@pytest.mark.parametrize(
    "seed", [-1, 1.5, nan, "3", True, np.float64(3), np.int64(-3), np.array(3.0)], ids=repr
)
def test_a_wrong_seed_of_the_vector_env(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed = .*non-negative integer"):
        OrderAllocationVectorEnv(2).reset(seed=seed)


@pytest.mark.parametrize("seed", [-1, 1.5, nan, "3", True, [3]], ids=repr)
@pytest.mark.parametrize("position", [0, 1])
def test_a_wrong_seed_in_a_list(seed: Any, position: int) -> None:
    seeds: list[Any] = [7, 7]
    seeds[position] = seed
    with pytest.raises(ValueError, match=rf"seed\[{position}\] = .*non-negative integer"):
        OrderAllocationVectorEnv(2).reset(seed=seeds)


@pytest.mark.parametrize("make", ENVIRONMENTS)
def test_a_numpy_integer_is_a_seed(make: Callable[..., Any]) -> None:
    env, twin = make(), make()
    env.reset(seed=np.int64(3))
    twin.reset(seed=3)
    action = np.full(env.action_space.shape, 20)
    np.testing.assert_equal(env.step(action), twin.step(action))


def test_an_array_of_wrong_seeds() -> None:
    with pytest.raises(ValueError, match=r"seed\[0\] = .*non-negative integer"):
        OrderAllocationVectorEnv(2).reset(seed=np.array([1.0, 2.0]))  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [[], [1], [1, 2, 3]])
def test_seeds_of_the_wrong_number(seeds: list[int | None]) -> None:
    with pytest.raises(ValueError, match=rf"seed has {len(seeds)} .*2 environments.*for each"):
        OrderAllocationVectorEnv(2).reset(seed=seeds)


@pytest.mark.parametrize("make", ENVIRONMENTS)
@pytest.mark.parametrize("seed", [-1, 1.5, nan, "3", True, [3]], ids=repr)
def test_a_wrong_training_seed(make: Callable[..., Any], seed: object) -> None:
    with pytest.raises(ValueError, match=r"training_seed = .*non-negative integer"):
        make().reset(options={"training_seed": seed})


@pytest.mark.parametrize(
    "options",
    [{"seed": [7, -1]}, {"seed": [-1, 7]}, {"seed": [7]}, {"options": {"training_seed": -1}}],
    ids=str,
)
def test_a_rejected_reset_leaves_the_orders_and_the_training_stream_alone(
    options: dict[str, Any],
) -> None:
    envs, twins = (OrderAllocationVectorEnv(2, overrides={"order.buckets": 2}) for _ in range(2))
    for env in (envs, twins):
        env.reset(options={"training_seed": 5})
    with pytest.raises(ValueError, match=r"seed"):
        envs.reset(**options)
    for _ in range(6):
        np.testing.assert_equal(envs.step([20, 20]), twins.step([20, 20]))


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        ([True, False], TypeError, r"reset_mask.*NumPy array.*bool"),
        (True, TypeError, r"reset_mask.*NumPy array.*bool"),
        (np.array([1, 0]), TypeError, r"reset_mask.*bool"),
        (np.array([1.0, nan]), TypeError, r"reset_mask.*bool"),
        (np.array([True]), ValueError, r"reset_mask has shape \(1,\).*\(2,\)"),
        (np.array(True), ValueError, r"reset_mask has shape \(\).*\(2,\)"),
        (np.array([[True, False]]), ValueError, r"reset_mask has shape \(1, 2\).*\(2,\)"),
        (np.array([False, False]), ValueError, r"reset_mask selects no .*at least one"),
    ],
    ids=repr,
)
def test_a_wrong_reset_mask(mask: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        OrderAllocationVectorEnv(2).reset(options={"reset_mask": mask})


# The compiled loop under both environments, called by itself.


@pytest.mark.parametrize("action", ["grid", "lots"])
def test_a_batch_refuses_orders_that_are_over(action: str) -> None:
    batch = OrderAllocationVectorEnv(3, action=action).batch
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    for _ in range(batch.scenario.buckets):
        batch.advance(batch.no_actions, batch.nobody, batch.everyone)
    before = batch.orders.remaining.copy()
    for playing in (batch.everyone, np.array([False, True, False])):
        first = int(np.flatnonzero(playing)[0])
        with pytest.raises(ResetNeeded, match=rf"playing\[{first}\]: the order is over; start it"):
            batch.advance(batch.no_actions, batch.nobody, playing)
    np.testing.assert_array_equal(batch.orders.remaining, before)
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    batch.advance(batch.no_actions, batch.nobody, batch.everyone)


@pytest.mark.parametrize("bucket", [-1, 2**30, -(2**31)])
def test_a_batch_refuses_buckets_that_are_none(bucket: int) -> None:
    batch = OrderAllocationVectorEnv(3).batch
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    batch.orders.bucket[2] = bucket
    with pytest.raises(ResetNeeded, match=r"playing\[2\]"):
        batch.advance(batch.no_actions, batch.nobody, batch.everyone)


def test_a_batch_refuses_arrays_of_another_shape() -> None:
    batch = OrderAllocationVectorEnv(3).batch
    actions, everyone, nobody = batch.no_actions, batch.everyone, batch.nobody
    for wrong in (
        (actions[:2], everyone, nobody),
        (np.zeros((3, 2), np.int64), everyone, nobody),
        (actions, np.ones(300, np.bool_), nobody),
        (actions, everyone, np.zeros(0, np.bool_)),
    ):
        with pytest.raises(ValueError, match=r"must be \(3, 1\), \(3,\) and \(3,\)"):
            batch.advance(*wrong)
