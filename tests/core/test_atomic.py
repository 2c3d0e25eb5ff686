"""Files that are written whole or not at all, several at once, and what killed writes leave behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from execution_env.core import atomic
from execution_env.core.atomic import WriteError, atomic_write, remove_leftovers, write_files
from tests.learners.complaints import only

ROOT = Path(__file__).parents[2]

KILLED = """
import os, signal, sys
from execution_env.core.atomic import atomic_write

def write(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

atomic_write(sys.argv[1], write)
"""

LEFTOVER = ".policy.npz.0123abcd.tmp"
"""Name of a temporary file of policy.npz."""


def test_several_files_are_all_replaced_or_none(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "missing" / "b.npz"
    first.write_text("before")
    with pytest.raises(WriteError, match=r"missing/b\.npz: cannot be written"):
        write_files({first: b"after", second: b""})
    assert first.read_text() == "before"
    assert only(tmp_path, "a.toml")
    write_files({first: b"after", tmp_path / "b.npz": b"too"})
    assert [path.read_text() for path in (first, tmp_path / "b.npz")] == ["after", "too"]


def test_the_file_that_does_not_fit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []

    def full(handle: int) -> None:
        flushed.append(handle)
        if len(flushed) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("before")
    with pytest.raises(WriteError, match=rf"^{tmp_path}/b: cannot be written \(No space left"):
        write_files({tmp_path / name: b"after" for name in ("a", "b", "c")})
    assert only(tmp_path, "a", "b", "c")
    assert {path.read_text() for path in tmp_path.iterdir()} == {"before"}


def test_leftovers_of_the_same_file_are_removed_and_others_stay(tmp_path: Path) -> None:
    ours = {LEFTOVER, ".policy.npz.ffffffff.tmp"}
    others = {
        ".policy.npz.0123abc.tmp",
        ".policy.npz.0123ABCD.tmp",
        ".policy.npz.0123abcd.tmp2",
        ".policy.npz.٠١٢٣٤٥٦٧.tmp",
        ".policyxnpz.0123abcd.tmp",
        "policy.npz.0123abcd.tmp",
        ".other.npz.0123abcd.tmp",
        ".x.policy.npz.0123abcd.tmp",
    }
    for name in ours | others:
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".policy.npz.00000000.tmp").mkdir()
    (tmp_path / "target").write_bytes(b"mine")
    (tmp_path / ".policy.npz.11111111.tmp").symlink_to("target")
    kept = {*others, ".policy.npz.00000000.tmp", ".policy.npz.11111111.tmp", "target"}
    atomic_write(tmp_path / "policy.npz", lambda file: file.write(b"whole"))
    assert set(os.listdir(tmp_path)) == kept | {"policy.npz"}
    (tmp_path / ".other.npz.0123abcd.tmp").unlink()
    (tmp_path / LEFTOVER).write_bytes(b"half")
    remove_leftovers(tmp_path, ["other.npz", "policy.npz"])
    assert set(os.listdir(tmp_path)) == (kept | {"policy.npz"}) - {".other.npz.0123abcd.tmp"}


def test_a_write_that_is_under_way_is_no_leftover(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    half, cleaned = threading.Event(), threading.Event()

    def write(file: BinaryIO) -> None:
        file.write(b"first ")
        file.flush()
        half.set()
        assert cleaned.wait(10)
        file.write(b"half")

    writer = threading.Thread(target=atomic_write, args=(path, write))
    writer.start()
    assert half.wait(10)
    remove_leftovers(tmp_path, ["policy.npz"])
    assert len(os.listdir(tmp_path)) == 1
    atomic_write(path, lambda file: file.write(b"other"))
    assert len(os.listdir(tmp_path)) == 2
    cleaned.set()
    writer.join()
    assert path.read_bytes() == b"first half"
    assert only(tmp_path, "policy.npz")


def test_a_killed_write_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    path.write_bytes(b"good")

    child = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, check=False, timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"good"
    assert len(os.listdir(tmp_path)) == 2
    atomic_write(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert only(tmp_path, "policy.npz")


def test_no_locks_are_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network drives have none. Then nothing is taken for a leftover."""

    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(atomic.fcntl, "flock", none)
    (tmp_path / LEFTOVER).write_bytes(b"half")
    atomic_write(tmp_path / "policy.npz", lambda file: file.write(b"whole"))
    assert only(tmp_path, "policy.npz", LEFTOVER)


def test_links_stay_links(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "policy.npz"
    target.parent.mkdir()
    link = tmp_path / "link.npz"
    link.symlink_to(target)
    for content in (b"one", b"two"):  # the first makes the target
        atomic_write(link, lambda file, content=content: file.write(content))  # type: ignore[misc]
        assert target.read_bytes() == content
    assert link.is_symlink()
    assert only(target.parent, "policy.npz")


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    atomic_write(path, lambda file: file.write(b"content"))
    reader.join(10)
    assert found == [b"content"]
    assert path.is_fifo()
