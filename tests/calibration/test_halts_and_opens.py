"""Trading halts, the first quote of a day, and slips of price and size, in both formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from execution_env.calibration.readers.lean import read_lean
from execution_env.calibration.readers.lobster import read_lobster
from execution_env.calibration.readers.tape import NANOSECONDS, OPEN, DataError, Tape
from execution_env.calibration.simulator.child_orders import simulate
from execution_env.calibration.simulator.outcomes import Outcomes
from execution_env.calibration.simulator.placement import Assumptions
from tests.calibration import lean_days
from tests.calibration.book_days import book_day
from tests.calibration.writers import write_lobster
from tests.fuzzing import read_damaged

HALT, QUOTING, TRADING = 39_630.000000001, 39_870.0, 39_929.9
"""Seconds since midnight: 11:00:30, 11:04:30 and 11:05:29.9."""

REMOVED_UNTIL = 39_930.0
START = 39_600
"""11:00:00, the start of a window of ten buckets of 30 s that trading is halted in."""


def seconds(path: Path) -> np.ndarray[Any, Any]:
    return np.array([float(line.partition(",")[0]) for line in path.read_text().splitlines()])


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_lobster(book_day(), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def halted(paths: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The day without its messages of five minutes, and three of a halt in their place."""
    messages, book = (path.read_text().splitlines() for path in paths)
    time = seconds(paths[0])
    first, last = np.searchsorted(time, [HALT, REMOVED_UNTIL])
    rows = [f"{HALT:.9f},7,0,0,-1,-1", f"{QUOTING},7,0,0,0,-1", f"{TRADING},7,0,0,1,-1"]
    folder = tmp_path_factory.mktemp("halted")
    changed = []
    for path, lines, new in (
        (paths[0], messages, rows),
        (paths[1], book, [book[first - 1]] * 3),
    ):
        changed.append(folder / path.name)
        changed[-1].write_text("\n".join([*lines[:first], *new, *lines[last:], ""]))
    return changed[0], changed[1]


def walked(tape: Tape) -> tuple[Outcomes, dict[str, int]]:
    """Child orders of 30 s from 11:00 on."""
    return simulate(
        tape,
        assumptions=Assumptions(stale_after=600 * NANOSECONDS),
        bucket=30 * NANOSECONDS,
        window=600 * NANOSECONDS,
        starts=np.array([START]) * NANOSECONDS,
    )


def test_nothing_fills_while_trading_is_halted(
    paths: tuple[Path, Path], halted: tuple[Path, Path]
) -> None:
    plain, _ = walked(read_lobster(*paths))
    tape = read_lobster(*halted)
    assert tape.halts[0, 0] == round(HALT * 1e9)
    assert tape.halts[0, 1] >= REMOVED_UNTIL * NANOSECONDS
    found, counts = walked(tape)
    assert counts == {"windows with a trading halt, no depth meanwhile": 1}
    assert tape.repairs["trading halts"] == 1
    aggressive = plain.depth[:, 0, :, 0]
    assert (aggressive > 0).all()
    np.testing.assert_array_equal(found.depth[:, 0, 0], plain.depth[:, 0, 0])
    assert (found.depth[:, 0, 2:11] == 0).all()  # 11:02:00 among them, every side and algo
    np.testing.assert_array_equal(found.depth[:, 0, 11:], plain.depth[:, 0, 11:])


def test_an_order_in_the_market_fills_until_the_halt(halted: tuple[Path, Path]) -> None:
    tape = read_lobster(*halted)
    long, _ = simulate(
        tape, bucket=300 * NANOSECONDS, window=300 * NANOSECONDS,
        starts=np.array([START]) * NANOSECONDS,
        assumptions=Assumptions(stale_after=600 * NANOSECONDS),
    )  # fmt: skip
    short, _ = walked(tape)
    np.testing.assert_array_equal(long.depth[:, 0, 0], short.depth[:, 0, 0])
    assert (long.depth[:, 0, 0, 0] > 0).all()


def test_quotes_that_are_not_firm_are_a_halt(tmp_path: Path) -> None:
    at = (START + 30) * 1000
    lean_days.write_day(
        tmp_path,
        more_quotes=[(at + 1, 100_000, 300, 0, 0, "N", 10, 0)],
        quotes=[row for row in lean_days.minutes() if not at < row[0] < at + 299_000],  # type: ignore[operator]
    )
    tape = lean_days.read(tmp_path)
    assert tape.halts.tolist() == [[(at + 1) * 10**6, (START + 360) * NANOSECONDS]]
    found, counts = walked(tape)
    assert counts == {"windows with a trading halt, no depth meanwhile": 1}
    assert (found.depth[:, 0, 0, 0] > 0).all()
    assert (found.depth[:, 0, 2:12] == 0).all()
    assert (found.depth[:, 0, 12, 0] > 0).all()


def test_the_first_quote_is_that_of_the_open(tmp_path: Path) -> None:
    """LOBSTER's first message comes 17 ms after the bell: the first window is not lost."""
    messages, book = write_lobster(book_day(), tmp_path)
    lines, books = messages.read_text().splitlines(), book.read_text().splitlines()
    time = seconds(messages)
    kept = int(np.searchsorted(time, OPEN / NANOSECONDS + 0.017))
    messages.write_text("\n".join(lines[kept:]) + "\n")
    book.write_text("\n".join(books[kept:]) + "\n")
    tape = read_lobster(messages, book)
    assert tape.quotes.time[0] == OPEN
    assert tape.messages is not None
    assert tape.messages.time[0] == OPEN
    whole = tape.close - tape.open
    for window in (600 * NANOSECONDS, whole // (600 * NANOSECONDS) * 600 * NANOSECONDS):
        found, counts = simulate(tape, bucket=600 * NANOSECONDS, window=window)
        assert not counts
        assert found.start[0] == OPEN


@pytest.mark.parametrize(("late", "missing"), [(4_000, False), (6_000, True)])
def test_a_first_quote_counts_for_the_open_within_seconds(
    late: int, missing: bool, tmp_path: Path
) -> None:
    first = lean_days.OPEN_MS + late
    rows = [
        *lean_days.pair(first, 100_000, 100_200),
        *lean_days.minutes(lean_days.OPEN_MS + 60_000),
    ]
    tape = lean_days.read(lean_days.write_day(tmp_path, rows))
    assert (tape.quotes.time[0] > OPEN) == missing
    _, counts = simulate(tape)
    assert ("windows left out: no quote at the start of a bucket" in counts) == missing


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        (
            lean_days.pair(lean_days.AT, 1_000_000, 1_000_200),
            "quotes far from those around left out",
        ),
        (lean_days.pair(lean_days.AT, 10_000, 10_020), "quotes far from those around left out"),
        (
            lean_days.pair(lean_days.AT, 100_000, 100_200, 3 * 10**8),
            "quotes of absurd size left out",
        ),
        (lean_days.pair(lean_days.AT, 100_000, 1_002_000), "absurdly wide quotes left out"),
    ],
)
def test_a_slip_in_a_quote_is_left_out_and_counted(
    quote: list[Any], reason: str, tmp_path: Path
) -> None:
    more = [*quote, *lean_days.pair(lean_days.AT + 1, 100_000, 100_200)]
    tape = lean_days.read(lean_days.write_day(tmp_path, more_quotes=more))
    assert tape.repairs == {reason: 1}


def test_a_slip_in_the_size_of_a_print_is_left_out_and_counted(tmp_path: Path) -> None:
    slip = (lean_days.AT, 100_100, 10**8, "N", 1, 0)
    tape = lean_days.read(lean_days.write_day(tmp_path, more_trades=[slip]))
    assert tape.repairs == {"prints of absurd size left out": 1}


def test_a_market_that_moves_is_believed(tmp_path: Path) -> None:
    """By a fifth in a second, and it stays there."""
    rows = lean_days.minutes(end=lean_days.AT)
    for ms in range(lean_days.AT, lean_days.CLOSE_MS, lean_days.MINUTE):
        rows += lean_days.pair(ms, 120_000, 120_200)
    tape = lean_days.read(lean_days.write_day(tmp_path, rows))
    assert not [why for why in tape.repairs if why.startswith("quotes")]


def test_a_slip_in_a_message_is_refused_with_its_row(
    paths: tuple[Path, Path], tmp_path: Path
) -> None:
    lines = paths[0].read_text().splitlines()
    cells = lines[500].split(",")
    lines[500] = ",".join([*cells[:3], "300000000", *cells[4:]])
    changed = tmp_path / paths[0].name
    changed.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        DataError, match=r"row 501: size = 300000000: must not be above 1,000 times"
    ):
        read_lobster(changed, paths[1])


@pytest.mark.parametrize("digit", ["\uff11", "\u0661"])
def test_digits_are_ascii(digit: str, tmp_path: Path) -> None:
    late = (f"3420{digit}000", 100_100, 100, "N", 1, 0)
    lean_days.write_day(tmp_path, more_trades=[])
    lean_days.write_day(tmp_path, trades=[late])
    with pytest.raises(DataError, match="row 1: time = "):
        lean_days.read(tmp_path)


# Damage.


def small_lobster(folder: Path, paths: tuple[Path, Path], rows: int = 400) -> tuple[Path, Path]:
    changed = []
    for path in paths:
        name = path.name.replace("57600000", "37800000")
        changed.append(folder / name)
        lines = path.read_text().splitlines()[:rows]
        changed[-1].write_text("\n".join(lines) + "\n")
    return changed[0], changed[1]


def fuzz(folder: Path, paths: tuple[Path, Path], number: int) -> int:
    messages, book = small_lobster(folder, paths)

    def lobster(_: Path) -> None:
        read_lobster(messages, book)

    refused = sum(
        read_damaged(path, lobster, DataError, number, seed)
        for seed, path in enumerate((messages, book))
    )
    lean_days.write_day(folder)

    def lean(_: Path) -> None:
        read_lean(folder, "bac", "20131007")

    for seed, kind in enumerate(("trade", "quote")):
        path = folder / "bac" / f"20131007_{kind}.zip"
        refused += read_damaged(path, lean, DataError, number, seed)
        refused += read_damaged(path, lean, DataError, number, seed, damage=lean_days.inside)
    return refused


def test_damaged_market_data(paths: tuple[Path, Path], tmp_path: Path) -> None:
    assert fuzz(tmp_path, paths, 12) > 20


@pytest.mark.slow
def test_much_damaged_market_data(paths: tuple[Path, Path], tmp_path: Path) -> None:
    assert fuzz(tmp_path, paths, 400) > 400
