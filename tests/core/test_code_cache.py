"""Compiled code on disk: where it lies, who may write there, and what damage to it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import execution_env
from execution_env.core import code_cache
from execution_env.core.code_cache import remove_unused
from execution_env.core.private_folders import UnsafeFolderError, make_private

ROOT = str(Path(execution_env.__file__).parents[1])
PROGRAM = """
from execution_env.core.jit import jit

@jit
def twice(x):
    return 2 * x

print(twice(3), sum(twice.stats.cache_hits.values()))
"""

unix = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners are Unix's")


class Program:
    """A program with a compiled function, its cache, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.temporary = folder / "cache", folder / "temporary"
        self.file = folder / "program.py"
        self.file.write_text(PROGRAM)
        self.temporary.mkdir()

    def run(self, before: str = "", **environment: str) -> tuple[str, str]:
        """Return what it prints, and what it says on stderr."""
        self.file.write_text(before + PROGRAM)
        env = {"XDG_CACHE_HOME": str(self.cache), "TMPDIR": str(self.temporary), "PYTHONPATH": ROOT}
        done = subprocess.run(
            [sys.executable, "-W", "error", str(self.file)],
            env=os.environ | env | environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr.strip()

    def entries(self, ending: str) -> list[Path]:
        return sorted(self.cache.rglob(f"*.{ending}"))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


# Damage.


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.slow
def test_damaged_entries_are_compiled_anew(program: Program) -> None:
    assert program.run() == ("6 0", "")
    assert program.run() == ("6 1", "")
    for damage in (cut, flip, empty):
        for ending in ("nbi", "nbc"):
            (path,) = program.entries(ending)
            damage(path)
            assert program.run() == ("6 0", ""), (damage, ending)
            assert program.run() == ("6 1", ""), (damage, ending)
            assert len(program.entries("nbc")) == 1
    for ending in ("nbc", "nbi"):  # without its index an entry has no name, and stays
        program.entries(ending)[0].unlink()
        assert program.run() == ("6 0", ""), ending
        assert program.run() == ("6 1", ""), ending


@pytest.mark.slow
def test_a_full_disk_costs_a_line(program: Program) -> None:
    full = """
import errno, os, tempfile
def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
tempfile.mkstemp = full
"""
    for _ in range(2):
        printed, said = program.run(full)
        assert printed == "6 0"
        assert "No space left on device" in said
        assert "set NUMBA_CACHE_DIR to a folder of your own" in said
        assert len(said.splitlines()) == 1
    assert not program.entries("nbc")


@pytest.mark.slow
def test_what_is_in_the_way_of_an_entry_costs_a_line(program: Program) -> None:
    assert program.run() == ("6 0", "")
    (path,) = program.entries("nbi")
    folder(path)
    printed, said = program.run()
    assert printed == "6 0"
    assert len(said.splitlines()) == 1
    assert "compiled code cannot be kept" in said


# Who may write.


def owned(*numbers: int) -> Callable[[], int]:
    return lambda: numbers[0]


@unix
def test_every_folder_is_private(program: Program) -> None:
    program.run()
    made = [path for path in program.cache.rglob("*") if path.is_dir()]
    assert len(made) == 3
    assert {path.stat().st_mode & 0o777 for path in [program.cache, *made]} == {0o700}


@unix
@pytest.mark.slow
@pytest.mark.parametrize("place", ["cache/execution_env", "cache/execution_env/compiled"])
def test_a_link_is_not_followed(place: str, program: Program, tmp_path: Path) -> None:
    """Another user's folder behind it would be ours to run."""
    theirs = tmp_path / "theirs"
    (theirs / "compiled").mkdir(parents=True)
    link = tmp_path / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(theirs)
    printed, said = program.run()
    assert printed == "6 0"
    assert said.startswith(f"execution_env: {link} is a link")
    assert not list(theirs.rglob("*.nb?"))
    assert list(program.temporary.rglob("*.nbi"))  # the next place


@pytest.mark.slow
@unix
def test_predictable_names_in_the_temporary_directory_are_checked(program: Program) -> None:
    """Whoever comes first could make them, and a cache in them is code."""
    program.cache.write_text("not a folder")
    planted = program.temporary / f"execution_env-{os.getuid()}"
    planted.mkdir(mode=0o777)
    planted.chmod(0o777)
    printed, said = program.run()
    assert printed == "6 0"
    assert f"{planted} can be written by others" in said
    assert f"chmod go-w {planted}" in said
    assert not list(program.temporary.rglob("*.nbi"))  # a fresh folder, removed at the end
    assert list(program.temporary.iterdir()) == [planted]


@unix
def test_owners_and_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    make_private(shared / "ours")
    shared.chmod(0o777)
    with pytest.raises(UnsafeFolderError, match="shared can be written by others"):
        make_private(shared / "ours")
    shared.chmod(0o1777)  # as /tmp: others cannot remove what is ours
    make_private(shared / "ours")
    monkeypatch.setattr(os, "getuid", owned(12345))
    with pytest.raises(UnsafeFolderError, match="belongs to another user"):
        make_private(shared / "ours")


@unix
def test_links_above_are_followed_and_what_they_lead_to_is_checked(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "real")
    make_private(tmp_path / "home" / "cache" / "compiled", own=2)
    assert (tmp_path / "real" / "cache" / "compiled").is_dir()
    (tmp_path / "real").chmod(0o777)
    with pytest.raises(UnsafeFolderError, match="real can be written by others"):
        make_private(tmp_path / "home" / "cache" / "compiled", own=2)
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(UnsafeFolderError, match="is a link"):
        make_private(tmp_path / "round" / "cache")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        make_private(tmp_path / "file" / "cache")


@pytest.mark.slow
@unix
def test_a_users_own_choice_must_be_private_as_well(program: Program, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    chosen.chmod(0o777)
    printed, said = program.run(NUMBA_CACHE_DIR=str(chosen))
    assert printed == "6 0"
    assert f"{chosen} can be written by others" in said
    assert not list(chosen.iterdir())


# What nobody uses.


def test_folders_that_nobody_used_are_removed(tmp_path: Path) -> None:
    old, new, theirs = (
        tmp_path / name for name in ("advance-0123456789abcdef", "lp-0123456789abcdef", "notes")
    )
    for one in (old, new, theirs):
        one.mkdir()
        (one / "entry.nbc").write_bytes(b"x")
    long_ago = time.time() - 31 * code_cache.DAY
    for one in (old, theirs):
        os.utime(one, (long_ago, long_ago))
    remove_unused(tmp_path)
    assert not old.exists()
    assert new.is_dir()
    assert theirs.is_dir()
    assert len(list(tmp_path.iterdir())) == 2
