from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import execution_env
from execution_env.core import jit
from execution_env.core.code_cache import user_cache
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
from execution_env.core.jit import compiler
jit = compiler()
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


HASHES = """
import sys
import caller, callee
from execution_env.core.jit import hash_of, reached
print(*(hash_of(sys.modules[name]) for name in sys.argv[1:] or ["caller", "callee"]))
"""
OTHER = """
from typing import NamedTuple
from other import FACTOR, Pair, plain
"""
PLAIN = "from typing import NamedTuple\nFACTOR = 1\nclass Pair({base}): pass\ndef plain(): pass\n"


def hashes(package: Path, tmp_path: Path) -> list[str]:
    return run(HASHES, package, tmp_path / "cache").split()


def test_what_a_function_can_reach_counts_and_nothing_else(package: Path, tmp_path: Path) -> None:
    (package / "other.py").write_text(PLAIN.format(base="int"))
    (package / "caller.py").write_text(OTHER + CALLER)
    caller, callee = hashes(package, tmp_path)
    assert caller != callee
    # A function that is not compiled, in a module of such functions: nothing to compile anew.
    (package / "other.py").write_text(PLAIN.format(base="int") + "def drawn(): return 'a figure'\n")
    assert hashes(package, tmp_path) == [caller, callee]
    (package / "beside.py").write_text("from build import jit\n@jit\ndef unused(x): return x\n")
    assert hashes(package, tmp_path) == [caller, callee]
    # The value of a constant from there, copied into machine code.
    (package / "other.py").write_text(PLAIN.format(base="int").replace("= 1", "= 2"))
    other, same = hashes(package, tmp_path)
    assert other != caller
    assert same == callee
    # A callee, which knows nothing of its caller.
    (package / "callee.py").write_text(CALLEE.format(factor=100))
    changed = hashes(package, tmp_path)
    assert changed[0] != other
    assert changed[1] != callee


def test_a_named_tuple_counts_with_its_fields(package: Path, tmp_path: Path) -> None:
    body = "class Pair(NamedTuple):\n    x: int\n"
    (package / "other.py").write_text("from typing import NamedTuple\n" + body)
    (package / "caller.py").write_text("from other import Pair\n" + CALLER)
    before = hashes(package, tmp_path)
    (package / "other.py").write_text("from typing import NamedTuple\n" + body + "    y: int\n")
    after = hashes(package, tmp_path)
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_an_edit_of_a_figure_or_a_reader_recompiles_nothing() -> None:
    """Sources of compiled modules are those of compiled functions and of what they are made of."""
    from agents.evaluation import compare  # noqa: F401  imports figures' data, planners and learners
    from agents.q_learning import orders
    from execution_env.allocation import advance

    for module in (advance, orders):
        names = {one.__name__ for one in jit.reached(module)}
        assert names >= {"execution_env.allocation.transition", "execution_env.core.memory"} or (
            module is orders and "execution_env.allocation.transition" in names
        )
        for part in ("figures", "calibration", "commands", "storage", "evaluation", "scenario"):
            assert not [name for name in names if part in name]


def test_functions_for_compiled_callers_refuse_python(package: Path, tmp_path: Path) -> None:
    build = BUILD + "inner = compiler(from_python=False)\n"
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


def test_the_environment_is_compiled_once_for_all_processes(tmp_path: Path) -> None:
    program = """
import execution_env as e
from execution_env.allocation.advance import advance
env = e.OrderAllocationEnv(); env.reset(seed=1); env.step(20)
print(sum(advance.stats.cache_hits.values()))
"""
    run(program, tmp_path, user_cache())
    assert run(program, tmp_path, user_cache()) == "1"


SLOW = """
import time
from execution_env.core import jit
jit.AT_ONCE = 0.05
@jit.jit
def waiting(x):
    return {body}
print(waiting(3))
"""


def said(program: str, folder: Path, cache: Path) -> str:
    env = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(PACKAGE.parent)}
    (folder / "slow.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "slow.py"], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stderr


@pytest.mark.slow
def test_a_person_is_told_of_what_takes_long_to_compile_and_of_no_more(tmp_path: Path) -> None:
    program = SLOW.format(body="sum([x ** i for i in range(10)])")
    first, second = (said(program, tmp_path, tmp_path / "cache") for _ in range(2))
    assert first == jit.COMPILING + "\n"  # though stderr is no terminal
    assert second == ""  # from the cache
    quick = program.replace("0.05", "60.0").replace("range(10)", "range(11)")
    assert said(quick, tmp_path, tmp_path / "cache") == ""


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
