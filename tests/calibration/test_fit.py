"""Fitting: pieces against what they must be, and odd data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from execution_env.allocation.depth import expected_fill
from execution_env.allocation.scenario_file import load_scenario
from execution_env.calibration.console import show
from execution_env.calibration.fitting.dependence_model import Algo, autocovariance
from execution_env.calibration.fitting.estimate import (
    Estimate,
    correlations,
    errors,
    estimate,
    means,
    rounded,
    weights,
)
from execution_env.calibration.fitting.fit import fit
from execution_env.calibration.fitting.fit_depth import fit_depth
from execution_env.calibration.fitting.fit_market import fit_volume
from execution_env.calibration.readers.tape import DataError
from execution_env.calibration.write import (
    Choices,
    lot_of,
    scenario_of,
    scenario_toml,
)
from tests.calibration.made_outcomes import outcomes_of


def random_depth(rng: np.random.Generator, windows: int, algos: int = 2) -> np.ndarray:
    there = rng.random((2, windows, 5, algos)) < 0.7
    return there * 200.0 * np.exp(rng.standard_normal(there.shape))


# Standard errors


def test_jackknife_of_a_mean_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    values, cluster = rng.standard_normal(60), np.repeat(np.arange(30), 2)
    weight = weights(cluster)
    found = errors(means(weight, values, np.ones(60)))
    of_clusters = values.reshape(30, 2).mean(axis=1)
    assert found == pytest.approx(of_clusters.std(ddof=1) / np.sqrt(30))


def test_windows_beyond_the_most_are_left_out_together() -> None:
    weight = weights(np.arange(1000), most=10)
    assert weight.shape == (11, 1000)
    assert (weight[1:].sum(axis=1) == 900).all()
    assert (weight[1:] == 0).sum(axis=0).tolist() == [1] * 1000


def test_correlations_leave_out_what_is_unknown() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 40, 5)) + 1e6
    x[3, 2], y[7, 1] = np.nan, np.nan
    known = ~np.isnan(x + y)
    right = np.corrcoef(x[known], y[known])[0, 1]
    assert correlations(np.ones((1, 40)), x, y)[0] == pytest.approx(right)
    assert np.isnan(correlations(np.ones((1, 40)), np.full((40, 5), 0.1), y)[0])


def test_one_window_has_no_standard_error() -> None:
    assert math.isnan(estimate(means(weights(np.zeros(4, int)), np.ones(4), np.ones(4))).error)


@pytest.mark.parametrize(
    ("found", "text", "number"),
    [
        (Estimate(0.47123, 0.0234), "0.471 +- 0.023", 0.4712),
        (Estimate(12345.6, 234.0), "12346 +- 234", 12345.6),
        (Estimate(1.0, 0.0), "1 +- 0", 1.0),
        (Estimate(0.123456789), "0.123", 0.123457),
        (Estimate(math.nan, note="one bucket"), "not estimated: one bucket", math.nan),
        (Estimate(math.nan, math.nan), "not estimated: the data do not show it", math.nan),
    ],
)
def test_as_many_digits_as_mean_something(found: Estimate, text: str, number: float) -> None:
    assert str(found) == text
    assert rounded(found) == pytest.approx(number, rel=0, abs=0, nan_ok=True)


# The law of depth


def test_depth_is_that_of_maximum_likelihood() -> None:
    """Against SciPy's own censored likelihood, at its own maximum."""
    rng = np.random.default_rng(2)
    x = -1.5 + 0.8 * rng.standard_normal(400)
    top = -1.0
    share = np.exp(x).reshape(40, 10, 1)
    law = fit_depth(np.ones((1, 40)), share, np.zeros(share.shape, bool), math.exp(top))

    def likelihood(mu: float, sigma: float) -> float:
        known = norm.logpdf(x[x <= top], mu, sigma).sum()
        return float(known + (x > top).sum() * norm.logsf(top, mu, sigma))

    mu, sigma = law.location[0, 0], law.sd[0, 0]
    best = likelihood(mu, sigma)
    for d in (-1e-3, 1e-3):
        assert likelihood(mu + d, sigma) < best
        assert likelihood(mu, sigma + d) < best
    assert (mu, sigma) == pytest.approx((-1.5, 0.8), abs=0.2)


def test_without_a_cut_it_is_mean_and_deviation() -> None:
    share = np.exp(np.random.default_rng(3).standard_normal((30, 4, 1)))
    law = fit_depth(np.ones((1, 30)), share, np.zeros(share.shape, bool), 1e9)
    x = np.log(share)
    assert (law.location[0, 0], law.sd[0, 0]) == pytest.approx((x.mean(), x.std()))


# The copula


def test_series_are_the_scenario_s_own_moments() -> None:
    """Mean of fills from the law of depth; covariances from draws of the latents."""
    chance, depth, sd, size = 0.6, 0.15, 1.2, 0.1
    algo = Algo(chance, math.log(depth), sd, size, 0.3)
    fill, residual = algo.series(0.0)
    expected = expected_fill(size, chance, math.log(depth), sd)
    assert fill.mean == pytest.approx(expected, rel=1e-3)
    assert residual.mean == pytest.approx(0.0, abs=0.01)
    rng = np.random.default_rng(4)
    y = rng.standard_normal((2, 400_000))
    y[1] = 0.7 * y[0] + math.sqrt(1 - 0.49) * y[1]

    def drawn(latent: np.ndarray) -> np.ndarray:
        above = norm.sf(latent)
        score = -norm.ppf(np.minimum(above / chance, 1.0))
        return np.minimum(depth * np.exp(sd * score), size)

    covariance = np.cov(drawn(y[0]), drawn(y[1]))[0, 1]
    assert float(autocovariance(fill, 0.7)) == pytest.approx(covariance, rel=0.01)
    assert float(autocovariance(fill, 1.0)) == pytest.approx(fill.variance)
    assert fill.variance == pytest.approx(drawn(y[0]).var(), rel=0.01)


def test_an_order_s_effect_does_not_change_the_law() -> None:
    algo = Algo(0.6, -2.0, 1.2, 0.1, 0.3)
    plain, mixed = algo.series(0.0)[0], algo.series(0.6)[0]
    assert mixed.mean == pytest.approx(plain.mean, rel=1e-3)
    assert mixed.variance == pytest.approx(plain.variance, rel=1e-3)
    assert mixed.between > plain.between == 0.0


# Odd data


def test_an_algo_that_always_fills_at_once() -> None:
    rng = np.random.default_rng(5)
    depth = random_depth(rng, 20)
    depth[..., 0] = 1e9
    found = fit(outcomes_of(depth), ["Sure", "Other"])
    sure = found.algos[0]
    assert sure.fill_probability.value == 1.0
    assert sure.fill.value == 1.0
    assert sure.depth.value > 0.3
    assert sure.liquidity_loading.value == 0.0
    assert "hardly vary" in sure.liquidity_loading.note
    drawn = np.exp(12 + rng.standard_normal(depth.shape[:-1]))
    depth[..., 0] = drawn
    again = fit(outcomes_of(depth), ["Sure", "Other"]).algos[0]
    assert again.depth.value > 20  # far above the cap, and not cut off there
    assert load_text(found)


def test_what_is_not_estimated_says_why_and_is_no_nan(capsys) -> None:
    """One algo is always filled at once and one never: correlations do not exist."""
    depth = random_depth(np.random.default_rng(14), 20, 3)
    depth[..., 0], depth[..., 1] = 1e9, 0.0
    found = fit(outcomes_of(depth), ["Sure", "Never", "Some"])
    text = load_text(found)
    show(found, choices_of(), "data", "all", {}, [], [])
    said = capsys.readouterr().out
    assert "nan" not in (said + text).lower()
    assert "not estimated: its fills do not vary" in said
    assert "not estimated: the data have no moves of the mid" in said


def test_an_algo_that_never_filled() -> None:
    depth = random_depth(np.random.default_rng(6), 20)
    depth[..., 1] = 0.0
    found = fit(outcomes_of(depth), ["Some", "None"])
    never = found.algos[1]
    assert never.fill_probability == Estimate(0.0, note="never filled")
    assert never.half_spread.value == 2.0  # its limit
    assert load_text(found)
    nothing = fit(outcomes_of(0 * depth), ["Some", "None"])
    assert load_text(nothing)


def test_one_window() -> None:
    found = fit(outcomes_of(random_depth(np.random.default_rng(7), 1)), ["A", "B"])
    assert math.isnan(found.algos[0].depth.error)
    assert "no standard error: one window" in load_text(found)


def test_one_bucket_and_one_algo() -> None:
    depth = random_depth(np.random.default_rng(8), 30)[:, :, :1, :1]
    found = fit(outcomes_of(depth), ["Only"])
    assert found.algos[0].liquidity_loading.value == 1.0
    assert found.volume_persistence.value == 0.0
    assert load_text(found)


def test_buckets_without_volume_are_counted() -> None:
    rng = np.random.default_rng(9)
    depth, volume = random_depth(rng, 20), 1000.0 * np.exp(0.5 * rng.standard_normal((20, 5)))
    whole = fit(outcomes_of(depth, volume.copy()), ["A", "B"])
    volume[3, 2] = 0.0
    found = fit(outcomes_of(depth, volume), ["A", "B"])
    assert found.counts == {"buckets without a trade": 1}
    assert found.volume_sd.value == pytest.approx(whole.volume_sd.value, abs=0.03)
    assert found.expected[2].value == pytest.approx(volume[:, 2].mean())


def test_a_market_that_never_trades() -> None:
    with pytest.raises(DataError, match="traded nothing"):
        fit(outcomes_of(random_depth(np.random.default_rng(10), 3), np.zeros((3, 5))), ["A", "B"])


def test_volume_s_sd_and_persistence() -> None:
    rng = np.random.default_rng(11)
    noise = rng.standard_normal((4000, 6))
    for b in range(1, 6):
        noise[:, b] = 0.5 * noise[:, b - 1] + math.sqrt(0.75) * noise[:, b]
    law = fit_volume(np.ones((1, 4000)), 1e4 * np.exp(0.7 * noise - 0.245))
    assert law.sd[0] == pytest.approx(0.7, abs=0.02)
    assert law.persistence[0] == pytest.approx(0.5, abs=0.02)
    assert law.expected[0] == pytest.approx(1e4, rel=0.05)


# Files


def choices_of(**choices) -> Choices:
    return Choices(**({"name": "x", "description": "", "size": 2500, "lot_size": 25} | choices))


def load_text(found, **choices) -> str:
    """The scenario file of a fit, which must load as what was meant."""
    chosen = choices_of(**choices)
    text = scenario_toml(found, chosen, ["head"])
    import tomllib

    assert load_scenario(tomllib.loads(text)) == scenario_of(found, chosen)
    return text


def test_every_estimate_has_its_standard_error_beside_it() -> None:
    rng = np.random.default_rng(12)
    mid = 50 * np.exp(np.cumsum(1e-3 * rng.standard_normal((20, 6)), axis=1))
    volume = 1000.0 * np.exp(0.5 * rng.standard_normal((20, 5)))
    found = fit(outcomes_of(random_depth(rng, 20), volume, mid), ["A", "B"])
    text = load_text(found, fees={"A": 0.3}, rebates={"A": 0.1}, impact=7.0)
    algo = found.algos[0]
    assert f"# {algo.depth} (standard error, 20 windows)" in text
    assert "residual_quadratic = 7.0 # given, not estimated" in text
    # touch 2, a fee of 0.2, and for a tenth of the order 7 sqrt(1 / 10), of which 7 / 10 is there
    left = scenario_of(found, choices_of(fees={"A": 0.3}, rebates={"A": 0.1}, impact=7.0)).penalties
    assert left.residual == pytest.approx(3.714, abs=2e-3)
    assert left.residual_quadratic == 7.0
    for line in text.splitlines():
        key = line.split(" = ")[0]
        if key in ("depth", "depth_sd", "fill_probability", "half_spread", "sd", "residual"):
            assert "#" in line, line


@pytest.mark.parametrize(
    ("size", "lot"), [(5, 1), (80, 1), (16_600, 200), (279_000, 3000), (750, 10), (1e6, 10_000)]
)
def test_about_a_hundred_lots(size: float, lot: int) -> None:
    assert lot_of(size) == lot
