from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from execution_env import load_scenario
from execution_env.allocation.estimation import estimate, learned, prior_of_estimates
from execution_env.allocation.logistic_normal import intercept, mean, variance_split


def test_one_bucket_by_hand() -> None:
    # 10 lots posted at f = .5, 8 filled; icc .1 makes them worth 10 / 1.9 lots.
    s, t, m = learned(False, 1.0, 20.0, 0.1, 0.5, 10.0, 8.0, 0.0, 0.0, 1.0)
    assert s == pytest.approx(8 / 1.9)
    assert t == pytest.approx(5 / 1.9)
    assert m == pytest.approx((20 + 8 / 1.9) / (20 + 5 / 1.9))


def test_memory_fades_older_evidence() -> None:
    s, t, m = learned(False, 0.5, 20.0, 0.0, 0.5, 4.0, 1.0, 6.0, 8.0, 0.9)
    assert (s, t) == (4.0, 6.0)
    assert m == pytest.approx(24 / 26)


def test_ewma_by_hand() -> None:
    _, _, m = learned(True, 0.8, 20.0, 0.1, 0.5, 10.0, 8.0, 0.0, 0.0, 1.1)
    assert m == pytest.approx(0.8 * 1.1 + 0.2 * 8 / 5)


@given(
    st.booleans(), st.floats(0, 1), st.floats(0.1, 100), st.floats(0, 1), st.floats(0, 1),
    st.floats(0, 50), st.floats(0, 50),
)  # fmt: skip
def test_what_was_not_posted_to_or_cannot_fill_teaches_nothing(
    ewma: bool, memory: float, weight: float, icc: float, rate: float, s: float, t: float
) -> None:
    m = 1.3 if ewma else (weight + s) / (weight + t)
    assert learned(ewma, memory, weight, icc, rate, 0.0, 0.0, s, t, m) == (s, t, m)
    assert learned(ewma, memory, weight, icc, 0.0, 7.0, 0.0, s, t, m) == (s, t, m)


def test_nothing_hidden_nothing_learned() -> None:
    assert learned(False, 1.0, np.inf, 0.1, 0.5, 10.0, 8.0, 0.0, 0.0, 1.0)[2] == 1.0


@given(st.floats(0, 20), st.floats(0, 1))
def test_estimates_are_rates(multiplier: float, prediction: float) -> None:
    assert 0.0 <= estimate(multiplier, prediction) <= 1.0


@pytest.mark.parametrize("sd", [0.0, 0.3, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("rate", [0.002, 0.25, 0.5, 0.95])
def test_the_intercept_gives_the_mean_against_scipy(rate: float, sd: float) -> None:
    location = float(intercept(np.array(rate), np.array(sd)))
    assert float(mean(np.array(location), np.array(sd))) == pytest.approx(rate, abs=1e-13)
    if sd > 0:
        integral, _ = quad(
            lambda x: expit(location + sd * x) * norm.pdf(x), -10, 10, limit=400, epsabs=1e-12,
            points=[-location / sd] if abs(location / sd) < 10 else None,
        )  # fmt: skip
        assert integral == pytest.approx(rate, abs=1e-9)


def test_certain_rates_have_infinite_intercepts() -> None:
    assert intercept(np.array([0.0, 1.0]), np.array([0.5, 0.5])).tolist() == [-np.inf, np.inf]


def test_the_variance_of_a_fill_rate_is_split_as_in_a_simulation() -> None:
    rate, hidden_sd, bucket_sd = 0.3, 0.7, 1.1
    rng = np.random.default_rng(5)
    location = float(intercept(np.array(rate), np.array(np.hypot(hidden_sd, bucket_sd))))
    hidden = location + hidden_sd * rng.standard_normal((20_000, 1))
    rates = expit(hidden + bucket_sd * rng.standard_normal((20_000, 400)))
    of_hidden, of_bucket = variance_split(
        np.array([rate]), np.array([hidden_sd]), np.array([bucket_sd])
    )
    # Standard errors of the simulated variances are about 1 % and .1 % of them.
    assert of_bucket[0] == pytest.approx(rates.var(axis=1).mean(), rel=0.02)
    assert of_hidden[0] == pytest.approx(rates.mean(axis=1).var() - of_bucket[0] / 400, rel=0.04)


def test_defaults_follow_from_the_noise() -> None:
    weights, correlations = prior_of_estimates(load_scenario("known-rates"))
    assert np.isinf(weights).all()
    assert (correlations > 0).all()
    weights, _ = prior_of_estimates(load_scenario("baseline"))
    # The surer the prediction the more it weighs: Aggressive, Neutral, Passive.
    assert weights[0] > weights[1] > weights[2] > 1
    given_weights, given_icc = prior_of_estimates(
        load_scenario("baseline", {"estimator.prior_weight": [1, 2, 3], "estimator.icc": 0.5})
    )
    assert given_weights.tolist() == [1, 2, 3]
    assert given_icc.tolist() == [0.5] * 3
