"""Verdicts on a fitted model: where it lies outside the data's intervals, panel by panel.

Every comparison is a table of numbers: the model's, the data's, and the half-width of a 95 %
interval around the data's. The command, the head of the scenario file and the figure all say the
same verdict, that of ``Comparison``.

Intervals are Student's, by the jackknife over windows; degrees of freedom are the number of windows
(or of groups of them) that have a part in the number, less one. So the mean volume of a half-hour
that two days have is known as little as two numbers tell. No interval is narrower than chance makes
it in unrelated buckets: 3 / n for a share of n child orders (the rule of three: Hanley &
Lippman-Hand 1983, If nothing goes wrong, is everything all right?, JAMA 249), and 1.96 (1 - c^2) /
sqrt(n) for a correlation c of n pairs. Of n numbers 0.05 n are outside by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # type: ignore[import-untyped]

from execution_env.allocation.market.day_stream import POLICY, DayStream
from execution_env.allocation.scenario import Scenario
from execution_env.allocation.verdicts import WARNING
from execution_env.calibration.fitting import evidence
from execution_env.calibration.fitting.dependence_seen import pairs
from execution_env.calibration.fitting.estimate import Floats, Ints, errors
from execution_env.calibration.fitting.evidence import Evidence

BUCKETS = 300_000
"""Approximate number of buckets drawn from the model: thirty thousand orders of ten."""

SIZE_MULTIPLES = np.array([0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0])
"""Sizes of child orders, as multiples of the usual one."""

LAST = 5
"""Largest lag of autocorrelations, in buckets."""

LEVEL = 0.95
"""Probability that an interval of the data holds the truth."""

CHANCE = 1.0 - LEVEL

NO_VOLUME = "the data have no volume there"


@dataclass(frozen=True)
class Comparison:
    """A model's numbers and the data's, any shape.

    Attributes:
        name: short name, the title of the panel.
        labels: names of the numbers, in their shape.
        model, data: NaN where there is none.
        half: half-width of the data's interval; NaN where there is none.
        why: reason where data have no number.
        percent: whether numbers are shares, shown in percent.
    """

    name: str
    labels: NDArray[np.str_]
    model: Floats
    data: Floats
    half: Floats
    why: str
    percent: bool = False

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Whether model, data and an interval are there, in the shape of the numbers."""
        return np.isfinite(self.model) & np.isfinite(self.data) & np.isfinite(self.half)

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Whether the model is outside the data's interval, in the shape of the numbers."""
        distance = np.abs(self.model - self.data)
        return np.asarray(self.judged & (distance > self.half + 1e-12 * np.abs(self.data)))

    @property
    def leaves(self) -> bool:
        """Whether any number of the model is outside."""
        return bool(self.outside.any())

    @property
    def count(self) -> str:
        """The verdict in a few words."""
        judged, outside = int(self.judged.sum()), int(self.outside.sum())
        if not judged:
            return "not estimated"
        return f"{outside} of {judged} outside" if outside else f"all {judged} inside"

    @property
    def title(self) -> str:
        """Name and verdict in a few words."""
        return f"{self.name}: {self.count}"

    @property
    def verdict(self) -> str:
        """Name and verdict in a sentence."""
        said = self.title
        if self.leaves:
            by_chance = CHANCE * int(self.judged.sum())
            outside = np.argwhere(self.outside)
            off = np.abs(self.model - self.data)[self.outside]
            half = np.maximum(self.half[self.outside], 1e-300)
            worst = tuple(outside[int(np.argmax(off / half))])
            said += f" ({by_chance:.1f} by chance); worst {self.labels[worst]}: {self._of(worst)}"
        missing = int((~np.isfinite(self.data) & np.isfinite(self.model)).sum())
        alone = int((np.isfinite(self.data) & ~np.isfinite(self.half)).sum())
        reasons = []
        if missing:
            first = self.labels[~np.isfinite(self.data) & np.isfinite(self.model)][0]
            such = "" if missing == 1 else f"{missing}, such as "
            reasons = [f"not estimated: {such}{first}, because {self.why}"]
        reasons += [f"{alone} without an interval: too few windows have a part in it"] * bool(alone)
        if not self.judged.any():
            said = self.name + (": not estimated" if not missing else "")
            return f"{said}: {'; '.join(reasons)}"
        return "; ".join([said, *reasons])

    def _of(self, where: tuple[int, ...]) -> str:
        """Return words on the number at ``where``: the model's, and the data's with its interval."""
        model, data, half = (float(x[where]) for x in (self.model, self.data, self.half))
        if self.percent:
            return f"model {model:.1%}, data {data:.1%} +- {half:.1%}"
        digits = ",.0f" if max(abs(model), abs(data)) >= 1000 else ".3g"
        return f"model {model:{digits}}, data {data:{digits}} +- {half:{digits}}"


class Comparisons(NamedTuple):
    """The comparisons of a model with data, a panel each.

    Attributes:
        fills, whole: (S, K) expected share that fills of child orders by posted size, and
            probability that all does.
        session: (H,) mean volume by half-hour.
        order: (2, B) mean and standard deviation of volume by bucket.
        later: (L, K + 1) autocorrelations of fills and of log volume by lag.
        together: (K + P,) correlations of fills with the mid's move, and of pairs of algos.
        hours: (H,) middles of the half-hours, since midnight.
        lags: (L,) buckets.
    """

    fills: Comparison
    whole: Comparison
    session: Comparison
    order: Comparison
    later: Comparison
    together: Comparison
    hours: Floats
    lags: Ints

    @property
    def verdicts(self) -> list[str]:
        """A verdict each; one that says "warning" where the model is outside."""
        return [WARNING * one.leaves + one.verdict for one in self.all]

    @property
    def all(self) -> tuple[Comparison, ...]:
        """The comparisons, in the order of the panels."""
        return self.fills, self.whole, self.session, self.order, self.later, self.together


def half_widths(replicates: Floats, least: Floats | float = 0.0) -> Floats:
    """Return half-widths of 95 % intervals, at least ``least``; NaN where there is no error.

    ``replicates`` is (1 + J, ...) of the jackknife.
    """
    error = errors(replicates)
    groups = max(len(replicates) - 1, 2)
    moved = np.abs(replicates[1:] - replicates[0]) > 1e-12 * np.abs(replicates[0])
    parts = np.maximum(moved.sum(axis=0), 2)
    # The jackknife's factor (J - 1) / J is for J groups that all have a part.
    error = error * np.sqrt((parts - 1) / parts * groups / (groups - 1))
    return np.asarray(np.maximum(stdtrit(parts - 1, 1.0 - CHANCE / 2) * error, least))


def compare(scenario: Scenario, data: Evidence, posted: float) -> Comparisons:
    """Return the comparisons of days drawn from ``scenario`` with the data it was fitted to.

    Args:
        scenario: the model; its days are drawn as for training.
        data: evidence of O orders, K algos.
        posted: shares of the usual child order.
    """
    count = max(1000, BUCKETS // scenario.buckets)
    model = evidence.of_days(DayStream(scenario, 0, POLICY).draw(count), scenario.order.lot_size)
    names = scenario.algo_names
    hours, session = _session(scenario, data)
    lags, later = _later(names, model, data, posted)
    return Comparisons(
        *_fills(names, model, data, posted),
        session,
        _order(model, data),
        later,
        _together(names, model, data, posted),
        hours,
        lags,
    )


def _one(model: Evidence) -> Floats:
    return np.ones((1, len(model.cluster)))


def _fills(
    names: tuple[str, ...], model: Evidence, data: Evidence, posted: float
) -> tuple[Comparison, Comparison]:
    sizes = posted * SIZE_MULTIPLES
    drawn = evidence.fill_curves(model, _one(model), sizes)
    seen = evidence.fill_curves(data, data.weight, sizes)
    known = ~np.isnan(data.depth)
    count = [(known & (data.posted >= size * evidence.NEARLY)).sum(axis=(0, 1)) for size in sizes]
    least = 3.0 / np.maximum(np.array(count, np.float64), 1.0)
    labels = np.array([[f"{name} at {m:g}x" for name in names] for m in SIZE_MULTIPLES])
    first, second = (
        Comparison(
            name,
            labels,
            mine[0],
            theirs[0],
            half_widths(theirs, least),
            "no child order was as large",
            percent=True,
        )
        for name, mine, theirs in zip(
            ("How much of a child order fills", "How often it fills whole"),
            drawn,
            seen,
            strict=True,
        )
    )
    return first, second


def _session(scenario: Scenario, data: Evidence) -> tuple[Floats, Comparison]:
    hours, mean = evidence.session(data, data.weight)
    level = np.full(len(hours), scenario.expected_volume.mean())
    labels = np.array([f"{int(hour):02}:{round(hour % 1 * 60) - 15:02}" for hour in hours], "U16")
    return hours, Comparison(
        "Volume by half-hour", labels, level, mean[0], half_widths(mean), NO_VOLUME
    )


def _order(model: Evidence, data: Evidence) -> Comparison:
    drawn = np.stack([part[0] for part in evidence.volumes(model, _one(model))])
    seen = np.stack(evidence.volumes(data, data.weight), 1)
    labels = np.array(
        [[f"{what} of bucket {b + 1}" for b in range(drawn.shape[1])] for what in ("mean", "sd")]
    )
    return Comparison(
        "Volume within an order", labels, drawn, seen[0], half_widths(seen), NO_VOLUME
    )


def _of_correlations(seen: Floats, count: Ints | float) -> Floats:
    """Return half-widths of correlations of so many pairs of numbers."""
    with np.errstate(invalid="ignore"):
        least = 1.96 * (1.0 - seen[0] ** 2) / np.sqrt(np.maximum(count, 1))
    return half_widths(seen, least)


def _later(
    names: tuple[str, ...], model: Evidence, data: Evidence, posted: float
) -> tuple[Ints, Comparison]:
    orders, buckets = data.volume.shape
    lags = np.arange(1, min(LAST, max(buckets - 1, 1)) + 1)
    drawn = evidence.autocorrelations(model, _one(model), posted, lags)
    seen = evidence.autocorrelations(data, data.weight, posted, lags)
    labels = np.array([[f"{name}, lag {lag}" for name in (*names, "log volume")] for lag in lags])
    count = orders * np.maximum(buckets - lags, 0)[:, None]
    return lags, Comparison(
        "Fills and volume, buckets later",
        labels,
        drawn[0],
        seen[0],
        _of_correlations(seen, count),
        "fills or volume do not vary" if buckets > 1 else "an order is one bucket",
    )


def _together(names: tuple[str, ...], model: Evidence, data: Evidence, posted: float) -> Comparison:
    drawn = np.concatenate(evidence.dependence(model, _one(model), posted), 1)
    seen = np.concatenate(evidence.dependence(data, data.weight, posted), 1)
    labels = [f"{name} and move" for name in names]
    labels += [f"{names[i]} and {names[j]}" for i, j in pairs(len(names))]
    return Comparison(
        "Fills and moves together",
        np.array(labels),
        drawn[0],
        seen[0],
        _of_correlations(seen, float(data.volume.size)),
        "the data have no moves of the mid"
        if np.isnan(data.move).all()
        else "its fills do not vary",
    )
