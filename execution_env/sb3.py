"""The native vector environment as Stable-Baselines3 wants it.

Stable-Baselines3 refuses Gymnasium's vector environments and has an interface of its own. Needs
``stable-baselines3``, which ``execution_env`` itself does not.

>>> from stable_baselines3 import PPO
>>> from execution_env.sb3 import OrderAllocationVecEnv
>>> PPO("MlpPolicy", OrderAllocationVecEnv(256, scenario="baseline"), n_steps=10).learn(100_000)
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import setitem
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from execution_env.validation import natural
from execution_env.vector_env import OrderAllocationVectorEnv

METHODS = ("action_masks", "render")
"""What ``env_method`` can call: the methods of a single environment that change nothing."""

Info = dict[str, Any]


class OrderAllocationVecEnv(VecEnv):
    """n independent orders of one scenario, as a Stable-Baselines3 ``VecEnv``.

    Plays, bit for bit, what ``DummyVecEnv`` plays with n scalar environments of the same seeds, and
    infos are the same, but nothing is done environment by environment.

    ``seed(s)`` makes the next ``reset()`` play days s + i, as everywhere in Stable-Baselines3; that
    is also what ``PPO(..., seed=s)`` does with the first orders of a training. To train on training
    days alone, leave the model's ``seed`` out and give ``training_seed`` here.

    Args:
        num_envs: n.
        training_seed: where the stream of training days starts; None for fresh entropy.
        monitor: whether the info of an order that ends has ``episode``, its return ``r``, length ``l``
            and seconds since the start ``t``, as ``Monitor`` writes them; ``env_is_wrapped(Monitor)``
            tells. Without it, wrap in ``VecMonitor``.
        **arguments: as for ``OrderAllocationVectorEnv``: ``scenario``, ``overrides``, ``action``,
            ``observation``, ``info`` and ``render_mode``. With ``info="none"`` infos hold no more than
            Stable-Baselines3 needs.

    Raises:
        ValueError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        training_seed: int | None = None,
        monitor: bool = True,
        **arguments: Any,
    ) -> None:
        # Autoreset is ours: the last observations of orders are wanted whatever ``info`` is.
        self.envs = OrderAllocationVectorEnv(
            num_envs, autoreset_mode=AutoresetMode.DISABLED, **arguments
        )
        self._training_seed = (
            None if training_seed is None else natural("training_seed", training_seed)
        )
        self._monitored = monitor
        self._attributes: dict[str, list[Any]] = {}
        self._actions: NDArray[Any] | None = None
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, np.int64)
        self._since = time.time()
        super().__init__(
            num_envs, self.envs.single_observation_space, self.envs.single_action_space
        )

    # Playing.

    def reset(self) -> NDArray[np.float32]:
        """Start an order in every environment; returns (n, D) observations.

        Seeds and options that were set count once. Of options only "training_seed" is known, and it
        must be the same for all: their days come from one stream.

        Raises:
            ValueError: options differ between environments.
        """
        options = dict(self._options[0])
        if any(other != options for other in self._options):
            raise ValueError(
                "options differ between environments, which share one stream of training days: "
                "give one dictionary for all."
            )
        if self._training_seed is not None and all(seed is None for seed in self._seeds):
            options.setdefault("training_seed", self._training_seed)
            self._training_seed = None  # later resets go on in the stream
        observations, infos = self.envs.reset(seed=self._seeds, options=options or None)
        self.reset_infos = _one_each(infos, self.num_envs)
        self._returns[:], self._lengths[:] = 0.0, 0
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: ArrayLike) -> None:
        """Note the actions, (n,) or (n, K); ``step_wait`` plays them."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Play the noted actions; orders that end are followed by the next.

        Returns:
            observations (n, D), rewards (n,) float32, dones (n,) and infos, a dictionary each. Where
            an order has ended, the observation is the next order's, and the info has
            ``terminal_observation``.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset, or without actions.
            gymnasium.error.InvalidAction: an action is not in the action space. Nothing was played.
        """
        if self._actions is None:
            raise ResetNeeded("step_wait() without step_async(actions).")
        actions, self._actions = self._actions, None
        observations, rewards, dones, _, arrays = self.envs.step(actions)
        infos = _one_each(arrays | {"TimeLimit.truncated": repeat(False)}, self.num_envs)
        self._returns += rewards
        self._lengths += 1
        if dones.any():
            self._add_endings(infos, observations, dones)
            observations = self._restart(observations, dones)
        return observations, rewards.astype(np.float32), dones, infos

    def _add_endings(
        self, infos: list[Info], observations: NDArray[np.float32], dones: NDArray[np.bool_]
    ) -> None:
        over = [infos[e] for e in np.flatnonzero(dones)]
        _put(over, "terminal_observation", observations[dones])
        if self._monitored:
            statistics = {
                "r": self._returns[dones].round(6).tolist(),
                "l": self._lengths[dones].tolist(),
                "t": repeat(round(time.time() - self._since, 6)),
            }
            _put(over, "episode", _one_each(statistics, len(over)))
        self._returns[dones], self._lengths[dones] = 0.0, 0

    def _restart(
        self, observations: NDArray[np.float32], dones: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        fresh, infos = self.envs.reset(options={"reset_mask": dones})
        which = np.flatnonzero(dones)
        rows = {key: array[dones] for key, array in infos.items() if not key.startswith("_")}
        deque(map(setitem, repeat(self.reset_infos), which, _one_each(rows, which.size)), 0)
        return np.where(dones[:, None], fresh, observations)

    def close(self) -> None:
        """Nothing is left open."""
        self.envs.close()

    # Looking.

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A picture of every order, with ``render_mode="rgb_array"``; else None for each."""
        images = self.envs.render() if self.render_mode == "rgb_array" else None
        return [None] * self.num_envs if images is None else list(images)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the environments, for each of ``indices``.

        Raises:
            AttributeError: they have none of that name.
        """
        which = self._which(indices)
        if attr_name in self._attributes:
            return [self._attributes[attr_name][e] for e in which]
        if attr_name in ("observation_space", "action_space"):  # of one, not of all
            attr_name = f"single_{attr_name}"
        elif attr_name in METHODS:
            return [getattr(self.envs, attr_name)] * len(which)
        value = getattr(self.envs, attr_name)
        return [value] * len(which)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute that ``get_attr`` gives back. What the environments have themselves cannot
        be set: they are one scenario in one block of memory.

        Raises:
            AttributeError: the environments have an attribute of that name.
        """
        if hasattr(self.envs, attr_name):
            raise AttributeError(
                f"{attr_name} cannot be set: it belongs to all {self.num_envs} orders. Make a new "
                f"{type(self).__name__} with what it should be."
            )
        values = self._attributes.setdefault(attr_name, [None] * self.num_envs)
        for e in self._which(indices):
            values[e] = value

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """What a method gives for each of ``indices``: ``action_masks``, (A,) bool, or ``render``.

        Raises:
            AttributeError: another method; environments cannot be stepped one by one.
        """
        if method_name not in METHODS:
            raise AttributeError(
                f"env_method({method_name!r}): must be one of {', '.join(METHODS)}; the orders are "
                "played together, by reset() and step()."
            )
        results = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        if results is None:
            return [None] * len(self._which(indices))
        return list(results) if indices is None else [results[e] for e in self._which(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Whether the environments do what a wrapper does: only ``Monitor``, unless it is off."""
        return [self._monitored and wrapper_class is Monitor] * len(self._which(indices))

    def _which(self, indices: VecEnvIndices) -> Sequence[int]:
        return range(self.num_envs) if indices is None else list(self._get_indices(indices))


def _one_each(arrays: Mapping[str, Iterable[Any]], count: int) -> list[Info]:
    """``count`` dictionaries of the rows of ``arrays``, without those that Gymnasium marks by ``_``.

    The loops are C's: with thousands of environments this is what an adapter spends its time on.
    """
    keys = [key for key in arrays if not key.startswith("_")]
    if not keys:
        return [{} for _ in range(count)]
    rows = zip(*(arrays[key] for key in keys), strict=False)  # repeated values have no end
    return list(map(dict, map(zip, repeat(keys, count), rows)))


def _put(infos: Iterable[Info], key: str, values: Iterable[Any]) -> None:
    """Values under ``key``, one in each of ``infos``."""
    deque(map(setitem, infos, repeat(key), values), 0)
