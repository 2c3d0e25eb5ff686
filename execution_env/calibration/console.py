"""Screen output of ``calibrate``: progress while it works, then the estimates."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from execution_env.allocation.verdicts import TITLE, WARNING
from execution_env.calibration.fitting.cleanup import Cleanup
from execution_env.calibration.fitting.estimate import Estimate
from execution_env.calibration.fitting.fit import AlgoFit, Fit
from execution_env.calibration.write import Choices, cleanup

FIT_ROWS: tuple[tuple[str, str, str], ...] = (
    ("fill_probability", "chance of any depth", ""),
    ("depth", "median depth, share of volume", ""),
    ("depth_sd", "sd of log depth", ""),
    ("day_sd", "sd of an order's effect", ""),
    ("liquidity_loading", "loading on common factor", ""),
    ("half_spread", "half-spread paid", "bps"),
    ("fill", "fill of the usual child order", ""),
    ("whole", "chance that it fills whole", ""),
    ("next", "autocorrelation of fills", ""),
    ("with_move", "correlation with mid's move", ""),
    ("drift", "move against us when filled", "bps"),
    ("all_in", "all-in cost, rest crossed", "bps"),
)
"""Rows of the table: attributes of ``AlgoFit``, their names in the table, and units."""


class Progress:
    """A line on standard error that shows progress, if that is a screen."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            try:
                from rich.console import Console  # noqa: PLC0415  optional
                from rich.progress import Progress as Bar  # noqa: PLC0415
            except ImportError:
                return self
            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def phase(self, name: str) -> None:
        """Show the name of the phase that begins."""
        if self._bar is not None:
            self._bar.update(self._task, description=name, completed=0, total=None)

    def steps(self, name: str) -> Callable[[int, int], None]:
        """Show the name of the phase that begins; return a function to call with (done, total)."""
        self.phase(name)

        def tell(done: int, of: int) -> None:
            if self._bar is not None:
                self._bar.update(self._task, completed=done, total=of)

        return tell


def show(
    fit: Fit,
    choices: Choices,
    data: str,
    used: str,
    counts: Mapping[str, int],
    verdicts: Sequence[str],
    odd: Sequence[str],
) -> None:
    """Print the estimates, what was mended and left out, and what is to be said of the model.

    Args:
        fit, choices: the scenario.
        data, used: descriptions of the data, and of the part that was fitted on.
        counts: number of cases mended and left out, by reason.
        verdicts: sentences on model against data.
        odd: warnings about the scenario.
    """
    for text in (
        f"{data}; fitted on {used}: {fit.windows} windows of {len(fit.expected)} buckets",
        f"order of {choices.size:,} shares in lots of {choices.lot_size:,}; usual child order "
        f"{fit.posted:,.0f} shares, {fit.size:.1%} of a bucket's volume",
    ):
        print(text)
    print()
    print_table(["estimate +- standard error", *(algo.name for algo in fit.algos)], _rows(fit))
    print()
    volume = sum(b.value for b in fit.expected) / len(fit.expected)
    market = [
        ["volume of a bucket, shares", f"{volume:,.0f}"],
        ["sd of log volume", str(fit.volume_sd)],
        ["autocorrelation of log volume", str(fit.volume_persistence)],
        ["sd of the mid's move in a bucket, bps", str(fit.price_sd)],
        ["correlation of move and factor", str(fit.move_correlation)],
        ["persistence of factor", str(fit.persistence)],
        ["mid to far touch at the end, bps", str(fit.touch)],
        *_cleanup_rows(cleanup(fit, choices)),
    ]
    print_table(["market", ""], market)
    notes = [f"{algo.name}: {row[1]}: {note}" for algo in fit.algos for row in FIT_ROWS
             if (value := getattr(algo, row[0])).known and (note := value.note)]  # fmt: skip
    notes += [f"persistence of factor: {fit.persistence.note}"] * bool(fit.persistence.note)
    mended = {**counts, **fit.counts}
    for title, lines in (
        ("notes", notes),
        ("mended and left out", [f"{why}: {count:,}" for why, count in mended.items()]),
        (TITLE.rstrip(":").lower(), [f"- {verdict}" for verdict in verdicts]),
        ("odd about this scenario", [f"- {WARNING}{warning}" for warning in odd]),
    ):
        if lines:
            print(f"\n{title}")
            print("\n".join(f"  {line}" for line in lines))
    print()


def warn(out: Path, verdicts: Sequence[str], odd: Sequence[str]) -> None:
    """Say on standard error how much there is to say against the scenario in the file ``out``."""
    leaves = sum(verdict.startswith(WARNING) for verdict in verdicts)
    said = [f"the model leaves the data in {leaves} of {len(verdicts)} comparisons"] * bool(leaves)
    said += [
        f"{len(odd)} {'things are' if len(odd) > 1 else 'thing is'} odd about the scenario"
    ] * bool(odd)
    if said:
        print(
            f"{WARNING}{' and '.join(said)}: see above, the head of {out.name}, or check {out.name}",
            file=sys.stderr,
        )


def _cleanup_rows(found: Cleanup) -> list[list[str]]:
    return [
        [f"{name}, bps", str(value)]
        for name, value in (
            ("to cross with the usual child order", found.child),
            ("to cross with a tenth of the order", found.tenth),
            ("to cross with all of the order", found.whole),
            ("all-in price of the algo that crosses", found.all_in),
            ("clean-up per share", found.linear),
            ("and more if all is left", found.quadratic),
        )
    ]


def _rows(fit: Fit) -> list[list[str]]:
    return [
        [f"{name}, {unit}" if unit else name, *(_cell(algo, key) for algo in fit.algos)]
        for key, name, unit in FIT_ROWS
    ]


def _cell(algo: AlgoFit, key: str) -> str:
    value: Estimate = getattr(algo, key)
    return str(value)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output; with rules where rich is installed and this is a screen."""
    if sys.stdout.isatty():
        try:
            from rich.console import Console  # noqa: PLC0415  optional
            from rich.table import Table  # noqa: PLC0415
        except ImportError:
            pass
        else:
            table = Table(*header)
            for row in rows:
                table.add_row(*row)
            Console().print(table)
            return
    widths = [max(len(row[j]) for row in [header, *rows]) for j in range(len(header))]
    for row in [header, *rows]:
        cells = [cell.ljust(w) for cell, w in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
