"""The linear programme of one remaining horizon, as a HiGHS model that is built once.

With r buckets to go, C filled so far and e[j, i] the share of lots that fills, choose lots x[j, i] to

    minimise   sum_j ( sum_i c[j, i] x[j, i]  +  lambda (below_j + above_j) )  +  residual cost
    subject to C_{j+1} = C_j + sum_i e[j, i] x[j, i]          fills
               C_{j+1} = z_j - below_j + above_j,  L_j <= z_j <= U_j     envelope, j < r - 1
               C_r + residual = n                                      completion
               sum_i x[j, i] + C_j <= T_j                              at most what remains,
                                                       participation since the start, hard upper edge
               sum_i x[j, i] + C_j - C_{j + 1 - window} <= W_j           participation in a window
               sum_i x[j, i] <= A_j                                    limits of one bucket

and x, below, above, residual >= 0. An algo with depth has several x, pieces of its lots of which less
and less fills, with upper bounds (see ``lp_pieces``); there are W in all, K where there is no depth.
z is C moved into the envelope; it takes the place of C, so that the envelope costs bounds and no rows.
The residual cost is kappa R + kappa2 R^2 / n, the square as chords.

With S scenarios of fills the first bucket's x is common to all and everything else is theirs, at weight
1 / S: a two-stage stochastic programme (Birge & Louveaux 2011, Introduction to Stochastic
Programming, chapter 3, there called the extensive form). S = 1 is the programme above.

Quantities inside are percent of the order, so that the solver's absolute tolerances mean the same for
every order size. HiGHS: Huangfu & Hall 2018, Parallelizing the dual revised simplex method,
Mathematical Programming Computation 10.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import highspy
import numpy as np
from numpy.typing import NDArray

from agents.planning.pieces import pieces
from execution_env import Scenario
from execution_env.allocation.parameters import parameters

WHOLE = 100.0
"""The order, in the programme's unit."""

CHORDS = 32
"""Of the quadratic residual cost, equally wide: it is overstated by at most
kappa2 / (4 CHORDS^2) < kappa2 / 4000 per share of the order, and nowhere understated."""

OPTIONS: dict[str, Any] = {
    "output_flag": False,
    "presolve": "off",
    "solver": "simplex",
    "parallel": "off",
    "threads": 1,
    "simplex_strategy": 4,  # primal: new fill rates leave a stored basis feasible more often
    "simplex_scale_strategy": 0,
    # Percent and half-spreads are of the order of 1; at the default of 1e-7 objectives of plans that
    # differ little would differ in the seventh digit.
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
    # Perturbed bounds and costs would have to be cleaned up by more iterations.
    "primal_simplex_bound_perturbation_multiplier": 0.0,
    "dual_simplex_cost_perturbation_multiplier": 0.0,
}

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


COLUMNWISE, MINIMISE = int(highspy.MatrixFormat.kColwise), int(highspy.ObjSense.kMinimize)
OPTIMAL = highspy.HighsModelStatus.kOptimal


class Limits(NamedTuple):
    """Which rows a scenario's limits on posting take in the buckets after the first one.

    Attributes:
        total: T_j applies.
        window: W_j applies, over so many buckets; 0 where it does not.
        bucket: A_j applies.
    """

    total: bool
    window: int
    bucket: bool


def most_posted(scenario: Scenario) -> float:
    """Lots that the scenario lets a bucket post, infinite where it does not say. It may be more than the
    order has, which binds only a plan that may post more than remains.
    """
    participation = scenario.participation
    if participation is None or participation.max_posted is None:
        return np.inf
    return float(participation.max_posted // scenario.order.lot_size)


def limits(scenario: Scenario, at_most_remaining: bool) -> Limits:
    """The rows that ``scenario`` needs."""
    order = parameters(scenario).order[0]
    capped, window, buckets = bool(order["capped"]), int(order["window"]), scenario.buckets
    return Limits(
        bool(at_most_remaining or order["hard_upper"] or (capped and window >= buckets)),
        window if capped and 1 < window < buckets else 0,
        bool(
            order["max_posted"] < scenario.lots
            or (not at_most_remaining and most_posted(scenario) < np.inf)
            or (capped and window == 1 < buckets)
        ),
    )


ROWS = np.dtype(
    [("width", np.int64), ("total", np.int64), ("window", np.int64), ("bucket", np.int64)],
    align=True,
)
"""Where rows are. Row 0 limits posting in the first bucket. Scenario s has the rows from
1 + s width on: the balances of the r buckets, then, from the offsets named here, the limits of the
r - 1 buckets after the first; an offset is 0 where there is no such limit."""


class Arrays(NamedTuple):
    """A model's arrays, to be written before it is run; quantities in percent of the order.

    Attributes:
        fills: (S, r, W) e, in [0, 1].
        costs: (S, r, W) c per posted share.
        values: coefficients of the matrix.
        columns: (3, columns) costs, least and most values.
        rows: (2, rows) least and most values.
        places: (S, r, W) of the fills among ``values``.
        posted: (S, r, W) columns of x; the first bucket's are common to all scenarios.
        inside: (S, r - 1) columns of z.
        layout: (1,) of ``ROWS``.
    """

    fills: Floats
    costs: Floats
    values: Floats
    columns: Floats
    rows: Floats
    places: Places
    posted: Places
    inside: Places
    layout: NDArray[Any]


class Solution(NamedTuple):
    """What the solver found; quantities in percent of the order.

    A price is what the objective per share of the order changes by when a bound moves by the whole
    order: half-spreads per share.

    Attributes:
        status: of HiGHS in words, "Optimal" when all is well.
        objective: per share of the order.
        posted: (S, r, W) x.
        below, above: (S, r - 1).
        residual: (S, chords).
        edge_prices: (S, r - 1) of z: positive where L binds, negative where U does.
        limit_prices: (S, r) of all limits on posting in a bucket, at most 0; the first bucket's
            only one stands in the first scenario.
        completion_prices: (S,) of having to fill more by the end.
    """

    status: str
    objective: float
    posted: Floats
    below: Floats
    above: Floats
    residual: Floats
    edge_prices: Floats
    limit_prices: Floats
    completion_prices: Floats


class Programme:
    """The programme from one bucket to the end, ready to be solved again and again.

    A solve starts from the basis that the caller gives, never from the one before: linear programmes
    have ties, and the vertex found among equals depends on where the search began. So a solution is
    a function of its data and that basis, whatever was solved before.

    Args:
        scenario: gives the prices of missing the limits, and says which limits there are.
        bucket: the first one of the horizon, 0 to B - 1.
        scenarios: S, of fills.
        at_most_remaining: whether no bucket may post more than remains then.

    Attributes:
        arrays: what a run solves, see ``lp_data.put``.
        slopes: (chords,) of the residual cost.
    """

    def __init__(
        self, scenario: Scenario, bucket: int, scenarios: int = 1, at_most_remaining: bool = True
    ) -> None:
        order = parameters(scenario).order[0]
        quadratic = float(order["residual_quadratic"])
        chords = CHORDS if quadratic > 0 else 1
        squares = quadratic * (2.0 * np.arange(chords) + 1.0) / chords
        self.slopes = float(order["residual_penalty"]) + squares
        widths = pieces(scenario).widths * (WHOLE / scenario.lots)
        self._shape = (scenarios, scenario.buckets - bucket, widths.size)
        self._name_columns(chords)
        self._name_rows(limits(scenario, at_most_remaining))
        self._build_matrix()
        self._build_arrays(float(order["envelope_penalty"]), widths)
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        for key, value in OPTIONS.items():
            self._solver.setOptionValue(key, value)

    def _name_columns(self, chords: int) -> None:
        scenarios, buckets, algos = self._shape
        later = buckets - 1
        width = later * (algos + 3) + chords
        own = algos + np.arange(scenarios * width).reshape(scenarios, width)
        self._posted = np.empty(self._shape, np.int64)
        self._posted[:, 0] = np.arange(algos)
        self._posted[:, 1:] = own[:, : later * algos].reshape(scenarios, later, algos)
        rest = own[:, later * algos :]
        self._inside, self._below, self._above = (
            rest[:, j * later : (j + 1) * later] for j in range(3)
        )
        self._residual = rest[:, 3 * later :]
        self._columns = algos + own.size

    def _name_rows(self, limits: Limits) -> None:
        scenarios, buckets, _ = self._shape
        later = buckets - 1
        used = (limits.total, limits.window > 0, limits.bucket)
        ends = np.cumsum([0, buckets, *(later * is_used for is_used in used)])
        own = 1 + np.arange(scenarios * ends[-1]).reshape(scenarios, ends[-1])
        self._balance, self._total, self._window, self._bucket = (
            own[:, ends[j] : ends[j + 1]] for j in range(4)
        )
        self._span = limits.window
        self._rows = 1 + own.size
        self._layout = np.zeros(1, ROWS)
        starts = [start if is_used else 0 for start, is_used in zip(ends[1:4], used, strict=True)]
        self._layout[0] = (ends[-1], *starts)

    def _build_matrix(self) -> None:
        """The matrix in compressed columns, and where in it the fill rates go."""
        rows: list[Places] = []
        columns: list[Places] = []
        values: list[Floats] = []

        def add(row: Places, column: Places, value: float) -> None:
            row, column = np.broadcast_arrays(row, column)
            rows.append(row.ravel())
            columns.append(column.ravel())
            values.append(np.full(row.size, value))

        def add_filled(row: Places, after: Places, sign: float) -> None:
            """C at the ends of the buckets ``after``."""
            add(row, self._inside[:, after], sign)
            add(row, self._below[:, after], -sign)
            add(row, self._above[:, after], sign)

        later = np.arange(self._shape[1] - 1)
        add(self._balance[..., None], self._posted, 1.0)  # the fill rates, to be replaced
        add_filled(self._balance[:, :-1], later, -1.0)
        add_filled(self._balance[:, 1:], later, 1.0)
        add(self._balance[:, -1:], self._residual, 1.0)
        add(np.zeros(1, np.int64), self._posted[0, 0], 1.0)
        for limit in (self._total, self._window, self._bucket):
            if limit.size:
                add(limit[..., None], self._posted[:, 1:], 1.0)
        if self._total.size:
            add_filled(self._total, later, 1.0)
        if self._window.size:
            add_filled(self._window, later, 1.0)
            before = later[: max(0, later.size + 1 - self._span)]
            add_filled(self._window[:, later.size - before.size :], before, -1.0)
        row, column = np.concatenate(rows), np.concatenate(columns)
        order = np.lexsort((row, column))
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        self._places = place[: self._posted.size].reshape(self._shape)
        self._values = np.concatenate(values)[order]
        self._index = row[order].astype(np.int32)
        starts = np.searchsorted(column[order], np.arange(self._columns + 1))
        self._starts = starts.astype(np.int32)

    def _build_arrays(self, envelope_price: float, widths: Floats) -> None:
        """Bounds and costs; what ``put`` does not replace stays as it is here."""
        scenarios = self._shape[0]
        columns, rows = np.zeros((3, self._columns)), np.zeros((2, self._rows))
        self._cost, self._least, self._most = columns
        self._cost[self._below] = self._cost[self._above] = envelope_price / scenarios
        self._cost[self._residual] = self.slopes / scenarios
        self._most[:] = highspy.kHighsInf
        self._most[self._posted] = widths
        if self.slopes.size > 1:
            self._most[self._residual] = WHOLE / self.slopes.size
        self._continuous = np.zeros(self._columns, np.int32)
        self._row_least, self._row_most = rows
        self._row_least[:] = -highspy.kHighsInf
        self._row_least[self._balance] = 0.0
        rows[:, self._balance[:, -1]] = WHOLE
        self.arrays = Arrays(
            fills=np.zeros(self._shape),
            costs=np.zeros(self._shape),
            values=self._values,
            columns=columns,
            rows=rows,
            places=self._places,
            posted=self._posted,
            inside=np.ascontiguousarray(self._inside),
            layout=self._layout,
        )

    def run(self, basis: highspy.HighsBasis | None = None) -> bool:
        """Solve from ``basis``, or from nothing; whether an optimum was found."""
        solver = self._solver
        solver.passModel(
            self._columns,
            self._rows,
            self._values.size,
            COLUMNWISE,
            MINIMISE,
            0.0,
            self._cost,
            self._least,
            self._most,
            self._row_least,
            self._row_most,
            self._starts,
            self._index,
            self._values,
            self._continuous,
        )
        if basis is not None:
            solver.setBasis(basis)
        solver.run()
        return bool(solver.getModelStatus() == OPTIMAL)

    @property
    def basis(self) -> highspy.HighsBasis:
        """Of the last run."""
        return self._solver.getBasis()

    @property
    def iterations(self) -> int:
        """Of the simplex method in the last run."""
        return int(self._solver.getInfo().simplex_iteration_count)

    @property
    def first(self) -> list[float]:
        """(W,) x of the first bucket found by the last run."""
        values: list[float] = self._solver.getSolution().col_value[: self._shape[2]]
        return values

    @property
    def solution(self) -> Solution:
        """All that the last run found; nan where it found nothing."""
        found = self._solver.getSolution()
        values, prices = (
            _padded(found.col_value, self._columns),
            _padded(found.col_dual, self._columns),
        )
        row_prices = _padded(found.row_dual, self._rows)
        scenarios, buckets, _ = self._shape
        limits = np.zeros((scenarios, buckets))
        limits[0, 0] = row_prices[0]
        for limit in (self._total, self._window, self._bucket):
            if limit.size:
                limits[:, 1:] += row_prices[limit]
        return Solution(
            status=self._solver.modelStatusToString(self._solver.getModelStatus()),
            objective=float(self._solver.getObjectiveValue()) / WHOLE,
            posted=values[self._posted],
            below=values[self._below],
            above=values[self._above],
            residual=values[self._residual],
            edge_prices=prices[self._inside],
            limit_prices=limits,
            completion_prices=row_prices[self._balance[:, -1]],
        )


def _padded(numbers: list[float], size: int) -> Floats:
    return np.array(numbers) if len(numbers) == size else np.full(size, np.nan)
