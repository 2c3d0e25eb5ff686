"""Settings of a training of PPO, in a module that does not import torch, which takes seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, Literal

from agents.learners import PPO
from agents.ppo.policy import MOST_LAYERS
from agents.storage.run_directory import RunConfig, new_config
from agents.training.training import RunSettings, settings_from
from execution_env import Scenario

MOST_TIMESTEPS = 10**12

MINIBATCH = 1280
"""Default number of environment steps in a minibatch, approximately. In tuning, smaller minibatches
were no better and slower; minibatches four times as large were worse."""

LARGEST = 1e9
"""Largest value of a hyperparameter. Torch computes in single precision, and refuses numbers that
do not fit."""


@dataclass(frozen=True)
class Hyperparameters:
    """What PPO leaves open; named as in Stable-Baselines3 where that has it. The defaults were found on
    validation stream 1, see docs/ppo-tuning.md.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    learning_rate: float = 3e-3
    """Step size of Adam at the start; it falls in proportion to what is left of the training."""
    n_envs: int = 0
    """Orders in a batch, played side by side from their first bucket to their last; 0 for as many as
    suit the timesteps: 1,024 for a million of baseline, 4,096 for ten million."""
    minibatches: int = 0
    """Parts that a batch is learned from in; must divide the orders in a batch. 0 for parts of about
    1,280 steps."""
    n_epochs: int = 4
    """Times that a batch is learned from."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation, in [0, 1]; 1 takes all rewards that followed."""
    gamma: float = 1.0
    """What a reward one bucket later is worth; in [0, 1]."""
    clip_range: float = 0.2
    """Most change of a probability that is still rewarded, as a share; above 0."""
    ent_coef: float = 0.0
    """Weight of the entropy; at least 0."""
    vf_coef: float = 0.5
    """Weight of the error of the expected return; at least 0."""
    max_grad_norm: float = 0.5
    """Longest gradient; longer ones are shortened to this."""
    width: int = 64
    """Neurons in a hidden layer."""
    layers: int = 2
    """Hidden layers of each of the two networks."""

    def __post_init__(self) -> None:
        self._check_whole("n_envs", 0, 2**20)
        self._check_whole("minibatches", 0, 2**20)
        self._check_whole("n_epochs", 1, 1000)
        self._check_whole("width", 1, 4096)
        self._check_whole("layers", 0, MOST_LAYERS - 1)
        right = f"must divide n_envs = {self.n_envs}"
        fits = not self.n_envs or not self.minibatches or self.n_envs % self.minibatches == 0
        self._check("minibatches", right, fits)
        for name in ("learning_rate", "clip_range", "max_grad_norm"):
            self._check_number(name, f"in (0, {LARGEST:g}]", lambda number: number > 0)
        for name in ("ent_coef", "vf_coef"):
            self._check_number(name, f"in [0, {LARGEST:g}]", lambda number: number >= 0)
        for name in ("gae_lambda", "gamma"):
            self._check_number(name, "in [0, 1]", lambda number: 0 <= number <= 1)

    def chosen(self, scenario: Scenario, timesteps: int) -> Hyperparameters:
        """Return these hyperparameters with numbers for the zeros.

        Larger batches have less noisy gradients, but there are fewer of them. So the batch size
        grows with the square root of the number of timesteps. In tuning (docs/ppo-tuning.md), for a
        million steps of ``baseline`` neither 512 nor 2,048 orders were better than 1,024. For ten
        million steps 4,096 orders were better than 1,024.

        Raises:
            ValueError: ``minibatches`` does not divide the batch.
        """
        orders = timesteps / scenario.buckets
        n_envs = self.n_envs
        if not n_envs:
            suiting = 1024 * math.sqrt(orders / 100_000)
            n_envs = 2 ** min(max(round(math.log2(suiting)), 6), 12)
        most = max(round(n_envs * scenario.buckets / MINIBATCH), 1)
        parts = [part for part in range(1, min(most, n_envs) + 1) if n_envs % part == 0]
        return replace(self, n_envs=n_envs, minibatches=self.minibatches or parts[-1])

    def batch_size(self, scenario: Scenario) -> int:
        """Return the number of environment steps in a minibatch.

        Raises:
            ValueError: there is only one step, so that advantages cannot be compared.
        """
        size = self.n_envs * scenario.buckets // self.minibatches
        right = f"leaves one step a minibatch; give more n_envs than {self.n_envs}"
        self._check("minibatches", right, size > 1)
        return size

    def _check_whole(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        right = f"must be a whole number from {least} to {most}"
        self._check(name, right, whole and least <= value <= most)

    def _check_number(self, name: str, right: str, fits: Any) -> None:
        value = getattr(self, name)
        number = isinstance(value, Real) and not isinstance(value, bool)
        fits_all = number and value <= LARGEST and fits(value)  # nan fails
        self._check(name, f"must be a number {right}", fits_all)

    def _check(self, name: str, right: str, holds: bool) -> None:
        if not holds:
            raise ValueError(f"{name} = {getattr(self, name)}: {right}.")


@dataclass(frozen=True)
class Settings(RunSettings):
    """Settings of a training run besides scenario and seed.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    timesteps: int = 10_000_000
    observation: Literal["minimal", "default", "full"] = "default"
    masked: bool = False
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)

    def __post_init__(self) -> None:
        if not (isinstance(self.timesteps, int) and 1 <= self.timesteps <= MOST_TIMESTEPS):
            raise ValueError(
                f"timesteps = {self.timesteps}: must be a whole number from 1 to {MOST_TIMESTEPS:,}."
            )
        if self.observation not in ("minimal", "default", "full"):
            raise ValueError(f"observation = {self.observation}: must be minimal, default or full.")
        if not isinstance(self.masked, bool):
            raise ValueError(f"masked = {self.masked}: must be true or false.")

    def chosen(self, scenario: Scenario) -> Settings:
        """Return these settings with numbers for the zeros; see ``Hyperparameters.chosen``.

        Raises:
            ValueError: the minibatches do not suit the batch.
        """
        hyperparameters = self.hyperparameters.chosen(scenario, self.timesteps)
        hyperparameters.batch_size(scenario)
        return replace(self, hyperparameters=hyperparameters)

    def orders(self, scenario: Scenario) -> int:
        """Return the number of orders in a batch."""
        return self.chosen(scenario).hyperparameters.n_envs

    def blocks(self, scenario: Scenario) -> int:
        """Return the number of batches of the whole training."""
        return math.ceil(self.timesteps / (self.orders(scenario) * scenario.buckets))


def config_of(scenario: Scenario, seed: int, settings: Settings) -> RunConfig:
    """Return the configuration of a new run, for ``config.json``.

    Raises:
        ValueError: the minibatches do not suit the batch.
    """
    return new_config(PPO, scenario, seed, settings.chosen(scenario).flat())


def settings_of(config: RunConfig) -> Settings:
    """Return the settings in ``config.json``.

    Raises:
        RunError: it is not a run of PPO, or its settings are wrong.
    """

    def make(timesteps: Any, observation: Any, masked: Any, **rest: Any) -> Settings:
        return Settings(timesteps, observation, masked, Hyperparameters(**rest))

    return settings_from(config, PPO, make)
