"""The law of depth, and what a trader learns of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import kstest, norm

from execution_env import DayStream
from execution_env.allocation.depth import (
    depth_score,
    expected_fill,
    learned_depth,
    normal_cdf,
    normal_quantile,
)
from execution_env.allocation.market.days import UNLIMITED
from execution_env.core.jit import jit
from tests.allocation.markets import shortfall, with_day_effects


@jit
def quantiles(p, out):
    for j in range(p.size):
        out[j] = normal_quantile(p[j])


@jit
def cdfs(x, out):
    for j in range(x.size):
        out[j] = normal_cdf(x[j])


@jit
def scores(latent, chance, out):
    for j in range(latent.size):
        out[j] = depth_score(latent[j], chance)


@jit
def learned(memory, precision, sd, posted, filled, location, evidence, information):
    return learned_depth(memory, precision, sd, posted, filled, location, evidence, information)


def test_the_normal_law_is_scipys_to_the_last_digits() -> None:
    p = np.concatenate([np.geomspace(1e-300, 0.5, 500), 1.0 - np.geomspace(1e-16, 0.5, 500)])
    found = np.empty_like(p)
    quantiles(p, found)
    np.testing.assert_allclose(found, ndtri(p), rtol=1e-14, atol=1e-15)
    x = np.linspace(-37.0, 9.0, 999)
    found = np.empty_like(x)
    cdfs(x, found)
    np.testing.assert_allclose(found, ndtr(x), rtol=1e-13, atol=0)
    ends = np.empty(2)
    quantiles(np.array([0.0, 1.0]), ends)
    assert ends.tolist() == [-math.inf, math.inf]


@pytest.mark.parametrize("chance", [0.05, 0.5, 0.999, 1.0])
def test_scores_are_standard_normal_where_there_is_depth(chance: float) -> None:
    latent = ndtri((np.arange(200_000) + 0.5) / 200_000)
    found = np.empty_like(latent)
    scores(latent, chance, found)
    there = found > -np.inf
    assert there.mean() == pytest.approx(chance, abs=1e-5)
    assert kstest(found[there], "norm").statistic < 1e-4
    assert (np.diff(found[there]) > 0).all()  # more of the latent is more depth


def test_no_chance_means_no_depth() -> None:
    found = np.empty(3)
    scores(np.array([-3.0, 0.0, 8.0]), 0.0, found)
    assert (found == -np.inf).all()


@given(st.floats(1, 500), st.floats(0.01, 1), st.floats(-3, 6), st.floats(0.05, 2.5))
def test_the_expected_fill_is_its_integral(
    posted: float, chance: float, location: float, sd: float
) -> None:
    # E min(x, C) is the integral of P(C > c) up to x; in log c, where the tail is smooth.
    grid = np.linspace(math.log(posted) - 40.0, math.log(posted), 40_001)
    above = chance * norm.sf(grid, location, sd)
    integral = np.trapezoid(above * np.exp(grid), grid)
    found = expected_fill(posted, chance, location, sd)
    assert found == pytest.approx(integral, rel=2e-6)
    assert found <= posted * chance * (1 + 1e-12)


def test_the_prediction_is_the_mean_fill_of_an_even_slice() -> None:
    scenario = with_day_effects()
    days = DayStream(scenario, 1).draw(100_000)
    slice_ = scenario.reference_lots
    fills = np.minimum(days.depth, slice_) / slice_
    error = fills.std(axis=2) / math.sqrt(fills.shape[2])
    assert (np.abs(fills.mean(axis=2) - scenario.predictions) < 4.5 * error).all()


def test_depth_has_the_law_of_the_scenario() -> None:
    scenario = shortfall(order__lot_size=1)  # lots so small that rounding does not matter
    days = DayStream(scenario, 2).draw(100_000)
    assert (days.fill_rate == 1).all()
    for i, algo in enumerate(scenario.algos):
        depth, volume = days.depth[4, i], days.volume[4]
        there = depth > 0
        chance = scenario.fill_probability[4, i]
        assert there.mean() == pytest.approx(chance, abs=4 * math.sqrt(chance / depth.size) + 1e-3)
        logs = np.log(depth[there] / volume[there])
        assert logs.mean() == pytest.approx(math.log(algo.depth), abs=0.02)
        assert logs.std() == pytest.approx(algo.depth_sd, rel=0.02)


def test_one_factor_ties_the_algos_and_the_mid() -> None:
    scenario = shortfall()
    days = DayStream(scenario, 3).draw(200_000)
    fills = np.minimum(days.depth[5], scenario.reference_lots)
    together = np.corrcoef(fills)
    assert together[1, 2] > 0.4  # loadings .9 and .95
    assert abs(together[0, 2]) < together[1, 2]
    against = [np.corrcoef(fill, days.move[5])[0, 1] for fill in fills[1:]]
    assert max(against) < -0.25
    # without the correlation there is none, and the noise is the same otherwise
    alone = DayStream(shortfall(price__liquidity_correlation=0.0), 3).draw(200_000)
    np.testing.assert_array_equal(alone.depth, days.depth)
    assert abs(np.corrcoef(np.minimum(alone.depth[5, 2], 3), alone.move[5])[0, 1]) < 0.01


def test_the_mid_is_a_martingale_of_the_given_size() -> None:
    scenario = shortfall(liquidity__persistence=0.7)
    moves = DayStream(scenario, 4).draw(100_000).move
    assert np.abs(moves.mean(axis=1)).max() < 4.5 * 8.0 / math.sqrt(100_000)
    np.testing.assert_allclose(moves.std(axis=1), 8.0, rtol=0.02)
    assert np.abs(np.corrcoef(moves) - np.eye(10)).max() < 0.02


def test_volume_remembers() -> None:
    logs = np.log(DayStream(shortfall(), 5).draw(100_000).volume)
    np.testing.assert_allclose(logs.std(axis=1), 0.7, rtol=0.02)
    correlations = np.corrcoef(logs)
    np.testing.assert_allclose(np.diag(correlations, 1), 0.3, atol=0.02)
    np.testing.assert_allclose(np.diag(correlations, 2), 0.09, atol=0.02)


def test_a_day_effect_is_on_the_logarithm_of_depth() -> None:
    scenario = with_day_effects(order__lot_size=1)
    days = DayStream(scenario, 6).draw(50_000)
    depth = days.depth[:, 1].astype(float)
    there = depth > 0
    logs = np.log(np.where(there, depth, 1.0) / days.volume)
    some = there.any(axis=0)
    shifted = (logs * there).sum(axis=0)[some] / there.sum(axis=0)[some]
    slope = np.polyfit(days.day_effect[1][some], shifted, 1)[0]
    assert slope == pytest.approx(1.0, abs=0.03)
    assert (days.depth < UNLIMITED).all()


# What a trader learns.


def posterior(precision, sd, likelihood):
    """Mean and variance of a normal prior times a likelihood, by quadrature."""
    effect = np.linspace(-40.0, 40.0, 80_001) / math.sqrt(precision)
    weight = norm.pdf(effect * math.sqrt(precision)) * likelihood(effect)
    weight /= weight.sum()
    mean = (weight * effect).sum()
    return mean, (weight * (effect - mean) ** 2).sum()


@given(st.floats(0.3, 20), st.floats(0.2, 2), st.floats(1, 300), st.floats(-2, 6))
def test_a_full_fill_is_censored(
    precision: float, sd: float, posted: float, location: float
) -> None:
    # P(C >= x | day) = Phi((location + day - log x) / sd): a normal with the true posterior's moments.
    mean, variance = posterior(
        precision, sd, lambda d: ndtr((location + d - math.log(posted)) / sd)
    )
    evidence, information = learned(1.0, precision, sd, posted, posted, location, 0.0, 0.0)
    total = precision + information
    assert evidence / total == pytest.approx(mean, rel=1e-5, abs=1e-7)
    assert 1.0 / total == pytest.approx(variance, rel=1e-5)
    assert mean > -1e-12  # it can only be good news


def test_a_fill_cut_short_tells_the_depth() -> None:
    evidence, information = learned(1.0, 4.0, 0.5, 10.0, 3.0, 2.0, 0.0, 0.0)
    # a normal observation log 3 - 2 with variance .25 on a prior of precision 4
    assert information == 1 / 0.25
    assert evidence / (4.0 + information) == pytest.approx((math.log(3) - 2) / 0.25 / 8)


def test_no_fill_and_no_posting_teach_nothing() -> None:
    for posted, filled in ((5.0, 0.0), (0.0, 0.0)):
        assert learned(0.9, 4.0, 0.5, posted, filled, 2.0, 1.5, 2.5) == (1.5, 2.5)
    assert learned(1.0, math.inf, 0.5, 5.0, 3.0, 2.0, 0.0, 0.0) == (0.0, 0.0)


def test_memory_forgets_older_evidence() -> None:
    evidence, information = learned(0.5, 4.0, 0.5, 10.0, 3.0, 2.0, 6.0, 8.0)
    once = learned(1.0, 4.0, 0.5, 10.0, 3.0, 2.0, 0.0, 0.0)
    assert (evidence, information) == (3.0 + once[0], 4.0 + once[1])
