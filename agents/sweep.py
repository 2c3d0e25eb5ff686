"""Many training runs at once, on the cores of this machine or on a Ray cluster, by joblib.

A run's result depends on its settings and its seed alone. So the engine and the number of workers
change only the time. A run is stored in its run directory and resumes from there, bit for bit. If a
worker is killed, only its work since the last checkpoint is lost. A finished run is not repeated.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

from agents.learners import LEARNERS
from agents.storage.files import RunError
from agents.storage.run_directory import (
    LEARNING_CURVE,
    RunConfig,
    existing_config,
    new_run_directory,
    read_progress,
)
from agents.training.interrupts import interrupts_wait
from agents.training.run import Run, differences, draw
from agents.training.training import Row, RunSettings
from execution_env import __file__ as execution_env_file
from execution_env.core.command import USER_ERRORS, flat
from execution_env.core.validation import choice

FUTILE = 3
"""Number of worker deaths in a row, without progress of any run, after which the sweep fails."""

LOOK_SECONDS = 1.0
"""Seconds between two readings of the runs' progress."""

CODE = [str(Path(__file__).parent), str(Path(execution_env_file).parent)]
"""Folders of the packages that workers on other machines need, so that all run the same code."""

Note = Callable[[str], object]
"""Function that is called with a line that a person should see."""


class Job(NamedTuple):
    """A run to be done.

    Attributes:
        directory: run directory, absolute, on storage that every worker reaches.
        config: configuration of the run.
    """

    directory: Path
    config: RunConfig

    @property
    def steps(self) -> int:
        """Number of steps of the whole training."""
        config = self.config
        settings: RunSettings = LEARNERS[config.kind].settings(config)
        return settings.steps(config.scenario)

    @property
    def steps_done(self) -> int:
        """Number of steps done, as far as the run directory shows."""
        try:
            rows = read_progress(self.directory)
            return min(int(rows[-1]["steps"]), self.steps) if rows else 0
        except (RunError, KeyError, ValueError, OverflowError):
            return 0  # whoever does the run will say what is wrong


class Outcome(NamedTuple):
    """Result of a run.

    Attributes:
        row: row of ``progress.csv`` for the policy that the run ended with; None where it failed.
        seconds: training time.
        error: error message in one line; empty where there was none.
    """

    row: Row | None
    seconds: float
    error: str


def check(job: Job) -> RunConfig:
    """Check that the directory is empty or holds this very run; return the run's configuration.

    The stored configuration is returned where there is one.

    Raises:
        RunError: the directory holds another run, or one that cannot be read.
    """
    stored = existing_config(job.directory)
    if stored is None:
        return job.config
    if stored.kind != job.config.kind:
        raise RunError(f"{job.directory}: holds a run of {stored.kind}. Choose another --out.")
    for key, value in differences(job.config, stored).items():
        raise RunError(
            f"{job.directory}: holds a run with {key.replace('_', '-')} = {value}. Choose another "
            "--out, or ask for the same; runs that are there already are not repeated."
        )
    return stored


STOPPED = "stopped"
"""Error of a run that was asked to stop."""

PARENT = os.getppid()
"""Id of the process that started this one."""


class Stop(NamedTuple):
    """Request to stop, which workers poll, because signals do not reach Ray's workers.

    Attributes:
        flag: file that exists once a stop was asked for.
        driver: id of the process that started the round.
    """

    flag: Path
    driver: int

    def ask(self) -> None:
        """Ask the workers to stop."""
        with contextlib.suppress(OSError):  # a full disk must not keep Ctrl-C from working
            self.flag.touch()

    def asked(self) -> bool:
        """Return whether to stop: the flag exists, or the driver is gone."""
        orphan = PARENT == self.driver != os.getppid()
        return orphan or self.flag.exists()


def train(job: Job, stop: Stop) -> Outcome:
    """Do the rest of a run, or as much of it as is done before ``stop`` is asked for.

    An error that a user can cause, such as a full disk, is returned as an outcome, so that other
    runs go on.
    """
    try:
        with _only_asked(stop):
            return _train(job, stop)
    except KeyboardInterrupt:
        return Outcome(None, 0.0, STOPPED)
    except USER_ERRORS as error:
        return Outcome(None, 0.0, flat(error))


@contextmanager
def _only_asked(stop: Stop) -> Iterator[None]:
    """A block that Ctrl-C and SIGTERM do not stop in a worker: the driver gets them too, and asks."""
    if os.getpid() == stop.driver or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)  # an idle worker may be ended


def _train(job: Job, stop: Stop) -> Outcome:
    if stop.asked():
        return Outcome(None, 0.0, STOPPED)
    config = check(job)
    directory = new_run_directory(job.directory, resume=True)
    training = LEARNERS[config.kind].training(config, directory)
    run = Run(directory, config, training, resume=True)
    finished = run.finished
    if not finished:
        run.go(lambda *_: None, stop.asked)
    if not (finished and (directory / LEARNING_CURVE).exists()):
        draw(run)
    return Outcome(training.result(run.rows), training.seconds, "")


def train_all(
    jobs: Sequence[Job],
    processes: int | None = None,
    engine: str = "local",
    report: Callable[[Sequence[int]], object] = lambda _: None,
    note: Note = lambda _: None,
) -> list[Outcome]:
    """Do the rest of all runs; return their outcomes, in the order of ``jobs``.

    Args:
        jobs: the runs; no two in one directory.
        processes: runs at a time; None for as many as this machine, or the cluster, has cores.
        engine: "local", or "ray": a cluster that runs already, or else one on this machine.
        report: called now and then with the steps that each run has done.
        note: called with a line on each request to Ray and each failure that was recovered from.

    Raises:
        ImportError: Ray is not installed.
        KeyboardInterrupt: after Ctrl-C, when all runs are saved; after a second one, at once. As
            ``Terminated`` after SIGTERM.
        RunError: workers die repeatedly before any run makes progress; a run that was finished on
            another machine cannot be seen here.
        ConnectionError: there is no Ray cluster at RAY_ADDRESS.
        ValueError: there is no such engine; there are fewer cores than processes in the cluster.
    """
    futile = 0
    engines = {"local": _local, "ray": _ray}
    with (
        engines[choice("engine", engine, list(engines))](processes, note) as workers,
        _watched(jobs, report),
    ):
        while True:
            before = [job.steps_done for job in jobs]
            try:
                outcomes = _round(jobs, workers)
                break
            except WorkerDiedError as death:
                further = [job.steps_done for job in jobs] != before
                futile = 0 if further else futile + 1
                if futile == FUTILE:
                    raise RunError(
                        f"workers died {FUTILE} times before any run got further ({death}). If the "
                        "memory is too small for so many at a time, give a smaller --jobs. What was "
                        "done is kept, and the same command goes on."
                    ) from death
                note(f"a worker died ({death}); going on from the last checkpoints")
    for job, outcome in zip(jobs, outcomes, strict=True):
        if not outcome.error and job.steps_done < job.steps:
            raise RunError(
                f"{job.directory}: the run is finished, but not to be seen on this machine. With "
                "--engine ray, --out must be on storage that all machines of the cluster share."
            )
    return outcomes


class WorkerDiedError(Exception):
    """Death of a worker, which ends its round; the message is the name of joblib's error."""


class Workers(NamedTuple):
    """The workers that do the runs.

    Attributes:
        processes: largest number of workers.
        backend: arguments of ``joblib.parallel_config``: the backend and its options.
        death: error that joblib raises when a worker dies.
    """

    processes: int
    backend: Mapping[str, Any]
    death: type[Exception]


def _round(jobs: Sequence[Job], workers: Workers) -> list[Outcome]:
    """Do the rest of all runs, unless a worker dies or Ctrl-C comes; return their outcomes."""
    folder = jobs[0].directory.parent
    with contextlib.suppress(OSError):  # each run will say what is wrong
        folder.mkdir(parents=True, exist_ok=True)
    stop = Stop(folder / f".stop-{secrets.token_hex(4)}", os.getpid())
    with parallel_config(**workers.backend), interrupts_wait(stop.ask) as interrupted:
        # Each free worker gets the next run. Ray's pool hands runs out in turn instead. Neighbours
        # differ in their seed only and go to different workers, so the load is about even.
        parallel = Parallel(min(workers.processes, len(jobs)), pre_dispatch="all", batch_size=1)
        try:
            outcomes: list[Outcome] = parallel(delayed(train)(job, stop) for job in jobs)
        except workers.death as death:
            asked = interrupted()
            if asked:
                raise asked from None
            raise WorkerDiedError(type(death).__name__) from death
        finally:
            stop.flag.unlink(missing_ok=True)
        asked = interrupted()
        if asked:
            raise asked
    return outcomes


@contextmanager
def _local(processes: int | None, note: Note) -> Iterator[Workers]:
    """Yield workers on this machine."""
    try:
        yield Workers(processes or cpu_count(), {"backend": "loky"}, BrokenProcessPool)
    finally:
        # Else they idle for minutes, and a process that ends earlier waits for each to close down.
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)


@contextmanager
def _ray(processes: int | None, note: Note) -> Iterator[Workers]:
    """Yield workers on a Ray cluster."""
    try:
        import ray  # noqa: PLC0415  an extra
        from ray.exceptions import RayError  # noqa: PLC0415
        from ray.util.joblib import register_ray  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            f'--engine ray needs Ray ({flat(error)}): pip install "ray[default]".'
        ) from error
    ours = not ray.is_initialized()
    if ours:
        handler = signal.getsignal(signal.SIGTERM)
        _connect(ray, processes, note)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # that of Ray ends before anything is saved
    register_ray()
    backend = {"backend": "ray", "ray_remote_args": {"scheduling_strategy": "SPREAD"}}
    try:
        cores = int(ray.cluster_resources().get("CPU", 0))
        if (processes or cores) <= 1:
            note("one run at a time: it is this process that does them, not Ray")
        yield Workers(processes or max(cores, 1), backend, RayError)
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, processes: int | None, note: Note) -> None:
    """Connect to the cluster at RAY_ADDRESS, else the one of this machine, else start a new one."""
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    named = os.environ.get("RAY_ADDRESS")
    if named:  # Ray tries for minutes
        note(f"joining the Ray cluster at RAY_ADDRESS = {named}")
    try:
        ray.init(address=named or "auto", runtime_env={"py_modules": CODE}, **quiet)
    except ConnectionError as error:
        if named:
            raise ConnectionError(
                f"RAY_ADDRESS = {named}: no Ray cluster answers there ({flat(error)}). Unset it "
                "to join the one that this machine is part of, or to start one here."
            ) from error
        note(f"starting Ray on this machine: there is no cluster to join ({flat(error)})")
        cores = processes or cpu_count()
        ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)


@contextmanager
def _watched(jobs: Sequence[Job], report: Callable[[Sequence[int]], object]) -> Iterator[None]:
    """Call ``report`` with the steps that each run has done, every second until the block ends."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            report([job.steps_done for job in jobs])

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        report([job.steps_done for job in jobs])
