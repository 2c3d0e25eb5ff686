"""Implementation shortfall: its parts add up, and the environments tell them."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_env import (
    DayStream,
    OrderAllocationEnv,
    OrderAllocationVectorEnv,
    Scenario,
    load_scenario,
    numbered_days,
    scenario_to_toml,
)
from execution_env.allocation.batch import Batch
from execution_env.allocation.report import SHORTFALL_COSTS
from execution_env.allocation.scenario_file import scenario_from_dict, scenario_to_dict
from tests.allocation.markets import SHORTFALL, shortfall, with_day_effects


def played(scenario: Scenario, seed: int, lots: np.ndarray) -> tuple[list[dict], Batch]:
    """Infos of a batch of training days from ``seed``, and the batch; ``lots`` (B, n, K)."""
    batch = Batch(scenario, lots.shape[1], "lots", "full", informs=True)
    batch.days.put(slice(None), DayStream(scenario, seed).draw(lots.shape[1]))
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    infos = [batch.advance(x, batch.nobody, batch.everyone).infos() for x in lots]
    return infos, batch


@given(st.integers(0, 10_000), st.integers(0, 1000))
def test_the_shortfall_is_what_was_paid_minus_what_arrival_was_worth(seed: int, wish: int) -> None:
    scenario = shortfall()
    lots = np.random.default_rng(wish).integers(0, 12, (10, 4, 3))
    infos, batch = played(scenario, seed, lots)
    days, n = batch.days, scenario.lots
    mid = np.cumsum(np.vstack([np.zeros(4), days.move]), axis=0)  # above arrival, bucket starts
    paid = np.zeros(4)
    for b, info in enumerate(infos):
        filled = info["lots_filled"].T
        paid += (filled * (mid[b] + days.spread[b] + batch.parameters.algos["fee"][:, None])).sum(0)
    left = infos[-1]["remaining_lots"]
    impact = scenario.penalties.residual_quadratic * left / n
    paid += left * (mid[-1] + days.touch[0] + impact)
    parts = [sum(info[part] for info in infos) for part in (*SHORTFALL_COSTS, "residual_penalty")]
    np.testing.assert_allclose(sum(parts), paid / n, atol=1e-11)


@given(st.integers(0, 10_000), st.integers(0, 1000))
def test_parts_add_up_exactly(seed: int, wish: int) -> None:
    lots = np.random.default_rng(wish).integers(0, 12, (10, 3, 3))
    for info in played(shortfall(), seed, lots)[0]:
        whole = info["spread_cost"] + info["fee_cost"] + info["drift_cost"]
        assert whole.tobytes() == info["posting_cost"].tobytes()


@pytest.mark.parametrize("scenario", [shortfall(), with_day_effects()], ids=["plain", "hidden"])
def test_scalar_and_vector_environments_agree(scenario: Scenario) -> None:
    vector = OrderAllocationVectorEnv(3, scenario, observation="full")
    observations, infos = vector.reset(seed=5)
    singles = [OrderAllocationEnv(scenario, observation="full") for _ in range(3)]
    first = [env.reset(seed=5 + e) for e, env in enumerate(singles)]
    assert all((seen == observations[e]).all() for e, (seen, _) in enumerate(first))
    generator = np.random.default_rng(0)
    for _ in range(scenario.buckets):
        actions = generator.integers(0, 35, 3)
        observations, rewards, _, _, infos = vector.step(actions)
        for e, env in enumerate(singles):
            seen, reward, _, _, info = env.step(actions[e])
            assert (seen == observations[e]).all()
            assert reward == rewards[e]
            assert info.keys() == {key for key in infos if not key.startswith("_")}
            assert all(np.array_equal(info[key], infos[key][e]) for key in info)
            assert reward == -(
                info["posting_cost"] + info["envelope_penalty"] + info["residual_penalty"]
            )


def test_infos_of_other_bases_have_no_parts() -> None:
    _, info = OrderAllocationEnv("baseline").reset(seed=0)
    assert not set(SHORTFALL_COSTS) & set(info)
    env = OrderAllocationEnv(SHORTFALL)
    _, info = env.reset(seed=0)
    assert set(SHORTFALL_COSTS) <= set(info)
    assert info["spread_cost"] == info["drift_cost"] == info["posting_cost"] == 0


def test_a_bucket_by_hand() -> None:
    scenario = shortfall(order__buckets=2)
    batch = Batch(scenario, 1, "lots", "full", informs=True)
    days = DayStream(scenario, 0).draw(1)
    days.depth[0, :, 0], days.depth[1, :, 0] = (4, 2, 0), (9, 9, 9)
    days.move[:, 0] = (6.0, -3.0)
    days.touch[0] = 4.0
    batch.days.put(slice(None), days)
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    info = batch.advance(np.array([[5, 5, 5]]), batch.nobody, batch.everyone).infos()
    assert info["lots_filled"].tolist() == [[4, 2, 0]]
    assert info["spread_cost"] == pytest.approx(4 * 3.5 / 30)
    assert info["fee_cost"] == pytest.approx(4 * 0.3 / 30)
    assert info["drift_cost"] == pytest.approx(24 * 6.0 / 30)  # on what still waits
    info = batch.advance(np.array([[0, 0, 9]]), batch.nobody, batch.everyone).infos()
    assert info["spread_cost"] == pytest.approx(-9 * 3.5 / 30)
    assert info["fee_cost"] == pytest.approx(-9 * 0.2 / 30)
    assert info["drift_cost"] == pytest.approx(-15 * 3.0 / 30)
    assert info["residual_penalty"] == pytest.approx((4.0 + 5.0 * 0.5) * 0.5)


def test_what_is_learned_of_depth_is_calibrated() -> None:
    scenario = with_day_effects()
    lots = np.zeros((10, 20_000, 3), np.int64)
    lots[:, :, 1:] = 3
    _, batch = played(scenario, 0, lots)
    orders, effect = batch.orders, batch.days.day_effect
    for i, sd in ((1, 0.5), (2, 0.7)):
        precision = sd**-2 + orders.expected_evidence[i]
        mean = orders.filled_evidence[i] / precision
        error = effect[i] - mean
        # Knowing more makes it no worse than the prior, and it knows how much it knows.
        assert error.std() < 0.97 * sd
        assert (error**2 * precision).mean() == pytest.approx(1.0, abs=0.12)
        np.testing.assert_allclose(orders.multiplier[i], np.exp(mean), rtol=1e-12)


def test_estimates_of_depth_are_the_expected_fill_of_an_even_slice() -> None:
    scenario = with_day_effects()
    lots = np.zeros((10, 40_000, 3), np.int64)
    lots[:5, :, 1:] = 3
    batch = Batch(scenario, 40_000, "lots", "full", informs=True)
    batch.days.put(slice(None), DayStream(scenario, 0).draw(40_000))
    batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    for x in lots[:5]:
        batch.advance(x, batch.nobody, batch.everyone)
    estimates, depth = batch.orders.estimates[1].copy(), batch.days.depth[5, 1]
    fills = np.minimum(depth, 3) / 3
    order = np.argsort(estimates)
    for part in np.array_split(order, 4):
        assert fills[part].mean() == pytest.approx(estimates[part].mean(), abs=0.02)


def test_nothing_hidden_nothing_learned() -> None:
    scenario = shortfall()
    lots = np.full((10, 50, 3), 2)
    _, batch = played(scenario, 0, lots)
    assert (batch.orders.multiplier == 1).all()
    assert (scenario.predictions[-1] == batch.orders.estimates.T).all()


def test_depth_with_posted_costs() -> None:
    content = {key: value for key, value in SHORTFALL.items() if key not in ("costs", "price")}
    prices = ("half_spread", "fee", "rebate")
    content["algos"] = [
        {k: v for k, v in algo.items() if k not in prices} | {"cost": cost}
        for algo, cost in zip(SHORTFALL["algos"], (2.0, 1.0, 0.0), strict=True)
    ]
    scenario = load_scenario(content)
    days, priced = DayStream(scenario, 0).draw(100), DayStream(shortfall(), 0).draw(100)
    np.testing.assert_array_equal(days.liquidity, priced.liquidity)
    assert days.move.size == days.spread.size == 0
    infos, _ = played(scenario, 0, np.full((10, 5, 3), 1))
    assert infos[0]["posting_cost"] == pytest.approx(3.0 / 30)


def test_files_hold_it_all() -> None:
    scenario = with_day_effects(
        volume__persistence=0.2, price__sd=[7.0 + b for b in range(10)], algos__Passive__fee=0.1
    )
    again = scenario_from_dict(tomllib.loads(scenario_to_toml(scenario)))
    assert again == scenario
    assert scenario_from_dict(scenario_to_dict(scenario)) == scenario


# An order's own predictions.


def test_own_predictions_are_right_for_every_order() -> None:
    scenario = load_scenario("varying-predictions")
    days = DayStream(scenario, 1).draw(200_000)
    np.testing.assert_allclose(
        days.prediction.mean(axis=2), scenario.predictions, atol=5 / np.sqrt(200_000)
    )
    for i in range(3):
        shown, rate = days.prediction[3, i], days.fill_rate[3, i]
        for part in np.array_split(np.argsort(shown), 10):
            error = rate[part].std() / np.sqrt(part.size)
            assert abs(rate[part].mean() - shown[part].mean()) < 4.5 * error + 1e-4


def test_the_first_observation_shows_them() -> None:
    scenario = load_scenario("varying-predictions")
    env = OrderAllocationEnv(scenario)
    seen = [env.reset(seed=seed)[0][2:] for seed in range(5)]
    right = numbered_days(scenario, range(5)).prediction[0].T
    np.testing.assert_allclose(seen, right, rtol=1e-6)
    assert len({tuple(row) for row in np.round(seen, 6)}) == 5


def test_without_own_predictions_the_days_are_those_of_before() -> None:
    mine = load_scenario("baseline", {"algos.Passive.prediction_sd": 1e-9})
    theirs = load_scenario("baseline")
    one, other = DayStream(mine, 0).draw(10), DayStream(theirs, 0).draw(10)
    assert one.prediction.shape == (10, 3, 10)
    assert other.prediction.shape == (0, 3, 10)
    np.testing.assert_allclose(
        one.prediction, np.broadcast_to(theirs.predictions[:, :, None], (10, 3, 10)), atol=1e-5
    )
