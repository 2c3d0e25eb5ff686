"""Figures of a comparison: their numbers are those of its table."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from agents.evaluation import Comparison, compare, figures
from agents.evaluation.allocation.columns import make_rows, scores_of
from agents.evaluation.figures.choice import chosen, family, rollout_of
from agents.evaluation.figures.dots import Dot, draw_dots, view_of
from agents.evaluation.figures.style import SMALL, percent
from agents.policy import Policy, load_policy
from agents.rollouts.allocation import play
from agents.rules import OneAlgo, Twap
from agents.storage.run_directory import new_config
from execution_env import Scenario, load_scenario, numbered_days
from execution_env.allocation.rendering import ALGO_COLOURS
from tests.evaluation.drawn import SCENARIO, dots_of, texts, title_of, titled

DAYS = 60
OF_RESULTS = ["fills", "allocations", "costs", "objectives", "differences", "headline"]
"""Functions that draw a comparison."""


def learner(name: str, seed: int, algo: int, scenario: Scenario = SCENARIO) -> Policy:
    """A rule that passes for a run."""
    policy = OneAlgo(scenario, algo=algo, name=name)
    policy.run = new_config("q-learning", scenario, seed, {"bins": 6})
    return policy


def played(scenario: Scenario, policies: Mapping[str, Policy], count: int) -> Comparison:
    """A comparison without bounds, where any policy may be called lp; quickly made."""
    days = numbered_days(scenario, range(count))
    rollouts = {label: play(policy, scenario, days) for label, policy in policies.items()}
    scores = {label: scores_of(rollouts[label], policies[label], 1.0) for label in policies}
    rows = make_rows(scenario.name, scores, {}, {}, "lp")
    objectives = np.array([rollout.objective for rollout in rollouts.values()])
    about = (list(range(count)), list(policies), dict(policies), {}, objectives, {}, rows)
    return Comparison(scenario, *about, [], rollouts, [])


@pytest.fixture(scope="module")
def result() -> Comparison:
    given = ["lp", "twap", "all-passive", learner("Q seed 0", 0, 1), learner("Q seed 1", 1, 2)]
    return compare(given, SCENARIO, range(DAYS))


@pytest.fixture(scope="module")
def odd() -> Comparison:
    """One day, one bucket, one algo, no bounds, labels that are hard to write."""
    content = {
        "name": "$odd_%",
        "order": {"size": 10, "lot_size": 1, "buckets": 1},
        "algos": [{"name": "_$x$_", "cost": 1.0, "fill_rate": 0.5, "bucket_sd": 0.5}],
        "penalties": {"envelope": 1.0, "residual": 10.0},
    }
    scenario = load_scenario(content)
    labels = ["lp", "_a_$b$", "100 % $\\frac{1}$ " + "long " * 30, "訓練"]
    return played(scenario, {label: Twap(scenario) for label in labels}, 1)


@pytest.fixture(scope="module")
def tracking() -> Comparison:
    """An envelope that differs by day."""
    scenario = load_scenario("vwap-u-shape")
    return played(scenario, {"lp": OneAlgo(scenario, algo=1), "twap": Twap(scenario)}, 20)


def row(result: Comparison, label: str) -> dict[str, Any]:
    return next(row for row in result.rows if row["policy"] == label)


# Objectives and differences.


def test_objectives_are_those_of_the_table(result: Comparison) -> None:
    axes = figures.objectives(result).axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    means = [row(result, label.removesuffix(" (bound)"))["objective_mean"] for label in labels]
    policies = len(labels) - len(result.bounds)
    assert means[:policies] == sorted(means[:policies])
    assert [label.endswith("(bound)") for label in labels] == [False] * policies + [True] * 2
    assert "Q (2 seeds)" in labels
    assert "Q seed 0" not in labels
    drawn = dots_of(axes)
    assert {"lp", "clairvoyant (bound)"} <= drawn.keys()
    left, right = axes.get_xlim()
    for label, mean in zip(labels, means, strict=True):
        cells = row(result, label.removesuffix(" (bound)"))
        if label in drawn:
            low, high = (cells[f"objective_ci_{end}"] for end in ("low", "high"))
            clipped = max(low, left), mean, min(high, right)
            assert drawn[label] == pytest.approx(clipped)
        else:
            assert not left <= mean <= right
        assert f"{mean:.3f}" in texts(axes)


def test_bounds_are_lines_through_all_rows(result: Comparison) -> None:
    axes = figures.objectives(result).axes[0]
    lines = [line for line in axes.lines if len(set(line.get_ydata())) == 2]
    left, right = axes.get_xlim()
    means = [float(bound.mean()) for bound in result.bounds.values()]
    visible = sorted(mean for mean in means if left <= mean <= right)
    assert visible
    assert sorted(float(line.get_xdata()[0]) for line in lines) == pytest.approx(visible)
    assert all(max(line.get_ydata()) > 0 for line in lines)


def test_single_seeds_are_beside_their_mean(result: Comparison) -> None:
    wide = [Dot("a", 1.0, 0.9, 1.1, "#000000", [0.95, 1.05, 9.0])]
    axes = Figure().add_subplot()
    draw_dots(axes, wide, (0.0, 2.0))
    seeds = [line.get_xdata()[0] for line in axes.lines if line.get_ydata()[0] == -0.3]
    assert seeds == [0.95, 1.05]
    item = next(one for one in chosen(result) if one.label == "Q (2 seeds)")
    assert item.members == ["Q seed 0", "Q seed 1"]


def test_differences_are_to_lp(result: Comparison) -> None:
    figure = figures.differences(result)
    axes = figure.axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert "lp" not in labels
    left, right = axes.get_xlim()
    assert left < 0 < right
    drawn = dots_of(axes)
    for label in labels:
        mean = row(result, label)["diff_vs_lp_mean"]
        assert (label in drawn) == (left <= mean <= right)
        assert f"{mean:+.3f}".replace("-", "\N{MINUS SIGN}") in texts(axes)
    assert any("better than lp" in text for text in texts(axes))


def test_titles_say_what_the_table_says(result: Comparison) -> None:
    rows = [row for row in result.rows if row["policy"] not in result.bounds]
    best = str(rows[0]["policy"])
    assert title_of(figures.objectives(result)).startswith(f"{best} is best on baseline")
    behind = [percent(row(result, label)["behind_rate"]) for label in (best, "lp")]
    if best != "lp":
        said = title_of(figures.fills(result, [best, "lp"]))
        assert all(share.replace("\N{NO-BREAK SPACE}", " ") in said for share in behind)
    others = [item for item in rows if item["policy"] in ("twap", "all-passive", "Q (2 seeds)")]
    better = sum(float(item["diff_vs_lp_ci_high"] or 0) < 0 for item in others)
    if better == 0:
        assert title_of(figures.differences(result)).startswith("Nothing here beats lp")
    worse = [dict(item, diff_vs_lp_ci_high=-0.1, diff_vs_lp_mean=-0.2) for item in result.rows]
    said = title_of(figures.differences(replace(result, rows=worse)))
    assert said.startswith("3 of 3 beat lp")
    assert said.endswith("by 0.200")


@pytest.mark.parametrize(
    ("needed", "values", "inside", "outside"),
    [
        ([0.7, 0.95], [0.7, 0.75, 0.95, 1.05, 1.5, 11.6, 0.3], [0.7, 0.95, 1.05], [1.5, 0.3]),
        ([1.0], [1.0], [1.0], [1.1]),
        ([0.0, 0.0], [0.0, np.nan, np.inf], [0.0], [1.0]),
        ([], [5.0, 5.0], [5.0], [6.0]),
        ([], [], [0.0], [1.0]),
        ([-1.0, 1.0], [1.9, 3.0, 80.0], [1.9, 3.0], [80.0]),
    ],
)
def test_far_values_squash_nothing(
    needed: list[float], values: list[float], inside: list[float], outside: list[float]
) -> None:
    low, high = view_of(needed, values)
    assert all(low < value < high for value in inside)
    assert not any(low <= value <= high for value in outside)


# Fills, allocations, costs.


def test_fans_are_quantiles_of_cumulative_fills(result: Comparison) -> None:
    figure = figures.fills(result, ["lp", "Q (2 seeds)"])
    for label, members in (("lp", ["lp"]), ("Q (2 seeds)", ["Q seed 0", "Q seed 1"])):
        filled = np.hstack([result.rollouts[member].filled.sum(axis=1) for member in members])
        assert filled.shape[1] == DAYS * len(members)
        share = 100.0 * np.cumsum(filled, axis=0) / SCENARIO.lots
        axes = titled(figure, label)
        *edges, median = (np.asarray(line.get_ydata()) for line in axes.lines)
        assert median == pytest.approx([0.0, *np.median(share, axis=1)])
        for drawn, right in zip(edges, SCENARIO.envelope_bounds, strict=True):
            assert drawn == pytest.approx([0.0, *(100.0 * right[:-1])])
        _, wide, narrow = (item.get_paths()[0].vertices for item in axes.collections)
        for band, ends in ((wide, (5, 95)), (narrow, (25, 75))):
            at_end = band[band[:, 0] == 4.0, 1]
            assert (at_end.min(), at_end.max()) == pytest.approx(np.percentile(share[3], ends))
        cells = row(result, label)
        assert f"behind {percent(cells['behind_rate'])}".replace("\xa0", " ") in texts(axes)[0]
        filled_share = 1 - float(cells["residual_fraction_mean"])
        assert f"filled {percent(filled_share)}".replace("\xa0", " ") in texts(axes)[0]


def test_where_the_envelope_follows_the_day_fills_are_minus_its_middle(
    tracking: Comparison,
) -> None:
    rollout = tracking.rollouts["twap"]
    assert np.ptp(rollout.lower, axis=1).max() > 1
    figure = figures.fills(tracking, ["twap"])
    middle = (rollout.lower + rollout.upper) / 2.0
    middle[-1] = tracking.scenario.lots
    off = np.cumsum(rollout.filled.sum(axis=1), axis=0) - middle
    drawn = np.asarray(figure.axes[0].lines[-1].get_ydata())
    right = 100.0 * np.median(off, axis=1) / tracking.scenario.lots
    assert drawn == pytest.approx([0.0, *right])
    assert "minus" in figure.get_supylabel()
    assert "minus" not in figures.fills(tracking, ["twap"], relative=False).get_supylabel()


def test_bars_are_mean_lots(result: Comparison) -> None:
    figure = figures.allocations(result, ["lp", "Q (2 seeds)"])
    rollout = rollout_of(result, chosen(result, ["Q (2 seeds)"])[0])
    scale = 100.0 / SCENARIO.lots
    axes = titled(figure, "Q (2 seeds)")
    heights = np.array([bar.get_height() for bar in axes.patches]).reshape(3, 2, SCENARIO.buckets)
    assert pytest.approx(scale * rollout.filled.mean(axis=2)) == heights[:, 0].T
    assert pytest.approx(scale * rollout.posted.mean(axis=2)) == heights.sum(axis=1).T
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches[-SCENARIO.buckets :]]
    assert tops == pytest.approx(scale * rollout.posted.sum(axis=1).mean(axis=1))
    colours = {bar.get_facecolor()[:3] for bar in axes.patches}
    assert len(colours) == len(SCENARIO.algos)
    cost = row(result, "Q (2 seeds)")["posting_cost_mean"]
    assert texts(axes) == [f"cost {cost:.3f}"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Aggressive", "Neutral", "Passive", "pale: posted, not filled"]


def test_costs_are_told_apart(result: Comparison) -> None:
    figure = figures.costs(result, ["lp", "twap"])
    left, right = figure.axes
    parts = ("posting_cost_mean", "envelope_penalty_mean", "residual_penalty_mean")
    widths = np.array([bar.get_width() for bar in left.patches]).reshape(2, 3)
    for drawn, label in zip(widths, ("lp", "twap"), strict=True):
        cells = row(result, label)
        assert drawn == pytest.approx([cells[part] for part in parts])
        assert drawn.sum() == pytest.approx(cells["objective_mean"])
    wide = right.patches[0]
    days = result.rollouts["lp"].objective
    ends = wide.get_x(), wide.get_x() + wide.get_width()
    assert ends == pytest.approx(tuple(np.percentile(days, (5, 95))))
    assert right.lines[0].get_xdata()[0] == pytest.approx(np.median(days))
    assert right.lines[1].get_xdata()[0] == pytest.approx(row(result, "lp")["objective_cvar95"])


def test_a_headline_has_both_sides(result: Comparison) -> None:
    figure = figures.headline(result)
    left, *panels = figure.axes
    assert "lp" in [text.get_text() for text in left.get_yticklabels()]
    assert [axes.get_title("left") for axes in panels[:2]] == ["lp", "Q (2 seeds)"]
    assert len(panels) == 3
    assert [axes.get_title("left") for axes in figures.headline(result, ["twap"]).axes[1:]] == [
        "twap"
    ]


def test_a_headline_claims_nothing_that_is_not_told_apart(result: Comparison) -> None:
    unsure = {"diff_vs_lp_ci_low": -1.0, "diff_vs_lp_ci_high": 1.0}
    rows = [row | (unsure if row["policy"] == "twap" else {}) for row in result.rows]
    assert "the cost of the linear programme by" in title_of(figures.headline(result, ["twap"]))
    said = title_of(figures.headline(replace(result, rows=rows), ["twap"]))
    assert said.startswith("twap is not told apart from the linear programme")


# Which policies.


def test_representatives_are_the_best_and_lp(result: Comparison) -> None:
    labels = [item.label for item in chosen(result)]
    assert sorted(labels) == ["Q (2 seeds)", "all-passive", "lp", "twap"]
    means = [row(result, label)["objective_mean"] for label in labels]
    assert means == sorted(means)
    for most in (1, 2, 3):
        some = [item.label for item in chosen(result, most=most)]
        assert len(some) == most
        assert "lp" in some
    asked = [item.label for item in chosen(result, ["twap", "Q seed 1"])]
    assert asked == ["twap", "Q seed 1"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["tap"], r"policy tap: was not compared\. Did you mean \"twap\"\?.* Known are"),
        (["hindsight"], "policy hindsight: is a bound"),
        (["lp", "lp"], "policy lp: is there twice"),
        ([], "policies: there are none; give"),
        ("lp", "policies = 'lp': must be a list"),
    ],
)
def test_labels_that_cannot_be_drawn(result: Comparison, labels: Any, message: str) -> None:
    for name in ("fills", "allocations", "costs", "headline"):
        with pytest.raises(ValueError, match=message):
            getattr(figures, name)(result, labels)


def test_without_rollouts(result: Comparison) -> None:
    without = replace(result, rollouts={})
    for name in ("fills", "allocations", "costs", "headline"):
        with pytest.raises(ValueError, match=r"none of .*keep_rollouts=True"):
            getattr(figures, name)(without)
    assert figures.objectives(without)


def test_nothing_but_lp() -> None:
    alone = played(SCENARIO, {"lp": Twap(SCENARIO)}, 3)
    for name in OF_RESULTS:
        if name == "differences":
            with pytest.raises(ValueError, match="only lp; compare it with"):
                figures.differences(alone)
        else:
            assert title_of(getattr(figures, name)(alone))


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("lp-scenario", "lp"),
        ("dp-adaptive", "dp"),
        ("Q-learning (5 seeds)", "q-learning"),
        ("q-learning-baseline-seed0", "q-learning"),
        ("PPO (3 seeds)", "ppo"),
        ("runs/my-ppo", "ppo"),
        ("all-passive", "rule"),
        ("clairvoyant", "bound"),
        ("lpx", "other"),
        ("", "other"),
    ],
)
def test_families_by_name(name: str, right: str) -> None:
    assert family(name) == right


def test_families_by_what_made_a_policy() -> None:
    assert family("ppo", learner("lp-like", 0, 1)) == "q-learning"
    assert family("mine", load_policy("lp", SCENARIO)) == "lp"
    assert family("dp", Twap(SCENARIO)) == "rule"


# Any comparison, any label.


@pytest.mark.parametrize(
    ("name", "which"),
    [(name, "odd") for name in OF_RESULTS]
    + [pytest.param(name, "result", marks=pytest.mark.slow) for name in OF_RESULTS]
    + [("headline", "tracking")],
)
def test_all_comparisons_can_be_drawn(
    name: str, which: str, request: pytest.FixtureRequest
) -> None:
    figure = getattr(figures, name)(request.getfixturevalue(which))
    picture = figures.png(figure)
    assert len(picture) < 150_000
    with Image.open(io.BytesIO(picture)) as image:
        assert image.width == 1008
        assert set(image.info) <= {"dpi", "transparency"}
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 5
    assert figure.texts[0].get_text()
    sizes = [
        text.get_fontsize() for axes in figure.axes for text in axes.texts if text.get_text()
    ] + [
        text.get_fontsize()
        for axes in figure.axes
        for text in (*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label)
    ]
    assert min(sizes) >= SMALL


def test_signs_in_labels_are_signs(odd: Comparison) -> None:
    figure = figures.objectives(odd)
    labels = [text for text in figure.axes[0].get_yticklabels() if text.get_text()]
    assert "_a_$b$" in [text.get_text() for text in labels]
    assert not any(text.get_parse_math() for text in [*labels, *figure.texts])
    names = [text.get_text() for text in figures.allocations(odd).legends[0].get_texts()]
    assert names[0].strip() == "_$x$_"


def test_missing_intervals_and_bounds(odd: Comparison) -> None:
    assert all(row["objective_ci_low"] is None for row in odd.rows)
    axes = figures.objectives(odd).axes[0]
    assert all(low == high for low, _, high in dots_of(axes).values())
    assert "play more" in title_of(figures.differences(odd))


@pytest.mark.parametrize(("algos", "buckets"), [(1, 60), (6, 2)])
def test_sizes(algos: int, buckets: int) -> None:
    scenario = load_scenario(
        {
            "name": "wide",
            "order": {"size": 120, "lot_size": 1, "buckets": buckets},
            "algos": [
                {"name": f"algo {i}", "cost": i / 2, "fill_rate": 0.2 + 0.1 * i, "bucket_sd": 0.5}
                for i in range(algos)
            ],
            "envelope": {"kind": "twap", "band": 0.2},
            "penalties": {"envelope": 1.0, "residual": 10.0},
            "actions": {"resolution": 2},
        }
    )
    policy = Twap(scenario)
    result = played(scenario, {"lp": policy}, 4)
    for figure in (figures.fills(result), figures.heat_map({"twap": policy}, scenario)):
        assert len(figures.png(figure)) < 150_000
    axes = figures.allocations(result).axes[0]
    assert 1 <= len(axes.get_xticks()) <= 6
    assert len({bar.get_facecolor()[:3] for bar in axes.patches}) == algos <= len(ALGO_COLOURS)


def test_the_same_figure_has_the_same_bytes_whatever_the_settings(result: Comparison) -> None:
    import matplotlib

    usual = figures.png(figures.objectives(result))
    assert figures.png(figures.objectives(result)) == usual
    with matplotlib.rc_context({"font.size": 30, "text.color": "red", "axes.grid": True}):
        assert figures.png(figures.objectives(result)) == usual
        assert matplotlib.rcParams["font.size"] == 30
