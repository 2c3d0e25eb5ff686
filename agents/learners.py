"""The learners: one record each, with the facts and functions that other modules look up by name.

A record names functions as ``package.module:name`` and imports them when they are called. So every
module can import this one, and reading a title imports neither torch nor numba.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.storage.run_directory import RunConfig

Q_LEARNING, PPO = "q-learning", "ppo"
"""Names of the learners: on the command line, and the ``kind`` in ``config.json``."""


def attribute(reference: str) -> Any:
    """Import the module of ``module:name`` now, and return the attribute that is named."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Learner:
    """A learner.

    Attributes:
        title: name in figures and pages.
        unit: unit of the steps of a training.
        axis: label of the learning curve's x-axis.
        caveat: printed after the validation objective if those days also selected the policy.
        colour: colour of its curves and points (Okabe & Ito's palette).
        pattern: regular expression for names of its policies, any case, where only a name is known.
        loader: ``load(directory, config) -> LearnedPolicy``, as ``module:name``.
        reader: ``settings_of(config) -> RunSettings``, as ``module:name``.
        maker: ``training_of(config, directory) -> Training``, as ``module:name``.
    """

    title: str
    unit: str
    axis: str
    caveat: str
    colour: str
    pattern: str
    loader: str
    reader: str
    maker: str

    def load(self, directory: Path, config: RunConfig) -> Any:
        """Load the ``LearnedPolicy`` of a run directory.

        Raises:
            RunError: its files are missing or damaged.
        """
        return attribute(self.loader)(directory, config)

    def settings(self, config: RunConfig) -> Any:
        """Return the ``RunSettings`` in a ``config.json``.

        Raises:
            RunError: it is not a run of this learner.
        """
        return attribute(self.reader)(config)

    def training(self, config: RunConfig, directory: Path) -> Any:
        """Make the ``Training`` of a ``config.json`` and its directory, at its start.

        Raises:
            RunError: it is not a run of this learner.
        """
        return attribute(self.maker)(config, directory)


LEARNERS = {
    Q_LEARNING: Learner(
        title="Q-learning",
        unit="updates",
        axis="updates, million (dotted: a finer table from here on)",
        caveat="",
        colour="#0072B2",
        pattern=r".*\bq[-_ ]?(learn|table).*|q([-_ \d].*)?",
        loader="agents.q_learning.policy:load",
        reader="agents.q_learning.run:settings_of",
        maker="agents.q_learning.run:training_of",
    ),
    PPO: Learner(
        title="PPO",
        unit="environment steps",
        axis="environment steps, million",
        caveat=" (the best of all evaluations, so it flatters)",
        colour="#CC79A7",
        pattern=r".*ppo.*",
        loader="agents.ppo.policy:load",
        reader="agents.ppo.settings:settings_of",
        maker="agents.ppo.run:training_of",
    ),
}
"""The learners by name."""
