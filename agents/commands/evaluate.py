"""``python evaluate.py``: its commands, and the one that is run."""

from __future__ import annotations

import sys

from agents.commands.advise import Advise
from agents.commands.command_line import parse
from agents.commands.compare import Compare
from agents.commands.frontier import FrontierCommand
from agents.commands.trace import Trace
from execution_env.core.command import run_command
from execution_env.core.streams import standard_streams

COMMANDS: dict[str, type[Compare | FrontierCommand | Advise | Trace]] = {
    "compare": Compare,
    "frontier": FrontierCommand,
    "advise": Advise,
    "trace": Trace,
}
"""By the word that asks for them."""


@standard_streams()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    command = parse(COMMANDS, "compare", arguments, "evaluate.py")
    if "" not in sys.path:
        sys.path.append("")  # module:factory may be where the user is
    return run_command(command.run, "stopped; nothing was written, earlier results are untouched.")
