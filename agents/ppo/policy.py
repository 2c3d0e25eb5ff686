"""The policy that PPO learned: the features of its network, its weights, and their file.

The network is small and evaluated in NumPy. So a run directory is loaded without torch, and nothing
in it is unpickled or run. In double precision an order gets the same action alone and in a batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.learners import PPO
from agents.policy import (
    Floats,
    Judgement,
    LearnedPolicy,
    Observations,
    read_masks,
    read_state,
    widths,
)
from agents.storage.files import RunError, load_arrays, remedy, save_arrays
from agents.storage.run_directory import POLICY_FILE, RunConfig
from execution_env import Scenario
from execution_env.allocation.market.day_stream import POLICY, stream_generator
from execution_env.core.archive import Field

MOST_LAYERS = 16

MOST_WEIGHT = 1e6
"""Largest weight of a network, in absolute value. Trained ones stay below 100; far larger ones make
numbers that are not finite."""

WEIGHTS = Field(np.float32, low=-MOST_WEIGHT, high=MOST_WEIGHT)


class Layer(NamedTuple):
    """Layer x -> W x + b of a network; max(., 0) follows every layer but the last.

    Attributes:
        weights: W, (outputs, inputs).
        biases: b, (outputs,).
    """

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]


def feature_count(scenario: Scenario, observation: str) -> int:
    """Return F, the number of features of an observation of kind ``observation``."""
    return widths(scenario)[observation] + scenario.buckets


def features(
    scenario: Scenario, observation: str, observations: Observations
) -> NDArray[np.float32]:
    """Return the (n, F) features that the network sees.

    They are the columns of ``observation``, scaled from [0, 1] to [-1, 1], and for every bucket 1
    if it is about to be decided, else 0. The best action changes abruptly from one bucket to the
    next, most of all before the last. With the time as a number only, networks need longer to learn
    that (docs/ppo-tuning.md).

    Args:
        scenario: scenario of the observations.
        observation: kind of observation, "minimal", "default" or "full".
        observations: (n, D) observations of that kind, or with more columns. An order that is over
            has no bucket about to be decided.
    """
    buckets, _ = read_state(scenario, observations)
    seen = 2 * observations[:, : widths(scenario)[observation]] - 1
    which = np.eye(scenario.buckets + 1, scenario.buckets, dtype=np.float32)[buckets]
    return np.concatenate([seen, which], axis=1, dtype=np.float32)


class PPOPolicy(LearnedPolicy):
    """Policy that takes the action that the network finds most probable.

    Args:
        scenario: the scenario to play.
        layers: layers of the network, from F features to A logits.
        sees: kind of observation that the network gets: "minimal", "default" or "full".
        masked: whether only actions that differ from all earlier ones are taken. Then the policy
            reads "full" observations, because those tell how many lots may be posted.
        name: name in tables.
        seconds, steps: training time and steps.
        seed: seed of the actions drawn with ``deterministic=False``; None for other actions at
            every run.
    """

    def __init__(
        self,
        scenario: Scenario,
        layers: list[Layer],
        sees: str,
        masked: bool = False,
        name: str = PPO,
        seconds: float | None = None,
        steps: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(scenario, name)
        self.layers, self.sees, self.masked = layers, sees, masked
        self.observation = "full" if masked else sees
        self.train_seconds, self.train_steps = seconds, steps
        self._layers = [(layer.weights.T.astype(np.float64), layer.biases) for layer in layers]
        self._generator = stream_generator(seed, POLICY)

    def logits(self, observations: Observations) -> Floats:
        """Return (n, A) log-probabilities of the actions, up to a constant; -inf where masked."""
        numbers: Floats = features(self.scenario, self.sees, observations).astype(np.float64)
        for weights, biases in self._layers[:-1]:
            numbers = np.maximum(numbers @ weights + biases, 0.0)
        weights, biases = self._layers[-1]
        numbers = numbers @ weights + biases
        if self.masked:
            numbers[read_masks(self.scenario, observations) == 0] = -np.inf
        return numbers

    def actions(self, observations: Observations) -> NDArray[np.int64]:
        """Return (n,) most probable actions; see ``GridPolicy``."""
        actions: NDArray[np.int64] = np.argmax(self.logits(observations), axis=1)
        return actions

    def judge(self, observations: Observations) -> Judgement:
        """(n, A) probabilities of the actions; see ``LearnedPolicy``."""
        logits = self.logits(observations)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Judgement(probability=odds / odds.sum(axis=1, keepdims=True))

    def _act(self, observations: Observations, deterministic: bool) -> NDArray[np.int64]:
        if deterministic:
            return self.actions(observations)
        # The largest of logits plus Gumbel noise is distributed as the policy says.
        logits = self.logits(observations)
        noise = self._generator.gumbel(size=logits.shape)
        actions: NDArray[np.int64] = np.argmax(logits + noise, axis=1)
        return actions

    def save(self, directory: Path) -> None:
        """Write ``policy.npz``.

        Raises:
            RunError: it cannot be written, or a weight is not finite.
        """
        arrays = {
            f"{name}_{j}": array
            for j, layer in enumerate(self.layers)
            for name, array in layer._asdict().items()
        }
        save_arrays(
            directory / POLICY_FILE,
            seconds=np.float64(self.train_seconds or 0.0),
            steps=np.int64(self.train_steps or 0),
            **arrays,
        )


def load(directory: Path, config: RunConfig) -> PPOPolicy:
    """Load the policy of a run directory. No code of its files is run.

    Raises:
        RunError: a file is missing or damaged, or does not fit the run's scenario.
    """
    scenario, values = config.scenario, config.hyperparameters
    sees, masked, layers = (values.get(name) for name in ("observation", "masked", "layers"))
    if (
        not (isinstance(sees, str) and sees in widths(scenario))
        or not isinstance(masked, bool)
        or not (isinstance(layers, int) and 0 <= layers < MOST_LAYERS)
    ):
        raise RunError(
            f"{directory}: config.json has observation = {sees}, masked = {masked}, layers = {layers}, "
            f"which no {PPO} run has. {remedy(directory)}"
        )
    fields = {"seconds": Field(np.float64, low=0.0), "steps": Field(np.int64, low=0)}
    for j in range(layers + 1):
        fields[f"weights_{j}"] = WEIGHTS._replace(axes=(f"width {j + 1}", f"width {j}"))
        fields[f"biases_{j}"] = WEIGHTS._replace(axes=(f"width {j + 1}",))
    ends = {"width 0": feature_count(scenario, sees), f"width {layers + 1}": scenario.grid_size}
    arrays = load_arrays(directory / POLICY_FILE, fields, ends)
    network = [Layer(arrays[f"weights_{j}"], arrays[f"biases_{j}"]) for j in range(layers + 1)]
    seconds, steps = float(arrays["seconds"]), int(arrays["steps"])
    return PPOPolicy(scenario, network, sees, masked, directory.name, seconds, steps)
