from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from agents.evaluation import statistics
from agents.evaluation.statistics import Interval

Generator = np.random.Generator


def test_point_statistics_by_hand() -> None:
    values = np.array([[1.0, 2.0, 6.0, 3.0], [2.0, 2.0, 2.0, 2.0]])
    reference = np.array([2.0, 2.0, 2.0, 4.0])
    np.testing.assert_allclose(statistics.mean(values).value, [3.0, 2.0])
    np.testing.assert_allclose(statistics.sd(values), [np.std([1, 2, 6, 3], ddof=1), 0.0])
    np.testing.assert_allclose(statistics.paired_difference(values, reference).value, [0.5, -0.5])
    np.testing.assert_array_equal(statistics.wins(values, reference)[0], [1.0, 0.5, 0.0, 1.0])
    np.testing.assert_allclose(statistics.win_rate(values, reference), [0.625, 0.625])
    np.testing.assert_allclose(statistics.gap(values, reference).value, [0.2, -0.2])


def test_cvar_takes_the_worst_days_and_a_fraction_of_the_next() -> None:
    def value(values: Any, tail: float) -> float:
        return float(statistics.cvar(values, tail).value)

    days = np.arange(1.0, 11.0)
    assert value(days, 0.2) == pytest.approx(9.5)
    assert value(days, 0.25) == pytest.approx((10 + 9 + 0.5 * 8) / 2.5)
    assert value(days, 0.05) == 10.0  # half a day: the worst one
    assert value(days, 1.0) == pytest.approx(5.5)
    assert value(np.arange(100.0), 0.05) == pytest.approx(97.0)  # exactly 5 days, whatever 0.05 is


@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=60),
    st.floats(0.01, 1.0),
)
@settings(max_examples=60)
@example([0.0, 1.631786298747799e-111], 1.0)
def test_cvar_is_rockafellar_and_uryasevs(days: list[float], tail: float) -> None:
    array = np.array(days)
    # The minimum over t is at one of the days.
    right = min(t + np.maximum(array - t, 0).mean() / tail for t in days)
    assert float(statistics.cvar(array, tail, resamples=100).value) == pytest.approx(
        right, abs=1e-6
    )


def statistic_of_ratio(x: Any, y: Any, axis: int = -1) -> Any:
    return np.mean(x, axis=axis) / np.mean(y, axis=axis) - 1.0


def test_intervals_agree_with_scipy() -> None:
    generator = np.random.default_rng(7)
    values = generator.gamma(0.5, size=(3, 40))
    bound = 0.2 + 0.5 * values[0] + generator.gamma(3.0, size=40)
    arguments: dict[str, Any] = {"n_resamples": 40_000, "method": "BCa", "paired": True}
    ours = statistics.mean(values, 0.9, resamples=40_000)
    ratio = statistics.gap(values, bound, 0.9, resamples=40_000)
    for j in range(3):
        theirs = stats.bootstrap(
            (values[j],), np.mean, confidence_level=0.9, rng=np.random.default_rng(1), **arguments
        )
        width = theirs.confidence_interval.high - theirs.confidence_interval.low
        np.testing.assert_allclose(
            [ours.low[j], ours.high[j]], theirs.confidence_interval, atol=0.02 * width
        )
        theirs = stats.bootstrap(
            (values[j], bound),
            statistic_of_ratio,
            confidence_level=0.9,
            rng=np.random.default_rng(1),
            **arguments,
        )
        width = theirs.confidence_interval.high - theirs.confidence_interval.low
        np.testing.assert_allclose(
            [ratio.low[j], ratio.high[j]], theirs.confidence_interval, atol=0.03 * width
        )


def test_intervals_of_cvar_agree_with_scipys_percentiles_moved() -> None:
    days = np.random.default_rng(3).gamma(2.0, size=200)

    def worst_ten(x: Any, axis: int = -1) -> Any:
        return np.sort(x, axis=axis)[..., -10:].mean(axis=axis)

    ours = statistics.cvar(days, resamples=20_000)
    theirs = stats.bootstrap(
        (days,), worst_ten, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    np.testing.assert_allclose([ours.low, ours.high], theirs, atol=0.05 * width)


def share_covered(
    draw: Callable[[Generator], Any],
    interval: Callable[[Any, int], Interval],
    truth: float,
    times: int = 400,
) -> float:
    generator = np.random.default_rng(11)
    covered = 0
    for j in range(times):
        found = interval(draw(generator), j)
        covered += bool(found.low <= truth <= found.high)
    return covered / times


def quick_mean(values: Any, seed: int) -> Interval:
    return statistics.mean(values, seed=seed, resamples=500)


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda g: g.normal(3.0, 2.0, size=80), 3.0),
        (lambda g: g.exponential(1.0, size=80), 1.0),
        (lambda g: np.where(g.random(200) < 0.1, 5.0, 1.0), 1.4),
    ],
)
def test_95_percent_intervals_cover_the_truth_95_percent_of_the_time(
    draw: Callable[[Generator], Any], truth: float
) -> None:
    # Of 400 samples; standard error 1.1 %.
    assert 0.91 <= share_covered(draw, quick_mean, truth) <= 0.985


def test_paired_intervals_cover_and_are_narrow() -> None:
    def draw(g: Generator) -> Any:
        day = g.exponential(5.0, size=100)
        return np.array([day + g.normal(0.3, 0.5, size=100), day])

    def interval(values: Any, seed: int) -> Interval:
        return statistics.paired_difference(values[0], values[1], seed=seed, resamples=500)

    assert 0.91 <= share_covered(draw, interval, 0.3) <= 0.985
    values = draw(np.random.default_rng(0))
    paired, alone = interval(values, 0), quick_mean(values[0], 0)
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_any_confidence_level() -> None:
    def interval(values: Any, seed: int) -> Interval:
        return statistics.mean(values, 0.5, seed, resamples=500)

    assert 0.42 <= share_covered(lambda g: g.normal(size=60), interval, 0.0) <= 0.58
    values = np.random.default_rng(0).normal(size=(3, 60))
    wide, narrow = statistics.mean(values, 0.99), statistics.mean(values, 0.8)
    assert (wide.low < narrow.low).all()
    assert (narrow.high < wide.high).all()


@pytest.mark.parametrize(("seeds", "spread"), [(5, 1.0), (5, 0.0), (3, 1.0), (10, 0.3)])
def test_intervals_over_seeds_cover_the_mean_of_all_seeds(seeds: int, spread: float) -> None:
    def draw(g: Generator) -> Any:
        day = g.normal(size=60)
        return 2.0 + spread * g.normal(size=(seeds, 1)) + day + 0.3 * g.normal(size=(seeds, 60))

    def interval(values: Any, seed: int) -> Interval:
        return statistics.mean_over_seeds(values, seed=seed, resamples=500)

    # Percentiles of the plain bootstrap would cover some 85 % of the time with 5 seeds that differ.
    assert 0.9 <= share_covered(draw, interval, 2.0) <= 0.995


def test_intervals_over_seeds_and_few_clusters_cover_the_mean() -> None:
    clusters = np.repeat(np.arange(13), 2)

    def draw(g: Generator) -> Any:
        window = np.repeat(g.normal(size=13), 2)
        return 2.0 + 0.2 * g.normal(size=(3, 1)) + window + 0.3 * g.normal(size=(3, 26))

    def interval(values: Any, seed: int) -> Interval:
        return statistics.mean_over_seeds(values, seed=seed, resamples=500, clusters=clusters)

    assert 0.925 <= share_covered(draw, interval, 2.0) <= 0.995


def test_seeds_that_do_not_differ_add_nothing() -> None:
    days = np.random.default_rng(5).normal(size=400)
    over_seeds = statistics.mean_over_seeds(np.tile(days, (5, 1)))
    over_days = statistics.mean(days)
    np.testing.assert_allclose(over_seeds, over_days, atol=0.005)
    assert over_seeds.value.shape == over_seeds.low.shape == ()


def test_the_same_seed_gives_the_same_interval_and_the_same_days_for_all() -> None:
    values = np.random.default_rng(1).normal(size=(6, 300))
    one, again = statistics.mean(values, seed=3), statistics.mean(values, seed=3)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one.low, statistics.mean(values, seed=4).low)
    some = statistics.mean(values[2:4], seed=3)
    np.testing.assert_allclose(some, np.array(one)[:, 2:4])
    np.testing.assert_allclose(statistics.mean(values[2], seed=3), np.array(one)[:, 2])


@pytest.mark.parametrize("of", [statistics.mean, statistics.cvar])
def test_intervals_move_and_scale_with_the_values(of: Callable[..., Interval]) -> None:
    values = np.random.default_rng(2).gamma(1.0, size=(2, 3, 90))
    before = np.array(of(values))
    assert before.shape == (3, 2, 3)
    np.testing.assert_allclose(of(4.0 * values + 7.0), 4.0 * before + 7.0)


def test_intervals_of_a_mean_mirror() -> None:
    values = np.random.default_rng(2).gamma(1.0, size=90)
    value, low, high = statistics.mean(values)
    np.testing.assert_allclose(statistics.mean(-values), (-value, -high, -low))


def test_differences_and_gaps_from_oneself_are_0() -> None:
    values = np.random.default_rng(2).gamma(1.0, size=(2, 90))
    for interval in (
        statistics.paired_difference(values, values),
        statistics.gap(values, values),
        statistics.gap(values[0], values[0]),
    ):
        assert all((part == 0.0).all() for part in interval)
    assert (statistics.win_rate(values, values) == 0.5).all()


@given(st.floats(-1e6, 1e6), st.integers(2, 50))
@settings(max_examples=30)
def test_alike_days_have_an_interval_of_width_0(value: float, days: int) -> None:
    values = np.full((2, days), value)
    for interval in (
        statistics.mean(values, resamples=100),
        statistics.cvar(values, resamples=100),
        statistics.mean_over_seeds(values, resamples=100),
    ):
        assert all((part == value).all() for part in interval)
    assert (statistics.sd(values) == 0.0).all()


def test_one_day_has_no_interval() -> None:
    values = np.array([[1.0], [2.0]])
    for interval in (
        statistics.mean(values),
        statistics.cvar(values),
        statistics.paired_difference(values, [0.0]),
        statistics.gap(values, [1.0]),
        statistics.mean_over_seeds(values),
    ):
        assert np.isfinite(interval.value).all()
        assert np.isnan(interval.low).all()
        assert np.isnan(interval.high).all()
    assert np.isnan(statistics.sd(values)).all()


def test_one_seed_has_no_interval_over_seeds() -> None:
    interval = statistics.mean_over_seeds([[1.0, 2.0, 3.0]])
    assert interval.value == 2.0
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)


def test_a_gap_to_0_is_nan() -> None:
    assert np.isnan(statistics.gap([[1.0, 2.0]], [0.0, 0.0])).all()
    value, low, high = statistics.gap([[1.0, 2.0, 3.0]], [-1.0, 1.0, 1.0])
    assert value == pytest.approx(5.0)
    assert np.isnan(low)  # the bound is 0 in some resamples
    assert np.isnan(high)
    mixed = statistics.gap([[1.0, 2.0], [1.0, 3.0]], [[0.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(np.isnan(mixed.low), [True, False])


def test_a_resample_with_few_bad_days_is_looked_through_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    days = np.random.default_rng(0).normal(size=(2, 400))
    before = statistics.cvar(days, resamples=200)
    monkeypatch.setattr(
        statistics, "SPARE", -20
    )  # the 20 worst days alone, which often are too few
    np.testing.assert_allclose(statistics.cvar(days, resamples=200), before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.mean([]), r"values of shape \(0,\): must be \(policies, days\)"),
        (lambda: statistics.mean(1.0), r"values of shape \(\)"),
        (lambda: statistics.mean([[1.0, np.nan]]), r"values\[0, 1\] = nan: must be finite"),
        (lambda: statistics.mean(["a"]), "values: must be an array of numbers"),
        (lambda: statistics.mean([[1.0], [1.0, 2.0]]), "values: must be an array of numbers"),
        (lambda: statistics.mean([1.0, 2.0], 95), "confidence = 95: must be between 0 and 1"),
        (lambda: statistics.mean([1.0, 2.0], True), "confidence = True: must be a number"),
        (lambda: statistics.mean([1.0, 2.0], seed=-1), "seed = -1: must be a non-negative"),
        (lambda: statistics.mean([1.0, 2.0], resamples=10), "resamples = 10: must be a whole"),
        (lambda: statistics.cvar([1.0, 2.0], 0.0), "tail = 0.0: must be a fraction of the days"),
        (lambda: statistics.sd([[np.inf]]), r"values\[0, 0\] = inf"),
        (
            lambda: statistics.paired_difference([[1.0, 2.0]], [1.0]),
            r"reference of shape \(1,\): must be \(2,\) or \(1, 2\)",
        ),
        (lambda: statistics.win_rate([[1.0, 2.0]], [[1.0, 2.0]] * 2), "reference of shape"),
        (lambda: statistics.gap([1.0, 2.0], [1.0, 2.0, 3.0]), "bound of shape"),
        (lambda: statistics.mean_over_seeds([1.0, 2.0]), r"must be \(seeds, days\)"),
    ],
)
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_10_000_days_of_15_policies_take_seconds() -> None:
    values = np.random.default_rng(0).gamma(1.0, size=(15, 10_000))
    began = time.process_time()
    statistics.mean(values)
    statistics.paired_difference(values, values[0])
    statistics.gap(values, 0.5 * values[0])
    statistics.cvar(values)
    assert time.process_time() - began < 15.0  # some 2 on a quiet machine


# Scores: 0 is the reference, 1 the bound.


def test_scores_by_hand() -> None:
    reference, bound = np.array([4.0, 2.0, 6.0]), np.array([1.0, 2.0, 3.0])
    values = np.array([[4.0, 2.0, 6.0], [1.0, 2.0, 3.0], [3.0, 3.0, 3.0], [5.0, 5.0, 5.0]])
    found = statistics.score(values, reference, bound).value
    np.testing.assert_allclose(found, [0.0, 1.0, 0.5, -0.5])


def test_scores_are_scipys() -> None:
    generator = np.random.default_rng(5)
    bound = generator.exponential(size=300)
    reference = bound + generator.exponential(size=300)
    values = 0.6 * bound + 0.4 * reference + generator.normal(0, 0.1, 300)

    def statistic(x: Any, y: Any, z: Any, axis: int = -1) -> Any:
        return (y - x).mean(axis=axis) / (y - z).mean(axis=axis)

    right = stats.bootstrap(
        (values, reference, bound),
        statistic,
        paired=True,
        n_resamples=20_000,
        method="BCa",
        random_state=np.random.default_rng(1),
    ).confidence_interval
    found = statistics.score(values, reference, bound, resamples=20_000)
    assert float(found.value) == pytest.approx(statistic(values, reference, bound))
    width = right.high - right.low
    assert float(found.low) == pytest.approx(right.low, abs=0.05 * width)
    assert float(found.high) == pytest.approx(right.high, abs=0.05 * width)


def test_without_room_between_reference_and_bound_there_is_no_score() -> None:
    values, reference = np.ones((2, 4)), np.array([1.0, 2.0, 1.0, 2.0])
    for bound in (reference, reference + 1.0):
        for interval in (
            statistics.score(values, reference, bound),
            statistics.score_over_seeds(values, reference, bound),
        ):
            assert np.isnan(interval).all()


def test_room_that_some_resamples_do_not_have_leaves_a_score_without_interval() -> None:
    reference, bound = np.array([3.0, 1.0, 1.0]), np.array([1.0, 1.5, 1.5])
    for function in (statistics.score, statistics.score_over_seeds):
        found = function(np.stack([bound, reference]), reference, bound)
        assert np.isfinite(found.value).all()
        assert np.isnan(found.low).all()
        assert np.isnan(found.high).all()


def test_scores_over_seeds_are_those_of_the_mean_over_seeds() -> None:
    generator = np.random.default_rng(6)
    bound = generator.exponential(size=500)
    reference = bound + generator.exponential(size=500)
    alike = np.tile(0.5 * (bound + reference) + generator.normal(0, 0.2, 500), (3, 1))
    over, plain = (
        statistics.score_over_seeds(alike, reference, bound),
        statistics.score(alike[0], reference, bound),
    )
    width = float(plain.high - plain.low)
    for one, other in zip(over, plain, strict=True):
        assert float(one) == pytest.approx(float(other), abs=0.1 * width)
    apart = alike + np.array([[-0.3], [0.0], [0.3]])
    wide = statistics.score_over_seeds(apart, reference, bound)
    assert float(wide.value) == pytest.approx(float(plain.value))
    assert wide.high - wide.low > 5 * width
    assert np.isnan(statistics.score_over_seeds(alike[:1], reference, bound).low)


def test_a_score_needs_one_bound() -> None:
    days = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"bound of shape \(2, 3\)"):
        statistics.score(days, days[0], days)
    with pytest.raises(ValueError, match=r"must be \(seeds, days\)"):
        statistics.score_over_seeds(days[0], days[0], days[0])


def test_few_clusters_are_not_believed_too_much() -> None:
    # Student's t from 13 numbers holds the mean in 95 % of cases; a plain bootstrap of them in fewer.
    rng = np.random.default_rng(0)
    values = rng.standard_normal((400, 13))
    numbers = np.arange(13)

    def held(interval: statistics.Interval) -> float:
        return float(((interval.low <= 0) & (interval.high >= 0)).mean())

    plain = held(statistics.mean(values, resamples=500))
    stretched = held(statistics.mean(values, resamples=500, clusters=numbers))
    assert plain < 0.93
    assert 0.93 < stretched < 0.98
    # and many clusters are as many days
    many = rng.standard_normal(5000)
    one = statistics.mean(many, clusters=np.arange(5000))
    other = statistics.mean(many)
    assert one.high - one.low == pytest.approx(other.high - other.low, rel=1e-3)
