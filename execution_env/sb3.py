"""The native vector environment as a Stable-Baselines3 ``VecEnv``.

Stable-Baselines3 does not accept Gymnasium's vector environments; it has an interface of its own.
This module needs ``stable-baselines3``, which ``pip install ".[sb3]"`` installs. The rest of
``execution_env`` does not need it.

>>> from stable_baselines3 import PPO
>>> from execution_env.sb3 import OrderAllocationVecEnv
>>> PPO("MlpPolicy", OrderAllocationVecEnv(256, scenario="baseline"), n_steps=10).learn(100_000)
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress, repeat
from operator import setitem
from typing import Any

import numpy as np
from gymnasium.error import NoAsyncCallError
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from execution_env.allocation.env import OrderAllocationEnv, read_options
from execution_env.allocation.vector_env import OrderAllocationVectorEnv
from execution_env.core.validation import flag, optional_natural, shown, suggestion

METHODS = ("action_masks", "render")
"""Names that ``env_method`` accepts: methods of a single environment that change nothing."""

ATTRIBUTES = (
    "action_space",
    "grid_actions",
    "metadata",
    "observation_space",
    "render_mode",
    "scenario",
    "spec",
)
"""Names that ``get_attr`` also accepts: attributes fixed when the environment is made."""

Info = dict[str, Any]


class OrderAllocationVecEnv(VecEnv):
    """n independent orders of one scenario, as a Stable-Baselines3 ``VecEnv``.

    Given the same days and actions, it returns the same as ``DummyVecEnv`` with n scalar
    environments in a ``Monitor``. Observations, rewards, dones, infos and reset infos are equal bit
    for bit; only the times differ. All environments are computed together, not one by one.

    After ``seed`` the first orders also have the same days. Later orders differ: n scalar
    environments draw their training days from n streams. Here all orders share one stream, that of
    ``OrderAllocationVectorEnv``.

    ``seed(s)`` makes the next ``reset()`` play day s + i in environment i, as everywhere in
    Stable-Baselines3. ``PPO(..., seed=s)`` does the same with the first orders of a training. To
    train on training days alone, leave the model's ``seed`` out and give ``training_seed`` here.

    Args:
        num_envs: n.
        training_seed: where the stream of training days starts, at the first reset and at every
            reset after ``seed``. If None, the stream starts from fresh entropy, or after
            ``seed(s)`` at s.
        monitor: whether the info of an order that ends has ``episode``, as ``Monitor`` writes it:
            return ``r``, length ``l`` and seconds since the start ``t``.
            ``env_is_wrapped(Monitor)`` returns this setting. If False, wrap in ``VecMonitor``.
        **arguments: as for ``OrderAllocationEnv``: ``scenario``, ``overrides``, ``action``,
            ``observation``, ``info`` and ``render_mode``. With ``info="none"`` infos hold only the
            keys that Stable-Baselines3 needs.

    Raises:
        ValueError: an argument is wrong; the message names it.
        TypeError: there is no such argument.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        training_seed: int | None = None,
        monitor: bool = True,
        **arguments: Any,
    ) -> None:
        one = OrderAllocationEnv(**arguments)  # for attributes that all share
        # This class resets orders itself: it needs their last observations even with info="none".
        self.envs = OrderAllocationVectorEnv(
            num_envs, autoreset_mode=AutoresetMode.DISABLED, **arguments
        )
        self._training_seed = optional_natural("training_seed", training_seed)
        self._monitored = flag("monitor", monitor)
        self._shared = {name: getattr(one, name) for name in ATTRIBUTES}
        self._attributes: dict[str, dict[int, Any]] = {}
        self._actions: ArrayLike | None = None
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, np.int64)
        self._is_new = True
        self._since = time.time()
        super().__init__(self.envs.num_envs, one.observation_space, one.action_space)
        self.metadata = one.metadata

    # Playing.

    def reset(self) -> NDArray[np.float32]:
        """Start an order in every environment; return (n, D) observations.

        Seeds and options that were set apply to this reset only. The only known option is
        "training_seed". It must be the same for all environments, because their days come from one
        stream.

        Raises:
            ValueError: options differ between environments, or a seed is not a non-negative
                integer.
            TypeError: options are not a dictionary.
        """
        if not self._options or self._options != self._options[:1] * self.num_envs:
            raise ValueError(
                f"options = {shown(self._options)}: must be one dictionary for all {self.num_envs} "
                "environments, which share one stream of training days."
            )
        training_seed = read_options(self._options[0])
        seeded = self._seeds != [None] * self.num_envs
        if training_seed is None and (seeded or self._is_new):
            training_seed = self._training_seed
        observations, infos = self.envs.reset(
            seed=self._seeds, options={"training_seed": training_seed}
        )
        self.reset_infos = _one_each(infos, self.num_envs)
        self._actions = None
        self._returns[:], self._lengths[:] = 0.0, 0
        self._is_new = False
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: ArrayLike) -> None:
        """Store the actions, (n,) or (n, K); ``step_wait`` plays them."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Play the stored actions; where an order ends, start the next.

        Returns:
            observations (n, D), rewards (n,) float32, dones (n,) and infos, a dictionary each.
            Where an order has ended, the observation is the next order's, and the info has
            ``terminal_observation``.

        Raises:
            gymnasium.error.NoAsyncCallError: no actions are stored.
            gymnasium.error.ResetNeeded: before the first reset.
            gymnasium.error.InvalidAction: an action is not in the action space. Nothing was played.
            ValueError: actions have another shape or are not whole numbers. Nothing was played.
        """
        if self._actions is None:
            raise NoAsyncCallError(
                "step_wait() without actions: call step_async(actions) before, or step(actions).",
                "step",
            )
        actions, self._actions = self._actions, None
        observations, rewards, dones, _, arrays = self.envs.step(actions)
        infos = _one_each(arrays, self.num_envs, {"TimeLimit.truncated": False})
        self._returns += rewards
        self._lengths += 1
        if dones.any():
            self._add_endings(infos, observations, dones)
            observations = self._restart(dones)
        return observations, rewards.astype(np.float32), dones, infos

    def _add_endings(
        self, infos: list[Info], observations: NDArray[np.float32], dones: NDArray[np.bool_]
    ) -> None:
        over = list(compress(infos, dones.tolist()))
        _put(over, "terminal_observation", observations[dones])
        if self._monitored:
            statistics = {
                # Python's round, as Monitor uses: NumPy's may differ in the last digit.
                "r": map(round, self._returns[dones].tolist(), repeat(6)),
                "l": self._lengths[dones].tolist(),
            }
            time_of_all = {"t": round(time.time() - self._since, 6)}
            _put(over, "episode", _one_each(statistics, len(over), time_of_all))
        self._returns[dones], self._lengths[dones] = 0.0, 0

    def _restart(self, dones: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Start the next orders where ``dones``; return the observations of all environments."""
        observations, infos = self.envs.reset(options={"reset_mask": dones})
        which = np.flatnonzero(dones).tolist()
        starts = _one_each({key: array[dones] for key, array in infos.items()}, len(which))
        deque(map(setitem, repeat(self.reset_infos), which, starts), 0)
        return observations

    def close(self) -> None:
        """Close the vector environment."""
        self.envs.close()

    # Looking.

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return a picture of every order with ``render_mode="rgb_array"``, else None for each."""
        if self.render_mode != "rgb_array":
            warnings.warn(
                f"get_images() with render_mode = {self.render_mode!r} gives no images: make the "
                'environments with render_mode="rgb_array".',
                stacklevel=2,
            )
            return [None] * self.num_envs
        return list(self.envs.render() or ())

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of each of the environments ``indices``.

        The attribute is one of ``ATTRIBUTES``, one of ``METHODS``, or one that ``set_attr`` has
        set.

        Raises:
            AttributeError: one of these environments has no attribute of that name.
        """
        which = self._which(indices)
        if attr_name in self._shared:
            return [self._shared[attr_name]] * len(which)
        if attr_name in METHODS:
            return [self._method(attr_name, e) for e in which]
        values = self._attributes.get(attr_name, {})
        missing = [e for e in which if e not in values]
        if missing:
            known = sorted({*ATTRIBUTES, *METHODS, *self._attributes})
            raise AttributeError(
                f"get_attr({attr_name!r}): environments {missing} have no such attribute."
                f"{suggestion(attr_name, known)} Known here: {', '.join(known)}."
            )
        return [values[e] for e in which]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute for ``get_attr``.

        The environments' own attributes cannot be set: all share one scenario and one block of
        memory.

        Raises:
            AttributeError: the environments have an attribute of that name.
        """
        if attr_name in ATTRIBUTES or attr_name in METHODS:
            raise AttributeError(
                f"set_attr({attr_name!r}): cannot be set, it belongs to all {self.num_envs} orders. "
                f"Make a new {type(self).__name__} with what it should be."
            )
        values = dict.fromkeys(self._which(indices), value)
        self._attributes.setdefault(attr_name, {}).update(values)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Return the result of a method for each of ``indices``: ``action_masks``, (A,) bool, or
        ``render``.

        Raises:
            AttributeError: the method is not in ``METHODS``; environments cannot be stepped one by
                one.
        """
        if method_name not in METHODS:
            raise AttributeError(
                f"env_method({method_name!r}): must be one of {', '.join(METHODS)}; the orders are "
                "played together, by reset() and step()."
            )
        which = self._which(indices)
        results = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        if results is None:
            return [None] * len(which)
        return list(results) if indices is None else [results[e] for e in which]

    def _method(self, name: str, e: int) -> Callable[..., Any]:
        """Return a method of environment ``e``."""

        def method(*arguments: Any) -> Any:
            return self.env_method(name, *arguments, indices=e)[0]

        return method

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Return for each environment whether it does what a wrapper does: True for ``Monitor`` if
        ``monitor``, else False.
        """
        is_wrapped = self._monitored and issubclass(Monitor, wrapper_class)
        return [is_wrapped] * len(self._which(indices))

    def _which(self, indices: VecEnvIndices) -> Sequence[int]:
        """Return the indices of environments from 0; ``indices`` may count from the end."""
        everyone = range(self.num_envs)
        if indices is None:
            return everyone
        try:
            return [everyone[e] for e in self._get_indices(indices)]
        except IndexError:
            raise IndexError(
                f"indices = {indices!r}: must be from {-self.num_envs} to {self.num_envs - 1}, "
                f"there are {self.num_envs} environments."
            ) from None


def _one_each(
    arrays: Mapping[str, Iterable[Any]], count: int, same: Info | None = None
) -> list[Info]:
    """Return ``count`` dictionaries with a row of ``arrays`` each, and with the items of ``same``.

    Arrays whose key starts with ``_`` (Gymnasium's masks) are left out. The loops over environments
    run in C, because with thousands of environments an adapter spends its time in them.
    """
    infos = list(map(dict.copy, repeat(same or {}, count)))
    for key, values in arrays.items():
        if not key.startswith("_"):
            _put(infos, key, values)
    return infos


def _put(infos: Iterable[Info], key: str, values: Iterable[Any]) -> None:
    """Store ``values`` under ``key``, one in each of ``infos``."""
    deque(map(setitem, infos, repeat(key), values), 0)
