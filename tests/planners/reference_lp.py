"""The linear programme, written out for SciPy."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.optimize import linprog

from agents.lp.model import CHORDS
from agents.lp.variants import LinearProgramme
from agents.policy import read_observations
from agents.rollouts.allocation import play
from execution_env import OrderAllocationEnv, load_scenario
from execution_env.allocation.market.day_stream import (
    VALIDATION,
    DayStream,
)


def full_env(scenario):
    return OrderAllocationEnv(scenario, observation="full", action="lots")


def first_observation(scenario):
    return full_env(scenario).reset(seed=0)[0]


@cache
def observations_of(name, days):
    scenario = load_scenario(name)
    policy = Recorder(scenario)
    play(policy, scenario, DayStream(scenario, 1, VALIDATION).draw(days))
    return np.concatenate(policy.shown)


# The same programme, written for another solver: cumulative fills instead of their envelope parts.


class Reference:
    """Dense matrices over [x, below, above, residual], in lots."""

    def __init__(self, scenario, observation, at_most_remaining=True):
        seen = read_observations(scenario, observation[None])
        self.scenario, self.n = scenario, scenario.lots
        self.bucket, self.postable = int(seen.bucket[0]), int(seen.postable[0])
        self.filled = self.n - int(seen.remaining[0])
        predictions = scenario.predictions
        self.r, self.k = len(predictions) - self.bucket, predictions.shape[1]
        now = predictions[self.bucket]
        multiplier = np.array(
            [
                e / np.float32(f) if f > 0 else 1.0
                for e, f in zip(seen.estimates[0], now, strict=True)
            ]
        )
        self.fills = np.clip(multiplier * predictions[self.bucket :], 0, 1)
        lower, upper = scenario.envelope_bounds
        self.lower, self.upper = self.n * lower[self.bucket :], self.n * upper[self.bucket :]
        self.hard_edge = self.upper.copy()
        self.lower[0], self.upper[0] = seen.lower[0], seen.upper[0]
        self.columns = self.r * self.k + 2 * (self.r - 1) + CHORDS
        self.rows, self.bounds = [], []
        self.at_most_remaining = at_most_remaining
        self.build()

    def fill_row(self, until):
        """Fills of the first ``until`` buckets."""
        row = np.zeros(self.columns)
        row[: until * self.k] = self.fills[:until].ravel()
        return row

    def post_row(self, j):
        row = np.zeros(self.columns)
        row[j * self.k : (j + 1) * self.k] = 1
        return row

    def at_most(self, row, bound):
        if np.isfinite(bound):
            self.rows.append(row)
            self.bounds.append(bound)

    def build(self):
        self.at_most(self.post_row(0), self.postable)
        slack = self.r * self.k
        for j in range(self.r - 1):
            below, above = self.fill_row(j + 1), self.fill_row(j + 1)
            below[slack + j], above[slack + self.r - 1 + j] = 1, -1
            self.at_most(-below, self.filled - self.lower[j])
            self.at_most(above, self.upper[j] - self.filled)
        room = self.filled + self.postable
        for j in range(1, self.r):
            room = max(room, self.total(j))
            self.at_most(self.post_row(j) + self.fill_row(j), room - self.filled)
            self.limit_bucket(j)

    def total(self, j):
        """Most that may be filled before bucket j and posted in it."""
        scenario, k = self.scenario, self.bucket + j
        total = self.n if self.at_most_remaining else np.inf
        if scenario.envelope.upper_mode == "hard":
            total = min(total, np.floor(self.hard_edge[j] + 1e-6))
        limit = scenario.participation
        if limit is None or limit.max_rate is None:
            return total
        if limit.window is not None and limit.window < scenario.buckets:
            return total
        rate = limit.max_rate / scenario.order.lot_size
        volume = scenario.expected_volume
        most = scenario.lots
        if limit.max_posted is not None:
            most = limit.max_posted // scenario.order.lot_size
        allowed = self.filled + self.postable
        other = min(self.n - self.filled, most)
        if scenario.envelope.upper_mode == "hard":
            other = min(other, np.floor(self.upper[0] + 1e-4) - self.filled)
        if self.postable >= other:
            allowed = max(allowed, rate * volume[: self.bucket + 1].sum())
        more = rate * volume[self.bucket + 1 : k + 1].sum()
        return min(total, np.floor(allowed + more + 1e-6))

    def limit_bucket(self, j):
        scenario, k = self.scenario, self.bucket + j
        limit = scenario.participation
        if limit is None:
            return
        if limit.max_posted is not None:
            self.at_most(self.post_row(j), limit.max_posted // scenario.order.lot_size)
        if limit.max_rate is None or (limit.window or 10**9) >= scenario.buckets:
            return
        volume = scenario.expected_volume
        oldest = max(0, k + 1 - limit.window)
        rate = limit.max_rate / scenario.order.lot_size
        allowed = np.floor(rate * volume[oldest : k + 1].sum() + 1e-6)
        known = self.fill_row(j) - self.fill_row(max(0, oldest - self.bucket))
        past = 0.0
        if volume[: self.bucket].sum() > 0:
            past = self.filled * volume[oldest : self.bucket].sum() / volume[: self.bucket].sum()
        self.at_most(self.post_row(j) + known, max(allowed - past, 0.0))

    def arguments(self):
        """Of ``linprog``."""
        scenario, penalties = self.scenario, self.scenario.penalties
        costs = self.prices()
        if scenario.costs.basis != "posted":
            costs = costs * self.fills
        edges = np.arange(CHORDS + 1) / CHORDS * self.n
        price = penalties.residual * edges + penalties.residual_quadratic * edges**2 / self.n
        cost = np.concatenate(
            [
                costs.ravel(),
                np.full(2 * (self.r - 1), penalties.envelope),
                np.diff(price) / np.diff(edges),
            ]
        )
        complete = self.fill_row(self.r)
        complete[-CHORDS:] = 1
        most = [(0, None)] * (self.columns - CHORDS) + [(0, self.n / CHORDS)] * CHORDS
        tolerance = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
        return {
            "c": cost,
            "A_ub": np.array(self.rows),
            "b_ub": self.bounds,
            "A_eq": complete[None],
            "b_eq": [self.n - self.filled],
            "bounds": most,
            "method": "highs",
            "options": tolerance,
        }

    def prices(self):
        return self.scenario.posting_costs[self.bucket :]

    def objective(self):
        found = linprog(**self.arguments())
        assert found.success, found.message
        return found.fun / self.n


class Recorder(LinearProgramme):
    """Remembers what it was shown."""

    def decide(self, observations):
        self.shown = [*getattr(self, "shown", []), observations.copy()]
        return super().decide(observations)
