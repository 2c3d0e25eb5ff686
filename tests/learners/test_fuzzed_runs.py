"""Damaged policies and checkpoints: refused in one line, or read and used without harm."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.learners import LEARNERS, Q_LEARNING
from agents.policy import load_policy
from agents.q_learning import run as q_run
from agents.storage.files import RunError, save_arrays
from execution_env import OrderAllocationEnv
from tests.fuzzing import damaged, damaged_arrays, read_damaged
from tests.learners.faster import faster
from tests.learners.small_runs import SmallRun, arrays_in, quiet, refused, small_run


@pytest.fixture(scope="module", params=LEARNERS)
def learner(request: pytest.FixtureRequest) -> SmallRun:
    return small_run(request.param)


@pytest.fixture
def run(learner: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that stopped in its middle, and made a policy there."""
    faster(learner.constants, monkeypatch.setattr)
    learner.interrupted(tmp_path / "run", learner.stops[-3], monkeypatch)
    learner.resumed(tmp_path / "run").training.policy().save(tmp_path / "run")
    return tmp_path / "run"


def checksummed(content: bytes, draw: np.random.Generator) -> bytes:
    """Damage arrays by hand, and give them the right checksum."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file if name != "checksum"}
    path = Path("made-by-hand.npz")
    try:
        with np.errstate(all="ignore"):
            save_arrays(path, **damaged_arrays(arrays, draw))
    except RunError:  # not finite, so that we would not write it
        return content[:-1]
    return path.read_bytes()


def fuzz(learner: SmallRun, run: Path, number: int) -> None:
    def play(path: Path) -> None:
        policy = load_policy(path.parent)
        env = OrderAllocationEnv(policy.scenario, observation="full")
        observation, over = env.reset(seed=0)[0], False
        while not over:
            observation, _, over, _, _ = env.step(int(policy.predict(observation)[0]))

    def go_on(path: Path) -> None:
        training = learner.resumed(path.parent).training
        training.advance(3)
        training.policy()

    for file, read in (("policy.npz", play), ("checkpoint.npz", go_on)):
        read(run / file)
        for damage in (damaged, checksummed):
            found = read_damaged(run / file, read, RunError, number, damage=damage)
            assert found >= number / 2


def test_damaged_runs(
    learner: SmallRun, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz(learner, run, 40)


@pytest.mark.slow
def test_many_damaged_runs(
    learner: SmallRun, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz(learner, run, 500)


# Checkpoints that a program, not a fault of a disk, has made: each once wrote outside of arrays, or was
# believed.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"values": lambda values: values[:, :8]}, "visits has shape"),
        (
            {"values": lambda values: values[:, :8], "visits": lambda v: v[:, :8]},
            "values of 8 states",
        ),
        ({"values": lambda values: values[..., :-1]}, "values has shape"),
        ({"bins": lambda bins: bins * 1000}, "bins has"),
        ({"bins": lambda bins: bins + 1}, "its edges have shape"),
        ({"final_bins": lambda bins: bins * 0 + 64}, "bins = "),
        ({"edges": lambda edges: edges[:, :, ::-1].copy()}, "its edges do not ascend"),
        (
            {"visits": lambda visits: np.full_like(visits, 2**31 - 1)},
            "visits = 2,147,483,647: at most",
        ),
        ({"visits": lambda visits: visits - 1}, "visits has -1, must be at least 0"),
        ({"blocks": lambda _: np.int64(2**62)}, "blocks = 4611686018427387904: the training has"),
        ({"blocks": lambda _: np.int64(-1)}, "blocks has -1, must be at least 0"),
        ({"stage": lambda _: np.int64(-1)}, "stage has -1, must be from 0 to 3"),
        ({"stage": lambda stage: stage - 1}, "stage = "),
        ({"seconds": lambda _: np.float64(-1.0)}, "seconds has -1, must be at least 0"),
        ({"days": lambda position: position[:2]}, "days has shape (2,), not (4,)"),
        ({"values": lambda values: values.astype(np.float64)}, "values is float64, not float32"),
    ],
)
@pytest.mark.parametrize("learner", [Q_LEARNING], indirect=True)
def test_checkpoints_made_by_hand(
    changes: dict[str, Any], words: str, learner: SmallRun, run: Path
) -> None:
    path = run / "checkpoint.npz"
    arrays = arrays_in(path)
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    save_arrays(path, **arrays)
    refused(learner.resumed, run, str(path), words, "train from the start with another --out")


@pytest.mark.parametrize("learner", [Q_LEARNING], indirect=True)
def test_more_bins_than_a_table_may_have(
    learner: SmallRun, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.q_learning.stages.MOST_TABLE_BYTES", 1000)
    refused(learner.resumed, run, "final_bins", "more than the settings allow")


@pytest.mark.parametrize(
    "learner", [name for name in LEARNERS if name != Q_LEARNING], indirect=True
)
def test_networks_made_by_hand(learner: SmallRun, run: Path) -> None:
    path = run / "checkpoint.npz"
    arrays = arrays_in(path)
    for changes, words in (
        ({"blocks": np.int64(2**62)}, "blocks = 4611686018427387904: the training has"),
        ({"adam_steps": np.int64(2**40)}, "adam_steps = 1,099,511,627,776: there were"),
        ({"adam_squares": -arrays["adam_squares"] - 1}, "adam_squares has -"),
        ({"best_row": np.zeros(3)}, "best_row has 3 numbers, not"),
    ):
        save_arrays(path, **arrays | changes)
        refused(learner.resumed, run, str(path), words)


def test_the_last_block_of_the_longest_training_fits_32_bits() -> None:
    blocks = q_run.Settings(q_run.MOST_EPISODES).blocks(small_run(Q_LEARNING).scenario)
    assert blocks * q_run.ORDERS + 1 <= 2**31 - 1


def test_an_intact_run_goes_on(learner: SmallRun, run: Path) -> None:
    learner.resumed(run).go(quiet)
    load_policy(run)
