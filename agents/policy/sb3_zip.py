"""Models that Stable-Baselines3 saved with ``model.save``.

Such a zip has a member ``data``, a JSON object of the model's attributes. Numbers and texts are
stored as they are. Every other attribute is pickled, and beside it stand its class and its plain
attributes as text. Unpickling runs any code that the maker of the file put there, so

- a zip is inspected by its text alone;
- it is loaded only if the user trusts it, and only the attributes that predicting needs are
  unpickled. Schedules, buffers and the like are not; other versions of Python cannot read them.

The name of the algorithm is not stored. It follows from the attributes, which differ between
algorithms. Where they do not, it follows from the modules of the classes that the model uses.
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
from agents.policy.sb3_normalised import (
    LAST,
    ORIGINAL,
    Training,
    from_text,
    from_values,
    refusal,
    statistics_for,
)
from agents.storage.files import ELSEWHERE, RunError, one_line, unreadable
from execution_env import Scenario
from execution_env.core.extras import missing
from execution_env.core.validation import shown

MEMBERS = ("data", "policy.pth")
"""Members of every such zip."""

MOST_ZIP_BYTES = 1_000_000_000
"""Largest size of an unpacked zip, bytes, because a few compressed bytes can ask for any size."""

ALGORITHMS = {
    "cg_damping": ("sb3_contrib", "TRPO"),
    "delta_std_schedule": ("sb3_contrib", "ARS"),
    "n_quantiles": ("sb3_contrib", "QRDQN"),
    "exploration_fraction": ("stable_baselines3", "DQN"),
    "clip_range": ("stable_baselines3", "PPO"),
    "gae_lambda": ("stable_baselines3", "A2C"),
}
"""Algorithms with discrete actions: module and name, by an attribute that later ones lack."""

MASKABLE = ("sb3_contrib.common.maskable", ("sb3_contrib", "MaskablePPO"))
"""Package of MaskablePPO's classes, and its module and name. Its attributes are those of PPO."""

RECURRENT = "sb3_contrib.common.recurrent"
"""Package of RecurrentPPO's classes. Its attributes are those of PPO too."""

NEEDED = ("policy_class", "policy_kwargs", "observation_space", "action_space")
"""Attributes that are unpickled. The others are needed only in training."""

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
"""Values for the attributes that setting up a model needs and predicting does not."""


class Saved(NamedTuple):
    """Contents of a zip.

    Attributes:
        module, algorithm: module and name of the model, such as "stable_baselines3" and "PPO".
        version: version of Stable-Baselines3 that wrote it; "unknown" where it is not stored.
        pickled: names of the pickled attributes.
        training: what is known of ``VecNormalize``; None where only pickled values tell.
    """

    module: str
    algorithm: str
    version: str
    pickled: list[str]
    training: Training | None


def is_zip(path: Path) -> bool:
    """Return True for a path named .zip and for any zip file, but never for a directory."""
    if path.is_dir():
        return False
    return path.suffix.lower() == ".zip" or (path.is_file() and zipfile.is_zipfile(path))


def load_zip(
    path: Path, scenario: Scenario, trust: bool = False, normalise: str | Path | None = None
) -> Policy:
    """Return the policy of a model that ``model.save(path)`` wrote. It computes on the CPU.

    The model may be PPO, A2C, DQN, or sb3-contrib's MaskablePPO, TRPO, QRDQN or ARS.

    Its observations and actions must have the shape of ``scenario``'s. The zip does not tell
    whether the model was trained on that scenario. A model that was trained under ``VecNormalize``
    has the statistics of its observations in another file, and needs it.

    Args:
        path: path of the zip.
        scenario: the scenario to play.
        trust: whether to load the zip and the statistics, which can run their maker's code.
        normalise: path of the statistics that ``VecNormalize`` saved; "none" for a model that reads
            raw observations although it was trained under it; None for a model that was not.

    Raises:
        ValueError: the zip is not trusted, and nothing was unpickled; the model was trained under
            ``VecNormalize`` and ``normalise`` is None, or it was not and there are statistics, or
            they are not of such observations; there is no such file; it is damaged or of another
            program; its algorithm cannot act here, or is not installed; the model cannot be
            unpickled, or is for another scenario.
    """
    try:
        with open(path, "rb") as file:
            saved = _inspect(path, file)
            if saved.training is Training.NORMALISED and normalise is None:
                raise refusal(str(path))
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
    training = saved.training or from_values(model)
    before = statistics_for(str(path), training, normalise, model.observation_space)
    policy = Predictor(scenario, str(path), model, before)
    policy.name, policy.train_steps = path.stem, int(model.num_timesteps)
    return policy


# Inspecting the zip.


def _inspect(path: Path, file: BinaryIO) -> Saved:
    """Return the contents of the zip; unpickle nothing.

    Raises:
        ValueError: the zip is damaged, of another program, or of a model that cannot act here.
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
    return Saved(module, algorithm, version, pickled, from_text(data))


def _read(path: Path, file: BinaryIO) -> tuple[dict[str, Any], str]:
    """Return the model's attributes as in JSON, and the Stable-Baselines3 version that wrote them.

    Raises:
        OSError: the file cannot be read.
        RunError: the zip is damaged, too large, or of another program.
    """
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
    """Raise ValueError for a model whose action space is not discrete, such as SAC and TD3."""
    kind = _word(data, "action_space", ":type:").strip("<>'").rpartition(".")[2]
    if kind not in {"Discrete", "MultiDiscrete"}:
        what = "continuous" if kind == "Box" else shown(kind or "unknown")
        raise ValueError(
            f"{path}: holds a model with {what} actions; here they are Discrete (an index into the "
            "grid) or MultiDiscrete (lots). Train with an algorithm for those, such as PPO or DQN."
        )


def _word(data: Mapping[str, Any], name: str, about: str) -> str:
    """Return the text under ``about`` of a pickled attribute; empty where there is none."""
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


# Loading the model.


def _load(path: Path, file: BinaryIO, saved: Saved) -> Any:
    """Return the model, on the CPU; it can predict but not train.

    Raises:
        ValueError: a package that it needs is not installed, or it cannot be unpickled.
    """
    try:
        algorithm = getattr(importlib.import_module(saved.module), saved.algorithm)
    except ImportError as error:
        raise ValueError(
            f"{path}: holds a model of {saved.algorithm}, which cannot be imported: {missing(error)}"
        ) from error
    needed = NEEDED if saved.training else (*NEEDED, LAST, ORIGINAL)
    unused = {name: None for name in saved.pickled if name not in needed} | INERT
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files of old versions, which load nevertheless
            # An attribute that predicting needs must not be left out.
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
    """Return the cause behind ``error`` if that is a warning raised as an error, else ``error``."""
    behind = error.__context__
    return behind if isinstance(error, Warning) and isinstance(behind, Exception) else error
