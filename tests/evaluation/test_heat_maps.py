"""Heat maps of decisions: their shares are what policies decide."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from agents.dynamic_programming.problem import expected_observations
from agents.evaluation import figures
from agents.policy import load_policy
from agents.rollouts.allocation import Rollout, play
from agents.rules import Twap
from execution_env import Scenario, load_scenario, numbered_days
from tests.evaluation.drawn import SCENARIO


@pytest.fixture(scope="module")
def twap() -> Rollout:
    return play(Twap(SCENARIO), SCENARIO, numbered_days(SCENARIO, range(60)))


def observed(scenario: Scenario, bucket: int) -> Any:
    """The "full" observation of an order that has posted nothing."""
    env = load_policy("twap", scenario).environment()
    observation, _ = env.reset(seed=0)
    for _ in range(bucket):
        observation, *_ = env.step(np.zeros(len(scenario.algos), np.int64))
    return observation


@pytest.mark.parametrize("name", ["baseline", "textbook", "five-algos", "known-rates"])
def test_expected_observations_are_those_of_the_environment(name: str) -> None:
    scenario = load_scenario(name)
    expected = expected_observations(scenario, np.array([scenario.lots]))
    shape = scenario.buckets, 1, 5 + 2 * len(scenario.algos)
    assert expected.shape == shape
    for bucket in (0, 1, scenario.buckets - 1):
        assert expected[bucket, 0] == pytest.approx(observed(scenario, bucket), abs=1e-6)


def test_a_heat_map_is_what_policies_decide() -> None:
    policy = load_policy("lp", SCENARIO)
    figure = figures.heat_map({"lp": policy, "twap": Twap(SCENARIO)}, SCENARIO)
    panels = np.array(figure.axes).reshape(2, 4)
    assert [axes.get_title("left") for axes in panels[0]] == [*SCENARIO.algo_names, "not posted"]
    found = importlib.import_module("agents.evaluation.figures.heat_map").decisions(
        policy, SCENARIO
    )
    remaining = np.array([20, 57, SCENARIO.lots])
    observations = expected_observations(SCENARIO, remaining)
    for bucket in (3, 5):
        lots = policy.decide(observations[bucket])
        postable = np.rint(observations[bucket, :, -1] * SCENARIO.lots)[:, None]
        shares = found.shares[bucket, np.searchsorted(found.remaining, remaining)]
        rest = (postable - lots.sum(axis=1, keepdims=True)) / postable
        right = np.hstack([lots / postable, rest])
        assert shares[-1] == pytest.approx(right[-1])  # an order that filled nothing is there
        assert np.isnan(shares[0]).all() or shares[0] == pytest.approx(right[0])
    assert np.isnan(found.shares[0, :-1]).all()
    assert not np.isnan(found.shares[0, -1]).any()
    assert np.nansum(found.shares, axis=2)[~np.isnan(found.shares[:, :, 0])] == pytest.approx(1.0)


def test_states_that_are_not_met_are_grey(twap: Rollout) -> None:
    policy, rollout = Twap(SCENARIO), twap
    module = importlib.import_module("agents.evaluation.figures.heat_map")
    found = module.decisions(policy, SCENARIO, rollout)
    left = SCENARIO.lots - np.cumsum(rollout.filled.sum(axis=1), axis=0)
    for bucket in range(1, SCENARIO.buckets):
        met = set(left[bucket - 1]) - {0}
        assert {int(lots) for lots in found.remaining[found.met[bucket]]} == met
    assert not np.isnan(found.shares[found.met][:, 0]).any()
    figure = figures.heat_map({"twap": policy}, SCENARIO, {"twap": rollout})
    mesh = np.asarray(figure.axes[1].collections[0].get_array())
    grey = np.ptp(mesh[:, :, :3], axis=2) < 1e-9
    assert grey[~found.met.T].all()
    assert (mesh[:, :, 3] == ~np.isnan(found.shares[:, :, 1].T)).all()


def test_heat_maps_of_the_wrong_things(twap: Rollout) -> None:
    policy = Twap(SCENARIO)
    with pytest.raises(ValueError, match="policies: there are none; give"):
        figures.heat_map({}, SCENARIO)
    with pytest.raises(ValueError, match=r"reached\['q'\]: is of no policy here; known are twap"):
        figures.heat_map({"twap": policy}, SCENARIO, {"q": twap})
    with pytest.raises(ValueError, match="buckets 6, here 10"):
        figures.heat_map({"twap": policy}, load_scenario("baseline"))
    short_ = Rollout._make(array[:3] for array in twap)
    with pytest.raises(ValueError, match="rollout of 3 buckets and 3 algos: baseline has 6 and 3"):
        figures.heat_map({"twap": policy}, SCENARIO, {"twap": short_})
