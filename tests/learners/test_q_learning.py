"""The update, exploration and hyperparameters; the same update solves Gymnasium's toy problems."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.q_learning.algorithm import (
    MOST_VISITS,
    Hyperparameters,
    Table,
    bootstrap,
    continuation,
    epsilon_greedy,
    greedy_action,
    learn,
    q_learning,
)

OPEN = np.float32(0)
BARRED = np.float32(-np.inf)


def table_of(*values: list[list[float]]) -> Table:
    """One or two tables with these values (S, A)."""
    array = np.array(values, np.float32)
    return Table(array, np.zeros(array.shape, np.int32))


# The functions.


def test_the_greedy_action_is_the_first_of_equals_and_never_a_barred_one() -> None:
    values = table_of([[1, 3, 3, 9]]).values
    assert greedy_action(values, 0, np.array([OPEN, OPEN, OPEN, BARRED])) == 1
    assert greedy_action(values, 0, np.array([OPEN, BARRED, OPEN, BARRED])) == 2
    assert greedy_action(values, 0, np.array([OPEN, BARRED, BARRED, BARRED])) == 0


def test_with_two_tables_the_sum_is_greedy() -> None:
    values = table_of([[5, 0, 3]], [[-5, 1, 2]]).values
    assert greedy_action(values, 0, np.zeros(3, np.float32)) == 2
    assert greedy_action(values, 0, np.array([OPEN, OPEN, BARRED])) == 1


def test_the_bootstrap_is_the_maximum_or_the_other_tables_opinion_of_it() -> None:
    barred = np.array([OPEN, OPEN, BARRED])
    assert bootstrap(table_of([[1, 2, 7]]).values, 0, 0, barred) == 2
    both = table_of([[1, 2, 7]], [[30, 20, 10]]).values
    assert bootstrap(both, 0, 0, barred) == 20
    assert bootstrap(both, 1, 0, barred) == 1


@pytest.mark.parametrize(
    ("greedy", "trace", "expected"), [(False, 1, 7), (True, 0, 7), (True, 1, 3), (True, 0.25, 6)]
)
def test_what_follows_counts_as_far_as_it_was_greedy(
    greedy: bool, trace: float, expected: float
) -> None:
    values = table_of([[1, 2, 7]]).values
    assert continuation(values, 0, 0, np.full(3, OPEN), greedy, trace, 3.0) == expected


def test_of_two_tables_the_one_counts_that_has_learned() -> None:
    table = table_of([[-0.8, 0.0]], [[-0.8, -0.9]])
    table.visits[:, 0] = [[1000, 0], [1000, 1]]
    assert table.greedy().tolist() == [0]
    assert table.mean()[0].tolist() == pytest.approx([-0.8, -0.9])


def test_a_cautious_policy_does_not_fall_for_lucky_actions() -> None:
    table = table_of([[-1.0, -0.9]])
    table.visits[0] = [[100, 1]]
    assert table.greedy().tolist() == [1]
    assert table.greedy(caution=0.1).tolist() == [1]  # -1.01 and -1.0
    assert table.greedy(caution=0.2).tolist() == [0]  # -1.02 and -1.1


@given(
    old=st.floats(-100, 100, width=32),
    target=st.floats(-100, 100),
    visits=st.integers(0, 5),
    omega=st.floats(0.5, 1),
)
def test_an_update_is_a_step_towards_the_target(
    old: float, target: float, visits: int, omega: float
) -> None:
    table = table_of([[0, 0], [0, old]])
    table.visits[0, 1, 1] = visits
    learn(*table, Hyperparameters(omega=omega).step_sizes(), 0, 1, 1, target)
    step = np.arange(1.0, MOST_VISITS + 1.0)[visits] ** -omega
    assert table.values[0, 1, 1] == np.float32(old + step * (target - old))
    assert table.visits[0, 1, 1] == visits + 1
    assert table.values.sum() == table.values[0, 1, 1]
    assert table.visits.sum() == visits + 1


def test_the_first_visit_forgets_the_start_and_later_ones_average() -> None:
    table = table_of([[-77.0]])
    targets = [1.0, 2.0, 4.0, 5.0]
    for target in targets:
        learn(*table, Hyperparameters(omega=1).step_sizes(), 0, 0, 0, target)
    assert table.values[0, 0, 0] == pytest.approx(np.mean(targets))


@pytest.mark.parametrize("constant", [False, True])
def test_the_last_step_size_stays(constant: bool) -> None:
    hyperparameters = Hyperparameters(step_size=0.25 if constant else None)
    table = table_of([[0.0]])
    table.visits[:] = MOST_VISITS + 10
    learn(*table, hyperparameters.step_sizes(), 0, 0, 0, 1.0)
    assert table.values[0, 0, 0] == np.float32(0.25 if constant else 1 / MOST_VISITS)


@given(
    mask=st.lists(st.booleans(), min_size=1, max_size=9).filter(any),
    epsilon=st.floats(0.01, 1),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_epsilon_greedy(mask: list[bool], epsilon: float, uniform: float) -> None:
    allowed = np.flatnonzero(mask).astype(np.int32)
    barred = np.where(mask, OPEN, BARRED)
    values = table_of([list(range(len(mask)))]).values
    action = epsilon_greedy(values, 0, barred, allowed, allowed.size, epsilon, uniform)
    assert mask[action]
    if uniform >= epsilon:
        assert action == allowed[-1]
    else:
        place = list(allowed).index(action)
        assert place / allowed.size <= uniform / epsilon * (1 + 1e-12)
        assert uniform / epsilon <= (place + 1) / allowed.size * (1 + 1e-12)


def test_random_actions_are_uniform_over_the_allowed_ones() -> None:
    allowed = np.array([1, 3, 4, 0, 0], np.int32)
    barred = np.array([BARRED, OPEN, BARRED, OPEN, OPEN])
    values = table_of([[0, 0, 0, 0, 1]]).values
    uniforms = (np.arange(6000) + 0.5) / 6000
    actions = [epsilon_greedy(values, 0, barred, allowed, 3, 0.5, u) for u in uniforms.tolist()]
    assert np.bincount(actions, minlength=5).tolist() == [0, 1000, 0, 1000, 4000]


def test_greedy_actions_are_those_tried() -> None:
    table = table_of([[9, 1, 2], [0, 0, 0], [9, 9, -5]])
    table.visits[0] = [[0, 3, 1], [0, 0, 0], [0, 0, 8]]
    assert table.greedy().tolist() == [2, -1, 2]
    both = table_of([[1, 0]], [[0, 3]])
    both.visits[0, 0], both.visits[1, 0] = [1, 0], [0, 1]
    assert both.greedy().tolist() == [1]


# Hyperparameters.


def test_epsilon_falls_linearly() -> None:
    h = Hyperparameters(epsilon=0.8, final_epsilon=0.2, epsilon_share=0.5)
    assert [h.epsilon_at(p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([0.8, 0.5, 0.2, 0.2])


def test_epsilon_falls_exponentially() -> None:
    h = Hyperparameters(
        epsilon=0.8, final_epsilon=0.2, epsilon_share=0.5, epsilon_schedule="exponential"
    )
    assert [h.epsilon_at(p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([0.8, 0.4, 0.2, 0.2])


@pytest.mark.parametrize("schedule", ["linear", "exponential"])
@given(
    ends=st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1)),
    share=st.floats(0, 1),
    progress=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
)
def test_epsilon_never_rises_and_stays_between_its_ends(
    schedule: Any, ends: tuple[float, float], share: float, progress: list[float]
) -> None:
    low, high = sorted(ends)
    h = Hyperparameters(
        epsilon=high, final_epsilon=low, epsilon_share=share, epsilon_schedule=schedule
    )
    earlier, later = (h.epsilon_at(part) for part in progress)
    assert high + 1e-15 >= earlier >= later - 1e-15 >= low - 2e-15
    assert h.epsilon_at(1.0) == pytest.approx(low, abs=1e-15)
    assert share == 0 or h.epsilon_at(0.0) == high


def test_no_share_means_the_last_epsilon_from_the_start() -> None:
    assert Hyperparameters(epsilon_share=0, final_epsilon=0.25).epsilon_at(0.0) == 0.25
    assert Hyperparameters(epsilon=0, final_epsilon=0).epsilon_at(0.5) == 0


def test_step_sizes() -> None:
    steps = Hyperparameters(omega=0.7).step_sizes()
    assert steps.size == MOST_VISITS
    assert steps[:3] == pytest.approx([1, 2**-0.7, 3**-0.7])
    assert (np.diff(steps) < 0).all()
    assert Hyperparameters(step_size=0.1).step_sizes().tolist() == [0.1]


@pytest.mark.parametrize("double", [False, True])
def test_tables(double: bool) -> None:
    tables = Hyperparameters(double=double).tables
    assert tables == 1 + double
    start = Table.start(tables, 4, 3, -2.5)
    assert start.values.shape == start.visits.shape == (tables, 4, 3)
    assert (start.values == -2.5).all()
    assert not start.visits.any()
    assert (start.values.dtype, start.visits.dtype) == (np.float32, np.int32)
    assert (start.greedy() == -1).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, values in {
            "omega": [0, -1, 1.01, math.nan, math.inf, "1", None],
            "step_size": [0, -0.1, 1.5, math.nan, "0.5"],
            "epsilon": [-0.1, 1.1, math.nan, "all", None],
            "final_epsilon": [-0.1, 1.1, math.nan, "none", None],
            "epsilon_share": [-0.1, 1.1, math.nan, None],
            "discount": [-0.1, 1.1, math.nan, "1", None],
            "trace": [-0.1, 1.1, math.nan, "1", None],
            "caution": [-0.1, math.inf, math.nan, "1", None],
            "epsilon_schedule": ["cubic", "", None, 1],
            "double": ["no", 1, None],
        }.items()
        for value in values
    ],
)
def test_bad_values_are_errors_that_name_them(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'{name} = {value}')}: must be .+\\.$"):
        Hyperparameters(**{name: value})


def test_epsilon_may_not_rise() -> None:
    with pytest.raises(ValueError, match=r"final_epsilon = 0.3: .* from 0 to epsilon = 0.2"):
        Hyperparameters(epsilon=0.2, final_epsilon=0.3)
    with pytest.raises(ValueError, match=r"final_epsilon = 0.0: must be a number from 1e-12"):
        Hyperparameters(final_epsilon=0.0, epsilon_schedule="exponential")


def test_hyperparameters_are_read_from_what_has_more() -> None:
    class Command:
        pass

    given_ = Hyperparameters(omega=0.6, double=True, step_size=0.5)
    command = Command()
    for name, value in vars(given_).items():
        setattr(command, name, value)
    command.other = 1  # type: ignore[attr-defined]
    assert Hyperparameters.of(command) == given_


# Environments step by step.


class Bandit(gym.Env[int, int]):
    """One step; action a costs a + 1, and the mask lets some be taken."""

    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(5)

    def __init__(self, mask: list[int]) -> None:
        self.mask = np.array(mask, np.int8)
        self.taken: list[int] = []

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        return 0, {"action_mask": self.mask}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.taken.append(int(action))
        return 0, -1.0 - action, True, False, {"action_mask": self.mask}


GREEDY = Hyperparameters(epsilon=0, final_epsilon=0, trace=0)


def test_an_optimistic_start_tries_everything() -> None:
    env = Bandit([1, 1, 1, 1, 1])
    table = q_learning(env, 9, GREEDY, initial_value=0)
    assert env.taken == [0, 1, 2, 3, 4, 0, 0, 0, 0]
    assert table.visits[0, 0].tolist() == [5, 1, 1, 1, 1]


def test_a_pessimistic_start_stays_with_what_it_knows() -> None:
    env = Bandit([1, 1, 1, 1, 1])
    q_learning(env, 9, GREEDY, initial_value=-10)
    assert env.taken == [0] * 9


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_masked_actions_are_never_taken(epsilon: float, double: bool) -> None:
    env = Bandit([0, 1, 0, 1, 0])
    h = Hyperparameters(epsilon=epsilon, final_epsilon=epsilon, double=double, trace=0)
    table = q_learning(env, 200, h)
    assert set(env.taken) == {1, 3}
    assert (table.visits.sum(axis=0) > 0).tolist() == [[False, True, False, True, False]]
    assert table.greedy().tolist() == [1]


def test_the_same_seed_learns_the_same() -> None:
    h = Hyperparameters(double=True, trace=0)
    first, second, other = (
        q_learning(gym.make("FrozenLake-v1"), 50, h, seed=seed) for seed in (3, 3, 4)
    )
    assert np.array_equal(first.values, second.values)
    assert np.array_equal(first.visits, second.visits)
    assert not np.array_equal(first.visits, other.visits)


@pytest.mark.parametrize("name", ["CartPole-v1", "Blackjack-v1", "Pendulum-v1"])
def test_only_discrete_environments(name: str) -> None:
    with pytest.raises(TypeError, match=r"_space = .*: must be Discrete\."):
        q_learning(gym.make(name), 1, Hyperparameters(trace=0))


def test_learning_step_by_step_has_no_trace() -> None:
    with pytest.raises(ValueError, match=r"trace = 0\.5: must be 0"):
        q_learning(gym.make("FrozenLake-v1"), 1, Hyperparameters(trace=0.5))


class Corridor(gym.Env[int, int]):
    """Every step costs 1; ``ends`` says how the third one does."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(1)

    def __init__(self, ends: str) -> None:
        self.ends = ends

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        self.steps = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        over = self.steps == 3
        return 1, -1.0, over and self.ends == "terminated", over and self.ends == "truncated", {}


def test_a_truncated_episode_would_have_gone_on() -> None:
    h = Hyperparameters(step_size=1.0, discount=0.5, trace=0)
    values = {
        ends: q_learning(Corridor(ends), 200, h).values[0, :, 0].tolist()
        for ends in ("terminated", "truncated")
    }
    assert values["truncated"] == pytest.approx([-2, -2])  # -1 / (1 - discount)
    assert values["terminated"] == pytest.approx([-1.5, -1])


class Shifted(gym.Wrapper[int, int, int, int]):
    """The same environment, with states and actions that start at other numbers."""

    def __init__(self, env: gym.Env[int, int], state: int, action: int, wrong: int = 0) -> None:
        super().__init__(env)
        self.shifts, self.wrong = (state, action), wrong
        spaces = (env.observation_space, env.action_space)
        self.observation_space, self.action_space = (
            gym.spaces.Discrete(space.n, start=shift)  # type: ignore[attr-defined]
            for space, shift in zip(spaces, self.shifts, strict=True)
        )

    def reset(self, **options: Any) -> tuple[int, dict[str, Any]]:
        state, info = self.env.reset(**options)
        return state + self.shifts[0] + self.wrong, info

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        state, reward, *over, info = self.env.step(action - self.shifts[1])
        return state + self.shifts[0] + self.wrong, float(reward), *over, info


def test_states_and_actions_may_start_at_any_number() -> None:
    h = Hyperparameters(trace=0)
    plain = q_learning(gym.make("FrozenLake-v1"), 50, h)
    for shifts in ((1, 1), (-7, 1000)):
        shifted = q_learning(Shifted(gym.make("FrozenLake-v1"), *shifts), 50, h)
        np.testing.assert_array_equal(shifted.visits, plain.visits)
        np.testing.assert_array_equal(shifted.values, plain.values)


@pytest.mark.parametrize("wrong", [-1, 2, 1000])
def test_a_state_outside_its_space_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"observation = {wrong}"):
        q_learning(Shifted(Corridor("terminated"), 0, 0, wrong), 1, Hyperparameters(trace=0))


@pytest.mark.parametrize("mask", [[], [1, 1], [0]])
def test_a_mask_that_does_not_fit_is_refused(mask: list[int]) -> None:
    class Masked(Corridor):
        def reset(self, **_: Any) -> tuple[int, dict[str, Any]]:
            return super().reset()[0], {"action_mask": np.array(mask)}

    with pytest.raises(ValueError, match="must allow at least one of 1 actions"):
        q_learning(Masked("terminated"), 1, Hyperparameters(trace=0))


# Gymnasium's toy problems.

TAXI = max(name for name in gym.registry if name.startswith("Taxi-v"))
EXPLORING: dict[str, Any] = {"step_size": 1.0, "epsilon": 1.0, "final_epsilon": 0.3}
GREEDY_AT_ONCE: dict[str, Any] = {"step_size": 1.0, "epsilon": 0.0, "final_epsilon": 0.0}
NOISY: dict[str, Any] = {"omega": 0.6, "epsilon": 1.0, "final_epsilon": 0.2}


class Problem(NamedTuple):
    """A toy problem: how to make it, how to learn it, its optimal return, and how near is enough."""

    name: str
    arguments: dict[str, Any]
    episodes: int
    settings: dict[str, Any]
    start: float
    optimum: float
    tolerance: float = 1e-9


DRY = {"is_slippery": False}
PROBLEMS = {
    "cliff": Problem("CliffWalking-v1", {}, 150, GREEDY_AT_ONCE, 0, -13),
    "cliff, double": Problem(
        "CliffWalking-v1", {"max_episode_steps": 400}, 120, EXPLORING, -100, -13
    ),
    "taxi": Problem(TAXI, {}, 2000, EXPLORING, -50, 7.93),
    "taxi, double": Problem(TAXI, {}, 2000, EXPLORING, -50, 7.93, 0.1),
    "ice that does not slip": Problem(
        "FrozenLake-v1", DRY | {"map_name": "8x8"}, 100, GREEDY_AT_ONCE | {"discount": 0.9}, 1, 1
    ),
    "ice that does not slip, double": Problem(
        "FrozenLake-v1", DRY, 1000, EXPLORING | {"discount": 0.9}, 0, 1
    ),
    "ice": Problem("FrozenLake-v1", {}, 4000, NOISY, 0, 0.744, 0.02),
    "ice, double": Problem("FrozenLake-v1", {}, 4000, NOISY, 0, 0.744, 0.02),
}
"""Double Q-learning underestimates until every pair has been seen, so it explores more. The optimum
of the ice that slips is 14 / 17 without, and .744 with its limit of 100 steps.
"""


def value(env: Any, horizon: int, policy: Any = None) -> np.ndarray:
    """(S,) expected return of ``policy`` (S,), or of the best one, in so many steps; from ``P``."""
    states, actions = int(env.observation_space.n), int(env.action_space.n)
    worth = np.zeros(states)
    for _ in range(horizon):
        before = worth.copy()
        for s in range(states):
            of_actions = [
                sum(p * (r + (0 if over else before[t])) for p, t, r, over in env.unwrapped.P[s][a])
                for a in (range(actions) if policy is None else [policy[s]])
            ]
            worth[s] = max(of_actions)
    return worth


@pytest.mark.parametrize(
    "title",
    [
        pytest.param(
            t, marks=[pytest.mark.slow] if t.startswith("taxi") or t == "ice, double" else []
        )
        for t in PROBLEMS
    ],
)
def test_toy_problems_are_solved(title: str) -> None:
    problem = PROBLEMS[title]
    # Without the checker, which would take half of the time.
    env = gym.make(problem.name, disable_env_checker=True, **problem.arguments)
    h = Hyperparameters(**problem.settings, double="double" in title, trace=0)
    table = q_learning(env, problem.episodes, h, problem.start)
    actions = np.maximum(table.greedy(), 0)
    best, ours = value(env, 100), value(env, 100, actions)
    chances = getattr(env.unwrapped, "initial_state_distrib", np.eye(env.observation_space.n)[-12])  # type: ignore[attr-defined]
    assert chances @ best == pytest.approx(problem.optimum, abs=1e-3)
    assert chances @ ours == pytest.approx(chances @ best, abs=problem.tolerance)
    if problem.tolerance < 1e-3:  # from every start
        assert ours[chances > 0] == pytest.approx(best[chances > 0])
