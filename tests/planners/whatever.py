"""A policy that does whatever."""

from __future__ import annotations

import numpy as np

from agents.policy import Lots, Observations, Policy, read_observations
from execution_env import Scenario


class Whatever(Policy):
    """Lots at random, postable or (then scaled down) more than that."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        super().__init__(scenario, "whatever")
        self.generator = np.random.default_rng(seed)

    def decide(self, observations: Observations) -> Lots:
        n, k = len(observations), len(self.scenario.algos)
        most = read_observations(self.scenario, observations).postable
        shares = self.generator.dirichlet(np.full(k, 0.3), n)
        wanted = self.generator.choice([0.3, 1.0, 1.5], n) * most
        return np.minimum(np.rint(shares * wanted[:, None]), self.scenario.lots).astype(np.int64)
