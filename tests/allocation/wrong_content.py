"""A scenario with every section, and what makes it wrong."""

from __future__ import annotations

import copy
import enum
from typing import Any

Content = dict[str, Any]

BASE: Content = {
    "name": "base",
    "description": "every section, and nothing wrong",
    "order": {"size": 1000, "lot_size": 10, "buckets": 4},
    "costs": {"basis": "posted"},
    "algos": [
        {
            "name": "Fast",
            "cost": [2.0, 2.0, 2.0, 3.0],
            "fill_rate": [0.9, 0.9, 0.9, 1.0],
            "day_sd": 0.3,
            "bucket_sd": 0.3,
            "liquidity_loading": 0.5,
        },
        {"name": "Slow", "cost": 0.0, "fill_rate": 0.25, "last_fill_rate": 0.3},
    ],
    "liquidity": {"sd": 0.3, "persistence": 0.5},
    "volume": {"expected": [2000.0, 1000.0, 1000.0, 2000.0], "sd": 0.2},
    "participation": {"max_rate": 0.3, "window": 2, "max_posted": 500},
    "envelope": {"lower": [0.1, 0.2, 0.4, 0.8], "upper": [0.5, 0.6, 0.9, 1.0]},
    "penalties": {"envelope": 5.0, "residual": 10.0, "residual_quadratic": 1.0},
    "estimator": {"kind": "pseudo-count", "prior_weight": [5.0, 6.0], "icc": 0.1, "memory": 0.9},
    "actions": {"resolution": 4},
}
ABSENT = enum.Enum("Absent", "ABSENT").ABSENT  # its repr is always the same, so are names of tests


def changed(changes: dict[str, Any]) -> Content:
    """``BASE`` with other values, by dotted key; algos go by number from 1. Not the package's own
    overrides: these can break the content in every way."""
    content = copy.deepcopy(BASE)
    for path, value in changes.items():
        *where, key = path.split(".")
        target: Any = content
        for word in where:
            target = target[int(word) - 1] if word.isdecimal() else target[word]
        if value is ABSENT:
            del target[key]
        else:
            target[key] = value
    return content
