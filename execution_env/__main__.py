"""``python -m execution_env``: list, show, check and play scenarios, and make them from market
data.
"""

from __future__ import annotations

import argparse
import sys
import textwrap

import numpy as np

from execution_env.allocation import verdicts
from execution_env.allocation.diagnosis import oddities
from execution_env.allocation.env import OrderAllocationEnv
from execution_env.allocation.estimation import prior_of_estimates
from execution_env.allocation.market.day_stream import POLICY, stream_generator
from execution_env.allocation.market.days_file import replayed
from execution_env.allocation.rendering import Recorder
from execution_env.allocation.scenario import Scenario
from execution_env.allocation.scenario_file import (
    load_scenario,
    scenario_text,
    scenario_to_toml,
    scenarios,
)
from execution_env.allocation.sections import Replay
from execution_env.calibration.options import NEEDS, add_calibrate
from execution_env.core.arguments import Parser, whole
from execution_env.core.atomic import atomic_write
from execution_env.core.command import run_command
from execution_env.core.streams import standard_streams
from execution_env.core.validation import printable

SKETCH_ROWS = 12


@standard_streams()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = Parser(
        prog="python -m execution_env",
        description="List, show, check and play scenarios, or make one of market data. Without a "
        "command: list the shipped ones.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("list", help="shipped scenarios with their key numbers (the default)")
    show = commands.add_parser("show", help="one scenario in full, with a sketch of its envelope")
    show.add_argument("scenario", metavar="NAME", help="a shipped name or the path of a TOML file")
    check = commands.add_parser("check", help="validate a scenario file and say what is odd in it")
    check.add_argument("scenario", metavar="FILE", help="the path of a TOML file or a shipped name")
    play = commands.add_parser(
        "play",
        help="play one day of a scenario, a line per bucket",
        description="Play one day, a line per bucket: the same grid action in every bucket, or random "
        "ones. Policies that decide well play in evaluate.py of the clone: python evaluate.py trace "
        "--help.",
    )
    play.add_argument("scenario", metavar="NAME", help="a shipped name or the path of a TOML file")
    play.add_argument("--seed", type=whole, default=0, help="number of the day (default 0)")
    play.add_argument(
        "--action", type=whole, help="index into the allocation grid; random where left out"
    )
    play.add_argument("--picture", metavar="FILE", help="write the order as a picture, a PNG file")
    add_calibrate(commands)
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    return run_command(lambda: _run(options, words), "stopped.")


def _run(options: argparse.Namespace, words: list[str]) -> int:
    if options.command == "calibrate":
        return _calibrate(options, words)
    if options.command in (None, "list"):
        print(_table())
    elif options.command == "show":
        print(_shown(load_scenario(options.scenario)))
    elif options.command == "check":
        scenario = load_scenario(options.scenario)
        print(_checked(scenario, verdicts.read(scenario_text(options.scenario))))
    else:
        _play(options.scenario, options.seed, options.action, options.picture)
    return 0


def _calibrate(options: argparse.Namespace, arguments: list[str]) -> int:
    try:
        from execution_env.calibration.command import run  # noqa: PLC0415  needs optional libraries
    except ImportError as error:
        raise ImportError(f"calibrate {NEEDS} ({error}).") from None
    return run(options, arguments)


def _play(scenario: str, seed: int, action: int | None, picture: str | None) -> None:
    env = OrderAllocationEnv(scenario, render_mode="rgb_array" if picture else "ansi")
    lines = Recorder(env._batch)
    generator = stream_generator(seed if seed >= 0 else None, POLICY)
    _, info = env.reset(seed=seed)
    lines.start()
    print(lines.line())
    for _ in range(env.scenario.buckets):
        allowed = np.flatnonzero(info["action_mask"])
        info = env.step(generator.choice(allowed) if action is None else action)[4]
        lines.record()
        print(lines.line())
    if picture:
        from PIL import Image  # noqa: PLC0415  comes with matplotlib, which is optional

        image = Image.fromarray(env.render())
        atomic_write(picture, lambda file: image.save(file, format="PNG"))
        print(f"wrote {picture}")


def _table() -> str:
    header = ("scenario", "shares", "lots", "buckets", "algos", "actions", "fill rates", "costs")
    rows = [header]
    for name in scenarios():
        scenario = load_scenario(name)
        rows.append(
            (
                name,
                f"{scenario.order.size:,}",
                str(scenario.lots),
                str(scenario.buckets),
                str(len(scenario.algos)),
                str(scenario.grid_size),
                _numbers(scenario.predictions[0]),
                f"{_numbers(scenario.posting_costs[0])} {_charged(scenario)}",
            )
        )
    widths = [max(len(row[j]) for row in rows) for j in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.append("")
    lines.append("python -m execution_env show NAME tells more about one, check FILE about yours.")
    return "\n".join(lines)


def _numbers(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return "/".join(f"{value:.3g}" for value in values)


def _charged(scenario: Scenario) -> str:
    return "bps per filled share" if scenario.shortfall else f"per {scenario.costs.basis} share"


def _shown(scenario: Scenario) -> str:
    about = printable(scenario.description.strip())
    lines = [textwrap.fill(about, 88), "", scenario_to_toml(scenario)]
    lines += ["# What follows from it", ""]
    lines.append(f"{scenario.lots} lots, {scenario.grid_size} actions")
    weights, correlations = prior_of_estimates(scenario)
    for i, name in enumerate(scenario.algo_names):
        if np.isinf(weights[i]):
            learning = "nothing about its fill rate is hidden"
        else:
            learning = f"its prediction is worth {weights[i]:.3g} expected filled lots"
        lines.append(f"{printable(name)}: {learning}; intraclass correlation {correlations[i]:.3g}")
    lines += ["", _sketch(scenario)]
    return "\n".join(lines)


def _sketch(scenario: Scenario) -> str:
    """Return the envelope as ASCII: a column per bucket, from 0 % at the bottom to 100 % at the
    top.
    """
    lower, upper = scenario.envelope_bounds
    width = 5 if scenario.buckets <= 16 else 1
    lines = ["envelope: share of the order filled at the end of each bucket"]
    for row in range(SKETCH_ROWS, -1, -1):
        level = row / SKETCH_ROWS
        half = 0.5 / SKETCH_ROWS
        cells = [
            "#" * max(1, width - 1)
            if low - half <= level <= high + half
            else " " * max(1, width - 1)
            for low, high in zip(lower, upper, strict=True)
        ]
        gap = " " if width > 1 else ""
        lines.append(f"{level:>5.0%} |{gap}" + gap.join(cells))
    lines.append("      +" + "-" * (scenario.buckets * width + (1 if width > 1 else 0)))
    if width > 1:
        lines.append("       " + "".join(f"{b + 1:>{width}}" for b in range(scenario.buckets)))
    else:
        lines.append(f"       1 to {scenario.buckets}")
    if scenario.envelope.track_volume:
        lines.append("       on a day of expected volume; it follows the realised volume")
    return "\n".join(lines)


def _checked(scenario: Scenario, said: list[str]) -> str:
    """Return what is odd about a valid scenario, and what its calibration ``said`` of it.

    Its replayed days are read as well.

    Raises:
        ScenarioError: they are missing or damaged, or do not fit the scenario.
    """
    days = ""
    if scenario.replay is not None:
        sizes = {name: replayed(scenario, name).size for name in _splits(scenario.replay)}
        found = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
        days = f" Its replayed days: {printable(found)}."
    warnings, name = oddities(scenario), printable(scenario.name)
    leaves = any(verdict.startswith(verdicts.WARNING) for verdict in said)
    if warnings:
        lines = [f"{name}: valid, but odd:{days}"]
        lines += _items([f"{verdicts.WARNING}{warning}" for warning in warnings])
    elif leaves:
        lines = [f"{name}: nothing odd about it, but its model leaves the data's intervals.{days}"]
    else:
        lines = [f"{name}: fine, and nothing odd about it.{days}"]
    if said:
        lines += [verdicts.TITLE, *_items(said)]
    return "\n".join(lines)


def _items(items: list[str]) -> list[str]:
    return [
        textwrap.fill(printable(item), 88, initial_indent="- ", subsequent_indent="  ")
        for item in items
    ]


def _splits(replay: Replay) -> list[str]:
    return list(dict.fromkeys([replay.train, replay.test]))


if __name__ == "__main__":
    sys.exit(main())
