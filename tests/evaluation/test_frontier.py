from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import evaluate
from agents.commands.frontier import findings
from agents.evaluation.allocation.comparison import compare
from agents.evaluation.allocation.frontier import FRONTIER_COLUMNS, attainable, frontier
from agents.evaluation.allocation.frontier import _wins as wins_of

DAYS = range(1_000_000, 1_000_060)


def test_the_frontier_is_the_hull_of_mixtures_by_hand() -> None:
    behind, cost = np.array([0.1, 0.2, 0.4]), np.array([1.0, 0.9, 0.3])
    at = np.array([0.05, 0.1, 0.2, 0.25, 0.4, 0.9])
    # From 0.1 straight to 0.4, below the point in the middle; then level.
    right = [np.inf, 1.0, 1.0 - 0.7 / 3, 0.65, 0.3, 0.3]
    np.testing.assert_allclose(attainable(behind, cost, at), right)


HUNDREDTHS = st.integers(0, 100).map(lambda n: n / 100)  # the solver has tolerances


@given(st.lists(st.tuples(HUNDREDTHS, HUNDREDTHS), min_size=1, max_size=5), HUNDREDTHS)
@settings(max_examples=60, deadline=None)
def test_the_frontier_is_the_best_mixture_of_a_linear_programme(
    points: list[tuple[float, float]], at: float
) -> None:
    behind, cost = np.array(points).T
    found = attainable(behind, cost, np.array([at]))[0]
    right = linprog(cost, A_ub=behind[None], b_ub=[at], A_eq=np.ones((1, cost.size)), b_eq=[1.0])
    if right.status == 2:  # infeasible
        assert found == np.inf
    else:
        assert found == pytest.approx(right.fun, abs=1e-6)


def test_a_frontier_wins_where_it_is_clearly_below_and_nowhere_else() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.05, (3, 1, 1, 400))
    behind = np.array([[0.1, 0.3, 0.5]] * 3)
    cost = np.array([[1.0, 0.6, 0.4], [1.2, 0.8, 0.4], [1.0, 0.6, 0.4]])
    scores = np.stack([behind, cost, cost])[..., None] + noise
    # Level with the first in the mean, with much noise of its own.
    noise = generator.normal(0, 2.0, (3, 400))
    scores[1:, 2] += noise - noise.mean(axis=1, keepdims=True)
    found = wins_of(["a", "b", "noisy"], scores)
    ours = [win for win in found if (win.policy, win.other) == ("a", "b")]
    assert [win.measure for win in ours] == ["posting_cost", "posting_and_residual"]
    for win in ours:
        assert win.low == pytest.approx(0.1, abs=0.02)
        assert 0.45 < win.high < 0.52
        assert 0.0 < win.least < win.most == pytest.approx(0.2, abs=0.01)
        assert 0.85 < win.share < 1.0
    assert not [win for win in found if win.policy == "b"]
    assert not [win for win in found if {win.policy, win.other} == {"a", "noisy"}]
    assert not wins_of(["a", "b", "noisy"], scores[..., :1])


def test_a_policy_that_is_never_as_seldom_behind_does_not_win_there() -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, (3, 2, 2, 200))
    cost = [[1.0, 0.9], [0.5, 0.4]]
    scores = np.array([[[0.1, 0.2], [0.3, 0.4]], cost, cost])[..., None] + noise
    found = wins_of(["seldom", "often"], scores)
    assert [(win.policy, win.other) for win in found] == [("often", "seldom")] * 2
    assert all(win.low == pytest.approx(0.3, abs=0.01) for win in found)
    assert all(win.high == pytest.approx(0.4, abs=0.01) for win in found)


def test_whoever_is_often_behind_is_credited_with_what_it_saves() -> None:
    generator = np.random.default_rng(0)
    rates = [generator.binomial(9, rate, (2, 300)) / 9 for rate in (0.16, 0.01)]
    behind = np.stack(rates)
    cost = np.array([[0.6], [1.3]])[..., None] + generator.normal(0, 0.1, (2, 2, 300))
    (win, _) = wins_of(["lp", "twap"], np.stack([behind, cost, cost]))
    assert (win.policy, win.other) == ("lp", "twap")
    assert win.low == pytest.approx(0.16, abs=0.03)
    assert win.least == pytest.approx(0.7, abs=0.05)


def test_rows_are_those_of_comparisons_at_every_penalty() -> None:
    result = frontier(["twap", "lp"], "two-algos", [8.0, 0], DAYS)
    assert [(row["policy"], row["penalty"]) for row in result.rows] == [
        *(("twap", 0.0), ("twap", 8.0)),
        *(("lp", 0.0), ("lp", 8.0)),
    ]
    for row in result.rows:
        assert tuple(row) == FRONTIER_COLUMNS
        scenario = result.scenario
        there = compare(
            [str(row["policy"])], _priced(scenario, float(row["penalty"] or 0)), DAYS, bounded=False
        )
        same = next(other for other in there.rows if other["policy"] == row["policy"])
        for key in ("objective_mean", "posting_cost_mean", "completion_rate", "ahead_rate"):
            assert row[key] == pytest.approx(same[key])
        assert row["behind_rate_mean"] == pytest.approx(same["behind_rate"])
        whole = float(same["posting_cost_mean"] or 0) + float(same["residual_penalty_mean"] or 0)
        assert row["posting_and_residual_mean"] == pytest.approx(whole)
    twap = [row for row in result.rows if row["policy"] == "twap"]
    assert twap[0]["posting_cost_mean"] == twap[1]["posting_cost_mean"]  # knows no penalty
    lp = [row for row in result.rows if row["policy"] == "lp"]
    assert lp[0]["behind_rate_mean"] > lp[1]["behind_rate_mean"]  # type: ignore[operator]


def _priced(scenario: object, penalty: float) -> object:
    from execution_env import load_scenario

    return load_scenario(scenario, {"penalties.envelope": penalty})


@pytest.mark.parametrize(
    ("penalties", "message"),
    [
        ([5.0], "at least two"),
        ([5.0, 5.0], "at least two"),
        ([1.0, -2.0], "-2"),
        ([1.0, float("inf")], "inf"),
    ],
)
def test_bad_penalties(penalties: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frontier(["lp"], "two-algos", penalties, DAYS)


def test_the_command_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["frontier", "--scenario", "two-algos", "--policies", "lp", "twap", "--penalties", "1"]
    code = evaluate.main([*words, "5", "--episodes", "50", "--out", str(tmp_path / "there")])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    names = {path.name for path in (tmp_path / "there").iterdir()}
    assert names == {"frontier.csv", "wins.csv", "frontier.png", "frontier.md"}
    with (tmp_path / "there" / "frontier.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["policy"], row["penalty"]) for row in rows] == [
        *(("lp", "1.0"), ("lp", "5.0")),
        *(("twap", "1.0"), ("twap", "5.0")),
    ]
    page = (tmp_path / "there" / "frontier.md").read_text()
    assert "--penalties 1 5 --episodes 50 --first-seed 1000000" in page
    for row in rows:
        number = f"{float(row['posting_cost_mean']):.4f}"
        assert number in shown.out
        assert number in page


def test_runs_are_found_by_penalty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["frontier", "--scenario", "two-algos", "--penalties", "1", "5", "--episodes", "20"]
    words += ["--policies", f"Q={tmp_path}/envelope-{{}}", "--out", str(tmp_path / "out")]
    assert evaluate.main(words) == 2
    assert f"{tmp_path}/envelope-1" in capsys.readouterr().err


def test_odd_labels_and_penalties_survive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["frontier", "--scenario", "two-algos", "--policies", "a|b=twap", "--penalties"]
    words += ["1.23456789", "5", "--episodes", "2", "--out", str(tmp_path)]
    assert evaluate.main(words) == 0
    page = (tmp_path / "frontier.md").read_text()
    assert "--penalties 1.23456789 5 " in page
    lines = [line for line in page.splitlines() if line.startswith("| a/b")]
    assert len(lines) == 2
    assert all(line.count("|") == 9 for line in lines)
    capsys.readouterr()
    assert evaluate.main(["frontier", "--policies", "--episodes", "2"]) == 2
    assert "--policies: there are none" in capsys.readouterr().err


def test_no_wins_are_said_to_be_none() -> None:
    assert findings([]) == ["No curve lies below another one, at 95 % confidence."]
