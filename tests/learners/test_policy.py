from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.learners import LEARNERS, Q_LEARNING
from agents.policy import Policy, check_fits, load_policy, policy_names, widths
from agents.policy import loading as policies
from agents.policy.foreign import Predictor
from agents.rules import OneAlgo, Random, Twap
from agents.storage.files import RunError
from agents.storage.run_directory import RunConfig, new_config, write_config
from execution_env import ScenarioError, load_scenario, numbered_days
from execution_env.allocation.batch import Batch

BASELINE = load_scenario("baseline")
BUILT_IN = ["lp", "lp-buffered", "lp-scenario", "dp", "dp-fine", "dp-adaptive"]
RULES = ["all-aggressive", "all-neutral", "all-passive", "passive-then-sweep", "twap", "random"]


def refused(name: Any, *words: str, scenario: Any = None) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the words are what is tested
        load_policy(name, scenario)
    message = str(error.value)
    for word in words:
        assert word in message, message
    assert message.endswith((".", "?"))
    return message


def starts(count: int, scenario: Any = BASELINE) -> Any:
    """(count, 5 + 2 K) "full" observations of the first bucket."""
    batch = Batch(scenario, count, "lots", "full", informs=False)
    batch.days.put(slice(None), numbered_days(scenario, range(count)))
    return batch.advance(batch.no_actions, batch.everyone, batch.nobody).observations


# Built-in.


def test_names() -> None:
    assert policy_names(BASELINE) == BUILT_IN + RULES


def test_importing_stays_quick() -> None:
    code = "import agents.policy, sys; print([m for m in sys.modules if m in %r])"
    slow = ["highspy", "tyro", "rich", "matplotlib", "agents.lp", "agents.rules"]
    found = subprocess.run(
        [sys.executable, "-c", code % slow],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["lp", *RULES])
def test_built_in_policies(name: str) -> None:
    policy = load_policy(name)
    assert policy.name == name
    assert policy.scenario == BASELINE
    assert (policy.run, policy.train_seconds, policy.train_steps) == (None, None, None)
    assert policy.decide(starts(3)).shape == (3, 3)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_references_exist(name: str) -> None:
    assert callable(policies.attribute(policies.BUILT_IN[name]))


def test_rules_are_named_after_the_algos_of_the_scenario(tmp_path: Path) -> None:
    mine = load_scenario("textbook", {"algos.1.name": "Dark Pool"})
    assert "all-dark-pool" in policy_names(mine)
    assert load_policy("all-dark-pool", mine).scenario == mine
    refused("all-aggressive", "is no built-in", "all-dark-pool", scenario=mine)


def test_the_scenario_goes_by_name_path_or_itself() -> None:
    assert load_policy("twap", "vwap-u-shape").scenario.name == "vwap-u-shape"
    mine = load_scenario("baseline", {"order.buckets": 4})
    assert load_policy("twap", mine).scenario is mine
    with pytest.raises(ScenarioError, match="Did you mean"):
        load_policy("twap", "baselin")


@pytest.mark.parametrize("name", ["clairvoyant", "hindsight"])
def test_bounds_are_no_policies(name: str) -> None:
    refused(name, "is a bound", "evaluate.py always computes it")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("twpa", ['"twpa": is no built-in policy', 'Did you mean "twap"?', "lp-buffered, lp-scen"]),
        ("", ['"": is no built-in policy']),
        ("lp ", ['"lp "', 'Did you mean "lp"?']),
        ("two words", ["no such run directory"]),
        ("runs/none-such", ["runs/none-such: there is no such directory"]),
        (Path("lp"), ["lp: there is no such directory"]),
        (None, ["policy None: must be a name"]),
        (7, ["policy 7: must be a name"]),
    ],
)
def test_unknown_names(name: Any, words: list[str]) -> None:
    refused(name, *words)


# Runs.


class FromFile(Twap):
    """What the loader below makes."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes run directories of a kind of its own."""

    def load(directory: Path, config: RunConfig) -> Policy:
        policy = FromFile(config.scenario, directory.name)
        policy.train_seconds, policy.train_steps = 1.5, 20
        return policy

    module = type(sys)("fake_loader")
    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_loader", module)
    fake = replace(LEARNERS[Q_LEARNING], loader="fake_loader:load")
    monkeypatch.setitem(LEARNERS, "fake", fake)

    def make(name: str = "first", scenario: Any = BASELINE, seed: int = 0, **more: Any) -> Path:
        (tmp_path / name).mkdir()
        write_config(tmp_path / name, new_config("fake", scenario, seed, more))
        return tmp_path / name

    return make


def test_a_run_directory(run: Callable[..., Path]) -> None:
    mine = load_scenario("baseline", {"liquidity.sd": 0.3})
    directory = run(scenario=mine, seed=4)
    for path in (directory, str(directory), f"{directory}/"):
        policy = load_policy(path)
        assert isinstance(policy, FromFile)
        assert policy.name == "first"
        assert policy.scenario == mine  # the run's own
        assert policy.run is not None
        assert policy.run.seed == 4
        assert (policy.train_seconds, policy.train_steps) == (1.5, 20)


def test_a_run_may_be_loaded_for_scenarios_of_the_same_sizes(run: Callable[..., Path]) -> None:
    other = load_scenario("baseline", {"name": "other", "penalties.envelope": 1.0})
    assert isinstance(load_policy(run(), other), FromFile)


def test_a_run_for_something_else_says_all_that_differs(run: Callable[..., Path]) -> None:
    changes = {"order.buckets": 13, "order.size": 20_000, "actions.resolution": 3}
    other = load_scenario("baseline", {"name": "other"} | changes)
    directory = run()
    refused(
        directory,
        f"{directory}: was trained for something else than other: buckets 10, here 13, lots 100, "
        "here 200, actions.resolution 4, here 3.",
        scenario=other,
    )
    refused(directory, "algos 3, here 2", scenario=replace(BASELINE, algos=BASELINE.algos[:2]))


def test_built_in_names_come_before_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Path]
) -> None:
    run("twap")
    monkeypatch.chdir(tmp_path)
    assert type(load_policy("twap")) is Twap
    assert type(load_policy("./twap")) is FromFile
    assert type(load_policy(Path("twap"))) is FromFile


def test_runs_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory"):
        load_policy(tmp_path)
    write_config(tmp_path, new_config("oracle", BASELINE, 0, {}))
    refused(tmp_path, 'is a run of kind "oracle"', "known are q-learning")
    (tmp_path / "config.json").write_text("{")
    refused(tmp_path, "not valid JSON")
    refused(str(tmp_path / "config.json"), "is a file, not a run directory")


# Policies from elsewhere.


class Model:
    """As Stable-Baselines3 has them: posts ``action`` always."""

    def __init__(self, given: Any = 3, state: Any = None, **about: Any) -> None:
        self.given, self.state, self.seen = given, state, (0, 0)
        vars(self).update(about)

    def predict(self, observation: Any, deterministic: bool = False) -> tuple[Any, Any]:
        assert deterministic
        self.seen = observation.shape
        given = np.asarray(self.given)
        if given.dtype == object:
            return None, None
        return np.broadcast_to(given, (len(observation), *given.shape)), self.state


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Module ``mine.policies``."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "policies.py").write_text(
        "from agents.rules import OneAlgo, Twap\n"
        "def slow(scenario): return Twap(scenario, 'slow')\n"
        "def model(scenario): return made\n"
        "def broken(scenario): return 1 / 0\n"
        "def textbook(scenario): return OneAlgo('textbook')\n"
        "number = 3\n"
    )
    (tmp_path / "mine" / "wrong.py").write_text("import nothing_such\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda made: monkeypatch.setattr("mine.policies.made", made, raising=False)
    for name in ("mine", "mine.policies", "mine.wrong"):
        sys.modules.pop(name, None)


def test_a_factory_of_a_policy(module: Any) -> None:
    policy = load_policy("mine.policies:slow", BASELINE)
    assert type(policy) is Twap
    assert policy.name == "slow"
    assert type(load_policy("agents.rules:Random")) is Random
    assert type(load_policy("agents.rules:OneAlgo", "textbook")) is OneAlgo


@pytest.mark.parametrize(
    ("about", "observation", "action"),
    [
        ({}, "default", "grid"),
        ({"observation": "minimal"}, "minimal", "grid"),
        ({"observation": "full", "action": "grid"}, "full", "grid"),
        ({"observation_space": gym.spaces.Box(0, 1, (2,))}, "minimal", "grid"),
        ({"observation_space": gym.spaces.Box(0, 1, (11,))}, "full", "grid"),
        ({"observation_space": gym.spaces.Box(0, 1, (5,)), "observation": "full"}, "full", "grid"),
        ({"action_space": gym.spaces.MultiDiscrete([101] * 3)}, "default", "lots"),
        ({"action_space": gym.spaces.Discrete(35)}, "default", "grid"),
    ],
)
def test_a_factory_of_a_model(
    module: Any, about: dict[str, Any], observation: str, action: str
) -> None:
    lots = [5, 0, 2]
    made = Model(lots if action == "lots" else 0, **about)
    module(made)
    policy = load_policy("mine.policies:model")
    assert isinstance(policy, Predictor)
    assert (policy.name, policy.observation, policy.action) == (
        "mine.policies:model",
        observation,
        action,
    )
    seen = starts(4)
    decided = policy.decide(seen)
    assert made.seen == (4, widths(BASELINE)[observation])
    assert decided.tolist() == [lots if action == "lots" else [0, 0, 0]] * 4
    given, state = policy.predict(seen[0])
    assert state is None
    assert np.array_equal(given, lots if action == "lots" else 0)


def test_grid_actions_of_a_model_are_those_of_the_environment(module: Any) -> None:
    for action in (7, 20, 34):
        module(Model(action))
        policy = load_policy("mine.policies:model")
        env = policy.environment()
        env.reset(seed=0)
        info = env.step(action)[4]
        assert policy.decide(starts(1))[0].tolist() == info["lots_posted"].tolist()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model(35), ["gave action 35; must be 0 to 34"]),
        (Model(-1), ["gave action -1"]),
        (Model(0.5), ["gave float64 of shape (2,)"]),
        (Model([1, 2]), ["gave int64 of shape (2, 2) for 2 observations"]),
        (Model(None), ["gave object of shape ()"]),
        (Model(3, state=1), ["gave a state", "from an observation alone"]),
    ],
)
def test_models_that_predict_something_else(module: Any, model: Model, words: list[str]) -> None:
    module(model)
    policy = load_policy("mine.policies:model")
    with pytest.raises(ValueError, match=r"mine\.policies:model: predict gave") as error:
        policy.decide(starts(2))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Model(observation="all"), ['observation = "all"', '"minimal" or "default" or "full"']),
        (Model(action="shares"), ['action = "shares"', '"grid" or "lots"']),
        (
            Model(observation_space=gym.spaces.Box(0, 1, (6,))),
            ["observations of shape (6,)", "2 (minimal), 5 (default), 11 (full)"],
        ),
        (None, ["gave None; must give a Policy, or an object with predict"]),
        (Model, ["must give a Policy"]),
    ],
)
def test_factories_of_something_else(module: Any, made: Any, words: list[str]) -> None:
    module(made)
    refused("mine.policies:model", "mine.policies:model", *words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none_such:f", ["module none_such cannot be imported", "No module named 'none_such'"]),
        ("mine.none_such:f", ["module mine.none_such cannot be imported"]),
        ("mine.wrong:f", ["cannot be imported", "nothing_such"]),
        ("mine.policies:slo", ["has no function slo.", 'Did you mean "slow"?']),
        ("mine.policies:number", ["has no function number"]),
        ("mine.policies:broken", ["it failed (ZeroDivisionError: division by zero)"]),
        ("mine.policies:textbook", ["it failed"]),
        ("mine.policies:", ["is no built-in policy"]),
        (":slow", ["is no built-in policy"]),
        ("mine/policies:slow", ["there is no such directory"]),
    ],
)
def test_references_that_lead_nowhere(module: Any, name: str, words: list[str]) -> None:
    refused(name, *words)


def test_a_policy_must_fit_its_scenario() -> None:
    finer = load_scenario("baseline", {"actions.resolution": 5})
    check_fits(Twap(BASELINE), finer)  # decides on lots
    with pytest.raises(ValueError, match=r"policy random: .* actions\.resolution 4, here 5"):
        check_fits(Random(BASELINE), finer)
    with pytest.raises(ValueError, match=r"policy twap: .* buckets 10, here 5"):
        check_fits(Twap(BASELINE), load_scenario("baseline", {"order.buckets": 5}))


@pytest.mark.parametrize("name", ["lp", "dp", "twap", "random", "all-passive"])
def test_an_order_that_is_over_posts_nothing(name: str) -> None:
    """As vector environments ask for an action there, and ignore it."""
    policy = load_policy(name)
    env = policy.environment()
    observation, _ = env.reset(seed=0)
    over = observation.copy()
    over[1] = 0.0
    assert np.all(policy.predict(over)[0] == 0)
    both, _ = policy.predict(np.stack([over, observation]))
    assert np.all(both[0] == 0)
    if name != "random":
        assert np.array_equal(both[1], policy.predict(observation)[0])


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan, np.inf])
@pytest.mark.parametrize("name", ["lp", "dp", "twap", "random"])
def test_observations_outside_their_space_are_refused(name: str, wrong: float) -> None:
    policy = load_policy(name)
    observation, _ = policy.environment().reset(seed=0)
    observation[0] = wrong
    with pytest.raises(ValueError, match="must be numbers from 0 to 1"):
        policy.predict(observation)
