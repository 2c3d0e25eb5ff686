"""Days: everything the market does during an order, drawn before it starts.

A day does not depend on what is posted. That gives common random numbers for paired comparison,
hindsight bounds, replay of real days, and speed. With a_b,i, sigma and loading from the scenario,

    logit F[b, i] = a[b, i] + day_i + loading_i z_b + bucket_sd_i e[b, i]
    z_b = rho z_{b-1} + sqrt(1 - rho^2) sd xi_b,        z_0 ~ N(0, sd^2)
    V[b] = expected[b] exp(sd_V g_b - sd_V^2 / 2)

day_i ~ N(0, day_sd_i^2) holds all day; e, xi and g are standard normal; the intercepts a make
E F[b, i] the prediction f[b, i].

Streams. ``SeedSequence(seed, spawn_key=(purpose,))`` starts a stream of days; day number ``seed`` of
the evaluation is the first of its own stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from execution_env.jit import jit
from execution_env.logistic_normal import intercept
from execution_env.scenario import Scenario
from execution_env.validation import natural

NUMBERED, TRAINING, VALIDATION, POLICY = 0, 1, 2, 3
"""Purposes of a stream, as spawn keys: numbered days, training, validation and tuning, and a
policy's own randomness. Spawn keys, because a list of integers is no safe name: SeedSequence(5)
equals SeedSequence((5, 0))."""

BLOCK = 128
"""Days drawn side by side: within a block, numbers are drawn component by component."""

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
    def size(self) -> int:
        """Number of days, n."""
        return int(self.volume.shape[1])

    def part(self, which: slice) -> Days:
        """Some of the days, as views."""
        return Days._make(array[..., which] for array in self)

    def put(
        self, which: NDArray[np.bool_] | slice | int, days: Days | Sequence[NDArray[Any]]
    ) -> None:
        """Overwrite the days that ``which`` selects."""
        for mine, theirs in zip(self._asdict().values(), days, strict=True):
            mine[..., which] = theirs


class MarketModel(NamedTuple):
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
def market_model(scenario: Scenario) -> MarketModel:
    """The noise of ``scenario``; its arrays are shared between callers and must not be changed."""
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
    return MarketModel(
        locations, day_sd, loading, bucket_sd, liquidity, scenario.expected_volume, volume_sd
    )


@jit
def _normals(generator: np.random.Generator, out: NDArray[np.float64]) -> None:
    for j in range(out.size):
        out[j] = generator.standard_normal()


@jit
def _uniforms(generator: np.random.Generator, out: NDArray[np.float32]) -> None:
    # A double holds two: its first 24 bits, which are what a float32 below 1 holds, and the next 24.
    for j in range(0, out.size, 2):
        bits = generator.random() * 2.0**24
        first = np.floor(bits)
        out[j] = first * 2.0**-24
        if j + 1 < out.size:
            out[j + 1] = np.floor((bits - first) * 2.0**24) * 2.0**-24


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
def logistic(logit: np.float32) -> np.float32:
    """1 / (1 + exp(-logit)) to float32 precision; exactly 0 and 1 at the infinities.

    The exponential is Cephes' expf (Moshier 1989, Methods and Programs for Mathematical Functions),
    written out: without a call into the C library a loop over days runs in SIMD registers, and a
    day does not depend on the machine's library.
    """
    x = min(max(-logit, np.float32(-87.0)), np.float32(88.0))
    power = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    # ln 2 in two parts: the first is exact in few bits, so that power * ln 2 is.
    x = x - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * x + np.float32(1.3981999507e-3)
    p = p * x + np.float32(8.3334519073e-3)
    p = p * x + np.float32(4.1665795894e-2)
    p = p * x + np.float32(1.6666665459e-1)
    p = p * x + np.float32(5.0000001201e-1)
    exponential = p * x * x + x + np.float32(1.0)
    two_to_power = np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)
    rate = np.float32(1.0) / (np.float32(1.0) + exponential * two_to_power)
    return rate if logit > np.float32(-88.0) else np.float32(0.0)


@jit
def _fill_rates(
    location: float,
    day_effect: NDArray[np.float64],
    loading: float,
    liquidity: NDArray[np.float64],
    sd: float,
    noise: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    for d in range(out.size):
        logit = location + day_effect[d] + loading * liquidity[d] + sd * noise[d]
        out[d] = logistic(np.float32(logit))


@jit
def _volumes(
    expected: float, sd: float, noise: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    for d in range(out.size):
        out[d] = expected * math.exp(sd * noise[d] - 0.5 * sd * sd)


@jit
def _draw(
    generator: np.random.Generator,
    start: int,
    stop: int,
    location: NDArray[np.float64],
    day_sd: NDArray[np.float64],
    loading: NDArray[np.float64],
    bucket_sd: NDArray[np.float64],
    factor: NDArray[np.float64],
    expected_volume: NDArray[np.float64],
    volume_sd: float,
    fill_rate: NDArray[np.float32],
    rounding: NDArray[np.float32],
    volume: NDArray[np.float64],
    day_effect: NDArray[np.float64],
    liquidity: NDArray[np.float64],
) -> None:
    """Draw the days [start, stop).

    Normals come first: the day effects, then z's and e's bucket by bucket; then the uniforms; then
    volume noise. So scenarios that differ in standard deviations only, or in whether volume is
    noisy, share their noise.
    """
    buckets, algos = location.shape
    memory = np.empty(min(BLOCK, stop - start))
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        noise = memory[: last - first]
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
                _fill_rates(
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
        for b in range(buckets):
            if volume_sd > 0:
                _normals(generator, noise)
                _volumes(expected_volume[b], volume_sd, noise, volume[b, first:last])
            else:
                volume[b, first:last] = expected_volume[b]


def _draw_into(
    model: MarketModel, generator: np.random.Generator, days: Days, start: int, stop: int
) -> None:
    _draw(
        generator,
        start,
        stop,
        *model,
        days.fill_rate,
        days.rounding,
        days.volume,
        days.day_effect,
        days.liquidity,
    )


def _room(model: MarketModel, count: int) -> Days:
    buckets, algos = model.intercept.shape
    return Days.empty(buckets, algos, count)


class DayStream:
    """An endless sequence of days.

    Args:
        scenario: what to draw.
        seed: non-negative integer, or None for fresh entropy.
        purpose: ``NUMBERED``, ``TRAINING`` or ``VALIDATION``.

    The same draws in the same order give the same days; other portions give other days.
    """

    def __init__(self, scenario: Scenario, seed: int | None, purpose: int = TRAINING) -> None:
        self._model = market_model(scenario)
        self.generator = stream_generator(seed, purpose)

    def draw(self, count: int) -> Days:
        """The next ``count`` days."""
        days = _room(self._model, count)
        self.draw_into(days)
        return days

    def draw_into(self, days: Days) -> None:
        """Overwrite all of ``days`` with the next ones; faster than new memory."""
        _draw_into(self._model, self.generator, days, 0, days.size)


def stream_generator(seed: int | None, purpose: int) -> np.random.Generator:
    """The generator of a stream.

    SFC64 is NumPy's fastest bit generator and passes the same test batteries as PCG64.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(purpose,))))


def numbered_days(scenario: Scenario, seeds: Iterable[int]) -> Days:
    """The days that ``env.reset(seed=seed)`` plays, for every seed in order.

    Raises:
        ValueError: a seed is not a non-negative integer.
    """
    seeds = [natural("seed", seed) for seed in seeds]
    model = market_model(scenario)
    days = _room(model, len(seeds))
    for j, seed in enumerate(seeds):
        _draw_into(model, stream_generator(seed, NUMBERED), days, j, j + 1)
    return days
