from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import execution_env
from execution_env.core import jit
from execution_env.core.memory import handle

PACKAGE = Path(execution_env.__file__).parent
PROGRAM = """
import callee, caller
print(caller.twice(3), sum(caller.twice.stats.cache_hits.values()))
"""
CALLEE = "from build import jit\n\n@jit\ndef scaled(x):\n    return {factor} * x\n"
CALLER = """
from build import jit
from callee import scaled

@jit
def twice(x):
    return 2 * scaled(x)
"""
BUILD = """
from pathlib import Path
from execution_env.jit import compiler
jit = compiler(Path(__file__).parent)
"""


def run(program: str, folder: Path, cache: Path, **environment: str) -> str:
    root = str(PACKAGE.parent)
    env = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": root, "PYTHONHASHSEED": "0"}
    env |= {"PYTHONDONTWRITEBYTECODE": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "build.py").write_text(BUILD)
    (folder / "callee.py").write_text(CALLEE.format(factor=10))
    (folder / "caller.py").write_text(CALLER)
    return folder


@pytest.mark.slow
def test_the_cache_serves_later_processes_and_notices_an_edit_elsewhere(
    package: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    assert run(PROGRAM, package, cache) == "60 0"
    assert run(PROGRAM, package, cache) == "60 1"
    (package / "callee.py").write_text(CALLEE.format(factor=100))
    assert run(PROGRAM, package, cache) == "600 0"
    assert run(PROGRAM, package, cache) == "600 1"
    (package / "callee.py").write_text(CALLEE.format(factor=10))
    assert run(PROGRAM, package, cache).startswith("60 ")


def test_functions_for_compiled_callers_refuse_python(package: Path, tmp_path: Path) -> None:
    build = BUILD + "inner = compiler(Path(__file__).parent, from_python=False)\n"
    (package / "build.py").write_text(build)
    (package / "callee.py").write_text(CALLEE.format(factor=10).replace("jit", "inner"))
    program = """
import callee, caller

def refused():
    try:
        callee.scaled(3)
    except TypeError as error:
        return str(error)

print(refused(), caller.twice(3), refused(), callee.scaled.py_func(3))
"""
    said = "scaled: only compiled functions can call it; py_func is the function itself."
    for _ in range(2):  # compiled, and from the cache
        assert run(program, package, tmp_path / "cache") == f"{said} 60 {said} 30"


def test_nothing_is_written_beside_the_sources(package: Path, tmp_path: Path) -> None:
    before = sorted(package.rglob("*"))
    run(PROGRAM, package, tmp_path / "cache")
    assert sorted(package.rglob("*")) == before


def test_without_a_writable_cache_the_temporary_folder_serves(
    package: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    assert run(PROGRAM, package, blocked, TMPDIR=str(temporary)) == "60 0"
    assert run(PROGRAM, package, blocked, TMPDIR=str(temporary)) == "60 1"
    assert list(temporary.rglob("*.nbi"))


def test_a_users_numba_cache_folder_is_respected(package: Path, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen"
    run(PROGRAM, package, tmp_path / "cache", NUMBA_CACHE_DIR=str(chosen))
    assert list(chosen.rglob("*.nbi"))
    assert not list((tmp_path / "cache").rglob("*.nbi"))


@pytest.mark.skipif(sys.platform == "win32", reason="file owners are not checked there")
def test_a_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jit.cache_folder.__wrapped__(PACKAGE).is_relative_to(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert not jit.cache_folder.__wrapped__(PACKAGE).is_relative_to(tmp_path)


def test_the_hash_covers_every_module(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "deep" / "b.py").write_text("y = 1")
    hashes = [jit.sources_hash([tmp_path])]
    for file in ("a.py", "deep/b.py"):
        (tmp_path / file).write_text("z = 2")
        hashes.append(jit.sources_hash([tmp_path]))
    assert len(set(hashes)) == 3
    assert jit.sources_hash([tmp_path, PACKAGE]) != hashes[-1]


def test_the_environment_is_compiled_once_for_all_processes(tmp_path: Path) -> None:
    program = """
import execution_env as e
from execution_env.allocation.advance import advance
env = e.OrderAllocationEnv(); env.reset(seed=1); env.step(20)
print(sum(advance.stats.cache_hits.values()))
"""
    run(program, tmp_path, jit._user_cache())
    assert run(program, tmp_path, jit._user_cache()) == "1"


def test_a_person_is_told_of_the_first_compilation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jit, "cache_folder", lambda _: tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for _ in range(2):
        jit.announce.__wrapped__()
        assert "compiling" in capsys.readouterr().err
    (tmp_path / "batch.nbi").touch()
    jit.announce.__wrapped__()
    assert not capsys.readouterr().err


def test_memory_of_another_type_is_not_handed_to_compiled_code() -> None:
    import numpy as np

    with pytest.raises(TypeError, match="array x has type int64"):
        handle({"x": np.zeros(3, np.int64)}, {"x": np.int32}, {})
    with pytest.raises(TypeError, match="contiguous"):
        handle({"x": np.zeros((4, 4), np.int32)[:, 1]}, {"x": np.int32}, {})


def test_memory_under_another_name_is_not_handed_to_compiled_code() -> None:
    import numpy as np

    right = {"x": np.int32, "y": np.int32}
    for names in (["x"], ["y", "x"], ["x", "y", "z"]):
        with pytest.raises(TypeError, match="must be x, y"):
            handle({name: np.zeros(3, np.int32) for name in names}, right, {})


def test_a_handle_has_addresses_and_facts_by_name() -> None:
    import numpy as np

    x = np.zeros(3, np.int32)
    (found,) = handle({"x": x}, {"x": np.int32}, {"count": 7})
    assert found["x"] == x.ctypes.data
    assert found["count"] == 7
