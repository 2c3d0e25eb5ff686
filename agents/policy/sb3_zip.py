"""Models that Stable-Baselines3 saved with ``model.save``.

Such a zip has a member ``data``, a JSON object of what the model's attributes are. Numbers and texts
stand there as themselves; everything else is pickled, with its class and its plain attributes beside
it in words. Unpickling runs whatever the maker of the file wants to be run, so

- what a zip holds is read from the words alone;
- it is loaded only if the user trusts it, and then no more of it is unpickled than predicting needs:
  schedules, buffers and the like, which also are what other versions of Python cannot read, are not.

The name of the algorithm is not stored. It follows from the attributes, which differ between
algorithms, and where they do not, from the modules of the classes that it uses.
"""

from __future__ import annotations

import importlib
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from agents.policy.base import Policy
from agents.policy.foreign import Predictor
from agents.storage.files import ELSEWHERE, RunError, one_line, unreadable
from execution_env import Scenario
from execution_env.core.validation import shown

MEMBERS = ("data", "policy.pth")
"""What every such zip holds."""

MOST_ZIP_BYTES = 1_000_000_000
"""Of a zip when unpacked: a few compressed bytes cannot ask for more."""

ALGORITHMS = {
    "cg_damping": ("sb3_contrib", "TRPO"),
    "delta_std_schedule": ("sb3_contrib", "ARS"),
    "n_quantiles": ("sb3_contrib", "QRDQN"),
    "exploration_fraction": ("stable_baselines3", "DQN"),
    "clip_range": ("stable_baselines3", "PPO"),
    "gae_lambda": ("stable_baselines3", "A2C"),
}
"""Algorithms with discrete actions, module and name, by an attribute that those below do not have."""

MASKABLE = ("sb3_contrib.common.maskable", ("sb3_contrib", "MaskablePPO"))
"""Where the classes of MaskablePPO are; its attributes are those of PPO."""

RECURRENT = "sb3_contrib.common.recurrent"
"""Where those of RecurrentPPO are; so are its attributes."""

NEEDED = ("policy_class", "policy_kwargs", "observation_space", "action_space")
"""Attributes that are unpickled; others only train."""

INERT: dict[str, Any] = {
    "seed": None,  # would reseed NumPy and torch for everybody
    "learning_rate": 0.0,
    "clip_range": 0.2,
    "train_freq": 1,
    "n_envs": 1,
    "n_steps": 1,
    "buffer_size": 1,  # buffers are made, and may be gigabytes
    "optimize_memory_usage": False,
    "replay_buffer_kwargs": {},
    "rollout_buffer_kwargs": {},
}
"""What takes the place of attributes that setting up a model asks for and predicting does not."""


class Saved(NamedTuple):
    """What a zip holds.

    Attributes:
        module, algorithm: of the model, such as "stable_baselines3" and "PPO".
        version: of Stable-Baselines3 that wrote it; "unknown" where it does not tell.
        pickled: names of the attributes that are.
    """

    module: str
    algorithm: str
    version: str
    pickled: list[str]


def is_zip(path: Path) -> bool:
    """Whether ``path`` is called .zip, or is a zip file by another name, and is no directory."""
    if path.is_dir():
        return False
    return path.suffix.lower() == ".zip" or (path.is_file() and zipfile.is_zipfile(path))


def load_zip(path: Path, scenario: Scenario, trust: bool = False) -> Policy:
    """The policy of a model that ``model.save(path)`` wrote: PPO, A2C, DQN, or sb3-contrib's
    MaskablePPO, TRPO, QRDQN or ARS. It computes on the CPU.

    Its observations and actions must have the shape of ``scenario``'s; whether it was trained on that
    scenario the zip does not tell. Neither does it tell of ``VecNormalize``: a model trained on
    normalised observations has their statistics in a file of its own, and decides badly here.

    Args:
        path: of the zip.
        scenario: that it is for.
        trust: whether to load it, which can run code of whoever made it.

    Raises:
        ValueError: it is not trusted, and nothing was unpickled; there is no such file, it is damaged
            or of something else; its algorithm cannot act here, or is not installed; the model cannot
            be unpickled, or is for another scenario.
    """
    try:
        with open(path, "rb") as file:
            saved = _inspect(path, file)
            if not trust:
                raise ValueError(
                    f"{path}: a Stable-Baselines3 zip holds pickled data; loading it can run code of "
                    "whoever made the file. If you made it, or trust its maker, --trust loads it "
                    "(trust=True in code)."
                )
            model = _load(path, file, saved)
    except FileNotFoundError:
        raise RunError(f"{path}: there is no such file. Check the path.") from None
    except OSError as error:
        raise unreadable(path, error) from error
    policy = Predictor(scenario, str(path), model)
    policy.name, policy.train_steps = path.stem, int(model.num_timesteps)
    return policy


# What it holds.


def _inspect(path: Path, file: BinaryIO) -> Saved:
    """What the zip holds. Nothing is unpickled.

    Raises:
        ValueError: it is damaged, of something else, or of a model that cannot act here.
    """
    data, version = _read(path, file)
    for name in NEEDED:
        if name not in data:
            raise _no_model(path, f"its data have no {name}")
    _check_actions(path, data)
    modules = [_word(data, name, "__module__") for name in ("policy_class", "rollout_buffer_class")]
    if any(module.startswith(RECURRENT) for module in modules):
        raise ValueError(
            f"{path}: holds a RecurrentPPO model, which keeps a state between buckets; policies here "
            "decide from an observation alone. Train with PPO or MaskablePPO."
        )
    found = [algorithm for name, algorithm in ALGORITHMS.items() if name in data]
    if not found:
        known = ", ".join(name for _, name in (*ALGORITHMS.values(), MASKABLE[1]))
        raise ValueError(
            f"{path}: holds a model of an algorithm that is not known here; known are {known}."
        )
    module, algorithm = found[0]
    if any(module.startswith(MASKABLE[0]) for module in modules):
        module, algorithm = MASKABLE[1]
    pickled = [name for name, value in data.items() if _is_pickled(value)]
    return Saved(module, algorithm, version, pickled)


def _read(path: Path, file: BinaryIO) -> tuple[dict[str, Any], str]:
    """Attributes of the model, as JSON has them, and the version that wrote them."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {member.filename: member.file_size for member in archive.infolist()}
            for name in MEMBERS:
                if name not in members:
                    raise _no_model(path, f"it has no member {name}, or was cut short")
            if sum(members.values()) > MOST_ZIP_BYTES:
                raise _no_model(path, f"unpacked it is larger than {MOST_ZIP_BYTES:,} bytes")
            if broken := archive.testzip():
                raise RunError(f"{path}: damaged, {broken} does not fit its checksum. {ELSEWHERE}")
            data = json.loads(archive.read("data"))
            version = "unknown"
            if "_stable_baselines3_version" in members:
                version = archive.read("_stable_baselines3_version").decode().strip()
    except (OSError, RunError):
        raise
    except Exception as error:  # damaged bytes make the readers raise nearly anything
        raise RunError(
            f"{path}: damaged, or no zip file ({one_line(error)}). {ELSEWHERE}"
        ) from error
    if not isinstance(data, dict):
        raise _no_model(path, "its data are no JSON object")
    return data, version


def _check_actions(path: Path, data: Mapping[str, Any]) -> None:
    """Refuse what acts in something else than a discrete space, such as SAC and TD3."""
    kind = _word(data, "action_space", ":type:").strip("<>'").rpartition(".")[2]
    if kind not in {"Discrete", "MultiDiscrete"}:
        what = "continuous" if kind == "Box" else shown(kind or "unknown")
        raise ValueError(
            f"{path}: holds a model with {what} actions; here they are Discrete (an index into the "
            "grid) or MultiDiscrete (lots). Train with an algorithm for those, such as PPO or DQN."
        )


def _word(data: Mapping[str, Any], name: str, about: str) -> str:
    """What ``data`` say in words about a pickled attribute; empty where they do not."""
    value = data.get(name)
    word = value.get(about) if isinstance(value, dict) else None
    return word if isinstance(word, str) else ""


def _is_pickled(value: Any) -> bool:
    return isinstance(value, dict) and ":serialized:" in value


def _no_model(path: Path, why: str) -> RunError:
    return RunError(
        f"{path}: is no model that Stable-Baselines3 saved: {why}. Give a file that model.save(...) "
        "wrote; of a run, give the directory."
    )


# Loading it.


def _load(path: Path, file: BinaryIO, saved: Saved) -> Any:
    """The model, on the CPU; to predict with, not to train on.

    Raises:
        ValueError: what it needs is not installed, or it cannot be unpickled.
    """
    try:
        algorithm = getattr(importlib.import_module(saved.module), saved.algorithm)
    except ImportError as error:
        package = saved.module.replace("_", "-")
        raise ValueError(
            f"{path}: holds a model of {saved.algorithm}, which needs the package {package} "
            f"({one_line(error)}): pip install {package}."
        ) from error
    unused = {name: None for name in saved.pickled if name not in NEEDED} | INERT
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old versions, which it reads all the same
            # What predicting needs must not be left out.
            warnings.filterwarnings("error", message="Could not deserialize")
            return algorithm.load(file, device="cpu", custom_objects=unused)
    except Exception as error:  # unpickling may raise anything
        why = _cause(error)
        here = importlib.import_module("stable_baselines3").__version__
        raise ValueError(
            f"{path}: cannot be loaded as a model of {saved.algorithm} ({type(why).__name__}: "
            f"{one_line(why)}). It was saved with Stable-Baselines3 {saved.version}, here is {here}; "
            "if they differ, install that version. Classes of its own must be importable here."
        ) from error


def _cause(error: Exception) -> Exception:
    """What went wrong, where ``error`` is the warning that it is raised as."""
    behind = error.__context__
    return behind if isinstance(error, Warning) and isinstance(behind, Exception) else error
