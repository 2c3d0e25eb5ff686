"""Damaged files of days: refused in one line, or days that can be played."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from execution_env import OrderAllocationVectorEnv, ScenarioError, load_scenario
from execution_env.allocation.market.days_file import read_days, write_days
from tests.allocation.markets import SHORTFALL
from tests.allocation.replayed import file_of
from tests.fuzzing import damaged, damaged_arrays, read_damaged


def changed(content: bytes, draw: np.random.Generator) -> bytes:
    """Change arrays and pack them well."""
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    packed = io.BytesIO()
    np.savez_compressed(packed, **damaged_arrays(arrays, draw))  # type: ignore[arg-type]
    return packed.getvalue()


def play(path: Path) -> None:
    """Play every day of both splits that fits the scenario."""
    for split in ("train", "test"):
        scenario = load_scenario(SHORTFALL, {"replay.file": str(path), "replay.test": split})
        env = OrderAllocationVectorEnv(4, scenario, observation="full")
        env.reset(seed=0)
        for _ in range(scenario.buckets):
            observations, rewards, *_ = env.step(np.full(4, 20))
            assert np.isfinite(observations).all()
            assert np.isfinite(rewards).all()


def fuzz(path: Path, number: int) -> None:
    write_days(path, file_of())
    play(path)
    for damage in (damaged, changed):
        assert read_damaged(path, play, ScenarioError, number, damage=damage) >= number / 2


def test_damaged_days(tmp_path: Path) -> None:
    fuzz(tmp_path / "days.npz", 60)


@pytest.mark.slow
def test_many_damaged_days(tmp_path: Path) -> None:
    fuzz(tmp_path / "days.npz", 1000)


def arrays() -> dict[str, Any]:
    write_days(Path("days.npz"), file_of())
    with np.load("days.npz") as file:
        return dict(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.inf}, "format is float64, not int64"),
        ({"spread": np.full((12, 10, 3), 1e300)}, "spread has 1e+300, must be from -1000000 to"),
        ({"side": np.full(12, 7)}, "side has 7, must be 1 or -1"),
        ({"split_test": np.array([8.5])}, "split_test is float64, not int64"),
        ({"split_test": np.array([8, 9, 8])}, "split_test names a day twice"),
        ({"extra": np.zeros(3)}, 'holds the unknown "extra"'),
        ({"bucket_seconds": -1.0}, "bucket_seconds has -1, must be at least 0"),
        ({"start": np.full(12, np.inf)}, "start has numbers that are not finite"),
        ({"date": np.arange(12)}, "date is int64, not texts"),
        ({"volume": np.zeros((12, 10), "M8[s]")}, "volume is datetime64[s], not float64"),
        ({"depth": np.zeros((0, 10, 3))}, "depth has shape (0, 10, 3), not (N, B, 3)"),
    ],
)
def test_days_that_are_none(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez_compressed("days.npz", **arrays() | changes)
    with pytest.raises(ScenarioError) as caught:
        read_days(tmp_path / "days.npz")
    text = str(caught.value)
    assert message in text
    assert "days.npz: " in text
    assert "anew" in text
    assert "\n" not in text


def test_a_plain_array_is_no_days(tmp_path: Path) -> None:
    np.save(tmp_path / "days.npy", np.zeros(3))
    with pytest.raises(ScenarioError, match=r"days\.npy: damaged, or no \.npz file of numbers"):
        read_days(tmp_path / "days.npy")


READ = """
import resource, sys
from pathlib import Path
from execution_env import ScenarioError
from execution_env.allocation.market.days_file import read_days
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_days(Path(sys.argv[1]))
except ScenarioError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [190_000_000, 2_000_000_000])
def test_a_small_file_never_takes_a_gigabyte(size: int, tmp_path: Path) -> None:
    """The largest that is read and then refused, and one that is refused unread."""
    path = tmp_path / "zeros.npz"
    write_days(path, file_of())
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("split_zeros.npy", "w", force_zip64=True) as member,
    ):
        shape = {"shape": (size // 8,), "fortran_order": False, "descr": "<i8"}
        np.lib.format.write_array_header_1_0(member, shape)
        for _ in range(size // 10**6):
            member.write(bytes(10**6))
    assert path.stat().st_size < 10_000_000
    found = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True
    )
    *message, megabytes = found.stdout.splitlines()
    assert int(megabytes) < 900  # and 100 before
    right = "would unpack to 2,000 MB" if size > 200_000_000 else "split_zeros names a day twice"
    assert right in message[0]
