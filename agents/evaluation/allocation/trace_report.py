"""Tables of a traced day: side by side where there is room, else one below the other."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.console import counted
from agents.evaluation.allocation.trace import Played, Trace, standing
from agents.policy import Lots

OBJECTIVE_PARTS = ("posting", "envelope", "residual")

SAME_OBJECTIVE = 1e-9
"""Smallest difference at which two objectives count as different."""


def show(found: Trace, console: Console) -> None:
    """Print the day."""
    scenario = found.scenario
    console.print(
        f"{scenario.name}, day {found.seed}: {scenario.order.size:,} shares in "
        f"{counted(scenario.buckets, 'bucket')}. Shares posted > filled, and costs "
        f"in {scenario.unit} per share of the order.",
        markup=False,
    )
    console.print()
    for piece in pieces(found, console.width):
        console.print(piece)
        console.print()
    console.print(context(found), markup=False)


def pieces(found: Trace, width: int) -> list[Table]:
    """Return tables for ``width`` columns, as many policies in each as fit.

    Where not even one fits, posted and filled shares stand on two lines.
    """
    rows: list[list[Played]] = []
    for order in found.orders:
        if rows and _fits([*rows[-1], order], found, width):
            rows[-1].append(order)
        else:
            rows.append([order])
    in_a_line = all(_fits(row, found, width) for row in rows)
    return [_side_by_side(row, found, in_a_line) for row in rows]


def _fits(orders: list[Played], found: Trace, width: int) -> bool:
    table = _side_by_side(orders, found, True)
    return Console(width=10_000).measure(table).maximum <= width


def _side_by_side(orders: list[Played], found: Trace, in_a_line: bool) -> Table:
    row = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    row.add_row("", *(Text(order.label, style="bold") for order in orders))
    row.add_row(_common(found, in_a_line), *(_own(order, found, in_a_line) for order in orders))
    return row


def _table(*columns: str) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for name in columns:
        shown.add_column(Text(name), justify="right", no_wrap=True)
    return shown


def _common(found: Trace, in_a_line: bool) -> Table:
    """Return the columns that all policies share: buckets and the envelope at their ends."""
    shown = _table("bucket", "envelope")
    lot, buckets = found.scenario.order.lot_size, found.orders[0].buckets
    end = "" if in_a_line else "\n"
    for b, bucket in enumerate(buckets, 1):
        edges = f"{bucket.lower * lot:,.0f}-{bucket.upper * lot:,.0f}"
        shown.add_row(f"{b}{end}", edges if b < len(buckets) else "")
    shown.add_section()
    shown.add_row(f"total{end}", "")
    for part in OBJECTIVE_PARTS:
        shown.add_row("", part)
    return shown


def _own(order: Played, found: Trace, in_a_line: bool) -> Table:
    """Return the columns of one policy's order."""
    scenario, lot = found.scenario, found.scenario.order.lot_size
    shown = _table(*scenario.algo_names, "done", "cost")
    shown.columns[-2].justify = "left"
    between = ">" if in_a_line else ">\n"

    def cells(posted: Lots, filled: Lots) -> list[str]:
        return [
            f"{mine:,}{between}{theirs:,}" if mine else "-"
            for mine, theirs in zip((posted * lot).tolist(), (filled * lot).tolist(), strict=True)
        ]

    for bucket in order.buckets:
        done, where = f"{bucket.done / scenario.lots:4.0%}", standing(bucket)
        shown.add_row(
            *cells(bucket.posted, bucket.filled),
            done if where == "inside" else Text(f"{done} {where}", style="red"),
            f"{bucket.cost:.4f}",
        )
    shown.add_section()
    shown.add_row(
        *cells(order.posted.sum(axis=0), order.filled.sum(axis=0)),
        f"{order.buckets[-1].done / scenario.lots:4.0%}",
        Text(f"{order.objective:.4f}", style="bold"),
    )
    for part in (order.posting_cost, order.envelope_penalty, order.residual_penalty):
        shown.add_row(*[""] * (len(scenario.algo_names) + 1), f"{part:.4f}")
    return shown


def context(found: Trace) -> str:
    """Return the context of the objectives: the best policy and the bounds of the day."""
    least = min(order.objective for order in found.orders)
    best = [order.label for order in found.orders if order.objective < least + SAME_OBJECTIVE]
    sentences = []
    if len(found.orders) > 1:
        sentences.append(f"Best on this day: {', '.join(best)} with {least:.4f}.")
    if "hindsight" in found.bounds:
        sentences.append(
            f"Knowing everything about the day, {found.bounds['hindsight']:.4f} could have been had "
            "(hindsight)."
        )
    if "clairvoyant" in found.bounds:
        sentences.append(
            f"Knowing its hidden state alone, {found.bounds['clairvoyant']:.4f} was the least to expect "
            "on the action grid (clairvoyant); luck may beat that on a single day."
        )
    sentences.append(
        "One day says little about a policy: python evaluate.py compares on thousands."
    )
    return " ".join(sentences)
