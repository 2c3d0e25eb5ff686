"""Both rules of the child-order simulator in plain Python, one order at a time: slow, to be read."""

from __future__ import annotations

from execution_env.calibration.readers.tape import Tape
from execution_env.calibration.simulator.placement import Assumptions


def fill_from_quotes(
    tape: Tape, buy: bool, limit: float, queue: float, start: int, end: int, how: Assumptions
) -> tuple[float, float]:
    """Shares filled and money paid, in 1/10,000 dollar, of an order at ``limit``."""

    def worse_or_equal(price: float) -> bool:
        return price <= limit if buy else price >= limit

    q, t = tape.quotes, tape.trades
    arrival = start + how.latency
    states = [
        (time, 1, (near, near_size, far, far_size) if buy else (far, far_size, near, near_size))
        for time, near, near_size, far, far_size in zip(*(a.tolist() for a in q), strict=True)
    ]
    prints = [
        (time, 0, (price, size))
        for time, price, size, lit in zip(*(a.tolist() for a in t), strict=True)
        if lit or how.dark
    ]
    first = [state for state in states if state[0] <= arrival][-1]
    later = sorted(
        (event for event in states + prints if arrival < event[0] <= end), key=lambda e: e[:2]
    )

    far, far_size = first[2][2:]
    taken = far_size if worse_or_equal(far) else 0
    traded, most = 0.0, 0.0
    ahead: float | None = None
    shown = printed = 0
    for _, kind, event in [first, *later]:
        if kind == 1:
            near, near_size, far, far_size = event
            if near == limit:
                total = (1 + how.elsewhere) * near_size
                if ahead is None:
                    ahead = queue * total
                elif near_size != shown:
                    if how.cancellations == "pro-rata" and near_size < shown:
                        by_print = min(printed, shown - near_size)
                        before = (1 + how.elsewhere) * shown - by_print
                        ahead *= 1 - (shown - near_size - by_print) / before
                    if how.cancellations != "none":
                        ahead = min(ahead, total)
                if near_size != shown:
                    printed = 0
                shown = near_size
            elif worse_or_equal(near):
                ahead = 0.0
            offered = far_size if worse_or_equal(far) else 0
            most = max(most, traded + offered)
        else:
            price, size = event
            if price == limit:
                printed += size
                if ahead is not None:
                    traded += max(size - ahead, 0)
                    ahead = max(ahead - size, 0)
            elif worse_or_equal(price):
                traded += size
            most = max(most, traded)
    return most, taken * first[2][2] + (most - taken) * limit


def fill_from_book(
    tape: Tape, buy: bool, limit: float, queue: float, start: int, end: int, how: Assumptions
) -> tuple[float, float]:
    """As above, with the queue at the limit kept as a list of the orders in it."""
    assert tape.messages is not None
    assert tape.book is not None
    side = 1 if buy else -1

    def worse_or_equal(price: float) -> bool:
        return price <= limit if buy else price >= limit

    b = tape.book
    near, near_size, far, far_size = (
        a.tolist() for a in (b if buy else (b.ask, b.ask_size, b.bid, b.bid_size))
    )
    near_levels = [dict(zip(p, n, strict=True)) for p, n in zip(near, near_size, strict=True)]
    far_levels = [dict(zip(p, n, strict=True)) for p, n in zip(far, far_size, strict=True)]
    arrival = start + how.latency
    line: dict[int, int] = {}  # order -> shares left, oldest first; 0 stands for older ones
    ahead: set[int] | None = None  # once we are there
    traded = most = taken = paid = 0.0

    def offered(row: int) -> float:
        return sum(n for p, n in far_levels[row].items() if p and worse_or_equal(p))

    def join(row: int) -> set[int]:
        shown = max(near_levels[row].get(int(limit), 0), sum(line.values()))
        older = shown - sum(line.values())
        before, who = older, {0}
        if queue == 0:
            return set()
        for order, left in line.items():
            if queue == 1 or (before < queue * shown and left > 0):
                who.add(order)
                before += left
        return who

    columns = [a.tolist() for a in tape.messages]
    known: set[int] = set()
    for row, (time, kind, order, size, price, of) in enumerate(zip(*columns, strict=True)):
        if time > arrival and ahead is None:
            ahead = join(row - 1)
            taken = most = offered(row - 1)
            paid = sum(p * n for p, n in far_levels[row - 1].items() if p and worse_or_equal(p))
        if time > end:
            break
        if kind == 1:
            known.add(order)
        if ahead is None:
            if of == side and price == limit and order in known and kind <= 4:
                line[order] = line.get(order, 0) + (size if kind == 1 else -size)
            continue
        who = order if order in known else 0
        if kind == 4 and worse_or_equal(price):
            if of != side or price != limit or who not in ahead:
                traded += size
        elif kind == 5 and how.dark and worse_or_equal(price):
            traded += size
        most = max(most, traded + offered(row))
    if ahead is None:  # nothing came after us
        taken = most = offered(len(near_levels) - 1)
        paid = sum(p * n for p, n in far_levels[-1].items() if p and worse_or_equal(p))
    return most, paid + (most - taken) * limit
