"""Days: everything the market does during an order, drawn before it starts.

A day does not depend on what is posted. That gives common random numbers for paired comparison,
hindsight bounds, replay of real days, and speed. With a_b,i, sigma and loading from the scenario,

    logit F[b, i] = a[b, i] + p_i + day_i + loading_i z_b + bucket_sd_i e[b, i]
    z_b = rho z_{b-1} + sqrt(1 - rho^2) sd xi_b,        z_0 ~ N(0, sd^2)
    log V[b] = log expected[b] + sd_V g_b - sd_V^2 / 2

day_i ~ N(0, day_sd_i^2) holds all day; e and xi are standard normal, g too, AR(1) over buckets; the
intercepts a make E F[b, i] the prediction f[b, i]. p_i ~ N(0, prediction_sd_i^2) is what the order's own
prediction, E[F | p], knows better. Where depth decides, F = 1 and D is as ``depth`` has it, its latent
y_i = loading_i z_b / sd + sqrt(1 - loading_i^2) e[b, i]. With shortfall costs the mid moves by

    M[b] = sd_M (r xi_b + sqrt(1 - r^2) h_b),        h standard normal.

Streams. ``SeedSequence(seed, spawn_key=(purpose,))`` starts a stream of days; day number ``seed`` of
the evaluation is the first of its own stream. A scenario with a [replay] section has its numbered days
from the file's test split, and training and validation days drawn with replacement from its train
split; what a policy imagines (purpose POLICY) is still drawn from the model.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from execution_env.allocation.market.days import Days
from execution_env.allocation.market.days_file import replayed
from execution_env.allocation.market.drawing import draw
from execution_env.allocation.market.model import market_model
from execution_env.allocation.scenario import Scenario
from execution_env.core.validation import natural

NUMBERED, TRAINING, VALIDATION, POLICY = 0, 1, 2, 3
"""Purposes of a stream, as spawn keys: numbered days, training, validation and tuning, and a
policy's own randomness. Spawn keys, because a list of integers is no safe name: SeedSequence(5)
equals SeedSequence((5, 0))."""


class DayStream:
    """An endless sequence of days.

    Args:
        scenario: what to draw.
        seed: non-negative integer, or None for fresh entropy.
        purpose: ``NUMBERED``, ``TRAINING``, ``VALIDATION`` or ``POLICY``.

    The same draws in the same order give the same days; other portions give other days.
    """

    def __init__(self, scenario: Scenario, seed: int | None, purpose: int = TRAINING) -> None:
        self._scenario, self._model = scenario, market_model(scenario)
        self.generator = stream_generator(seed, purpose)
        self._file = None
        if scenario.replay is not None and purpose != POLICY:
            self._file = replayed(scenario, scenario.replay.train)

    def draw(self, count: int) -> Days:
        """The next ``count`` days."""
        days = Days.of(self._scenario, count)
        self.draw_into(days)
        return days

    def draw_into(self, days: Days) -> None:
        """Overwrite all of ``days`` with the next ones; faster than new memory."""
        if self._file is not None:
            days.put(
                slice(None),
                self._file.pick(self.generator.integers(self._file.size, size=days.size)),
            )
        else:
            draw(self.generator, 0, days.size, self._model, days)


def stream_generator(seed: int | None, purpose: int) -> np.random.Generator:
    """The generator of a stream.

    SFC64 is NumPy's fastest bit generator and passes the same test batteries as PCG64.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(purpose,))))


def numbered_days(scenario: Scenario, seeds: Iterable[int]) -> Days:
    """The days that ``env.reset(seed=seed)`` plays, for every seed in order.

    Raises:
        ValueError: a seed is not a non-negative integer.
        ScenarioError: replayed days cannot be read, or do not fit the scenario.
    """
    seeds = [natural("seed", seed) for seed in seeds]
    if scenario.replay is not None:
        file = replayed(scenario, scenario.replay.test)
        return file.pick(np.array([seed % file.size for seed in seeds], np.int64))
    model = market_model(scenario)
    days = Days.of(scenario, len(seeds))
    for j, seed in enumerate(seeds):
        draw(stream_generator(seed, NUMBERED), j, j + 1, model, days)
    return days
