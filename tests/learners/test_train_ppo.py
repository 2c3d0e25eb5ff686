"""PPO in train.py: its options, its log for TensorBoard, and that mistakes are one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.logger import TensorBoardOutputFormat
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from agents.learners import PPO
from agents.policy import load_policy
from agents.ppo.policy import PPOPolicy
from agents.ppo.settings import Hyperparameters
from agents.storage.run_directory import read_config, read_progress
from agents.training import run as training_run
from execution_env import load_scenario
from execution_env.sb3 import OrderAllocationVecEnv
from tests.learners.commands import complaint
from tests.learners.faster import faster
from tests.learners.small_runs import small_run

ROOT = Path(__file__).parents[2]
FEW = {"order.size": 1500, "order.buckets": 4, "volume.total": 10000}
SMALL = ["--set", *(f"{key}={value}" for key, value in FEW.items())]
TINY = ["--n-envs", "16", "--minibatches", "2", "--n-epochs", "1", "--width", "8"]
SHORT = ["ppo", "--scenario", "two-algos", *SMALL, *TINY, "--timesteps", str(8 * 64)]


@pytest.fixture(scope="module", autouse=True)
def _faster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        faster({"VALIDATION_DAYS": 16, "CURVE_POINTS": 4}, patch.setattr)
        # Drawing a curve takes longer than these trainings, and no test here looks at one.
        patch.setattr(training_run, "learning_curve", lambda *_: b"")
        yield


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be written to the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trained") / "run"
    assert train.main([*SHORT, "--seed", "3", "--out", str(directory)]) == 0
    return directory


def events(directory: Path | str) -> EventAccumulator:
    """What TensorBoard reads."""
    accumulator = EventAccumulator(str(Path(directory) / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_tensorboard_reads_the_log(finished: Path) -> None:
    assert len(os.listdir(finished / "tensorboard")) == 1
    found = events(finished)
    assert set(found.Tags()["scalars"]) >= {
        "validation/objective",
        "rollout/ep_rew_mean",
        "train/entropy_loss",
        "train/approx_kl",
        "train/value_loss",
        "train/explained_variance",
        "train/learning_rate",
    }
    rows = read_progress(finished)
    validation = found.Scalars("validation/objective")
    assert [event.step for event in validation] == [row["steps"] for row in rows]
    means = [row["objective_mean"] for row in rows]
    assert [event.value for event in validation] == pytest.approx(means, rel=1e-6)
    returns = found.Scalars("rollout/ep_rew_mean")
    assert [event.step for event in returns] == [64 * j for j in range(1, 9)]
    assert all(-30 < event.value < 0 for event in returns)
    rates = [event.value for event in found.Scalars("train/learning_rate")]
    start = Hyperparameters.learning_rate
    assert rates == pytest.approx([start * (1 - j / 8) for j in range(8)])


def test_returns_are_logged_in_half_spreads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though networks learn from other units."""
    original, rewards = OrderAllocationVecEnv.step_wait, []

    def step_wait(self: OrderAllocationVecEnv) -> Any:
        report = original(self)
        rewards.append(report[1])
        return report

    monkeypatch.setattr(OrderAllocationVecEnv, "step_wait", step_wait)
    assert train.main([*SHORT[:-1], "64", "--out", "run"]) == 0
    (event,) = events("run").Scalars("rollout/ep_rew_mean")
    assert event.value == pytest.approx(np.sum(rewards) / 16, rel=1e-5)


def test_options_arrive(finished: Path) -> None:
    numbers: dict[str, Any] = {
        "learning_rate": 0.01,
        "n_envs": 12,
        "minibatches": 3,
        "n_epochs": 2,
        "gae_lambda": 0.9,
        "gamma": 0.99,
        "clip_range": 0.1,
        "ent_coef": 0.01,
        "vf_coef": 0.4,
        "max_grad_norm": 0.6,
        "width": 5,
        "layers": 1,
    }
    assert set(numbers) == {field.name for field in fields(Hyperparameters)}
    numbers["timesteps"] = 90
    words = [
        word for name in numbers for word in (f"--{name.replace('_', '-')}", str(numbers[name]))
    ]
    words += ["--masked", "--observation", "full", "--seed", "7", "--out", "a"]
    assert train.main(["ppo", "--scenario", "two-algos", *SMALL, *words]) == 0
    config = read_config("a")
    assert config.kind == "ppo"
    assert config.seed == 7
    assert config.hyperparameters == {**numbers, "masked": True, "observation": "full"}
    assert config.scenario == load_scenario("two-algos", FEW)
    policy = load_policy("a")
    assert isinstance(policy, PPOPolicy)
    assert (policy.masked, policy.sees, len(policy.layers)) == (True, "full", 2)
    assert policy.train_steps == 96  # whole batches of 48
    plain = read_config(finished).hyperparameters
    assert (plain["masked"], plain["observation"]) == (False, "default")


@pytest.mark.parametrize("observation", ["minimal", "full"])
@pytest.mark.parametrize("masked", [[], ["--masked"]])
def test_observations_and_masks(observation: str, masked: list[str]) -> None:
    options = ["--observation", observation, *masked, "--out", "run", "--timesteps", "1"]
    assert train.main([*SHORT[:-2], *options]) == 0
    policy = load_policy("run")
    assert policy.observation == ("full" if masked else observation)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.main(["ppo", "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", shown).split())
    names = [field.name.replace("_", "-") for field in fields(Hyperparameters)]
    for name in ("scenario", "set", "seed", "out", "resume", "timesteps", "observation", *names):
        assert f"--{name} " in text
    assert "--masked" in text
    for words in (
        "Stable-Baselines3's PPO",
        "Leave out actions that post the same lots as an earlier one (MaskablePPO).",
        "Neurons in a hidden layer.",
        "0 for as many as suit the timesteps",
        "tensorboard --logdir runs",
    ):
        assert words in text
    assert "\n  python train.py ppo --resume --out runs/masked\n" in shown
    with pytest.raises(SystemExit):
        train.main(["--help"])
    assert "python train.py ppo --help" in capsys.readouterr().out


def test_the_log_goes_on_after_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        small_run(PPO).interrupt_in(patch, 5)
        assert train.main([*SHORT, "--seed", "3", "--out", "run"]) == 130
    assert train.main(["ppo", "--resume", "--out", "run"]) == 0
    steps = [event.step for event in events("run").Scalars("rollout/ep_rew_mean")]
    assert steps == [64 * j for j in range(1, 9)]


# Mistakes.


def test_a_disk_that_is_full_for_tensorboard(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TensorBoardOutputFormat.write

    def write(self: Any, values: Any, excluded: Any, step: int = 0) -> None:
        if step == full_from:
            raise OSError(28, "No space left on device")
        original(self, values, excluded, step)

    for full_from in (0, 64):  # while a validation is noted, and a batch
        with monkeypatch.context() as patch:
            patch.setattr(TensorBoardOutputFormat, "write", write)
            line = complaint(capsys, *SHORT[:-1], "192", "--out", f"run{full_from}")
        folder = f"run{full_from}/tensorboard"
        assert line.startswith(f"error: {folder}: cannot be written (No space left on device)")
        assert "Free some space" in line
        assert train.main(["ppo", "--resume", "--out", f"run{full_from}"]) == 0


def test_a_training_that_diverges_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    wild = ["--learning-rate", "1e9", "--max-grad-norm", "1e9", "--out", "run"]
    line = complaint(capsys, *SHORT, *wild)
    assert "training has diverged in batch" in line
    assert isinstance(load_policy("run"), PPOPolicy)  # the one before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--timesteps", "0"], ["--timesteps: 0 must be a whole number of at least 1"]),
        (["--timesteps", "9" * 20], ["timesteps = 99", "from 1 to 1,000,000,000,000"]),
        (["--observation", "all"], ["--observation", "all"]),
        (["--masked", "yes"], ["yes"]),
        (["--minibatches", "3"], ["minibatches = 3: must divide n_envs = 4096"]),
        (["--n-envs", "-1"], ["n_envs = -1: must be a whole number from 0 to 1048576"]),
        (["--n-envs", "10", "--minibatches", "4"], ["minibatches = 4: must divide n_envs = 10"]),
        (["--minibatches", "-1"], ["minibatches = -1: must be"]),
        (["--n-epochs", "0"], ["n_epochs = 0: must be a whole number from 1 to 1000"]),
        (["--n-epochs", "1.5"], ["--n-epochs", "1.5"]),
        (["--width", "0"], ["width = 0: must be a whole number from 1 to 4096"]),
        (["--width", "4097"], ["width = 4097: must be"]),
        (["--layers", "-1"], ["layers = -1: must be a whole number from 0 to 15"]),
        (["--layers", "16"], ["layers = 16: must be"]),
        (["--learning-rate", "0"], ["learning_rate = 0.0: must be a number in (0, 1e+09]"]),
        (["--learning-rate", "nan"], ["learning_rate = nan: must be"]),
        (["--learning-rate", "1e300"], ["learning_rate = 1e+300: must be"]),
        (["--learning-rate", "fast"], ["--learning-rate", "fast"]),
        (["--gae-lambda", "1.1"], ["gae_lambda = 1.1: must be a number in [0, 1]"]),
        (["--gae-lambda", "-0.1"], ["gae_lambda = -0.1: must be"]),
        (["--gamma", "2"], ["gamma = 2.0: must be a number in [0, 1]"]),
        (["--clip-range", "0"], ["clip_range = 0.0: must be a number in (0, 1e+09]"]),
        (["--ent-coef", "-1"], ["ent_coef = -1.0: must be a number in [0, 1e+09]"]),
        (["--ent-coef", "inf"], ["ent_coef = inf: must be"]),
        (["--vf-coef", "-1"], ["vf_coef = -1.0: must be"]),
        (["--max-grad-norm", "0"], ["max_grad_norm = 0.0: must be"]),
        (["--episodes", "10"], ["--episodes"]),
        (
            ["--set", "order.buckets=1", "--n-envs", "4", "--minibatches", "4"],
            ["minibatches = 4: leaves one step a minibatch; give more n_envs than 4"],
        ),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint(capsys, "ppo", *arguments)
    for word in words:
        assert word in line, line
    assert os.listdir() == []


@pytest.mark.slow
def test_q_learning_does_not_import_torch() -> None:
    code = """
import sys
import train
assert train.main(["--scenario", "known-rates", "--episodes", "1", "--out", "run"]) == 0
print([name for name in ("torch", "stable_baselines3", "tensorboard") if name in sys.modules])
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1] == "[]"
