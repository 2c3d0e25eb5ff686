"""``python -m execution_env check`` reads the days that a scenario replays."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution_env import load_scenario, scenario_to_toml
from execution_env.__main__ import main
from execution_env.allocation.market.days_file import write_days
from tests.allocation.checking import complaint
from tests.allocation.markets import shortfall
from tests.allocation.replayed import file_of


def replaying(folder: Path, **changes: object) -> Path:
    """A scenario file that replays days.npz beside it."""
    wanted = {"name": "replaying", "replay": {"file": "days.npz"}}
    scenario = load_scenario(shortfall(), wanted | changes)
    path = folder / "mine.toml"
    path.write_text(scenario_to_toml(scenario), encoding="utf-8")
    return path


def test_good_days_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_days(tmp_path / "days.npz", file_of())
    assert main(["check", str(replaying(tmp_path))]) == 0
    assert "Its replayed days: 8 train, 4 test." in capsys.readouterr().out


def test_missing_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "days.npz: there is no such file" in complaint(replaying(tmp_path), capsys)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 poison", b"x" * 1000])
def test_poisoned_days(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "days.npz").write_bytes(content)
    assert "days.npz" in complaint(replaying(tmp_path), capsys)


@pytest.mark.parametrize("key", ["replay.train", "replay.test"])
def test_days_without_the_split(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_days(tmp_path / "days.npz", file_of())
    path = replaying(tmp_path, **{key: "tset"})
    assert f'{key} = "tset": is no split of days.npz.' in complaint(path, capsys)


def test_days_of_other_algos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_days(tmp_path / "days.npz", file_of(algos=("A", "B", "C")))
    assert "are of A, B, C" in complaint(replaying(tmp_path), capsys)
