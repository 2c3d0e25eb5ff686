"""The command line of ``python -m execution_env calibrate``: its options and their parsers.

Only the standard library and ``core.validation`` are imported here, so that the other commands start
fast.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from execution_env.core.validation import decimal

UNIT_NANOSECONDS = {"ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}

ABOUT = """\
Make a scenario of your own market data: child orders of every algo are walked through them, their law
is estimated, and a scenario file is written with a standard error beside every number. With --days the
real days themselves are written too, to train on and to test on.

  python -m execution_env calibrate --lean data --symbol ibm --dates 20131007,20131008 \\
      --bucket 180s --orders-of 30min --out ibm.toml
  python -m execution_env calibrate --lean data --symbol ibm --split train=20131007,20131008 \\
      test=20131009 --out ibm.toml --days ibm-days.npz
  python -m execution_env calibrate --lobster message_10.csv orderbook_10.csv --out aapl.toml
  python -m execution_env calibrate --fill-log fills.csv --out mine.toml
  python -m execution_env check ibm.toml
"""

NEEDS = 'needs other libraries: pip install "execution_env[calibration]"'


def duration(text: str) -> int:
    """Return the nanoseconds of "180s", "3min", "1h" or "5ms"."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h)", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 180s, 3min or 1h")
    return round(float(match[1]) * UNIT_NANOSECONDS[match[2]])


def shown_duration(nanoseconds: int) -> str:
    """Return a duration as ``duration`` reads it, in the largest unit that makes it whole."""
    for unit in ("h", "min", "s"):
        if nanoseconds % UNIT_NANOSECONDS[unit] == 0 and nanoseconds:
            return f"{nanoseconds // UNIT_NANOSECONDS[unit]}{unit}"
    return f"{nanoseconds / UNIT_NANOSECONDS['s']:g}s"


def dates(text: str) -> tuple[str, ...]:
    """Return the dates of "20131007,2013-10-08", sorted, as "20131007"."""
    found = tuple(part.strip().replace("-", "") for part in text.split(",") if part.strip())
    for date in found:
        if not re.fullmatch(r"[0-9]{8}", date):
            raise argparse.ArgumentTypeError(f"{date!r} is no date; write 20131007")
    if not found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r}: give dates, each once: 20131007,20131008")
    return tuple(sorted(found))


def named(text: str) -> tuple[str, str]:
    """Return the two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (equals and name.strip() and value.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE")
    return name.strip(), value.strip()


def split(text: str) -> tuple[str, tuple[str, ...]]:
    """Return name and dates of NAME=DATES."""
    name, value = named(text)
    if not re.fullmatch(r"[A-Za-z]\w*", name) or name == "all":
        raise argparse.ArgumentTypeError(
            f"{name!r} is no name of a split: letters and digits, not all"
        )
    return name, dates(value)


def points(text: str) -> tuple[str, float]:
    """Return name and basis points of NAME=BPS."""
    name, value = named(text)
    return name, number(value)


def number(text: str) -> float:
    """Return a finite number."""
    try:
        value = decimal(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return value


def column_names(text: str) -> list[tuple[str, str]]:
    """Return the pairs of OURS=THEIRS,OURS=THEIRS."""
    return [named(part) for part in text.split(",") if part.strip()]


def placement(text: str) -> dict[str, Any]:
    """Return arguments of ``placement.Placement`` from NAME=AT[,queue=Q][,ticks=N][,half-ticks]."""
    name, value = named(text)
    first, *rest = value.split(",")
    found: dict[str, Any] = {"name": name, "at": number(first)}
    for part in rest:
        key, equals, given = part.partition("=")
        if key == "half-ticks" and not equals:
            found["half_ticks"] = True
        elif key == "queue" and equals:
            found["queue"] = number(given)
        elif key == "ticks" and equals and re.fullmatch("[0-9]+", given):
            found["ticks"] = int(given)
        else:
            raise argparse.ArgumentTypeError(
                f"{part!r} in {text!r}: write NAME=AT, with ,queue=Q ,ticks=N or ,half-ticks behind"
            )
    return found


TIME: dict[str, Any] = {"type": duration, "metavar": "TIME"}
"""Type and placeholder of options that are durations."""


def add_calibrate(commands: Any) -> None:
    """Add the subcommand to the parsers ``commands``."""
    parser = commands.add_parser(
        "calibrate",
        help="make a scenario, and days to replay, of your own market data",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Durations are 180s, 3min or 1h. Prices are basis points of the mid at arrival.",
    )
    _add_data(parser)
    _add_orders(parser)
    _add_child_orders(parser)
    _add_fill_log(parser)
    _add_scenario(parser)
    _add_files(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the market data."""
    data = parser.add_argument_group("data, one of")
    which = data.add_mutually_exclusive_group(required=True)
    which.add_argument("--lean", metavar="DIR", help="LEAN's tick data; with --symbol")
    which.add_argument(
        "--lobster",
        nargs=2,
        action="append",
        metavar=("MESSAGES", "BOOK"),
        help="LOBSTER's two files of a day; repeatable",
    )
    which.add_argument(
        "--fill-log", metavar="FILE", help="your own child orders (csv: time, algo, ...)"
    )
    data.add_argument("--symbol", help="such as ibm; of a fill log with several, the one to fit")
    data.add_argument("--dates", type=dates, help="20131007,20131008 (default: all there are)")


def _add_orders(parser: argparse.ArgumentParser) -> None:
    """Add the options of parent orders."""
    orders = parser.add_argument_group("orders")
    orders.add_argument(
        "--bucket", default=duration("180s"), help="length of a bucket (default 180s)", **TIME
    )
    orders.add_argument(
        "--orders-of", default=duration("30min"), help="length of an order (30min)", **TIME
    )
    orders.add_argument(
        "--size", type=int, metavar="SHARES", help="(default: 5 %% of an order's mean volume)"
    )
    orders.add_argument(
        "--lot-size", type=int, metavar="SHARES", help="(default: about 100 lots an order)"
    )
    orders.add_argument(
        "--skip-open", default=0, help="no orders so long after the open (default 0s)", **TIME
    )
    orders.add_argument(
        "--skip-close", default=0, help="nor so long before the close (default 0s)", **TIME
    )


def _add_child_orders(parser: argparse.ArgumentParser) -> None:
    """Add the assumptions under which child orders are walked through market data."""
    rules = parser.add_argument_group("child orders, of --lean and --lobster")
    rules.add_argument(
        "--algo",
        type=placement,
        action="append",
        metavar="NAME=AT[,queue=Q][,ticks=N][,half-ticks]",
        help="an algo: its limit from the near touch (0) to the far (1), share of the queue ahead, "
        "ticks beyond; repeatable (default Aggressive=1,queue=0 Neutral=0.5,queue=0.5 Passive=0)",
    )
    rules.add_argument(
        "--dark", action="store_true", help="off-exchange and hidden prints fill orders too"
    )
    rules.add_argument(
        "--cancellations", help="of the queue ahead: none, last or pro-rata (default none)"
    )
    rules.add_argument(
        "--elsewhere", type=number, metavar="X", help="size at other exchanges, of the quoted (1)"
    )
    rules.add_argument("--latency", help="until an order is in the market (default 0s)", **TIME)
    rules.add_argument("--stale-after", help="a quote is not believed longer (5min)", **TIME)


def _add_fill_log(parser: argparse.ArgumentParser) -> None:
    """Add the options that stand for columns a fill log lacks."""
    read = parser.add_argument_group("how to read a fill log")
    read.add_argument(
        "--columns",
        type=column_names,
        action="extend",
        metavar="OURS=THEIRS,...",
        help="names of columns that are not recognised, such as algo=Desk,posted=Size; - for none",
    )
    read.add_argument(
        "--time-format",
        metavar="FORMAT",
        help='as strptime has it, such as "%%d.%%m.%%Y %%H:%%M:%%S" (default 2013-10-07T09:30:00.25)',
    )
    read.add_argument(
        "--decimal", choices=(".", ","), help="the decimal sign (default: . where that is clear)"
    )
    own = parser.add_argument_group("what a fill log may lack")
    own.add_argument(
        "--volume", type=number, metavar="SHARES", help="the market's, per bucket; no column volume"
    )
    own.add_argument(
        "--half-spread",
        type=points,
        action="append",
        metavar="NAME=BPS",
        help="cost of a filled share above the mid; no column mid",
    )
    own.add_argument(
        "--price-sd", type=number, metavar="BPS", help="of the mid's move; no column mid_end"
    )
    own.add_argument(
        "--touch", type=number, metavar="BPS", help="mid to far touch (the largest half-spread)"
    )


def _add_scenario(parser: argparse.ArgumentParser) -> None:
    """Add the options of the scenario that no data tell."""
    chosen = parser.add_argument_group("the scenario")
    chosen.add_argument("--name", help="(default: that of the file)")
    chosen.add_argument(
        "--max-rate",
        type=number,
        default=0.3,
        metavar="SHARE",
        help="cap on what is posted in a bucket, of its volume; depths beyond do not matter (0.3)",
    )
    chosen.add_argument(
        "--band", type=number, default=0.2, help="half-width of the envelope around TWAP (0.2)"
    )
    chosen.add_argument(
        "--envelope-penalty",
        type=number,
        default=1.0,
        metavar="BPS",
        help="per share outside (default 1)",
    )
    chosen.add_argument(
        "--impact",
        type=number,
        metavar="BPS",
        help="of cleaning up the whole order at once (default: a square-root law)",
    )
    for key in ("fee", "rebate"):
        chosen.add_argument(
            f"--{key}",
            type=points,
            action="append",
            metavar="NAME=BPS",
            help="per filled share of an algo; repeatable (default 0)",
        )


def _add_files(parser: argparse.ArgumentParser) -> None:
    """Add the options of the files that are written."""
    out = parser.add_argument_group("files")
    out.add_argument("--out", required=True, type=Path, metavar="FILE.toml", help="the scenario")
    out.add_argument(
        "--days",
        type=Path,
        metavar="FILE.npz",
        help="the real days, and a scenario that replays them beside --out (its name and -replay)",
    )
    out.add_argument(
        "--split",
        type=split,
        nargs="+",
        action="extend",
        metavar="NAME=DATES",
        help="dates of train and test (default: the last date is test; of one date the last third)",
    )
    out.add_argument(
        "--fit-on",
        metavar="SPLIT",
        help="split to estimate from, or all (default: train with --days, else all)",
    )
    out.add_argument(
        "--figure", type=Path, metavar="FILE", help="model against data (default: as --out, .png)"
    )
    out.add_argument("--no-figure", action="store_true", help="none")


def said_command(arguments: Sequence[str]) -> str:
    """Return the command line without folders.

    A file that is handed on must not show where its owner works.
    """
    words = []
    for word in arguments:
        key, _, value = word.partition("=")
        if os.sep in value:
            word = f"{key}={Path(value).name}"  # noqa: PLW2901
        elif os.sep in word:
            word = Path(word).name  # noqa: PLW2901
        words.append(word)
    return "python -m execution_env " + shlex.join(words)
