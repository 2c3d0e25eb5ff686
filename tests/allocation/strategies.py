"""Hypothesis strategies for whole scenarios: K 1..6, B 1..40, 1..500 lots, every option."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from execution_env.allocation.actions import grid_size
from execution_env.allocation.scenario_file import scenario_from_dict

rates = st.one_of(st.just(0.0), st.just(1.0), st.floats(0.01, 0.99))
sds = st.one_of(st.just(0.0), st.floats(0.01, 2.0))
prices = st.floats(0.0, 10.0)


@st.composite
def scenario_dicts(
    draw: st.DrawFn, max_buckets: int = 40, max_lots: int = 500, max_algos: int = 6
) -> dict[str, Any]:
    """The content of a valid scenario file."""
    buckets = draw(st.integers(1, max_buckets))
    lots = draw(st.integers(1, max_lots))
    lot_size = draw(st.sampled_from([1, 7, 100]))
    algos = draw(st.integers(1, max_algos))

    def number_or_list(values: st.SearchStrategy[float], size: int = buckets) -> Any:
        return draw(st.one_of(values, st.lists(values, min_size=size, max_size=size)))

    content: dict[str, Any] = {
        "name": "drawn",
        "description": draw(st.text(max_size=20)),
        "order": {"size": lots * lot_size, "lot_size": lot_size, "buckets": buckets},
        "costs": {"basis": draw(st.sampled_from(["posted", "filled"]))},
        "penalties": {
            "envelope": draw(prices),
            "residual": draw(prices),
            "residual_quadratic": draw(prices),
        },
        "algos": [
            {
                "name": f"algo {i}",
                "cost": number_or_list(prices),
                "fill_rate": number_or_list(rates),
                "day_sd": draw(sds),
                "bucket_sd": draw(sds),
                "liquidity_loading": draw(st.floats(-2.0, 2.0)),
            }
            for i in range(algos)
        ],
    }
    for algo in content["algos"]:
        if not isinstance(algo["fill_rate"], list) and draw(st.booleans()):
            algo["last_fill_rate"] = draw(rates)
    if draw(st.booleans()):
        content["liquidity"] = {"sd": draw(sds), "persistence": draw(st.floats(0.0, 1.0))}
    has_volume = draw(st.booleans())
    if has_volume:
        content["volume"] = {"sd": draw(sds)}
        if draw(st.booleans()):
            content["volume"]["expected"] = draw(
                st.lists(st.floats(1.0, 1e6), min_size=buckets, max_size=buckets)
            )
        else:
            content["volume"]["expected"] = draw(st.sampled_from(["flat", "u-shaped"]))
            content["volume"]["total"] = draw(st.floats(1.0, 1e7))
    if draw(st.booleans()):
        limits: dict[str, Any] = {}
        if has_volume:
            limits["max_rate"] = draw(st.floats(0.01, 1.0))
            if draw(st.booleans()):
                limits["window"] = draw(st.integers(1, buckets + 2))
        if draw(st.booleans()):
            limits["max_posted"] = lot_size * draw(st.integers(1, lots + 5))
        content["participation"] = limits
    content["envelope"] = draw(_envelopes(buckets, has_volume))
    kind = draw(st.sampled_from(["pseudo-count", "ewma"]))
    content["estimator"] = {"kind": kind, "memory": draw(st.floats(0.0, 0.99))}
    if draw(st.booleans()):
        content["estimator"]["prior_weight"] = number_or_list(st.floats(0.1, 100.0), algos)
    if draw(st.booleans()):
        content["estimator"]["icc"] = number_or_list(st.floats(0.0, 1.0), algos)
    resolutions = [r for r in (1, 2, 3, 4, 7, 12) if grid_size(algos, r) <= 500]
    content["actions"] = {"resolution": draw(st.sampled_from(resolutions))}
    return content


@st.composite
def _envelopes(draw: st.DrawFn, buckets: int, has_volume: bool) -> dict[str, Any]:
    envelope: dict[str, Any] = {"upper_mode": draw(st.sampled_from(["soft", "hard"]))}
    shape = draw(st.sampled_from(["none", "edges", "twap", "vwap"]))
    if shape == "edges":
        edges = [
            sorted(draw(st.lists(st.floats(0.0, 1.0), min_size=buckets, max_size=buckets)))
            for _ in range(2)
        ]
        envelope["lower"] = [min(pair) for pair in zip(*edges, strict=True)]
        envelope["upper"] = [max(pair) for pair in zip(*edges, strict=True)]
    elif shape == "twap" or (shape == "vwap" and not has_volume):
        envelope |= {"kind": "twap", "band": draw(st.floats(0.0, 1.0))}
    elif shape == "vwap":
        envelope |= {
            "kind": "vwap",
            "band": draw(st.floats(0.0, 1.0)),
            "track_volume": draw(st.booleans()),
        }
    return envelope


def scenarios_drawn(**limits: int) -> st.SearchStrategy[Any]:
    """Valid scenarios."""
    return scenario_dicts(**limits).map(scenario_from_dict)


@st.composite
def market_dicts(draw: st.DrawFn, **limits: int) -> dict[str, Any]:
    """The content of a valid scenario file with depth, or shortfall costs, or both."""
    content: dict[str, Any] = draw(scenario_dicts(**limits))
    buckets = content["order"]["buckets"]

    def number_or_list(values: st.SearchStrategy[float]) -> Any:
        return draw(st.one_of(values, st.lists(values, min_size=buckets, max_size=buckets)))

    content.setdefault("volume", {"expected": "flat", "total": draw(st.floats(1e3, 1e6))})
    content["volume"]["persistence"] = draw(st.floats(0.0, 1.0))
    content["estimator"].pop("prior_weight", None)
    content["estimator"].pop("icc", None)
    content["estimator"]["kind"] = "pseudo-count"
    basis = content["costs"]["basis"] = draw(
        st.sampled_from(["posted", "filled", *["shortfall"] * 4])
    )
    if basis == "shortfall" and draw(st.integers(0, 3)):
        content["price"] = {
            "sd": number_or_list(st.floats(0.0, 20.0)),
            "liquidity_correlation": draw(st.floats(-1.0, 1.0)),
        }
    for algo in content["algos"]:
        if basis == "shortfall":
            del algo["cost"]
            algo["half_spread"] = number_or_list(st.floats(-5.0, 5.0))
            algo |= {"fee": draw(prices), "rebate": draw(prices)}
        if draw(st.integers(0, 3)):
            for key in ("fill_rate", "last_fill_rate", "bucket_sd"):
                algo.pop(key, None)
            algo["fill_probability"] = number_or_list(rates)
            algo["depth"] = number_or_list(st.floats(1e-4, 2.0))
            algo["depth_sd"] = draw(sds)
            algo["liquidity_loading"] = draw(st.floats(-1.0, 1.0))
    return content


def markets_drawn(**limits: int) -> st.SearchStrategy[Any]:
    """Valid scenarios with depth, or shortfall costs, or both."""
    return market_dicts(**limits).map(scenario_from_dict)
