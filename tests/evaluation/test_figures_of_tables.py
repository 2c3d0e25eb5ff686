"""Figures of scores and of frontiers: drawn from rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.evaluation import figures
from tests.evaluation.drawn import dots_of, texts, title_of, titled

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
