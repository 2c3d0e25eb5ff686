"""Tools of ``train.py`` and ``evaluate.py``: commands as dataclasses, ``--set``, errors of one line.

A command is a dataclass; tyro makes its options and help of it. ``parse`` gives an instance.
``run_command`` of ``execution_env.core.command`` runs what is done with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import itertools
import os
import re
import sys
import typing
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from agents.storage.files import writable_folder
from execution_env.allocation.scenario import Scenario
from execution_env.allocation.scenario_file import toml_content
from execution_env.core.validation import ScenarioError, decimal, digits, shown, suggestion

Command = TypeVar("Command")

RULE = re.compile(r"[-─╭╮╰╯]{3,}")
"""A line across tyro's box."""

RUNS = Path("runs")
"""Default folder of runs and results."""


# Types of options.


def _whole(least: int, what: str) -> Any:
    def read(words: list[str]) -> int:
        try:
            number = digits(words[0])
        except ValueError:
            number = least - 1
        if number < least:
            raise ValueError(f"{words[0][:80]} must be {what}, such as 10000.")
        return number

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="N",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )


def _decimal() -> Any:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="NUMBER",
        instance_from_str=lambda words: decimal(words[0]),
        is_instance=lambda value: isinstance(value, float),
        str_from_instance=lambda value: [str(value)],
    )


Number = Annotated[float, _decimal()]
Count = Annotated[int, _whole(1, "a whole number of at least 1")]
Natural = Annotated[int, _whole(0, "a whole number of at least 0")]
Settings = Annotated[
    list[str], tyro.conf.arg(name="set", metavar="KEY=VALUE ...", help_behavior_hint="")
]
Normalise = Annotated[
    list[str],
    tyro.conf.arg(
        metavar="FILE ...",
        help="Statistics of a zip's observations, as VecNormalize saved them, pickled too; none for raw "
        "ones; LABEL=FILE where there are several zips.",
        help_behavior_hint="(default: raw observations)",
    ),
]


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``--set``, as overrides for ``load_scenario``.

    Values are TOML, such as ``20``, ``0.5``, ``[1, 2]`` or ``true``; a word that is none is a text,
    and ``none`` removes the key.

    Args:
        settings: such as ``["order.buckets=20", "costs.basis=filled", "participation=none"]``.

    Raises:
        ScenarioError: one has no key or no value, or a key is set twice.
    """
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not key or not equals or not value:
            raise ScenarioError(
                f"--set {setting}: must be KEY=VALUE, such as order.buckets=20, without spaces."
            )
        if key in overrides:
            raise ScenarioError(f"--set {key}: is set twice; once is enough.")
        overrides[key] = None if value == "none" else _toml_value(value)
    return overrides


def results_folder(out: str | None, what: str, scenario: Scenario, *more: object) -> Path:
    """The folder for results, made where it is missing: ``out``, or one in runs/ that says what it has.

    Raises:
        RunError: it cannot be written.
    """
    name = "".join(letter if letter.isalnum() else "-" for letter in scenario.name)
    return writable_folder(RUNS / "-".join([what, name, *map(str, more)]) if out is None else out)


def _toml_value(text: str) -> Any:
    try:
        content = toml_content(f"value = {text}")
    except ValueError:
        return text
    return content["value"] if len(content) == 1 else text


# Parsing.


def parse(
    commands: Mapping[str, type[Command]],
    default: str,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
    others: Sequence[str] = (),
) -> Command:
    """The command that ``arguments`` ask for.

    Options with several values may be repeated; all their values count.

    Args:
        commands: dataclasses by the word that asks for them.
        default: the word that goes without saying.
        arguments: of the command line; default ``sys.argv``.
        program: its name in messages; default the script's.
        others: words that ask for what is parsed elsewhere.

    Raises:
        SystemExit: 0 after printing help; 2 with one line on stderr where the arguments are wrong.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    program = program or os.path.basename(sys.argv[0])
    word = given.pop(0) if given and not given[0].startswith("-") else default
    if word not in commands:
        known = [*commands, *others]
        stop(
            f"{shown(word)}: no such command.{suggestion(word, known)} There is: {', '.join(known)}."
        )
    command = commands[word]
    words = _merged(command, given)
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            return tyro.cli(
                command,
                prog=f"{program} {word}",
                args=words,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stopped:
        if stopped.code in (None, 0):
            raise
        message = _in_one_line(messages.getvalue(), _options(command))
        stop(f"{message} See python {program} {word} --help.")


def _merged(command: type, arguments: Sequence[str]) -> list[str]:
    """``arguments`` with repeated options joined where they are lists, and refused elsewhere."""
    groups = grouped(arguments, _lists(command))
    words = [word for key, values in groups.items() for word in (key, *values)]
    return words[1:] if words and not words[0] else words


def grouped(
    arguments: Sequence[str], several: Container[str] | None = None
) -> dict[str, list[str]]:
    """Values by option, such as ``{"--seed": ["0", "1"]}``; under "" what no option comes before.

    Args:
        arguments: of a command line.
        several: options that may be repeated; all their values count. None for all of them.

    Raises:
        SystemExit: another option is repeated; one line on stderr has said so.
    """
    groups: dict[str, list[str]] = {}
    where = ""
    for argument in arguments:
        if argument.startswith("--"):
            where, equals, value = argument.partition("=")
            where = where.replace("_", "-")
            if where in groups and several is not None and where not in several:
                stop(f"{where}: given twice; once is enough.")
            groups.setdefault(where, [])
            if equals:
                groups[where].append(value)
        else:
            groups.setdefault(where, []).append(argument)
    return groups


def _lists(command: type) -> list[str]:
    """Options of ``command`` that take several values."""
    found = []
    for name, hint in typing.get_type_hints(command, include_extras=True).items():
        kind, *extras = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        if typing.get_origin(kind) is list:
            names = [extra.name for extra in extras if getattr(extra, "name", None)]
            found.append("--" + (names[0] if names else name).replace("_", "-"))
    return found


def _options(command: type) -> list[str]:
    """Return the options of ``command``, those of its nested dataclasses included."""
    found = []
    for name, hint in typing.get_type_hints(command, include_extras=True).items():
        if typing.get_origin(hint) is typing.ClassVar:
            continue
        kind, *extras = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        if dataclasses.is_dataclass(kind):
            found += _options(typing.cast(type, kind))
            continue
        names = [extra.name for extra in extras if getattr(extra, "name", None)]
        found.append("--" + (names[0] if names else name).replace("_", "-"))
    return found


def _in_one_line(message: str, options: Sequence[str]) -> str:
    """Return the lines of tyro's box up to the first rule, and the option that was meant.

    tyro suggests options too, but far fewer: none for ``--policy``.
    """
    lines = [line.strip("│ ") for line in message.splitlines()[1:]]  # after the title
    if lines and RULE.fullmatch(lines[0]):  # tyro draws so where there is ASCII only
        lines = lines[1:]
    matter = itertools.takewhile(lambda line: not RULE.fullmatch(line), lines)
    text = " ".join(matter).removeprefix("Error parsing ") or " ".join(message.split())
    text = text if text.endswith(".") else f"{text}."
    unknown = re.search(r"Unrecognized.*?(--[\w-]+)", text)
    meant = difflib.get_close_matches(unknown[1].replace("_", "-"), options, 1) if unknown else []
    return f"{text} Did you mean {meant[0]}?" if meant else text


def stop(message: str) -> typing.NoReturn:
    """End with a line on stderr and exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
