"""Proximal policy optimisation by Stable-Baselines3, on the native vector environment.

PPO (Schulman et al. 2017, Proximal policy optimization algorithms, arXiv:1707.06347) plays orders
with a random policy pi, a neural network. Then it makes actions that were better than expected more
probable, but limits how much pi changes at once:

    maximise  E min(rho A, clip(rho, 1 - c, 1 + c) A) + e H(pi),    rho = pi(a|s) / pi_before(a|s)

A is the advantage. It is estimated from the rewards that followed and from a second network that
learns the expected return (Schulman et al. 2016, High-dimensional continuous control using
generalized advantage estimation, arXiv:1506.02438, equation 16). H is the entropy.

With ``masked`` the algorithm is sb3-contrib's MaskablePPO. The policy then has only the actions
that differ from all earlier ones (Huang & Ontanon 2022, A closer look at invalid action masking in
policy gradient algorithms).

The algorithm is Stable-Baselines3's, unchanged. Its inputs are ours:

- the features that the networks see (``policy.features``);
- batches of whole orders, so that no advantage is cut off in the middle of an order;
- randomness that depends on the seed and the number of the batch alone, so that a training that
  was stopped goes on with the same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch.nn.utils import parameters_to_vector

from agents.ppo.policy import Layer, feature_count, features
from agents.ppo.settings import Hyperparameters
from agents.storage.files import unwritable
from execution_env import Scenario
from execution_env.allocation.market.day_stream import POLICY
from execution_env.sb3 import OrderAllocationVecEnv

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Names in torch of Adam's running means of gradients and of their squares."""

SEED_LIMIT = 2**32
"""Upper limit of the random seeds of torch and NumPy, not included."""

Vector = NDArray[np.float32]


class Seen(VecEnvWrapper):
    """The environment as the networks see it: observations are features, rewards are scaled.

    Rewards are in units of the dearest algo's cost, see ``cost_unit``, so that learning does not
    depend on the unit of costs. With shortfall costs, rewards of our own environment come without
    the drift of the lots that waited at a bucket's start. This drift has mean zero for every policy
    and is nearly all of the noise (see ``agents.q_learning.orders._without_waiting``).

    ``terminal_observation`` is left unchanged, because no order is ever truncated and so its value
    is never used.
    """

    def __init__(self, venv: VecEnv, scenario: Scenario, observation: str) -> None:
        self.scenario, self.observation = scenario, observation
        width = feature_count(scenario, observation)
        self._unit = np.float32(cost_unit(scenario))
        self._batch = None
        if scenario.shortfall and isinstance(venv, OrderAllocationVecEnv):
            self._batch = venv.envs.batch
        super().__init__(venv, gym.spaces.Box(-1.0, 1.0, (width,), np.float32))

    def reset(self) -> NDArray[np.float32]:
        """Return (n, F) features."""
        return self._features(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Return features (n, F), rewards (n,), dones (n,) and infos."""
        waiting = self._waiting()
        observations, rewards, dones, infos = self.venv.step_wait()
        return self._features(observations), (rewards + waiting) / self._unit, dones, infos

    def _waiting(self) -> Vector | np.float32:
        """Return (n,) the cost of the next bucket's move for the lots that remain before it."""
        if self._batch is None:
            return np.float32(0.0)
        orders, n = self._batch.orders, self._batch.count
        move = self._batch.days.move[orders.bucket, np.arange(n)]
        return (move * orders.remaining / self.scenario.lots).astype(np.float32)

    def _features(self, observations: Any) -> NDArray[np.float32]:
        return features(self.scenario, self.observation, observations)


def cost_unit(scenario: Scenario) -> float:
    """Return the cost per share that is one unit of reward.

    It is the dearest algo's cost, or the standard deviation of the mid's move in a bucket if that
    is larger. Where both are zero, it is the highest penalty.
    """
    moves = 0.0 if scenario.price is None else float(np.max(scenario.price.sd))
    costs = max(float(np.abs(scenario.posting_costs).max()), moves)
    penalties = scenario.penalties
    return costs or max(penalties.envelope, penalties.residual, penalties.residual_quadratic) or 1.0


class Learner:
    """PPO that learns from one batch of orders after the other.

    Args:
        scenario: scenario of the training days.
        seed: seed of everything random.
        observation: kind that the networks see, "minimal", "default" or "full".
        masked: whether the policy has only the actions that differ from all earlier ones.
        hyperparameters: all other settings, without zeros; see ``Hyperparameters.chosen``.
        log: folder for TensorBoard's files, made at the first write; None for no files.
        environment: vector environment of n_envs orders of the scenario, played instead of the
            native one. It draws its own days.

    Attributes:
        model: the Stable-Baselines3 model.

    Raises:
        ValueError: the scenario is too short for so many minibatches.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        observation: str,
        masked: bool,
        hyperparameters: Hyperparameters,
        log: Path | None = None,
        environment: VecEnv | None = None,
    ) -> None:
        self.scenario, self.seed, self._rate = scenario, seed, hyperparameters.learning_rate
        self._days_are_ours = environment is None
        envs = environment or OrderAllocationVecEnv(
            hyperparameters.n_envs, scenario=scenario, observation=observation, info="none"
        )
        self._steps = hyperparameters.n_envs * scenario.buckets
        with one_thread():
            set_random_seed(self._seeds(0)[0])  # for the networks' first weights
            self.model = _algorithm(masked)(
                "MlpPolicy",
                Seen(envs, scenario, observation),
                learning_rate=lambda _: self._rate,
                n_steps=scenario.buckets,
                batch_size=hyperparameters.batch_size(scenario),
                n_epochs=hyperparameters.n_epochs,
                gamma=hyperparameters.gamma,
                gae_lambda=hyperparameters.gae_lambda,
                clip_range=hyperparameters.clip_range,
                ent_coef=hyperparameters.ent_coef,
                vf_coef=hyperparameters.vf_coef,
                max_grad_norm=hyperparameters.max_grad_norm,
                stats_window_size=hyperparameters.n_envs,
                policy_kwargs={
                    "net_arch": [hyperparameters.width] * hyperparameters.layers,
                    "activation_fn": torch.nn.ReLU,
                },
                device="cpu",  # networks this small are slower on a GPU
            )
        self._log, self._log_is_open = log, False
        self.model.set_logger(Logger(None, []))

    def _seeds(self, number: int) -> tuple[int, int]:
        """Return two seeds for batch ``number``, from 1: for torch and NumPy, and for the days."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(POLICY, number))
        exploration, days = sequence.generate_state(2, np.uint64).tolist()
        return exploration % SEED_LIMIT, days

    def learn(self, number: int, learning_rate: float) -> dict[str, float]:
        """Play batch ``number``, from 1, and learn from it.

        Returns:
            Measurements of Stable-Baselines3: the policy's entropy, its approximate
            Kullback-Leibler divergence from the policy before, and the share of the returns'
            variance that the second network explains.

        Raises:
            RunError: TensorBoard's files cannot be written.
        """
        exploration, days = self._seeds(number)
        set_random_seed(exploration)
        self._rate = learning_rate
        self._open_log()
        model = self.model
        if self._days_are_ours:
            model.env.set_options({"training_seed": days})
        # For Stable-Baselines3 each batch is a whole training, which starts with a reset.
        with one_thread():
            model.learn(self._steps, log_interval=None)
        measured = dict(model.logger.name_to_value)
        returns = [episode["r"] for episode in model.ep_info_buffer]
        model.logger.record("rollout/ep_rew_mean", float(np.mean(returns)))
        self._write(number * self._steps)
        explained = float(measured["train/explained_variance"])
        return {
            "entropy": -float(measured["train/entropy_loss"]),
            "approx_kl": float(measured["train/approx_kl"]),
            # nan where all returns are the same: there is no variance to explain.
            "explained_variance": 0.0 if math.isnan(explained) else explained,
        }

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Write ``numbers`` to TensorBoard's files.

        Raises:
            RunError: they cannot be written.
        """
        self._open_log()
        for name, number in numbers.items():
            self.model.logger.record(name, number)
        self._write(step)

    def _open_log(self) -> None:
        if self._log is not None and not self._log_is_open:
            with self._log_errors():
                self.model.set_logger(configure(str(self._log), ["tensorboard"]))
            self._log_is_open = True

    def _write(self, step: int) -> None:
        with self._log_errors():
            self.model.logger.dump(step)

    @contextmanager
    def _log_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self._log or Path(), error) from error

    # State, as flat vectors. Setters copy into the existing memory, because the address of a matrix
    # decides in which order its products are summed.

    def parameters(self) -> Vector:
        """Return the (P,) weights of both networks."""
        vector: Vector = parameters_to_vector(self.model.policy.parameters()).detach().numpy()
        return vector.copy()

    def set_parameters(self, vector: Vector) -> None:
        """Overwrite all weights.

        Raises:
            ValueError: the number of weights differs.
        """
        parameters = list(self.model.policy.parameters())
        with torch.no_grad():
            for parameter, part in zip(parameters, self._parts(vector), strict=True):
                parameter.copy_(part)

    def moments(self) -> tuple[int, Vector, Vector]:
        """Return Adam's number of steps, and its (P,) means of gradients and of their squares."""
        states = [self._adam.state[parameter] for parameter in self.model.policy.parameters()]
        if not all(states):
            return 0, np.zeros_like(self.parameters()), np.zeros_like(self.parameters())
        first, second = (
            parameters_to_vector([state[name] for state in states]).numpy().copy()
            for name in MOMENTS
        )
        return int(states[0]["step"]), first, second

    def set_moments(self, steps: int, first: Vector, second: Vector) -> None:
        """Overwrite Adam's number of steps and means.

        Raises:
            ValueError: the number of weights differs.
        """
        parameters = list(self.model.policy.parameters())
        parts = [self._parts(vector) for vector in (first, second)]
        for parameter, *moments in zip(parameters, *parts, strict=True):
            copies = {name: part.clone() for name, part in zip(MOMENTS, moments, strict=True)}
            self._adam.state[parameter] = {"step": torch.tensor(float(steps)), **copies}

    @property
    def _adam(self) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = self.model.policy.optimizer
        return optimizer

    def _parts(self, vector: Vector) -> list[torch.Tensor]:
        """Return views of ``vector`` in the shapes of the weights."""
        parameters = list(self.model.policy.parameters())
        sizes = [parameter.numel() for parameter in parameters]
        if vector.shape != (sum(sizes),):
            raise ValueError(f"{vector.size} weights: these networks have {sum(sizes)}.")
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        return [torch.from_numpy(p).view_as(of) for p, of in zip(parts, parameters, strict=True)]

    def layers(self) -> list[Layer]:
        """Return copies of the policy network's layers."""
        network = [*self.model.policy.mlp_extractor.policy_net, self.model.policy.action_net]
        return [
            Layer(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy())
            for layer in network
            if isinstance(layer, torch.nn.Linear)
        ]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread.

    Networks this small gain nothing from more threads, and lose a lot where other processes use the
    cores. More threads also sum in another order, so results would depend on the machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _algorithm(masked: bool) -> Any:
    if not masked:
        return PPO
    from sb3_contrib import MaskablePPO  # noqa: PLC0415  wanted by few

    return MaskablePPO
