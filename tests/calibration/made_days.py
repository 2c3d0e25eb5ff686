"""Market data made so that child orders meet exactly the depths of days drawn from a scenario.

With a wide spread of 2 h, in every bucket the quotes come, one after another, to the limit of each algo
and side, with as many shares as the depth is to be. Nothing displayed trades: what a child order can
have is the largest offer at or below its limit. So an algo with a better price has at least the depth of
one with a worse, and days must be nested, as those with one factor and equal depth_sd are. Volume is in
hidden executions.
"""

from __future__ import annotations

import numpy as np

from execution_env import Scenario, load_scenario
from execution_env.allocation.market.day_stream import DayStream
from execution_env.allocation.market.days import Days
from execution_env.calibration.readers.fill_log import FillLog
from execution_env.calibration.readers.tape import (
    NANOSECONDS,
    OPEN,
    Book,
    Messages,
    Quotes,
    Tape,
    Trades,
)

BUCKETS, WINDOWS, BUCKET = 10, 13, 180
MID, TICK, HALF_SPREAD = 2_000_000, 100, 30e-4
"""Of prices in 1/10,000 dollar: 200 dollars, a cent; and as a share of the mid."""

NESTED = load_scenario(
    {
        "name": "nested",
        "order": {"size": 50_000, "lot_size": 1, "buckets": BUCKETS},
        "costs": {"basis": "shortfall"},
        "algos": [
            {"name": "Aggressive", "half_spread": 30.0, "fill_probability": 1.0, "depth": 0.4},
            {"name": "Neutral", "half_spread": 0.0, "fill_probability": 0.75, "depth": 0.2},
            {"name": "Passive", "half_spread": -30.0, "fill_probability": 0.5, "depth": 0.1},
        ],
        "liquidity": {"sd": 1.0},
        "volume": {"expected": "flat", "total": 1_000_000, "sd": 0.5, "persistence": 0.4},
        "price": {"sd": 4.0},
        "envelope": {"kind": "twap", "band": 0.3},
        "penalties": {"envelope": 1.0, "residual": 30.0},
    },
    {f"algos.{name}.depth_sd": 0.8 for name in ("Aggressive", "Neutral", "Passive")},
)


def made_tape(days: Days, date: str) -> Tape:
    """A session of 13 windows: the first 13 of ``days`` for buyers, the others' shares for sellers."""
    volume = np.maximum(np.rint(days.volume[:, :WINDOWS]), 1)
    shares = days.depth / days.volume[:, None]
    buy, sell = shares[..., :WINDOWS], shares[..., WINDOWS : 2 * WINDOWS]
    quotes: list[tuple[int, int, int, int, int]] = []
    trades: list[tuple[int, int, int, bool]] = []
    mid, level = MID, float(MID)
    for w in range(WINDOWS):
        arrival = mid
        for b in range(BUCKETS):
            at = OPEN + (w * BUCKETS + b) * BUCKET * NANOSECONDS
            second = iter(range(1, 100))
            h = round(mid * HALF_SPREAD / TICK) * TICK

            def quote(bid: int, bid_size: int, ask: int, ask_size: int, seconds: int) -> None:
                quotes.append((at + seconds * NANOSECONDS, bid, bid_size, ask, ask_size))  # noqa: B023

            v = int(volume[b, w])
            c, d = (np.rint(part[b, :, w] * v).astype(int) for part in (buy, sell))
            quote(mid - h, 1, mid + h, 1, 0)
            quote(mid - h, max(d[0], 1), mid + h, max(c[0], 1), next(second))
            for k, away in ((1, 0), (2, h)):
                if c[k]:
                    quote(mid - h - away, 1, mid - away, c[k], next(second))
                if d[k]:
                    quote(mid + away, d[k], mid + h + away, 1, next(second))
            quote(mid - h, 1, mid + h, 1, next(second))
            trades.append((at + 20 * NANOSECONDS, mid, v, False))
            level += days.move[b, w] / 1e4 * arrival
            mid = round(level / TICK) * TICK
    quotes.append((at + BUCKET * NANOSECONDS - 1, mid - h, 1, mid + h, 1))
    columns = [np.array(column, np.int64) for column in zip(*quotes, strict=True)]
    time, price, size, lit = zip(*trades, strict=True)
    return Tape(
        "made", date, OPEN, OPEN + WINDOWS * BUCKETS * BUCKET * NANOSECONDS,
        Quotes(*columns),
        Trades(*(np.array(x, np.int64) for x in (time, price, size)), np.array(lit)),
    )  # fmt: skip


def with_messages(tape: Tape) -> Tape:
    """The same with a message for every quote and trade, and a book of one level."""
    q, t = tape.quotes, tape.trades
    time = np.concatenate([q.time, t.time])
    order = np.argsort(time, kind="stable")
    state = np.searchsorted(q.time, time[order], "right") - 1
    new = np.arange(time.size) < q.time.size
    messages = Messages(
        time[order],
        np.where(new, 1, 5).astype(np.int8)[order],
        np.where(new, np.arange(time.size) + 1, 0)[order],
        np.concatenate([q.bid_size, t.size])[order],
        np.concatenate([q.bid, t.price])[order],
        np.ones(time.size, np.int8),
    )
    book = Book(*(column[state][:, None] for column in (q.bid, q.bid_size, q.ask, q.ask_size)))
    return Tape(tape.symbol, tape.date, tape.open, tape.close, q, t, messages, book)


def made_log(scenario: Scenario, windows: int, seed: int, posted: list[int]) -> FillLog:
    """Child orders of ``posted`` shares through every algo in every bucket of days drawn."""
    days = DayStream(scenario, seed).draw(windows)
    columns: dict[str, list] = {name: [] for name in FillLog.__dataclass_fields__}
    for w in range(windows):
        date = np.datetime64("2013-01-01") + w // WINDOWS
        mids = 100.0 * (1 + np.concatenate([[0], np.cumsum(days.move[:, w])]) / 1e4)
        for b in range(scenario.buckets):
            seconds = OPEN // NANOSECONDS + (w % WINDOWS * scenario.buckets + b) * BUCKET
            for k, algo in enumerate(scenario.algos):
                filled = min(posted[k], int(days.depth[b, k, w]))
                row = {
                    "time": date.astype("datetime64[ns]") + np.timedelta64(seconds, "s"),
                    "algo": algo.name,
                    "posted": float(posted[k]),
                    "filled": float(filled),
                    "price": mids[b] * (1 + algo.half_spread / 1e4) if filled else np.nan,
                    "side": 0,
                    "volume": days.volume[b, w],
                    "mid": mids[b],
                    "mid_end": mids[b + 1],
                }
                for name, value in row.items():
                    columns[name].append(value)
    columns.pop("repairs")
    arrays = {name: np.array(values) for name, values in columns.items() if values}
    return FillLog(**arrays | {"side": arrays["side"].astype(np.int8)})
