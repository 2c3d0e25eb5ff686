"""Policies and runs that are compared: how they are named, grouped and refused."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.evaluation import compare, statistics
from agents.evaluation.allocation.comparison import Checked
from agents.evaluation.allocation.report import split
from agents.evaluation.allocation.selection import Entry, everything, same, seeds_only, select
from agents.learners import LEARNERS, Q_LEARNING
from agents.lp.variants import LinearProgramme, lp
from agents.policy import Policy
from agents.policy import loading as policies
from agents.rollouts.allocation import play
from agents.rules import OneAlgo, Random, Twap
from agents.storage.run_directory import RunConfig, new_config, write_config
from execution_env import Scenario, load_scenario, numbered_days
from tests.evaluation.comparing import BASELINE, CONTRACT, DEARER, SEEDS, by_name, refused


def test_names_labels_and_policies() -> None:
    given = ["mine=twap", Twap(BASELINE, "yours"), "x=agents.rules:Random", "agents.rules:Twap"]
    entries, notes = select(given, BASELINE)
    assert [entry.label for entry in entries] == ["mine", "yours", "x", "twap", "lp"]
    assert [type(entry.policy) for entry in entries] == [Twap, Twap, Random, Twap, LinearProgramme]
    assert notes == []
    assert [entry.label for entry in select([lp(BASELINE), "a=lp"], BASELINE)[0]] == ["lp", "a"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("twap", ["policies = 'twap': must be a list"]),
        (Twap(BASELINE), ["must be a list"]),
        (["twpa"], ['Did you mean "twap"?']),
        (["a=twpa"], ['"twpa"', 'Did you mean "twap"?']),
        (["hindsight"], ["is a bound"]),
        (["hindsight=twap"], ["is the name of a bound"]),
        (["twap", "twap"], ["policy twap: is there twice", "label=DIR"]),
        (["a=twap", Twap(BASELINE, "a")], ["policy a: is there twice"]),
        (["lp", "lp"], ["policy lp: is there twice"]),
        (["lp=twap"], ["that name is for the plain linear programme"]),
        ([Twap(BASELINE, "lp")], ["that name is for the plain linear programme"]),
        ([LinearProgramme(BASELINE, margins=(1, 0))], ["that name is for the plain"]),
        ([LinearProgramme(DEARER)], ["that name is for the plain", "of the scenario played"]),
        (["=twap"], ["policy =twap: must be label=POLICY"]),
        (["a="], ["policy a=: must be label=POLICY"]),
        ([3], ["policy 3: must be a name"]),
        ([Twap(load_scenario("textbook"))], ["policy twap: was made for", "buckets 5, here 10"]),
    ],
)
def test_policies_that_cannot_be_compared(given: Any, words: list[str]) -> None:
    refused(given, *words)


def test_policies_made_for_another_scenario_are_noted() -> None:
    renamed = load_scenario("baseline", {"name": "x"})
    given = [Twap(DEARER), LinearProgramme(DEARER, "mine"), LinearProgramme(renamed)]
    entries, notes = select(given, BASELINE)
    assert [entry.label for entry in entries] == ["twap", "mine", "lp"]
    differs = "made for another scenario, dearer: penalties.envelope 1.0, here 5.0"
    assert notes == [f"{name} was {differs}." for name in ("twap", "mine")]


def test_mistakes_show_before_anything_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any) -> None:
        pytest.fail("was made")

    monkeypatch.setattr("agents.dynamic_programming.dp", slow)
    refused(["dp", "runs/none-such"], "there is no such directory")
    refused(["dp", "dp"], "twice")
    refused(["dp", "b=dp", "twpa"], "twap")


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ([], ["there are none"]),
        ([1, 2, 1], ["seed 1: is there twice"]),
        ([-1], ["seed = -1: must be a non-negative integer"]),
        ([0.5], ["seed = 0.5"]),
    ],
)
def test_wrong_seeds(seeds: Any, words: list[str]) -> None:
    refused(["twap"], *words, seeds=seeds)


def test_more_seeds_than_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    most = "agents.evaluation.allocation.comparison.MOST_DAYS"
    monkeypatch.setattr(most, 1000)
    refused(["twap"], "seeds: there are more than 1,000", seeds=itertools.count())
    monkeypatch.setattr(most, 10)
    refused(["twap"], "seeds: there are more than 10", seeds=range(11))
    assert compare(["twap"], BASELINE, range(10), keep_rollouts=False).seeds[-1] == 9


@pytest.mark.parametrize(
    ("decided", "words"),
    [
        (lambda n: np.zeros((n, 2)), ["of shape (3, 2) for 3 observations; must be (3, 3)"]),
        (np.zeros, ["of shape (3,)"]),
        (lambda n: np.full((n, 3), -1), ["with -1", "not negative"]),
        (lambda n: np.full((n, 3), 0.5), ["with 0.5", "whole numbers"]),
        (lambda n: np.full((n, 3), np.nan), ["with nan"]),
        (lambda n: np.full((n, 3), "one"), ["of <U3"]),
        (lambda n: None, ["of shape ()"]),
    ],
)
def test_policies_that_decide_on_something_else(
    decided: Callable[[int], Any], words: list[str]
) -> None:
    class Odd(Twap):
        def decide(self, observations: Any) -> Any:
            return decided(len(observations))

    refused([Odd(BASELINE, "odd")], "policy odd: decided on an array", *words)


def test_whole_numbers_may_be_floats() -> None:
    class Floating(Twap):
        def decide(self, observations: Any) -> Any:
            return super().decide(observations).astype(float)

    checked = Checked("a", Floating(BASELINE), BASELINE)
    days = numbered_days(BASELINE, range(3))
    expected = play(Twap(BASELINE), BASELINE, days).objective
    assert np.array_equal(play(checked, BASELINE, days).objective, expected)


# Runs.


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes runs whose policy posts through the algo of their seed, under tmp_path/runs."""

    def load(directory: Path, config: RunConfig) -> Policy:
        policy = OneAlgo(config.scenario, 1 + config.seed % 3, "from a file")
        policy.train_seconds, policy.train_steps = 10.0 + config.seed, 100
        return policy

    module = type(sys)("fake_loader")
    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_loader", module)
    fake = replace(LEARNERS[Q_LEARNING], loader="fake_loader:load")
    monkeypatch.setitem(LEARNERS, "fake", fake)

    def make(name: str, seed: int = 0, scenario: Scenario = BASELINE, **more: Any) -> Path:
        path = tmp_path / "runs" / name
        path.mkdir(parents=True)
        write_config(path, new_config("fake", scenario, seed, more))
        return path

    return make


def test_runs_are_called_like_their_directories(run: Callable[..., Path]) -> None:
    first, other = run("first"), run("other", alpha=1)
    result = compare([first, f"mine={other}", f"again={first}"], BASELINE, SEEDS)
    rows = by_name(result.rows)
    assert result.names == ["first", "mine", "again", "lp"]
    assert (rows["mine"]["train_seconds"], rows["mine"]["train_steps"]) == (10, 100)
    assert len(result.rows) == 6  # one run twice is not two seeds
    refused([first, str(first)], "policy first: is there twice")


def test_runs_of_several_seeds_get_a_row(run: Callable[..., Path]) -> None:
    given = [run(f"q-base-{seed}", seed) for seed in range(3)] + [run("q-base-3", 3, alpha=1)]
    result = compare(given, BASELINE, SEEDS)
    rows = by_name(result.rows)
    assert "q-base (3 seeds)" in rows
    assert len(rows) == 4 + 1 + 1 + 2
    row, ones = rows["q-base (3 seeds)"], [rows[f"q-base-{seed}"] for seed in range(3)]
    both, reference = result.objectives[:3], result.objectives[-1]
    for key, data in (("objective", both), ("diff_vs_lp", both - reference)):
        interval = statistics.mean_over_seeds(data)
        assert row[f"{key}_mean"] == pytest.approx(data.mean())
        assert row[f"{key}_ci_low"] == pytest.approx(float(interval.low))
        assert row[f"{key}_ci_high"] == pytest.approx(float(interval.high))
    for key in set(CONTRACT[3:]) - {name for name in CONTRACT if "_ci_" in name}:
        assert row[key] == pytest.approx(np.mean([one[key] for one in ones])), key
    assert row["train_seconds"] == 11
    assert row["episodes"] == len(SEEDS)
    objectives = [row["objective_mean"] for row in split(result.rows)[0]]
    assert objectives == sorted(objectives)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["q-0", "q-1"], "q (2 seeds)"),
        (["q10", "q11"], "q (2 seeds)"),
        (["dqn2_seed_10", "dqn2_seed_11"], "dqn2 (2 seeds)"),
        (["a", "b"], "fake (2 seeds)"),
        (["rules0", "rules1"], "rules (2 seeds)"),
        (["1", "2"], "fake (2 seeds)"),
        (["seed0", "seed1"], "fake (2 seeds)"),
    ],
)
def test_names_of_groups(labels: list[str], name: str) -> None:
    entries = []
    for seed, label in enumerate(labels):
        policy = Twap(BASELINE)
        policy.run = new_config("fake", BASELINE, seed, {"bins": (1, 2)})
        entries.append(Entry(label, policy))
    assert seeds_only(entries) == {name: [0, 1]}
    taken = Entry(name, Twap(BASELINE))
    assert seeds_only([*entries, taken]) == {f"{name}'": [0, 1]}


def test_runs_that_differ_in_more_than_their_seed_are_no_group(run: Callable[..., Path]) -> None:
    other = load_scenario("baseline", {"penalties.envelope": 1.0})
    given = [run("a", 0), run("b", 1, alpha=1), run("c", 2, scenario=other)]
    entries, notes = select(given, BASELINE)
    assert seeds_only(entries) == {}
    assert notes == ["c was trained on another scenario: penalties.envelope 1.0, here 5.0."]


def test_the_same_run_twice_leaves_the_row_of_all_seeds(run: Callable[..., Path]) -> None:
    zero, one, copy = run("q-0", 0), run("q-1", 1), run("copy", 0)
    entries, _ = select([copy, zero, one, f"again={one}"], BASELINE)
    assert seeds_only(entries) == {"fake (2 seeds)": [0, 2]}
    assert seeds_only(entries[1:]) == {"q (2 seeds)": [0, 1]}
    assert seeds_only(entries[2:]) == {}


def test_a_run_for_something_else(run: Callable[..., Path]) -> None:
    refused([run("a", scenario=load_scenario("textbook"))], "buckets 5, here 10")


def test_everything_there_is(tmp_path: Path, run: Callable[..., Path]) -> None:
    runs = tmp_path / "runs"
    given, notes = everything(BASELINE, runs)
    assert given == policies.policy_names(BASELINE)
    assert notes == [f"No run in {runs} was trained on this scenario; python train.py makes one."]
    renamed = load_scenario("baseline", {"name": "x", "description": "y"})
    run("a/0"), run("b/0", scenario=renamed), run("c", scenario=load_scenario("textbook"))
    run("broken")
    (runs / "broken" / "config.json").write_text("{")
    given, notes = everything(BASELINE, runs)
    assert given[-2:] == [f"a/0={runs / 'a/0'}", f"b/0={runs / 'b/0'}"]
    assert len(notes) == 2
    assert notes[0].startswith(f"Left out: {runs / 'broken' / 'config.json'}: not valid JSON")
    assert notes[1] == f"Found in {runs}: a/0, b/0."
    assert [entry.label for entry in select(given[-2:], BASELINE)[0]] == ["a/0", "b/0", "lp"]
    assert same(BASELINE, renamed)


@pytest.mark.parametrize("name", ["lp", "dp", "twap", "clairvoyant", "a=b"])
def test_everything_with_a_run_called_like_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Path], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run(name), run(f"runs/{name}")
    given, notes = everything(BASELINE, Path("runs"))
    names = policies.policy_names(BASELINE)
    added = dict(str(item).split("=", 1) for item in given[len(names) :])
    assert set(added.values()) == {f"runs/{name}", f"runs/runs/{name}"}
    assert f"runs/{name}".replace("=", "-") in added
    assert not {*names, *policies.BOUNDS} & set(added)
    assert notes == [f"Found in runs: {', '.join(added)}."]
    entries, _ = select(given[len(names) :], BASELINE)
    assert [entry.label for entry in entries] == [*added, "lp"]
