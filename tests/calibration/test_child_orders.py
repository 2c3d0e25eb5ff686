"""The simulator as a whole: what it returns, what must always hold, what it refuses."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution_env.calibration.readers.tape import (
    BUY,
    CLOSE,
    OPEN,
    SELL,
    DataError,
    Quotes,
    Tape,
    Trades,
)
from execution_env.calibration.simulator.child_orders import simulate
from execution_env.calibration.simulator.placement import (
    AGGRESSIVE,
    MIDPOINT,
    NEUTRAL,
    PASSIVE,
    PLACEMENTS,
    Assumptions,
    Placement,
)
from execution_env.calibration.simulator.windows import plan_windows
from execution_env.core.validation import ScenarioError
from tests.calibration.tapes import S, mirrored, random_book, random_tape, tape_of

QUOTES = [(0.0, 2000, 300, 2002, 400), (3.0, 2001, 300, 2005, 400)]
TRADES = [(0.0, 2001, 1000, True), (1.0, 2000, 200, True), (2.0, 2002, 100, False)]


def test_a_small_day_by_hand() -> None:
    # Two windows of two buckets of 2 s. Prints of 0 s are over when the first bucket starts, those of
    # 2 s belong to it.
    done: list[tuple[int, int]] = []
    outcomes, left_out = simulate(
        tape_of(QUOTES, TRADES, close=9), [AGGRESSIVE, PASSIVE], bucket=2 * S, window=4 * S,
        progress=lambda *at: done.append(at),
    )  # fmt: skip
    assert left_out == {}
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert outcomes.symbol.tolist() == ["abc", "abc"]
    assert outcomes.date.tolist() == ["20130101"] * 2
    assert outcomes.start.tolist() == [0, 4 * S]
    assert outcomes.depth.shape == outcomes.price.shape == (2, 2, 2, 2)
    assert outcomes.volume.tolist() == [[300, 0], [0, 0]]
    assert outcomes.mid.tolist() == [[20.01, 20.01, 20.03], [20.03, 20.03, 20.03]]
    assert outcomes.vwap[0].tolist() == pytest.approx([(200 * 20 + 100 * 20.02) / 300, 20.02])
    cent, two = 0.01 / 20.01 * 1e4, 0.02 / 20.03 * 1e4
    np.testing.assert_allclose(outcomes.touch, [[[cent, cent, two], [two] * 3]] * 2)
    # 400 displayed at 20.02, 300 at 20.00, and as much again at 20.00 elsewhere.
    assert outcomes.depth[BUY, 0].tolist() == [[400, 0], [400, 0]]
    # 300 at 20.00, of which 200 trade. In the second bucket the bid comes up to 20.01, still below the
    # passive seller at 20.02: the best ask is above her, and nothing trades.
    assert outcomes.depth[SELL, 0].tolist() == [[300, 0], [300, 0]]
    np.testing.assert_allclose(outcomes.price[:, 0], [[[cent, -cent]] * 2] * 2)


seeds = st.integers(0, 10_000)


def depth_of(tape: Tape, placements: Any, bucket: float = 2, **assumptions: Any) -> Any:
    how = Assumptions(**assumptions)
    seconds = round(bucket * S)
    return simulate(tape, placements, how, bucket=seconds, window=seconds)[0].depth


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    rng = np.random.default_rng(draw(seeds))
    return (random_book if draw(st.booleans()) else random_tape)(rng)


options = st.fixed_dictionaries({
    "dark": st.booleans(),
    "cancellations": st.sampled_from(["none", "last", "pro-rata"]),
    "elsewhere": st.sampled_from([0.0, 1.0, 0.7]),
    "latency": st.sampled_from([0, S // 2]),
})  # fmt: skip


@settings(max_examples=50)
@given(tapes(), options)
def test_a_better_price_or_place_never_fills_less(tape: Tape, how: dict[str, Any]) -> None:
    at_the_touch = [Placement("front", 0.0, 0.0), Placement("half", 0.0, 0.5), PASSIVE]
    order = [Placement("through", 1.0, ticks=1), AGGRESSIVE, MIDPOINT, *at_the_touch]
    for placements in (order, PLACEMENTS, [MIDPOINT, NEUTRAL]):
        assert (np.diff(depth_of(tape, placements, **how), axis=-1) <= 1e-9).all()


@settings(max_examples=50)
@given(tapes(), options)
def test_sellers_are_buyers_in_the_mirror(tape: Tape, how: dict[str, Any]) -> None:
    placements = [*PLACEMENTS, Placement("a third", 0.34, 0.3, 1), MIDPOINT]
    one, two = (
        simulate(t, placements, Assumptions(**how), bucket=2 * S, window=4 * S)[0]
        for t in (tape, mirrored(tape))
    )
    assert (one.depth == two.depth[::-1]).all()
    assert (one.volume == two.volume).all()
    np.testing.assert_allclose(one.mid + two.mid, 40.0)
    for paid in ("price", "touch"):  # in dollars: the mid is not the same in the mirror
        a, b = (getattr(o, paid) for o in (one, two))
        mids = (
            (one.mid, two.mid)
            if paid == "touch"
            else (one.mid[:, :-1, None], two.mid[:, :-1, None])
        )
        np.testing.assert_allclose(a * mids[0], (b * mids[1])[::-1], atol=1e-9)


@settings(max_examples=50)
@given(tapes(), options)
def test_more_time_never_fills_less(tape: Tape, how: dict[str, Any]) -> None:
    depths = [depth_of(tape, PLACEMENTS, seconds, **how)[:, 0, 0] for seconds in (1, 2, 4.5, 8)]
    assert (np.diff(depths, axis=0) >= 0).all()


@settings(max_examples=50)
@given(seeds, options)
def test_fewer_prints_never_fill_more(seed: int, how: dict[str, Any]) -> None:
    rng = np.random.default_rng(seed)
    tape = random_tape(rng)
    keep = rng.random(tape.trades.time.size) < 0.7
    fewer = dataclasses.replace(tape, trades=Trades(*(a[keep] for a in tape.trades)))
    assert (depth_of(fewer, PLACEMENTS, **how) <= depth_of(tape, PLACEMENTS, **how) + 1e-9).all()


@settings(max_examples=50)
@given(seeds, options)
def test_more_ahead_elsewhere_never_fills_more(seed: int, how: dict[str, Any]) -> None:
    tape = random_tape(np.random.default_rng(seed))
    more = depth_of(tape, PLACEMENTS, **how | {"elsewhere": 3.0})
    assert (more <= depth_of(tape, PLACEMENTS, **how) + 1e-9).all()


@settings(max_examples=50)
@given(tapes(), options)
def test_a_fill_costs_at_most_the_limit(tape: Tape, how: dict[str, Any]) -> None:
    outcomes, _ = simulate(tape, PLACEMENTS, Assumptions(**how), bucket=2 * S, window=4 * S)
    touch = outcomes.touch[..., :-1]
    assert (outcomes.price[..., 0] <= touch + 1e-9).all()
    assert (outcomes.price[..., 2] <= -touch + 1e-9).all()


@settings(max_examples=20)
@given(tapes())
def test_windows_do_not_depend_on_each_other(tape: Tape) -> None:
    apart = [simulate(tape, bucket=S, window=2 * S, starts=[s])[0] for s in (0, S, 5 * S)]
    at_once, _ = simulate(tape, bucket=S, window=2 * S, starts=np.array([0, S, 5 * S]))
    joined = apart[0].join(apart[1]).join(apart[2])
    for name, value in at_once._asdict().items():
        np.testing.assert_array_equal(value, getattr(joined, name))


@pytest.mark.parametrize(
    ("at", "ticks", "half_ticks", "spread", "above_bid"),
    [
        (0.0, 0, False, 5, 0), (1.0, 0, False, 5, 5), (1.0, 2, False, 5, 7), (0.5, 0, False, 4, 2),
        (0.5, 0, False, 5, 2), (0.5, 0, True, 5, 2.5), (0.5, 0, False, 1, 0), (0.5, 0, True, 1, 0.5),
        (0.3, 0, False, 10, 3), (0.0, 1, False, 5, 1), (0.0, 9, False, 5, 4), (0.0, 1, False, 1, 0),
        (0.99, 3, True, 1, 0.5),
    ],
)  # fmt: skip
def test_limits_by_hand(
    at: float, ticks: int, half_ticks: bool, spread: int, above_bid: float
) -> None:
    placement = Placement("it", at, 0.0, ticks, half_ticks)
    near, far = np.array([200_000]), np.array([200_000 + 100 * spread])
    assert placement.limit(near, far, 100).tolist() == [400_000 + 200 * above_bid]
    assert placement.limit(-far, -near, 100).tolist() == [-2 * far[0] + 200 * above_bid]


def test_plans_of_windows() -> None:
    tape = tape_of(QUOTES, close=10)
    assert plan_windows(tape, S, 4 * S).tolist() == [0, 4 * S]
    assert plan_windows(tape, S, 5 * S).tolist() == [0, 5 * S]
    assert plan_windows(tape, S, 4 * S, skip_open=S, skip_close=S).tolist() == [S, 5 * S]
    assert plan_windows(tape, S, 4 * S, every=3 * S).tolist() == [0, 3 * S, 6 * S]


def test_windows_without_a_believable_quote_are_left_out() -> None:
    late = tape_of([(3, 2000, 300, 2002, 400)], close=10)
    outcomes, left_out = simulate(late, bucket=S, window=2 * S)
    assert outcomes.start.tolist() == [4 * S, 6 * S, 8 * S]
    assert left_out == {"windows left out: no quote at the start of a bucket": 2}
    outcomes, left_out = simulate(late, PLACEMENTS, Assumptions(stale_after=4 * S),
                                  bucket=S, window=2 * S)  # fmt: skip
    assert outcomes.start.tolist() == [4 * S]
    assert left_out == {
        "windows left out: no quote at the start of a bucket": 2,
        "windows left out: a quote older than 4 s": 2,
    }


def test_a_day_without_any_usable_window_has_no_outcomes() -> None:
    outcomes, left_out = simulate(
        tape_of([(9, 2000, 300, 2002, 400)], close=10), bucket=S, window=5 * S
    )
    assert outcomes.depth.shape == (2, 0, 5, 3)
    assert sum(left_out.values()) == 2


def test_a_tape_without_prints() -> None:
    outcomes, _ = simulate(tape_of(QUOTES), bucket=5 * S, window=10 * S)
    assert (outcomes.volume == 0).all()
    assert (outcomes.depth[..., 0] > 0).all()


def test_arrays_of_other_kinds() -> None:
    # views, read-only and 32-bit: no other result, and no other compiled loop
    tape = tape_of(QUOTES, TRADES)
    quotes = []
    for a in tape.quotes:
        wide = np.repeat(a.astype(np.int32) if a.max() < 2**31 else a, 2)[::2]
        wide.flags.writeable = False
        quotes.append(wide)
    other = dataclasses.replace(tape, quotes=Quotes(*quotes))
    one, two = (simulate(t, bucket=5 * S, window=10 * S)[0] for t in (tape, other))
    assert (one.depth == two.depth).all()
    assert (one.price == two.price).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": ""}, "name = "), ({"name": 3}, "name = 3"), ({"at": 1.5}, "at = 1.5"),
        ({"at": -0.1}, "at = -0.1"), ({"at": float("nan")}, "at = nan"),
        ({"queue": 2}, "queue = 2"), ({"queue": "back"}, "queue = "), ({"ticks": -1}, "ticks = -1"),
        ({"ticks": 0.5}, "ticks = 0.5"), ({"half_ticks": 1}, "half_ticks = 1"),
    ],
)  # fmt: skip
def test_bad_placements(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        Placement(**{"name": "it", "at": 0.0} | values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dark": 1}, "dark = 1"), ({"cancellations": "pro rata"}, 'Did you mean "pro-rata"'),
        ({"elsewhere": -1}, "elsewhere = -1"), ({"latency": -1}, "latency = -1"),
        ({"latency": 0.5}, "latency = 0.5"), ({"stale_after": 0}, "stale_after = 0"),
    ],
)  # fmt: skip
def test_bad_assumptions(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        Assumptions(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"placements": []}, "at least one"), ({"placements": PASSIVE}, "must be a list"),
        ({"placements": ["Passive"]}, "each must be a Placement"),
        ({"placements": [PASSIVE, PASSIVE]}, "names must differ"),
        ({"bucket": 0}, "bucket = 0"), ({"window": 1.5}, "window = 1.5"),
        ({"bucket": 3 * S, "window": 4 * S}, "window = 4 s, bucket = 3 s: .* whole number"),
        ({"starts": []}, "starts"), ({"starts": [0.5]}, "starts"), ({"starts": [[0]]}, "starts"),
        ({"starts": [-1]}, "not within the session"), ({"starts": [9 * S]}, "not within"),
    ],
)  # fmt: skip
def test_bad_arguments(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        simulate(tape_of(QUOTES), **{"bucket": S, "window": 2 * S} | values)


@pytest.mark.parametrize("name", ["skip_open", "skip_close", "every"])
def test_bad_plans(name: str) -> None:
    with pytest.raises(ScenarioError, match=f"{name} = -1"):
        plan_windows(tape_of(QUOTES), S, S, **{name: -1})


def test_bad_data() -> None:
    with pytest.raises(DataError, match="abc 20130101: no usable quotes"):
        simulate(tape_of([]))
    with pytest.raises(DataError, match=r"lasts 10 s.* too short for a window of 1,800 s"):
        simulate(tape_of(QUOTES))


def test_a_stock_day_is_quick_and_small() -> None:
    # 480,000 quotes and 90,000 prints; a generous limit for a busy machine, compiled before.
    rng = np.random.default_rng(0)
    time = np.sort(rng.integers(OPEN, CLOSE, 480_000))
    time[0] = OPEN
    bid = 200_000 + 100 * np.cumsum(rng.integers(-1, 2, time.size))
    size = rng.integers(1, 100, time.size) * 100
    when = np.sort(rng.integers(OPEN, CLOSE, 90_000))
    price = bid[np.searchsorted(time, when, "right") - 1] + 100 * rng.integers(0, 2, when.size)
    tape = Tape(
        "abc", "20130101", OPEN, CLOSE, Quotes(time, bid, size, bid + 100, size[::-1].copy()),
        Trades(when, price, rng.integers(1, 50, when.size) * 10, rng.random(when.size) < 0.7),
    )  # fmt: skip
    from time import process_time

    simulate(tape_of(QUOTES), bucket=S, window=S)
    before = process_time()
    outcomes, _ = simulate(tape)
    assert process_time() - before < 3
    assert outcomes.depth.shape == (2, 13, 10, 3)


def test_the_package_imports_without_its_extras() -> None:
    code = (
        "import execution_env, sys; import execution_env.calibration.simulator.child_orders;"
        "print(sorted({'scipy.stats', 'scipy.optimize', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
