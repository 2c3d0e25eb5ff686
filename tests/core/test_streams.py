"""Commands whose standard streams are closed, full, or read by somebody who has seen enough."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CHILD = """
import os, sys, types
package = types.ModuleType("execution_env")  # without its face, which takes a second
package.__path__ = ["execution_env"]
sys.modules["execution_env"] = package
from execution_env.core.streams import standard_streams

@standard_streams()
def main():
    {body}

sys.exit(main())
"""

MANY = "[print('line', j) for j in range(100_000)]; "
NOTE = "print('note', file=sys.stderr); "
IN_THE_MIDDLE = (
    "from execution_env.core.command import run_command; "
    f"return run_command(lambda: {MANY.strip(' ;')})"
)


def shell(command: str, body: str = "", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a shell command, in which OURS runs ``body`` as a command of ours."""
    command = command.replace("OURS", f'{sys.executable} -c "$CHILD"')
    environment = {
        "CHILD": CHILD.format(body=body),
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=environment,
    )


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("OURS | head -1", "line 0\n"),
        ("OURS >&-", ""),
        ("OURS >&- 2>&-", ""),
        ("OURS 2>&-", None),
        ("OURS 2>&1 >/dev/null | true", ""),
        ("OURS 2>&1 | head -1", "line 0\n"),
        ("OURS 2>/dev/full >/dev/null", ""),
    ],
)
def test_a_closed_stream_keeps_the_exit_code(command: str, out: str | None) -> None:
    found = shell(command, f"{MANY}{NOTE}return 3")
    assert found.returncode == 3
    assert found.stderr in ("", "note\n")
    if out is not None:
        assert found.stdout == out


def full(found: subprocess.CompletedProcess[str]) -> None:
    assert found.returncode == 2
    line = (
        "error: standard output: cannot be written (No space left on device). Send it elsewhere.\n"
    )
    assert found.stderr == line


def test_a_full_disk_below_standard_output_is_named() -> None:
    full(shell("OURS >/dev/full", "print('one line')"))
    # In the middle, and with what was printed before still in a buffer.
    full(shell("OURS >/dev/full", IN_THE_MIDDLE))


def test_a_closed_descriptor_is_not_given_to_a_file(tmp_path: Path) -> None:
    """Else a library that prints by descriptor would write into that file."""
    path = tmp_path / "content"
    body = f"file = open({str(path)!r}, 'wb'); os.write(1, b'x'); os.write(2, b'y'); file.close()"
    assert shell("OURS >&- 2>&-", body).returncode == 0
    assert path.read_bytes() == b""


def test_what_is_printed_is_unchanged() -> None:
    body = "print('größe'); print(sys.stdout.isatty(), sys.stdout.fileno()); print('e', file=sys.stderr)"
    found = shell("PYTHONIOENCODING=utf-8 OURS", body)
    assert (found.stdout, found.stderr) == ("größe\nFalse 1\n", "e\n")
    found = shell("PYTHONUNBUFFERED=1 OURS", "print('x'); os._exit(7)")
    assert (found.stdout, found.returncode) == ("x\n", 7)


@pytest.mark.parametrize("program", ["-m execution_env", "train.py", "evaluate.py", "-m results"])
@pytest.mark.parametrize("to", ["| head -1", ">&-", "2>&- | head -1"])
@pytest.mark.slow
def test_help_into_closed_streams(program: str, to: str) -> None:
    found = shell(f"{sys.executable} {program} --help {to}")
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.slow
def test_commands_into_closed_streams(tmp_path: Path) -> None:
    evaluate = f"{sys.executable} evaluate.py"
    commands = [
        f"{sys.executable} -m execution_env show baseline | head -1",
        f"{sys.executable} -m execution_env check baseline >&-",
        f"{evaluate} advise --policy twap 2>&1 | head -1",
        f"{evaluate} trace --policies twap --out {tmp_path}/t >&- 2>&-",
        f"{sys.executable} train.py --episodes 1 --scenario two-algos --out {tmp_path}/q 2>&1 | true",
    ]
    for command in commands:
        found = shell(command)
        assert (found.returncode, found.stderr) == (0, ""), command
    for name in ("t/trace.csv", "q/policy.npz", "q/learning_curve.png"):
        assert (tmp_path / name).exists(), name


@pytest.mark.slow
@pytest.mark.parametrize("to", ["| head -1", ">&-", "2>&1 | head -1"])
def test_bars_of_progress_with_closed_streams(tmp_path: Path, to: str) -> None:
    """Standard error is a terminal, so that there are bars."""
    words = "--policies twap --episodes 20 --no-figures --set order.buckets=3 order.size=2000"
    command = f"{sys.executable} evaluate.py {words} --out {tmp_path}/out {to}"
    ours, theirs = pty.openpty()
    shown: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(ours, shown))
    reader.start()
    found = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    os.close(theirs)
    reader.join(10)
    said = b"".join(shown)
    os.close(ours)
    assert found.returncode == 0, said
    assert b"Traceback" not in said
    assert b"Exception ignored" not in said
    assert (b"\x1b[" in said) == ("2>&1" not in to)
    assert (tmp_path / "out" / "comparison.md").exists()


def _read_all(terminal: int, shown: list[bytes]) -> None:
    """Read what is shown on a terminal until nobody has it open."""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 10_000):
            shown.append(piece)
