"""Runs of the Q-learner: what they write, and that nothing that stops one changes what it learns."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agents.evaluation.figures import learning_curve
from agents.policy import load_policy
from agents.q_learning import run as q_run
from agents.q_learning.algorithm import Hyperparameters, Table
from agents.q_learning.orders import Trainer
from agents.q_learning.policy import FILE, QPolicy, load
from agents.q_learning.run import (
    MOST_EPISODES,
    ORDERS,
    SAVED,
    QTraining,
    Settings,
    config_of,
    settings_of,
)
from agents.q_learning.states import StateSpace, without_estimates
from agents.storage import files as storage
from agents.storage.files import RunError, load_arrays, save_arrays
from agents.storage.run_directory import (
    FILES,
    RunConfig,
    new_run_directory,
    package_versions,
    read_config,
    read_progress,
    write_config,
)
from agents.training import run as training_run
from agents.training.run import CHECKPOINT_SHARE, Run
from execution_env import Scenario, load_scenario, numbered_days
from execution_env.allocation.batch import Batch
from tests.learners.faster import faster

ROOT = Path(__file__).parents[2]
SMALL = {"order.size": 3000, "order.buckets": 4, "volume.total": 12000}
SCENARIO = load_scenario("two-algos", SMALL)
SETTINGS = Settings(60 * ORDERS, 4)


def quiet(*_: Any) -> None:
    pass


def opened(directory: Path, config: RunConfig, resume: bool) -> Run:
    training = QTraining(config.scenario, config.seed, settings_of(config))
    return Run(directory, config, training, resume)


def new_run(directory: Path, settings: Settings = SETTINGS, scenario: Any = SCENARIO) -> Run:
    new_run_directory(directory)
    return opened(directory, config_of(scenario, 0, settings), resume=False)


def resumed(directory: Path) -> Run:
    return opened(directory, read_config(directory), resume=True)


def learned(directory: Path) -> dict[str, Any]:
    """All that a run ends with, but times."""
    checkpoint = load_arrays(directory / "checkpoint.npz", SAVED)
    policy = load_arrays(directory / "policy.npz", FILE)
    rows = read_progress(directory)
    for mapping in (checkpoint, policy, *rows):
        del mapping["seconds"]
    return {"checkpoint": checkpoint, "policy": policy, "rows": rows}


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    assert first["rows"] == second["rows"]
    for file in ("checkpoint", "policy"):
        assert first[file].keys() == second[file].keys()
        for name, array in first[file].items():
            assert np.array_equal(array, second[file][name]), (file, name)
    return True


FASTER = {"VALIDATION_DAYS": 64, "CURVE_POINTS": 12, "MEASURED_BLOCKS": 6}
"""What takes time in a run and is not tested here."""


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster(FASTER, patch.setattr)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    new_run(directory).go(quiet)
    return directory


@pytest.fixture(scope="module")
def expected(finished: Path) -> dict[str, Any]:
    return learned(finished)


# What is written.


def test_a_run_directory(finished: Path) -> None:
    assert sorted(os.listdir(finished)) == sorted(set(FILES) - {"learning_curve.png"})
    config = json.loads((finished / "config.json").read_text())
    assert config["kind"] == "q-learning"
    assert config["seed"] == 0
    assert config["scenario"]["order"] == {"size": 3000, "lot_size": 100, "buckets": 4}
    assert config["hyperparameters"] == SETTINGS.flat()
    assert config["hyperparameters"]["episodes"] == 60 * ORDERS
    assert config["versions"] == package_versions()
    assert config["git_commit"] is None or len(config["git_commit"]) == 40
    assert settings_of(read_config(finished)) == SETTINGS


def test_progress(finished: Path) -> None:
    with open(finished / "progress.csv", newline="") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == QTraining.columns
    rows = read_progress(finished)
    assert len(rows) == len(lines) == FASTER["CURVE_POINTS"] + 1
    episodes = [row["episodes"] for row in rows]
    assert episodes[0] == 0
    assert episodes[-1] == 60 * ORDERS
    assert episodes == sorted(set(episodes))
    assert [row["steps"] for row in rows] == [4 * number for number in episodes]
    epsilons = [row["epsilon"] for row in rows]
    h = SETTINGS.hyperparameters
    assert epsilons == [h.epsilon_at(number / (60 * ORDERS)) for number in episodes]
    for row in rows:
        assert row["objective_ci_low"] <= row["objective_mean"] <= row["objective_ci_high"]
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
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
    new_run(tmp_path / "run", Settings(episodes, 3)).go(quiet)
    rows = read_progress(tmp_path / "run")
    blocks = -(-episodes // ORDERS)
    assert [row["episodes"] for row in rows] == [ORDERS * j for j in range(blocks + 1)]
    assert load_policy(str(tmp_path / "run")).train_steps == blocks * ORDERS * 4
    assert learning_curve(rows, "short", "steps", rows[0])


def test_nothing_hidden_needs_no_bins(tmp_path: Path) -> None:
    scenario = load_scenario("known-rates", SMALL)
    new_run(tmp_path / "run", Settings(20 * ORDERS, 8), scenario).go(quiet)
    policy = load(tmp_path / "run", read_config(tmp_path / "run"))
    assert policy.space.bins.tolist() == [1, 1, 1]
    assert policy.observation == "minimal"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"episodes": 0}, r"episodes = 0: must be a whole number from 1 to 2,147,483,647\."),
        ({"episodes": MOST_EPISODES + 1}, r"episodes = 2147483648: must be"),
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


# Stopped and resumed.


def test_in_one_go_or_block_by_block(expected: dict[str, Any], tmp_path: Path) -> None:
    """Saved and restored between all blocks, stages included."""
    path = tmp_path / "checkpoint.npz"
    training = QTraining(SCENARIO, 0, SETTINGS)
    while training.blocks < training.total:
        training.advance(1)
        training.save(path)
        training = QTraining(SCENARIO, 0, SETTINGS)
        training.restore(path)
    for name, array in load_arrays(path, SAVED).items():
        if name != "seconds":
            assert np.array_equal(array, expected["checkpoint"][name]), name


@pytest.mark.parametrize("double", [False, True])
def test_double_and_constant_steps_go_on_as_well(double: bool, tmp_path: Path) -> None:
    settings = replace(
        SETTINGS,
        start="pessimistic",
        hyperparameters=Hyperparameters(double=double, step_size=0.1, discount=0.99),
    )
    whole, parts = QTraining(SCENARIO, 4, settings), QTraining(SCENARIO, 4, settings)
    whole.advance(20)
    parts.advance(7)
    parts.save(tmp_path / "c.npz")
    again = QTraining(SCENARIO, 4, settings)
    again.restore(tmp_path / "c.npz")
    again.advance(13)
    assert np.array_equal(whole.table.values, again.table.values)
    assert np.array_equal(whole.table.visits, again.table.visits)
    assert again.seconds > 0


def interrupt_in(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Ctrl-C while this block is being learned; numbers include blocks without learning."""
    played = [0]

    def counted(original: Any) -> Any:
        def playing(self: Trainer, *args: Any, **options: Any) -> None:
            original(self, *args, **options)
            played[0] += 1
            if played[0] == block:
                os.kill(os.getpid(), signal.SIGINT)

        return playing

    for name in ("block", "watch"):
        monkeypatch.setattr(Trainer, name, counted(getattr(Trainer, name)))


# The first block is that of warming up. Stages change after 2, 6 and 18 blocks, with 6 of measuring.
@pytest.mark.parametrize("block", [2, 3, 4, 8, 9, 10, 16, 21, 40, 78, 79])
def test_ctrl_c_in_the_middle_of_a_block(
    block: int, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path / "run")
    with monkeypatch.context() as patch:
        interrupt_in(patch, block)
        with pytest.raises(KeyboardInterrupt):
            run.go(quiet)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not (tmp_path / "run" / "policy.npz").exists()
    again = resumed(tmp_path / "run")
    assert not again.finished
    assert 0 < again.training.blocks <= 60
    again.go(quiet)
    assert same(expected, learned(tmp_path / "run"))
    assert again.finished


def test_ctrl_c_outside_of_blocks(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it validates, writes a checkpoint, reports, or writes the policy."""
    directory = tmp_path / "run"
    run = new_run(directory)
    for patched, name in (
        (Run, "_validate"),
        (Run, "_checkpoint"),
        (QPolicy, "save"),
    ):
        original = getattr(patched, name)

        def interrupted(self: Any, *args: Any, original: Any = original, **options: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return original(self, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(patched, name, interrupted)
            patch.setattr(training_run, "CHECKPOINT_SECONDS", 0.0)
            patch.setattr(training_run, "CHECKPOINT_SHARE", 1e9)
            with pytest.raises(KeyboardInterrupt):
                run.go(quiet)
        run = resumed(directory)
    run.go(quiet)
    assert same(expected, learned(directory))


def test_a_second_ctrl_c_does_not_wait_and_saves_nothing(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path / "run")
    original = Trainer.block
    with monkeypatch.context() as patch:

        def impatient(self: Trainer, *args: Any, **options: Any) -> None:
            original(self, *args, **options)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(Trainer, "block", impatient)
        patch.setattr(q_run, "warm_up", quiet)
        with pytest.raises(KeyboardInterrupt):
            run.go(quiet)
    assert not (tmp_path / "run" / "checkpoint.npz").exists()
    resumed(tmp_path / "run").go(quiet)
    assert same(expected, learned(tmp_path / "run"))


def test_another_ones_handler_of_ctrl_c_is_left_alone(tmp_path: Path) -> None:
    caught = []
    before = signal.signal(signal.SIGINT, lambda *_: caught.append(1))
    try:
        mine = signal.getsignal(signal.SIGINT)
        new_run(tmp_path / "run", Settings(2 * ORDERS)).go(
            lambda *_: os.kill(os.getpid(), signal.SIGINT)
        )
        assert signal.getsignal(signal.SIGINT) is mine
        assert caught
    finally:
        signal.signal(signal.SIGINT, before)


CHILD = f"""
import sys
import train
from tests.learners.faster import faster
faster({FASTER})
faster({{"CHECKPOINT_SECONDS": 0.0, "CHECKPOINT_SHARE": float(sys.argv.pop())}})
sys.exit(train.main(sys.argv[1:]))
"""
LONG = ["--bins", "4", "--episodes", str(1000 * ORDERS), "--scenario", "two-algos"]
LONG += ["--set", *(f"{key}={value}" for key, value in SMALL.items())]


def child(directory: Path, *options: str, share: str = "1e9") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, "--out", str(directory), *options, share],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed(directory: Path, *options: str, after: str, number: int = signal.SIGKILL) -> int:
    """Start a process that trains, and kill it once there is the file ``after`` (newer than now)."""
    since = time.time_ns()
    process = child(directory, *options)
    path = directory / after
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns > since:
            break
        time.sleep(0.002)
    time.sleep(0.03)
    process.send_signal(number)
    process.communicate()
    return process.returncode


@pytest.mark.slow
def test_kill_9_costs_nothing(tmp_path: Path) -> None:
    """Before the first checkpoint, soon after it, again and again, with Ctrl-C in between."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = Settings(1000 * ORDERS, 4)
    run = new_run(whole, settings)
    run.go(quiet)
    # Nobody may be killed by luck only once the run is over: there must be work left.
    assert killed(parts, *LONG, after="config.json") == -signal.SIGKILL
    assert killed(parts, "--resume", after="checkpoint.npz") == -signal.SIGKILL
    blocks = [int(load_arrays(parts / "checkpoint.npz", SAVED)["blocks"])]
    for number in (signal.SIGKILL, signal.SIGINT):
        code = killed(parts, "--resume", after="checkpoint.npz", number=number)
        assert code == (130 if number == signal.SIGINT else -number)
        blocks.append(int(load_arrays(parts / "checkpoint.npz", SAVED)["blocks"]))
    assert blocks == sorted(blocks)
    assert 0 < blocks[0] < blocks[-1] < 4000
    process = child(parts, "--resume", share="0.04")
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert "going on with q-learning on two-algos" in said
    assert same(learned(whole), learned(parts))


@pytest.mark.parametrize("missing", ["policy.npz", "progress.csv", "checkpoint.npz"])
def test_a_run_stopped_at_its_very_end_is_completed(
    missing: str, finished: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    """Killed between the last checkpoint and the policy; or somebody deleted a file."""
    for name in os.listdir(finished):
        if name != missing:
            (tmp_path / name).write_bytes((finished / name).read_bytes())
    run = resumed(tmp_path)
    assert not run.finished
    run.go(quiet)
    found = learned(tmp_path)
    if missing == "progress.csv":
        found["rows"] = expected["rows"][:-1] + found["rows"]
    assert same(expected, found)
    assert resumed(tmp_path).finished


def test_rows_newer_than_the_checkpoint_are_dropped(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path / "run")
    with monkeypatch.context() as patch:
        interrupt_in(patch, 40)
        with pytest.raises(KeyboardInterrupt):
            run.go(quiet)
    rows = read_progress(tmp_path / "run")
    later = [row | {"seconds": 0.0} for row in expected["rows"] if row["steps"] > rows[-1]["steps"]]
    run.rows += later
    training_run.write_progress(tmp_path / "run", run.rows)
    again = resumed(tmp_path / "run")
    assert len(again.rows) in (len(rows), len(rows) + 1)
    again.go(quiet)
    assert same(expected, learned(tmp_path / "run"))


# Checkpoints: how often, and what when they fail.


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

    run = new_run(tmp_path / "run", Settings(1000 * ORDERS, 1))
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


def test_a_full_disk_leaves_the_old_checkpoint(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    run = new_run(directory)
    with monkeypatch.context() as patch:
        interrupt_in(patch, 30)
        with pytest.raises(KeyboardInterrupt):
            run.go(quiet)
    good = (directory / "checkpoint.npz").read_bytes()

    def full(path: Any, write: Any) -> None:
        raise storage.unwritable(Path(path), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    run = resumed(directory)
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(storage, "atomic_write", full)
        with pytest.raises(RunError, match=r"No space left on device.*Free some space"):
            run.go(quiet)
    assert (directory / "checkpoint.npz").read_bytes() == good
    resumed(directory).go(quiet)
    assert same(expected, learned(directory))


# Files of something else.


def copied(finished: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "copy"
    directory.mkdir()
    for name in os.listdir(finished):
        (directory / name).write_bytes((finished / name).read_bytes())
    return directory


def refused(directory: Path, *words: str) -> None:
    with pytest.raises(RunError) as error:
        resumed(directory)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_damaged_checkpoints(finished: Path, tmp_path: Path) -> None:
    directory = copied(finished, tmp_path)
    path = directory / "checkpoint.npz"
    content = path.read_bytes()
    for damaged in (
        b"",
        b"PK",
        content[:1000],
        content[:-1],
        content.replace(b"values", b"valves"),
    ):
        path.write_bytes(damaged)
        refused(directory, str(path), "train from the start with another --out")
    policy = (directory / "policy.npz").read_bytes()
    path.write_bytes(policy)
    refused(directory, str(path), "of another program or version")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"scenario": load_scenario("two-algos", SMALL | {"penalties.envelope": 4.0})},
        {"scenario": load_scenario("two-algos", SMALL | {"order.buckets": 5})},
        {"settings": replace(SETTINGS, episodes=61 * ORDERS)},
        {"settings": replace(SETTINGS, hyperparameters=Hyperparameters(double=True))},
        {"settings": replace(SETTINGS, hyperparameters=Hyperparameters(omega=0.9))},
    ],
)
def test_the_checkpoint_of_another_run(
    change: dict[str, Any], finished: Path, tmp_path: Path
) -> None:
    directory = copied(finished, tmp_path)
    arguments = {"scenario": SCENARIO, "seed": 0, "settings": SETTINGS} | change
    write_config(directory, config_of(**arguments))
    refused(directory, str(directory / "checkpoint.npz"), "does not fit this run's config.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"omega": 2.0}, ["omega = 2.0: must be"]),
        ({"omega": "fast"}, ["omega = fast: must be a number"]),
        ({"episodes": 1e9}, ["episodes = 1000000000.0"]),
        ({"momentum": 0.9}, ["momentum"]),
        ({"episodes": None}, ["episodes"]),
    ],
)
def test_hyperparameters_that_are_none(
    change: dict[str, Any], words: list[str], finished: Path, tmp_path: Path
) -> None:
    directory = copied(finished, tmp_path)
    config = read_config(directory)
    values = {**config.hyperparameters, **change}
    write_config(directory, replace(config, hyperparameters=values))
    refused(directory, "config.json", *words)


def test_hyperparameters_that_are_missing(finished: Path) -> None:
    config = read_config(finished)
    for name in ("episodes", "bins", "start"):
        values = {key: value for key, value in config.hyperparameters.items() if key != name}
        with pytest.raises(RunError, match=f"config.json: .*{name}"):
            settings_of(replace(config, hyperparameters=values))


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "episodes,steps\n1,2\n"])
def test_progress_of_something_else(text: str, finished: Path, tmp_path: Path) -> None:
    directory = copied(finished, tmp_path)
    (directory / "progress.csv").write_text(text)
    refused(directory, str(directory / "progress.csv"), "its columns must be", "Delete it")


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


def test_the_policy_comes_back_the_same(finished: Path, tmp_path: Path) -> None:
    run = resumed(finished)
    policy = run.training.policy()
    loaded = load_policy(str(finished))
    assert isinstance(loaded, QPolicy)
    full = observations(SCENARIO)
    assert np.array_equal(policy.decide(full), loaded.decide(full))
    assert np.array_equal(policy.predict(full)[0], loaded.predict(full)[0])
    assert np.array_equal(policy.space.states(full), loaded.space.states(full))
    assert np.array_equal(policy.values, loaded.values)
    assert loaded.name == "whole"
    assert loaded.run == read_config(finished)
    assert loaded.train_steps == run.training.steps == 60 * ORDERS * 4
    assert loaded.train_seconds == run.training.seconds > 0
    policy.save(tmp_path)
    kept = load_arrays(finished / "policy.npz", FILE)
    again = load_arrays(tmp_path / "policy.npz", FILE)
    assert all(np.array_equal(kept[name], again[name]) for name in kept)


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
    new_run(tmp_path / "run", Settings(8 * ORDERS, bins=1)).go(quiet)
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


def test_a_damaged_policy_is_made_from_the_checkpoint(
    finished: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    policy = tmp_path / "run" / "policy.npz"
    policy.write_bytes(policy.read_bytes()[:100])
    with pytest.raises(RunError, match=r"train\.py --resume --out "):
        load_policy(str(tmp_path / "run"))
    again = resumed(tmp_path / "run")
    assert not again.finished
    again.go(quiet)
    assert again.finished
    assert same(learned(tmp_path / "run"), expected)


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
    arrays = load_arrays(directory / "policy.npz", FILE)
    damage(what, arrays)
    save_arrays(directory / "policy.npz", **arrays)
    with pytest.raises(RunError) as error:
        load_policy(str(directory))
    message = str(error.value)
    assert message.startswith(f"{directory / 'policy.npz'}: ")
    assert "\n" not in message
    assert "train again" in message


def test_a_policy_that_is_not_there(finished: Path, tmp_path: Path) -> None:
    directory = copied(finished, tmp_path)
    (directory / "policy.npz").unlink()
    with pytest.raises(RunError, match="there is no such file"):
        load_policy(str(directory))
    (directory / "policy.npz").write_bytes((finished / "policy.npz").read_bytes()[:500])
    with pytest.raises(RunError, match="damaged"):
        load_policy(str(directory))


def test_a_table_that_diverged_is_not_written(tmp_path: Path) -> None:
    space = StateSpace(1, 1, 2, np.ones(2, np.int64), np.empty((1, 2, 0), np.float32))
    values = np.full((2, 15), math.nan, np.float32)
    policy = QPolicy(SCENARIO, space, values, np.zeros(2, np.int32))
    with pytest.raises(RunError, match="diverged"):
        policy.save(tmp_path)
    assert not (tmp_path / "policy.npz").exists()
