"""One order, straight from the model's description: slow, plain, independent of the package's code.

The differential tests hold the compiled transition against it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from execution_env import Days, Scenario
from execution_env.allocation.estimation import prior_of_estimates

TOLERANCE = 1e-6


class ReferenceOrder:
    """An order of ``scenario`` on day ``d`` of ``days``."""

    def __init__(self, scenario: Scenario, days: Days, d: int = 0) -> None:
        self.scenario = scenario
        self.rates = days.fill_rate[:, :, d].astype(np.float64)
        self.rounding = days.rounding[:, :, d].astype(np.float64)
        self.volume = days.volume[:, d]
        self.f, self.c = scenario.predictions, scenario.posting_costs
        self.weights, self.icc = prior_of_estimates(scenario)
        self.n, self.b = scenario.lots, 0
        self.remaining = self.n
        self.fills: list[int] = []
        self.S = np.zeros(len(scenario.algos))
        self.T = np.zeros(len(scenario.algos))
        self.m = np.ones(len(scenario.algos))
        self.violation = 0.0

    def bounds(self) -> tuple[float, float]:
        """The envelope of the current bucket, in lots."""
        envelope = self.scenario.envelope
        if not envelope.track_volume:
            lower, upper = self.scenario.envelope_bounds
            return lower[self.b] * self.n, upper[self.b] * self.n
        expected = self.scenario.expected_volume
        so_far = self.volume[: self.b].sum()
        middle = (so_far + expected[self.b]) / (so_far + expected[self.b :].sum())
        assert envelope.band is not None
        return max(middle - envelope.band, 0) * self.n, min(middle + envelope.band, 1) * self.n

    def postable(self) -> int:
        """Most lots that may be posted now."""
        if self.b == self.scenario.buckets:
            return 0
        most = float(self.remaining)
        limits = self.scenario.participation
        lot = self.scenario.order.lot_size
        if limits is not None and limits.max_posted is not None:
            most = min(most, limits.max_posted // lot)
        if limits is not None and limits.max_rate is not None:
            first = 0 if limits.window is None else max(0, self.b + 1 - limits.window)
            volume = self.volume[first : self.b].sum() + self.scenario.expected_volume[self.b]
            ours = sum(self.fills[first:])
            most = min(most, math.floor(limits.max_rate * volume / lot + TOLERANCE) - ours)
        if self.scenario.envelope.upper_mode == "hard":
            room = math.floor(self.bounds()[1] + TOLERANCE) - (self.n - self.remaining)
            most = min(most, room)
        return max(0, int(most))

    def estimates(self) -> np.ndarray:
        """(K,) expected fill rates of the current bucket."""
        b = min(self.b, self.scenario.buckets - 1)
        return np.clip(self.m * self.f[b], 0, 1)

    def step(self, posted: np.ndarray) -> dict[str, Any]:
        """Play a bucket; returns what ``info`` should say."""
        b, scenario = self.b, self.scenario
        filled = np.array(
            [
                min(math.floor(x * self.rates[b, i] + self.rounding[b, i]), x)
                for i, x in enumerate(posted.tolist())
            ]
        )
        charged = filled if scenario.costs.basis == "filled" else posted
        lower, upper = self.bounds()
        self.remaining -= int(filled.sum())
        self.fills.append(int(filled.sum()))
        self._learn(posted, filled)
        done = self.n - self.remaining
        last = b + 1 == scenario.buckets
        outside = 0.0 if last else max(lower - done, done - upper, 0.0)
        outside = 0.0 if outside <= TOLERANCE else outside
        left = self.remaining / self.n if last else 0.0
        penalties = scenario.penalties
        self.violation += outside / self.n + left
        self.b += 1
        return {
            "lots_posted": posted,
            "lots_filled": filled,
            "remaining_lots": self.remaining,
            "posting_cost": float((self.c[b] * charged).sum()) / self.n,
            "envelope_penalty": penalties.envelope * outside / self.n,
            "residual_penalty": penalties.residual * left + penalties.residual_quadratic * left**2,
            "cost": outside / self.n + left,
            "cost_envelope": outside / self.n,
            "cost_residual": left,
            "cost_sum": self.violation,
            "estimates": self.estimates(),
        }

    def _learn(self, posted: np.ndarray, filled: np.ndarray) -> None:
        memory, ewma = self.scenario.estimator.memory, self.scenario.estimator.kind == "ewma"
        for i, (x, y) in enumerate(zip(posted.tolist(), filled.tolist(), strict=True)):
            expected = x * self.f[self.b, i]
            if not expected > 0:
                continue
            k = 1 / (1 + (x - 1) * self.icc[i])
            self.S[i] = memory * self.S[i] + k * y
            self.T[i] = memory * self.T[i] + k * expected
            if ewma:
                self.m[i] = memory * self.m[i] + (1 - memory) * y / expected
            elif np.isfinite(self.weights[i]):
                self.m[i] = (self.weights[i] + self.S[i]) / (self.weights[i] + self.T[i])
