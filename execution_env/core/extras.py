"""Messages on packages that are not installed, with the command that installs them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

PIP_NAMES = {
    "PIL": "pillow",
    "ray": "ray[default]",
    "sb3_contrib": "sb3-contrib",
    "stable_baselines3": "stable-baselines3",
}
"""Names for pip of the packages that are imported by another name."""

OURS = ("execution_env", "agents", "results")


def missing(error: ImportError) -> str:
    """Return the message of ``error`` in one line; of a missing package, with its pip command."""
    name = _absent(error)
    message = " ".join(str(error).split())
    if name is None or "pip install" in message:
        return message
    return (
        f'the package {name} is not installed: pip install "{name}". In a clone pip install '
        '-c constraints.txt ".[agents]" installs all that its commands use.'
    )


def _absent(error: ImportError) -> str | None:
    """Return the name for pip of the package that is not installed; None for other errors."""
    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package in ("", *OURS):
        return None
    return None if package in sys.stdlib_module_names else PIP_NAMES.get(package, package)


def command(module: str) -> Callable[[Sequence[str] | None], int]:
    """Return a ``main`` that imports that of ``module`` when called; a missing package is one line.

    Args:
        module: dotted name of a module whose ``main(arguments)`` returns an exit code.
    """

    def main(arguments: Sequence[str] | None = None) -> int:
        try:
            run = importlib.import_module(module).main
        except ImportError as error:
            if _absent(error) is None:
                raise
            print(f"error: {missing(error)}", file=sys.stderr)
            return 2
        code: int = run(arguments)
        return code

    return main
