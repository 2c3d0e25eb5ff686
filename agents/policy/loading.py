"""Loading of policies: by name, from a run directory, from a zip, or ``package.module:factory``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from agents.learners import LEARNERS, attribute
from agents.policy.base import Policy
from agents.policy.foreign import FACTORY_PATTERN, load_foreign
from agents.policy.sb3_zip import is_zip, load_zip
from agents.storage.files import RunError
from agents.storage.run_directory import CHECKPOINT, CONFIG, POLICY_FILE, read_config
from execution_env import Scenario, load_scenario, scenarios
from execution_env.allocation.scenario_file import scenario_changes
from execution_env.core.validation import shown, suggestion

BUILT_IN = {
    "lp": "agents.lp:lp",
    "lp-buffered": "agents.lp:lp_buffered",
    "lp-scenario": "agents.lp:lp_scenario",
    "dp": "agents.dynamic_programming:dp",
    "dp-fine": "agents.dynamic_programming:dp_fine",
    "dp-adaptive": "agents.dynamic_programming:dp_adaptive",
}
"""Factories of the built-in policies that every scenario has, by name.

The rules are not among them, because some are named after the scenario's algos.
"""

BOUNDS = ("clairvoyant", "hindsight")


def policy_names(scenario: Scenario) -> list[str]:
    """Return the names of the built-in policies for ``scenario``, the rules last."""
    rules = attribute("agents.rules:rules")
    return [*BUILT_IN, *rules(scenario)]


def load_policy(
    name_or_run_directory: str | Path,
    scenario: str | Path | Mapping[str, Any] | Scenario | None = None,
    trust: bool = False,
    normalise: str | Path | None = None,
) -> Policy:
    """Load a policy.

    Loading a run directory runs no code of its files. ``package.module:factory`` runs that module.
    A zip that Stable-Baselines3 saved can run any code that its maker put there. A directory with
    the name of a built-in policy, such as lp, is given as ``./lp``.

    Args:
        name_or_run_directory: the name of a built-in policy, the path of a run directory or of a
            zip that Stable-Baselines3 saved, or ``package.module:factory``. The factory gets the
            scenario and returns a ``Policy`` or an object with Stable-Baselines3's ``predict``.
        scenario: the scenario to play, as for ``load_scenario``; default "baseline", and for a run
            directory the scenario that it was trained on.
        trust: whether to load such a zip, and its statistics.
        normalise: statistics of a zip's observations; see ``load_zip``.

    Raises:
        ValueError: there is no such policy; a run's scenario differs in algos, buckets, lots or
            resolution; or a zip is not trusted, damaged, of another program, of a model for another
            scenario, or lacks its statistics.
        RunError: the run directory is missing or damaged (it is a ValueError too).
        ScenarioError: the scenario does not exist or is wrong (a ValueError too).
    """
    name = name_or_run_directory
    if not isinstance(name, str | Path):
        raise ValueError(f"policy {name!r}: must be a name, a path or module:factory.")
    if normalise is not None and not is_zip(Path(name)):
        raise ValueError(f"policy {name}: is no zip, and needs no statistics {normalise}.")
    wanted = None if scenario is None else load_scenario(scenario)
    if isinstance(name, Path):
        return _load_path(name, wanted, trust, normalise)
    if name in BOUNDS:
        raise ValueError(
            f"policy {name}: is a bound, no policy: it knows the future. evaluate.py always "
            "computes it."
        )
    there = wanted or load_scenario()
    known = policy_names(there)
    if name in BUILT_IN:
        return cast(Policy, attribute(BUILT_IN[name])(there))
    if name in known:
        return cast(Policy, attribute("agents.rules:rules")(there)[name](there))
    path = Path(name)
    if name and path.exists():
        return _load_path(path, wanted, trust, normalise)
    if FACTORY_PATTERN.fullmatch(name):
        policy = load_foreign(name, there)
        check_fits(policy, there)
        return policy
    if path.name != name or path.suffix == ".zip":
        return _load_path(path, wanted, trust, normalise)
    raise ValueError(
        f"policy {shown(name)}: is no built-in policy, and there is no such run directory."
        f"{suggestion(name, known)} Built in for {there.name} are {', '.join(known)}."
    )


def _load_path(
    path: Path, scenario: Scenario | None, trust: bool, normalise: str | Path | None
) -> Policy:
    if is_zip(path):
        return load_zip(path, scenario or load_scenario(), trust, normalise)
    return _load_run(path, scenario)


def _load_run(directory: Path, scenario: Scenario | None) -> Policy:
    config = read_config(directory)
    if config.kind not in LEARNERS:
        raise ValueError(
            f"{directory}: is a run of kind {shown(config.kind)}, which cannot be loaded here; known "
            f"are {', '.join(LEARNERS)}."
        )
    differing = [] if scenario is None else differences(config.scenario, scenario)
    if scenario is not None and differing:
        raise ValueError(
            f"{directory}: was trained for something else than {scenario.name}: "
            f"{', '.join(differing)}. Play what it was trained on with "
            f"{scenario_options(config.scenario)}, or train on a scenario that agrees in these."
        )
    try:
        policy = cast(Policy, LEARNERS[config.kind].load(directory, config))
    except RunError as error:
        if not str(error).startswith(str(directory / POLICY_FILE)) or not (
            (directory / CHECKPOINT).exists()
        ):
            raise
        command = shlex.join(
            ["python", "train.py", config.kind, "--resume", "--out", str(directory)]
        )
        raise RunError(f"{error} Or make it from the run's checkpoint: {command}") from error
    policy.run, policy.directory = config, directory
    return policy


def check_fits(policy: Policy, scenario: Scenario) -> None:
    """Check that ``policy`` can play ``scenario``.

    Raises:
        ValueError: the policy was made for another number of algos, buckets or lots, or another
            grid.
    """
    differing = differences(policy.scenario, scenario, policy.action == "grid")
    if differing:
        raise ValueError(
            f"policy {policy.name}: was made for something else than {scenario.name}: "
            f"{', '.join(differing)}."
        )


MOST_CHANGES = 3
"""Largest number of differences between scenarios that a sentence lists."""


def changes(trained: Scenario, scenario: Scenario) -> str:
    """Return what differs between two scenarios, like "order.buckets 20, here 10; and 2 more"."""
    found = [
        f"{key} {_value(there)}, here {_value(here)}"
        for key, (there, here) in scenario_changes(trained, scenario).items()
    ]
    more = [f"and {len(found) - MOST_CHANGES} more"] if len(found) > MOST_CHANGES else []
    return "; ".join(found[:MOST_CHANGES] + more)


def _value(value: object) -> str:
    return "none" if value is None else shown(value)


def scenario_options(scenario: Scenario) -> str:
    """Return the options of a command that play ``scenario``, like "--scenario drifting"."""
    if scenario.name not in scenarios():
        return f"--scenario and the file of {scenario.name}"
    found = scenario_changes(load_scenario(scenario.name), scenario)
    if len(found) > MOST_CHANGES or any(isinstance(new, tuple | list) for _, new in found.values()):
        return f"--scenario and the file of its {scenario.name}, which is not the shipped one"
    words = ["--scenario", scenario.name, *(["--set"] if found else [])]
    return shlex.join(words + [f"{key}={_value(new)}" for key, (_, new) in found.items()])


def own_scenario(policy: object) -> Scenario | None:
    """Return the scenario that a policy, or the run in a directory, was made for; None for a name.

    Args:
        policy: as for ``load_policy``, or a policy.

    Raises:
        RunError: the run directory is damaged.
    """
    if isinstance(policy, Policy):
        return policy.scenario if policy.run is None else policy.run.scenario
    if not isinstance(policy, str | Path) or not str(policy):
        return None
    if policy in (*policy_names(load_scenario()), *BOUNDS):
        return None
    return read_config(policy).scenario if (Path(policy) / CONFIG).is_file() else None


def differences(trained: Scenario, scenario: Scenario, grid: bool = True) -> list[str]:
    """Return the sizes in which ``trained`` differs from ``scenario``, like "buckets 10, here 13".

    A policy for ``trained`` can play ``scenario`` if there are none. The action grid's resolution
    counts only with ``grid``.
    """

    def sizes(of: Scenario) -> dict[str, int]:
        found = {"algos": len(of.algos), "buckets": of.buckets, "lots": of.lots}
        return found | ({"actions.resolution": of.actions.resolution} if grid else {})

    here = sizes(scenario)
    return [
        f"{what} {there}, here {here[what]}"
        for what, there in sizes(trained).items()
        if there != here[what]
    ]
