"""Days from a file: what is played, by whom, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from execution_env import (
    DayStream,
    OrderAllocationEnv,
    OrderAllocationVectorEnv,
    Scenario,
    ScenarioError,
    load_scenario,
    numbered_days,
    scenario_to_toml,
)
from execution_env.allocation.market.day_stream import POLICY, TRAINING, VALIDATION
from execution_env.allocation.market.days_file import (
    days_file,
    read_days,
    replayed_orders,
    write_days,
)
from tests.allocation.markets import SHORTFALL, shortfall
from tests.allocation.replayed import file_of


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    write_days(tmp_path / "days.npz", file_of())
    text = scenario_to_toml(shortfall()) + '\n[replay]\nfile = "days.npz"\n'
    (tmp_path / "real.toml").write_text(text)
    return load_scenario(tmp_path / "real.toml")


def test_a_file_is_read_as_written(tmp_path: Path) -> None:
    written = file_of()
    write_days(tmp_path / "anything", written)
    read = read_days(tmp_path / "anything")
    for mine, theirs in zip(written[2:-1], read[2:-1], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert read[:2] == written[:2]
    assert {name: which.tolist() for name, which in read.splits.items()} == {
        "train": list(range(8)),
        "test": [8, 9, 10, 11],
    }


def test_numbered_days_are_the_test_split_in_its_order(scenario: Scenario) -> None:
    file = file_of()
    days = numbered_days(scenario, [0, 1, 2, 3, 4, 1_000_003])
    which = [8, 9, 10, 11, 8, 8 + 1_000_003 % 4]
    np.testing.assert_array_equal(days.move, file.move[which].T)
    np.testing.assert_array_equal(days.volume, file.volume[which].T)
    np.testing.assert_array_equal(days.depth, np.rint(file.depth[which] / 100).transpose(1, 2, 0))
    np.testing.assert_array_equal(days.spread, file.spread[which].transpose(1, 2, 0))
    # who cleans up crosses, and pays the aggressive algo's fee
    np.testing.assert_allclose(days.touch[0], file.touch[which] + 0.3)
    assert (days.fill_rate == 1).all()


def test_drawn_days_are_played_as_they_were_drawn(tmp_path: Path) -> None:
    days = numbered_days(shortfall(), range(5))
    train = numbered_days(shortfall(), [5])
    write_days(tmp_path / "drawn.npz", days_file(shortfall(), {"train": train, "test": days}))
    believed = shortfall(
        replay__file=str(tmp_path / "drawn.npz"), algos__Passive__fill_probability=0.9
    )
    again = numbered_days(believed, range(5))
    for name in ("fill_rate", "depth", "volume", "spread", "move", "touch", "vwap"):
        np.testing.assert_allclose(getattr(again, name), getattr(days, name), rtol=1e-15)
    drawn = DayStream(believed, 0, TRAINING).draw(2).move
    np.testing.assert_array_equal(drawn, np.repeat(train.move, 2, axis=1))


@pytest.mark.parametrize("purpose", [TRAINING, VALIDATION])
def test_training_draws_from_the_train_split_alone(scenario: Scenario, purpose: int) -> None:
    train = file_of().move[:8]
    drawn = DayStream(scenario, 0, purpose).draw(300).move.T
    where = (drawn[:, None] == train[None]).all(axis=2)
    assert (where.sum(axis=1) == 1).all()
    assert where.any(axis=0).all()
    again = DayStream(scenario, 0, purpose).draw(300).move.T
    np.testing.assert_array_equal(again, drawn)
    other = DayStream(scenario, 1, purpose).draw(300).move.T
    assert not np.array_equal(other, drawn)


def test_what_a_policy_imagines_comes_from_the_model(scenario: Scenario) -> None:
    imagined = DayStream(scenario, 0, POLICY).draw(5)
    model = DayStream(shortfall(), 0, POLICY).draw(5)
    np.testing.assert_array_equal(imagined.move, model.move)
    np.testing.assert_array_equal(imagined.depth, model.depth)


def test_both_environments_play_them(scenario: Scenario) -> None:
    single = OrderAllocationEnv(scenario)
    vector = OrderAllocationVectorEnv(4, scenario)
    single_rewards = np.zeros((4, 10))
    for seed in range(4):
        single.reset(seed=seed)
        single_rewards[seed] = [single.step(20)[1] for _ in range(10)]
    vector.reset(seed=0)
    rewards = np.array([vector.step(np.full(4, 20))[1] for _ in range(10)]).T
    np.testing.assert_array_equal(rewards, single_rewards)
    for _ in range(3):  # unseeded resets: training days
        single.reset()
        assert single.step(0)[1] == vector.reset()[0].shape[1] * 0 + single._batch.outcome.reward[0]


def test_windows_are_clusters(scenario: Scenario) -> None:
    clusters = replayed_orders(scenario).clusters
    assert clusters[0] == clusters[1] != clusters[2] == clusters[3]


def test_a_changed_file_is_read_anew(scenario: Scenario) -> None:
    import os

    before = numbered_days(scenario, [0]).move.copy()
    assert scenario.replay is not None
    path = Path(scenario.replay.file)
    write_days(path, file_of(move=file_of().move + 1.0))
    os.utime(path, ns=(1, 1))
    np.testing.assert_allclose(numbered_days(scenario, [0]).move, before + 1.0)


def test_the_path_is_relative_to_the_scenario_file(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    numbered_days(load_scenario("../real.toml"), [0])


# What can be wrong.


def refusal(scenario: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        numbered_days(load_scenario(scenario), [0])
    return str(caught.value)


def replaying(path: Path, **overrides: Any) -> Scenario:
    return load_scenario(SHORTFALL, {"replay.file": str(path), **overrides})


def test_a_missing_file(tmp_path: Path) -> None:
    message = refusal(replaying(tmp_path / "none.npz"))
    assert "none.npz: there is no such file" in message
    assert "calibrate --days" in message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no more", b"price,size\n1,2\n"])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "days.npz"
    path.write_bytes(content)
    assert "days.npz: damaged, or no .npz file" in refusal(replaying(path))


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "days.npz"
    write_days(path, file_of())
    path.write_bytes(path.read_bytes()[:-200])
    assert "damaged, or no .npz file" in refusal(replaying(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"move": np.zeros((12, 9))}, "move has shape (12, 9), not (12, 10)"),
        ({"touch": np.full(12, np.nan)}, "touch has numbers that are not finite"),
        ({"depth": np.full((12, 10, 3), -1.0)}, "depth has -1, must be from 0 to 1e+15"),
        (
            {"splits": {"train": np.arange(3), "test": np.array([12])}},
            "split_test has 12, must be from 0 to 11",
        ),
        ({"splits": {"train": np.arange(3), "tset": np.arange(3)}}, 'Did you mean "tset"?'),
        ({"splits": {"test": np.arange(0)}}, "is an empty split"),
        ({"algos": ("Aggressive", "Neutral", "Lit")}, "are of Aggressive, Neutral, Lit"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_days(tmp_path / "days.npz", file_of(**changes))
    assert message in refusal(replaying(tmp_path / "days.npz"))


def test_a_file_of_another_format(tmp_path: Path) -> None:
    with (tmp_path / "days.npz").open("wb") as file:
        np.savez(file, format=2)
    assert "format = 2: this version reads 1" in refusal(replaying(tmp_path / "days.npz"))


def test_a_file_without_an_array(tmp_path: Path) -> None:
    with (tmp_path / "days.npz").open("wb") as file:
        np.savez(file, format=1, algos=np.array(shortfall().algo_names))
    assert 'lacks "bucket_seconds, depth' in refusal(replaying(tmp_path / "days.npz"))


def test_a_scenario_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "days.npz"
    write_days(path, file_of())
    assert "have 10" in refusal(replaying(path, **{"order.buckets": 9}))
    rates = {"algos.2.depth": None, "algos.2.fill_probability": None, "algos.2.depth_sd": None}
    message = refusal(replaying(path, **rates, **{"algos.2.fill_rate": 0.5}))
    assert "algos.Neutral.fill_rate = 0.5" in message
    assert "give depth and fill_probability" in message


def test_a_bucket_without_a_trade_teaches_nothing(tmp_path: Path) -> None:
    """Depth may have been on show where nothing was traded."""
    volume = file_of().volume.copy()
    volume[8:, 2] = 0.0
    write_days(tmp_path / "days.npz", file_of(volume=volume))
    scenario = replaying(tmp_path / "days.npz", **{"algos.Passive.day_sd": 0.5})
    env = OrderAllocationVectorEnv(4, scenario, action="lots", observation="full")
    env.reset(seed=0)
    for _ in range(scenario.buckets):
        observations = env.step(np.tile([0, 0, 3], (4, 1)))[0]
        assert np.isfinite(observations).all()
