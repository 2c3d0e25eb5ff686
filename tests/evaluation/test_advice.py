from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import evaluate
from agents.advice.advice import Advice, advise
from agents.advice.as_json import as_json
from agents.advice.report import show
from agents.learners import Q_LEARNING
from agents.lp.policy import LinearProgramme
from agents.policy import Policy, load_policy
from agents.ppo.policy import Layer, PPOPolicy, feature_count
from agents.q_learning.policy import QPolicy
from agents.q_learning.states import without_estimates
from agents.storage.run_directory import new_config, write_config
from execution_env import OrderAllocationEnv, Scenario, load_scenario, numbered_days
from execution_env.allocation.market.model import own_predictions
from tests.allocation.strategies import scenarios_drawn
from tests.evaluation.running import complaint, output

SMALL = load_scenario("baseline", {"order.buckets": 4, "order.size": 2000, "volume.total": 20000})
TRACKING = load_scenario("vwap-u-shape")
TWO = ["--posted", "1000,500,0", "800,400,400", "--filled", "900,400,0", "700,200,100"]


class Anything(Policy):
    """Posts lots drawn at random, at times more than it may."""

    def __init__(self, scenario: Scenario, seed: int = 0, most: float = 1.0) -> None:
        super().__init__(scenario, "anything")
        self.most = most
        self.generator = np.random.default_rng(seed)

    def decide(self, observations: np.ndarray) -> np.ndarray:
        n, k = self.scenario.lots, len(self.scenario.algos)
        postable = np.rint(observations[:, -1].astype(float) * n)[:, None]
        shares = self.generator.dirichlet(np.ones(k + 1), len(observations))[:, :k]
        return np.floor(np.minimum(shares * postable * self.most, n)).astype(np.int64)


def text(advice: Advice, width: int = 160) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        show(advice, console)
    return capture.get()


def q_run(folder: Path, scenario: Scenario) -> Path:
    """The directory of a Q-learning run whose policy posts half of what it may passively."""
    space = without_estimates(scenario)
    values = np.zeros((space.size, scenario.grid_size), np.float32)
    policy = QPolicy(scenario, space, values, np.full(space.size, 2, np.int32))
    folder.mkdir()
    write_config(folder, new_config(Q_LEARNING, scenario, 0, {}))
    policy.save(folder)
    return folder


# It is what the policy does in the environment.


def check_against_environment(scenario: Scenario, policy: Policy, seed: int) -> None:
    """Ask for advice before every bucket of day ``seed``, and post what the policy posts there."""
    env = gym.make(
        "execution_env/OrderAllocation-v0", scenario=scenario, action="lots", observation="full"
    )
    observation, _ = env.reset(seed=seed)
    volumes = env.unwrapped._batch.days.volume[:, 0].copy()
    lot = scenario.order.lot_size
    posted: list[Any] = []
    filled: list[Any] = []
    for bucket in range(scenario.buckets):
        known = [repr(float(volume)) for volume in volumes[:bucket]] if scenario.volume else None
        state = getattr(policy, "generator", np.random.default_rng()).bit_generator.state
        advice = advise(scenario, policy, posted, filled, known)
        if isinstance(policy, Anything):
            policy.generator.bit_generator.state = state
        assert np.array_equal(advice.observation, observation)
        assert advice.observation.dtype == np.float32
        action = policy.decide(observation[None])[0]
        observation, _, over, _, info = env.step(action)
        assert np.array_equal(advice.post, info["lots_posted"] * lot)
        assert advice.bucket == bucket
        assert advice.post.sum() <= advice.postable <= advice.remaining
        posted.append(",".join(str(lots * lot) for lots in info["lots_posted"]))
        filled.append((info["lots_filled"] * lot).tolist())
    assert over


@pytest.mark.parametrize("name", ["lp", "dp", "twap"])
def test_it_is_what_the_policy_does_in_the_environment(name: str) -> None:
    for scenario in (SMALL, TRACKING):
        policy = load_policy(name, scenario)
        for seed in range(3):
            check_against_environment(scenario, policy, seed)


@settings(max_examples=25)
@given(
    scenario=scenarios_drawn(max_buckets=6, max_lots=60, max_algos=4),
    seed=st.integers(0, 10**6),
    most=st.sampled_from([1.0, 2.5]),
)
def test_any_scenario(scenario: Scenario, seed: int, most: float) -> None:
    check_against_environment(scenario, Anything(scenario, seed, most), seed)


def test_a_policy_that_asks_for_too_much_is_scaled_down() -> None:
    advice = advise(SMALL, Anything(SMALL, most=100.0))
    assert advice.post.sum() == advice.postable == 1500
    assert "anything asked for" in advice.notes[0]


# What it says.


def test_plan_and_envelope() -> None:
    advice = advise("baseline", "lp", ["0,0,3000"] * 5, ["0,0,300"] * 5)
    ahead = advice.plan
    assert ahead is not None
    policy = LinearProgramme(advice.scenario)
    plan = policy.plan(advice.observation)
    assert ahead.plan.expected_cost == plan.expected_cost
    free = policy.plan(advice.observation, lower=np.zeros(5), upper=np.ones(5)).expected_cost
    assert ahead.without_envelope == free < plan.expected_cost
    assert ahead.envelope_cost == plan.expected_cost - free
    assert ahead.post.shape == (5, 3)
    assert ahead.cumulative[0] == pytest.approx(1500 + plan.expected_fills[0] * 100)
    assert np.array_equal(np.rint(ahead.post[0]), advice.post)
    assert ahead.lower[0] == pytest.approx(4500)
    assert ahead.upper[-1] == 10000
    assert [bucket.envelope_penalty > 0 for bucket in advice.past] == [False, False] + [True] * 3
    said = text(advice)
    worst = 6 + int(np.argmax(plan.lower_prices))
    assert f"The envelope costs {ahead.envelope_cost:.4f} of it" in said.replace("\n", " ")
    assert f"edge is the lower one after bucket {worst}" in said.replace("\n", " ")
    assert "What lp posts in bucket 6:" in said
    assert "the limit is the participation rate" in said


def test_without_a_hard_envelope_more_may_be_posted_now() -> None:
    past = {"posted": ["2500,0,0"], "filled": ["2500,0,0"]}
    soft = load_scenario("baseline")
    hard = load_scenario("baseline", {"envelope.upper_mode": "hard"})
    ahead, free = advise(hard, "lp", **past).plan, advise(soft, "lp", **past).plan
    assert ahead is not None
    assert free is not None
    assert advise(hard, "lp", **past).postable < advise(soft, "lp", **past).postable
    # Without an envelope both are the same order.
    assert ahead.without_envelope == pytest.approx(free.without_envelope)
    assert ahead.envelope_cost > free.envelope_cost


def test_an_envelope_that_follows_the_day_is_said_to_be_planned_as_before_the_order() -> None:
    words = ["0,0,5000"], ["0,0,1000"]
    noted = " ".join(advise("vwap-u-shape", "lp", *words, ["61000"]).notes)
    assert "later edges as they were expected before the order" in noted
    assert "later edges" not in " ".join(advise("baseline", "lp").notes)


def test_expected_costs_follow_the_basis() -> None:
    posted = advise("baseline", "all-aggressive")
    filled = advise("baseline-filled", "all-aggressive")
    assert posted.expected_fill == pytest.approx(0.95 * posted.post.sum())
    assert posted.expected_cost == pytest.approx(2 * posted.post.sum() / 10000)
    assert filled.expected_cost == pytest.approx(2 * filled.expected_fill / 10000)


def test_without_an_envelope_it_costs_nothing() -> None:
    scenario = load_scenario("baseline", {"envelope": None})
    advice = advise(scenario)
    assert advice.plan is not None
    assert advice.plan.envelope_cost == 0
    assert "No envelope lies ahead." in text(advice)


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_limits_have_names(mode: str) -> None:
    overrides = {"envelope.upper_mode": mode, "participation.max_posted": 2800}
    advice = advise(load_scenario("baseline", overrides))
    assert advice.limits == [
        "max_posted" if mode == "soft" else "the envelope's hard upper edge",
    ]
    assert advice.postable == (2800 if mode == "soft" else 2500)


def test_everything_filled() -> None:
    scenario = load_scenario("baseline", {"order.size": 600, "volume.total": 20000})
    advice = advise(scenario, "lp", ["400,0,0", "300,0,0"], ["300,0,0", "300,0,0"])
    assert advice.remaining == 0
    assert not advice.post.any()
    assert advice.limits[0] == "what remains of the order"
    assert "Everything has filled: there is nothing to post." in text(advice)


def test_the_last_bucket_has_no_envelope() -> None:
    advice = advise(SMALL, "lp", ["0,0,500"] * 3, ["0,0,100"] * 3)
    assert "what is left over counts" in text(advice)
    assert advice.plan is not None
    assert as_json(advice)["plan"]["buckets"][0]["lower"] is None


@pytest.mark.parametrize("label", ["", "mine="])
def test_a_run_of_another_scenario_is_advised_in_its_own(
    label: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = q_run(tmp_path / "q", load_scenario("baseline-filled", {"order.buckets": 4}))
    advice = advise(policy=f"{label}{path}")
    assert advice.scenario.name == "baseline-filled"
    assert advice.scenario.buckets == 4
    assert advice.notes == []
    said, noted = output(capsys, "advise", "--policy", f"{label}{path}")
    assert said.startswith("baseline-filled: ")
    assert noted == ""
    words = ["--policy", str(path), "--set", "penalties.envelope=1.5"]
    _, noted = output(capsys, "advise", *words)
    assert "another scenario: penalties.envelope 5.0, here 1.5." in noted


def test_a_run_that_cannot_play_the_scenario_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = q_run(tmp_path / "q", load_scenario("baseline-filled", {"order.buckets": 4}))
    line = complaint(capsys, "advise", "--policy", str(path), "--scenario", "baseline")
    assert "buckets 4, here 10. Play what it was trained on with --scenario baseline-filled" in line
    assert "--set order.buckets=4, or train on a scenario that agrees in these." in line
    mine = load_scenario("baseline", {"name": "mine", "order.buckets": 4})
    line = complaint(
        capsys, "advise", "--policy", str(q_run(tmp_path / "b", mine)), "--scenario", "baseline"
    )
    assert "Play what it was trained on with --scenario and the file of mine, or train" in line


def test_a_q_table_tells_what_it_expects() -> None:
    space = without_estimates(SMALL)
    values = np.full((space.size, SMALL.grid_size), -1.0, np.float32)
    values[:, 7], values[:, 3], values[:, 9] = -0.25, -0.5, 0.0  # 0: never tried
    actions = np.full(space.size, 7, np.int32)
    policy = QPolicy(SMALL, space, values, actions, name="table")
    advice = advise(SMALL, policy)
    assert [option.objective for option in advice.options] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert np.array_equal(advice.options[0].post, advice.post)
    assert "objective from here" in text(advice)
    assert "Plain lp would post" in text(advice)
    policy.table_actions[:] = 9
    advice = advise(SMALL, policy)
    assert advice.options[0].objective is None
    assert advice.options[1].objective == 0.25
    assert "never tried" in text(advice)


@pytest.mark.parametrize("masked", [False, True])
def test_ppo_tells_probabilities(masked: bool) -> None:
    scenario = load_scenario("baseline", {"order.size": 300})
    generator = np.random.default_rng(1)
    shape = (scenario.grid_size, feature_count(scenario, "default"))
    layer = Layer(generator.normal(0, 1, shape).astype(np.float32), np.zeros(shape[0], np.float32))
    advice = advise(scenario, PPOPolicy(scenario, [layer], "default", masked))
    chances = [option.probability for option in advice.options]
    assert np.array_equal(advice.options[0].post, advice.post)
    assert all(chance is not None and chance > 0 for chance in chances)
    assert sum(chance or 0 for chance in chances) <= 1 + 1e-12
    assert chances[1:] == sorted(chances[1:], reverse=True)
    assert len({tuple(option.post) for option in advice.options}) == len(chances)
    assert "probability" in text(advice)


def test_notes() -> None:
    assert "No volume is given" in advise(TRACKING, "twap", ["0,0,500"], ["0,0,500"]).notes[0]
    assert advise(TRACKING, "twap").notes == []
    assert advise("baseline", "twap", ["0,0,500"], ["0,0,500"]).notes == []
    notes = advise("baseline", "twap", ["0,0,500"], ["0,0,500"], [400]).notes
    assert "The volume given changes nothing" in notes[0]
    assert "to have traded 400 shares, and 500 of this order filled" in notes[1]


def test_volume_moves_the_envelope() -> None:
    past = ["0,0,500"], ["0,0,500"]
    lower = [advise(TRACKING, "twap", *past, volume).lower for volume in ([9e3], None, [9e5])]
    assert lower[0] < lower[1] < lower[2]


# The command.


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown, noted = output(capsys, "advise", *TWO)
    assert noted == ""
    for words in ("What lp posts in bucket 3:", "2,300 of 10,000 shares", "post now", "The plan:"):
        assert words in shown
    shown, _ = output(capsys, "advise", "--policy", "x=twap", "--set", "order.buckets=5")
    assert "What x posts in bucket 1:" in shown
    assert "Plain lp would post" in shown


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    shown, _ = output(capsys, "advise", *TWO, "--json")
    read = json.loads(shown)
    advice = advise("baseline", "lp", TWO[1:3], TWO[4:6])
    assert read == json.loads(json.dumps(as_json(advice)))
    assert read["bucket"] == 3
    assert [algo["post"] for algo in read["algos"]] == list(advice.post)
    documented = as_json.__doc__ or ""
    for key in [*read, *read["plan"], *read["plan"]["buckets"][0], *read["algos"][0]]:
        assert key in documented


def test_narrow_and_odd_names() -> None:
    scenario = load_scenario("baseline", {"algos.Passive.name": "[red]$x_1$"})
    said = text(advise(scenario), 60)
    assert "[red]" in said
    assert max(map(len, said.splitlines())) <= 60


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["advise", "--help"])
    shown = capsys.readouterr().out
    assert "python evaluate.py advise --posted 1000,500,0 800,400,400" in shown
    for option in ("--posted", "--filled", "--volume", "--json", "--trust", "--set", "--policy"):
        assert option in shown


def one(posted: str, filled: str, *more: str) -> list[str]:
    return ["--posted", posted, "--filled", filled, *more]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--posted", "0,0,0"], ["posted is given for 1 bucket, filled for 0 buckets: give both"]),
        (["--filled", "0,0,0"], ["posted is given for 0 buckets, filled for 1 bucket"]),
        (one("1,2", "1,2"), ['posted in bucket 1 = "1,2": must be 3 numbers of shares, for Aggr']),
        (one("1000,", "0,0,0"), ['bucket 1 = "1000,"', "with commas and no spaces between"]),
        (one("0,0,0", "0,0,0,0"), ['filled in bucket 1 = "0,0,0,0": must be 3 numbers']),
        (one("0,x,0", "0,0,0"), ['posted in bucket 1 through Neutral = "x": must be a whole']),
        (one("0,,0", "0,0,0"), ['posted in bucket 1 through Neutral = "": must be a whole']),
        (
            one("0,0,100.5", "0,0,0"),
            ['through Passive = "100.5": must be a whole number of shares'],
        ),
        (one("0,0,nan", "0,0,0"), ['through Passive = "nan": must be a whole']),
        (one("0,0,inf", "0,0,0"), ['through Passive = "inf": must be a whole']),
        (one("-100,0,0", "0,0,0"), ['through Aggressive = "-100": must be', "0 or more"]),
        (one("0,0,150", "0,0,0"), ['Passive = "150": must be a multiple of the lot size, 100 sh']),
        (one("0,0,150", "0,0,0"), ["the nearest are 100 and 200"]),
        (
            ["--posted", "0,0,100", "0,200,0", "--filled", "0,0,0", "0,300,0"],
            ["filled in bucket 2 through Neutral = 300: only 200 were posted there", "Correct"],
        ),
        (one("0,0,100", "0,100,0"), ["filled in bucket 1 through Neutral = 100: nothing was post"]),
        (
            one("0,100,3000", "0,0,0"),
            ["posted in bucket 1 = 3100 in total: at most 3,000 shares", "the participation rate"],
        ),
        (
            [*one("0,0,3000", "0,0,3000"), *["--set", "order.size=4000", "participation=none"]],
            [],
        ),
        (
            [
                *["--posted", "4000,0,0", "100,0,0", "--filled", "4000,0,0", "0,0,0"],
                *["--set", "order.size=4000", "participation=none"],
            ],
            ["posted in bucket 2 = 100 in total: at most 0", "after 4,000 had filled", "remains"],
        ),
        (one("9" * 40 + "00,0,0", "9" * 40 + "00,0,0"), ["bucket 1 = 999", "at most 3,000"]),
        (one("9" * 5000 + ",0,0", "0,0,0"), ["through Aggressive", "must be a whole number"]),
        (
            [*one("0,0,100", "0,0,0"), "--set", "order.buckets=1", "volume.total=90000"],
            ["posted is given for 1 bucket, and baseline has 1: the order is over"],
        ),
        (
            ["--volume", "5"],
            ["volume is given for 1 bucket, posted for 0 buckets: give one number"],
        ),
        (
            one("0,0,0", "0,0,0", "--volume", "5", "--set", "volume=none", "participation=none"),
            ['volume in bucket 1 = "5": baseline has no [volume] section; leave volume out'],
        ),
        (one("0,0,0", "0,0,0", "--volume", "0"), ['volume in bucket 1 = "0": must be', "above 0"]),
        (one("0,0,0", "0,0,0", "--volume", "-1"), ['volume in bucket 1 = "-1": must be']),
        (one("1_00,0,0", "0,0,0"), ['Aggressive = "1_00": must be a whole number']),
        (one("\uff11\uff10\uff10,0,0", "0,0,0"), ["must be a whole number of shares"]),
        (one("0,0,0", "0,0,0", "--volume", "1_0"), ['volume in bucket 1 = "1_0": must be']),
        (one("0,0,0", "0,0,0", "--volume", "inf"), ['volume in bucket 1 = "inf": must be']),
        (one("0,0,0", "0,0,0", "--volume", "nan"), ['volume in bucket 1 = "nan": must be']),
        (one("0,0,0", "0,0,0", "--volume", "much"), ['volume in bucket 1 = "much": must be']),
        (["--policy", "lpp"], ['policy "lpp": is no built-in policy', 'Did you mean "lp"?']),
        (["--scenario", "basline"], ['Did you mean "baseline"?']),
        (["--polcy", "lp"], ["Did you mean --policy?"]),
        (["--policies", "lp"], ["Did you mean --policy?"]),
    ],
)
def test_what_cannot_be_is_an_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    if not words:
        output(capsys, "advise", *arguments)
        return
    line = complaint(capsys, "advise", *arguments)
    for word in words:
        assert word in line


def test_what_cannot_be_from_a_notebook() -> None:
    for posted in ("0,0,0", [0, 0, 0], [None], [[True, 0, 0]], [[[1], 0, 0]], ["1e400,0,0"]):
        with pytest.raises(ValueError, match="posted"):
            advise("baseline", "twap", posted, [[0, 0, 0]])  # type: ignore[arg-type]
    for volume in ([None], [True], ["x"], [[1]], np.array([1.0, 2.0])):
        with pytest.raises(ValueError, match="volume"):
            advise("baseline", "twap", [[0, 0, 0]], [[0, 0, 0]], volume)  # type: ignore[arg-type]
    advice = advise("baseline", "twap", np.array([[100, 0, 0.0]]), [(0, 0, 0)], np.array([1e4]))  # type: ignore[arg-type]
    assert advice.bucket == 1


def test_a_policy_that_decides_on_no_lots() -> None:
    class Halves(Policy):
        def decide(self, observations: np.ndarray) -> np.ndarray:
            return np.full((len(observations), 3), 0.5)

    with pytest.raises(ValueError, match=r"halves: decided on an array with 0\.5"):
        advise("baseline", Halves(load_scenario("baseline"), "halves"))


# An order's own predictions.


def test_an_order_has_its_own_predictions() -> None:
    scenario = load_scenario("varying-predictions")
    days = numbered_days(scenario, [3])
    own = days.prediction[:, :, 0]
    np.testing.assert_allclose(own_predictions(scenario, own[0]), own, atol=1e-12)
    advice = advise(scenario, "lp", prediction=own[0].tolist())
    observation = OrderAllocationEnv(scenario, observation="full").reset(seed=3)[0]
    np.testing.assert_allclose(advice.observation, observation, rtol=1e-6)
    assert (
        advise(scenario, "lp").post.tolist()
        != advise(scenario, prediction="0.9,0.9,0.9").post.tolist()
    )


@pytest.mark.parametrize(
    ("scenario", "prediction", "message"),
    [
        ("baseline", "0.9,0.7,0.3", "orders of baseline have no predictions of their own"),
        ("varying-predictions", "0.9,0.7", "must be 3 fill rates, of Aggressive, Neutral, Passive"),
        ("varying-predictions", "0.9,0.7,much", "must be numbers from 0 to 1"),
        ("varying-predictions", "0.9,0.7,1.7", "prediction = 1.7 for Passive: must be from"),
    ],
)
def test_predictions_that_cannot_be(scenario: str, prediction: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        advise(scenario, prediction=prediction)


def test_without_them_a_note_says_so() -> None:
    notes = advise("varying-predictions").notes
    assert any("--prediction" in note for note in notes)
