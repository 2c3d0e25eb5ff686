"""Models that Stable-Baselines3 saved: they play as they did, and nothing is unpickled unasked."""

from __future__ import annotations

import csv
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import evaluate
from agents.evaluation import compare
from agents.policy import load_policy
from agents.policy.foreign import Predictor
from tests.learners.sb3_models import (
    DAYS,
    KINDS,
    SCENARIO,
    Change,
    edited,
    environment,
    new_model,
    refused,
    serialized,
    unknown,
)

ROOT = Path(__file__).parents[2]
ACTING = list(KINDS)[:7]


@pytest.fixture(scope="module")
def ppo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "mymodel.zip"
    new_model("PPO", environment()).save(path)
    return path


def nothing(data: dict[str, Any]) -> None:
    pass


# Playing.


def objectives(model: Any, env: gym.Env[Any, Any], masked: bool) -> list[float]:
    """Of a model that plays our days itself, one after the other."""
    found = []
    for day in DAYS:
        observation, _ = env.reset(seed=day)
        objective, done = 0.0, False
        while not done:
            masks = {"action_masks": env.unwrapped.action_masks()} if masked else {}
            action, _ = model.predict(observation, deterministic=True, **masks)
            observation, reward, done, _, _ = env.step(action)
            objective -= float(reward)
        found.append(objective)
    return found


@pytest.mark.parametrize(
    ("name", "observation", "action"),
    [
        *((name, "default", "grid") for name in ACTING),
        ("PPO", "minimal", "grid"),
        ("PPO", "full", "lots"),
        ("MaskablePPO", "minimal", "lots"),
        ("MaskablePPO", "full", "grid"),
    ],
)
def test_a_saved_model_plays_as_it_did(
    name: str, observation: str, action: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    env = environment(observation=observation, action=action)
    model = new_model(name, env)
    model.num_timesteps, model.verbose = 12, 1
    model.save(tmp_path / "mymodel")
    policy = load_policy(tmp_path / "mymodel.zip", SCENARIO, trust=True)
    assert isinstance(policy, Predictor)
    assert type(policy.model) is type(model)
    assert (policy.name, policy.action) == ("mymodel", action)
    assert (policy.run, policy.train_seconds, policy.train_steps) == (None, None, 12)
    result = compare([policy], SCENARIO, DAYS)
    played = objectives(model, env, masked=name == "MaskablePPO")
    assert result.objectives[0].tolist() == pytest.approx(played)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("action", ["grid", "lots"])
def test_masks_change_what_a_maskable_model_does(action: str, tmp_path: Path) -> None:
    """So the test above tells whether it gets them; and nothing masked is done."""
    env = environment(action=action)
    model = new_model("MaskablePPO", env)
    model.save(tmp_path / "mymodel")
    policy = load_policy(tmp_path / "mymodel.zip", SCENARIO, trust=True)
    assert policy.observation == "full"  # it has the postable lots
    differing = 0
    full = policy.environment()
    for day in DAYS:
        observation, _ = full.reset(seed=day)
        done = False
        while not done:
            masks = full.unwrapped.action_masks()  # type: ignore[attr-defined]
            given, _ = policy.predict(observation)
            unmasked, _ = model.predict(observation[:5], deterministic=True)
            differing += int((given != unmasked).any())
            assert masks.reshape(given.size, -1)[np.arange(given.size), given].all()
            for drawn in (policy.predict(observation, deterministic=False)[0] for _ in range(3)):
                assert masks.reshape(given.size, -1)[np.arange(given.size), drawn].all()
            observation, _, done, _, _ = full.step(given)
    assert differing > 5


def test_a_model_from_a_factory_gets_masks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_model("MaskablePPO", environment())
    module = type(sys)("mine")
    module.make = lambda scenario: model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mine", module)
    result = compare(["mine:make"], SCENARIO, DAYS)
    assert result.objectives[0].tolist() == pytest.approx(objectives(model, environment(), True))


def test_a_model_draws_actions_where_it_is_asked_to(ppo: Path) -> None:
    policy = load_policy(ppo, SCENARIO, trust=True)
    observation, _ = policy.environment().reset(seed=0)
    many = np.tile(observation, (200, 1))
    assert len(set(policy.predict(many)[0].tolist())) == 1
    assert len(set(policy.predict(many, deterministic=False)[0].tolist())) > 5


def test_loading_leaves_the_randomness_of_others_alone(ppo: Path) -> None:
    np.random.seed(7)  # the model has a seed, too
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr, index]
    load_policy(ppo, SCENARIO, trust=True)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[union-attr, index]


def test_names_of_files(ppo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mymodel.zip", "MODEL.ZIP", "ppo.v1"):  # model.save("ppo.v1") adds no ending
        Path(name).write_bytes(ppo.read_bytes())
        for given in (name, f"./{name}", Path(name)):
            policy = load_policy(given, SCENARIO, trust=True)
            assert policy.name == name.rpartition(".")[0]


# Trust.


def test_without_trust_nothing_is_loaded_and_the_message_says_why(ppo: Path) -> None:
    why = (
        f"{ppo}: a Stable-Baselines3 zip holds pickled data; loading it can run code of whoever made "
        "the file. If you made it, or trust its maker, --trust loads it (trust=True in code)."
    )
    assert refused(ppo, trust=False) == why
    for given in (ppo, str(ppo), f"mine={ppo}"):
        with pytest.raises(ValueError, match="pickled data") as error:
            compare([given], SCENARIO, DAYS)
        assert str(error.value) == why


class Payload:
    """Makes a file when it is unpickled, and becomes an empty dictionary."""

    def __init__(self, marker: Path) -> None:
        self.code = f"open({str(marker)!r}, 'w').close() or {{}}"

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (self.code,)


def recurrent(data: dict[str, Any]) -> None:
    data["policy_class"]["__module__"] = "sb3_contrib.common.recurrent.policies"


def continuous(data: dict[str, Any]) -> None:
    data["action_space"][":type:"] = "<class 'gymnasium.spaces.box.Box'>"


def incomplete(data: dict[str, Any]) -> None:
    del data["observation_space"]


@pytest.mark.parametrize("change", [nothing, recurrent, continuous, unknown, incomplete])
def test_without_trust_nothing_is_unpickled(change: Change, ppo: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    def poison(data: dict[str, Any]) -> None:
        bomb = pickle.dumps(Payload(marker))
        for name in list(data):
            if isinstance(data[name], dict):
                data[name] |= serialized(bomb, data[name].get(":type:", "<class 'dict'>"))
        change(data)

    path = edited(
        ppo, tmp_path / "model.zip", poison, **{"policy.pth": pickle.dumps(Payload(marker))}
    )
    refused(path, trust=False)
    with pytest.raises(ValueError, match=r"model\.zip: "):
        compare([path], SCENARIO, DAYS)
    assert not marker.exists()
    if change is nothing:  # the payload is real
        refused(path, "cannot be loaded as a model of PPO", trust=True)
        assert marker.exists()
    else:  # refused for what it says it is, whether trusted or not
        refused(path, trust=True)
        assert not marker.exists()


def test_with_trust_only_what_predicting_needs_is_unpickled(ppo: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    def poison(data: dict[str, Any]) -> None:
        for name in ("clip_range", "lr_schedule", "ep_info_buffer", "rollout_buffer_class", "new"):
            data[name] = serialized(pickle.dumps(Payload(marker)))
        data["learning_rate"] = serialized(b"of another version of Python")

    path = edited(ppo, tmp_path / "model.zip", poison)
    policy = load_policy(path, SCENARIO, trust=True)
    assert not marker.exists()
    twin = load_policy(ppo, SCENARIO, trust=True)
    observations = np.random.default_rng(0).random((100, 5), np.float32)
    assert np.array_equal(policy.predict(observations)[0], twin.predict(observations)[0])

    def needed(data: dict[str, Any]) -> None:
        data["policy_kwargs"] = serialized(pickle.dumps(Payload(marker)))

    refused(edited(ppo, path, needed), "state_dict", trust=True)  # the layers were named there
    assert marker.exists()


def test_torch_is_not_even_imported_without_trust(ppo: Path) -> None:
    code = (
        "import sys\nfrom agents.policy import load_policy\n"
        "try: load_policy(sys.argv[1])\nexcept ValueError as error: print(error)\n"
        "print([name for name in ('torch', 'stable_baselines3', 'cloudpickle') if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(ppo)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    message, imported = found.stdout.splitlines()
    assert "pickled data" in message
    assert imported == "[]"


# The command line.

FEW = [
    "--set",
    "order.buckets=3",
    "order.size=1000",
    "--episodes",
    "20",
    "--out",
    "out",
    "--no-figures",
]


def test_evaluate_says_why_it_does_not_load_a_zip(
    ppo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for given in (str(ppo), f"mine={ppo}"):
        assert evaluate.main(["--policies", "lp", given, *FEW]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        assert line.startswith(f"error: {ppo}: a Stable-Baselines3 zip holds pickled data")
        assert "--trust" in line


def test_evaluate_with_trust(
    ppo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(["--policies", "twap", f"mine={ppo}", str(ppo), "--trust", *FEW]) == 0
    with open("out/comparison.csv", newline="", encoding="utf-8") as file:
        rows = {row["policy"]: row for row in csv.DictReader(file)}
    assert {"twap", "mine", "mymodel", "lp"} <= set(rows)
    assert rows["mine"]["objective_mean"] == rows["mymodel"]["objective_mean"]
    page = Path("out/comparison.md").read_text()
    command = shlex.split(page.splitlines()[2])
    assert command[:2] == ["python", "evaluate.py"]
    assert "--trust" in command
    capsys.readouterr()
    before = Path("out/episodes.csv").read_bytes()
    assert evaluate.main(command[2:]) == 0
    assert Path("out/episodes.csv").read_bytes() == before
