"""The experiment on real days: its tables, figures and page, on made-up days."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from agents.commands.command_line import grouped
from agents.commands.sweep import combinations
from agents.evaluation import compare, statistics
from agents.evaluation.allocation import played_days
from execution_env import Scenario, load_scenario, scenario_to_toml
from execution_env.allocation.market.days_file import write_days
from results import real_days
from results.pages import real_figures, real_page, real_tables
from results.pages.real_tables import RIGHT, Orders, Tables
from results.real_days import Fold, beliefs
from tests.allocation.markets import shortfall
from tests.allocation.replayed import file_of

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
    believed = {("ibm", RIGHT): promised}
    for belief in real_figures.BELIEF_MARKS:
        others = [policy.replace("=all-neutral", "=twap") for policy in POLICIES]
        result = compare(others, shortfall(), range(200), keep_rollouts=False, bounded=False)
        believed["ibm", belief] = result
    return real_tables.tables(orders, {"ibm": promised}, believed)


def test_seeds_are_one_policy(orders: Orders, tables: Tables) -> None:
    names = {row["policy"] for row in orders.rows}
    assert names == {"lp", "twap", "all-passive", "Q-learning", "hindsight"}
    of_q = orders.of(policy="Q-learning", date="20131009", beliefs=RIGHT)
    assert [row["order"] for row in of_q] == 2 * [0, 1, 2, 3]
    assert [row["seed"] for row in of_q] == 4 * [0] + 4 * [1]
    assert len({row["window"] for row in of_q}) == 2
    lp = orders.of(policy="lp", date="20131009", beliefs=RIGHT)
    values = real_tables.column(of_q, "adjusted").reshape(2, 4) - real_tables.column(lp, "adjusted")
    right = statistics.mean_over_seeds(values, clusters=np.repeat([0, 1], 2))
    (row,) = [row for row in tables.transfer if row["policy"] == "Q-learning"]
    assert row["adjusted_minus_lp"] == pytest.approx(values.mean())
    assert row["adjusted_minus_lp_ci_high"] == pytest.approx(float(right.high))


def test_the_difference_to_lp_is_paired_and_clustered(orders: Orders, tables: Tables) -> None:
    (row,) = [row for row in tables.transfer if row["policy"] == "twap"]
    mine = real_tables.column(orders.of(policy="twap", beliefs=RIGHT), "adjusted")
    lp = real_tables.column(orders.of(policy="lp", beliefs=RIGHT), "adjusted")
    assert row["three_days_minus_lp"] == pytest.approx((mine - lp).mean())
    by_window = (mine - lp).reshape(6, 2).mean(axis=1)
    interval = statistics.mean(by_window, clusters=np.arange(6))
    assert row["three_days_minus_lp_ci_low"] == pytest.approx(float(interval.low))
    by_date = (mine - lp).reshape(3, 4).mean(axis=1)
    assert row["dates_better_than_lp"] == (by_date < 0).sum()


def test_the_same_beliefs_change_nothing(tables: Tables) -> None:
    for where in ("model", "20131009"):
        rows = [row for row in tables.sensitivity if row["where"] == where]
        assert {row["beliefs"] for row in rows} == set(real_figures.BELIEF_MARKS)
        changed = {row["policy"] for row in rows if abs(float(row["change"] or 0)) > 1e-12}
        # in the place of one run of the Q-learner another policy played the model's days
        assert changed == ({"Q-learning"} if where == "model" else set())
    assert real_figures.believers(tables.sensitivity) == ["Q-learning"]
    assert real_page.sensitivity_table(tables.sensitivity).count("Q-learning") == 2


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


def test_tables_are_read_as_they_were_written(tables: Tables, tmp_path: Path) -> None:
    for name, text in tables.texts().items():
        (tmp_path / name).write_text(text)
    assert real_tables.read(tmp_path) == tables


def test_a_page_without_tables_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(real_days, "FOLDER", tmp_path)
    assert real_days.main(["--page-only"]) == 2
    assert "orders.csv: No such file" in capsys.readouterr().err
    assert real_days.main([]) == 2
    assert "--lean" in capsys.readouterr().err


def test_what_was_committed_agrees_with_itself() -> None:
    folder = Path(__file__).parents[2] / real_days.FOLDER
    found = real_tables.read(folder)
    assert (folder / "README.md").read_text() == real_page.page(found)
    for link in re.findall(r"\]\((.*?)\)", real_page.page(found)):
        assert (folder / link).exists(), link
    orders = Orders(found.orders, [])
    assert {(row["symbol"], row["date"]) for row in found.orders} == {
        (symbol, date) for symbol in real_days.SYMBOLS for date in real_days.DATES
    }
    for row in found.transfer:
        symbol, policy = str(row["symbol"]), str(row["policy"])
        of = orders.of(symbol=symbol, policy=policy, date=real_days.DATES[-1], beliefs=RIGHT)
        assert len(of) % 26 == 0
        mean = real_tables.column(of, "objective").mean()
        assert row["objective"] == pytest.approx(mean, abs=1e-9)
    on_real_days = [row for row in found.sensitivity if row["where"] != "model"]
    assert real_tables.sensitivity_rows(orders) == on_real_days


@pytest.fixture
def fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fold:
    """One whose model is made up."""
    monkeypatch.setattr(real_days, "FOLDS", tmp_path)
    found = Fold("ibm", "20131009")
    found.folder.mkdir(parents=True)
    found.model.write_text(scenario_to_toml(shortfall()))
    return found


def test_beliefs_are_off_by_a_factor(fold: Fold) -> None:
    found = beliefs(fold)
    assert list(found) == list(real_figures.BELIEF_MARKS)
    overrides = dict(item.split("=") for item in found["fill_probability x 1.3"])
    changed = load_scenario(fold.model, {key: float(value) for key, value in overrides.items()})
    np.testing.assert_allclose(changed.fill_probability[0], [1.0, 0.78, 0.39])
    words = fold.trainings("depth x 0.7")[0]
    assert words[:2] == ["sweep", "q-learning"]
    assert "algos.Passive.depth=0.07" in words


@pytest.mark.parametrize("belief", [RIGHT, *real_figures.BELIEF_MARKS])
def test_trainings_leave_the_runs_that_play(belief: str, fold: Fold) -> None:
    made = []
    for words in fold.trainings(belief):
        options = grouped(words[2:])
        folder = Path(options.pop("--out")[0])
        made += [folder / run.name for run in combinations(words[1], options)]
    assert {path.parent for path in made} == {path.parent for path in fold.runs(belief).values()}
    assert sorted(made) == sorted(fold.runs(belief).values())


def test_the_model_s_days_can_be_played_with_other_beliefs(
    fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(played_days, "EPISODES", 20)
    fold.draw_days()
    policies = ["all-passive", "lp"]
    right = real_days.played(fold.model, policies, bounded=False)
    again = real_days.played(fold.drawn, policies, bounded=False)
    np.testing.assert_allclose(again.objectives, right.objectives, rtol=1e-9)
    settings = ["algos.Passive.depth=0.5"]
    wrong = real_days.played(fold.drawn, policies, settings, bounded=False)
    of = right.names.index("all-passive")
    np.testing.assert_allclose(wrong.objectives[of], right.objectives[of], rtol=1e-9)
    assert not np.allclose(wrong.objectives, right.objectives)


def test_the_main_date_has_three_training_seeds() -> None:
    assert "2" in Fold("bac", "20131009").trainings()[0]
    assert "2" not in Fold("bac", "20131007").trainings()[0]
    words = Fold("bac", "20131008").calibration("data")
    assert words[words.index("--split") + 1 :][:2] == ["train=20131007,20131009", "test=20131008"]
