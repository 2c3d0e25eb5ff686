"""The price of the clean-up: a marketable order in the data, and never below crossing."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest

from execution_env.allocation.diagnosis import oddities
from execution_env.calibration.fitting.cleanup import Cleanup, Crossing, Offers, price_cleanup
from execution_env.calibration.fitting.estimate import Estimate
from execution_env.calibration.fitting.fit import Fit, fit
from execution_env.calibration.fitting.fit_log import fit_log
from execution_env.calibration.readers.tape import DataError
from execution_env.calibration.simulator.child_orders import simulate
from execution_env.calibration.write import Choices, cleanup, scenario_of, scenario_toml
from tests.calibration.made_days import NESTED, made_log
from tests.calibration.made_outcomes import outcomes_of
from tests.calibration.tapes import S, book_tape, tape_of


def crossing(price: list, size: list, paid: float = 0.0, drift: float = 0.0) -> Crossing:
    """Two orders whose books are alike; k = 3 bps / sqrt(900 shares) = 0.1."""
    weight = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    return Crossing(
        offers=Offers(np.array([price] * 2, float), np.array([size] * 2, float)),
        weight=weight,
        algo="A",
        paid=np.full(3, paid),
        drift=np.full(3, drift),
        posted=100.0,
        sd=np.full(3, 3.0),
        volume=np.full(3, 900.0),
        source="levels",
    )


def priced(
    of: Crossing, size: int = 1000, fee: float = 0.0, impact: float | None = None
) -> Cleanup:
    return price_cleanup(of, size, fee, impact)


@pytest.mark.parametrize(
    ("shares", "price"),
    [
        (40, 1.0),  # within the touch
        (100, (50 * 1 + 50 * 2) / 100),  # two levels
        (150, (50 * 1 + 100 * 2) / 150),  # all that is displayed
        (250, (50 * 1 + 100 * 2 + 100 * (2 + 0.1 * 10)) / 250),  # 100 beyond, at 2 and the law
    ],
)
def test_the_book_is_walked_and_the_law_is_beyond_it(shares: float, price: float) -> None:
    of = crossing([1.0, 2.0, 9.0], [50, 100, 0])
    of = crossing([1.0, 2.0], [50, 100]) if shares > 150 else of
    assert of.price(shares, of.law(1000, None)) == pytest.approx([price] * 3)


def test_the_scenario_s_line_meets_a_tenth_and_all_of_the_order() -> None:
    found = priced(crossing([1.0], [0]))
    assert found.tenth.value == pytest.approx(1 + 0.1 * 10)
    assert found.whole.value == pytest.approx(1 + 0.1 * math.sqrt(1000))
    a, b = found.linear.value, found.quadratic.value
    assert a + 0.1 * b == pytest.approx(found.tenth.value)
    assert a + b == pytest.approx(found.whole.value)
    assert not found.floored


def test_a_larger_child_order_is_not_priced_below_the_data_either() -> None:
    """A book of one deep level: the line through a tenth and all would be below it at 300 shares."""
    of = dataclasses.replace(crossing([1.0], [150]), posted=300.0)
    found = priced(of)
    for shares in (100, 300, 1000):
        data = of.price(shares, of.law(1000, None))[0]
        assert found.linear.value + found.quadratic.value * shares / 1000 >= data - 1e-12


def test_it_is_never_below_the_all_in_price_of_crossing() -> None:
    """Half-spread 2.5, and 0.4 more by adverse moves, where the touch at the end is 1."""
    found = priced(crossing([1.0], [1e6], paid=2.5, drift=-0.4), fee=0.3)
    assert found.linear.value == pytest.approx(3.2)
    assert found.floored
    assert "the all-in price of A" in found.words
    assert priced(crossing([1.0], [1e6], paid=2.5, drift=0.4)).linear.value == pytest.approx(2.5)


def test_an_impact_that_is_given_is_the_order_s() -> None:
    found = priced(crossing([1.0], [0]), impact=8.0)
    assert found.quadratic.value == 8.0
    assert found.given
    assert found.tenth.value == pytest.approx(1 + 8 * math.sqrt(0.1))
    assert found.linear.value + 0.8 == pytest.approx(found.tenth.value)


def test_the_standard_error_is_that_of_the_windows() -> None:
    """The law has none here, so the error is that of a mean of touches."""
    touch = np.random.default_rng(0).uniform(1, 2, 30)
    weight = np.vstack([np.ones(30), 1 - np.eye(30)])
    one = np.ones(31)
    of = dataclasses.replace(
        crossing([1.0], [1e6]),
        offers=Offers(touch[:, None], np.full((30, 1), 1e6)),
        weight=weight, paid=one, drift=0 * one, sd=3 * one, volume=900 * one,
    )  # fmt: skip
    found = priced(of)
    assert found.linear.value == pytest.approx(touch.mean())
    assert found.linear.error == pytest.approx(touch.std(ddof=1) / math.sqrt(30))


@functools.cache
def random_fit(mid_sd: float = 1e-3, touch: float = 2.0) -> Fit:
    """Twenty windows whose Aggressive pays 2; the touch at an order's end is given."""
    rng = np.random.default_rng(12)
    mid = 50 * np.exp(np.cumsum(mid_sd * rng.standard_normal((20, 6)), axis=1))
    there = rng.random((2, 20, 5, 2)) < 0.7
    outcomes = outcomes_of(there * 200 * np.exp(rng.standard_normal(there.shape)), None, mid, 1e6)
    return fit(outcomes._replace(end_price=np.full((2, 20, 1), touch)), ["A", "B"])


def test_a_touch_that_is_narrow_at_the_end_does_not_make_leaving_cheap() -> None:
    """As on IBM: spreads are wide at the open, and no order ends there."""
    found = random_fit(touch=0.5)
    scenario = scenario_of(found, Choices("x", "", 2500, 25))
    left = cleanup(found, Choices("x", "", 2500, 25))
    assert left.child.value == pytest.approx(0.5, abs=0.01)
    assert left.all_in.value >= 2.0
    assert scenario.penalties.residual >= 2.0
    assert not [odd for odd in oddities(scenario) if "clean-up" in odd]
    assert math.isfinite(left.linear.error)
    text = scenario_toml(found, Choices("x", "", 2500, 25))
    (line,) = [line for line in text.splitlines() if line.startswith("residual = ")]
    assert "+-" in line
    assert "see Clean-up above" in line


def test_without_moves_a_scenario_is_refused_in_a_line() -> None:
    found = random_fit(touch=0.5)
    broken = dataclasses.replace(found, price_sd=Estimate(math.nan, note="no moves"))
    with pytest.raises(DataError, match=r"price\.sd: not estimated: no moves"):
        scenario_of(broken, Choices("x", "", 2500, 25))


def test_a_fill_log_s_clean_up_is_what_crossing_paid_and_more() -> None:
    log = made_log(NESTED, 13, 3, [40_000, 20_000, 20_000])
    found = fit_log(log)[0]
    left = cleanup(found, Choices("x", "", 50_000, 500))
    assert left.child.value == pytest.approx(30.0, abs=0.01)
    assert left.whole.value > left.tenth.value >= left.child.value
    assert left.linear.value >= 30.0 - 1e-9
    assert "what Aggressive paid" in left.words
    given = fit_log(log, touch=20.0)[0]
    assert cleanup(given, Choices("x", "", 50_000, 500)).linear.value >= 30.0 - 1e-9
    assert "the given touch" in cleanup(given, Choices("x", "", 50_000, 500)).words


def test_the_levels_of_a_book_at_an_order_s_end() -> None:
    """Offers of 300 at the touch and 200 a tick behind; bids of 100 and 50. Empty levels hold none."""
    bids, asks = {9990: 100, 9980: 50}, {10010: 300, 10020: 200}
    deep = book_tape(bids, asks, [(0.0, 1, 1, 0, 9990, 1)], close=60)
    quote = tape_of([(0, 9990, 100, 10010, 300)], close=60)
    starts = np.array([0])
    found, flat = (
        simulate(tape, bucket=30 * S, window=60 * S, starts=starts)[0] for tape in (deep, quote)
    )
    assert found.end_price[:, 0, :2] == pytest.approx(np.array([[10.0, 20.0], [10.0, 20.0]]))
    assert found.end_size[:, 0].tolist() == [[300, 200, 0], [100, 50, 0]]
    assert flat.end_price == pytest.approx(np.full((2, 1, 1), 10.0))
    both = flat.join(found)
    assert both.end_size[0].tolist() == [[300, 0, 0], [300, 200, 0]]
