from __future__ import annotations

import importlib
import io
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from agents.dynamic_programming.problem import expected_observations
from agents.evaluation import Comparison, compare, figures
from agents.evaluation.allocation.columns import make_rows, scores_of
from agents.evaluation.figures.choice import chosen, family, rollout_of
from agents.evaluation.figures.dots import Dot, draw_dots, view_of
from agents.evaluation.figures.learning import curve_of, learners
from agents.evaluation.figures.style import SMALL, bucket_ticks, magnitude, percent, short
from agents.policy import Policy, load_policy
from agents.rollouts.allocation import Rollout, play
from agents.rules import OneAlgo, Twap
from agents.storage.run_directory import new_config, write_config, write_progress
from execution_env import Scenario, load_scenario, numbered_days
from execution_env.allocation.rendering import ALGO_COLOURS

SCENARIO = load_scenario("baseline", {"order.buckets": 6, "volume.total": 60000})
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


def titled(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title("left") == title)


def title_of(figure: Figure) -> str:
    return " ".join(figure.texts[0].get_text().replace("\N{NO-BREAK SPACE}", " ").split())


def texts(axes: Axes) -> list[str]:
    return [text.get_text().replace("\N{NO-BREAK SPACE}", " ") for text in axes.texts]


def dots_of(axes: Axes) -> dict[str, tuple[float, float, float]]:
    """Low end, value and high end of every row with a dot, by label."""
    labels = [text.get_text() for text in axes.get_yticklabels()]
    found: dict[str, list[float]] = {}
    for line in axes.lines:
        x, y = (np.asarray(data, float) for data in line.get_data())
        inside = y.size and y[0] == round(y[0]) and (y == y[0]).all()
        if inside and line.get_transform() == axes.transData:
            found.setdefault(labels[-round(y[0])], []).extend(x)
    return {label: (min(x), sorted(x)[len(x) // 2], max(x)) for label, x in found.items()}


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
        assert (
            f"complete {percent(cells['completion_rate'])}".replace("\xa0", " ") in texts(axes)[0]
        )


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


# Heat maps.


def observed(scenario: Scenario, bucket: int) -> Any:
    """The "full" observation of an order that has posted nothing."""
    env = load_policy("twap", scenario).environment()
    observation, _ = env.reset(seed=0)
    for _ in range(bucket):
        observation, *_ = env.step(np.zeros(len(scenario.algos), np.int64))
    return observation


@pytest.mark.parametrize("name", ["baseline", "textbook", "five-algos", "known-rates"])
def test_expected_observations_are_those_of_the_environment(name: str) -> None:
    scenario = load_scenario(name)
    expected = expected_observations(scenario, np.array([scenario.lots]))
    shape = scenario.buckets, 1, 5 + 2 * len(scenario.algos)
    assert expected.shape == shape
    for bucket in (0, 1, scenario.buckets - 1):
        assert expected[bucket, 0] == pytest.approx(observed(scenario, bucket), abs=1e-6)


def test_a_heat_map_is_what_policies_decide() -> None:
    policy = load_policy("lp", SCENARIO)
    figure = figures.heat_map({"lp": policy, "twap": Twap(SCENARIO)}, SCENARIO)
    panels = np.array(figure.axes).reshape(2, 4)
    assert [axes.get_title("left") for axes in panels[0]] == [*SCENARIO.algo_names, "not posted"]
    found = importlib.import_module("agents.evaluation.figures.heat_map").decisions(
        policy, SCENARIO
    )
    remaining = np.array([20, 57, SCENARIO.lots])
    observations = expected_observations(SCENARIO, remaining)
    for bucket in (3, 5):
        lots = policy.decide(observations[bucket])
        postable = np.rint(observations[bucket, :, -1] * SCENARIO.lots)[:, None]
        shares = found.shares[bucket, np.searchsorted(found.remaining, remaining)]
        rest = (postable - lots.sum(axis=1, keepdims=True)) / postable
        right = np.hstack([lots / postable, rest])
        assert shares[-1] == pytest.approx(right[-1])  # an order that filled nothing is there
        assert np.isnan(shares[0]).all() or shares[0] == pytest.approx(right[0])
    assert np.isnan(found.shares[0, :-1]).all()
    assert not np.isnan(found.shares[0, -1]).any()
    assert np.nansum(found.shares, axis=2)[~np.isnan(found.shares[:, :, 0])] == pytest.approx(1.0)


def test_states_that_are_not_met_are_grey(result: Comparison) -> None:
    policy, rollout = Twap(SCENARIO), result.rollouts["twap"]
    module = importlib.import_module("agents.evaluation.figures.heat_map")
    found = module.decisions(policy, SCENARIO, rollout)
    left = SCENARIO.lots - np.cumsum(rollout.filled.sum(axis=1), axis=0)
    for bucket in range(1, SCENARIO.buckets):
        met = set(left[bucket - 1]) - {0}
        assert {int(lots) for lots in found.remaining[found.met[bucket]]} == met
    assert not np.isnan(found.shares[found.met][:, 0]).any()
    figure = figures.heat_map({"twap": policy}, SCENARIO, {"twap": rollout})
    mesh = np.asarray(figure.axes[1].collections[0].get_array())
    grey = np.ptp(mesh[:, :, :3], axis=2) < 1e-9
    assert grey[~found.met.T].all()
    assert (mesh[:, :, 3] == ~np.isnan(found.shares[:, :, 1].T)).all()


def test_heat_maps_of_the_wrong_things(result: Comparison) -> None:
    policy = Twap(SCENARIO)
    with pytest.raises(ValueError, match="policies: there are none; give"):
        figures.heat_map({}, SCENARIO)
    with pytest.raises(ValueError, match=r"reached\['q'\]: is of no policy here; known are twap"):
        figures.heat_map({"twap": policy}, SCENARIO, {"q": result.rollouts["lp"]})
    with pytest.raises(ValueError, match="buckets 6, here 10"):
        figures.heat_map({"twap": policy}, load_scenario("baseline"))
    short_ = Rollout._make(array[:3] for array in result.rollouts["lp"])
    with pytest.raises(ValueError, match="rollout of 3 buckets and 3 algos: baseline has 6 and 3"):
        figures.heat_map({"twap": policy}, SCENARIO, {"twap": short_})


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
    with pytest.raises(ValueError, match=r"trained on textbook, .* baseline; give runs on one"):
        figures.learning_curves([good, other])
    with pytest.raises(ValueError, match=r"runs = \[\]: must be a list"):
        figures.learning_curves([])
    with pytest.raises(ValueError, match=r"runs = .*: must be a list"):
        figures.learning_curves(str(good))
    with pytest.raises(ValueError, match=r"references\['lp'\] = nan: must be a finite"):
        figures.learning_curves([good], {"lp": float("nan")})
    with pytest.raises(ValueError, match="there is no such directory"):
        figures.learning_curves([tmp_path / "missing"])


# Scores.


def score(scenario: str, policy: str, value: float | None, half: float = 0.01) -> dict[str, Any]:
    ends = (None, None) if value is None else (value - half, value + half)
    return dict(
        zip(
            ("scenario", "policy", "score", "score_ci_low", "score_ci_high"),
            (scenario, policy, value, *ends),
            strict=True,
        )
    )


SCORES = [
    score("one", "lp", 0.0),
    score("one", "clairvoyant", 1.0),
    score("one", "dp", 0.8),
    score("one", "Q-learning", 0.9),
    score("one", "twap", -40.0),
    score("two", "dp", 1.1),
    score("two", "Q-learning", None),
    score("two", "twap", 3.0),
]


def test_scores_are_where_they_belong() -> None:
    figure = figures.scores(SCORES)
    one, two = (titled(figure, name) for name in ("one", "two"))
    order = [text.get_text() for text in one.get_yticklabels()]
    assert order == ["dp", "Q-learning", "twap"]
    drawn = dots_of(one)
    assert drawn["dp"] == pytest.approx((0.79, 0.8, 0.81))
    assert drawn["Q-learning"] == pytest.approx((0.89, 0.9, 0.91))
    assert "twap" not in drawn
    assert "◂ \N{MINUS SIGN}40.0" in texts(one)
    assert {"no score", "3.0 ▸"} <= set(texts(two))
    assert {"0.95", "0.90", "\N{MINUS SIGN}18.50"} <= set(texts(two))
    assert one.get_xlim() == two.get_xlim()
    assert title_of(figure).startswith("Q-learning and twap are best or level on 1 of 2 scenarios")
    assert figures.png(figure)


def test_titles_of_scores() -> None:
    rows = [score(f"s{j}", name, v) for j in range(9) for name, v in (("dp", 0.8), ("ppo", 0.9))]
    figure = figures.scores(rows)
    assert title_of(figure) == "ppo is best or level on all scenarios; ppo and dp beat lp on all"
    assert (
        title_of(figures.scores([score("s", "dp", 0.8)]))
        == "dp goes 80 % of the way from lp to the bound"
    )
    level = [score("a", "dp", 0.8, 0.2), score("a", "ppo", 0.9), score("b", "dp", -0.1, 0.01)]
    assert title_of(figures.scores(level)) == "dp is best or level on all scenarios"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "rows: hold no score"),
        ([score("a", "lp", 0.0)], "rows: hold no score"),
        (
            [score("a", "dp", 0.5), score("a", "dp", 0.6)],
            r"rows\[1\]: policy dp is there twice for a",
        ),
        ([{"scenario": "a", "policy": "dp"}], r"rows\[0\]: has no score; must have scenario"),
    ],
)
def test_scores_that_cannot_be_drawn(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figures.scores(rows)


# Frontiers.


def point(policy: str, penalty: float, behind: float, cost: float) -> dict[str, Any]:
    return {
        "policy": policy,
        "penalty": penalty,
        "posting_cost_mean": cost,
        "posting_cost_ci_low": cost - 0.01,
        "posting_cost_ci_high": cost + 0.01,
        "residual_penalty_mean": 0.05,
        "behind_rate_mean": behind,
        "behind_rate_ci_low": None,
        "behind_rate_ci_high": None,
    }


POINTS = [
    point("lp", 5.0, 0.15, 0.7),
    point("lp", 1.0, 0.3, 0.6),
    point("q", 1.0, 0.1, 0.65),
    point("q", 20.0, 0.01, 0.75),
]


def test_a_frontier_is_a_curve_through_penalties() -> None:
    figure = figures.frontier(POINTS)
    left, right = figure.axes
    assert np.array(left.lines[0].get_data()) == pytest.approx(np.array([[30.0, 15.0], [0.6, 0.7]]))
    assert np.asarray(right.lines[0].get_ydata()) == pytest.approx([0.65, 0.75])
    assert [text for text in texts(left) if text != "better"] == ["1", "5", "1", "20"]
    assert "better" in texts(left)
    assert title_of(figure) == "Nobody is both cheaper and less often behind than lp and q"
    assert figures.png(figure)
    worse = [point("all", penalty, 0.5, 0.9) for penalty in (1.0, 5.0)]
    assert title_of(figures.frontier([*POINTS, *worse])).endswith("q; all is always beaten")
    whole = [row | {"residual_penalty_mean": 0.0} for row in POINTS]
    (axes,) = figures.frontier(whole).axes
    assert axes.get_xscale() == "log"
    narrow = [row | {"behind_rate_mean": 0.1 + row["behind_rate_mean"]} for row in whole]
    assert figures.frontier(narrow).axes[0].get_xscale() == "linear"
    alone = title_of(figures.frontier(POINTS[:2]))
    assert alone == "lp: from penalty 1 to 5, behind falls from 30 % to 15 %"
    many = figures.frontier([point(f"q{j}", 1.0, 0.1, 0.6) for j in range(12)])
    assert len(many.legends[0].get_texts()) == 12


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "rows: there are none; give"),
        ([*POINTS, POINTS[0]], r"rows\[4\]: penalty 5.0 is there twice for lp"),
        (
            [POINTS[0] | {"behind_rate_mean": None}],
            r"rows\[0\]\['behind_rate_mean'\] = None: must be",
        ),
        ([{"policy": "lp"}], r"rows\[0\]: has no penalty; must have policy, penalty"),
    ],
)
def test_frontiers_that_cannot_be_drawn(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figures.frontier(rows)


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
