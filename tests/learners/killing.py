"""Trainings that are killed at chosen operations and resumed: ``python -m tests.learners.killing``.

A process that has imported and compiled everything forks a child per training. The child counts its
operations: the calls of our functions, and the calls that our functions make of others, such as
``os.fsync`` or ``os.replace``. At the chosen one it sends itself SIGKILL. A new child resumes the
run by the same command with ``--resume``, until one gets to the end.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import train
from agents.learners import PPO, Q_LEARNING
from agents.storage.run_directory import FILES, TENSORBOARD
from agents.training import run as training_run
from execution_env.core import atomic
from tests.learners.faster import faster
from tests.learners.small_runs import SmallRun, quiet, same, sized, small_run

ROOT = str(Path(__file__).parents[2])
OURS = tuple(os.path.join(ROOT, package) for package in ("agents", "execution_env"))

LENGTHS = {
    Q_LEARNING: "--bins 4 --episodes 40960",
    PPO: "--n-envs 16 --minibatches 2 --n-epochs 1 --width 8 --timesteps 512",
}
"""Options of each learner's training."""

FASTER = {"VALIDATION_DAYS": 16, "CURVE_POINTS": 4, "MEASURED_BLOCKS": 2}
OFTEN = {"CHECKPOINT_SECONDS": 0.0, "CHECKPOINT_SHARE": 1e9}
"""Constants for a checkpoint after every moment at which there can be one."""


class Operations:
    """Counter of operations, as a profiler of Python, that kills its process at one of them.

    Args:
        fatal: number of the operation at which to kill, from 1; 0 for none.
        writing: whether only operations of writing files count.
    """

    def __init__(self, fatal: int, writing: bool) -> None:
        self.done, self._fatal = 0, fatal
        self._places = (atomic.__file__,) if writing else OURS
        self._counts: dict[CodeType, bool] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "c_call"):
            return
        code = frame.f_code
        counts = self._counts.get(code)
        if counts is None:
            counts = self._counts[code] = code.co_filename.startswith(self._places)
        if counts:
            self.done += 1
            if self.done == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)


class Killings:
    """Trainings of a learner, each killed again and again.

    Attributes:
        kills: number of kills so far, by what they hit: any operation, a write, or a moment.
        runs: number of runs that were killed at least once and reached the end.
    """

    def __init__(self, kind: str, folder: Path, seed: int) -> None:
        self._kind, self._folder = kind, folder
        self._random = random.Random(seed)
        self._learner: SmallRun = small_run(kind)
        self._words = [kind, *sized(self._learner.sizes), *LENGTHS[kind].split()]
        self.kills = dict.fromkeys(("operation", "write", "moment"), 0)
        self.runs = 0
        # Import and compile everything here, once; without TensorBoard, whose thread nobody may fork.
        warm = self._learner.new_run(folder / "warm", self._learner.short)
        warm.go(quiet)
        since = time.perf_counter()
        operations = [
            self._counted(folder / f"whole-{writing}", writing) for writing in (False, True)
        ]
        self._seconds = (time.perf_counter() - since) / 2
        self._operations = dict(zip((False, True), operations, strict=True))
        self._right = self._learner.learned(folder / "whole-False")
        assert same(self._right, self._learner.learned(folder / "whole-True"))

    def go(self, kills: int) -> None:
        """Kill and resume until there were so many kills, each run to its end.

        Raises:
            AssertionError: a run ended with another result, or left a file that is not its own.
        """
        while sum(self.kills.values()) < kills:
            directory = self._folder / f"killed-{self.runs}"
            while self._killed(directory):
                pass
            assert same(self._right, self._learner.learned(directory)), directory
            left = set(os.listdir(directory)) - {*FILES, TENSORBOARD}
            assert not left, (directory, left)
            self.runs += 1

    def _killed(self, directory: Path) -> bool:
        """Start or resume a run and kill it; return False if it came to its end before."""
        way = self._random.choice(("operation", "write", "write", "moment"))
        if way == "moment":
            child = self._started(directory, 0, False)
            time.sleep(self._random.uniform(0, self._seconds / 2))
            os.kill(child, signal.SIGKILL)
        else:
            writing = way == "write"
            # A third of a whole run's operations at most, so that most runs are killed repeatedly.
            fatal = self._random.randint(1, self._operations[writing] // 3)
            child = self._started(directory, fatal, writing)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL), (directory, code)
        if code:
            self.kills[way] += 1
        return code != 0

    def _counted(self, directory: Path, writing: bool) -> int:
        """Train without a kill; return the number of operations."""
        count = directory.with_suffix(".count")
        child = self._started(directory, 0, writing, count)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return int(count.read_text())

    def _started(
        self, directory: Path, fatal: int, writing: bool, count: Path | None = None
    ) -> int:
        """Fork a child that trains or resumes; return its process."""
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            operations = Operations(fatal, writing)
            if fatal or count:
                sys.setprofile(operations)
            code = train.main([*self._words, "--resume", "--out", str(directory)])
            sys.setprofile(None)
            if count:
                count.write_text(str(operations.done))
        finally:
            os._exit(code)


def main(arguments: Sequence[str]) -> None:
    """Kill trainings of a learner; print how often, as JSON.

    Args:
        arguments: learner, folder, seed, number of kills.
    """
    kind, folder, seed, kills = arguments
    os.dup2(os.open(Path(folder) / "said.txt", os.O_WRONLY | os.O_CREAT), 2)
    faster(FASTER | OFTEN)
    training_run.learning_curve = lambda *_: b"picture"  # drawing would be most of the time
    killings = Killings(kind, Path(folder), int(seed))
    killings.go(int(kills))
    print(json.dumps(killings.kills | {"runs": killings.runs}))


if __name__ == "__main__":
    main(sys.argv[1:])
