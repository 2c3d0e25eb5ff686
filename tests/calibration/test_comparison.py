"""Verdicts on model against data: computed once, and said by the command, the head and the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from execution_env import load_scenario
from execution_env.__main__ import main
from execution_env.allocation import verdicts
from execution_env.allocation.market.day_stream import DayStream
from execution_env.calibration.figure import diagnostic
from execution_env.calibration.fitting.comparison import (
    Comparison,
    Comparisons,
    compare,
    half_widths,
)
from execution_env.calibration.fitting.estimate import means, weights
from execution_env.calibration.fitting.evidence import Evidence, of_days
from tests.calibration.made_days import NESTED, made_log
from tests.calibration.writers import write_fill_log

NAN = float("nan")


def comparison(model: list, data: list, half: list, percent: bool = False) -> Comparison:
    labels = np.array([f"number {j}" for j in range(len(model))])
    return Comparison("Fills", labels, *map(np.array, (model, data, half)), "no fills", percent)


def test_a_verdict_counts_and_names_the_worst() -> None:
    found = comparison([1.0, 2.0, 5.0, 3.0], [1.1, 1.0, 3.0, 3.0], [0.2, 0.5, 0.5, 0.0])
    assert found.outside.tolist() == [False, True, True, False]
    assert found.title == "Fills: 2 of 4 outside"
    assert found.verdict == (
        "Fills: 2 of 4 outside (0.2 by chance); worst number 2: model 5, data 3 +- 0.5"
    )
    assert comparison([0.5], [0.4], [0.05], percent=True).verdict.endswith(
        "model 50.0%, data 40.0% +- 5.0%"
    )


def test_what_is_not_there_is_not_judged_and_never_shown_as_a_number() -> None:
    found = comparison([9.0, 1.0, 9.0, NAN], [NAN, 1.0, 1.0, 1.0], [NAN, 0.1, NAN, 0.1])
    assert not found.leaves
    assert found.verdict == (
        "Fills: all 1 inside; not estimated: number 0, because no fills; "
        "1 without an interval: too few windows have a part in it"
    )
    worst = comparison([9.0, 1.0], [NAN, 3.0], [NAN, 0.1])
    assert "nan" not in worst.verdict
    assert "worst number 1" in worst.verdict
    nothing = comparison([1.0], [NAN], [NAN])
    assert nothing.title == "Fills: not estimated"
    assert nothing.verdict == "Fills: not estimated: number 0, because no fills"
    alone = comparison([1.0], [1.0], [NAN]).verdict
    assert alone == "Fills: not estimated: 1 without an interval: too few windows have a part in it"


def test_an_interval_knows_how_few_windows_a_number_has() -> None:
    """The mean of two windows of ten: one degree of freedom, a factor of 12.7."""
    value = np.arange(10.0)
    weight = weights(np.arange(10))
    few = (np.arange(10) < 2).astype(float)
    found = half_widths(means(weight, value * few, few))
    assert found == pytest.approx(12.706 * np.array([0.0, 1.0]).std(ddof=1) / np.sqrt(2), rel=1e-3)
    assert half_widths(np.ones((11, 2)), np.array([0.1, 0.2])).tolist() == [0.1, 0.2]
    assert np.isnan(half_widths(np.ones((1, 2)))).all()


def evidence_of(orders: int = 120, seed: int = 77) -> Evidence:
    """Data drawn from ``NESTED`` at a seed of their own, a window each, ten on a day."""
    found = of_days(DayStream(NESTED, seed).draw(orders), NESTED.order.lot_size)
    start = 34_200.0 + 1_800.0 * (np.arange(orders) % 10)
    time = start[:, None] + 180.0 * np.arange(NESTED.buckets)
    return found._replace(cluster=np.arange(orders), time=time)


@pytest.fixture(scope="module")
def right() -> Comparisons:
    return compare(NESTED, evidence_of(), 5_000.0)


def test_the_right_model_is_seldom_outside(right: Comparisons) -> None:
    """Sizes of one data set are alike, so that a panel is right or wrong as one."""
    outside = sum(int(one.outside.sum()) for one in right.all)
    judged = sum(int(one.judged.sum()) for one in right.all)
    assert judged > 70
    assert outside <= 0.25 * judged


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    outside, judged = np.zeros((2, 6))
    for seed in range(12):
        found = compare(NESTED, evidence_of(seed=seed), 5_000.0)
        outside += [one.outside.sum() for one in found.all]
        judged += [one.judged.sum() for one in found.all]
    assert (outside <= 0.12 * judged).all()
    assert 0.01 < outside.sum() / judged.sum() < 0.08


def test_a_wrong_model_leaves_the_data_in_every_panel(right: Comparisons) -> None:
    changes = {
        "algos.Passive.depth": 0.03,
        "algos.Neutral.fill_probability": 0.6,
        "volume.total": 1_500_000,
        "volume.sd": 1.2,
        "volume.persistence": 0.0,
        "price.liquidity_correlation": -0.8,
    }
    wrong = compare(load_scenario(NESTED, changes), evidence_of(), 5_000.0)
    for before, after, verdict in zip(right.all, wrong.all, wrong.verdicts, strict=True):
        assert after.outside.sum() > before.outside.sum() + 1
        assert verdict.startswith(f"warning: {after.name}: ")


def test_every_panel_s_title_is_its_verdict(right: Comparisons, monkeypatch) -> None:
    titles = []
    plain = Axes.set_title

    def noted(self, label, *args, **kwargs):
        titles.append(label)
        return plain(self, label, *args, **kwargs)

    monkeypatch.setattr(Axes, "set_title", noted)
    picture = diagnostic(NESTED, right, 5_000.0, "made")
    assert picture.startswith(b"\x89PNG")
    assert titles == [one.title for one in right.all]
    assert len(titles) == 6


def test_a_head_gives_its_verdicts_back() -> None:
    said = ["Fills: all 21 inside", "warning: " + "a long - verdict +- 2, " * 12 + "its end"]
    lines = ["Made by", "x", "", *verdicts.written(said), "Odd about it:", "  - something"]
    text = "".join(f"# {line}\n" if line else "\n" for line in lines) + '\nname = "x"\n'
    assert verdicts.read(text) == said
    assert max(map(len, text.splitlines())) <= 100
    assert verdicts.read('name = "x"\n# Verdicts, model against data:\n#   - late\n') == []
    assert verdicts.written([]) == []


def test_command_head_check_and_figure_say_the_same(tmp_path: Path, capsys) -> None:
    """A log whose clock says that Aggressive earns: nothing else is wrong with the file."""
    log = write_fill_log(made_log(NESTED, 13, 3, [40_000, 20_000, 20_000]), tmp_path / "log.csv")
    out = tmp_path / "x.toml"
    words = ["calibrate", "--fill-log", str(log), "--out", str(out), "--no-figure"]
    earns = [f"--half-spread={name}={h}" for name, h in (("Aggressive", -5), ("Neutral", -20))]
    assert main([*words, *earns, "--half-spread=Passive=-30"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("warning: ")
    assert "odd about the scenario: see above, the head of x.toml, or check x.toml" in said.err
    assert "warning: crossing earns money: Aggressive" in said.out
    found = verdicts.read(out.read_text(encoding="utf-8"))
    assert len(found) == 6
    for verdict in found:
        assert f"  - {verdict}\n" in said.out
    assert "crossing earns money: Aggressive" in out.read_text(encoding="utf-8")
    assert main(["check", str(out)]) == 0
    checked = " ".join(capsys.readouterr().out.split())
    assert "warning: crossing earns money: Aggressive" in checked
    for verdict in found:
        assert f"- {verdict}" in checked
    assert "nan" not in (said.out + checked).lower()
