"""The Q-learner as a plain Python loop on the environment."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from agents.q_learning import orders as q_training
from agents.q_learning.algorithm import Hyperparameters, Table
from agents.q_learning.states import without_estimates
from execution_env import DayStream, Scenario
from execution_env.allocation.batch import Batch
from execution_env.allocation.market.day_stream import POLICY, TRAINING, stream_generator


class PlainLearner:
    """Tabular Q-learning with Python's numbers; tables are dictionaries of float32 values.

    Nothing of the package's learning code is used. What is: days and transitions (those of the
    environment) and the edges between bins, which are given.
    """

    def __init__(self, scenario: Scenario, seed: int, block: int, h: Hyperparameters) -> None:
        self.scenario, self.h, self.block_size = scenario, h, block
        self.days = DayStream(scenario, seed, TRAINING)
        self.exploration = stream_generator(seed, POLICY)
        self.batch = Batch(scenario, 1, "grid", "full", informs=True)
        self.tables: list[dict[tuple[int, int], np.float32]] = [{}, {}] if h.double else [{}]
        self.visits: list[dict[tuple[int, int], int]] = [{} for _ in self.tables]
        # Given, like the edges: powers differ in their last bit between libraries.
        self.steps = h.step_sizes().tolist()
        self.start = F(0)
        self.space = without_estimates(scenario)

    def q(self, table: int, state: int, action: int) -> np.float32:
        return self.tables[table].get((state, action), self.start)

    def state(self, observation: np.ndarray) -> int:
        """Bucket, level and bins, the last algo's bin running fastest."""
        n, buckets = self.scenario.lots, self.scenario.buckets
        remaining = round(float(observation[0]) * n)
        bucket = buckets - round(float(observation[1]) * buckets)
        level = math.ceil(remaining * (self.space.levels - 1) / n - 1e-9)
        state = bucket * self.space.levels + level
        for i, bins in enumerate(self.space.bins.tolist()):
            edges = self.space.edges[bucket, i, : bins - 1].tolist()
            state = state * bins + sum(edge <= float(observation[2 + i]) for edge in edges)
        return state

    def choose(self, state: int, allowed: list[int], epsilon: float, uniform: float) -> int:
        if uniform < epsilon:
            return allowed[min(math.floor(uniform / epsilon * len(allowed)), len(allowed) - 1)]
        sums = []
        for action in allowed:
            total = self.q(0, state, action)
            if self.h.double:
                total = F(total + self.q(1, state, action))
            sums.append(float(total))
        return allowed[sums.index(max(sums))]

    def play(self, d: int, days: Any, epsilon: float, uniforms: list[float]) -> list[Any]:
        """Day ``d``, per bucket: state, action, reward, next state, what is allowed there, and whether
        the next action is greedy.
        """
        batch = self.batch
        batch.days.put(0, [array[..., d] for array in days])
        report = batch.advance(batch.no_actions, batch.everyone, batch.nobody)
        steps = []
        for b, uniform in enumerate(uniforms):
            state, allowed = self.state(report.observations[0]), np.flatnonzero(report.masks[0])
            action = self.choose(state, allowed.tolist(), epsilon, uniform)
            report = batch.advance(np.array([[action]]), batch.nobody, batch.everyone)
            following = None if report.terminations[0] else self.state(report.observations[0])
            after = np.flatnonzero(report.masks[0]).tolist()
            greedy = following is not None and uniforms[b + 1] >= epsilon
            steps.append((state, action, float(report.rewards[0]), following, after, greedy))
        return steps

    def target(
        self,
        table: int,
        reward: float,
        following: int | None,
        allowed: list[int],
        greedy: bool,
        next_return: float,
    ) -> float:
        if following is None:
            return reward
        own = [float(self.q(table, following, action)) for action in allowed]
        best = allowed[own.index(max(own))]
        judge = 1 - table if self.h.double else table
        expected = float(self.q(judge, following, best))
        if greedy and self.h.trace == 1:
            expected = next_return
        elif greedy:
            expected += self.h.trace * (next_return - expected)
        return reward + self.h.discount * expected

    def learn(self, table: int, state: int, action: int, target: float) -> None:
        pair = (state, action)
        n = self.visits[table].get(pair, 0) + 1
        self.visits[table][pair] = n
        step = self.steps[min(n, len(self.steps)) - 1]
        old = float(self.q(table, state, action))
        self.tables[table][pair] = F(old + step * (target - old))

    def block(self, epsilon: float) -> None:
        days = self.days.draw(self.block_size)
        for _ in range(q_training.REPLAYS):
            self.replay(days, epsilon)

    def replay(self, days: Any, epsilon: float) -> None:
        buckets, size = self.scenario.buckets, self.block_size
        uniforms = [[self.exploration.random() for _ in range(size)] for _ in range(buckets)]
        episodes = [self.play(d, days, epsilon, [row[d] for row in uniforms]) for d in range(size)]
        returns = [0.0] * size
        for b in reversed(range(buckets)):
            coins = [0] * size
            if self.h.double:
                coins = [int(self.exploration.random() * 2) for _ in coins]
            returns = [
                self.target(coin, *episode[b][2:], next_return)
                for coin, episode, next_return in zip(coins, episodes, returns, strict=True)
            ]
            for coin, episode, target in zip(coins, episodes, returns, strict=True):
                self.learn(coin, *episode[b][:2], target)

    def table(self) -> Table:
        """As the compiled loop has it."""
        table = Table.start(
            len(self.tables), self.space.size, self.scenario.grid_size, float(self.start)
        )
        for t, (values, visits) in enumerate(zip(self.tables, self.visits, strict=True)):
            for pair, value in values.items():
                table.values[t, *pair] = value
            for pair, count in visits.items():
                table.visits[t, *pair] = count
        return table


F = np.float32
