"""Wrapper for libraries that expect the action mask in the observation, not in ``info``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces.utils import flatdim
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

MaskedObservation = dict[str, Any]


class MaskInObservation(
    gym.ObservationWrapper[MaskedObservation, Any, Any],
    RecordConstructorArgs,
):
    """Wrapper whose observations are dictionaries of the observation and the action mask.

    The mask comes from the environment's ``action_masks()``: (A,) int8, 1 for actions that differ
    from all earlier ones. A is the number of actions. With ``action="lots"`` it is the number of
    lots per algo, one algo after the other. ``info`` stays as it is; the mask is there even with
    ``info="none"``.

    RLlib's action masking needs the keys "observations" and "action_mask", Tianshou "obs" and
    "mask".

    Args:
        env: environment with a method ``action_masks()``, such as ``OrderAllocationEnv``.
        observation_key: key of the observation.
        mask_key: key of the mask.

    Raises:
        TypeError: the environment has no action masks.
        ValueError: both keys are the same, or one is empty or not a string.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        observation_key: str = "observation",
        mask_key: str = "action_mask",
    ) -> None:
        RecordConstructorArgs.__init__(self, observation_key=observation_key, mask_key=mask_key)
        gym.ObservationWrapper.__init__(self, env)
        for name, key in (("observation_key", observation_key), ("mask_key", mask_key)):
            if not isinstance(key, str) or not key:
                raise ValueError(f'{name} = {key!r}: must be a text, such as "action_mask".')
        if observation_key == mask_key:
            raise ValueError(
                f"mask_key = {mask_key!r}: is the observation_key as well; name another."
            )
        if not env.has_wrapper_attr("action_masks"):
            raise TypeError(
                f"env = {env}: has no action_masks(), so there is no mask to move. Wrap an "
                "OrderAllocationEnv."
            )
        self._keys = observation_key, mask_key
        self._masks = env.get_wrapper_attr("action_masks")
        mask = gym.spaces.Box(0, 1, (flatdim(env.action_space),), np.int8)
        self.observation_space = gym.spaces.Dict(
            {observation_key: env.observation_space, mask_key: mask}
        )

    def observation(self, observation: NDArray[np.float32]) -> MaskedObservation:
        """Return ``observation`` with the action mask of the same bucket."""
        return dict(zip(self._keys, (observation, self._masks().view(np.int8)), strict=True))
