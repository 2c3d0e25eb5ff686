"""Calibrating what a known scenario drew gives that scenario back, within its standard errors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from execution_env import Scenario
from execution_env.allocation.market.day_stream import DayStream
from execution_env.calibration.fitting.estimate import Estimate, estimate, weights
from execution_env.calibration.fitting.fit import Fit, fit, fit_sample
from execution_env.calibration.fitting.fit_log import fit_log
from execution_env.calibration.fitting.fit_market import fit_volume
from execution_env.calibration.fitting.sample import Sample
from execution_env.calibration.readers.fill_log import read_fill_log
from execution_env.calibration.readers.lean import read_lean
from execution_env.calibration.readers.lobster import read_lobster
from execution_env.calibration.simulator.child_orders import simulate
from execution_env.calibration.simulator.outcomes import Outcomes
from tests.allocation.markets import shortfall, with_day_effects
from tests.calibration.made_days import NESTED, WINDOWS, made_log, made_tape, with_messages
from tests.calibration.writers import write_fill_log, write_lean, write_lobster

ERRORS = 4.0


def estimates(found: Fit, scenario: Scenario) -> dict[str, tuple[Estimate, float, float]]:
    """By key: estimate, truth, and the standard error that would be too large."""
    out: dict[str, tuple[Estimate, float, float]] = {}
    for mine, algo in zip(found.algos, scenario.algos, strict=True):
        assert mine.name == algo.name
        for key, bound in (
            ("fill_probability", 0.05),
            ("depth", 0.35 * algo.depth),
            ("depth_sd", 0.25 * algo.depth_sd),
            ("day_sd", 0.3),
            # of what hardly ever misses little can be known
            ("liquidity_loading", 0.2 if algo.name != "Aggressive" else 0.5),
            ("half_spread", 0.2),
        ):
            out[f"{algo.name}.{key}"] = getattr(mine, key), getattr(algo, key), bound
    out["persistence"] = found.persistence, scenario.liquidity.persistence, 0.15
    out["volume.sd"] = found.volume_sd, scenario.volume.sd, 0.06
    out["volume.persistence"] = found.volume_persistence, scenario.volume.persistence, 0.15
    for b, expected in enumerate(scenario.expected_volume):
        out[f"volume {b + 1}"] = found.expected[b], expected, 0.2 * expected
    out["price.sd"] = found.price_sd, scenario.price.sd, 0.06 * scenario.price.sd
    out["r"] = found.move_correlation, scenario.price.liquidity_correlation, 0.15
    return out


def check(found: Fit, scenario: Scenario, unknown: tuple[str, ...] = ()) -> None:
    """Every estimate within four standard errors, and those not larger than they should be; but those
    that are ``unknown`` say so.

    What is exact, or at a bound, has no distance in standard errors: it must be the truth.
    """
    for key, (mine, truth, bound) in estimates(found, scenario).items():
        if key in unknown:
            assert "hardly vary" in mine.note
            continue
        near = abs(mine.value - truth) < 2e-3 * max(1.0, abs(truth))
        assert near or abs(mine.value - truth) <= ERRORS * mine.error, (key, str(mine), truth)
        assert not mine.error > bound, (key, str(mine), bound)


# From files


def tapes():
    days = DayStream(NESTED, 1).draw(4 * 2 * WINDOWS)
    for day in range(4):
        part = slice(2 * WINDOWS * day, 2 * WINDOWS * (day + 1))
        yield made_tape(days.part(part), f"201301{14 + day}")


def joined(parts: list[Outcomes]) -> Outcomes:
    outcomes = parts[0]
    for part in parts[1:]:
        outcomes = outcomes.join(part)
    return outcomes


def from_lean(folder: Path) -> Outcomes:
    for tape in tapes():
        write_lean(tape, folder)
    return joined([simulate(read_lean(folder, "made", f"201301{14 + d}"))[0] for d in range(4)])


def from_lobster(folder: Path) -> Outcomes:
    files = [write_lobster(with_messages(tape), folder) for tape in tapes()]
    return joined([simulate(read_lobster(*pair))[0] for pair in files])


@pytest.mark.parametrize("source", [from_lean, pytest.param(from_lobster, marks=pytest.mark.slow)])
def test_files_give_their_scenario_back(source, tmp_path) -> None:
    outcomes = source(tmp_path)
    days = DayStream(NESTED, 1).draw(4 * 2 * WINDOWS)
    share = days.depth / days.volume[:, None]
    buys = share.reshape(10, 3, 4, 2, WINDOWS)[:, :, :, 0].transpose(2, 3, 0, 1)
    met = outcomes.depth[0] / outcomes.volume[..., None]
    assert np.abs(met - buys.reshape(met.shape)).max() < 1e-3  # exactly, but for whole shares
    found = fit(outcomes, NESTED.algo_names)
    check(found, NESTED, ("Aggressive.liquidity_loading",))  # a child order is nearly always filled
    assert found.touch.value == pytest.approx(30.0, rel=0.01)


def test_a_fill_log_gives_its_scenario_back(tmp_path) -> None:
    """What is cut off at the order's size is estimated as such: no nesting is needed here."""
    scenario = shortfall(
        order__lot_size=1,
        order__size=30_000,
        volume__total=10_000_000,
        algos__Aggressive__depth=0.15,
    )
    log = made_log(scenario, 100, 4, [200_000, 60_000, 60_000])
    found = fit_log(read_fill_log(write_fill_log(log, tmp_path / "log.csv"))).fit
    check(found, scenario)


# From days drawn


def sample_of_days(scenario: Scenario, orders: int, seed: int) -> tuple[Sample, np.ndarray]:
    """A window for every day drawn, and the days' volumes (O, B)."""
    days = DayStream(scenario, seed).draw(orders)
    share = (days.depth * scenario.order.lot_size / days.volume[:, None]).transpose(2, 0, 1)
    return Sample(
        np.arange(orders),
        share,
        np.full(share.shape, np.inf),
        days.spread.transpose(2, 0, 1),
        np.minimum(share, 0.05),
        days.move.T,
        days.touch[0],
        days.volume.T / days.volume.mean(),
    ), days.volume.T


def fit_days(scenario: Scenario, orders: int, seed: int, groups: int) -> Fit:
    sample, volume = sample_of_days(scenario, orders, seed)
    weight = weights(sample.cluster, groups)
    law = fit_volume(weight, volume)
    return fit_sample(
        sample,
        weight,
        scenario.algo_names,
        0.05 * float(volume.mean()),
        0.05,
        0.3,
        tuple(estimate(law.expected[:, b]) for b in range(scenario.buckets)),
        estimate(law.sd),
        estimate(law.persistence),
        {},
    )


FINE = {"order__lot_size": 1, "order__size": 30_000, "volume__total": 100_000_000}
"""Lots so small that depth is not rounded."""


def test_everything_hidden_is_found() -> None:
    scenario = with_day_effects(**FINE, liquidity__persistence=0.4)
    found = fit_days(scenario, 400, 5, 20)
    check(found, scenario)
    assert found.persistence.value > 0
    assert found.algos[1].day_sd.value > 0


def test_what_is_not_there_is_not_found() -> None:
    scenario = shortfall(**FINE)
    found = fit_days(scenario, 200, 7, 20)
    check(found, scenario)
    assert found.persistence.value == 0.0
    assert "not told from 0" in found.persistence.note
    assert sum(algo.day_sd.value > 0 for algo in found.algos) <= 1


def test_two_algos_and_a_negative_loading() -> None:
    """The moves tell what one pair of algos does not."""
    scenario = shortfall(
        **FINE,
        algos__Aggressive__liquidity_loading=-0.6,
        algos__Aggressive__fill_probability=0.8,
        algos__Passive__liquidity_loading=0.8,
        price__liquidity_correlation=-0.7,
    )
    check(fit_days(scenario, 1200, 8, 20), scenario)


@pytest.mark.slow
def test_standard_errors_are_what_estimates_vary_by() -> None:
    """Twenty calibrations: distances from the truth in standard errors vary by about one."""
    scenario = shortfall(**FINE, liquidity__persistence=0.4)
    z: dict[str, list[float]] = {}
    for seed in range(20):
        found = fit_days(scenario, 200, 100 + seed, 25)
        for key, (mine, truth, _) in estimates(found, scenario).items():
            if "day_sd" not in key and mine.error > 0:
                z.setdefault(key, []).append((mine.value - truth) / mine.error)
    spread = {key: float(np.std(values)) for key, values in z.items() if len(values) > 15}
    assert len(spread) > 20
    # of more than thirty numbers some are off by chance: the sd of a sd of 20 is 0.16
    assert {key: value for key, value in spread.items() if not 0.4 < value < 1.6} == {}
    pooled = math.sqrt(float(np.mean([value**2 for value in spread.values()])))
    assert 0.8 < pooled < 1.25
