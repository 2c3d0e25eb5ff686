"""Tables of the experiment on real days: the model's promises, the outcome, the effect of beliefs.

Intervals are 95 % bootstrap intervals over windows: the two sides of a window, and its buckets, are
one cluster. They cover other windows of the same dates. Three dates say little of other dates. On
the main date intervals also cover other training seeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation import statistics
from agents.evaluation.allocation.comparison import Comparison
from agents.evaluation.allocation.selection import REFERENCE
from agents.evaluation.statistics import Interval
from agents.evaluation.tables import Cell, Row, csv_text
from results.pages.words import read_csv

ORDERS_CSV, TRANSFER_CSV, SENSITIVITY_CSV, PARTS_CSV = (
    "orders.csv",
    "transfer.csv",
    "sensitivity.csv",
    "parts.csv",
)

ORDER_COLUMNS = (
    "symbol",
    "date",
    "beliefs",
    "window",
    "order",
    "policy",
    "seed",
    "objective",
    "adjusted",
)

TRANSFER_COLUMNS = (
    "symbol",
    "policy",
    "promised_objective",
    "promised_ci_low",
    "promised_ci_high",
    "promised_minus_lp",
    "promised_minus_lp_ci_low",
    "promised_minus_lp_ci_high",
    "objective",
    "objective_ci_low",
    "objective_ci_high",
    "adjusted",
    "adjusted_ci_low",
    "adjusted_ci_high",
    "objective_minus_lp",
    "objective_minus_lp_ci_low",
    "objective_minus_lp_ci_high",
    "adjusted_minus_lp",
    "adjusted_minus_lp_ci_low",
    "adjusted_minus_lp_ci_high",
    "three_days_minus_lp",
    "three_days_minus_lp_ci_low",
    "three_days_minus_lp_ci_high",
    "dates_better_than_lp",
)

SENSITIVITY_COLUMNS = (
    "symbol",
    "where",
    "beliefs",
    "policy",
    "adjusted",
    "change",
    "ci_low",
    "ci_high",
)

PART_COLUMNS = (
    "symbol",
    "policy",
    "where",
    "spread",
    "fees",
    "drift",
    "clean_up",
    "envelope_penalty",
    "vwap_slippage",
    "markout",
)

TEXT_COLUMNS = ("symbol", "date", "beliefs", "window", "policy", "where")
"""Columns that are not numbers."""

RIGHT, MODEL = "right", "model"

REAL_DAYS_BOUND = "hindsight"

Floats = NDArray[np.float64]


@dataclass
class Orders:
    """Costs of every order of every policy: rows of ``orders.csv``.

    Attributes:
        rows: rows of ``orders.csv``.
        parts: rows of ``parts.csv``, with right beliefs only.
    """

    rows: list[Row]
    parts: list[Row]

    @staticmethod
    def empty() -> Orders:
        """Return an empty collection."""
        return Orders([], [])

    def add(self, symbol: str, date: str, beliefs: str, result: Comparison) -> None:
        """Add the orders of a comparison, one seed after the other."""
        assert result.clusters is not None
        bounds = {name: [name] for name in result.bounds}
        for policy, members in (members_of(result) | bounds).items():
            for seed, label in enumerate(members):
                objective = _objective(result, label)
                of = result.shortfalls.get(label)
                for j, window in enumerate(result.clusters):
                    row: Row = dict.fromkeys(ORDER_COLUMNS)
                    row |= {"symbol": symbol, "date": date, "beliefs": beliefs, "policy": policy}
                    row |= {"window": f"{date}-{window}", "order": j}
                    row["seed"] = None if label == policy else seed
                    row["objective"] = float(objective[j])
                    row["adjusted"] = None if of is None else float(of.adjusted[j])
                    self.rows.append(row)
        if beliefs == RIGHT:
            self.parts += parts_of(symbol, date, result)

    def of(self, **wanted: str) -> list[Row]:
        """Return the rows whose cells equal ``wanted``."""
        return [row for row in self.rows if all(row[key] == cell for key, cell in wanted.items())]


def _objective(result: Comparison, name: str) -> Floats:
    bound = result.bounds.get(name)
    return result.objectives[result.names.index(name)] if bound is None else bound


def members_of(result: Comparison) -> dict[str, list[str]]:
    """Return labels by name in the tables: runs that differ in their seed are one policy."""
    found: dict[str, list[str]] = {}
    for name in result.names:
        found.setdefault(re.sub(r" \d+$", "", name), []).append(name)
    return found


def parts_of(symbol: str, where: str, result: Comparison) -> list[Row]:
    """Return means of the parts of the shortfall, rows of ``parts.csv``."""
    rows: list[Row] = []
    for policy, members in members_of(result).items():
        of = [result.shortfalls[name] for name in members]
        row: Row = {"symbol": symbol, "policy": policy, "where": where}
        for column in PART_COLUMNS[3:]:
            field = column.removeprefix("vwap_")
            row[column] = float(np.nanmean([getattr(one, field) for one in of]))
        rows.append(row)
    return rows


class Tables(NamedTuple):
    """Rows of the four CSV files."""

    orders: list[Row]
    transfer: list[Row]
    sensitivity: list[Row]
    parts: list[Row]

    def texts(self) -> dict[str, str]:
        """Return the contents of the files, by name."""
        return {
            ORDERS_CSV: csv_text(ORDER_COLUMNS, self.orders),
            TRANSFER_CSV: csv_text(TRANSFER_COLUMNS, self.transfer),
            SENSITIVITY_CSV: csv_text(SENSITIVITY_COLUMNS, self.sensitivity),
            PARTS_CSV: csv_text(PART_COLUMNS, self.parts),
        }


def read(folder: Path) -> Tables:
    """Read the files of ``Tables.texts``.

    Raises:
        OSError: a file is missing.
    """
    return Tables(
        *(_rows(folder / name) for name in (ORDERS_CSV, TRANSFER_CSV, SENSITIVITY_CSV, PARTS_CSV))
    )


def _rows(path: Path) -> list[Row]:
    return [
        {key: cell if key in TEXT_COLUMNS else _number(cell) for key, cell in row.items()}
        for row in read_csv(path)
    ]


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def tables(
    orders: Orders,
    promised: Mapping[str, Comparison],
    believed: Mapping[tuple[str, str], Comparison],
) -> Tables:
    """Return all tables.

    Args:
        orders: orders on real days.
        promised: comparisons on the model's evaluation days, by symbol.
        believed: comparisons on the same days, replayed, with right and wrong beliefs, by symbol
            and belief.
    """
    transfer, parts = [], list(orders.parts)
    for symbol, result in promised.items():
        transfer += transfer_rows(orders, symbol, result)
        parts += parts_of(symbol, MODEL, result)
    sensitivity = [
        row
        for (symbol, beliefs), result in believed.items()
        if beliefs != RIGHT
        for row in changes(symbol, beliefs, result, believed[symbol, RIGHT])
    ]
    return Tables(orders.rows, transfer, sensitivity + sensitivity_rows(orders), parts)


def transfer_rows(orders: Orders, symbol: str, result: Comparison) -> list[Row]:
    """Return rows by policy: the model's promise, and the results on the last and on all dates."""
    dates = sorted({str(row["date"]) for row in orders.of(symbol=symbol)})
    members = members_of(result)
    of_lp = result.shortfalls[REFERENCE].adjusted
    lp = orders.of(symbol=symbol, beliefs=RIGHT, date=dates[-1], policy=REFERENCE)
    every_lp = averaged(orders.of(symbol=symbol, beliefs=RIGHT, policy=REFERENCE))
    rows = []
    for policy, labels in members.items():
        objective = np.array([_objective(result, name) for name in labels])
        adjusted = np.array([result.shortfalls[name].adjusted for name in labels])
        real = orders.of(symbol=symbol, beliefs=RIGHT, date=dates[-1], policy=policy)
        # dates differ in their number of seeds: average over the seeds of each date
        every = averaged(orders.of(symbol=symbol, beliefs=RIGHT, policy=policy))
        row: Row = dict.fromkeys(TRANSFER_COLUMNS)
        row |= {"symbol": symbol, "policy": policy}
        row |= _cells(("promised_objective", "promised"), over_seeds(objective))
        row |= _cells(("promised_minus_lp",) * 2, over_seeds(adjusted - of_lp))
        row |= _cells(("objective",) * 2, over_windows(real, "objective"))
        row |= _cells(("adjusted",) * 2, over_windows(real, "adjusted"))
        row |= _cells(("objective_minus_lp",) * 2, over_windows(real, "objective", lp))
        row |= _cells(("adjusted_minus_lp",) * 2, over_windows(real, "adjusted", lp))
        row |= _cells(("three_days_minus_lp",) * 2, over_windows(every, "adjusted", every_lp))
        if policy != REFERENCE:
            row["dates_better_than_lp"] = sum(
                float(_of_date(every, date).mean()) < float(_of_date(every_lp, date).mean())
                for date in dates
            )
        rows.append(row)
    rows.sort(key=lambda row: float(row["promised_objective"] or 0.0))
    bound = orders.of(symbol=symbol, beliefs=RIGHT, date=dates[-1], policy=REAL_DAYS_BOUND)
    if bound:
        row = dict.fromkeys(TRANSFER_COLUMNS)
        rows.append(row | {"symbol": symbol, "policy": REAL_DAYS_BOUND})
        rows[-1] |= _cells(("objective",) * 2, over_windows(bound, "objective"))
    return rows


def _of_date(rows: Sequence[Row], date: str) -> Floats:
    return column(rows, "adjusted")[[row["date"] == date for row in rows]]


def changes(symbol: str, beliefs: str, result: Comparison, right: Comparison) -> list[Row]:
    """Return the change of the adjusted objective by wrong beliefs, on the same model days."""
    rows: list[Row] = []
    members = members_of(right)
    for policy, labels in members_of(result).items():
        wrong = np.mean([result.shortfalls[name].adjusted for name in labels], axis=0)
        best = np.mean([right.shortfalls[name].adjusted for name in members[policy]], axis=0)
        row: Row = {"symbol": symbol, "where": MODEL, "beliefs": beliefs, "policy": policy}
        row["adjusted"] = float(wrong.mean())
        rows.append(row | _cells(("change", ""), statistics.mean(wrong - best)))
    return rows


def sensitivity_rows(orders: Orders) -> list[Row]:
    """Return the change of the adjusted objective by wrong beliefs, on the same real orders."""
    rows: list[Row] = []
    wrong = sorted({str(row["beliefs"]) for row in orders.rows} - {RIGHT})
    for symbol in sorted({str(row["symbol"]) for row in orders.rows}):
        for beliefs in wrong:
            of_beliefs = orders.of(symbol=symbol, beliefs=beliefs)
            for policy in dict.fromkeys(str(row["policy"]) for row in of_beliefs):
                mine = [row for row in of_beliefs if row["policy"] == policy]
                date = str(mine[0]["date"])
                right = averaged(orders.of(symbol=symbol, beliefs=RIGHT, date=date, policy=policy))
                row: Row = {"symbol": symbol, "where": date, "beliefs": beliefs, "policy": policy}
                row["adjusted"] = float(column(mine, "adjusted").mean())
                row |= _cells(("change", ""), over_windows(mine, "adjusted", right))
                rows.append(row)
    return rows


def over_windows(rows: Sequence[Row], name: str, against: Sequence[Row] | None = None) -> Interval:
    """Return the mean of a policy's column over orders and training seeds, with an interval.

    The same orders ``against`` are subtracted, if given. The interval is over windows and seeds.
    """
    seeds = len({row["seed"] for row in rows})
    values = column(rows, name).reshape(seeds, -1)
    first = rows[: values.shape[1]]
    if against is not None:
        assert [row["order"] for row in first] == [row["order"] for row in against]
        values = values - column(against, name)
    windows = np.unique([str(row["window"]) for row in first], return_inverse=True)[1]
    return over_seeds(values, windows.reshape(-1))


def over_seeds(values: Floats, clusters: NDArray[np.int64] | None = None) -> Interval:
    """Return the mean of (seeds, days), with an interval over both if there are several seeds."""
    if len(values) > 1:
        return statistics.mean_over_seeds(values, clusters=clusters)
    return statistics.mean(values[0], clusters=clusters)


def averaged(rows: Sequence[Row]) -> list[Row]:
    """Return the orders of a policy, each once, as the mean over its training seeds."""
    found: dict[tuple[Cell, Cell], list[Row]] = {}
    for row in rows:
        found.setdefault((row["window"], row["order"]), []).append(row)
    return [
        of[0]
        | {"seed": None}
        | {name: float(column(of, name).mean()) for name in ("objective", "adjusted")}
        for of in found.values()
    ]


def column(rows: Sequence[Row], name: str) -> Floats:
    """Return the (n,) numbers of a column."""
    return np.array([row[name] for row in rows], np.float64)


def _cells(names: tuple[str, str], interval: Interval) -> Row:
    """Return cells of an interval: the mean under the first name, the ends under the second."""
    begin = f"{names[1]}_" if names[1] else ""
    keys = (names[0], f"{begin}ci_low", f"{begin}ci_high")
    return {key: float(value) for key, value in zip(keys, interval, strict=True)}
