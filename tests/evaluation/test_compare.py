"""Comparisons: every column against a plain loop, the table, and what it says."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from agents.evaluation import Comparison, compare, statistics
from agents.evaluation.allocation.columns import COMPARISON_COLUMNS, episodes_csv, table_csv
from agents.evaluation.allocation.comparison import TIMED, _level_with
from agents.evaluation.allocation.report import finding, legend, markdown, split, table
from agents.evaluation.tables import Row
from agents.policy import GridPolicy, Policy, load_policy
from agents.q_learning.run import ORDERS, QTraining, Settings, config_of
from agents.rollouts.allocation import Rollout, play
from agents.rules import Random, Twap
from agents.training.run import Run
from execution_env import Scenario, load_scenario, numbered_days
from tests.evaluation.comparing import BASELINE, CONTRACT, SEEDS, by_name

Floats = NDArray[np.float64]


def values(rows: list[Row]) -> list[Row]:
    """Rows without what is measured by the clock."""
    return [row | {"decision_us": None} for row in rows]


# Against a plain loop.


def looped(policy: Policy, scenario: Scenario) -> dict[str, Any]:
    """What ``policy`` achieves on the days of ``SEEDS``, played one after the other."""
    env = policy.environment()
    lower, upper = scenario.envelope_bounds
    days = numbered_days(scenario, SEEDS)
    found: dict[str, list[Any]] = {}
    for day, seed in enumerate(SEEDS):
        observation, info = env.reset(seed=seed)
        lots, fills, totals, reward = [], [], np.zeros(3), 0.0
        for _ in range(scenario.buckets):
            action, _ = policy.predict(observation)
            observation, gained, _, _, info = env.step(action)
            lots.append(info["lots_posted"])
            fills.append(info["lots_filled"])
            reward += float(gained)
            totals += [
                info[key] for key in ("posting_cost", "envelope_penalty", "residual_penalty")
            ]
        done = np.cumsum(np.sum(fills, axis=1))[:-1] / scenario.lots
        shares = np.sum(fills, axis=1) * scenario.order.lot_size / days.volume[:, day]
        about = {
            "objective": -reward,
            "posting_cost": totals[0],
            "envelope_penalty": totals[1],
            "residual_penalty": totals[2],
            "residual": info["remaining_lots"] / scenario.lots,
            "behind": np.mean(done < lower[:-1] - 1e-12),
            "ahead": np.mean(done > upper[:-1] + 1e-12),
            "participation": np.mean(shares),
            "posted": np.array(lots),
            "filled": np.array(fills),
        }
        for key, value in about.items():
            found.setdefault(key, []).append(value)
    return {key: np.array(value) for key, value in found.items()}


@pytest.mark.parametrize("name", ["vwap-u-shape", "baseline", "baseline-filled"])
def test_every_column_against_a_plain_loop(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name, {"envelope.track_volume": None})
    settings = Settings(20 * ORDERS, 3)
    training = QTraining(scenario, 0, settings)
    run = Run(tmp_path, config_of(scenario, 0, settings), training, resume=False)
    run.go(lambda *_: None)
    paths = {"q": str(tmp_path)}
    names = ["twap", "all-neutral", "random", "lp", "q"]
    given = [f"{label}={paths[label]}" if label in paths else label for label in names]
    result = compare(given, scenario, SEEDS)
    rows = by_name(result.rows)
    loops = {
        label: looped(load_policy(paths.get(label, label), scenario), scenario) for label in names
    }
    for label, loop in loops.items():
        row, rollout = rows[label], result.rollouts[label]
        assert np.array_equal(rollout.posted.transpose(2, 0, 1), loop["posted"])
        assert np.array_equal(rollout.filled.transpose(2, 0, 1), loop["filled"])
        objective = loop["objective"]
        np.testing.assert_allclose(
            result.objectives[names.index(label)], objective, rtol=0, atol=1e-9
        )
        worst = max(1.0, 0.05 * len(SEEDS))
        difference = objective - loops["lp"]["objective"]
        expected = {
            "objective_mean": objective.mean(),
            "objective_sd": np.std(objective, ddof=1),
            "objective_cvar95": np.sort(objective)[::-1][: int(worst)].mean(),
            "posting_cost_mean": loop["posting_cost"].mean(),
            "envelope_penalty_mean": loop["envelope_penalty"].mean(),
            "residual_penalty_mean": loop["residual_penalty"].mean(),
            "completion_rate": np.mean(loop["residual"] == 0),
            "residual_fraction_mean": loop["residual"].mean(),
            "behind_rate": loop["behind"].mean(),
            "ahead_rate": loop["ahead"].mean(),
            "fill_ratio": loop["filled"].sum() / loop["posted"].sum(),
            "participation_mean": loop["participation"].mean(),
            "diff_vs_lp_mean": difference.mean(),
            "win_rate_vs_lp": np.mean((difference < 0) + 0.5 * (difference == 0)),
        }
        for bound in ("clairvoyant", "hindsight"):
            below = result.bounds[bound].mean()
            expected[f"gap_to_{bound}"] = (objective.mean() - below) / below
        for key, value in expected.items():
            assert row[key] == pytest.approx(value, rel=1e-9, abs=1e-9), (label, key)
        for key, data in (("objective", objective), ("diff_vs_lp", difference)):
            interval = statistics.mean(data)
            # Ties in the bootstrap turn on the last bit of a sum.
            close = 0.02 * float(interval.high - interval.low)
            assert row[f"{key}_ci_low"] == pytest.approx(float(interval.low), abs=close)
            assert row[f"{key}_ci_high"] == pytest.approx(float(interval.high), abs=close)
        assert (row["policy"], row["scenario"], row["episodes"]) == (label, name, len(SEEDS))
        steps = 20 * ORDERS * scenario.buckets if label == "q" else None
        assert row["train_steps"] == steps
        assert (row["train_seconds"] is None) == (steps is None)
        assert 1.0 < row["decision_us"] < 1e6


def test_bounds_have_rows(baseline: Comparison) -> None:
    rows = by_name(baseline.rows)
    (position,) = [j for j, name in enumerate(baseline.names) if name == "lp"]
    reference = baseline.objectives[position]
    for name, bound in baseline.bounds.items():
        row = rows[name]
        assert row["objective_mean"] == pytest.approx(bound.mean())
        assert row["diff_vs_lp_mean"] == pytest.approx((bound - reference).mean())
        assert row[f"gap_to_{name}"] == 0
        empty = ["posting_cost_mean", "completion_rate", "fill_ratio", "decision_us", "train_steps"]
        assert [row[key] for key in empty] == [None] * len(empty)
    assert rows["hindsight"]["win_rate_vs_lp"] > 0.9
    assert (baseline.objectives >= baseline.bounds["hindsight"] - 1e-9).all()


# The table.


@pytest.fixture(scope="module")
def baseline() -> Comparison:
    return compare(["twap", "all-passive", "random"], BASELINE, SEEDS)


def test_columns_are_those_of_the_contract(baseline: Comparison) -> None:
    assert list(COMPARISON_COLUMNS) == CONTRACT
    for row in baseline.rows:
        assert list(row) == CONTRACT
    lines = list(csv.reader(io.StringIO(table_csv(baseline.rows))))
    assert lines[0] == CONTRACT
    for line, row in zip(lines[1:], baseline.rows, strict=True):
        for cell, value in zip(line, row.values(), strict=True):
            if value is None:
                assert cell == ""
            else:
                assert (cell if isinstance(value, str) else float(cell)) == value


def test_rows_are_sorted_and_bounds_last(baseline: Comparison) -> None:
    shown, bounds = split(baseline.rows)
    assert baseline.rows == shown + bounds
    assert [row["policy"] for row in bounds] == ["hindsight", "clairvoyant"]
    objectives = [row["objective_mean"] for row in shown]
    assert objectives == sorted(objectives)  # type: ignore[type-var]


def test_lp_is_there_though_not_asked_for(baseline: Comparison) -> None:
    assert baseline.names == ["twap", "all-passive", "random", "lp"]
    assert baseline.objectives.shape == (4, len(SEEDS))
    row = by_name(baseline.rows)["lp"]
    keys = ("diff_vs_lp_mean", "diff_vs_lp_ci_low", "diff_vs_lp_ci_high", "win_rate_vs_lp")
    assert [row[key] for key in keys] == [0, 0, 0, 0.5]
    only = compare([], BASELINE, SEEDS)
    assert only.names == ["lp"]
    assert values(only.rows)[0] == values([row])[0]


def test_the_days_are_those_of_the_environment(baseline: Comparison) -> None:
    rollout = play(load_policy("twap"), BASELINE, numbered_days(BASELINE, SEEDS))
    assert np.array_equal(baseline.objectives[0], rollout.objective)
    assert baseline.seeds == list(SEEDS)
    assert isinstance(baseline.rollouts["twap"], Rollout)
    assert baseline.rollouts["twap"].posted.shape == (10, 3, len(SEEDS))


def test_the_same_again(baseline: Comparison) -> None:
    again = compare(["random", "twap", "all-passive"], "baseline", SEEDS, keep_rollouts=False)
    assert values(again.rows) == values(baseline.rows)
    assert again.rollouts == {}


def test_one_day() -> None:
    result = compare(["twap"], BASELINE, [7])
    for row in result.rows:
        assert row["episodes"] == 1
        for key in ("objective_ci_low", "objective_ci_high", "objective_sd", "diff_vs_lp_ci_low"):
            assert row[key] is None
        assert row["objective_cvar95"] == row["objective_mean"]
    assert "nan" not in table_csv(result.rows)
    assert "One day tells nothing" in finding(result.rows)
    assert "nan" not in markdown(result.rows)


def test_without_volume() -> None:
    plain = replace(BASELINE, volume=None, participation=None, name="plain")
    result = compare(["twap"], plain, range(5))
    assert {row["participation_mean"] for row in result.rows} == {None}
    assert {row["scenario"] for row in result.rows} == {"plain"}


def test_posting_nothing_at_all() -> None:
    class Idle(Twap):
        def decide(self, observations: Any) -> Any:
            return np.zeros((len(observations), 3), np.int64)

    row = by_name(compare([Idle(BASELINE, "idle")], BASELINE, range(5)).rows)["idle"]
    assert (row["fill_ratio"], row["completion_rate"], row["residual_fraction_mean"]) == (
        None,
        0,
        1,
    )


def test_a_bound_that_is_too_expensive_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("too many lots.")

    monkeypatch.setattr("agents.bounds.hindsight", refuse)
    result = compare(["twap"], BASELINE, range(5))
    assert list(result.bounds) == ["clairvoyant"]
    assert result.notes == ["Without hindsight: too many lots."]
    assert {row["gap_to_hindsight"] for row in result.rows} == {None}


def test_episodes(baseline: Comparison) -> None:
    text = episodes_csv(baseline.seeds, {"a": baseline.objectives[0], "b|": baseline.objectives[1]})
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[0] == ["seed", "a", "b|"]
    numbers = np.array(lines[1:], float)
    assert np.array_equal(numbers[:, 0], SEEDS)
    assert np.array_equal(numbers[:, 1:].T, baseline.objectives[:2])


# Decision times.


class Counting(Twap):
    """Counts decisions for one order alone, by bucket."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, "counting")
        self.alone: list[int] = []

    def predict(self, observation: Any, *arguments: Any, **more: Any) -> Any:
        assert np.shape(observation) == (11,)
        self.alone.append(round(10 * (1 - observation[1])))
        return super().predict(observation, *arguments, **more)


def test_decision_times_are_of_all_buckets_alike() -> None:
    policy = Counting(BASELINE)
    compare([policy], BASELINE, range(40))
    timed = policy.alone[1:]
    assert timed == list(range(10)) * 30
    assert len(timed) == TIMED


def test_timing_a_policy_does_not_change_what_it_decides(baseline: Comparison) -> None:
    rollout = play(Random(BASELINE), BASELINE, numbered_days(BASELINE, SEEDS))
    assert np.array_equal(baseline.objectives[2], rollout.objective)


# What it says.


def row(name: str, mean: float, low: float | None, high: float | None, gap: float = 0.1) -> Row:
    found: Row = dict.fromkeys(COMPARISON_COLUMNS)
    found |= {"policy": name, "objective_mean": mean, "gap_to_clairvoyant": gap}
    found |= {"diff_vs_lp_mean": mean - 1, "diff_vs_lp_ci_low": low, "diff_vs_lp_ci_high": high}
    return found


def test_the_finding() -> None:
    reference, bound = row("lp", 1.0, 0.0, 0.0), row("hindsight", 0.5, -0.6, -0.4)
    said = finding([row("dp", 0.9, -0.2, -0.05), row("q", 0.95, -0.1, -0.01), reference, bound])
    assert said == (
        "Best is dp with 0.9000: it beats lp by 0.1000 (policy minus lp -0.2000 to -0.0500). dp is "
        "10.0% above the clairvoyant bound. Also better than lp: q."
    )
    said = finding([row("dp", 0.9, -0.2, 0.05), reference, row("q", 1.1, -0.1, 0.2), bound])
    assert "it is not told apart from lp (-0.1000, -0.2000 to +0.0500)" in said
    assert said.endswith("Not told apart from lp on these days: q.")
    said = finding([reference, row("q", 1.5, 0.4, 0.6), bound])
    assert said.startswith("Best is lp with 1.0000; nothing here beats lp.")
    assert said.endswith("Worse than lp: q.")

    said = finding([row("dp", 0.9, -0.2, -0.05, gap=-0.01), reference])
    assert "dp is 1.0% below the clairvoyant bound, which holds on average, for the" in said
    said = finding([row("dp", 0.9, -0.2, -0.05), row("q", 0.95, -0.1, -0.01), reference], ["q"])
    assert ". Not told apart from it on these days: q. dp is 10.0%" in said


@pytest.mark.parametrize("width", [80, 110, 125, 126, 140, 160])
def test_orders_that_are_cleaned_up_do_not_look_failed(width: int) -> None:
    """None of these orders fills to the last share: "completed 0 %" it was."""
    cells = {"completion_rate": 0.0, "residual_fraction_mean": 0.0152, "decision_us": 1234.0}
    cells |= {f"objective_{end}": -10.1234 for end in ("ci_low", "ci_high")}
    rows = [
        row("lp", 1.0, 0.0, 0.0) | cells,
        row("Q-learning (3 seeds)", 11.0, -9.12, -9.12) | cells,
    ]
    rows.append(row("hindsight", 0.5, -0.6, -0.4))
    page = markdown(rows).splitlines()
    assert "| filled before clean-up | cleaned up, share |" in page[0]
    assert "| 98.48% | 1.52% |" in page[2]
    assert page[4].endswith("|  |  |  |")
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table(rows, "title", width))
    said = capture.get()
    assert "\N{HORIZONTAL ELLIPSIS}" not in said
    assert "completed" not in said
    assert ("98.48%" in said) == ("cleaned" in said) == (width >= 126)
    assert "filled before clean-up is the mean share" in legend(BASELINE)


class Shifted(Twap):
    """Posts like TWAP; a lot less in the first bucket of ``rarely`` days in a hundred."""

    def __init__(self, name: str, rarely: int) -> None:
        super().__init__(BASELINE, name)
        self.rarely = rarely

    def decide(self, observations: Any) -> Any:
        lots = super().decide(observations)
        days = np.arange(len(lots)) % 100 < self.rarely
        lots[days & (observations[:, 1] == 1)] = 0
        return lots


def test_what_is_not_told_apart_from_the_best() -> None:
    plain = load_scenario("baseline")
    given = [Shifted("same", 0), Shifted("nearly", 1), "all-aggressive", "twap"]
    result = compare(given, plain, range(200))
    best = result.rows[0]["policy"]
    assert best == "lp"
    assert result.level == []
    rows = {name: result.objectives[j] for j, name in enumerate(result.names)}
    level = _level_with("twap", result.names, result.objectives, {})
    assert {"same", "nearly"} <= set(level)
    assert "all-aggressive" not in level
    assert np.array_equal(rows["same"], rows["twap"])
    both = {"twaps (2 seeds)": [0, 3]}
    assert "nearly" in _level_with("twaps (2 seeds)", result.names, result.objectives, both)
    assert _level_with("lp", ["lp"], result.objectives[-1:], {}) == []


def test_markdown_is_a_table(baseline: Comparison) -> None:
    lines = markdown(baseline.rows).splitlines()
    assert len(lines) == 2 + len(baseline.rows)
    assert len({line.count("|") for line in lines}) == 1
    assert lines[-1].startswith("| clairvoyant (bound) |")
    assert markdown([row("a|b", 1.0, None, None)]).splitlines()[2].startswith("| a/b |")


def test_rows_are_json(baseline: Comparison) -> None:
    text = json.dumps(baseline.rows, allow_nan=False)
    assert json.loads(text) == baseline.rows
    assert all(
        not (isinstance(cell, float) and math.isnan(cell)) for cell in baseline.rows[0].values()
    )
    assert issubclass(Random, GridPolicy)
