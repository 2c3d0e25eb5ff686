"""Learning curves, and the style that all figures share."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from agents.evaluation import figures
from agents.evaluation.figures.learning import curve_of, learners
from agents.evaluation.figures.style import bucket_ticks, magnitude, percent, short
from agents.storage.run_directory import new_config, write_config, write_progress
from execution_env import load_scenario
from tests.evaluation.drawn import SCENARIO, texts, title_of


def test_drawing_needs_no_pyplot_and_importing_no_matplotlib() -> None:
    code = (
        "import sys, agents.training.run\n"
        "assert not [name for name in sys.modules if name.startswith('matplotlib')]\n"
        "from agents.evaluation import figures\n"
        "row = {'steps': 1e6, 'objective_mean': 1.0, 'objective_ci_low': 1, 'objective_ci_high': 1}\n"
        "assert figures.learning_curve([row], 'title', 'steps', row)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_all_that_is_exported_exists() -> None:
    module = importlib.import_module("agents.evaluation.figures")
    assert all(getattr(module, name).__doc__ for name in module.__all__)


# Learning curves.


def run(
    folder: Path, kind: str, seed: int, seconds: list[float], means: list[float], **about: Any
) -> Path:
    scenario = about.pop("scenario", SCENARIO)
    path = folder / f"{kind}-{seed}-{len(list(folder.iterdir()))}"
    path.mkdir()
    write_config(path, new_config(kind, scenario, seed, {"bins": 6, **about}))
    rows: list[Mapping[str, float]] = [
        {"steps": 1000 * j, "seconds": s, "objective_mean": m}
        for j, (s, m) in enumerate(zip(seconds, means, strict=True))
    ]
    write_progress(path, rows)
    return path


def test_curves_are_means_over_seeds(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, "q-learning", 0, [0, 1, 4, 16], [26.0, 2.0, 1.0, 0.8]),
        run(tmp_path, "q-learning", 1, [0, 2, 8], [26.0, 4.0, 2.0]),
        run(tmp_path, "ppo", 0, [0, 10, 20], [7.0, 1.5, 0.9]),
    ]
    there = learners(runs)
    assert [learner.label for learner in there] == ["Q-learning (2 seeds)", "PPO"]
    assert [learner.family for learner in there] == ["q-learning", "ppo"]
    by_seconds = curve_of(there[0], "seconds")
    assert (by_seconds.x[0], by_seconds.x[-1]) == pytest.approx((2.0, 8.0))
    # At 4 s: the first is evaluated, the second halfway in the logarithm between 4.0 and 2.0.
    at = int(np.argmin(abs(by_seconds.x - 4.0)))
    assert by_seconds.x[at] == pytest.approx(4.0)
    bands = by_seconds.low[at], by_seconds.mean[at], by_seconds.high[at]
    assert bands == pytest.approx((1.0, 2.0, 3.0))
    by_steps = curve_of(there[0], "steps")
    assert (by_steps.x[0], by_steps.x[-1]) == pytest.approx((1000, 2000))
    assert by_steps.mean[[0, -1]] == pytest.approx([3.0, 1.5])

    figure = figures.learning_curves(runs, {"lp": 0.95, "far": 90.0})
    left, right = figure.axes
    assert np.asarray(left.lines[0].get_ydata()) == pytest.approx(by_steps.mean)
    assert np.asarray(right.lines[0].get_xdata()) == pytest.approx(by_seconds.x)
    assert left.get_ylim() == right.get_ylim()
    assert {"lp 0.950", "far 90.000 ▴"} <= set(texts(right))
    assert title_of(figure).startswith("PPO ends at 0.900 and Q-learning at 1.400 on baseline")
    assert figures.png(figure)
    assert not any("$" in text.get_text() for text in right.get_xticklabels())


def test_learners_are_called_by_what_differs(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, "q-learning", 0, [0, 1], [9.0, 2.0]),
        run(tmp_path, "q-learning", 0, [0, 1], [9.0, 3.0], bins=2),
        run(tmp_path, "sarsa", 0, [0, 1], [9.0, 4.0], label="$x$_"),
    ]
    names = [learner.label for learner in learners(runs)]
    assert names == ["Q-learning, bins 6", "Q-learning, bins 2", "sarsa"]
    figure = figures.learning_curves(runs)
    assert len({line.get_color() for line in figure.axes[0].lines}) == 3


def test_names_of_close_references_do_not_overlap(tmp_path: Path) -> None:
    runs = [run(tmp_path, "ppo", 0, [0, 1], [9.0, 2.0])]
    figure = figures.learning_curves(runs, {"lp": 2.2, "dp": 2.201, "dp-fine": 2.199})
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[1].texts if " 2." in text.get_text()]
    assert len(boxes) == 3
    boxes.sort(key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1.0 for low, high in pairwise(boxes))


def test_runs_that_cannot_be_drawn(tmp_path: Path) -> None:
    good = run(tmp_path, "ppo", 0, [0, 1], [9.0, 2.0])
    young = run(tmp_path, "ppo", 1, [0], [9.0])
    other = run(tmp_path, "ppo", 1, [0, 1], [9.0, 1.0], scenario=load_scenario("textbook"))
    with pytest.raises(ValueError, match=f"{young}: has no evaluation in progress.csv; train it"):
        figures.learning_curves([good, young])
    with pytest.raises(
        ValueError,
        match=r"on textbook, .* baseline: order\.buckets 5, .* Give runs on",
    ):
        figures.learning_curves([good, other])
    with pytest.raises(ValueError, match=r"runs = \[\]: must be a list"):
        figures.learning_curves([])
    with pytest.raises(ValueError, match=r"runs = .*: must be a list"):
        figures.learning_curves(str(good))
    with pytest.raises(ValueError, match=r"references\['lp'\] = nan: must be a finite"):
        figures.learning_curves([good], {"lp": float("nan")})
    with pytest.raises(ValueError, match="there is no such directory"):
        figures.learning_curves([tmp_path / "missing"])


# Words.


@pytest.mark.parametrize(
    ("share", "right"),
    [(0.0, "0 %"), (0.005, "0.5 %"), (0.15, "15 %"), (1.0, "100 %"), (0.9996, "99.9 %")],
)
def test_percentages(share: float, right: str) -> None:
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == right


def test_short_words() -> None:
    assert short("a" * 30) == "a" * 30
    assert short("begin " + "x" * 50 + " end", 11) == "begin… end" or len(short("x" * 50, 11)) == 11
    assert short("a\nb") == "a b"
    assert [magnitude(number) for number in (20.0, 1e5, 2.5e6, 1e9)] == [
        "20",
        "100 k",
        "2.5 M",
        "1 G",
    ]


@pytest.mark.parametrize("buckets", [1, 2, 3, 6, 7, 10, 13, 60, 390])
def test_buckets_are_counted_from_one(buckets: int) -> None:
    axes = Figure().add_subplot()
    bucket_ticks(axes, buckets)
    ticks = list(axes.get_xticks())
    assert 1 <= len(ticks) <= 6
    assert all(1 <= tick <= buckets for tick in ticks)
    assert [text.get_text() for text in axes.get_xticklabels()] == [f"{tick:g}" for tick in ticks]
