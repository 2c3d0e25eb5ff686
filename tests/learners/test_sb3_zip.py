"""Models that Stable-Baselines3 saved: they play as they did, and nothing is unpickled unasked."""

from __future__ import annotations

import base64
import csv
import json
import pickle
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
import torch

import evaluate
from agents.evaluation import compare
from agents.policy import load_policy, sb3_zip
from agents.policy.foreign import Predictor
from execution_env import Scenario, load_scenario

ROOT = Path(__file__).parents[2]
SMALL = {"order.buckets": 3, "order.size": 1000}  # 10 lots: masks count
SCENARIO = load_scenario("baseline", SMALL)
DAYS = range(50)

TINY = {"policy_kwargs": {"net_arch": [8]}}
OFF_POLICY = TINY | {"buffer_size": 10}
KINDS: dict[str, dict[str, Any]] = {
    "PPO": TINY,
    "A2C": TINY,
    "DQN": OFF_POLICY,
    "MaskablePPO": TINY,
    "TRPO": TINY,
    "QRDQN": OFF_POLICY,
    "ARS": TINY | {"zero_policy": False},
    "RecurrentPPO": {"policy_kwargs": {"lstm_hidden_size": 4}},
    "SAC": OFF_POLICY,
    "TD3": OFF_POLICY,
}
ACTING = list(KINDS)[:7]

Change = Callable[[dict[str, Any]], Any]


def environment(scenario: Scenario = SCENARIO, **arguments: Any) -> gym.Env[Any, Any]:
    return gym.make("execution_env/OrderAllocation-v0", scenario=scenario, **arguments)


def new_model(name: str, env: gym.Env[Any, Any]) -> Any:
    """An untrained one."""
    module = stable_baselines3 if hasattr(stable_baselines3, name) else sb3_contrib
    policy = "MlpLstmPolicy" if name == "RecurrentPPO" else "MlpPolicy"
    return getattr(module, name)(policy, env, seed=3, **deepcopy(KINDS[name]))


@pytest.fixture(scope="module")
def ppo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "mymodel.zip"
    new_model("PPO", environment()).save(path)
    return path


def edited(path: Path, to: Path, change: Change, **members: bytes) -> Path:
    """A copy of a zip with ``change`` made to its data, and some other members."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            content = members.get(name, old.read(name))
            if name == "data":
                data = json.loads(content)
                change(data)
                content = json.dumps(data).encode()
            new.writestr(name, content)
    return to


def nothing(data: dict[str, Any]) -> None:
    pass


def serialized(pickle_bytes: bytes, kind: str = "<class 'dict'>", **words: Any) -> dict[str, Any]:
    """As it stands in the data."""
    text = base64.b64encode(pickle_bytes).decode()
    return {":type:": kind, ":serialized:": text, **words}


def refused(path: Any, *words: str, scenario: Any = SCENARIO, trust: bool = True) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the words are what is tested
        load_policy(path, scenario, trust)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert message.endswith(".")
    return message


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


def unknown(data: dict[str, Any]) -> None:
    for name in sb3_zip.ALGORITHMS:
        data.pop(name, None)


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


# What cannot be loaded.


@pytest.mark.parametrize("name", ["RecurrentPPO", "SAC", "TD3"])
@pytest.mark.parametrize("trust", [False, True])
def test_models_that_cannot_act_here(name: str, trust: bool, tmp_path: Path) -> None:
    box = gym.spaces.Box(-1.0, 1.0, (1,))
    env = environment()
    if name != "RecurrentPPO":
        env = gym.wrappers.TransformAction(env, lambda action: 0, box)
    new_model(name, env).save(tmp_path / "model.zip")
    words = {
        "RecurrentPPO": ["RecurrentPPO", "keeps a state", "Train with PPO or MaskablePPO"],
        "SAC": ["continuous actions", "Discrete (an index into the grid)", "such as PPO or DQN"],
    }
    refused(tmp_path / "model.zip", *words.get(name, words["SAC"]), trust=trust)


def test_an_algorithm_that_is_not_known(ppo: Path, tmp_path: Path) -> None:
    path = edited(ppo, tmp_path / "model.zip", unknown)
    refused(path, "an algorithm that is not known here", "TRPO", "MaskablePPO")


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path / "none.zip", "there is no such file. Check the path.")
    monkeypatch.chdir(tmp_path)
    refused("none.zip", "there is no such file")


def test_a_file_that_cannot_be_read(ppo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", forbidden)
    refused(ppo, "cannot be read (Permission denied). Check its permissions")


def test_a_directory_called_zip_is_a_run_directory(tmp_path: Path) -> None:
    (tmp_path / "run.zip").mkdir()
    refused(tmp_path / "run.zip", "is no run directory, it has no config.json")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all" * 100])
def test_a_file_that_is_no_zip(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(content)
    refused(path, "damaged, or no zip file", "Restore it from a copy, or make it again.")


def test_a_zip_cut_short(ppo: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(ppo.read_bytes()[:-100])
    # The end of a file of weights, a zip of its own, now looks like that of the whole.
    refused(path, "has no member data, or was cut short", trust=False)


@pytest.mark.parametrize("member", ["data", "policy.pth"])
def test_a_zip_with_a_wrong_byte(member: str, ppo: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    content = bytearray(ppo.read_bytes())
    with zipfile.ZipFile(ppo) as archive:
        content[archive.getinfo(member).header_offset + 300] ^= 1
    path.write_bytes(content)
    refused(path, f"damaged, {member} does not fit its checksum. Restore it", trust=False)


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    for name in ("policy.npz", "policy.zip"):
        with open(tmp_path / name, "wb") as file:
            np.savez(file, values=np.ones(3))
        refused(
            tmp_path / name,
            "is no model that Stable-Baselines3 saved: it has no member data",
            "of a run, give the directory",
            trust=False,
        )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[1, 2]", "its data are no JSON object"),
        (b"{}", "its data have no policy_class"),
        (b"{", "damaged, or no zip file (Expecting property name"),
        (b"[" * 100_000, "damaged"),
        (b"\xff", "damaged"),
    ],
)
def test_a_zip_with_other_data(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", data)
        archive.writestr("policy.pth", b"")
    refused(path, words, trust=False)


def test_a_zip_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sb3_zip, "MOST_ZIP_BYTES", 10_000)
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", b" " * 20_000)
        archive.writestr("policy.pth", b"")
    refused(path, "unpacked it is larger than 10,000 bytes", trust=False)


def test_a_zip_that_was_packed_again_is_loaded(ppo: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(ppo) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert load_policy(path, SCENARIO, trust=True).name == "model"


@pytest.mark.parametrize(
    ("name", "package"), [("DQN", "stable-baselines3"), ("TRPO", "sb3-contrib")]
)
def test_packages_that_are_not_installed(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_model(name, environment()).save(tmp_path / "model.zip")
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    refused(tmp_path / "model.zip", name, f"needs the package {package}", f"pip install {package}.")


class Vanished:
    """A class that a model was saved with."""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"of another version", ["UnpicklingError"]),
        (b"cnone_such\nThing\n.", ["ModuleNotFoundError", "No module named 'none_such'"]),
        # Stable-Baselines3 only warns of this, and would go on with another network.
        (b"cagents.policy\nVanished\n.", ["AttributeError", "Vanished"]),
    ],
)
def test_a_model_that_cannot_be_unpickled(
    content: bytes, words: list[str], ppo: Path, tmp_path: Path
) -> None:
    def change(data: dict[str, Any]) -> None:
        data["policy_kwargs"] = serialized(content)

    path = edited(ppo, tmp_path / "model.zip", change, _stable_baselines3_version=b"1.8.0\n")
    here = stable_baselines3.__version__
    refused(
        path,
        "cannot be loaded as a model of PPO",
        *words,
        f"saved with Stable-Baselines3 1.8.0, here is {here}; if they differ, install that version",
    )


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    model = new_model("PPO", environment())
    with torch.no_grad():
        model.policy.action_net.weight.fill_(float("nan"))
    model.save(tmp_path / "model.zip")
    with pytest.raises(ValueError, match=r"model: predict failed \(ValueError: Expected parameter"):
        compare([tmp_path / "model.zip"], SCENARIO, DAYS, trust=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"actions.resolution": 5}, "act in Discrete(35); this scenario has Discrete(56) (grid)"),
        (
            None,
            "on observations of shape (5,); this scenario has 2 (minimal), 4 (default), 9 (full)",
        ),
    ],
)
def test_a_model_for_another_scenario(
    changes: dict[str, Any] | None, words: str, ppo: Path
) -> None:
    other = load_scenario("baseline", changes) if changes else load_scenario("two-algos")
    refused(ppo, words, "Play the scenario that it was trained on.", scenario=other)


def test_a_model_of_lots_for_another_scenario(tmp_path: Path) -> None:
    new_model("PPO", environment(action="lots")).save(tmp_path / "model.zip")
    words = "MultiDiscrete([11 11 11]); this scenario has Discrete(35) (grid), MultiDiscrete([101, "
    refused(tmp_path / "model.zip", words, scenario="baseline")


def test_a_model_of_other_observations(tmp_path: Path) -> None:
    env = gym.wrappers.TransformObservation(environment(), lambda _: 0, gym.spaces.Discrete(3))
    new_model("PPO", env).save(tmp_path / "model.zip")
    refused(
        tmp_path / "model.zip", "was trained on observations in Discrete(3); this scenario has 2"
    )


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
