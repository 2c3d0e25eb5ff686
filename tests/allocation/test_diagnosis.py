from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from execution_env import load_scenario, scenarios
from execution_env.allocation.diagnosis import ladder, oddities
from execution_env.allocation.scenario_file import scenario_from_dict

Algo = tuple[float | list[float], float | list[float]]

FAST: Algo = (2.0, 0.8)
PASSIVE: Algo = (0.0, 0.2)


def odd(ladder_of: list[Algo], buckets: int = 4, **sections: Any) -> list[str]:
    """Warnings about 100 lots and algos, pairs of cost and fill rate named A, B, C, ..."""
    content: dict[str, Any] = {
        "name": "odd",
        "order": {"size": 1000, "lot_size": 10, "buckets": buckets},
        "penalties": {"envelope": 5, "residual": 100},
        "algos": [
            {"name": name, "cost": cost, "fill_rate": rate}
            for name, (cost, rate) in zip("ABCDEF", ladder_of, strict=False)
        ],
    }
    return oddities(scenario_from_dict(content | sections))


def dominated(algos: list[Algo], **sections: Any) -> set[str]:
    """Names of the algos that are said to be dominated."""
    warnings = odd(algos, **sections)
    assert all("dominated" in warning for warning in warnings)
    return {warning.split()[1] for warning in warnings}


@pytest.mark.parametrize(
    ("algos", "names"),
    [
        ([FAST, PASSIVE], set()),
        ([FAST], set()),
        ([(1.0, 0.5), (1.0, 0.6)], {"A"}),
        ([(1.0, 0.5), (0.9, 0.5)], {"A"}),
        ([(1.0, 0.5), (0.9, 0.6)], {"A"}),
        ([(1.0, 0.5), (1.0, 0.5)], {"A", "B"}),
        ([(1.0, 0.5), (0.9, 0.49)], set()),
    ],
    ids=["ladder", "alone", "fills more", "cheaper", "both", "twins", "cheaper but fills less"],
)
def test_an_algo_dominated_by_another(algos: list[Algo], names: set[str]) -> None:
    assert dominated(algos) == names


# Halfway between FAST and PASSIVE, cost 1, lies a fill rate of 0.5.
@pytest.mark.parametrize(
    ("middle", "names"),
    [
        ((1.0, 0.49), {"C"}),
        ((1.0, 0.5), {"C"}),
        ((1.0, 0.51), set()),
        ((1.01, 0.5), {"C"}),
        ((0.99, 0.5), set()),
    ],
    ids=["below", "on", "above", "dearer", "cheaper"],
)
def test_an_algo_dominated_by_a_mix_of_two(middle: Algo, names: set[str]) -> None:
    assert dominated([FAST, PASSIVE, middle]) == names


# Posting half as much through FAST costs 1 and fills 0.4.
@pytest.mark.parametrize(
    ("middle", "names"),
    [((1.0, 0.39), {"B"}), ((1.0, 0.4), {"B"}), ((1.0, 0.41), set()), ((0.99, 0.4), set())],
    ids=["below", "on", "above", "cheaper"],
)
def test_an_algo_dominated_by_a_mix_with_not_posting(middle: Algo, names: set[str]) -> None:
    assert dominated([FAST, middle]) == names


def test_an_algo_that_never_fills_is_dominated_by_not_posting() -> None:
    assert dominated([FAST, (0.0, 0.0)]) == {"B"}
    assert dominated([FAST, (0.0, 0.01)]) == set()


def test_the_best_of_several_mixes_counts() -> None:
    # A and D alone give 0.5 at cost 1, but A and C give 0.65.
    algos = [(2.0, 0.8), (1.0, 0.64), (0.5, 0.575), (0.0, 0.2)]
    assert dominated(algos) == {"B"}
    algos[1] = (1.0, 0.651)
    assert dominated(algos) == set()


@pytest.mark.parametrize(
    ("cost", "posted", "filled"),
    [(1.0, {"B"}, set()), (1.99, {"B"}, set()), (2.0, {"B"}, {"B"})],
)
def test_the_basis_of_costs_decides(cost: float, posted: set[str], filled: set[str]) -> None:
    # Per filled share, only an algo that costs as much as FAST is no better than less of FAST.
    algos = [FAST, (cost, 0.4)]
    assert dominated(algos) == posted
    assert dominated(algos, costs={"basis": "filled"}) == filled


@pytest.mark.parametrize(
    ("rates", "where"),
    [
        ([0.6, 0.6, 0.48, 0.6], "in bucket 3:"),
        ([0.4, 0.6, 0.48, 0.6], "in buckets 1, 3:"),
        ([0.4, 0.4, 0.4, 0.4], "in every bucket:"),
    ],
)
def test_the_buckets_of_domination_are_named(rates: list[float], where: str) -> None:
    (warning,) = odd([FAST, PASSIVE, (1.0, rates)])
    assert warning.startswith("algo C is dominated")
    assert where in warning


def test_a_long_list_of_buckets_is_shortened() -> None:
    (warning,) = odd([FAST, PASSIVE, (1.0, [0.4] * 11 + [0.6])], buckets=12)
    assert "in buckets 1, 2, 3, 4, 5, 6, 7, 8, ...:" in warning


def capped(lots: int, buckets: int = 4) -> dict[str, Any]:
    """Sections that cap posting at ``lots`` in each bucket."""
    return {
        "volume": {"expected": [100.0 * lots] * buckets},
        "participation": {"max_rate": 0.1, "window": 1},
    }


def test_a_participation_cap_below_the_order() -> None:
    (warning,) = odd([(2.0, 1.0)], **capped(24))
    assert "no more than 96 of the order's 100 lots" in warning
    assert odd([(2.0, 1.0)], **capped(25)) == []


def test_a_risk_limit_below_the_order() -> None:
    (warning,) = odd([(2.0, 1.0)], participation={"max_posted": 249})
    assert "no more than 96 of the order's 100 lots" in warning
    assert odd([(2.0, 1.0)], participation={"max_posted": 250}) == []


def test_a_hard_envelope_below_the_order() -> None:
    edges = {"lower": [0, 0, 0, 0], "upper": [0.5, 0.5, 0.5, 0.99]}
    (warning,) = odd([(2.0, 1.0)], envelope=edges | {"upper_mode": "hard"})
    assert "no more than 99 of the order's 100 lots" in warning
    assert odd([(2.0, 1.0)], envelope=edges) == []


def test_the_cap_counts_what_could_fill_rather_than_what_will() -> None:
    assert odd([(2.0, 0.3)], **capped(25)) == []


def test_an_envelope_that_no_policy_can_reach() -> None:
    cap = capped(25)
    reachable = {"lower": [0.25, 0.5, 0.75, 1], "upper": [1, 1, 1, 1]}
    assert odd([(2.0, 1.0)], envelope=reachable, **cap) == []
    (warning,) = odd([(2.0, 1.0)], envelope=reachable | {"lower": [0.26, 0.5, 0.76, 1]}, **cap)
    assert warning.startswith("no policy can reach the envelope's lower edge in buckets 1, 3 on")


def test_an_envelope_that_is_out_of_reach_on_average() -> None:
    # 25 lots at 0.8 fill 20 in a bucket; up to one lot below is left to chance.
    cap = capped(25)
    reachable = {"lower": [0.21, 0.41, 0.61, 1], "upper": [1, 1, 1, 1]}
    assert odd([FAST], envelope=reachable, **cap) == []
    (warning,) = odd([FAST], envelope=reachable | {"lower": [0.21, 0.42, 0.61, 1]}, **cap)
    assert "lower edge in bucket 2 is out of reach on an average day" in warning


def test_the_most_that_fills_is_posted_through_the_best_algo_of_each_bucket() -> None:
    algos: list[Algo] = [(1.0, [0.8, 0.2, 0.8, 0.2]), (1.0, [0.2, 0.8, 0.2, 0.8])]
    edges = {"lower": [0.2, 0.4, 0.6, 0.8], "upper": [1, 1, 1, 1]}
    warnings = odd(algos, envelope=edges, **capped(25))
    assert not [warning for warning in warnings if "envelope" in warning]


def test_the_last_bucket_of_the_envelope_is_left_to_the_residual() -> None:
    edges = {"lower": [0, 0, 0, 1], "upper": [1, 1, 1, 1]}
    assert odd([FAST], envelope=edges, **capped(25)) == []


def test_an_envelope_without_a_whole_lot_inside() -> None:
    edges = {"lower": [0, 0.301, 0.5, 1], "upper": [0.2, 0.309, 0.9, 1]}
    assert odd([(2.0, 1.0)], envelope=edges) == [
        "no whole number of lots lies inside the envelope in bucket 2."
    ]
    edges["upper"][1] = 0.31
    assert odd([(2.0, 1.0)], envelope=edges) == []


def test_an_edge_on_a_whole_lot_is_inside_in_spite_of_rounding() -> None:
    # 0.29 * 100 is 28.999999999999996 and 0.57 * 100 is 56.99999999999999.
    edges = {"lower": [0, 0.29, 0.57, 1], "upper": [0.2, 0.29, 0.57, 1]}
    assert odd([(2.0, 1.0)], envelope=edges) == []


@pytest.mark.parametrize(
    ("basis", "residual", "warned"),
    [("posted", 2.4, True), ("posted", 2.5, False), ("filled", 1.9, True), ("filled", 2.0, False)],
)
def test_a_residual_cheaper_than_filling(basis: str, residual: float, warned: bool) -> None:
    # Per posted share, a filled share costs 2 / 0.8 = 2.5.
    warnings = odd(
        [FAST, PASSIVE],
        costs={"basis": basis},
        penalties={"envelope": 5, "residual": residual},
    )
    assert len(warnings) == warned
    for warning in warnings:
        assert f"leaving a share unfilled costs {residual:g}" in warning
        assert "will not complete" in warning


def test_the_residual_is_compared_with_the_last_bucket() -> None:
    algos: list[Algo] = [([9.0, 9.0, 9.0, 2.0], 1.0)]
    assert odd(algos, penalties={"envelope": 5, "residual": 2.0}) == []
    assert len(odd(algos, penalties={"envelope": 5, "residual": 1.9})) == 1


def shortfall(
    spreads: list[float], residual: float, quadratic: float = 0.0, **more: Any
) -> list[str]:
    """Warnings about algos A, B, ... of shortfall costs that fill 90 %, 60 %, 30 %."""
    algos = [
        {"name": name, "half_spread": spread, "fill_rate": rate}
        for name, spread, rate in zip("ABC", spreads, (0.9, 0.6, 0.3), strict=False)
    ]
    penalties = {"envelope": 5, "residual": residual, "residual_quadratic": quadratic}
    sections = {"costs": {"basis": "shortfall"}, "algos": algos, "penalties": penalties}
    return odd([], **(sections | more))


def test_crossing_that_earns() -> None:
    assert shortfall([1.0, 0.5], 1.0) == []
    (warning,) = shortfall([-0.5, -1.0], 1.0)
    assert warning.startswith("crossing earns money: A, the algo that pays most")
    assert "-0.5 bps" in warning


def test_a_clean_up_cheaper_than_crossing() -> None:
    assert shortfall([2.0, -2.0], 2.0) == []
    (warning,) = shortfall([2.0, -2.0], 1.9, 10.0)
    assert warning.startswith("the clean-up is cheaper than crossing: it costs 1.9 bps")


def test_a_clean_up_cheaper_than_crossing_with_its_adverse_moves() -> None:
    """Fills come with the factor, and so when the price falls: a share costs more than the spread."""
    market = {"liquidity": {"sd": 1.0}, "price": {"sd": 10.0, "liquidity_correlation": -0.6}}
    (warning,) = shortfall([2.0, -5.0], 2.0, **market)
    assert "adverse selection included" in warning
    price = float(warning.split(" A ")[1].split()[0])
    assert price > 2.05
    assert shortfall([2.0, -5.0], price + 0.01, **market) == []


def test_leaving_everything_is_free() -> None:
    for warnings in (
        shortfall([1.0, 0.5], 0.0),
        odd([FAST, PASSIVE], penalties={"envelope": 5, "residual": 0}),
    ):
        (warning,) = warnings
        assert "leaving the whole order unfilled costs nothing" in warning
    assert "cheaper than crossing" in shortfall([1.0, 0.5], 0.0, 1.0)[0]


def test_algos_out_of_order_in_price_and_fill_rate() -> None:
    (warning,) = odd([(1.0, 0.5), (0.9, 0.6)])
    assert "out of order, A pays 1 and fills 50.0%, B pays 0.9 and fills 60.0%" in warning
    (warning,) = shortfall([1.0, 1.5], 2.0)
    assert "out of order, B pays 1.5 and fills 60.0%, A pays 1 and fills 90.0%" in warning


def test_a_ladder_of_limits_whose_prices_are_out_of_order() -> None:
    names, no_error = ["A", "B", "C"], np.full(3, np.nan)
    assert ladder(names, np.array([3.0, 0.0, -3.0]), no_error) == []
    (warning,) = ladder(names, np.array([-1.0, 0.0, -3.0]), no_error)
    assert "the limit of A is nearer to the far touch than that of B" in warning
    # two standard errors are left to chance
    assert ladder(names, np.array([-1.0, 0.0, -3.0]), np.array([0.5, 0.5, 0.0])) == []


def test_several_oddities_are_all_told() -> None:
    warnings = odd(
        [FAST, PASSIVE, (1.0, 0.3)], penalties={"envelope": 5, "residual": 1}, **capped(10)
    )
    assert len(warnings) == 3


@pytest.mark.parametrize("name", scenarios())
def test_of_the_shipped_scenarios_only_two_are_odd(name: str) -> None:
    warnings = oddities(load_scenario(name))
    if name == "bac-2013":  # a spread of one tick: where Neutral and Passive rest, in one queue
        (warning,) = warnings
        assert "algo Passive is dominated in every bucket" in warning
        assert "adverse selection aside" in warning
    elif name == "textbook":
        (warning,) = warnings
        assert "algo Neutral is dominated in every bucket" in warning
    else:
        assert warnings == []


def test_the_last_share_left_over_costs_the_linear_price_only() -> None:
    scenario = load_scenario(
        "baseline", {"penalties.residual": 1.0, "penalties.residual_quadratic": 50.0}
    )
    assert any("leaving a share unfilled costs 1" in warning for warning in oddities(scenario))
