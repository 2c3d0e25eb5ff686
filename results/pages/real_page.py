"""Page of the experiment on real days, written from its tables."""

from __future__ import annotations

from collections.abc import Sequence

from agents.evaluation.allocation.report import markdown_table
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.tables import Row
from results.pages.real_figures import (
    PARTS_PNG,
    SENSITIVITY_PNG,
    TRANSFER_PNG,
    believers,
    number,
    place_name,
)
from results.pages.real_tables import (
    PARTS_CSV,
    REAL_DAYS_BOUND,
    SENSITIVITY_CSV,
    TRANSFER_CSV,
    Tables,
)
from results.pages.scenario_page import readings
from results.pages.words import paragraph
from results.plan import REAL_DAYS, SEEDS, TIMESTEPS

COMMAND = "python -m results.real_days --lean DIR"

TRANSFER_HEADER = (
    "policy",
    "model",
    "adjusted, minus lp",
    "9 October",
    "95 % interval",
    "minus lp",
    "95 % interval",
    "adjusted, minus lp",
    "95 % interval",
    "three dates, adjusted, minus lp",
    "95 % interval",
    "dates better than lp",
)

NOTE = (
    "Objectives are implementation shortfall plus envelope penalty, basis points per share. The first two columns of numbers are "
    "promises: means of 10,000 days of the model, intervals of which are in the table's file. 9 October: "
    "replayed parent orders, both sides of 13 windows of half an hour. They are hypothetical: five per cent of the market's "
    "volume, and nothing that they do moves the market. *Adjusted* leaves out what every bucket's move of "
    "the mid cost the shares that were waiting at its start; its mean is zero as long as nobody can tell where "
    "the price goes ([more](../../docs/your-data.md)), and on one day it is chance. Three dates: each played with "
    "a model of the other two, which is not the model of the first columns; dates better than lp are of these, adjusted."
)

TRAINED = (
    "Learners were trained on 25 million orders (Q-learning) and {steps:g} million steps (PPO), both "
    "defaults otherwise, with training seeds {seeds} for 9 October and {one} for the other dates and for wrong beliefs. Intervals "
    "of 9 October and of the model are over these seeds too; all others leave training out."
)

WITHIN = (
    "Intervals are over windows, a window's two sides being one cluster: they are intervals within days, and "
    "say how sure a number is for windows of these dates, not for other dates. So many differences are shown "
    "that some are told apart by chance."
)

BELIEVED = (
    "Change of the adjusted objective, basis points, against the same policy with what was measured, on "
    "the same days; negative is better. Planners plan with the wrong belief, learners (one training seed, "
    "against the mean of three) learn on it, margins of lp-buffered are tuned on days that are right "
    "whatever is believed, and two of the rules look at estimates, which begin with the belief; rules that look at "
    "nothing are left out. No fill probability is believed to be above 1, so what is nearly sure can be doubted "
    "but hardly overrated: the two directions are not alike."
)


def page(tables: Tables) -> str:
    """Return the page in markdown."""
    symbols = list(dict.fromkeys(str(row["symbol"]) for row in tables.transfer))
    pieces = [
        "# Real days: what a model teaches, and what of it is true the next day",
        f"    {COMMAND}",
        *map(paragraph, readings()[REAL_DAYS].split("\n\n")),
        f"![What the model promised, and what real days brought]({TRANSFER_PNG})",
    ]
    for symbol in symbols:
        pieces += [f"## {symbol}", transfer_table(tables.transfer, symbol)]
        pieces.append(f"All figures of 9 October are in [{symbol}-20131009]({symbol}-20131009).")
    pieces += [
        paragraph(NOTE),
        paragraph(
            TRAINED.format(
                steps=TIMESTEPS / 1e6, seeds=" to ".join((SEEDS[0], SEEDS[-1])), one=SEEDS[0]
            )
        ),
        paragraph(WITHIN),
        "## Wrong beliefs",
        f"![What wrong beliefs cost]({SENSITIVITY_PNG})",
        sensitivity_table(tables.sensitivity),
        paragraph(BELIEVED),
        "## What is paid for",
        f"![Parts of the shortfall]({PARTS_PNG})",
        "## Model against data",
        *(f"![{symbol}: model against data](model-{symbol}.png)" for symbol in symbols),
        f"Tables: [{TRANSFER_CSV}]({TRANSFER_CSV}), [{SENSITIVITY_CSV}]({SENSITIVITY_CSV}), "
        f"[{PARTS_CSV}]({PARTS_CSV}), and every order in [orders.csv](orders.csv).",
    ]
    return "\n\n".join(pieces) + "\n"


def transfer_table(rows: Sequence[Row], symbol: str) -> str:
    """Return the table of one stock: the model's promises and the results on real days."""
    lines = []
    for row in rows:
        if row["symbol"] != symbol:
            continue
        policy = str(row["policy"])
        if policy == REAL_DAYS_BOUND:
            lines.append(
                (f"{REAL_DAYS_BOUND} (bound)", "", "", f"{number(row, 'objective'):.2f}", *[""] * 8)
            )
            continue
        lines.append(
            (
                policy,
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
                "" if policy == REFERENCE else f"{number(row, 'dates_better_than_lp'):.0f} of 3",
            )
        )
    return markdown_table(TRANSFER_HEADER, lines)


def sensitivity_table(rows: Sequence[Row]) -> str:
    """Return the changes by belief, one line per stock, days and policy."""
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
    """Return the ends of an interval in words."""
    begin = f"{name}_" if name else ""
    return f"{number(row, begin + 'ci_low'):+.2f} to {number(row, begin + 'ci_high'):+.2f}"
