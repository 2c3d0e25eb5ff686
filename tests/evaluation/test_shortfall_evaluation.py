"""Comparisons under shortfall costs, and on replayed days."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

import evaluate
from agents.evaluation import statistics
from agents.evaluation.allocation.comparison import compare
from agents.evaluation.allocation.played_days import default_seeds, replayed
from agents.evaluation.allocation.shortfall import SHORTFALL_COLUMNS, shortfall_rows
from agents.evaluation.figures import costs, png
from agents.policy import load_policy
from agents.rollouts.allocation import play
from agents.rules import OneAlgo
from execution_env import DayStream, Scenario, load_scenario, numbered_days, scenario_to_toml
from execution_env.allocation.market.days_file import write_days
from tests.allocation.markets import shortfall
from tests.allocation.replayed import file_of

RULES = ("twap", "all-passive", "passive-then-sweep")


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return shortfall()


def test_parts_make_the_objective(scenario: Scenario) -> None:
    days = numbered_days(scenario, range(200))
    for name in RULES:
        of = play(load_policy(name, scenario), scenario, days)
        paid = of.spread_cost + of.fee_cost + of.drift_cost
        np.testing.assert_allclose(of.posting_cost, paid, atol=1e-12)
        total = of.posting_cost + of.envelope_penalty + of.residual_penalty
        np.testing.assert_allclose(of.objective, total, atol=1e-12)


def test_other_bases_have_no_shortfall() -> None:
    baseline = load_scenario()
    of = play(load_policy("twap", baseline), baseline, numbered_days(baseline, range(20)))
    assert not of.drift_cost.any()
    assert not of.waiting_drift.any()
    assert np.isnan(of.slippage).all()
    assert np.isnan(of.markout).all()
    assert of.adjusted.tobytes() == of.objective.tobytes()


def test_what_waiting_costs_by_chance_has_mean_zero_and_much_of_the_noise(
    scenario: Scenario,
) -> None:
    days = DayStream(scenario, 0).draw(20_000)
    of = play(load_policy("all-passive", scenario), scenario, days)
    chance = of.waiting_drift
    assert abs(chance.mean()) < 4.5 * chance.std() / np.sqrt(chance.size)
    assert of.adjusted.std() < 0.6 * of.objective.std()


def test_slippage_and_markout_by_hand(scenario: Scenario) -> None:
    days = numbered_days(scenario, [3])
    of = play(OneAlgo(scenario, 2), scenario, days)
    mid = np.concatenate([[0.0], np.cumsum(days.move[:, 0])])
    filled = of.filled[:, 1, 0]
    left = scenario.lots - filled.sum()
    impact = scenario.penalties.residual_quadratic * left / scenario.lots
    paid = (filled * (mid[:-1] + days.spread[:, 1, 0])).sum()
    paid += left * (mid[-1] + days.touch[0, 0] - scenario.crossing_fee + impact)  # fees aside
    vwap = np.average(days.vwap[:, 0], weights=days.volume[:, 0])
    assert of.slippage[0] == pytest.approx(paid / scenario.lots - vwap)
    gained = (filled * (mid[1:] - mid[:-1] - days.spread[:, 1, 0])).sum() / filled.sum()
    assert of.markout[0] == pytest.approx(gained)


def test_rows(scenario: Scenario) -> None:
    result = compare(RULES, scenario, range(300), bounded=False)
    rows = shortfall_rows(scenario.name, result.shortfalls, ["twap", "no such", "lp"])
    assert [row["policy"] for row in rows] == ["twap", "lp"]
    assert tuple(rows[0]) == SHORTFALL_COLUMNS
    table = {row["policy"]: row for row in result.rows}
    for row in rows:
        parts = ("spread_mean", "fees_mean", "drift_mean", "clean_up_mean")
        assert sum(row[part] for part in parts) == pytest.approx(row["shortfall_mean"])
        whole = row["shortfall_mean"] + row["envelope_penalty_mean"]
        assert whole == pytest.approx(table[row["policy"]]["objective_mean"])
        assert row["shortfall_ci_low"] < row["shortfall_mean"] < row["shortfall_ci_high"]
    assert rows[1]["adjusted_diff_vs_lp_mean"] == 0.0
    assert png(costs(result))[:4] == b"\x89PNG"


def test_clusters_by_hand() -> None:
    values = np.array([[1.0, 3.0, 5.0, 7.0], [2.0, 2.0, 0.0, 4.0]])
    found = statistics.clustered(values, np.array([7, 7, 2, 2]))
    assert found.tolist() == [[6.0, 2.0], [2.0, 2.0]]
    uneven = statistics.clustered(values, np.array([0, 1, 1, 1]))
    np.testing.assert_allclose(uneven.mean(axis=1), values.mean(axis=1))
    assert statistics.clustered(values, None) is not None
    assert (statistics.clustered(values, None) == values).all()
    with pytest.raises(ValueError, match=r"clusters of shape \(3,\): must be \(4,\)"):
        statistics.clustered(values, np.arange(3))


def test_clusters_that_are_alike_widen_intervals() -> None:
    windows = np.random.default_rng(0).standard_normal(40)
    days = np.repeat(windows, 2)  # the two sides of a window say the same
    alone = statistics.mean(statistics.clustered(days, np.repeat(np.arange(40), 2)))
    naive = statistics.mean(days)
    assert alone.high - alone.low == pytest.approx((naive.high - naive.low) * 2**0.5, rel=0.1)
    assert alone.low == pytest.approx(statistics.mean(windows).low)


# Replayed days.


@pytest.fixture
def real(tmp_path: Path) -> Scenario:
    write_days(tmp_path / "days.npz", file_of())
    text = scenario_to_toml(shortfall()) + '\n[replay]\nfile = "days.npz"\n'
    (tmp_path / "real.toml").write_text(text)
    return load_scenario(tmp_path / "real.toml")


def test_by_default_all_replayed_days_are_played_once(real: Scenario) -> None:
    assert len(default_seeds(real)) == 4
    result = compare(RULES, real)
    assert result.objectives.shape == (4, 4)
    assert "hindsight" in result.bounds
    assert "clairvoyant" not in result.bounds
    assert result.clusters is not None
    assert np.unique(result.clusters).size == 2
    assert any("4 orders of days.npz, 2 windows on 20131008" in note for note in result.notes)
    assert any("not for other days" in note for note in result.notes)
    assert (result.bounds["hindsight"] <= result.objectives.min(axis=0) + 1e-9).all()


def test_several_dates_are_said_to_be_few(tmp_path: Path) -> None:
    file = file_of(splits={"train": np.arange(4), "test": np.arange(4, 12)})
    write_days(tmp_path / "days.npz", file)
    scenario = shortfall(replay__file=str(tmp_path / "days.npz"))
    notes = replayed(scenario, range(8))[1]
    assert "20131007, 20131008" in notes[0]
    assert "other days may differ by more" in notes[0]


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (range(5), "5 days are asked for, but split test of days.npz has 4: give --episodes 4"),
        ([0, 4], r"day 0 of split test is played twice"),
    ],
)
def test_more_days_than_there_are(real: Scenario, seeds: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(["twap"], real, seeds)


def test_the_command(
    real: Scenario,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["--scenario", "real.toml", "--policies", "twap", "--out", "out", "--no-figures"]
    assert evaluate.main(command) == 0
    printed = capsys.readouterr()
    assert "Wrote comparison.csv, shortfall.csv, comparison.md" in " ".join(printed.err.split())
    assert "4 days (seeds 1000000 to 1000003)" in printed.out
    assert "Replayed: 4 orders" in printed.err
    with (tmp_path / "out" / "shortfall.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == SHORTFALL_COLUMNS
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert "in basis points" in page
    assert "--episodes 4" in page
    assert "The two sides of a window are one cluster" in page
    assert evaluate.main([*command, "--episodes", "9"]) == 2
    assert "has 4: give --episodes 4" in capsys.readouterr().err
    os.remove("days.npz")
    assert evaluate.main(command) == 2
    assert "there is no such file" in capsys.readouterr().err
