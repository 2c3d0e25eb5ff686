"""Streams of days: where numbered, training and validation days and a policy's own come from.

``SeedSequence(seed, spawn_key=(purpose,))`` starts a stream of days. Day number ``seed`` of the
evaluation is the first of its own stream. Days are drawn from the model (``market.model``), unless
the scenario has a [replay] section. Then numbered days come from the file's test split, and
training and validation days are drawn with replacement from its train split (``market.days_file``).
Days that a policy imagines (purpose POLICY) are still drawn from the model.
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
policy's own randomness. A list of integers would not keep streams apart: SeedSequence(5) equals
SeedSequence((5, 0))."""


class DayStream:
    """An endless sequence of days.

    Args:
        scenario: scenario that the days are of.
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
        """Return the next ``count`` days."""
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
    """Return the generator of a stream.

    SFC64 is NumPy's fastest bit generator and passes the same test batteries as PCG64.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(purpose,))))


def numbered_days(scenario: Scenario, seeds: Iterable[int]) -> Days:
    """Return the days that ``env.reset(seed=seed)`` plays, for every seed in order.

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
