"""Policies from outside: ``package.module:factory``, and models with ``predict``."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.policy.base import Policy, grid_lots
from agents.policy.observed import Lots, Observations, read_masks, read_postable, widths
from agents.policy.sb3_normalised import Normalise, live_normalise
from agents.storage.files import one_line
from execution_env import Scenario
from execution_env.allocation.actions import lots_masks
from execution_env.core.validation import choice, shown, suggestion

FACTORY_PATTERN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""Pattern of ``package.module:factory``."""


class Predictor(Policy):
    """Policy of an object with ``predict(observation, deterministic=True) -> (action, state)``.

    The object's attributes ``observation`` and ``action`` tell the kinds of its observations and
    actions. Without them, its ``observation_space`` and ``action_space`` do, as models have them.
    Without these too, it is taken to be trained on the default environment.

    If ``predict`` takes ``action_masks``, as MaskablePPO's does, it gets the environment's masks.
    Masks depend on the postable lots, so such a policy acts in an environment with "full"
    observations, even if its model reads fewer columns.

    Args:
        scenario: the scenario to play.
        name: name in tables.
        model: object that predicts, a batch at a time.
        normalise: function that is applied to the model's observations first; None for none.

    Raises:
        ValueError: the model's attributes or spaces are not of an environment of this scenario.
    """

    def __init__(
        self, scenario: Scenario, name: str, model: Any, normalise: Normalise | None = None
    ) -> None:
        super().__init__(scenario, name)
        self.model, self._normalise = model, normalise
        needed = widths(scenario)
        read = choice(f"{name}: observation", _observation(model, name, needed), list(needed))
        self._width = needed[read]
        self._masked = _takes_masks(model)
        self.observation = "full" if self._masked else read
        self.action = choice(f"{name}: action", _action(model, name, scenario), ["grid", "lots"])
        for attribute in ("train_seconds", "train_steps"):
            setattr(self, attribute, getattr(model, attribute, None))

    def decide(self, observations: Observations) -> Lots:
        """Return the (n, K) lots of the model's actions.

        Raises:
            ValueError: the model fails, gives something else than n actions of its environment, or
                keeps a state between buckets.
        """
        actions = self._act(observations, True)
        if self.action == "lots":
            return actions
        return grid_lots(self.scenario, actions, read_postable(self.scenario, observations))

    def _act(self, observations: Observations, deterministic: bool) -> NDArray[np.int64]:
        read = np.ascontiguousarray(observations[:, : self._width])
        if self._normalise is not None:
            read = self._normalise(read)
        masks = {"action_masks": self._masks(observations)} if self._masked else {}
        try:
            actions, state = self.model.predict(read, deterministic=deterministic, **masks)
        except Exception as error:  # the code is not ours and may raise anything
            raise ValueError(
                f"{self.name}: predict failed ({type(error).__name__}: {one_line(error)}); it gets "
                f"float32 observations of shape {read.shape}."
            ) from error
        if state is not None:
            raise ValueError(
                f"{self.name}: predict gave a state; policies here decide from an observation alone."
            )
        actions = np.asarray(actions)
        if self.action == "lots":
            return actions  # checked later, like the lots of all policies
        if actions.shape != (len(read),) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"{self.name}: predict gave {actions.dtype} of shape {actions.shape} for "
                f"{len(read)} observations; must be as many indices into the grid."
            )
        size = self.scenario.grid_size
        if (actions < 0).any() or (actions >= size).any():
            wrong = actions[(actions < 0) | (actions >= size)][0]
            raise ValueError(f"{self.name}: predict gave action {wrong}; must be 0 to {size - 1}.")
        return actions.astype(np.int64)

    def _masks(self, observations: Observations) -> NDArray[np.int8]:
        """Return the environment's masks, a row for each of "full" observations (n, 5 + 2 K)."""
        scenario = self.scenario
        if self.action == "grid":
            return read_masks(scenario, observations)
        postable = read_postable(scenario, observations)
        return lots_masks(scenario.lots, len(scenario.algos), postable)


def _takes_masks(model: Any) -> bool:
    try:
        return "action_masks" in inspect.signature(model.predict).parameters
    except (TypeError, ValueError):  # a function without a signature, such as a builtin
        return False


def _observation(model: Any, name: str, needed: dict[str, int]) -> Any:
    space = getattr(model, "observation_space", None)
    if hasattr(model, "observation") or space is None:
        return getattr(model, "observation", "default")
    kinds = {(width,): kind for kind, width in needed.items()}
    if not isinstance(space, gym.spaces.Box) or space.shape not in kinds:
        right = ", ".join(f"{width} ({kind})" for kind, width in needed.items())
        raise ValueError(
            f"{name}: was trained on observations {_of(space)}; this scenario has {right}. Play the "
            "scenario that it was trained on."
        )
    return kinds[space.shape]


def _action(model: Any, name: str, scenario: Scenario) -> Any:
    space = getattr(model, "action_space", None)
    if hasattr(model, "action") or space is None:
        return getattr(model, "action", "grid")
    lots = [scenario.lots + 1] * len(scenario.algos)
    if isinstance(space, gym.spaces.Discrete) and space.n == scenario.grid_size:
        return "grid"
    if isinstance(space, gym.spaces.MultiDiscrete) and np.array_equal(space.nvec, lots):
        return "lots"
    raise ValueError(
        f"{name}: was trained to act in {shown(space)}; this scenario has Discrete"
        f"({scenario.grid_size}) (grid), MultiDiscrete({lots}) (lots). Play the scenario that it was "
        "trained on."
    )


def _of(space: Any) -> str:
    if isinstance(space, gym.spaces.Box):
        return f"of shape {space.shape}"
    return f"in {shown(space)}"


def load_foreign(reference: str, scenario: Scenario) -> Policy:
    """Return the policy that ``package.module:factory`` makes for ``scenario``.

    A model of Stable-Baselines3 whose environment is a ``VecNormalize`` gets observations that are
    normalised by its statistics.

    Args:
        reference: name of a function that takes a scenario and returns a ``Policy``, or any object
            with ``predict``.
        scenario: the scenario to play.

    Raises:
        ValueError: the module cannot be imported, has no such function, or the function fails or
            returns something else, or a model that was trained under ``VecNormalize`` without its
            statistics.
    """
    factory = _imported(reference)
    try:
        made = factory(scenario)
    except Exception as error:
        raise ValueError(
            f"policy {reference}: it failed ({type(error).__name__}: {error}); it gets the scenario "
            "and must give a policy."
        ) from error
    if isinstance(made, Policy):
        return made
    if isinstance(made, type) or not callable(getattr(made, "predict", None)):
        raise ValueError(
            f"policy {reference}: gave {made!r}; must give a Policy, or an object with predict."
        )
    return Predictor(scenario, reference, made, live_normalise(f"policy {reference}", made))


def _imported(reference: str) -> Callable[[Scenario], Any]:
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs code, which may raise anything
        raise ValueError(
            f"policy {reference}: module {module_name} cannot be imported "
            f"({type(error).__name__}: {error})."
        ) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise ValueError(
            f"policy {reference}: {module_name} has no function {name}."
            f"{suggestion(name, [key for key in vars(module) if not key.startswith('_')])}"
        )
    found: Callable[[Scenario], Any] = factory
    return found
