"""Drawing days, compiled: the loops behind ``market``.

Within a block of days numbers are drawn component by component, so that loops run over days.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from execution_env.allocation.formulas import depth_of, fill_location, fill_rate, latent_of
from execution_env.allocation.market.days import SHIFT_REACH, UNLIMITED, Days, MarketModel
from execution_env.core.jit import inner, jit, splice

DAYS_SIDE_BY_SIDE = 128
"""Days drawn side by side."""

Floats = NDArray[np.float64]


@inner
def _normals(generator: np.random.Generator, out: NDArray[np.float64]) -> None:
    for j in range(out.size):
        out[j] = generator.standard_normal()


@inner
def _uniforms(generator: np.random.Generator, out: NDArray[np.float32]) -> None:
    # A double holds two: its first 24 bits, which are what a float32 below 1 holds, and the next 24.
    for j in range(0, out.size, 2):
        bits = generator.random() * 2.0**24
        first = np.floor(bits)
        out[j] = first * 2.0**-24
        if j + 1 < out.size:
            out[j + 1] = np.floor((bits - first) * 2.0**24) * 2.0**-24


@inner
def _scale(sd: float, noise: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for d in range(out.size):
        out[d] = sd * noise[d]


@inner
def _autoregress(
    persistence: float,
    sd: float,
    before: NDArray[np.float64],
    noise: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    for d in range(out.size):
        out[d] = persistence * before[d] + sd * noise[d]


@inner
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
        mine = fill_location(location, day_effect[d], loading, liquidity[d])
        out[d] = fill_rate(mine, sd, noise[d])


@inner
def _copy(values: Floats, out: Floats) -> None:
    for d in range(out.size):  # assigning to a slice compiles a check of shapes, with its message
        out[d] = values[d]


@inner
def _volumes(
    expected: float, sd: float, noise: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    for d in range(out.size):
        out[d] = expected * math.exp(sd * noise[d] - 0.5 * sd * sd)


@inner
def _predictions(table: Floats, width: float, shift: Floats, out: Floats) -> None:
    """Look up ``table``, of equally spaced shifts from -``width`` to ``width``, linearly."""
    most = table.size - 1
    for d in range(out.size):
        place = min(max((shift[d] / width + 1.0) * (0.5 * most), 0.0), np.float64(most))
        left: Any = min(np.int64(place), most - 1)
        out[d] = table[left] + (place - left) * (table[left + 1] - table[left])


@inner
def _latents(
    loading: float, factor_scale: float, liquidity: Floats, noise: Floats, out: Floats
) -> None:
    for d in range(out.size):
        out[d] = latent_of(loading * factor_scale * liquidity[d], loading, noise[d])


@inner
def _depths(
    chance: float,
    per_volume: float,
    sd: float,
    day_effect: Floats,
    volume: Floats,
    latent: Floats,
    rounding: NDArray[np.float32],
    out: NDArray[np.int32],
) -> None:
    for d in range(out.size):
        lots = depth_of(latent[d], chance, per_volume * volume[d], day_effect[d], sd)
        # rounded as fills are: without bias
        out[d] = np.int32(math.floor(min(lots + np.float64(rounding[d]), np.float64(UNLIMITED))))


@inner
def _moves(sd: float, correlation: float, noise: Floats, move: Floats) -> None:
    """Turn the factor's innovations in ``move`` into moves of the mid."""
    own = math.sqrt(1.0 - correlation * correlation)
    for d in range(move.size):
        move[d] = sd * (correlation * move[d] + own * noise[d])


@inner
def _vwaps(moves: Floats, out: Floats) -> None:
    """The mean of the mids at a bucket's ends, as moved since arrival: (B, n) both."""
    for d in range(out.shape[1]):
        mid = 0.0
        for b in range(out.shape[0]):
            out[b, d] = mid + 0.5 * moves[b, d]
            mid += moves[b, d]


@jit
def draw(
    generator: np.random.Generator, start: int, stop: int, model: MarketModel, days: Days
) -> None:
    """Draw the days [start, stop).

    Normals come first: the day effects, then those of the orders' own predictions, then z's and e's
    bucket by bucket; then the uniforms; then volume noise, then the mid's. So scenarios that differ in
    standard deviations only, or in whether volume is noisy, share their noise.
    """
    buckets, algos = model.intercept.shape
    shortfall, own_predictions = days.move.shape[0] > 0, days.prediction.shape[0] > 0
    block = min(DAYS_SIDE_BY_SIDE, stop - start)
    memory, before = np.empty(block), np.zeros(block)
    latents = np.empty((buckets if model.by_depth.any() else 0, algos, block))
    factor_scale = 1.0 / model.liquidity[0] if model.liquidity[0] > 0.0 else 0.0
    for first in range(start, stop, DAYS_SIDE_BY_SIDE):
        last = min(first + DAYS_SIDE_BY_SIDE, stop)
        noise, size = memory[: last - first], last - first
        for i in range(algos):
            _normals(generator, noise)
            _scale(model.day_sd[i], noise, days.day_effect[i, first:last])
        if own_predictions:
            _own_predictions(generator, model, days, noise, first, last)
        for b in range(buckets):
            _normals(generator, noise)
            z = days.liquidity[b, first:last]
            if b == 0:
                _scale(model.liquidity[0], noise, z)
            else:
                _autoregress(
                    model.liquidity[1],
                    model.liquidity[2],
                    days.liquidity[b - 1, first:last],
                    noise,
                    z,
                )
            if shortfall:
                _copy(noise, days.move[b, first:last])
            for i in range(algos):
                _normals(generator, noise)
                if model.by_depth[i]:
                    loading = model.loading[i] if factor_scale > 0.0 else 0.0
                    _latents(loading, factor_scale, z, noise, latents[b, i, :size])
                    days.fill_rate[b, i, first:last] = 1.0
                else:
                    _fill_rates(
                        model.intercept[b, i],
                        days.day_effect[i, first:last],
                        model.loading[i],
                        z,
                        model.bucket_sd[i],
                        noise,
                        days.fill_rate[b, i, first:last],
                    )
        for b in range(buckets):
            for i in range(algos):
                _uniforms(generator, days.rounding[b, i, first:last])
        for b in range(buckets):
            if model.volume_sd > 0:
                _normals(generator, noise)
                if model.volume_persistence > 0.0:
                    rest = math.sqrt(1.0 - model.volume_persistence**2)
                    past = before[:size]
                    if b == 0:
                        _copy(noise, past)
                    else:
                        _autoregress(model.volume_persistence, rest, past, noise, past)
                    _volumes(
                        model.expected_volume[b], model.volume_sd, past, days.volume[b, first:last]
                    )
                else:
                    _volumes(
                        model.expected_volume[b], model.volume_sd, noise, days.volume[b, first:last]
                    )
            else:
                days.volume[b, first:last] = model.expected_volume[b]
        if shortfall:
            _prices(generator, model, days, noise, first, last)
        if latents.shape[0] > 0:
            for b in range(buckets):
                for i in range(algos):
                    if model.by_depth[i]:
                        _depths(
                            model.chance[b, i],
                            model.per_volume[b, i],
                            model.depth_sd[i],
                            days.day_effect[i, first:last],
                            days.volume[b, first:last],
                            latents[b, i, :size],
                            days.rounding[b, i, first:last],
                            days.depth[b, i, first:last],
                        )


@splice
def _own_predictions(
    generator: np.random.Generator,
    model: MarketModel,
    days: Days,
    noise: Floats,
    first: int,
    last: int,
) -> None:
    """Draw the orders' own predictions, and move the fill rates with them."""
    buckets, algos = model.intercept.shape
    for i in range(algos):
        _normals(generator, noise)
        sd = model.prediction_sd[i]
        for d in range(noise.size):
            noise[d] *= sd
            days.day_effect[i, first + d] += noise[d]
        for b in range(buckets):
            mine = days.prediction[b, i, first:last]
            if sd > 0.0:
                _predictions(model.predictions[b, i], SHIFT_REACH * sd, noise, mine)
            else:
                mine[:] = model.predictions[b, i, 0]


@splice
def _prices(
    generator: np.random.Generator,
    model: MarketModel,
    days: Days,
    noise: Floats,
    first: int,
    last: int,
) -> None:
    buckets, algos = model.intercept.shape
    for b in range(buckets):
        _normals(generator, noise)
        _moves(model.move_sd[b], model.move_correlation, noise, days.move[b, first:last])
        for i in range(algos):
            days.spread[b, i, first:last] = model.spread[b, i]
    days.touch[0, first:last] = model.touch
    _vwaps(days.move[:, first:last], days.vwap[:, first:last])
