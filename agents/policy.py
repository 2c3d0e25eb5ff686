"""What a policy is, and how to get one by name or from a run directory.

A policy decides from observations alone, one order or a batch of them. It has

- ``decide(observations) -> (n, K)`` lots to post, for n "full" observations: what rollouts call;
- Stable-Baselines3's ``predict`` for the environment it acts in, which its ``observation`` and
  ``action`` name.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.run_directory import RunConfig, read_config
from execution_env import Scenario, load_scenario
from execution_env.actions import action_grid, allocate_grid, grid_masks
from execution_env.validation import shown, suggestion

Observations = NDArray[np.float32]
Lots = NDArray[np.int64]
Floats = NDArray[np.float64]


class Observed(NamedTuple):
    """n "full" observations, in lots.

    Attributes:
        bucket: (n,) about to be decided, 0 to B - 1.
        remaining: (n,) lots.
        estimates: (n, K) expected fill rates in this bucket.
        evidence: (n, K) T / (w + T), how much each algo has been learned about.
        lower, upper: (n,) lots between which the cumulative fill should lie at the bucket's end.
        postable: (n,) lots.
    """

    bucket: Lots
    remaining: Lots
    estimates: Floats
    evidence: Floats
    lower: Floats
    upper: Floats
    postable: Lots


def read_state(scenario: Scenario, observations: Observations) -> tuple[Lots, Lots]:
    """Buckets and remaining lots, each (n,), of observations of any kind."""
    remaining = np.rint(observations[:, 0] * np.float64(scenario.lots)).astype(np.int64)
    left = np.rint(observations[:, 1] * np.float64(scenario.buckets)).astype(np.int64)
    return scenario.buckets - left, remaining


def read_postable(scenario: Scenario, observations: Observations) -> NDArray[np.int32]:
    """(n,) postable lots of "full" observations."""
    return np.rint(observations[:, -1] * np.float64(scenario.lots)).astype(np.int32)


def read_masks(scenario: Scenario, observations: Observations) -> NDArray[np.int8]:
    """(n, A) the environment's masks of grid actions, of "full" observations."""
    grid = action_grid(len(scenario.algos), scenario.actions.resolution)
    return grid_masks(grid, read_postable(scenario, observations))


def read_observations(scenario: Scenario, observations: Observations) -> Observed:
    """Observations (n, 5 + 2 K) of kind "full" in lots."""
    k, n = len(scenario.algos), np.float64(scenario.lots)
    bucket, remaining = read_state(scenario, observations)
    numbers = observations.astype(np.float64)
    return Observed(
        bucket,
        remaining,
        numbers[:, 2 : 2 + k],
        numbers[:, 2 + k : 2 + 2 * k],
        n * numbers[:, -3],
        n * numbers[:, -2],
        read_postable(scenario, observations).astype(np.int64),
    )


def widths(scenario: Scenario) -> dict[str, int]:
    """Columns of each kind of observation."""
    k = len(scenario.algos)
    return {"minimal": 2, "default": 2 + k, "full": 5 + 2 * k}


class Policy(ABC):
    """What decides how many lots to post through each algo.

    Args:
        scenario: that the policy is for.
        name: that tables call it by.

    Attributes:
        observation: "minimal", "default" or "full", what ``predict`` reads; more does not hurt.
        action: "grid" or "lots", what ``predict`` gives.
        run, directory: what made it, and where that is, for a policy from a run directory; else None.
        train_seconds, train_steps: that learning took; None for what does not learn.
    """

    observation = "full"
    action = "lots"
    run: RunConfig | None = None
    directory: Path | None = None
    train_seconds: float | None = None
    train_steps: int | None = None

    def __init__(self, scenario: Scenario, name: str) -> None:
        self.scenario, self.name = scenario, name

    @abstractmethod
    def decide(self, observations: Observations) -> Lots:
        """(n, K) lots to post.

        Args:
            observations: (n, 5 + 2 K) "full" observations, orders that are not over.
        """

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """Actions for one observation (D,) or a batch (n, D), and ``state`` as it came.

        An order that is over gets action 0, or no lots: with ``NextStep`` a vector environment asks
        for an action there and ignores it.

        Raises:
            ValueError: the observation has too few columns, or a number outside [0, 1].
        """
        observations, alone = self._batched(observation)
        going = observations[:, 1] > 0
        if going.all():
            actions = self._act(observations, deterministic)
        else:
            width = () if self.action == "grid" else (len(self.scenario.algos),)
            actions = np.zeros((len(observations), *width), np.int64)
            if going.any():
                actions[going] = self._act(observations[going], deterministic)
        return (actions[0] if alone else actions), state

    def _act(self, observations: Observations, deterministic: bool) -> NDArray[np.int64]:
        return self.decide(observations)

    def _batched(self, observation: ArrayLike) -> tuple[Observations, bool]:
        observations = np.asarray(observation, np.float32)
        alone = observations.ndim == 1
        if alone:
            observations = observations[None]
        needed = widths(self.scenario)
        right = [width for width in needed.values() if width >= needed[self.observation]]
        if observations.ndim != 2 or observations.shape[1] not in right:
            raise ValueError(
                f"observation of shape {np.shape(observation)}: {self.name} reads "
                f"(n, {needed[self.observation]}) or ({needed[self.observation]},); make the "
                f'environment with observation="{self.observation}".'
            )
        # Compiled code looks things up by what an observation says; nan fails the comparison too.
        if observations.size and not (observations.min() >= 0 and observations.max() <= 1):
            raise ValueError(f"observation = {observation!r}: must be numbers from 0 to 1.")
        return observations, alone

    def environment(self, **arguments: Any) -> gym.Env[Any, Any]:
        """The scalar environment that the policy acts in."""
        return gym.make(
            "execution_env/OrderAllocation-v0",
            scenario=self.scenario,
            observation=self.observation,
            action=self.action,
            **arguments,
        )


class GridPolicy(Policy):
    """A policy on the scenario's action grid."""

    action = "grid"
    observation = "default"

    @abstractmethod
    def actions(self, observations: Observations) -> NDArray[np.int64]:
        """(n,) indices into the grid, for observations that have at least the policy's columns."""

    def decide(self, observations: Observations) -> Lots:
        """(n, K) lots that ``actions`` post."""
        postable = read_postable(self.scenario, observations)
        return grid_lots(self.scenario, self.actions(observations), postable)

    def _act(self, observations: Observations, deterministic: bool) -> NDArray[np.int64]:
        return self.actions(observations)


class LearnedPolicy(GridPolicy):
    """A policy that training made, and a run directory can hold."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write ``policy.npz``.

        Raises:
            RunError: it cannot be written.
        """


def grid_lots(
    scenario: Scenario,
    actions: NDArray[np.int64],
    postable: NDArray[np.int32],
    resolution: int | None = None,
) -> Lots:
    """(n, K) lots that grid ``actions`` (n,) post where ``postable`` (n,) may be; on a grid of another
    ``resolution`` than the scenario's where one is given.
    """
    algos = len(scenario.algos)
    grid = action_grid(algos, resolution or scenario.actions.resolution)
    posted = np.empty((algos, actions.size), np.int32)
    everyone = np.ones(actions.size, np.bool_)
    allocate_grid(
        grid.parts, grid.remainders, actions[:, None], postable, everyone, posted, 0, actions.size
    )
    return np.ascontiguousarray(posted.T, np.int64)


# Loading.

BUILT_IN = {
    "lp": "agents.lp:lp",
    "lp-buffered": "agents.lp:lp_buffered",
    "lp-scenario": "agents.lp:lp_scenario",
    "dp": "agents.dynamic_programming:dp",
    "dp-fine": "agents.dynamic_programming:dp_fine",
    "dp-adaptive": "agents.dynamic_programming:dp_adaptive",
}
"""What makes the built-in policies that every scenario has; the rules are named after its algos."""

RUNS = {"q-learning": "agents.q_policy:load", "ppo": "agents.ppo_policy:load"}
"""What loads a run directory, by the kind in its ``config.json``: gets its path and configuration."""

BOUNDS = ("clairvoyant", "hindsight")


def policy_names(scenario: Scenario) -> list[str]:
    """Names of the built-in policies for ``scenario``, the rules last."""
    rules = _attribute("agents.rules:rules")
    return [*BUILT_IN, *rules(scenario)]


def load_policy(
    name_or_run_directory: str | Path,
    scenario: str | Path | Mapping[str, Any] | Scenario | None = None,
    trust: bool = False,
) -> Policy:
    """A policy, ready to decide.

    Loading a run directory runs no code of its files; ``package.module:factory`` does run that
    module, and a zip that Stable-Baselines3 saved can run whatever its maker put there. A directory
    that is called like a built-in policy is ``./lp``.

    Args:
        name_or_run_directory: the name of a built-in policy, the path of a run directory or of a
            zip that Stable-Baselines3 saved, or ``package.module:factory``, where the factory gets
            the scenario and gives a ``Policy`` or an object with Stable-Baselines3's ``predict``.
        scenario: that the policy is for, as for ``load_scenario``; default "baseline", and for a run
            directory the scenario it was trained on.
        trust: whether to load such a zip.

    Raises:
        ValueError: there is no such policy; a run was trained for something that differs from the
            scenario in algos, buckets, lots or resolution; or a zip is not trusted, damaged, of
            something else, or of a model for another scenario.
        RunError: the run directory is missing or damaged (it is a ValueError too).
        ScenarioError: the scenario does not exist or is wrong (a ValueError too).
    """
    name = name_or_run_directory
    if not isinstance(name, str | Path):
        raise ValueError(f"policy {name!r}: must be a name, a path or module:factory.")
    wanted = None if scenario is None else load_scenario(scenario)
    if isinstance(name, Path):
        return _load_path(name, wanted, trust)
    if name in BOUNDS:
        raise ValueError(
            f"policy {name}: is a bound, no policy: it knows the future. evaluate.py always "
            "computes it."
        )
    from agents.foreign import REFERENCE, load_foreign  # noqa: PLC0415  it needs this module

    there = wanted or load_scenario()
    known = policy_names(there)
    if name in BUILT_IN:
        return cast(Policy, _attribute(BUILT_IN[name])(there))
    if name in known:
        return cast(Policy, _attribute("agents.rules:rules")(there)[name](there))
    path = Path(name)
    if name and path.exists():
        return _load_path(path, wanted, trust)
    if REFERENCE.fullmatch(name):
        policy = load_foreign(name, there)
        check_fits(policy, there)
        return policy
    if path.name != name or path.suffix == ".zip":
        return _load_path(path, wanted, trust)
    raise ValueError(
        f"policy {shown(name)}: is no built-in policy, and there is no such run directory."
        f"{suggestion(name, known)} Built in for {there.name} are {', '.join(known)}."
    )


def _load_path(path: Path, scenario: Scenario | None, trust: bool) -> Policy:
    from agents.sb3_zip import is_zip, load_zip  # noqa: PLC0415  it needs this module

    if is_zip(path):
        return load_zip(path, scenario or load_scenario(), trust)
    return _load_run(path, scenario)


def _load_run(directory: Path, scenario: Scenario | None) -> Policy:
    config = read_config(directory)
    if config.kind not in RUNS:
        raise ValueError(
            f"{directory}: is a run of kind {shown(config.kind)}, which cannot be loaded here; known "
            f"are {', '.join(RUNS)}."
        )
    differing = [] if scenario is None else differences(config.scenario, scenario)
    if scenario is not None and differing:
        raise ValueError(
            f"{directory}: was trained for something else than {scenario.name}: "
            f"{', '.join(differing)}. Train on a scenario that agrees in these."
        )
    policy = cast(Policy, _attribute(RUNS[config.kind])(directory, config))
    policy.run, policy.directory = config, directory
    return policy


def check_fits(policy: Policy, scenario: Scenario) -> None:
    """Check that ``policy`` can play ``scenario``.

    Raises:
        ValueError: it was made for another number of algos, buckets or lots, or another grid.
    """
    differing = differences(policy.scenario, scenario, policy.action == "grid")
    if differing:
        raise ValueError(
            f"policy {policy.name}: was made for something else than {scenario.name}: "
            f"{', '.join(differing)}."
        )


def differences(trained: Scenario, scenario: Scenario, grid: bool = True) -> list[str]:
    """What keeps a policy for ``trained`` from playing ``scenario``, such as "buckets 10, here 13"."""

    def sizes(of: Scenario) -> dict[str, int]:
        found = {"algos": len(of.algos), "buckets": of.buckets, "lots": of.lots}
        return found | ({"actions.resolution": of.actions.resolution} if grid else {})

    here = sizes(scenario)
    return [
        f"{what} {there}, here {here[what]}"
        for what, there in sizes(trained).items()
        if there != here[what]
    ]


def _attribute(reference: str) -> Any:
    """What ``module:name`` names; imported only now, so that importing this module stays quick."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
