from __future__ import annotations

import sys

import numpy as np
import pytest

from execution_env import OrderAllocationEnv, OrderAllocationVectorEnv


def test_a_line_per_bucket() -> None:
    env = OrderAllocationEnv("textbook", render_mode="ansi")
    env.reset(seed=1)
    assert env.render() == (
        "textbook: 10,000 shares = 100 lots in 5 buckets through Aggressive, Neutral, Passive"
    )
    filled = 0
    for b in range(5):
        info = env.step(20)[4]
        filled += int(info["lots_filled"].sum())
        line = env.render()
        assert "\n" not in line
        assert line.startswith(f"bucket {b + 1}/5 ")
        assert f"total {filled:>3}/100" in line
        for name, posted, fills in zip(
            env.scenario.algo_names, info["lots_posted"], info["lots_filled"], strict=True
        ):
            assert f"{name} {posted:>3}>{fills}" in line
    outside = info["cost_sum"] - info["cost_residual"]
    assert f"penalty {info['residual_penalty'] + 5 * outside:.3f}" in line


@pytest.mark.parametrize(
    ("done", "action", "word"), [(1, 0, "inside"), (2, 0, "behind"), (1, 34, "ahead")]
)
def test_a_line_says_where_the_order_is(done: int, action: int, word: str) -> None:
    env = OrderAllocationEnv("baseline", render_mode="ansi", overrides={"envelope.band": 0.12})
    env.reset(seed=1)
    for _ in range(done):
        env.step(action)
    assert f", {word} [" in env.render()


@pytest.mark.parametrize(
    "scenario",
    [
        "baseline",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("vwap-u-shape", "five-algos")),
    ],
)
def test_a_picture_at_every_moment(scenario: str) -> None:
    env = OrderAllocationEnv(scenario, render_mode="rgb_array")
    env.reset(seed=1)
    pictures = [env.render()]
    for _ in range(env.scenario.buckets):
        env.step(12)
        pictures.append(env.render())
    assert all(p.dtype == np.uint8 and p.shape == (600, 960, 3) for p in pictures)
    assert len({p.tobytes() for p in pictures}) == len(pictures)


def test_a_tracking_envelope_is_drawn_as_it_was_and_as_it_is_expected() -> None:
    env = OrderAllocationEnv("vwap-u-shape", render_mode="ansi", observation="full")
    observation, _ = env.reset(seed=4)
    seen = [observation[-3:-1]]
    for _ in range(6):
        observation, *_ = env.step(12)
        seen.append(observation[-3:-1])
    recorder = env._recorder
    assert recorder is not None
    lower, upper = (edge / env.scenario.lots for edge in recorder._envelope())
    np.testing.assert_allclose(lower[1:8], [low for low, _ in seen], rtol=1e-6)
    np.testing.assert_allclose(upper[1:8], [high for _, high in seen], rtol=1e-6)
    assert (np.diff(lower[7:]) >= 0).all()
    assert upper[-1] == 1


def test_without_a_render_mode_there_is_a_warning() -> None:
    env = OrderAllocationEnv("baseline")
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
    envs = OrderAllocationVectorEnv(2, "baseline")
    with pytest.warns(UserWarning, match="render mode"):
        assert envs.render() is None


def test_pictures_need_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    env = OrderAllocationEnv("baseline", render_mode="rgb_array")
    env.reset(seed=0)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "execution_env\[plot\]"'):
        env.render()


def test_on_the_edge_of_the_envelope_is_inside() -> None:
    # The lower edge of bucket 2 is 5.000000000000002 lots in floating point.
    env = OrderAllocationEnv(
        "baseline",
        overrides={"algos.Aggressive.fill_rate": 1.0},
        action="lots",
        render_mode="ansi",
    )
    env.reset(seed=0)
    env.step([5, 0, 0])
    env.step([0, 0, 0])
    assert ", inside [5, 35]" in env.render()
