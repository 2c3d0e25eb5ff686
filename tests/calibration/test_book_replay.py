"""Order by order: pages of events with the fill worked out in the comment, and against the reference.

Every page is walked by a buyer, and mirrored by a seller.
"""

from __future__ import annotations

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
from tests.calibration.reference_child_orders import fill_from_book
from tests.calibration.tapes import MessageRow, S, book_tape, mirrored, random_book

NEW, PARTLY, DELETED, EXECUTED, HIDDEN = 1, 2, 3, 4, 5
HALF = Placement("half", at=0.0, queue=0.5)
FRONT = Placement("front", at=0.0, queue=0.0)
BIDS, ASKS = {2000: 100, 1999: 500}, {2002: 400, 2003: 200}
# At 20.00 stand 100 older than the data, then order 1 with 200 and order 2 with 100.
START: list[MessageRow] = [(0, NEW, 1, 200, 2000, 1), (0, NEW, 2, 100, 2000, 1)]
# Order 3 with 150 comes after us.
BEHIND: MessageRow = (1, NEW, 3, 150, 2000, 1)


def bought(placement: Placement, messages: list[MessageRow], **assumptions: Any) -> float:
    """Depth of one order from 0 s to 10 s; the same for a buyer and for a seller in the mirror."""
    tape = book_tape(BIDS, ASKS, [*START, *messages])
    depth = []
    for side, data in ((BUY, tape), (SELL, mirrored(tape))):
        outcomes, _ = simulate(
            data, [placement], Assumptions(**assumptions), bucket=10 * S, window=10 * S
        )
        depth.append(outcomes.depth[side, 0, 0, 0])
    assert depth[0] == depth[1]
    return float(depth[0])


def test_orders_ahead_are_served_first() -> None:
    # 0 stands for an order older than the data. All 400 ahead trade, then 60 of order 3: ours.
    messages = [
        BEHIND,
        (2, EXECUTED, 0, 100, 2000, 1), (2, EXECUTED, 1, 200, 2000, 1),
        (3, EXECUTED, 2, 100, 2000, 1), (3, EXECUTED, 3, 60, 2000, 1),
    ]  # fmt: skip
    assert bought(PASSIVE, messages) == 60
    assert bought(PASSIVE, messages[:-1]) == 0
    # At the front all is ours. In the middle, with 200 of 400 ahead: order 0 and, as the 200 fall on
    # it, all of order 1.
    assert bought(FRONT, messages) == 460
    assert bought(HALF, messages) == 160


def test_cancellations_ahead_shorten_the_queue() -> None:
    # Orders 1 and 2 go; a seller of 160 meets order 0 with 100, then us: 60.
    messages = [
        BEHIND,
        (2, DELETED, 1, 200, 2000, 1), (2, DELETED, 2, 100, 2000, 1),
        (3, EXECUTED, 0, 100, 2000, 1), (3, EXECUTED, 3, 60, 2000, 1),
    ]  # fmt: skip
    assert bought(PASSIVE, messages) == 60


def test_cancellations_behind_do_not() -> None:
    # Order 3, behind us, goes; a seller of 160 meets 100 of order 0 and 60 of order 1: none is ours.
    messages = [
        BEHIND,
        (2, DELETED, 3, 150, 2000, 1),
        (3, EXECUTED, 0, 100, 2000, 1), (3, EXECUTED, 1, 60, 2000, 1),
    ]  # fmt: skip
    assert bought(PASSIVE, messages) == 0


def test_part_of_an_order_ahead_is_cancelled() -> None:
    # 150 of order 1 go: 250 ahead. A seller of 300: 250 ahead, 50 of order 3 are ours.
    messages = [
        BEHIND,
        (2, PARTLY, 1, 150, 2000, 1),
        (3, EXECUTED, 0, 100, 2000, 1), (3, EXECUTED, 1, 50, 2000, 1),
        (3, EXECUTED, 2, 100, 2000, 1), (3, EXECUTED, 3, 50, 2000, 1),
    ]  # fmt: skip
    assert bought(PASSIVE, messages) == 50


def test_trading_through_us() -> None:
    # A seller of 480 takes the 400 ahead, and 80 at 19.99, which are ours.
    messages = [
        (2, EXECUTED, 0, 100, 2000, 1), (2, EXECUTED, 1, 200, 2000, 1),
        (2, EXECUTED, 2, 100, 2000, 1), (2, EXECUTED, 9, 80, 1999, 1),
    ]  # fmt: skip
    assert bought(PASSIVE, messages) == 80


def test_alone_when_the_bid_moves_away() -> None:
    # All at 20.00 cancel; 70 trade at 19.99: ours. Order 4 comes to 20.00, behind us: its 30 are ours.
    messages = [
        (2, DELETED, 0, 100, 2000, 1), (2, DELETED, 1, 200, 2000, 1),
        (2, DELETED, 2, 100, 2000, 1), (3, EXECUTED, 9, 70, 1999, 1),
        (4, NEW, 4, 30, 2000, 1), (5, EXECUTED, 4, 30, 2000, 1),
    ]  # fmt: skip
    assert bought(PASSIVE, messages) == 100


def test_a_seller_comes_to_us() -> None:
    # The bid has gone to 19.99; a seller offers 250 at 20.00: ours. When 100 of them trade, they do
    # not count again; she cancels 150 and sends 200: 100 + 200 have been offered in all.
    messages = [
        (2, DELETED, 0, 100, 2000, 1), (2, DELETED, 1, 200, 2000, 1),
        (2, DELETED, 2, 100, 2000, 1), (3, NEW, 5, 250, 2000, -1),
        (4, EXECUTED, 5, 100, 2000, -1), (5, DELETED, 5, 150, 2000, -1),
        (6, NEW, 6, 200, 2000, -1),
    ]  # fmt: skip
    assert bought(PASSIVE, messages[:4]) == 250
    assert bought(PASSIVE, messages[:6]) == 250
    assert bought(PASSIVE, messages) == 300


def test_hidden_executions_are_ignored_or_counted() -> None:
    # Hidden bids at 20.00 and 19.995, a hidden offer at 20.01, which we, at 20.00, do not meet.
    messages = [
        (2, HIDDEN, 0, 30, 2000, 1), (2, HIDDEN, 0, 7, 1999.5, 1), (3, HIDDEN, 0, 50, 2001, -1),
    ]  # fmt: skip
    assert bought(PASSIVE, messages) == 0
    assert bought(PASSIVE, messages, dark=True) == 37
    assert bought(MIDPOINT, messages, dark=True) == 87


def test_aggressive_takes_what_is_displayed_and_rests() -> None:
    # 400 at 20.02 are ours. 150 of them trade: nothing new. 120 more are offered there: ours, 520. A
    # seller of 50 who hits the bid would have met us first: 570.
    messages = [
        (1, EXECUTED, 8, 150, 2002, -1), (2, NEW, 5, 120, 2002, -1), (3, EXECUTED, 0, 50, 2000, 1),
    ]  # fmt: skip
    assert bought(AGGRESSIVE, []) == 400
    assert bought(AGGRESSIVE, messages[:1]) == 400
    assert bought(AGGRESSIVE, messages[:2]) == 520
    assert bought(AGGRESSIVE, messages) == 570


def test_two_levels_are_walked_at_their_prices() -> None:
    # 400 at 20.02 and 200 at 20.03, then 90 more at 20.02, for which we pay our limit, 20.03.
    tape = book_tape(BIDS, ASKS, [*START, (1, NEW, 5, 90, 2002, -1)])
    through = Placement("through", at=1.0, ticks=1)
    outcomes, _ = simulate(tape, [through], bucket=10 * S, window=10 * S)
    average = (400 * 20.02 + 200 * 20.03 + 90 * 20.03) / 690
    assert outcomes.depth[BUY].item() == 690
    assert outcomes.price[BUY].item() == pytest.approx((average - 20.01) / 20.01 * 1e4)


def test_mid_point_and_a_seller_who_crosses_it() -> None:
    # The mid is 20.01. Order 6 offers 80 there: ours. A seller of 25 at the bid: ours.
    messages = [(1, NEW, 6, 80, 2001, -1), (2, EXECUTED, 0, 25, 2000, 1)]
    assert bought(MIDPOINT, messages) == 105


def test_windows_before_the_first_message_are_left_out() -> None:
    tape = book_tape(BIDS, ASKS, [(time + 4, *rest) for time, *rest in START])  # type: ignore[misc]
    quotes = tape.quotes._replace(time=tape.quotes.time * 0)
    early = type(tape)(**vars(tape) | {"quotes": quotes})
    outcomes, left_out = simulate(early, bucket=2 * S, window=2 * S)
    assert outcomes.start.tolist() == [4 * S, 6 * S, 8 * S]
    assert left_out == {"windows left out: no order book at the start": 2}


@pytest.mark.parametrize("seed", range(60))
def test_random_books_against_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tape = random_book(rng)
    how = Assumptions(dark=bool(rng.random() < 0.5), latency=int(rng.choice([0, S // 4])))
    placements = [AGGRESSIVE, HALF, FRONT, PASSIVE, MIDPOINT, Placement("through", 1.0, ticks=2)]
    outcomes, left_out = simulate(tape, placements, how, bucket=2 * S, window=4 * S)
    assert not left_out
    state = np.searchsorted(tape.quotes.time, np.arange(4) * 2 * S, "right") - 1
    for bucket in range(4):
        bid, ask = (int(a[state[bucket]]) for a in (tape.quotes.bid, tape.quotes.ask))
        for side, (near, far) in enumerate(((bid, ask), (-ask, -bid))):
            for k, placement in enumerate(placements):
                limit = abs(int(placement.limit(np.array(near), np.array(far), 100))) / 2
                start = bucket * 2 * S
                filled, paid = fill_from_book(
                    tape, side == BUY, limit, placement.queue, start, start + 2 * S, how
                )
                at = (side, bucket // 2, bucket % 2, k)
                assert outcomes.depth[at] == filled
                average = paid / filled if filled else limit
                mid = (bid + ask) / 2
                over = (average - mid) * (1 if side == BUY else -1) / mid * 1e4
                assert outcomes.price[at] == pytest.approx(over, abs=1e-9)
