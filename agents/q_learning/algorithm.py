"""Tabular Q-learning with an epsilon-greedy policy.

After taking action a in state s, seeing reward r and state s',

    Q(s, a) <- Q(s, a) + alpha [G - Q(s, a)],        G = r + gamma max_a' Q(s', a')

(Watkins & Dayan 1992; Sutton & Barto 2018, Reinforcement Learning, equation 6.8). The maximum is
over the actions that are allowed in s', and 0 after the last step. alpha is constant, or n^-omega
at the n-th visit of the pair (s, a). The latter converges for omega in (1/2, 1] (Even-Dar & Mansour
2003, Learning rates for Q-learning, JMLR 5).

With ``double`` there are two tables. At each update one of them, chosen at random, learns. It
proposes its best action in s', and the other table gives that action's value. This removes the
upward bias of the maximum (van Hasselt 2010, Double Q-learning).

Complete episodes are learned from backwards, so that a cost at the end reaches the beginning at
once. With ``trace`` = lambda, part of the maximum is replaced by the return that followed, as long
as greedy actions followed:

    G_t = r_t + gamma [(1 - lambda) max_a' Q(s', a') + lambda G_t+1]     where a_t+1 was greedy

This is Watkins's Q(lambda) in its forward view (Watkins 1989; Sutton & Barto, section 12.10);
lambda = 0 is one-step Q-learning. A trace helps because a state of the table stands for many
orders: Q(s', a') is a mean over all of them, G_t+1 belongs to this one.

The functions at the top are the algorithm. ``q_learning`` below runs it on any Gymnasium
environment with discrete states and actions. ``orders`` and ``replay`` run it on millions of
orders, compiled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal, NamedTuple, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.market.day_stream import POLICY, stream_generator
from execution_env.core.jit import inline

MOST_VISITS = 1 << 16
"""Number of visits after which the step size no longer falls; n^-1 is then 0.000015."""

Values = NDArray[np.float32]
Visits = NDArray[np.int32]
Actions = NDArray[np.int32]


@inline
def greedy_action(values: Values, state: int, barred: Values) -> int:
    """Return argmax_a Q(s, a), the first of equals.

    Args:
        values: (T, S, A) Q of one table, or of two, which are added.
        state: s.
        barred: (A,) 0 for the actions that are allowed, -inf for the others.
    """
    best, highest = 0, np.float32(-np.inf)
    if values.shape[0] == 1:
        for a in range(barred.size):
            value = values[0, state, a] + barred[a]
            if value > highest:
                best, highest = a, value
    else:
        for a in range(barred.size):
            value = values[0, state, a] + values[1, state, a] + barred[a]
            if value > highest:
                best, highest = a, value
    return best


@inline
def epsilon_greedy(
    values: Values,
    state: int,
    barred: Values,
    allowed: Actions,
    count: int,
    epsilon: float,
    uniform: float,
) -> Any:
    """Draw one of the first ``count`` of the ``allowed`` actions with probability ``epsilon``.

    Otherwise return the greedy action. One random number ``uniform`` on [0, 1) suffices: if it is
    below epsilon, uniform / epsilon is again uniform on [0, 1).
    """
    if uniform < epsilon:
        return allowed[min(int(uniform / epsilon * count), count - 1)]
    return greedy_action(values, state, barred)


@inline
def bootstrap(values: Values, table: int, state: int, barred: Values) -> float:
    """Return the max_a Q(s, a) from which ``table`` learns.

    With two tables it is the value that the other table gives to the best action of ``table``.
    """
    best, highest = 0, np.float32(-np.inf)
    for a in range(barred.size):
        value = values[table, state, a] + barred[a]
        if value > highest:
            best, highest = a, value
    return np.float64(values[values.shape[0] - 1 - table, state, best])


@inline
def continuation(
    values: Values,
    table: int,
    state: int,
    barred: Values,
    greedy: bool,
    trace: float,
    following: float,
) -> float:
    """Return the expected return from the next ``state`` on, not yet discounted.

    Args:
        values, table, state, barred: see ``bootstrap``.
        greedy: whether the action taken in ``state`` was greedy.
        trace: lambda.
        following: G of that action.
    """
    if greedy and trace == 1.0:
        return following
    value = bootstrap(values, table, state, barred)
    if greedy:
        value += trace * (following - value)
    return value


@inline
def learn(
    values: Values,
    visits: Visits,
    step_sizes: NDArray[np.float64],
    table: int,
    state: int,
    action: int,
    target: float,
) -> None:
    """Update Q(s, a) <- Q(s, a) + alpha_n [target - Q(s, a)], for the n-th visit.

    Args:
        values, visits: (T, S, A) Q and number of updates, changed in place.
        step_sizes: alpha_1, alpha_2, ...; the last one holds for all later visits.
        table, state, action: index of the entry that is updated.
        target: G.
    """
    n = visits[table, state, action]
    old = np.float64(values[table, state, action])
    values[table, state, action] = old + step_sizes[min(n, step_sizes.size - 1)] * (target - old)
    visits[table, state, action] = n + 1


@dataclass(frozen=True)
class Hyperparameters:
    """What Q-learning leaves open.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    omega: float = 1.0
    """Step size n^-omega at the n-th visit of a state and action; in (0, 1]."""
    step_size: float | None = None
    """A constant step size instead, in (0, 1]."""
    epsilon: float = 1.0
    """Share of random actions at the start."""
    final_epsilon: float = 0.2
    """Share of random actions at the end; above 0 for the exponential schedule."""
    epsilon_schedule: Literal["linear", "exponential"] = "linear"
    """How epsilon falls from start to end."""
    epsilon_share: float = 1.0
    """Share of the training after which epsilon has arrived at its end."""
    discount: float = 1.0
    """gamma, what a reward one step later is worth; in [0, 1]."""
    trace: float = 1.0
    """lambda, the share of what really followed greedy actions in what is learned; in [0, 1], 0 for
    one-step Q-learning."""
    caution: float = 0.1
    """The policy judges an action by its value minus this over the square root of its visits, so that
    it does not fall for lucky ones; at least 0, in units of the return."""
    double: bool = False
    """Double Q-learning: two tables, each judging the other's choice."""

    def __post_init__(self) -> None:
        unit = "must be a number"
        numbers = (
            "omega",
            "epsilon",
            "final_epsilon",
            "epsilon_share",
            "discount",
            "trace",
            "caution",
        )
        for name in numbers:
            self._check(name, unit, isinstance(getattr(self, name), Real))
        schedules = ("linear", "exponential")
        right = f"must be one of {', '.join(schedules)}"
        self._check("epsilon_schedule", right, self.epsilon_schedule in schedules)
        self._check("double", "must be true or false", isinstance(self.double, bool))
        self._check("omega", f"{unit} in (0, 1]", 0 < self.omega <= 1)
        if self.step_size is not None:
            self._check("step_size", unit, isinstance(self.step_size, Real))
            self._check("step_size", f"{unit} in (0, 1]", 0 < self.step_size <= 1)
        self._check("epsilon", f"{unit} in [0, 1]", 0 <= self.epsilon <= 1)
        lowest = 0 if self.epsilon_schedule == "linear" else 1e-12
        right = f"{unit} from {lowest:g} to epsilon = {self.epsilon:g}"
        self._check("final_epsilon", right, lowest <= self.final_epsilon <= self.epsilon)
        self._check("epsilon_share", f"{unit} in [0, 1]", 0 <= self.epsilon_share <= 1)
        self._check("discount", f"{unit} in [0, 1]", 0 <= self.discount <= 1)
        self._check("trace", f"{unit} in [0, 1]", 0 <= self.trace <= 1)
        right = "must be a finite number of at least 0"
        self._check("caution", right, 0 <= self.caution < math.inf)

    def _check(self, name: str, right: str, holds: bool) -> None:
        if not holds:
            raise ValueError(f"{name} = {getattr(self, name)}: {right}.")

    @property
    def tables(self) -> int:
        """Number of tables T: 2 for double Q-learning, else 1."""
        return 2 if self.double else 1

    def epsilon_at(self, progress: float) -> float:
        """Return epsilon when a share ``progress`` of the training is done."""
        part = min(progress / self.epsilon_share, 1.0) if self.epsilon_share > 0 else 1.0
        if self.epsilon_schedule == "linear" or self.epsilon == 0:
            return self.epsilon + part * (self.final_epsilon - self.epsilon)
        return float(self.epsilon * (self.final_epsilon / self.epsilon) ** part)

    def step_sizes(self) -> NDArray[np.float64]:
        """Return alpha_1, alpha_2, ... as ``learn`` reads them."""
        if self.step_size is not None:
            return np.array([self.step_size])
        return np.arange(1.0, MOST_VISITS + 1.0) ** -self.omega

    @classmethod
    def of(cls, settings: Any) -> Hyperparameters:
        """Return the hyperparameters that are attributes of ``settings``."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


class Table(NamedTuple):
    """Q-tables and their visits.

    Attributes:
        values: (T, S, A) float32, Q.
        visits: (T, S, A) int32, number of updates of each pair of state and action.
    """

    values: Values
    visits: Visits

    @staticmethod
    def start(tables: int, states: int, actions: int, value: float) -> Table:
        """Return a table without visits, whose every value is ``value``.

        A value that no return exceeds is optimistic. Untried actions then look best, so every
        action is tried soon. A value below all returns is pessimistic. The first action that was
        tried is then repeated until exploration finds a better one.
        """
        shape = (tables, states, actions)
        values = np.zeros(shape, np.float32) if value == 0 else np.full(shape, value, np.float32)
        return Table(values, np.zeros(shape, np.int32))

    def greedy(self, caution: float = 0.0) -> NDArray[np.int64]:
        """Return (S,) the best tried action of each state; -1 where none was tried.

        Args:
            caution: penalty; it is divided by the square root of an action's visits and subtracted
                from its value.
        """
        visits = self.visits.sum(axis=0)
        tried = visits > 0
        doubt = np.float32(caution) / np.sqrt(np.maximum(visits, 1), dtype=np.float32)
        values = np.where(tried, self.mean() - doubt, -np.inf)
        return np.where(tried.any(axis=-1), values.argmax(axis=-1), -1)

    def mean(self) -> Values:
        """Return the (S, A) values; two tables are averaged with their visits as weights."""
        mean: Values = self.values[0]
        if len(self.values) > 1:
            visits = self.visits.sum(axis=0)
            total = (self.values * self.visits).sum(axis=0) / np.maximum(visits, 1)
            mean = np.where(visits > 0, total, mean).astype(np.float32)
        return mean


def q_learning(
    env: gym.Env[Any, Any],
    episodes: int,
    hyperparameters: Hyperparameters,
    initial_value: float = 0.0,
    seed: int = 0,
) -> Table:
    """Learn on ``env`` step by step, as in Sutton & Barto's figure in section 6.5.

    Args:
        env: environment with ``Discrete`` states and actions, which may start at any number; the table
            starts there. ``info["action_mask"]`` (A,), where there is one, tells which actions are
            allowed.
        episodes: number of episodes to play.
        hyperparameters: step size, exploration and so on. ``trace`` must be 0, because every step
            is learned from at once.
        initial_value: value of every state and action at the start.
        seed: seed of the environment and of exploration.

    Raises:
        TypeError: states or actions are not discrete.
        ValueError: ``trace`` is not 0; or the environment returns a state outside its space, or a
            mask that does not fit its actions.
    """
    if hyperparameters.trace != 0:
        raise ValueError(f"trace = {hyperparameters.trace}: must be 0 when learning step by step.")
    for name in ("observation_space", "action_space"):
        if not isinstance(getattr(env, name), gym.spaces.Discrete):
            raise TypeError(f"{name} = {getattr(env, name)}: must be Discrete.")
    observation_space = cast(gym.spaces.Discrete, env.observation_space)
    action_space = cast(gym.spaces.Discrete, env.action_space)
    states, actions = int(observation_space.n), int(action_space.n)

    def row(observation: Any) -> int:
        """Return the row of the table; compiled code below would not notice a wrong one."""
        state = int(observation) - int(observation_space.start)
        if not 0 <= state < states:
            raise ValueError(f"observation = {observation}: must be in {observation_space}.")
        return state

    table = Table.start(hyperparameters.tables, states, actions, initial_value)
    step_sizes = hyperparameters.step_sizes()
    generator = stream_generator(seed, POLICY)
    env.reset(seed=seed)
    for episode in range(episodes):
        epsilon = hyperparameters.epsilon_at(episode / episodes)
        observation, info = env.reset()
        state = row(observation)
        barred, allowed = _masks(info, actions)
        over = False
        while not over:
            uniform = generator.random()
            action = epsilon_greedy(
                table.values, state, barred, allowed, allowed.size, epsilon, uniform
            )
            observation, reward, terminated, truncated, info = env.step(action + action_space.start)
            following = row(observation)
            barred, allowed = _masks(info, actions)
            which = int(generator.integers(hyperparameters.tables))
            target = float(reward)
            if not terminated:  # the return of a truncated episode has a future
                target += hyperparameters.discount * bootstrap(
                    table.values, which, following, barred
                )
            learn(*table, step_sizes, which, state, action, target)
            state, over = following, terminated or truncated
    return table


def _masks(info: dict[str, Any], actions: int) -> tuple[Values, Actions]:
    """Return barred and allowed actions as above, from ``action_mask`` if ``info`` has one.

    Gymnasium's Taxi has a mask of the same kind as our environments.
    """
    mask = np.asarray(info.get("action_mask", np.ones(actions)), np.bool_)
    if mask.shape != (actions,) or not mask.any():
        raise ValueError(f"action_mask = {mask}: must allow at least one of {actions} actions.")
    return np.where(mask, np.float32(0), np.float32(-np.inf)), np.flatnonzero(mask).astype(np.int32)
