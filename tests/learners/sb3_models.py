"""Zip files of untrained Stable-Baselines3 models, edited or not."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import sb3_contrib
import stable_baselines3

from agents.policy import load_policy, sb3_zip
from execution_env import Scenario, load_scenario

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

Change = Callable[[dict[str, Any]], Any]


def environment(scenario: Scenario = SCENARIO, **arguments: Any) -> gym.Env[Any, Any]:
    return gym.make("execution_env/OrderAllocation-v0", scenario=scenario, **arguments)


def new_model(name: str, env: gym.Env[Any, Any]) -> Any:
    """An untrained one."""
    module = stable_baselines3 if hasattr(stable_baselines3, name) else sb3_contrib
    policy = "MlpLstmPolicy" if name == "RecurrentPPO" else "MlpPolicy"
    return getattr(module, name)(policy, env, seed=3, **deepcopy(KINDS[name]))


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


def unknown(data: dict[str, Any]) -> None:
    for name in sb3_zip.ALGORITHMS:
        data.pop(name, None)
