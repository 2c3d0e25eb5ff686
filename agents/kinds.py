"""The kinds of training runs there are, by the names that ``config.json`` calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents import ppo_policy, ppo_settings, q_policy, q_run
from agents.evaluation.figures import learning_curve
from agents.run_directory import LEARNING_CURVE, TENSORBOARD, RunConfig
from agents.storage import write_bytes
from agents.training_run import Run, RunSettings, Training


@dataclass(frozen=True)
class Kind:
    """A learner, for whoever starts runs of it.

    Attributes:
        title: in figures.
        unit: of the steps of a training.
        axis: of the learning curve.
        flattering: said of the objective on the validation days, where it had a part in the choice.
        settings: those in a ``config.json``; raises RunError where it is no run of this kind.
        training: the one that a ``config.json`` and its directory are of, at its start.
    """

    title: str
    unit: str
    axis: str
    flattering: str
    settings: Callable[[RunConfig], RunSettings]
    training: Callable[[RunConfig, Path], Training]


def _q_training(config: RunConfig, directory: Path) -> Training:
    return q_run.QTraining(config.scenario, config.seed, q_run.settings_of(config))


def _ppo_training(config: RunConfig, directory: Path) -> Training:
    from agents.ppo_run import PPOTraining  # noqa: PLC0415  importing torch takes seconds

    log = directory / TENSORBOARD if find_spec("tensorboard") else None
    return PPOTraining(config.scenario, config.seed, ppo_settings.settings_of(config), log)


KINDS = {
    q_policy.KIND: Kind(
        title="Q-learning",
        unit="updates",
        axis="updates, million (dotted: a finer table from here on)",
        flattering="",
        settings=q_run.settings_of,
        training=_q_training,
    ),
    ppo_policy.KIND: Kind(
        title="PPO",
        unit="environment steps",
        axis="environment steps, million",
        flattering=" (the best of all evaluations, so it flatters)",
        settings=ppo_settings.settings_of,
        training=_ppo_training,
    ),
}


def differences(asked: RunConfig, stored: RunConfig) -> dict[str, Any]:
    """What decides a run and is not as ``asked`` in the one that is ``stored``: the stored values, by
    name, a scenario by its own.

    Raises:
        RunError: the stored run is not of the kind that is asked for.
    """
    settings = KINDS[asked.kind].settings
    wanted, there = (
        {"scenario": config.scenario, "seed": config.seed, **settings(config).flat()}
        for config in (asked, stored)
    )
    return {
        key: getattr(value, "name", value) for key, value in there.items() if value != wanted[key]
    }


def draw(run: Run) -> None:
    """Write ``learning_curve.png`` of a run.

    Raises:
        RunError: it cannot be written.
    """
    config, kind = run.config, KINDS[run.config.kind]
    title = f"{kind.title} on {config.scenario.name}, seed {config.seed}"
    kept = run.training.result(run.rows)
    picture = learning_curve(run.rows, title, kind.axis, kept, config.scenario.unit)
    write_bytes(run.directory / LEARNING_CURVE, picture)
