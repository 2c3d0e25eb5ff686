from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.commands.command_line import Count, Natural, Settings, parse, read_settings
from agents.storage.files import RunError
from execution_env import ScenarioError, load_scenario
from execution_env.core.command import run_command


@dataclass
class Cook:
    """Cook something.

    For two
      python kitchen.py --guests 2
    """

    guests: Count = 10_000
    """How many."""
    seed: Natural = 0
    """Of the day."""
    dishes: list[str] = field(default_factory=list)
    """Their names."""
    settings: Settings = field(default_factory=list)
    """Of the stove."""
    quick: bool = False
    """In a hurry."""


@dataclass
class Clean:
    """Clean up."""


COMMANDS: dict[str, type] = {"cook": Cook, "clean": Clean}


def parsed(*arguments: str) -> Any:
    return parse(COMMANDS, "cook", arguments, "kitchen.py")


def complaint(capsys: pytest.CaptureFixture[str], call: Callable[[], object]) -> str:
    with pytest.raises(SystemExit) as stopped:
        call()
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_no_word_means_the_default_command() -> None:
    assert parsed() == Cook()
    assert parsed("--guests", "2") == parsed("cook", "--guests", "2") == Cook(guests=2)
    assert parsed("clean") == Clean()


def test_repeated_lists_are_joined() -> None:
    words = [
        "--set",
        "a=1",
        "b=2",
        "--dishes",
        "soup",
        "--quick",
        "--set=c=3",
        "--dishes",
        "pie",
        "jam",
    ]
    assert parsed(*words) == Cook(
        settings=["a=1", "b=2", "c=3"], dishes=["soup", "pie", "jam"], quick=True
    )
    assert parsed("--set").settings == []


def test_empty_words_are_values() -> None:
    assert parsed("--dishes", "", "pie").dishes == ["", "pie"]
    assert parsed("--dishes=", "--quick").dishes == [""]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_wrong_arguments_are_one_line_on_any_terminal(encoding: str) -> None:
    code = "from tests.evaluation.test_agents_command_line import parsed; parsed('--gests', '1')"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = found.stderr.splitlines()
    assert line == (
        "error: Unrecognized options: --gests, 1. Did you mean --guests? See python kitchen.py cook "
        "--help."
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--guests", "1e4"], ["--guests: 1e4 must be a whole number of at least 1, such as"]),
        (["--guests", "0"], ["--guests: 0 must be a whole number of at least 1"]),
        (["--guests", "-1"], ["--guests: -1 must be"]),
        (["--guests", "2.5"], ["--guests: 2.5 must be"]),
        (["--guests"], ["Missing value for argument '--guests'"]),
        (["--guests", "1", "2"], ["Unrecognized options: 2"]),
        (["--seed", "-1"], ["--seed: -1 must be a whole number of at least 0"]),
        (["--seed", "1", "--seed", "2"], ["--seed: given twice"]),
        (["--gests", "1"], ["--gests", "Did you mean --guests?", "python kitchen.py cook --help"]),
        (["--quick", "yes"], ["Unrecognized options: yes"]),
        (["cooc"], ['"cooc": no such command. Did you mean "cook"?', "There is: cook, clean."]),
        (["--guests", "1", "cook"], ["Unrecognized options: cook"]),
        (["clean", "--guests", "1"], ["Unrecognized options: --guests"]),
    ],
)
def test_wrong_arguments_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    line = complaint(capsys, lambda: parsed(*arguments))
    for word in words:
        assert word in line


def test_help_keeps_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["cook", "-h"]):
        with pytest.raises(SystemExit) as stopped:
            parsed(*arguments)
        assert stopped.value.code == 0
        shown = capsys.readouterr().out
        assert "\n  python kitchen.py --guests 2\n" in shown
        assert "--set KEY=VALUE ..." in shown


def test_settings_are_toml() -> None:
    given = [
        "order.buckets=20",
        "algos.Passive.cost = 0.5",
        "costs.basis=filled",
        'name="a=b"',
        "envelope.upper=[0.5, 1]",
        "envelope.track_volume=true",
        "participation=none",
        "description=two words\nand = 3",
    ]
    assert read_settings(given) == {
        "order.buckets": 20,
        "algos.Passive.cost": 0.5,
        "costs.basis": "filled",
        "name": "a=b",
        "envelope.upper": [0.5, 1],
        "envelope.track_volume": True,
        "participation": None,
        "description": "two words\nand = 3",
    }
    assert load_scenario("baseline", read_settings(["order.buckets=7"])).buckets == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["order.buckets"], "--set order.buckets: must be KEY=VALUE, such as order.buckets=20"),
        (["=3"], "--set =3: must be KEY=VALUE"),
        (["order.buckets=", "20"], "--set order.buckets=: must be KEY=VALUE"),
        (["a=1", "a=2"], "--set a: is set twice"),
    ],
)
def test_settings_that_are_none(settings: list[str], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        read_settings(settings)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ScenarioError("order.size = 3: wrong."), "error: order.size = 3: wrong."),
        (RunError("runs/a: there is none."), "error: runs/a: there is none."),
        (ValueError("two\n  lines"), "error: two lines"),
        (ImportError("no highspy"), "error: no highspy"),
        (OSError(28, "No space left on device"), "error: [Errno 28] No space left on device"),
        (MemoryError("8 GiB"), "error: not enough memory (8 GiB)."),
        (ValueError(), "error: ValueError"),
    ],
)
def test_what_a_user_can_cause_is_one_line(
    capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    def main() -> None:
        raise error

    assert run_command(main) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{line}\n")


def test_mistakes_of_ours_keep_their_traceback() -> None:
    def main() -> None:
        raise KeyError("oops")

    with pytest.raises(KeyError):
        run_command(main)


def test_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    assert run_command(main, "stopped; the checkpoint is good.") == 130
    assert capsys.readouterr().err.strip() == "stopped; the checkpoint is good."


def test_exit_codes() -> None:
    assert run_command(lambda: None) == 0
    assert run_command(lambda: 3) == 3
