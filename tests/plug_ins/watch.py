"""What reaches the environment through a library, held against its masks."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from execution_env import OrderAllocationVectorEnv

ID = "execution_env/OrderAllocation-v0"
# Three lots: 20 of the 35 actions differ while nothing has filled, then 10, 4 and 1.
MASKED: dict[str, Any] = {"overrides": {"order.size": 300}}


class Watch(gym.Wrapper[Any, Any, Any, Any]):
    """Counts the actions that reach the environment, and of them those that were masked.

    Attributes:
        steps: actions that arrived.
        choices: of them those that were chosen among several, others being masked.
        masked: actions that arrived although they were masked.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.forget()

    def forget(self) -> None:
        """Count from zero."""
        self.steps, self.choices, self.masked = 0, 0, 0

    def step(self, action: Any) -> Any:
        mask = self.get_wrapper_attr("action_masks")()
        self.steps += 1
        self.choices += int(1 < mask.sum() < mask.size)
        self.masked += int(not mask[action])
        return super().step(action)


class WatchedVectorEnv(OrderAllocationVectorEnv):
    """The same of the native vector environment; steps that start an order do not count."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.forget()

    def forget(self) -> None:
        """Count from zero."""
        self.steps, self.choices, self.masked = 0, 0, 0

    def step(self, actions: Any) -> Any:
        playing = ~self._finished()
        masks = self.action_masks()[playing]
        self.steps += len(masks)
        self.choices += int(np.isin(masks.sum(1), np.arange(2, masks.shape[1])).sum())
        self.masked += int((~masks[np.arange(len(masks)), np.asarray(actions)[playing]]).sum())
        return super().step(actions)


def assert_never_masked(env: Watch | WatchedVectorEnv, steps: int) -> None:
    """None of ``steps`` actions was masked, and there was something to choose among."""
    assert env.steps == steps, f"{env.steps} steps"
    assert env.choices >= steps / 10, f"only {env.choices} choices in {steps} steps"
    assert env.masked == 0, f"{env.masked} masked actions in {steps} steps"


def watched(**arguments: Any) -> Watch:
    """An order of three lots as ``gymnasium.make`` makes it, watched."""
    return Watch(gym.make(ID, **MASKED, **arguments))
