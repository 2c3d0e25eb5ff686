"""Yardsticks that benchmarks are measured against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def drawing(n: int) -> Callable[[], None]:
    generator = np.random.default_rng(0)

    def draw() -> None:
        for _ in range(BUCKETS):
            generator.standard_normal((n, ALGOS))
            generator.random((n, ALGOS))

    return draw


BUCKETS, ALGOS = 10, 3
