"""Quotes and trades: pages of events with the fill worked out in the comment, and against the reference.

Every page is walked by a buyer, and mirrored by a seller.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from execution_env.calibration.readers.tape import BUY, SELL
from execution_env.calibration.simulator.child_orders import simulate
from execution_env.calibration.simulator.placement import (
    AGGRESSIVE,
    MIDPOINT,
    PASSIVE,
    Assumptions,
    Placement,
)
from tests.calibration.reference_child_orders import fill_from_quotes
from tests.calibration.tapes import QuoteRow, S, TradeRow, mirrored, random_tape, tape_of

HALF = Placement("half", at=0.0, queue=0.5)
FRONT = Placement("front", at=0.0, queue=0.0)
START: QuoteRow = (0, 2000, 300, 2002, 400)  # 20.00 / 20.02


def bought(
    placement: Placement,
    quotes: Iterable[QuoteRow],
    trades: Iterable[TradeRow] = (),
    **assumptions: Any,
) -> float:
    """Depth of one order from 0 s to 10 s; the same for a buyer and for a seller in the mirror."""
    how = Assumptions(**{"elsewhere": 0.0} | assumptions)
    tape = tape_of([START, *quotes], trades)
    depth = []
    for side, data in ((BUY, tape), (SELL, mirrored(tape))):
        outcomes, _ = simulate(data, [placement], how, bucket=10 * S, window=10 * S)
        depth.append(outcomes.depth[side, 0, 0, 0])
    assert depth[0] == depth[1]
    return float(depth[0])


def test_the_queue_ahead_is_served_first() -> None:
    # 300 are ahead. 200 trade: 100 left ahead. 250 trade: 100 of them ahead of us, 150 ours.
    trades = [(1, 2000, 200, True), (2, 2000, 250, True)]
    assert bought(PASSIVE, [], trades) == 150
    assert bought(PASSIVE, [], trades[:1]) == 0
    # in the middle of the queue 150 are ahead; at the front none
    assert bought(HALF, [], trades) == 300
    assert bought(FRONT, [], trades) == 450


def test_as_much_again_at_other_exchanges_is_ahead() -> None:
    # 2 x 300 ahead; 650 trade
    assert bought(PASSIVE, [], [(1, 2000, 650, True)], elsewhere=1.0) == 50


@pytest.mark.parametrize(("rule", "fill"), [("none", 50), ("last", 50), ("pro-rata", 100)])
def test_some_of_the_queue_is_cancelled(rule: str, fill: int) -> None:
    # 150 of 300 are ahead. 100 are cancelled: none of those ahead, or a third of them: 100 left ahead.
    # 200 trade.
    quotes = [(1, 2000, 200, 2002, 400)]
    assert bought(HALF, quotes, [(2, 2000, 200, True)], cancellations=rule) == (pytest.approx(fill))


@pytest.mark.parametrize(("rule", "fill"), [("none", 0), ("last", 140), ("pro-rata", 140)])
def test_no_more_are_ahead_than_displayed(rule: str, fill: int) -> None:
    # 300 are ahead until 60 are left, which then are all ahead. 200 trade.
    quotes = [(1, 2000, 60, 2002, 400)]
    assert bought(PASSIVE, quotes, [(2, 2000, 200, True)], cancellations=rule) == fill


@pytest.mark.parametrize("rule", ["none", "last", "pro-rata"])
def test_a_fall_that_prints_explain_is_no_cancellation(rule: str) -> None:
    # 150 of 300 are ahead; 60 trade and the quote shows it: 90 ahead of 240. 100 trade.
    quotes = [(1, 2000, 240, 2002, 400)]
    trades = [(1, 2000, 60, True), (2, 2000, 100, True)]
    assert bought(HALF, quotes, trades, cancellations=rule) == 10


def test_cancelled_beyond_what_was_printed() -> None:
    # 150 of 300 ahead; 60 trade: 90 of 240. 120 of the 240 are cancelled: 45 ahead. 100 trade.
    quotes = [(1, 2000, 120, 2002, 400)]
    trades = [(1, 2000, 60, True), (2, 2000, 100, True)]
    assert bought(HALF, quotes, trades, cancellations="pro-rata") == pytest.approx(55)


def test_trading_through_us_fills_us_whatever_is_ahead() -> None:
    # 70 below our price are ours; at our price 300 are ahead of us still: 20 of 320
    assert bought(PASSIVE, [], [(1, 1999, 70, True), (2, 2000, 320, True)]) == 90


def test_worse_prices_for_the_seller_only() -> None:
    assert bought(FRONT, [], [(1, 2001, 500, True), (2, 2002, 500, True)]) == 0


def test_alone_when_the_bid_moves_away() -> None:
    # The bid falls below us: nobody is ahead any more, nor when others come back behind us.
    quotes = [(1, 1999, 500, 2002, 400), (3, 2000, 800, 2002, 400)]
    trades = [(2, 2000, 40, True), (4, 2000, 30, True)]
    assert bought(PASSIVE, quotes, trades) == 70


def test_the_queue_stays_when_the_bid_is_above_us() -> None:
    # 300 ahead, 100 of them trade; the bid is above for a while; 250 trade: 200 ahead, 50 ours
    quotes = [(2, 2001, 100, 2002, 400), (3, 2000, 900, 2002, 400)]
    trades = [(1, 2000, 100, True), (4, 2000, 250, True)]
    assert bought(PASSIVE, quotes, trades) == 50


def test_the_ask_comes_to_us() -> None:
    # 250 are offered at our price: ours. They trade, and 100 more are offered: ours too.
    quotes = [(1, 1999, 300, 2000, 250), (2, 1999, 300, 2000, 100)]
    trades = [(2, 2000, 250, True)]
    assert bought(PASSIVE, quotes[:1]) == 250
    assert bought(PASSIVE, quotes, trades) == 350


def test_who_offers_twice_sells_once() -> None:
    # 250 offered, cancelled, offered again, as 300: 300 in all
    quotes = [(1, 1999, 300, 2000, 250), (2, 1999, 300, 2002, 90), (3, 1999, 300, 2000, 300)]
    assert bought(PASSIVE, quotes) == 300


def test_off_exchange_prints_are_ignored_or_counted() -> None:
    trades = [(1, 2000, 350, False), (2, 1999, 20, False)]
    assert bought(PASSIVE, [], trades) == 0
    assert bought(PASSIVE, [], trades, dark=True) == 70


def test_aggressive_takes_what_is_displayed_and_rests() -> None:
    # 400 displayed are ours. 150 of them trade: no more for us. The offer is filled up to 500: with
    # the 150 that traded, 650 have been offered. A print at 20.01 makes that 180, and no quote says
    # that 500 are offered still.
    quotes = [(1, 2000, 300, 2002, 250), (2, 2000, 300, 2002, 500), (4, 2000, 300, 2003, 100)]
    trades = [(1, 2002, 150, True), (3, 2001, 30, True)]
    assert bought(AGGRESSIVE, [], []) == 400
    assert bought(AGGRESSIVE, quotes[:1], trades[:1]) == 400
    assert bought(AGGRESSIVE, quotes, trades[:1]) == 650
    assert bought(AGGRESSIVE, quotes, trades) == 650
    # sellers who come after the offer is gone: 150 + 600 traded in all
    assert bought(AGGRESSIVE, quotes, [*trades[:1], (5, 2000, 600, True)]) == 750


def test_mid_point_on_half_ticks() -> None:
    # 20.00 / 20.01: the mid is 20.005. Prints at the bid and at the mid are ours, not at the ask.
    quotes = [(0, 2000, 300, 2001, 400)]
    trades = [(1, 2000, 10, True), (2, 2000.5, 20, True), (3, 2001, 40, True)]
    assert bought(MIDPOINT, quotes, trades) == 30


def test_one_tick_inside_the_spread() -> None:
    # 20.01, alone: prints there count at once. In a spread of one tick it is 20.00, behind 300.
    inside = Placement("inside", at=0.0, queue=1.0, ticks=1)
    assert bought(inside, [], [(1, 2001, 40, True)]) == 40
    assert bought(inside, [(0, 2000, 300, 2001, 400)], [(1, 2001, 40, True)]) == 0
    assert bought(inside, [(0, 2000, 300, 2001, 400)], [(1, 2000, 340, True)]) == 40


def test_two_ticks_through_the_far_touch() -> None:
    # limit 20.04: 400 at 20.02, then 500 more are displayed at 20.03 once 400 have traded
    through = Placement("through", at=1.0, ticks=2)
    quotes = [(1, 2000, 300, 2003, 500)]
    assert bought(through, quotes, [(1, 2002, 400, True)]) == 900


def test_what_happens_before_the_order_arrives_is_over() -> None:
    # It comes after 2 s, when 20.02 shows 100: the print of 1 s and that of 2 s are over.
    quotes = [(2, 2000, 300, 2002, 100)]
    trades = [(1, 2002, 400, True), (2, 2001, 50, True), (2.5, 2001, 7, True)]
    assert bought(AGGRESSIVE, quotes, trades, latency=2 * S) == 100
    assert bought(FRONT, quotes, [(1, 2000, 9, True), (3, 2000, 5, True)], latency=2 * S) == 5


def test_a_price_not_seen_at_the_touch_has_an_unknown_queue() -> None:
    # The bid has risen to 20.01 before we come at 20.00: a print there is not ours before the bid is
    # there again, when all 80 displayed may be ahead.
    quotes = [(1, 2001, 50, 2002, 400), (4, 2000, 80, 2002, 400)]
    trades = [(3, 2000, 500, True), (5, 2000, 100, True)]
    assert bought(PASSIVE, quotes, trades, latency=2 * S) == 20


def test_an_order_that_would_come_after_the_bucket_is_not_posted() -> None:
    assert bought(AGGRESSIVE, [], [], latency=10 * S) == 0


@pytest.mark.parametrize("seed", range(60))
def test_random_tapes_against_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tape = random_tape(rng)
    how = Assumptions(
        dark=bool(rng.random() < 0.3),
        cancellations=str(rng.choice(["none", "last", "pro-rata"])),
        elsewhere=float(rng.choice([0.0, 1.0, 2.5])),
        latency=int(rng.choice([0, S // 4])),
    )
    placements = [AGGRESSIVE, HALF, PASSIVE, MIDPOINT, Placement("a third", 0.34, 0.2, 1)]
    outcomes, _ = simulate(tape, placements, how, bucket=2 * S, window=4 * S)
    state = np.searchsorted(tape.quotes.time, np.arange(4) * 2 * S, "right") - 1
    for bucket in range(4):
        bid, ask = (int(a[state[bucket]]) for a in (tape.quotes.bid, tape.quotes.ask))
        for side, (near, far) in enumerate(((bid, ask), (-ask, -bid))):
            for k, placement in enumerate(placements):
                limit = abs(int(placement.limit(np.array(near), np.array(far), 100))) / 2
                start = bucket * 2 * S
                filled, paid = fill_from_quotes(
                    tape, side == BUY, limit, placement.queue, start, start + 2 * S, how
                )
                at = (side, bucket // 2, bucket % 2, k)
                assert outcomes.depth[at] == pytest.approx(filled)
                average = paid / filled if filled else limit
                mid = (bid + ask) / 2
                over = (average - mid) * (1 if side == BUY else -1) / mid * 1e4
                assert outcomes.price[at] == pytest.approx(over, abs=1e-9)
