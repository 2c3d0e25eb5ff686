"""Files of days to replay, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from execution_env import (
    DayStream,
)
from execution_env.allocation.market.days_file import (
    DaysFile,
    days_file,
)
from tests.allocation.markets import shortfall


def file_of(count: int = 12, **changes: Any) -> DaysFile:
    """Days drawn from the model, as if they were real; two sides of each window, last third to test."""
    days = DayStream(shortfall(), 9).draw(count)
    numbers = np.arange(count)
    file = days_file(shortfall(), {"all": days})._replace(
        bucket_seconds=180.0,
        touch=np.linspace(1.0, 2.0, count),
        symbol=np.full(count, "ibm"),
        date=np.where(numbers < 2 * count // 3, "20131007", "20131008"),
        start=36_000.0 + 1800.0 * (numbers // 2),
        side=np.where(numbers % 2, -1, 1),
        splits={"train": numbers[: 2 * count // 3], "test": numbers[2 * count // 3 :]},
    )
    file.depth[:] += 37.0  # shares that make no lot
    return file._replace(**changes)
