"""Outcomes of child orders, drawn from a model."""

from __future__ import annotations

import numpy as np

from execution_env.calibration.simulator.outcomes import Outcomes


def outcomes_of(
    depth: np.ndarray,
    volume: np.ndarray | None = None,
    mid: np.ndarray | None = None,
    offered: float = 0.0,
) -> Outcomes:
    """Windows of one day, depth (2, W, B, K) given; ``offered`` shares are displayed at the end."""
    _, windows, buckets, _ = depth.shape
    volume = np.full((windows, buckets), 1000.0) if volume is None else volume
    mid = np.full((windows, buckets + 1), 50.0) if mid is None else mid
    return Outcomes(
        np.full(windows, "abc"),
        np.full(windows, "20130107"),
        34_200 * 10**9 + 1800 * 10**9 * np.arange(windows),
        depth.astype(float),
        np.full(depth.shape, 2.0),
        volume,
        mid,
        np.full((2, windows, buckets + 1), 2.0),
        (mid[:, :-1] + mid[:, 1:]) / 2,
        np.full((2, windows, 1), 2.0),
        np.full((2, windows, 1), offered),
    )
