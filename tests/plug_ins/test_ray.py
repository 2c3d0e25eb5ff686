"""Sweeps on Ray: a real cluster of two workers on this machine, one of them killed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agents import sweep
from agents.policy import load_policy
from agents.storage.run_directory import CHECKPOINT, CONFIG
from agents.sweep import Job, train_all
from tests.learners.sweeps import Killer, assert_same, contents, ppo_jobs, q_jobs

ROOT = Path(__file__).parents[2]

# Ray leaves processes and sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def jobs_in(folder: Path) -> list[Job]:
    """Six runs, of both learners."""
    return [*q_jobs(folder, 4), *ppo_jobs(folder, 2)]


def a_worker() -> int | None:
    """The process of one that is busy."""
    for process in psutil.Process().children(recursive=True):
        if "PoolActor.run_batch" in " ".join(process.cmdline()):
            return process.pid
    return None


def test_a_worker_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LOOK_SECONDS", 0.05)
    alone, together = jobs_in(tmp_path / "alone"), jobs_in(tmp_path / "together")
    train_all(alone, processes=1)
    killer, notes = Killer(together, a_worker), list[str]()
    outcomes = train_all(together, 2, "ray", report=killer, note=notes.append)
    assert killer.killed
    assert sum("a worker died" in note for note in notes) == 1, notes
    assert [outcome.error for outcome in outcomes] == [""] * 6
    for one, other in zip(alone, together, strict=True):
        assert_same(one.directory, other.directory)

    before = contents(tmp_path / "together")
    again = train_all(together, 2, "ray")
    assert [outcome.row for outcome in again] == [outcome.row for outcome in outcomes]
    assert contents(tmp_path / "together") == before


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment variables of a machine of a Ray cluster that runs already."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A folder of its own, of a short name because sockets lie in it: Ray notes there which cluster this
    # machine is part of, and would look for it ever after.
    own = tempfile.mkdtemp(prefix="ray")
    variables = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": own}
    ray = str(Path(sys.executable).with_name("ray"))
    options = ["--head", "--block", "--num-cpus=2", f"--port={port}", "--include-dashboard=false"]
    log = tmp_path / "ray.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [ray, "start", *options], env=variables, stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + 60
        while b"Ray runtime started" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield variables | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()  # with --block Ray takes its own down, and no others
        process.wait(30)
        _, left = psutil.wait_procs(children, 30)
        shutil.rmtree(own, ignore_errors=True)
        assert not left


def test_the_command_line_on_a_cluster_that_runs(cluster: dict[str, str], tmp_path: Path) -> None:
    small = ["--set", "order.size=3000", "order.buckets=3", "volume.total=9000"]
    words = ["--scenario", "two-algos", *small, "--episodes", "40960", "--seed", "0", "1"]
    command = [
        sys.executable,
        ROOT / "train.py",
        "sweep",
        *words,
        "--engine",
        "ray",
        "--out",
        "all",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=cluster, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        assert (
            load_policy(str(tmp_path / "all" / f"two-algos-episodes40960-seed{seed}")).train_steps
            == 122_880
        )

    too_many = subprocess.run(
        [*command[:-1], "more", "--jobs", "3", "--seed", "2", "3", "4"],
        cwd=tmp_path,
        env=cluster,
        capture_output=True,
        text=True,
        check=False,
    )
    assert too_many.returncode == 2
    (line,) = [line for line in too_many.stderr.splitlines() if line.startswith("error: ")]
    assert "3 processes" in line
    assert "only 2" in line


def test_no_cluster_where_one_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6392")
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", "1")  # one try instead of twenty
    with pytest.raises(
        ConnectionError, match=r"RAY_ADDRESS = 127.0.0.1:6392: no Ray cluster answers"
    ):
        train_all(q_jobs(tmp_path, 1), engine="ray")
    assert not any(tmp_path.iterdir())


def test_sigterm_saves_all_runs(tmp_path: Path) -> None:
    """Though Ray has a handler of its own, which would end the driver at once."""
    words = ["--engine", "ray", "--jobs", "2", "--seed", "0", "1", "--episodes", "100000000"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "sweep", *words, "--out", "all"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "all").rglob(CONFIG))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(2)
    now = time.time()
    process.terminate()
    assert process.wait(60) == 143
    for path in (tmp_path / "all").rglob(CONFIG):
        assert (path.parent / CHECKPOINT).stat().st_mtime > now
