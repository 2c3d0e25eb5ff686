"""The page of the experiment on real days, written from its tables."""

from __future__ import annotations

from collections.abc import Sequence

from agents.evaluation.report import markdown_table
from agents.evaluation.tables import Row
from results.plan import REAL_DAYS
from results.real_figures import PARTS, SENSITIVITY, TRANSFER, believers, number, place_name
from results.real_tables import BOUND, Tables
from results.real_tables import PARTS as PART_TABLE
from results.real_tables import SENSITIVITY as SENSITIVITY_TABLE
from results.real_tables import TRANSFER as TRANSFER_TABLE
from results.scenario_page import readings
from results.words import paragraph

COMMAND = "python -m results.real_days --lean DIR"

HEADER = (
    "policy",
    "model",
    "model, minus lp",
    "9 October",
    "95 % interval",
    "minus lp",
    "95 % interval",
    "adjusted, minus lp",
    "95 % interval",
    "three days, minus lp",
    "95 % interval",
    "days better",
)


def page(tables: Tables) -> str:
    """The page in markdown."""
    symbols = list(dict.fromkeys(str(row["symbol"]) for row in tables.transfer))
    pieces = [
        "# Real days: what a model teaches, and what of it is true the next day",
        f"    {COMMAND}",
        *map(paragraph, readings()[REAL_DAYS].split("\n\n")),
        f"![What the model promised, and what real days brought]({TRANSFER})",
    ]
    for symbol in symbols:
        pieces += [f"## {symbol}", transfer_table(tables.transfer, symbol)]
        pieces.append(f"All figures of 9 October are in [{symbol}-20131009]({symbol}-20131009).")
    pieces += [
        paragraph(
            "Objectives are implementation shortfall plus envelope penalty, basis points per share. Model: "
            "10,000 days of the model, intervals of which are in the table's file. 9 October: replayed parent "
            "orders of both sides of 13 windows; adjusted is without the drift that waiting cost by chance, which "
            "one day's prices decide. Three days, adjusted too: every date played with a model of the other two. "
            "Learners on 9 October are means of three training seeds, on the other dates of one. Intervals are "
            "over windows, a window's two sides being one cluster: they are intervals within days, and say how "
            "sure a number is for windows of these dates, not for other dates."
        ),
        "## Wrong beliefs",
        f"![What wrong beliefs cost]({SENSITIVITY})",
        sensitivity_table(tables.sensitivity),
        paragraph(
            "Change of the adjusted objective, basis points, against the same policy with what was measured, on "
            "the same days; negative is better. Planners plan with the wrong belief, learners (one training seed, "
            "against the mean of three) learn on it. Rules that believe nothing are left out. No fill probability is believed to be above 1."
        ),
        "## What is paid for",
        f"![Parts of the shortfall]({PARTS})",
        "## Model against data",
        *(f"![{symbol}: model against data](model-{symbol}.png)" for symbol in symbols),
        f"Tables: [{TRANSFER_TABLE}]({TRANSFER_TABLE}), [{SENSITIVITY_TABLE}]({SENSITIVITY_TABLE}), "
        f"[{PART_TABLE}]({PART_TABLE}), and every order in [orders.csv](orders.csv).",
    ]
    return "\n\n".join(pieces) + "\n"


def transfer_table(rows: Sequence[Row], symbol: str) -> str:
    """What was promised and what came, of one stock."""
    lines = []
    for row in rows:
        if row["symbol"] != symbol:
            continue
        if row["policy"] == BOUND:
            lines.append((f"{BOUND} (bound)", "", "", f"{number(row, 'objective'):.2f}", *[""] * 8))
            continue
        lines.append(
            (
                str(row["policy"]),
                f"{number(row, 'promised_objective'):.2f}",
                f"{number(row, 'promised_minus_lp'):+.2f}",
                f"{number(row, 'objective'):.2f}",
                ends(row, "objective"),
                f"{number(row, 'objective_minus_lp'):+.2f}",
                ends(row, "objective_minus_lp"),
                f"{number(row, 'adjusted_minus_lp'):+.2f}",
                ends(row, "adjusted_minus_lp"),
                f"{number(row, 'three_days_minus_lp'):+.2f}",
                ends(row, "three_days_minus_lp"),
                f"{number(row, 'days_better_than_lp'):.0f} of 3",
            )
        )
    return markdown_table(HEADER, lines)


def sensitivity_table(rows: Sequence[Row]) -> str:
    """Changes by belief, one line per stock, days and policy."""
    beliefs = list(dict.fromkeys(str(row["beliefs"]) for row in rows))
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    shown_policies = believers(rows)
    for row in rows:
        if row["policy"] not in shown_policies:
            continue
        key = str(row["symbol"]), place_name(str(row["where"])), str(row["policy"])
        cell = f"{number(row, 'change'):+.2f} ({ends(row, '')})"
        lines.setdefault(key, {})[str(row["beliefs"])] = cell
    shown = [(*key, *(cells.get(belief, "") for belief in beliefs)) for key, cells in lines.items()]
    return markdown_table(("stock", "days", "policy", *beliefs), shown)


def ends(row: Row, name: str) -> str:
    """An interval."""
    begin = f"{name}_" if name else ""
    return f"{number(row, begin + 'ci_low'):+.2f} to {number(row, begin + 'ci_high'):+.2f}"
