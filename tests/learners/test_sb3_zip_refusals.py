"""Zip files of Stable-Baselines3 that cannot be loaded: one error that says why."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch

from agents.evaluation import compare
from agents.policy import load_policy, sb3_zip
from execution_env import load_scenario
from tests.learners.sb3_models import (
    DAYS,
    SCENARIO,
    edited,
    environment,
    new_model,
    refused,
    serialized,
    unknown,
)


@pytest.fixture(scope="module")
def ppo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "mymodel.zip"
    new_model("PPO", environment()).save(path)
    return path


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
    refused(tmp_path / "model.zip", name, f'is not installed: pip install "{package}".')


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
