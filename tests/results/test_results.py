from __future__ import annotations

import csv
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from agents.commands.command_line import grouped
from agents.commands.sweep import combinations
from agents.evaluation import statistics
from execution_env.allocation.scenario_file import scenarios
from results import command, plan
from results.pages import overview, readme, scenario_page, tables
from results.pages.words import read, standing
from results.plan import BLIND, FRONTIERS, PLANS, RESULTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def cells_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def markdown_rows(text: str) -> dict[str, list[str]]:
    """Cells of a table by the policy in the first one, without its ticks."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {line[0].split("`")[1]: [cell.strip() for cell in line[1:]] for line in lines}


# What was committed agrees with itself.


def test_the_readmes_table_is_that_of_the_csv() -> None:
    text = (ROOT / "README.md").read_text().partition(readme.BEGIN)[2].partition(readme.END)[0]
    shown = markdown_rows(text)
    rows = {row["policy"]: row for row in cells_of(RESULTS / "baseline" / "comparison.csv")}
    grouped = {label for labels in PLANS["baseline"].groups.values() for label in labels}
    most = 2 * float(rows["lp"]["objective_mean"])
    right = {name for name, row in rows.items() if float(row["objective_mean"]) <= most}
    assert set(shown) == right - grouped
    for name, (objective, interval, *_) in shown.items():
        row = rows[name]
        assert objective == f"{float(row['objective_mean']):.4f}"
        ends = (float(row["objective_ci_low"]), float(row["objective_ci_high"]))
        assert interval == f"{ends[0]:.4f} to {ends[1]:.4f}"
        if name not in ("lp", "clairvoyant", "hindsight"):
            difference = [float(row[f"diff_vs_lp_{key}"]) for key in ("mean", "ci_low", "ci_high")]
            assert shown[name][2] == "{:+.4f} ({:+.4f} to {:+.4f})".format(*difference)


def test_the_readme_says_what_the_results_say() -> None:
    text = (ROOT / "README.md").read_text()
    assert f"{readme.BEGIN}\n\n{readme.readme(RESULTS)}\n\n{readme.END}" in text


@pytest.mark.parametrize("name", PLANS)
def test_pages_are_made_of_the_tables_beside_them(name: str) -> None:
    page = (RESULTS / name / "README.md").read_text()
    assert page == scenario_page.scenario_page(read(RESULTS / name))
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(pictures) == 8
    assert all((RESULTS / name / picture).is_file() for picture in pictures)


def test_the_overview_is_made_of_the_tables() -> None:
    found = [read(RESULTS / name) for name in PLANS]
    page = (RESULTS / "README.md").read_text()
    assert page == overview.overview(found)
    for link in re.findall(r"\]\((.*?)\)", page):
        assert (RESULTS / link).exists(), link


@pytest.mark.parametrize("name", PLANS)
def test_scores_and_pairs_follow_from_the_means(name: str) -> None:
    means = {
        row["policy"]: float(row["objective_mean"])
        for row in cells_of(RESULTS / name / "comparison.csv")
    }
    room = means["lp"] - means["clairvoyant"]
    for row in cells_of(RESULTS / name / "scores.csv"):
        if room <= 0:
            assert row["score"] == ""
        else:
            right = (means["lp"] - means[row["policy"]]) / room
            assert float(row["score"]) == pytest.approx(right, abs=1e-9)
    pairs = cells_of(RESULTS / name / "pairs.csv")
    assert pairs
    for row in pairs:
        right = means[row["policy"]] - means[row["other"]]
        assert float(row["difference"]) == pytest.approx(right, abs=1e-9)
        assert float(row["ci_low"]) <= float(row["difference"]) <= float(row["ci_high"])


@pytest.mark.parametrize("name", PLANS)
def test_held_out_days_and_all_runs_are_there(name: str) -> None:
    rows = cells_of(RESULTS / name / "comparison.csv")
    assert {row["episodes"] for row in rows} == {"10000"}
    plan = PLANS[name]
    labels = {row["policy"] for row in rows}
    assert set(plan.runs(name)) | set(plan.groups) <= labels
    page = (RESULTS / name / "comparison.md").read_text()
    assert "seeds 1000000 to 1009999" in page
    curves = cells_of(RESULTS / name / "learning_curves.csv")
    assert {row["run"] for row in curves} == set(plan.runs(name))


@pytest.mark.parametrize("name", FRONTIERS)
def test_frontiers_have_every_penalty(name: str) -> None:
    rows = cells_of(RESULTS / f"frontier-{name}" / "frontier.csv")
    penalties = {row["policy"]: set() for row in rows}  # type: dict[str, set[float]]
    for row in rows:
        penalties[row["policy"]].add(float(row["penalty"]))
    assert {"lp", "Q-learning", "PPO"} <= set(penalties)
    assert all(found == {1.0, 2.0, 5.0, 10.0} for found in penalties.values())


def test_every_scenario_has_a_reading_without_numbers() -> None:
    readings = tomllib.loads((RESULTS / "readings.toml").read_text())
    assert set(readings) == {*PLANS, "overview", "frontier", "real-days"}
    for text in readings.values():
        assert not re.search(r"\d", text), text


# What the command does.


def test_every_shipped_scenario_is_reported() -> None:
    assert set(PLANS) == set(scenarios())


@pytest.mark.parametrize("name", PLANS)
def test_trainings_leave_the_runs_that_are_compared(name: str) -> None:
    plan = PLANS[name]
    made = []
    for words in plan.trainings(name):
        assert words[0] == "sweep"
        options = grouped(words[2:])
        folder = Path(options.pop("--out")[0])
        made += [folder / run.name for run in combinations(words[1], options)]
    assert sorted(made) == sorted(plan.runs(name).values())
    assert (BLIND in plan.runs(name)) == plan.blind


@pytest.mark.parametrize("name", FRONTIERS)
def test_trainings_leave_the_runs_of_frontiers(name: str) -> None:
    plan = FRONTIERS[name]
    made = set()
    for words in plan.trainings(name):
        options = grouped(words[2:])
        folder = Path(options.pop("--out")[0])
        runs = combinations(words[1], options)
        made |= {str(folder / run.name) for run in runs}
        price = float(options["--set"][0].partition("=")[2])
        assert all(run.command.loaded().penalties.envelope == price for run in runs)
        assert f"envelope-{price:g}" in folder.parts
    words = grouped(plan.comparison(name)[1:])
    learned = [item.partition("=")[2] for item in words["--policies"] if "=" in item]
    prices = words["--penalties"]
    assert {path.replace("{}", price) for path in learned for price in prices} == made


def test_tables_are_made_of_days(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    bound = generator.exponential(size=200)
    days = {
        "lp": bound + 1.0,
        "Q 0": bound + 0.5,
        "Q 1": bound + 0.7,
        "PPO 0": bound + 0.4,
        "PPO 1": bound + 0.2,
        "dp": bound + generator.normal(0.3, 0.1, 200),
    }
    groups = {"Q (2 seeds)": ["Q 0", "Q 1"], "PPO (2 seeds)": ["PPO 0", "PPO 1"]}
    everything = days | {"clairvoyant": bound, "hindsight": bound - 0.5}
    scores = {str(row["policy"]): row for row in tables.scores("s", everything, groups)}
    assert list(scores) == ["Q (2 seeds)", "PPO (2 seeds)", "lp", "dp"]
    assert scores["lp"]["score"] == 0.0
    assert scores["Q (2 seeds)"]["score"] == pytest.approx(0.4)
    right = statistics.score(days["dp"], days["lp"], bound)
    assert scores["dp"]["score_ci_low"] == float(right.low)
    pairs = {(row["policy"], row["other"]): row for row in tables.pairs("s", everything, groups)}
    assert len(pairs) == 4 * 3
    seeds = pairs["Q (2 seeds)", "PPO (2 seeds)"]
    assert seeds["difference"] == pytest.approx(0.3)
    # One pair of seeds differs by 0.1, the other by 0.5: no day can tell, two seeds cannot either.
    assert seeds["ci_low"] < 0.0 < seeds["ci_high"]  # type: ignore[operator]
    both = pairs["dp", "lp"]
    right = statistics.paired_difference(days["dp"], days["lp"])
    assert (both["ci_low"], both["ci_high"]) == (float(right.low), float(right.high))
    back = pairs["lp", "dp"]
    assert (back["ci_low"], back["ci_high"]) == (-float(right.high), -float(right.low))


def test_days_are_read_as_they_were_written(tmp_path: Path) -> None:
    from agents.evaluation.allocation.columns import episodes_csv

    days = {"a, b": np.random.default_rng(0).normal(size=5), "lp": np.arange(5.0)}
    (tmp_path / "episodes.csv").write_text(episodes_csv(range(5), days))
    found = tables.read_days(tmp_path / "episodes.csv")
    assert list(found) == list(days)
    for name, values in days.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_scenario_where_lp_is_below_the_bound_has_no_score() -> None:
    days = {"lp": np.ones(3), "dp": np.zeros(3), "clairvoyant": np.full(3, 2.0)}
    assert [row["score"] for row in tables.scores("s", days, {})] == [None, None]


def test_readme_is_written_between_its_lines_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readme, "readme", lambda folder: "new")
    path = tmp_path / "README.md"
    path.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    readme.write(path, RESULTS)
    assert path.read_text() == f"before\n{readme.BEGIN}\n\nnew\n\n{readme.END}\nafter\n"
    path.write_text("nothing here\n")
    with pytest.raises(ValueError, match="must have a line"):
        readme.write(path, RESULTS)


@pytest.mark.slow
def test_everything_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trainings(self: plan.Plan, scenario: str) -> list[list[str]]:
        few = ["--scenario", scenario, "--seed", "0", "1"]
        return [
            ["sweep", "q-learning", *few, "--episodes", "4096", "--out", "runs/results/q"],
            ["sweep", "ppo", *few, "--timesteps", "4096", "--out", "runs/results/ppo"],
        ]

    def runs(self: plan.Plan, scenario: str) -> dict[str, Path]:
        return {
            f"{learner} {seed}": Path("runs", "results", f"{folder}{seed}")
            for learner, folder in (
                (plan.Q_TITLE, f"q/{scenario}-episodes4096-seed"),
                (plan.PPO_TITLE, f"ppo/{scenario}-timesteps4096-seed"),
            )
            for seed in range(2)
        }

    for name in set(PLANS) - {"two-algos"}:
        monkeypatch.delitem(PLANS, name)
    monkeypatch.setitem(PLANS, "two-algos", plan.Plan(seeds=2))
    monkeypatch.setitem(FRONTIERS, "two-algos", plan.FrontierPlan(policies=("lp", "twap")))
    for name in set(FRONTIERS) - {"two-algos"}:
        monkeypatch.delitem(FRONTIERS, name)
    monkeypatch.setattr(plan.Plan, "trainings", trainings)
    monkeypatch.setattr(plan.Plan, "runs", runs)
    names = ["two-algos", "frontier-two-algos"]
    monkeypatch.setattr(command, "EVERYTHING", names)
    monkeypatch.setattr(plan.FrontierPlan, "trainings", lambda self, scenario: [])
    monkeypatch.setattr(plan.FrontierPlan, "learned", lambda self, scenario: [])
    monkeypatch.setattr(plan, "policy_names", lambda scenario: ["lp", "dp", "twap"])
    monkeypatch.setattr(plan, "DAY_OPTIONS", ["--episodes", "200", "--first-seed", "1000000"])
    monkeypatch.setattr(readme, "readme", lambda folder: "what was found")
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text(f"# a\n\n{readme.BEGIN}\n{readme.END}\n")
    assert command.main(["--jobs", "2"]) == 0
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    folder = tmp_path / "results"
    for path in ("README.md", "scores.png", "two-algos/README.md", "two-algos/pairs.csv"):
        assert folder / path in made
    assert folder / "frontier-two-algos" / "frontier.csv" in made
    assert "what was found" in Path("README.md").read_text()
    page = (folder / "two-algos" / "README.md").read_text()
    assert "`Q-learning (2 seeds)`" in page
    capsys.readouterr()

    assert command.main([]) == 0
    assert "two-algos: evaluated before" in capsys.readouterr().err
    for path, when in made.items():
        if path.parent == folder / "two-algos" and path.suffix in (".csv", ".png"):
            assert path.stat().st_mtime_ns == when
        if path.name == "policy.npz":
            assert path.stat().st_mtime_ns == when

    # Stopped before the tables were there, or another policy under the same name: done again.
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    table, scores = folder / "two-algos" / "comparison.csv", folder / "two-algos" / "scores.csv"
    with monkeypatch.context() as patch:
        patch.setattr(tables, "write", interrupted)
        assert command.main(["--again"]) == 130
    assert scores.stat().st_mtime_ns == made[scores]
    assert command.main([]) == 0
    assert scores.stat().st_mtime_ns > made[scores]
    before = table.stat().st_mtime_ns
    shutil.rmtree("runs/results/q/two-algos-episodes4096-seed0")  # its policy.npz has its seconds
    assert command.main([]) == 0
    assert table.stat().st_mtime_ns > before


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--scenarios", "basline"]) == 2
    assert "baseline" in capsys.readouterr().err


def test_it_is_started_in_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["--scenarios", "two-algos"]) == 2
    assert "start python -m results in the clone" in capsys.readouterr().err


def test_whoever_is_above_lp_is_said_to_lose_to_it(tmp_path: Path) -> None:
    page = (RESULTS / "textbook" / "README.md").read_text()
    found = read(RESULTS / "textbook")
    for learner in scenario_page.learned(found):
        said = standing(found, learner)
        above = float(found.row(learner)["diff_vs_lp_mean"]) > 0
        assert ("above `lp`" in said) == above
        assert said in page.replace("\n", " ")
    assert "There is no score here" in page.replace("\n", " ")


def test_a_step_that_fails_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for code, right in ((2, 2), (130, 130)):
        monkeypatch.setattr("agents.commands.train.main", lambda words, code=code: code)
        assert command.main(["--scenarios", "two-algos"]) == right
        said = capsys.readouterr().err
        assert "$ python train.py sweep q-learning --scenario two-algos --seed 0 1 2" in said
        assert ("a step failed" in said) == (code == 2)
        assert ("the same command goes on" in said) == (code == 130)
