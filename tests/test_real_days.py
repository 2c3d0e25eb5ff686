"""The experiment on real days: its tables, figures and page, on made-up days."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.evaluation import compare, statistics
from execution_env import Scenario, load_scenario, scenario_to_toml
from execution_env.replay import write_days
from results import real_days, real_figures, real_page, real_tables
from results.real_days import Fold, beliefs
from results.real_tables import RIGHT, Orders, Tables
from tests.markets import shortfall
from tests.test_replay import file_of

POLICIES = ("twap", "all-passive", "Q-learning 0=all-neutral", "Q-learning 1=passive-then-sweep")


def real(folder: Path, date: str) -> Scenario:
    """Four made-up orders of a date to test on."""
    file = file_of(date=np.full(12, date), splits={"train": np.arange(8), "test": np.arange(8, 12)})
    write_days(folder / f"{date}.npz", file)
    return shortfall(replay__file=str(folder / f"{date}.npz"))


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Orders:
    folder = tmp_path_factory.mktemp("days")
    found = Orders.empty()
    for date in real_days.DATES:
        result = compare(POLICIES, real(folder, date), keep_rollouts=False)
        found.add("ibm", date, RIGHT, result)
    for belief in real_figures.BELIEF_MARKS:
        wrong = compare(POLICIES, real(folder, date), keep_rollouts=False, bounded=False)
        found.add("ibm", date, belief, wrong)
    return found


@pytest.fixture(scope="module")
def tables(orders: Orders) -> Tables:
    promised = compare(POLICIES, shortfall(), range(200), keep_rollouts=False, bounded=False)
    return real_tables.tables(orders, {"ibm": promised})


def test_seeds_are_one_policy(orders: Orders) -> None:
    names = {row["policy"] for row in orders.rows}
    assert names == {"lp", "twap", "all-passive", "Q-learning", "hindsight"}
    of_q = orders.of(policy="Q-learning", date="20131009", beliefs=RIGHT)
    assert [row["order"] for row in of_q] == [0, 1, 2, 3]
    assert len({row["window"] for row in of_q}) == 2


def test_the_difference_to_lp_is_paired_and_clustered(orders: Orders, tables: Tables) -> None:
    (row,) = [row for row in tables.transfer if row["policy"] == "twap"]
    mine = real_tables.column(orders.of(policy="twap", beliefs=RIGHT), "adjusted")
    lp = real_tables.column(orders.of(policy="lp", beliefs=RIGHT), "adjusted")
    assert row["three_days_minus_lp"] == pytest.approx((mine - lp).mean())
    by_window = (mine - lp).reshape(6, 2).mean(axis=1)
    interval = statistics.mean(by_window, clusters=np.arange(6))
    assert row["three_days_minus_lp_ci_low"] == pytest.approx(float(interval.low))
    by_date = (mine - lp).reshape(3, 4).mean(axis=1)
    assert row["days_better_than_lp"] == (by_date < 0).sum()


def test_the_same_beliefs_change_nothing(tables: Tables) -> None:
    assert {row["beliefs"] for row in tables.sensitivity} == set(real_figures.BELIEF_MARKS)
    assert all(row["change"] == 0 for row in tables.sensitivity)


def test_parts_make_the_shortfall(orders: Orders, tables: Tables) -> None:
    for row in tables.parts:
        if row["where"] == "20131009":
            parts = ("spread", "fees", "drift", "clean_up", "envelope_penalty")
            of = orders.of(policy=str(row["policy"]), date="20131009", beliefs=RIGHT)
            mean = real_tables.column(of, "objective").mean()
            assert sum(float(row[part] or 0) for part in parts) == pytest.approx(mean)


def test_files_figures_and_page(tables: Tables) -> None:
    texts = tables.texts()
    assert texts["transfer.csv"].splitlines()[0] == ",".join(real_tables.TRANSFER_COLUMNS)
    assert set(real_figures.drawn(tables)) == {"transfer.png", "sensitivity.png", "parts.png"}
    page = real_page.page(tables)
    assert "| hindsight (bound) |" in page
    assert "of 3 |" in page
    assert page.count("![") == 4


def test_beliefs_are_off_by_a_factor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_days, "FOLDS", tmp_path)
    fold = Fold("ibm", "20131009")
    fold.folder.mkdir(parents=True)
    fold.model.write_text(scenario_to_toml(shortfall()))
    found = beliefs(fold)
    assert list(found) == list(real_figures.BELIEF_MARKS)
    overrides = dict(item.split("=") for item in found["fill_probability x 1.3"])
    changed = load_scenario(fold.model, {key: float(value) for key, value in overrides.items()})
    np.testing.assert_allclose(changed.fill_probability[0], [1.0, 0.78, 0.39])
    slugs = {real_days.slug(settings) for settings in found.values()}
    assert len(slugs) == 4
    words = fold.trainings(found["depth x 0.7"])[0]
    assert words[:2] == ["sweep", "q-learning"]
    assert "algos.Passive.depth=0.07" in words


def test_the_main_date_has_three_training_seeds() -> None:
    assert "2" in Fold("bac", "20131009").trainings()[0]
    assert "2" not in Fold("bac", "20131007").trainings()[0]
    words = Fold("bac", "20131008").calibration("data")
    assert words[words.index("--split") + 1 :][:2] == ["train=20131007,20131009", "test=20131008"]
