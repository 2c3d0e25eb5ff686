"""What tests of sweeps share: short runs, and what of a run directory must not depend on who did it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from agents.ppo import settings as ppo_settings
from agents.q_learning import run as q_run
from agents.storage.run_directory import CONFIG, POLICY_FILE, read_progress
from agents.sweep import Job
from execution_env import load_scenario

SCENARIO = load_scenario(
    "two-algos", {"order.size": 3000, "order.buckets": 3, "volume.total": 9000}
)

BLOCKS = 12


def q_jobs(folder: Path, seeds: int, blocks: int = BLOCKS) -> list[Job]:
    """Trainings of the Q-learner, below a second each, that differ in their seed."""
    settings = q_run.Settings(blocks * q_run.ORDERS, bins=3)
    return [
        Job(folder / f"seed{seed}", q_run.config_of(SCENARIO, seed, settings))
        for seed in range(seeds)
    ]


def ppo_jobs(folder: Path, seeds: int) -> list[Job]:
    """Trainings of PPO that differ in their seed."""
    settings = ppo_settings.Settings(20_000)
    return [
        Job(folder / f"ppo{seed}", ppo_settings.config_of(SCENARIO, seed, settings))
        for seed in range(seeds)
    ]


class Killer:
    """Told how far runs are, it kills a worker as soon as two of them have begun, once.

    Args:
        jobs: the runs.
        find: gives the process of a worker; None where it sees none.
    """

    def __init__(self, jobs: Sequence[Job], find: Callable[[], int | None]) -> None:
        self.jobs, self.find = jobs, find
        self.killed: int | None = None

    def __call__(self, steps: Sequence[int]) -> None:
        begun = sum((job.directory / CONFIG).exists() for job in self.jobs)
        if begun >= 2 and self.killed is None:
            self.killed = self.find()
            if self.killed is not None:
                os.kill(self.killed, signal.SIGKILL)


def assert_same(one: Path, other: Path) -> None:
    """That two runs learned the same to the bit, and measured the same on the way."""
    first, second = (_arrays(directory) for directory in (one, other))
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    rows, others = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
        for rows in (read_progress(one), read_progress(other))
    )
    assert rows == others
    assert len(rows) > 2


def _arrays(directory: Path) -> dict[str, np.ndarray]:
    with np.load(directory / POLICY_FILE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name not in ("seconds", "checksum")}


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    """When every file was written, and what it holds."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
