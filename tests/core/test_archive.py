"""The reader of archives: what it refuses before it unpacks anything, and after."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from execution_env.core import archive as archive_module
from execution_env.core.archive import ArchiveError, Casting, Field, read_archive

FIELDS = {
    "format": Field(np.int64, equal=1, about="this version reads 1"),
    "names": Field(str, ("K",)),
    "rates": Field(np.float64, ("N", "K"), low=0.0, high=1.0),
    "side": Field(np.int64, ("N",), among=(1, -1)),
    "gap": Field(np.float64, nan=True),
    "split_*": Field(np.int64, ("*",), low=0, below="N"),
}
ARRAYS: dict[str, Any] = {
    "format": 1,
    "names": ["a", "b"],
    "rates": np.array([[0.1, 0.2], [0.3, 1.0], [0.0, 0.5]]),
    "side": [1, -1, 1],
    "gap": np.nan,
    "split_train": [0, 2],
    "split_test": np.arange(0),
}


def read(
    content: bytes, folder: Path, casting: Casting = "safe", **more: Any
) -> dict[str, np.ndarray[Any, Any]]:
    path = folder / "a.npz"
    path.write_bytes(content)
    return read_archive(path, FIELDS, casting=casting, compressed=True, **more)


def packed(compressed: bool = True, **changes: Any) -> bytes:
    """The archive of ``ARRAYS`` with changes; None leaves an array out."""
    file = io.BytesIO()
    arrays = {name: array for name, array in (ARRAYS | changes).items() if array is not None}
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def refusal(content: bytes, folder: Path, **more: Any) -> str:
    with pytest.raises(ArchiveError) as caught:
        read(content, folder, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


def header(shape: Any, descr: Any = "<f8") -> bytes:
    """The beginning of a .npy file, which promises an array."""
    head = io.BytesIO()
    description = {"shape": shape, "fortran_order": False, "descr": descr}
    np.lib.format.write_array_header_1_0(head, description)
    return head.getvalue()


def swapped(name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """The archive of ``ARRAYS`` with other bytes for one array."""
    file = io.BytesIO(packed(**{name: None}))
    with zipfile.ZipFile(file, "a", method) as archive:
        archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def test_a_good_archive_is_read(tmp_path: Path) -> None:
    for compressed in (True, False):
        found = read(packed(compressed), tmp_path)
        assert found.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)


def test_what_becomes_another_type_without_loss_is_converted(tmp_path: Path) -> None:
    content = packed(rates=np.ones((3, 2), np.float32), side=np.ones(3, np.int8))
    found = read(content, tmp_path)
    assert found["rates"].dtype == np.float64
    assert found["side"].dtype == np.int64
    assert "rates is float32, not float64" in refusal(content, tmp_path, casting="no")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format = 2: this version reads 1"),
        ({"format": 2, "more": 1, "rates": None}, "format = 2: this version reads 1"),
        ({"format": np.inf}, "format is float64, not int64"),
        ({"side": None}, 'lacks "side"'),
        ({"more": 1, "rest": 1}, 'holds the unknown "more, rest"'),
        ({"names": [1, 2]}, "names is int64, not texts"),
        ({"names": ["a", "x" * 65]}, "names has texts of 65 letters, the most are 64"),
        ({"names": ["a", "x\nb"]}, "names has the text"),
        ({"names": [b"a", b"b"]}, "names is |S1, not texts"),
        ({"rates": np.ones((3, 2), complex)}, "rates is complex128, not float64"),
        ({"rates": np.ones((3, 2), np.longdouble)}, "rates is"),
        ({"rates": np.zeros((3, 2), "M8[s]")}, "rates is datetime64[s], not float64"),
        ({"rates": np.zeros((3, 2), [("x", "<f8")])}, "rates is [('x', '<f8')], not float64"),
        ({"rates": np.zeros((3, 3))}, "rates has shape (3, 3), not (3, 2)"),
        ({"rates": np.zeros(6)}, "rates has shape (6,), not (N, 2)"),
        ({"rates": np.zeros((0, 2))}, "rates has shape (0, 2), not (N, 2)"),
        ({"rates": 0.5}, "rates has shape (), not (N, 2)"),
        ({"rates": np.full((3, 2), 1.5)}, "rates has 1.5, must be from 0 to 1"),
        ({"rates": np.full((3, 2), -1e-300)}, "rates has -1e-300, must be from 0 to 1"),
        ({"rates": np.full((3, 2), np.nan)}, "rates has numbers that are not finite"),
        ({"gap": np.inf}, "gap has numbers that are not finite"),
        ({"side": [1, 0, 1]}, "side has 0, must be 1 or -1"),
        ({"side": [1.0, 1.0, 1.0]}, "side is float64, not int64"),
        ({"side": np.ones(3, np.uint64)}, "side is uint64, not int64"),
        ({"split_test": [0.5]}, "split_test is float64, not int64"),
        ({"split_test": [3]}, "split_test has 3, must be from 0 to 2"),
        ({"split_test": [-1]}, "split_test has -1, must be"),
        ({"split_test": [[0]]}, "split_test has shape (1, 1), not (*,)"),
    ],
)
def test_wrong_arrays(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in refusal(packed(**changes), tmp_path)


def test_known_sizes_come_first(tmp_path: Path) -> None:
    assert "names has shape (2,), not (3,)" in refusal(packed(), tmp_path, sizes={"K": 3})


def test_compressed_arrays_where_none_are(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(packed())
    with pytest.raises(ArchiveError, match="is compressed"):
        read_archive(path, FIELDS, casting="safe")
    path.write_bytes(packed(compressed=False))
    read_archive(path, FIELDS, casting="safe")


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"PK\x03\x04 but no more", b"side,price\n1,2\n", b"\x93NUMPY", packed()[:-30]],
)
def test_no_archives(content: bytes, tmp_path: Path) -> None:
    assert "damaged, or no .npz file of numbers" in refusal(content, tmp_path)


def test_a_plain_npy_file(tmp_path: Path) -> None:
    plain = io.BytesIO()
    np.save(plain, np.zeros((3, 2)))
    assert "damaged, or no .npz file of numbers" in refusal(plain.getvalue(), tmp_path)


def test_members_that_are_no_arrays(tmp_path: Path) -> None:
    file = io.BytesIO(packed())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("../escape.txt", "x")
    assert 'holds "../escape.txt", which is no array' in refusal(file.getvalue(), tmp_path)
    file = io.BytesIO(packed())
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("side.npy", b"x")
    assert 'holds two arrays "side"' in refusal(file.getvalue(), tmp_path)
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        content = swapped("side", header((3,), "<i8") + bytes(24), method)
        assert "side is packed in an unknown way" in refusal(content, tmp_path)


def test_promises_that_the_bytes_do_not_keep(tmp_path: Path) -> None:
    for shape in ((10**15,), (4,), (2**62, 8), (-3,), (True, 3), ("3",)):
        content = swapped("split_train", header(shape, "<i8") + bytes(24))
        message = refusal(content, tmp_path)
        assert "split_train" in message or "damaged" in message
    assert "not as long as it says" in refusal(
        swapped("side", header((3,), "<i8") + bytes(32)), tmp_path
    )
    for descr in ("|O", "<U99999999", "<V8", "<f99", "__import__('os')"):
        refusal(swapped("side", header((3,), descr) + bytes(24)), tmp_path)


def test_a_small_file_that_would_unpack_to_much_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros; nothing of them is unpacked."""
    monkeypatch.setattr(archive_module, "MOST_BYTES", 10**6)
    zeros = header((10**6,), "<i8") + bytes(8 * 10**6)
    content = swapped("split_zeros", zeros, zipfile.ZIP_DEFLATED)
    assert len(content) < 10_000
    assert "would unpack to 8 MB from" in refusal(content, tmp_path)


def test_a_lie_about_the_size_in_the_directory_of_the_zip(tmp_path: Path) -> None:
    """The directory promises 24 bytes of numbers, the compressed data hold ten million."""
    long = header((3,), "<i8") + bytes(10**7)
    content = bytearray(swapped("side", long, zipfile.ZIP_DEFLATED))
    right, wrong = (n.to_bytes(4, "little") for n in (len(long), len(header((3,), "<i8")) + 24))
    assert content.count(right) == 2  # local and central
    content = content.replace(right, wrong)
    assert "damaged" in refusal(bytes(content), tmp_path)
