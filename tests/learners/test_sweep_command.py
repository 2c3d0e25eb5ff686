"""``python train.py sweep``: which runs are asked for, what is printed, what every mistake leads to."""

from __future__ import annotations

import csv
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import train
from agents.commands import sweep as sweep_command
from agents.commands.command_line import grouped
from agents.commands.sweep import combinations
from agents.commands.train_options import LEARNER_COMMANDS
from agents.learners import LEARNERS
from agents.policy import load_policy
from agents.q_learning.run import ORDERS
from agents.storage.run_directory import FILES, read_config
from agents.sweep import Outcome
from agents.training import run as training_run
from tests.learners.faster import faster
from tests.learners.sweeps import contents

SMALL = ["--set", "order.size=3000", "order.buckets=3", "volume.total=9000"]
SHORT = ["--scenario", "two-algos", *SMALL, "--episodes", str(20 * ORDERS), "--bins", "3"]


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster({"VALIDATION_DAYS": 64, "CURVE_POINTS": 4, "MEASURED_BLOCKS": 4}, patch.setattr)
        yield


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def name(rest: str) -> str:
    """Of a run that is ``SHORT``."""
    return f"two-algos-episodes{20 * ORDERS}-bins3-{rest}"


def asked(*words: str, learner: str = "q-learning") -> list[Any]:
    return combinations(learner, grouped(words))


def test_every_learner_has_its_options() -> None:
    assert list(LEARNER_COMMANDS) == list(LEARNERS)
    for kind, command in LEARNER_COMMANDS.items():
        assert command().config().kind == kind


# Which runs.


def test_every_combination_seeds_fastest() -> None:
    runs = asked("--seed", "3", "4", "--scenario", "baseline", "drifting", "--caution", "0", "0.1")
    assert [run.name for run in runs] == [
        f"{scenario}-caution{caution}-seed{seed}"
        for scenario in ("baseline", "drifting")
        for caution in ("0", "0.1")
        for seed in (3, 4)
    ]
    last = runs[-1]
    assert last.command.scenario == "drifting"
    assert (last.command.seed, last.command.hyperparameters.caution) == (4, 0.1)
    assert last.varied == {"--caution": "0.1"}


def test_one_value_is_the_same_for_all() -> None:
    words = ["--bins", "3", "--seed", "1", "2", "--set", "order.buckets=5", "costs.basis=filled"]
    runs = asked(*words)
    assert [run.name for run in runs] == ["baseline-bins3-seed1", "baseline-bins3-seed2"]
    for run in runs:
        assert run.varied == {}
        assert run.command.bins == 3
        assert run.command.overrides == ["order.buckets=5", "costs.basis=filled"]
        assert run.command.config().scenario.buckets == 5


def test_nothing_asked_for_is_one_run_with_the_defaults() -> None:
    (run,) = asked()
    assert (run.name, run.varied) == ("baseline-seed0", {})
    assert run.command == LEARNER_COMMANDS["q-learning"]()


def test_flags_and_spellings() -> None:
    runs = asked(
        *("--masked", "--learning_rate=0.001", "--learning-rate", "0.003", "--seed=0", "--seed=1"),
        learner="ppo",
    )
    assert [run.name for run in runs] == [
        f"baseline-masked-learning-rate{rate}-seed{seed}"
        for rate in ("0.001", "0.003")
        for seed in (0, 1)
    ]
    assert all(run.command.masked for run in runs)


def test_names_do_not_depend_on_spelling_nor_on_other_runs() -> None:
    words = ["--caution", "0", "0.10", "--bins", "2", "3", "--seed", "1"]
    names = [run.name for run in asked(*words)]
    again = ["--seed=01", "--bins", "3", "2", "--caution", "1e-1", "0.0", "--scenario", "baseline"]
    assert sorted(names) == sorted(run.name for run in asked(*again))
    (alone,) = asked("--caution", ".1", "--bins", "3", "--seed", "1")
    assert alone.name == "baseline-bins3-caution0.1-seed1"
    assert alone.name in names


# What it does.


def test_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", *SHORT, "--seed", "0", "1", "--caution", "0", "0.1", "--jobs", "1"]
    assert train.main([*words, "--out", "all"]) == 0
    captured = capsys.readouterr()
    names = [name(f"caution{caution}-seed{seed}") for caution in ("0", "0.1") for seed in (0, 1)]
    assert sorted(os.listdir("all")) == sorted([*names, "sweep.csv"])
    for run in names:
        assert set(os.listdir(f"all/{run}")) == set(FILES)
        assert load_policy(f"all/{run}").train_steps == 20 * ORDERS * 3

    with open("all/sweep.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == names
    for row in rows:
        config = read_config(f"all/{row['run']}")
        assert float(row["caution"]) == config.hyperparameters["caution"]
        assert (row["scenario"], int(row["seed"])) == ("two-algos", config.seed)
        progress = training_run.read_progress(f"all/{row['run']}")[-1]
        for column in ("objective_mean", "objective_ci_low", "objective_ci_high", "steps"):
            assert float(row[column]) == progress[column]
        assert float(row["seconds"]) > 0
        assert row["error"] == ""

    title, head, rule, *lines = captured.out.splitlines()
    assert title.strip() == "Objective on 2,048 validation days"
    assert head.split() == ["scenario", "caution", "seeds", "objective", "least", "most", "seconds"]
    assert set(rule) == {"─"}
    for line, caution in zip(lines, ("0", "0.1"), strict=True):
        found = [float(row["objective_mean"]) for row in rows if row["caution"] == caution]
        expected = [sum(found) / 2, min(found), max(found)]
        assert line.split()[:-1] == ["two-algos", caution, "2", *(f"{x:.4f}" for x in expected)]

    first, *middle, told, command = captured.err.splitlines()
    assert first == "training 4 runs of q-learning -> all"
    assert sorted(line.split(":")[0] for line in middle) == sorted(names)
    assert re.fullmatch(r".*: done \(4 of 4\)", middle[-1])
    assert told == "compare them on held-out days:"
    assert shlex.split(command) == [
        *("python", "evaluate.py", "--scenario", "two-algos", *SMALL, "--policies", "lp", "dp"),
        *(f"all/{run}" for run in names),
    ]

    # The same again does nothing, and one more seed is one more run each.
    before = contents(Path("all"))
    assert train.main([*words, "--out", "all"]) == 0
    again = contents(Path("all"))
    assert again["sweep.csv"][1] == before["sweep.csv"][1]
    del again["sweep.csv"], before["sweep.csv"]  # written anew
    assert again == before
    words[words.index("--caution") : words.index("--caution")] = ["2"]
    assert train.main([*words, "--out", "all"]) == 0
    now = contents(Path("all"))
    assert {path: now[path] for path in before} == before
    assert {path.split("/")[0] for path in now.keys() - before.keys()} == {
        "sweep.csv",
        name("caution0-seed2"),
        name("caution0.1-seed2"),
    }


def test_where_runs_go_that_are_not_told_where_to() -> None:
    assert train.main(["sweep", "q-learning", *SHORT, "--seed", "5"]) == 0
    assert sorted(os.listdir("runs/sweep-q-learning")) == ["sweep.csv", name("seed5")]


def test_scenarios_are_compared_one_by_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"objective_mean": 1.0, "objective_ci_low": 0.5, "objective_ci_high": 2.0, "steps": 9.0}
    monkeypatch.setattr(
        sweep_command, "train_all", lambda jobs, *_: [Outcome(row, 1.0, "")] * len(jobs)
    )
    assert (
        train.main(["sweep", "ppo", "--seed", "1", "2", "--scenario", "baseline", "drifting"]) == 0
    )
    *_, one, other = capsys.readouterr().err.splitlines()
    for line, scenario in ((one, "baseline"), (other, "drifting")):
        assert line.split() == [
            *("python", "evaluate.py", "--scenario", scenario, "--policies", "lp", "dp"),
            f"runs/sweep-ppo/{scenario}-seed1",
            f"runs/sweep-ppo/{scenario}-seed2",
        ]


def test_options_of_the_sweep_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    def everything(jobs: list[Any], processes: Any, engine: str, *_: Any) -> list[Outcome]:
        heard.extend((processes, engine))
        return [Outcome(None, 0.0, "no")] * len(jobs)

    monkeypatch.setattr(sweep_command, "train_all", everything)
    train.main(["sweep", "--engine", "ray", "--jobs", "7", "--out", "a"])
    train.main(["sweep", "--out", "b"])
    assert heard == [7, "ray", None, "local"]


def test_the_table_keeps_what_other_sweeps_did() -> None:
    words = ["sweep", *SHORT, "--jobs", "1", "--out", "all"]
    assert train.main([*words, "--caution", "0", "0.1"]) == 0
    assert train.main([*words, "--seed", "7"]) == 0
    with open("all/sweep.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["caution"]) for row in rows] == [
        (name("caution0-seed0"), "0"),
        (name("caution0.1-seed0"), "0.1"),
        (name("seed7"), ""),
    ]
    for text in ("", "run\n", "other\n1\n", "run\n1,2\n", "\0"):
        Path("all/sweep.csv").write_text(text)
        assert train.main([*words, "--seed", "7"]) == 0
        with open("all/sweep.csv", newline="", encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        assert row["run"] == name("seed7")


def test_what_is_printed_of_failures_and_odd_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"objective_mean": 1.0, "objective_ci_low": 0.5, "objective_ci_high": 2.0, "steps": 9.0}
    outcomes = [Outcome(row, 100.0, ""), Outcome(None, 0.0, "no space")]
    monkeypatch.setattr(sweep_command, "train_all", lambda *_: outcomes)
    (source,) = (Path(train.__file__).parent / "execution_env" / "allocation" / "scenarios").glob(
        "two-algos.toml"
    )
    Path("a [red] one.toml").write_text(source.read_text())
    words = ["sweep", "--scenario", "a [red] one.toml", "--seed", "0", "1"]
    assert train.main([*words, "--out", "all"]) == 2
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split() == ["a", "[red]", "one", "1", *["1.0000"] * 3, "100.0"]


def test_runs_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("all").mkdir()
    Path("all", name("seed1")).write_text("a file")
    words = ["sweep", *SHORT, "--seed", "0", "1", "--jobs", "1", "--out", "all"]
    assert train.main(words) == 2
    captured = capsys.readouterr()
    *_, error, remedy = captured.err.splitlines()
    assert error.startswith(f"error: {name('seed1')}: ")
    assert remedy == "1 of 2 runs failed; the same command tries them again."
    with open("all/sweep.csv", newline="", encoding="utf-8") as file:
        good, bad = csv.DictReader(file)
    assert (good["error"], bad["objective_mean"], bad["seconds"]) == ("", "", "")
    assert bad["error"] in error
    objective = f"{float(good['objective_mean']):.4f}"
    assert captured.out.splitlines()[-1].split()[:3] == ["two-algos", "1", objective]
    Path("all", name("seed1")).unlink()
    assert train.main(words) == 0


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["-h"], ["ppo", "--help"], ["--seed", "0", "1", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            train.main(["sweep", *words])
        assert stopped.value.code == 0
        out = capsys.readouterr().out
        for part in ("--jobs", "--engine", "--out", "sweep.csv", "python train.py sweep ppo"):
            assert part in out


# What a user can do wrong.


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["sarsa"], '"sarsa": no such learner. There is: q-learning, ppo.'),
        (["pppo"], '"pppo": no such learner. Did you mean "ppo"? There is: q-learning, ppo.'),
        (["--resume"], "--resume: is for one run; a sweep goes on by itself. Leave it out."),
        (["--seed", "1", "0", "1"], "baseline-seed1: is asked for twice; give every value once."),
        (["--caution", ".1", "0.10"], "baseline-caution0.1-seed0: is asked for twice"),
        (["-s", "0"], "-s: is no option; options begin with --."),
        (["ppo", "q-learning"], "q-learning: is no option"),
        (["--seed", "1", "-2"], "-2 must be a whole number of at least 0"),
        (["--caution", "0", "x"], "--caution"),
        (["--cautoin", "0", "1"], "Did you mean --caution?"),
        (["--jobs", "0"], "0 must be a whole number of at least 1"),
        (["--engine", "dask"], "--engine"),
        (["--scenario", "baseline", "none"], "none"),
        (["--scenario", "a/x.toml", "b/x.toml"], "--scenario: two are called x; rename one."),
        (["--set", "order.bucket=3"], "order.bucket"),
        (["ppo", "--n-envs", "3", "--minibatches", "2"], "minibatches"),
        (["--out", ""], "--out is empty"),
    ],
)
def test_one_line(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = train.main(["sweep", *words])
    except SystemExit as stopped:
        code = stopped.code  # type: ignore[assignment]
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert complaint in line
    assert not any(Path().rglob("config.json"))


def test_another_run_is_in_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", *SHORT, "--jobs", "1", "--out", "all"]
    assert train.main(words) == 0
    before = contents(Path("all"))
    capsys.readouterr()
    words[words.index("order.buckets=3")] = "order.buckets=2"
    assert train.main([*words, "--seed", "1", "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name('seed0')}: holds a run with scenario = two-algos" in line
    assert "(order.buckets 3, here 2). Choose another --out" in line
    assert contents(Path("all")) == before


def test_ctrl_c(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> list[Outcome]:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_command, "train_all", interrupted)
    assert train.main(["sweep", *SHORT, "--out", "all"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "stopped. What was learned is kept: the same command goes on."
    )
