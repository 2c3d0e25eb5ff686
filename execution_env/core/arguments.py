"""Command lines whose errors are one line, with the word that was meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from execution_env.core.validation import digits, printable, shown, suggestion


class Parser(argparse.ArgumentParser):
    """Parser that ends with one line on stderr and exit code 2, for every command of it."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse all arguments: commands' parsers are called here too, and know their options.

        Raises:
            SystemExit: an argument is wrong or unknown.
        """
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:  # before argparse asks for what is required
            self._refuse([word for word in words if self._is_unknown(word)])
        found, unknown = super().parse_known_args(words, namespace)
        self._refuse(unknown)
        return found, unknown

    def _is_unknown(self, word: str) -> bool:
        option = word.partition("=")[0]
        known = any(name.startswith(option) for name in self._option_string_actions)
        return word.startswith("--") and not known

    def _refuse(self, unknown: Sequence[str]) -> None:
        if unknown:
            option = next((word for word in unknown if word.startswith("-")), unknown[0])
            meant = suggestion(option.partition("=")[0], self._option_string_actions)
            self.error(f"unknown arguments: {' '.join(unknown)}.{meant}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            raise argparse.ArgumentError(
                action,
                f"there is no {shown(value)}.{suggestion(value, known)} There is: "
                f"{', '.join(known)}.",
            )

    def error(self, message: str) -> NoReturn:
        """End with ``message`` and exit code 2."""
        text = printable(message)
        text = text if text.endswith(("?", ".")) else f"{text}."
        print(f"error: {text} See {self.prog} --help.", file=sys.stderr)
        raise SystemExit(2)


def whole(text: str) -> int:
    """Return a whole number in ASCII digits, as a type of an argument.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return digits(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
