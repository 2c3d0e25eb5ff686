"""Runs of the Q-learner: its progress, settings and policies."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agents.evaluation.figures import learning_curve
from agents.learners import Q_LEARNING
from agents.policy import load_policy
from agents.q_learning.algorithm import Table
from agents.q_learning.policy import FIELDS, QPolicy, load
from agents.q_learning.run import MOST_EPISODES, ORDERS, QTraining, Settings, settings_of
from agents.q_learning.states import StateSpace, without_estimates
from agents.storage.files import RunError, load_arrays, save_arrays
from agents.storage.run_directory import read_config, read_progress
from agents.training import run as training_run
from agents.training.run import CHECKPOINT_SHARE, Run
from execution_env import Scenario, load_scenario, numbered_days
from execution_env.allocation.batch import Batch
from tests.learners.faster import faster
from tests.learners.small_runs import quiet, small_run

LEARNER = small_run(Q_LEARNING)
SMALL, SCENARIO = LEARNER.sizes, LEARNER.scenario


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster(LEARNER.constants, patch.setattr)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    LEARNER.new_run(directory).go(quiet)
    return directory


def test_progress(finished: Path) -> None:
    rows = read_progress(finished)
    h = LEARNER.settings.hyperparameters
    shares = [row["episodes"] / (60 * ORDERS) for row in rows]
    assert [row["epsilon"] for row in rows] == [h.epsilon_at(share) for share in shares]
    states = [row["states"] for row in rows]
    assert states[0] == SCENARIO.buckets * (SCENARIO.lots + 1)
    assert states == sorted(states)
    assert len(set(states)) > 1
    assert rows[-1]["objective_mean"] < rows[0]["objective_mean"] / 2


def test_the_curve_is_a_picture(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    for rows in (read_progress(finished), read_progress(finished)[:1]):
        path.write_bytes(learning_curve(rows, "A curve", "steps", rows[-1]))
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:
            width, height = image.size
            colours = image.convert("RGB").getcolors(maxcolors=1 << 20)
        assert width > height > 400
        assert len(colours or []) > 10


@pytest.mark.parametrize("episodes", [1, ORDERS, ORDERS + 1, 3 * ORDERS])
def test_short_runs(tmp_path: Path, episodes: int) -> None:
    LEARNER.new_run(tmp_path / "run", Settings(episodes, 3)).go(quiet)
    rows = read_progress(tmp_path / "run")
    blocks = -(-episodes // ORDERS)
    assert [row["episodes"] for row in rows] == [ORDERS * j for j in range(blocks + 1)]
    assert load_policy(str(tmp_path / "run")).train_steps == blocks * ORDERS * 4
    assert learning_curve(rows, "short", "steps", rows[0])


def test_nothing_hidden_needs_no_bins(tmp_path: Path) -> None:
    scenario = load_scenario("known-rates", SMALL)
    LEARNER.new_run(tmp_path / "run", Settings(20 * ORDERS, 8), scenario).go(quiet)
    policy = load(tmp_path / "run", read_config(tmp_path / "run"))
    assert policy.space.bins.tolist() == [1, 1, 1]
    assert policy.observation == "minimal"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"episodes": 0}, r"episodes = 0: must be a whole number from 1 to 2,147,481,599\."),
        ({"episodes": MOST_EPISODES + 1}, r"episodes = 2147481600: must be"),
        ({"episodes": 1e6}, r"episodes = 1000000.0: must be a whole"),
        ({"episodes": "9"}, r"episodes = 9: must be a whole"),
        ({"bins": 0}, r"bins = 0: must be a whole number from 1 \(no estimates\) to 64\."),
        ({"bins": 65}, "bins = 65: must be"),
        ({"bins": 2.5}, r"bins = 2\.5: must be"),
        ({"start": "hopeful"}, r"start = hopeful: must be optimistic or pessimistic\."),
    ],
)
def test_settings_that_are_none(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**values)


# Checkpoints.


class Clock:
    """A ``perf_counter`` that moves as it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(("saving", "interval"), [(0.01, 5.0), (0.2, 5.0), (1.0, 25.0), (8, 200)])
def test_checkpoints_take_a_small_share_of_the_time(
    saving: float, interval: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, saved = Clock(), []

    def save(self: QTraining, path: Path) -> None:
        saved.append(clock.now)
        clock.now += saving

    def advance(self: QTraining, blocks: int) -> None:
        self.blocks += 1
        clock.now += 0.5

    run = LEARNER.new_run(tmp_path / "run", Settings(1000 * ORDERS, 1))
    monkeypatch.setattr(QTraining, "save", save)
    monkeypatch.setattr(QTraining, "advance", advance)
    monkeypatch.setattr(training_run, "write_progress", quiet)
    monkeypatch.setattr(Run, "_validate", lambda self: self.rows.append({"steps": 0}))
    monkeypatch.setattr(training_run, "time", clock)
    run._saved_at = clock.now
    run.go(quiet)
    *saved, _ = saved  # the last one is the end
    gaps = np.diff(saved)
    assert saved[0] <= 1000 + 5 + 0.5 + 0.5
    assert (gaps >= interval).all()
    assert (gaps <= interval + saving + 1).all()
    share = saving * len(saved) / (clock.now - 1000)
    assert share <= CHECKPOINT_SHARE + 0.01 <= 0.05 + 1e-9


def copied(finished: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "copy"
    directory.mkdir()
    for name in os.listdir(finished):
        (directory / name).write_bytes((finished / name).read_bytes())
    return directory


def test_hyperparameters_that_are_missing(finished: Path) -> None:
    config = read_config(finished)
    for name in ("episodes", "bins", "start"):
        values = {key: value for key, value in config.hyperparameters.items() if key != name}
        with pytest.raises(RunError, match=f"config.json: .*{name}"):
            settings_of(replace(config, hyperparameters=values))


# The policy.


def observations(scenario: Scenario, count: int = 64) -> np.ndarray:
    """(n, 5 + 2 K) "full" ones, of random play."""
    batch = Batch(scenario, count, "grid", "full", informs=False)
    batch.days.put(slice(None), numbered_days(scenario, range(count)))
    report = batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    found, generator = [report.observations], np.random.default_rng(0)
    for _ in range(scenario.buckets - 1):
        actions = generator.integers(0, scenario.grid_size, (count, 1))
        report = batch.advance(actions, batch.nobody, batch.everyone)
        found.append(report.observations)
    return np.concatenate(found)


def test_the_policy_decides_the_same_when_loaded(finished: Path) -> None:
    policy = LEARNER.resumed(finished).training.policy()
    loaded = load_policy(str(finished))
    assert isinstance(loaded, QPolicy)
    full = observations(SCENARIO)
    assert np.array_equal(policy.decide(full), loaded.decide(full))
    assert np.array_equal(policy.predict(full)[0], loaded.predict(full)[0])
    assert np.array_equal(policy.space.states(full), loaded.space.states(full))
    assert np.array_equal(policy.values, loaded.values)


def test_default_and_full_observations_agree(finished: Path) -> None:
    policy = load_policy(str(finished))
    assert policy.observation == "default"
    full = observations(SCENARIO)
    actions, state = policy.predict(full, state="kept")
    assert state == "kept"
    assert np.array_equal(actions, policy.predict(full[:, :4])[0])
    one, _ = policy.predict(full[7, :4])
    assert one == actions[7]
    assert np.shape(one) == ()
    with pytest.raises(ValueError, match="reads"):
        policy.predict(full[:, :2])
    env = policy.environment()
    observation, _ = env.reset(seed=3)
    over = False
    while not over:
        action, _ = policy.predict(observation)
        observation, _, over, *_ = env.step(action)


def test_a_policy_without_estimates_reads_all_observations(tmp_path: Path) -> None:
    LEARNER.new_run(tmp_path / "run", Settings(8 * ORDERS, bins=1)).go(quiet)
    policy = load_policy(str(tmp_path / "run"))
    full = observations(SCENARIO)
    assert policy.observation == "minimal"
    for columns in (2, 4, 9):
        assert np.array_equal(policy.predict(full)[0], policy.predict(full[:, :columns])[0])


def test_states_never_met_act_as_the_nearest_that_was() -> None:
    scenario = load_scenario("two-algos", {"order.size": 900, "order.buckets": 2})
    space = without_estimates(scenario)
    table = Table.start(1, space.size, scenario.grid_size, 0.0)
    tried = {(0, 9): 7, (1, 2): 3, (1, 6): 5, (1, 7): 6}
    for (bucket, level), action in tried.items():
        state = 10 * bucket + level
        table.values[0, state] = -1.0  # the untried ones look better
        table.values[0, state, action] = -2.0
        table.visits[0, state, action] = 1
    policy = QPolicy.of(scenario, space, table)
    actions = policy.table_actions.reshape(2, 10).tolist()
    assert actions[0] == [7] * 10
    # Level 4 is as near to 2 as to 6: the lower one.
    assert actions[1] == [3, 3, 3, 3, 3, 5, 5, 6, 6, 6]


def test_nothing_is_met_where_no_order_can_be() -> None:
    scenario = load_scenario("two-algos", {"order.size": 900, "order.buckets": 2})
    space = without_estimates(scenario)
    table = Table.start(2, space.size, scenario.grid_size, 0.0)
    policy = QPolicy.of(scenario, space, table)
    assert (policy.table_actions == 0).all()


def test_the_values_of_two_tables_are_averaged() -> None:
    scenario = load_scenario("two-algos", {"order.size": 900, "order.buckets": 2})
    space = without_estimates(scenario)
    table = Table.start(2, space.size, scenario.grid_size, 0.0)
    table.values[0], table.values[1] = -1.0, -3.0
    table.visits[0], table.visits[1] = 5, 5
    assert (QPolicy.of(scenario, space, table).values == -2.0).all()


def damage(name: str, arrays: dict[str, np.ndarray]) -> None:
    """Make one thing wrong that checksums do not notice."""
    match name:
        case "fewer states":
            arrays["values"] = arrays["values"][:-1]
        case "fewer actions":
            arrays["values"] = arrays["values"][:, :-1]
        case "fewer greedy actions":
            arrays["actions"] = arrays["actions"][:-1]
        case "an action above":
            arrays["actions"][5] = SCENARIO.grid_size
        case "an action below":
            arrays["actions"][5] = -1
        case "no bins":
            arrays["bins"][0] = 0
        case "more bins":
            arrays["bins"][0] += 1
        case "bins of three algos":
            arrays["bins"] = np.append(arrays["bins"], 1)
        case "bins of none":
            arrays["bins"] = arrays["bins"][:0]
        case "edges of other buckets":
            arrays["edges"] = arrays["edges"][:-1]
        case "edges that descend":
            arrays["edges"] = arrays["edges"][:, :, ::-1].copy()
        case "too few edges":
            arrays["edges"] = arrays["edges"][:, :, :-1]


@pytest.mark.parametrize(
    "what",
    [
        *("fewer states", "fewer actions", "fewer greedy actions", "an action above"),
        *("an action below", "no bins", "more bins", "bins of three algos", "bins of none"),
        *("edges of other buckets", "edges that descend", "too few edges"),
    ],
)
def test_policies_that_do_not_fit(what: str, finished: Path, tmp_path: Path) -> None:
    directory = copied(finished, tmp_path)
    arrays = load_arrays(directory / "policy.npz", FIELDS)
    damage(what, arrays)
    save_arrays(directory / "policy.npz", **arrays)
    with pytest.raises(RunError) as error:
        load_policy(str(directory))
    message = str(error.value)
    assert message.startswith(f"{directory / 'policy.npz'}: ")
    assert "\n" not in message
    assert "train again" in message


def test_a_damaged_policy_says_how_to_make_it_again(finished: Path, tmp_path: Path) -> None:
    directory = copied(finished, tmp_path)
    (directory / "policy.npz").write_bytes((finished / "policy.npz").read_bytes()[:100])
    with pytest.raises(RunError, match=r"train\.py q-learning --resume --out "):
        load_policy(str(directory))


def test_a_table_that_diverged_is_not_written(tmp_path: Path) -> None:
    space = StateSpace(1, 1, 2, np.ones(2, np.int64), np.empty((1, 2, 0), np.float32))
    values = np.full((2, 15), math.nan, np.float32)
    policy = QPolicy(SCENARIO, space, values, np.zeros(2, np.int32))
    with pytest.raises(RunError, match="diverged"):
        policy.save(tmp_path)
    assert not (tmp_path / "policy.npz").exists()
