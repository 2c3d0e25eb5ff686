"""Days: everything the market does during an order, drawn before it starts.

A day does not depend on what is posted. That gives common random numbers for paired comparison,
hindsight bounds, replay of real days, and speed. With a_b,i, sigma and loading from the scenario,

    logit F[b, i] = a[b, i] + day_i + loading_i z_b + bucket_sd_i e[b, i]
    z_b = rho z_{b-1} + sqrt(1 - rho^2) sd xi_b,        z_0 ~ N(0, sd^2)
    V[b] = expected[b] exp(sd_V g_b - sd_V^2 / 2)

day_i ~ N(0, day_sd_i^2) holds all day; e, xi and g are standard normal; the intercepts a make
E F[b, i] the prediction f[b, i].

Streams. ``SeedSequence(seed, spawn_key=(purpose,))`` starts a stream of days; day number ``seed`` of
the evaluation is a stream of one. A stream yields the same days in whatever portions it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.jit import jit
from execution_env.logistic_normal import intercept
from execution_env.scenario import Scenario

NUMBERED, TRAINING, VALIDATION, POLICY = 0, 1, 2, 3
"""Purposes of a stream, as spawn keys: numbered days, training, validation and tuning, and a
policy's own randomness. Spawn keys, because a list of integers is no safe name: SeedSequence(5)
equals SeedSequence((5, 0))."""

BLOCK = 128
"""Days that a stream draws at a time; within a block, numbers are drawn component by component."""

UNLIMITED = np.iinfo(np.int32).max


class Days(NamedTuple):
    """n days side by side; the day is the last axis, so that loops over orders are contiguous.

    Attributes:
        fill_rate: (B, K, n) float32, F.
        rounding: (B, K, n) float32 in [0, 1), u.
        volume: (B, n) float64, shares traded in the market, V; zeros without a volume model.
        depth: (B, K, n) int32, the most lots an algo can fill, D; unlimited for now.
        day_effect: (K, n) float64, day_i. Hidden from the trader, for the clairvoyant bound.
        liquidity: (B, n) float64, z. Hidden too.
    """

    fill_rate: NDArray[np.float32]
    rounding: NDArray[np.float32]
    volume: NDArray[np.float64]
    depth: NDArray[np.int32]
    day_effect: NDArray[np.float64]
    liquidity: NDArray[np.float64]

    @staticmethod
    def empty(buckets: int, algos: int, count: int) -> Days:
        """Room for ``count`` days."""
        return Days(
            np.empty((buckets, algos, count), np.float32),
            np.empty((buckets, algos, count), np.float32),
            np.empty((buckets, count)),
            np.full((buckets, algos, count), UNLIMITED, np.int32),
            np.empty((algos, count)),
            np.empty((buckets, count)),
        )

    @property
    def count(self) -> int:
        """n."""
        return self.volume.shape[1]

    def part(self, which: slice) -> Days:
        """Some of the days, as views."""
        return Days(*(array[..., which] for array in self))

    def put(self, which: NDArray[np.bool_] | slice, days: Days) -> None:
        """Overwrite the days that ``which`` selects."""
        for mine, theirs in zip(self, days, strict=True):
            mine[..., which] = theirs


class _Model(NamedTuple):
    """The noise of a scenario, as arrays.

    Attributes:
        intercept: (B, K).
        day_sd, loading, bucket_sd: (K,).
        liquidity: (3,), the standard deviation of z_0, rho, and that of z's innovations.
        expected_volume: (B,) shares.
        volume_sd: of log volume.
    """

    intercept: NDArray[np.float64]
    day_sd: NDArray[np.float64]
    loading: NDArray[np.float64]
    bucket_sd: NDArray[np.float64]
    liquidity: NDArray[np.float64]
    expected_volume: NDArray[np.float64]
    volume_sd: float


@lru_cache(maxsize=256)
def _model(scenario: Scenario) -> _Model:
    day_sd = np.array([algo.day_sd for algo in scenario.algos])
    loading = np.array([algo.liquidity_loading for algo in scenario.algos])
    bucket_sd = np.array([algo.bucket_sd for algo in scenario.algos])
    factor = scenario.liquidity
    total_sd = np.sqrt(day_sd**2 + (loading * factor.sd) ** 2 + bucket_sd**2)
    locations = np.empty((scenario.buckets, len(scenario.algos)))
    for i in range(len(scenario.algos)):
        rates, where = np.unique(scenario.predictions[:, i], return_inverse=True)
        locations[:, i] = intercept(rates, np.full(rates.shape, total_sd[i]))[where]
    innovation = factor.sd * np.sqrt(1.0 - factor.persistence**2)
    liquidity = np.array([factor.sd, factor.persistence, innovation])
    volume_sd = 0.0 if scenario.volume is None else scenario.volume.sd
    return _Model(
        locations, day_sd, loading, bucket_sd, liquidity, scenario.expected_volume, volume_sd
    )


@jit
def _normals(generator: np.random.Generator, out: NDArray[np.float64]) -> None:
    for j in range(out.size):
        out[j] = generator.standard_normal()


@jit
def _uniforms(generator: np.random.Generator, out: NDArray[np.float32]) -> None:
    for j in range(out.size):
        out[j] = generator.random(dtype=np.float32)


@jit
def _scale(sd: float, noise: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for d in range(out.size):
        out[d] = sd * noise[d]


@jit
def _autoregress(
    persistence: float,
    sd: float,
    before: NDArray[np.float64],
    noise: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    for d in range(out.size):
        out[d] = persistence * before[d] + sd * noise[d]


@jit
def _minus_logit(
    location: float,
    day_effect: NDArray[np.float64],
    loading: float,
    liquidity: NDArray[np.float64],
    sd: float,
    noise: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    for d in range(out.size):
        out[d] = -(location + day_effect[d] + loading * liquidity[d] + sd * noise[d])


@jit
def _draw(
    generator: np.random.Generator,
    block: int,
    start: int,
    stop: int,
    location: NDArray[np.float64],
    day_sd: NDArray[np.float64],
    loading: NDArray[np.float64],
    bucket_sd: NDArray[np.float64],
    factor: NDArray[np.float64],
    noisy_volume: bool,
    fill_rate: NDArray[np.float32],
    rounding: NDArray[np.float32],
    volume: NDArray[np.float64],
    day_effect: NDArray[np.float64],
    liquidity: NDArray[np.float64],
) -> None:
    """Draw the days [start, stop), whole blocks: -logit F into ``fill_rate``, g into ``volume``.

    Normals come first: the day effects, then z's and e's bucket by bucket; then the uniforms; then
    volume noise. So scenarios that differ in standard deviations only, or in whether volume is
    noisy, share their noise.
    """
    buckets, algos = location.shape
    noise = np.empty(block)
    for first in range(start, stop, block):
        last = first + block
        for i in range(algos):
            _normals(generator, noise)
            _scale(day_sd[i], noise, day_effect[i, first:last])
        for b in range(buckets):
            _normals(generator, noise)
            z = liquidity[b, first:last]
            if b == 0:
                _scale(factor[0], noise, z)
            else:
                _autoregress(factor[1], factor[2], liquidity[b - 1, first:last], noise, z)
            for i in range(algos):
                _normals(generator, noise)
                _minus_logit(
                    location[b, i],
                    day_effect[i, first:last],
                    loading[i],
                    z,
                    bucket_sd[i],
                    noise,
                    fill_rate[b, i, first:last],
                )
        for b in range(buckets):
            for i in range(algos):
                _uniforms(generator, rounding[b, i, first:last])
        if noisy_volume:
            for b in range(buckets):
                _normals(generator, noise)
                _scale(1.0, noise, volume[b, first:last])


def _draw_into(
    model: _Model, generator: np.random.Generator, block: int, days: Days, start: int, stop: int
) -> None:
    _draw(
        generator,
        block,
        start,
        stop,
        *model[:5],
        model.volume_sd > 0,
        days.fill_rate,
        days.rounding,
        days.volume,
        days.day_effect,
        days.liquidity,
    )


def _finish(model: _Model, days: Days) -> None:
    """Turn -logit F into F, and g into V, in place."""
    one = np.float32(1.0)
    # A bucket at a time stays in the processor's cache; a few days are better done at once.
    parts = [days.fill_rate] if days.count < BLOCK else list(days.fill_rate)
    with np.errstate(over="ignore"):  # exp(-logit) = inf gives the fill rate 0 that it should
        for part in parts:
            np.exp(part, out=part)
            np.add(part, one, out=part)
            np.reciprocal(part, out=part)
    expected = model.expected_volume[:, None]
    if model.volume_sd > 0:
        days.volume[:] = expected * np.exp(model.volume_sd * days.volume - model.volume_sd**2 / 2)
    else:
        days.volume[:] = expected


class DayStream:
    """An endless sequence of days.

    Args:
        scenario: what to draw.
        seed: non-negative integer, or None for fresh entropy.
        purpose: ``NUMBERED``, ``TRAINING`` or ``VALIDATION``.

    The j-th day of a stream is the same however many days are drawn at a time.
    """

    def __init__(self, scenario: Scenario, seed: int | None, purpose: int = TRAINING) -> None:
        self._model = _model(scenario)
        self._generator = stream_generator(seed, purpose)
        self._spare = self._empty(0)

    def _empty(self, count: int) -> Days:
        return Days.empty(*self._model.intercept.shape, count)

    def draw(self, count: int) -> Days:
        """The next ``count`` days."""
        days = self._empty(count)
        self.draw_into(days)
        return days

    def draw_into(self, days: Days) -> None:
        """Overwrite all of ``days`` with the next ones; much faster than new memory."""
        count = days.count
        taken = min(self._spare.count, count)
        if taken:
            days.put(slice(taken), self._spare.part(slice(taken)))
            self._spare = self._spare.part(slice(taken, None))
        whole = taken + (count - taken) // BLOCK * BLOCK
        if whole > taken:
            _draw_into(self._model, self._generator, BLOCK, days, taken, whole)
            _finish(self._model, days.part(slice(taken, whole)))
        if count > whole:
            block = self._empty(BLOCK)
            _draw_into(self._model, self._generator, BLOCK, block, 0, BLOCK)
            _finish(self._model, block)
            days.put(slice(whole, None), block.part(slice(count - whole)))
            self._spare = block.part(slice(count - whole, None))


def stream_generator(seed: int | None, purpose: int) -> np.random.Generator:
    """The generator of a stream.

    SFC64 is NumPy's fastest bit generator and passes the same test batteries as PCG64.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(purpose,))))


def numbered_days(scenario: Scenario, seeds: Iterable[int]) -> Days:
    """The days that ``env.reset(seed=seed)`` plays, for every seed in order.

    Raises:
        ValueError: a seed is negative.
    """
    seeds = [int(seed) for seed in seeds]
    model = _model(scenario)
    days = Days.empty(*model.intercept.shape, len(seeds))
    for j, seed in enumerate(seeds):
        if seed < 0:
            raise ValueError(f"seed = {seed}: a day's number must be a non-negative integer.")
        _draw_into(model, stream_generator(seed, NUMBERED), 1, days, j, j + 1)
    _finish(model, days)
    return days
