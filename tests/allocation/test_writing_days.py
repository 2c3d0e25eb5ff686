"""Writing of files of days: at once or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from execution_env.allocation.market.days_file import read_days, write_days
from execution_env.core import atomic
from execution_env.core.atomic import WriteError
from tests.allocation.replayed import file_of


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_failure_keeps_the_old_file_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "days"  # an ending of one's own stays
    write_days(path, file_of())
    good = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", failing)
        with pytest.raises(
            WriteError, match=rf"^{path}: cannot be written \({os.strerror(number)}"
        ):
            write_days(path, file_of(move=file_of().move + 1.0))
    assert os.listdir(tmp_path) == ["days"]
    assert path.read_bytes() == good
    write_days(path, file_of(move=file_of().move + 1.0))
    assert np.array_equal(read_days(path).move, file_of().move + 1.0)


def test_what_a_killed_write_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".days.npz.0123abcd.tmp").write_bytes(b"half")
    write_days(tmp_path / "days.npz", file_of())
    assert os.listdir(tmp_path) == ["days.npz"]
