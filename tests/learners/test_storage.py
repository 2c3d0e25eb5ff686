from __future__ import annotations

import errno
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from agents.storage import files as storage
from agents.storage.files import RunError, atomic_write, load_arrays, save_arrays, write_text
from execution_env.core import atomic
from execution_env.core.archive import Field
from tests.learners.complaints import one_line, only

ARRAYS = {
    "q": np.arange(12, dtype=np.float32).reshape(3, 4),
    "visits": np.arange(3, dtype=np.int64),
    "seed": np.array(7, np.int64),
    "name": np.array("größe"),
    "nothing": np.zeros((0, 2)),
    "path": np.array([True, False]),
}
EXPECTED = {
    name: Field(str if array.dtype.kind == "U" else array.dtype, array.shape)
    for name, array in ARRAYS.items()
}


def writing(content: bytes) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        file.write(content)

    return write


# Writing.


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, writing(b"one"))
    atomic_write(path, writing(b"two"))
    assert path.read_bytes() == b"two"
    assert only(tmp_path, "file")


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    atomic_write(tmp_path / "ours", writing(b""))
    (tmp_path / "usual").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


class FullDisk(io.FileIO):
    """A file on a disk that has room for 1,000 bytes."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 1000:
            super().write(bytes(data)[: 1000 - self.tell()])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def full_disk(path: Path, mode: str) -> BinaryIO:
    assert mode == "xb"
    return io.BufferedWriter(FullDisk(path, mode), 100)  # type: ignore[return-value]


@pytest.mark.parametrize("rows", [10, 50, 200])
def test_a_full_disk_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    path = tmp_path / "policy.npz"
    save_arrays(path, **ARRAYS)
    good = path.read_bytes()
    monkeypatch.setattr(atomic, "open", full_disk, raising=False)
    with pytest.raises(RunError, match="No space left on device") as error:
        save_arrays(path, q=np.zeros((rows, 20)))
    one_line(error, str(path), "Free some space")
    assert path.read_bytes() == good
    assert only(tmp_path, "policy.npz")


def test_a_disk_that_is_full_only_when_flushed_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    path = tmp_path / "config.json"
    path.write_text("good")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="Free some space"):
        atomic_write(path, writing(b"new"))
    assert path.read_text() == "good"
    assert only(tmp_path, "config.json")


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_interrupt_in_the_middle_of_a_write_costs_nothing(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise failure

    path = tmp_path / "file"
    path.write_text("good")
    with pytest.raises(failure):
        atomic_write(path, write)
    assert path.read_text() == "good"
    assert only(tmp_path, "file")


def test_an_interrupt_before_the_rename_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    path.write_text("good")
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, writing(b"new"))
    assert path.read_text() == "good"
    assert only(tmp_path, "file")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def forbidden(path: Path, mode: str) -> BinaryIO:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(atomic, "open", forbidden, raising=False)
    with pytest.raises(RunError, match="cannot be written") as error:
        atomic_write(tmp_path / "file", writing(b""))
    one_line(error, str(tmp_path / "file"), os.strerror(number), "permissions", "another path")


def test_no_folder_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"No such file or directory.*Choose another path"):
        atomic_write(tmp_path / "missing" / "file", writing(b""))
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        atomic_write(tmp_path / "folder", writing(b""))
    assert only(tmp_path, "folder")


# Arrays.


def test_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    save_arrays(path, **ARRAYS)
    found = load_arrays(path, EXPECTED)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    with np.load(path, allow_pickle=False) as others:  # anyone can read it
        np.testing.assert_array_equal(others["q"], ARRAYS["q"])


def test_the_layout_in_memory_does_not_matter(tmp_path: Path) -> None:
    turned = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    save_arrays(tmp_path / "a.npz", q=turned, f=np.asfortranarray(turned))
    found = load_arrays(
        tmp_path / "a.npz", {"q": Field(float, ("*",) * 3), "f": Field(float, ("*",) * 3)}
    )
    np.testing.assert_array_equal(found["q"], turned)
    np.testing.assert_array_equal(found["f"], turned)


def test_equal_arrays_make_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        save_arrays(tmp_path / name, **ARRAYS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_arrays_that_may_not_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    save_arrays(path, q=np.zeros(3))
    good = path.read_bytes()
    with pytest.raises(RunError, match=r"q has numbers that are not finite.*diverged"):
        save_arrays(path, q=np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="array q of object: must hold numbers"):
        save_arrays(path, q=np.array([{}, None]))
    for name in ("checksum", "file", "args", "allow_pickle"):
        with pytest.raises(ValueError, match=f"array {name}: the name is reserved"):
            save_arrays(path, **{name: np.zeros(1)})
    assert path.read_bytes() == good


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "policy.npz"
    save_arrays(path, q=np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3), n=np.arange(4))
    return path


WANTED = {"q": Field(np.float32, ("rows", "columns")), "n": Field(np.int64, (4,))}


def refused(path: Path, *words: str, wanted: dict[str, Field] = WANTED) -> None:
    with pytest.raises(RunError) as error:
        load_arrays(path, wanted)
    assert str(error.value).startswith(f"{path}: ")
    one_line(error, *words)


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "policy.npz", "there is no such file", "train again")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path, "cannot be read")


def test_truncated_files(saved: Path) -> None:
    content = saved.read_bytes()
    for length in [0, 1, 4, 30, *range(50, len(content), 37), len(content) - 1]:
        saved.write_bytes(content[:length])
        refused(saved, "damaged", "Restore it from a copy, or train again")


def test_flipped_bytes_are_noticed_wherever_they_matter(saved: Path) -> None:
    content = saved.read_bytes()
    right = load_arrays(saved, WANTED)
    noticed = 0
    for j in range(len(content)):
        for bits in (0x01, 0xFF):
            flipped = bytearray(content)
            flipped[j] ^= bits
            saved.write_bytes(flipped)
            try:
                found = load_arrays(saved, WANTED)
            except RunError as error:
                assert "\n" not in str(error)  # noqa: PT017
                noticed += 1
            else:  # a date or so
                for name in WANTED:
                    np.testing.assert_array_equal(found[name], right[name])
    assert noticed > len(content)


def test_changed_numbers_with_a_correct_zip_are_noticed(saved: Path) -> None:
    with np.load(saved) as arrays:
        changed = {name: arrays[name].copy() for name in arrays.files}
    changed["q"][0, 0] = 5.0
    np.savez(saved, **changed)
    refused(saved, "damaged, its checksum does not fit")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a zip at all", ["damaged, or no .npz file"]),
        (b"\x93NUMPY garbage", ["damaged, or no .npz file"]),
        (pickle.dumps([1, 2, 3]), ["damaged, or no .npz file"]),
        (b"", ["damaged, or no .npz file"]),
    ],
)
def test_files_of_something_else(saved: Path, content: bytes, words: list[str]) -> None:
    saved.write_bytes(content)
    refused(saved, *words)


def test_archives_of_something_else(saved: Path) -> None:
    np.savez(saved, weights=np.zeros(3))
    refused(saved, 'lacks "q, n, checksum" and holds the unknown "weights"', "another program")
    np.savez(saved)
    refused(saved, 'lacks "q, n, checksum"')
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("../escape.txt", "x")
    refused(saved, 'holds "../escape.txt", which is no array')
    np.savez_compressed(saved, q=np.zeros((2, 3), np.float32), n=np.zeros(4, int), checksum=[0])
    refused(saved, "compressed")
    checksum = np.zeros(32, np.uint8)
    np.savez(saved, q=np.zeros((2, 3), np.float32), n=np.zeros(4, int), checksum=checksum)
    refused(saved, "checksum does not fit")


def test_numbers_that_are_not_finite(saved: Path) -> None:
    arrays = {"q": np.full((2, 3), np.nan, np.float32), "n": np.arange(4)}
    np.savez(saved, **arrays, checksum=storage._checksum(arrays))  # type: ignore[arg-type]
    refused(saved, "q has numbers that are not finite")


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_inside_is_not_executed(tmp_path: Path, saved: Path) -> None:
    trace = tmp_path / "executed"
    evil = np.array([Payload(trace)], object)
    np.savez(saved, q=evil, n=np.arange(4), checksum=np.zeros(32, np.uint8))
    refused(saved, "q is object, not float32")
    with zipfile.ZipFile(saved, "w") as archive:
        for name in ("q", "n", "checksum"):
            archive.writestr(f"{name}.npy", pickle.dumps(Payload(trace)))
    refused(saved, "damaged, or no .npz file of numbers")
    saved.write_bytes(pickle.dumps(Payload(trace)))
    refused(saved, "damaged, or no .npz file of numbers")
    assert not trace.exists()
    pickle.loads(saved.read_bytes())  # the payload does what it says
    assert trace.exists()


def test_texts_are_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "größe\n")
    assert (tmp_path / "a.csv").read_bytes() == "größe\n".encode()
