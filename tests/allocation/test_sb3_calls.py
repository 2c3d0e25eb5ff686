"""What the Stable-Baselines3 adapter answers, copies of it, and calls that are wrong."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import InvalidAction, NoAsyncCallError, ResetNeeded

from tests.allocation.playing_sb3 import (  # first: it skips where Stable-Baselines3 is missing
    SHORT,
    Monitor,
    OrderAllocationVecEnv,
    VecFrameStack,
    dummy,
    random_actions,
    same_steps,
    wrappers,
)

# isort: split
from execution_env.sb3 import ATTRIBUTES
from tests.allocation.in_toml import in_toml
from tests.allocation.playing import same

# Questions.


@wrappers
def test_attributes_are_those_of_dummy_vec_env(wrap: Any) -> None:
    ours = wrap(OrderAllocationVecEnv(3, monitor=False, scenario="textbook"))
    theirs = wrap(dummy(3, monitor=False, scenario="textbook"))
    for name in ATTRIBUTES:
        for indices in (None, 1, -1, [0, 2], (2,), range(2)):
            np.testing.assert_equal(
                ours.get_attr(name, indices), theirs.get_attr(name, indices), err_msg=name
            )
        assert ours.has_attr(name)
    assert ours.has_attr("action_masks")
    assert not ours.has_attr("action_mask")
    assert ours.unwrapped.metadata == theirs.unwrapped.metadata
    assert ours.num_envs == theirs.num_envs
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.render_mode == theirs.render_mode


@wrappers
def test_attributes_can_be_set(wrap: Any) -> None:
    venv = wrap(OrderAllocationVecEnv(3, monitor=False))
    for e in range(3):
        assert venv.set_attr("desk", e, indices=e) is None
    assert venv.get_attr("desk") == [0, 1, 2]
    venv.set_attr("desk", 42)
    assert venv.get_attr("desk") == [42, 42, 42]
    venv.set_attr("desk", 7, indices=[0, -1])
    assert venv.get_attr("desk") == [7, 42, 7]
    assert venv.get_attr("desk", [-1, 1]) == [7, 42]
    venv.set_attr("trader", "me", indices=[0, 1])
    assert venv.get_attr("trader", [1, 0]) == ["me", "me"]
    assert not venv.has_attr("trader")  # not in all of them


@wrappers
def test_methods_are_called_in_the_environments_asked_for(wrap: Any) -> None:
    venv = wrap(OrderAllocationVecEnv(3, monitor=False, render_mode="ansi"))
    theirs = dummy(3, render_mode="ansi")
    for one in (venv, theirs):
        one.seed(1)
        one.reset()
        for _ in range(6):
            one.step([0, 18, 34])
    for method in ("action_masks", "render"):
        for indices in (None, 1, -1, [0, 2], (2,), range(2)):
            results = venv.env_method(method, indices=indices)
            expected = theirs.env_method(method, indices=indices)
            assert type(results) is list
            for one, other in zip(results, expected, strict=True):
                same(one, other)
    assert len({mask.tobytes() for mask in venv.env_method("action_masks")}) > 1
    same(venv.get_attr("action_masks")[2](), theirs.get_attr("action_masks")[2]())


def test_only_monitor_is_wrapped() -> None:
    for monitor in (True, False):
        ours, theirs = OrderAllocationVecEnv(3, monitor=monitor), dummy(3, monitor=monitor)
        for wrapper in (Monitor, gym.Wrapper, gym.wrappers.TimeLimit):
            for indices in (None, 1, -1, [0, 2]):
                assert ours.env_is_wrapped(wrapper, indices) == theirs.env_is_wrapped(
                    wrapper, indices
                )
        assert VecFrameStack(ours, 2).env_is_wrapped(Monitor) == [monitor] * 3


def test_pictures_are_tiled() -> None:
    ours = VecFrameStack(OrderAllocationVecEnv(2, render_mode="rgb_array"), 2)
    theirs = dummy(2, render_mode="rgb_array")
    for venv in (ours, theirs):
        venv.seed(3)
        venv.reset()
        venv.step([3, 14])
    picture = ours.render()
    same(picture, theirs.render())
    same(picture, ours.render(mode="rgb_array"))
    with pytest.warns(UserWarning, match="render modes are determined"):
        assert ours.render(mode="ansi") is None


def test_other_render_modes_give_no_picture() -> None:
    venv = OrderAllocationVecEnv(2, render_mode="ansi")
    venv.reset()
    assert venv.render() is None  # as everywhere in Stable-Baselines3
    assert len(venv.env_method("render")) == 2
    with pytest.warns(UserWarning, match=r"'ansi'.*render_mode=\"rgb_array\""):
        assert venv.get_images() == [None, None]
    silent = OrderAllocationVecEnv(2)
    silent.reset()
    with pytest.warns(UserWarning, match="no `render_mode` was passed"):
        assert silent.render() is None
    with pytest.warns(UserWarning, match="without a render mode"):
        assert silent.env_method("render", indices=[1]) == [None]


# Objects.


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda venv: pickle.loads(pickle.dumps(venv))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("action", ["grid", "lots"])
def test_a_copy_goes_its_own_way(action: str, copied: Any) -> None:
    venv = OrderAllocationVecEnv(3, action=action, **SHORT)
    venv.set_attr("desk", 4, indices=1)
    venv.reset()
    rng = np.random.default_rng(0)
    venv.step(random_actions(venv, rng))
    twin = copied(venv)
    assert twin.get_attr("desk", 1) == [4]
    for _ in range(8):
        actions = random_actions(venv, rng)
        same_steps(venv.step(actions), twin.step(actions))
    before = copy.deepcopy(twin.step(actions))
    venv.reset()
    assert not np.array_equal(before[0], twin.reset())


def test_it_can_be_closed_twice() -> None:
    venv = OrderAllocationVecEnv(2)
    venv.reset()
    venv.close()
    venv.close()


# Wrong calls.


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("num_envs", 0, "whole number of environments from 1"),
        ("num_envs", 2.0, "without quotes or decimal point"),
        ("num_envs", True, "whole number of environments"),
        ("monitor", "yes", "true or false"),
        ("monitor", None, "true or false"),
        ("scenario", "basline", 'Did you mean "baseline"?'),
        ("action", "gird", 'Did you mean "grid"?'),
        ("info", "ful", 'Did you mean "full"?'),
        ("render_mode", "human", '"ansi" or "rgb_array"'),
    ],
)
def test_a_wrong_argument(argument: str, value: object, remedy: str) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)) as caught:
        OrderAllocationVecEnv(**{argument: value})
    assert str(caught.value).startswith(f"{argument} = {in_toml(value)}: ")


@pytest.mark.parametrize("seed", [-1, 1.5, "3", True, [3]], ids=repr)
def test_a_wrong_training_seed(seed: Any) -> None:
    with pytest.raises(ValueError, match="non-negative integer") as caught:
        OrderAllocationVecEnv(2, training_seed=seed)
    assert str(caught.value).startswith(f"training_seed = {seed!r}: ")


@pytest.mark.parametrize("argument", ["scenaro", "n_envs", "autoreset_mode", "seed"])
def test_an_argument_that_there_is_not(argument: str) -> None:
    with pytest.raises(TypeError, match=rf"unexpected keyword argument '{argument}'"):
        OrderAllocationVecEnv(2, **{argument: "SameStep"})


@pytest.mark.parametrize(
    ("mode", "actions", "words"),
    [
        ("grid", [0, 35], "actions[1] = 35: must be a whole number from 0 to 34"),
        ("grid", [-1, 0], "actions[0] = -1: must be a whole number from 0 to 34"),
        ("grid", [0.0, 1.0], "dtype float64: they must be whole numbers of shape (2,)"),
        ("grid", [True, False], "dtype bool: they must be whole numbers of shape (2,)"),
        ("grid", [0], "shape (1,) and dtype int64: they must be whole numbers of shape (2,)"),
        ("grid", [[0], [0]], "shape (2, 1)"),
        ("grid", [[0], [0, 1]], "whole numbers of shape (2,)"),
        ("grid", 0, "shape ()"),
        ("lots", [[0, 0, 0], [0, 0, 101]], "3 whole numbers of lots, each from 0 to 100"),
        ("lots", [0, 0], "whole numbers of shape (2, 3)"),
    ],
    ids=str,
)
def test_wrong_actions_play_nothing(mode: str, actions: Any, words: str) -> None:
    venv, twin = (OrderAllocationVecEnv(2, training_seed=1, action=mode, **SHORT) for _ in range(2))
    for one in (venv, twin):
        one.reset()
    rng = np.random.default_rng(0)
    for _ in range(7):
        with pytest.raises((InvalidAction, ValueError), match=re.escape(words)):
            venv.step(actions)
        right = random_actions(venv, rng)
        same_steps(venv.step(right), twin.step(right))


def test_steps_before_the_first_reset() -> None:
    venv = OrderAllocationVecEnv(2, render_mode="ansi")
    with pytest.raises(ResetNeeded, match=r"step\(\) before reset\(\): call reset\(\)"):
        venv.step([0, 0])
    for method in ("action_masks", "render"):
        with pytest.raises(ResetNeeded, match=rf"{method}\(\) before reset\(\): call reset"):
            venv.env_method(method)


def test_step_wait_without_actions() -> None:
    venv = OrderAllocationVecEnv(2)
    venv.reset()
    with pytest.raises(NoAsyncCallError, match=r"call step_async\(actions\) before"):
        venv.step_wait()
    venv.step_async([0, 0])
    venv.step_wait()
    with pytest.raises(NoAsyncCallError):  # they are played once
        venv.step_wait()
    venv.step_async([0, 0])
    venv.reset()
    with pytest.raises(NoAsyncCallError):  # a reset cancels them
        venv.step_wait()


@pytest.mark.parametrize("name", [*ATTRIBUTES, "action_masks", "render"])
def test_what_all_environments_share_cannot_be_set(name: str) -> None:
    venv = OrderAllocationVecEnv(2)
    with pytest.raises(AttributeError, match=rf"set_attr\('{name}'\).*Make a new Order"):
        venv.set_attr(name, None, indices=0)


def test_an_attribute_that_there_is_not() -> None:
    venv = OrderAllocationVecEnv(3)
    venv.set_attr("desk", 1, indices=[0, 2])
    with pytest.raises(AttributeError, match=r"'scenaro'.*\[0, 1, 2\].*Did you mean .scenario"):
        venv.get_attr("scenaro")
    with pytest.raises(AttributeError, match=r"'desk'\): environments \[1\] have no"):
        venv.get_attr("desk")
    for name in ("step", "reset", "_batch"):  # of all environments together: of none alone
        assert not venv.has_attr(name)


@pytest.mark.parametrize("name", ["step", "reset", "close", "action_mask"])
def test_a_method_that_there_is_not(name: str) -> None:
    venv = OrderAllocationVecEnv(2)
    with pytest.raises(AttributeError, match=rf"'{name}'.*one of action_masks, render.*together"):
        venv.env_method(name)


@pytest.mark.parametrize("indices", [3, -4, [0, 3]], ids=str)
@pytest.mark.parametrize(
    "call",
    [
        lambda venv, indices: venv.get_attr("scenario", indices),
        lambda venv, indices: venv.set_attr("desk", 1, indices),
        lambda venv, indices: venv.env_method("action_masks", indices=indices),
        lambda venv, indices: venv.env_is_wrapped(Monitor, indices),
    ],
    ids=["get_attr", "set_attr", "env_method", "env_is_wrapped"],
)
def test_indices_of_no_environment(call: Callable[..., Any], indices: Any) -> None:
    venv = OrderAllocationVecEnv(3)
    venv.reset()
    with pytest.raises(IndexError, match=r"indices = .*from -3 to 2, there are 3 environments"):
        call(venv, indices)
    assert not venv.has_attr("desk")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ([{"training_seed": 1}, {"training_seed": 2}], ValueError, "one dictionary for all 2"),
        ([{"training_seed": 1}], ValueError, "one dictionary for all 2"),
        ([], ValueError, "one dictionary for all 2"),
        ([5, 5], TypeError, "options = 5: must be a dictionary"),
        ({"training_seed": -1}, ValueError, "training_seed = -1: must be a non-negative"),
        ({"training_seed": True}, ValueError, "training_seed = True: must be a non-negative"),
    ],
    ids=str,
)
def test_wrong_options_start_nothing(options: Any, error: type[Exception], words: str) -> None:
    venv, twin = (OrderAllocationVecEnv(2, training_seed=1, **SHORT) for _ in range(2))
    for one in (venv, twin):
        one.reset()
    venv.set_options(options)
    with pytest.raises(error, match=words):
        venv.reset()
    for _ in range(5):
        same_steps(venv.step([18, 20]), twin.step([18, 20]))


@pytest.mark.parametrize("option", ["reset_mask", "training_sed"])
def test_options_that_there_are_not_are_ignored_with_a_warning(option: str) -> None:
    venv, twin = (OrderAllocationVecEnv(2, training_seed=1, **SHORT) for _ in range(2))
    venv.set_options({option: np.array([True, False])})
    with pytest.warns(UserWarning, match=rf"'{option}' is unknown and ignored.*training_seed"):
        observations = venv.reset()
    same(observations, twin.reset())
    same_steps(venv.step([18, 20]), twin.step([18, 20]))


def test_a_wrong_seed() -> None:
    venv = OrderAllocationVecEnv(2)
    venv.seed(-1)
    with pytest.raises(ValueError, match=r"seed\[0\] = -1: must be a non-negative integer"):
        venv.reset()
    venv.seed(0)
    venv.reset()
