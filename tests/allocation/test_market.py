from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import kstest

import execution_env
from execution_env import (
    Days,
    DayStream,
    OrderAllocationEnv,
    Scenario,
    load_scenario,
    numbered_days,
)
from execution_env.allocation.formulas import logistic
from execution_env.allocation.market.day_stream import (
    NUMBERED,
    TRAINING,
    VALIDATION,
    stream_generator,
)
from execution_env.allocation.market.days import UNLIMITED
from tests.allocation.strategies import scenarios_drawn


def arrays_equal(one: Days, other: Days) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", execution_env.scenarios())
def test_the_mean_fill_rate_is_the_prediction(name: str) -> None:
    scenario = load_scenario(name)
    days = DayStream(scenario, 1).draw(100_000)
    rates = days.fill_rate.astype(np.float64)
    for i in np.flatnonzero([algo.depth is not None for algo in scenario.algos]):
        slice_ = scenario.reference_lots  # that predictions under depth are of
        rates[:, i] = np.minimum(days.depth[:, i], slice_) / slice_
    error = rates.std(axis=2) / np.sqrt(rates.shape[2])
    # 4.5 standard errors: some 300 comparisons over all scenarios, at a fixed seed.
    assert (np.abs(rates.mean(axis=2) - scenario.predictions) <= 4.5 * error + 1e-6).all()


def test_predictions_of_0_and_1_are_certain() -> None:
    scenario = load_scenario("baseline", {"algos.Passive.fill_rate": 0.0})
    days = DayStream(scenario, 0).draw(500)
    assert (days.fill_rate[-1, 0] == 1.0).all()
    assert (days.fill_rate[:, 2] == 0.0).all()


def test_hidden_effects_are_distributed_as_described() -> None:
    scenario = load_scenario("drifting", {"algos.Neutral.day_sd": 0.7})
    days = DayStream(scenario, 3).draw(20_000)
    factor = scenario.liquidity
    # Stationary from the first bucket on, with the autocorrelation asked for.
    np.testing.assert_allclose(days.liquidity.std(axis=1), factor.sd, rtol=0.03)
    for lag in (1, 3):
        correlations = [
            np.corrcoef(days.liquidity[b], days.liquidity[b + lag])[0, 1] for b in range(7)
        ]
        np.testing.assert_allclose(correlations, factor.persistence**lag, atol=0.02)
    assert kstest(days.day_effect[1] / 0.7, "norm").pvalue > 1e-3
    assert not days.day_effect[0].any()
    assert kstest(days.rounding.ravel()[:100_000], "uniform").pvalue > 1e-3
    assert days.rounding.min() >= 0
    assert days.rounding.max() < 1
    assert (days.depth == UNLIMITED).all()


def test_rounding_uniforms_are_independent() -> None:
    # Two come from one random double: neighbours must not know of each other.
    days = DayStream(load_scenario("baseline"), 3).draw(12_800)
    u = days.rounding.reshape(-1)
    correlations = [np.corrcoef(u[:-lag], u[lag:])[0, 1] for lag in (1, 2, 3, 128)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(u.size)
    even, odd = u[0::2], u[1::2]
    counts, *_ = np.histogram2d(even, odd, bins=10)
    expected = even.size / 100
    assert ((counts - expected) ** 2 / expected).sum() < 99 + 5 * np.sqrt(2 * 99)


def test_fills_are_unbiased_in_whole_lots() -> None:
    days = DayStream(load_scenario("baseline"), 8).draw(200_000)
    u = days.rounding[0, 0].astype(np.float64)
    for expected in (0.1, 2.37, 7.999):
        filled = np.floor(expected + u)
        assert abs(filled.mean() - expected) <= 4.5 * filled.std() / np.sqrt(u.size)


def test_volume_is_lognormal_around_its_expectation() -> None:
    scenario = load_scenario("vwap-u-shape")
    volume = DayStream(scenario, 2).draw(50_000).volume
    ratio = volume / scenario.expected_volume[:, None]
    np.testing.assert_allclose(ratio.mean(axis=1), 1, atol=0.015)
    np.testing.assert_allclose(np.log(ratio).std(axis=1), 0.5, rtol=0.02)
    assert abs(np.corrcoef(np.log(ratio[:-1].ravel()), np.log(ratio[1:].ravel()))[0, 1]) < 0.01
    certain = DayStream(load_scenario("baseline"), 2).draw(10).volume
    assert (certain == 10_000).all()


def test_a_numbered_day_is_the_same_whatever_draws_it() -> None:
    scenario = load_scenario("vwap-u-shape")
    together = numbered_days(scenario, [0, 5, 2**70])
    for j, seed in enumerate([0, 5, 2**70]):
        alone = numbered_days(scenario, [seed])
        env = OrderAllocationEnv(scenario)
        env.reset(seed=seed)
        assert arrays_equal(alone, together.part(slice(j, j + 1)))
        assert arrays_equal(alone, env._batch.days)
        assert arrays_equal(alone, DayStream(scenario, seed, NUMBERED).draw(1))
    with pytest.raises(ValueError, match="seed = -1"):
        numbered_days(scenario, [-1])


def test_streams_differ_by_seed_and_purpose() -> None:
    scenario = load_scenario("baseline")
    draws = [
        DayStream(scenario, seed, purpose).draw(1).rounding.tobytes()
        for seed in (0, 1, 5)
        for purpose in (NUMBERED, TRAINING, VALIDATION)
    ]
    assert len(set(draws)) == 9


def test_streams_are_named_as_promised() -> None:
    for purpose in (0, 1, 2, 3):
        sequence = np.random.SeedSequence(5, spawn_key=(purpose,))
        expected = np.random.Generator(np.random.SFC64(sequence)).random(4)
        np.testing.assert_array_equal(stream_generator(5, purpose).random(4), expected)


def test_drawing_into_memory_is_drawing() -> None:
    scenario = load_scenario("five-algos")
    stream, again = DayStream(scenario, 4), DayStream(scenario, 4)
    days = Days.empty(10, 5, 300)
    stream.draw_into(days)
    assert arrays_equal(days, again.draw(300))
    assert not arrays_equal(days, again.draw(300))


def test_no_two_days_of_a_large_draw_are_equal() -> None:
    days = DayStream(load_scenario("baseline"), 4).draw(1000)
    assert len({days.fill_rate[..., d].tobytes() for d in range(1000)}) == 1000


def test_logistic_is_as_good_as_float32() -> None:
    x = np.linspace(-87, 87, 20_001, dtype=np.float32)
    ours = np.array([logistic(value) for value in x])
    exact = expit(x.astype(np.float64))
    np.testing.assert_allclose(ours, exact, rtol=3e-7)
    assert [logistic(np.float32(v)) for v in (-np.inf, -200, 0, 200, np.inf)] == [0, 0, 0.5, 1, 1]


def test_scenarios_that_differ_in_noise_only_share_their_random_numbers() -> None:
    one = numbered_days(load_scenario("baseline"), [3])
    other = numbered_days(load_scenario("baseline", {"volume.sd": 0.5, "liquidity.sd": 0.6}), [3])
    np.testing.assert_array_equal(one.rounding, other.rounding)
    np.testing.assert_allclose(one.liquidity * 2, other.liquidity)
    np.testing.assert_array_equal(one.day_effect, other.day_effect)


@settings(max_examples=15)
@given(scenarios_drawn(max_buckets=6), st.integers(0, 1000))
def test_the_mean_fill_rate_is_the_prediction_in_any_scenario(
    scenario: Scenario, seed: int
) -> None:
    rates = DayStream(scenario, seed).draw(40_000).fill_rate.astype(np.float64)
    error = rates.std(axis=2) / np.sqrt(rates.shape[2])
    assert (np.abs(rates.mean(axis=2) - scenario.predictions) <= 6 * error + 1e-5).all()
