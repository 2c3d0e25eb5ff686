"""Models of Stable-Baselines3 that were trained under ``VecNormalize``, and its statistics.

``VecNormalize`` wraps the environments of a training. It subtracts a running mean from every
observation, divides by a running standard deviation and clips. The model's zip has no statistics;
``venv.save(path)`` pickles them to a file of their own. A model that gets raw observations instead
decides badly, without an error.

The zip tells such a training by the attribute ``_last_original_obs``, the last observation before
normalising. Algorithms with a rollout buffer (PPO, A2C, ...) have it after such a training only.
Algorithms with a replay buffer (DQN, QRDQN) always have it. Theirs is the observation of the step
before ``_last_obs`` without ``VecNormalize``, and of the same step with it, so its values tell.
"""

from __future__ import annotations

import enum
import importlib
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from agents.policy.observed import Observations
from agents.storage.files import RunError, one_line, unreadable

Normalise = Callable[[Observations], Observations]
"""Function from (n, D) raw observations to (n, D) normalised ones."""

RAW = "none"
"""Word in place of a file of statistics: the model reads raw observations."""

LAST, ORIGINAL = "_last_obs", "_last_original_obs"
"""Attributes of a model: its last observation, and the same or an earlier one, never normalised."""

REMEDY = (
    f"If only rewards were normalised, or nothing was, --normalise {RAW} says so (normalise="
    f'"{RAW}" in code).'
)

MOST_STATISTICS_BYTES = 10_000_000
"""Largest file of statistics, bytes. They are some numbers per column of an observation."""


class Training(enum.Enum):
    """Observations that a model was trained on, as far as it tells."""

    RAW = "raw observations"
    NORMALISED = "normalised observations, or normalised rewards"
    REWARDS = "raw observations and normalised rewards"
    UNKNOWN = "unknown, because it was never trained"


def from_text(attributes: Mapping[str, Any]) -> Training | None:
    """Return what the presence of attributes tells; None where only their values tell.

    Args:
        attributes: the model's attributes, or the JSON object in its zip.
    """
    if attributes.get(ORIGINAL) is not None:
        return None if "replay_buffer_class" in attributes else Training.NORMALISED
    return Training.UNKNOWN if attributes.get(LAST) is None else Training.RAW


def from_values(model: Any) -> Training:
    """Return what the last observations of a model with a replay buffer tell.

    Without ``VecNormalize`` they follow the original ones in an order: a bucket later, or an
    order's first. With it they are the same, normalised or not.
    """
    last, original = getattr(model, LAST, None), getattr(model, ORIGINAL, None)
    if not (isinstance(last, np.ndarray) and isinstance(original, np.ndarray)):
        return Training.NORMALISED
    if last.shape != original.shape or last.ndim != 2 or last.shape[1] < 2:
        return Training.NORMALISED
    if np.array_equal(last, original):
        return Training.REWARDS
    space = model.observation_space
    if not (isinstance(space, gym.spaces.Box) and all(map(space.contains, last))):
        return Training.NORMALISED
    now, before = last[:, 1].astype(np.float64), original[:, 1].astype(np.float64)
    bucket = before - now  # the second column is the share of the buckets that is left
    with np.errstate(divide="ignore", invalid="ignore"):
        later = (bucket > 0) & _whole(1 / bucket) & _whole(now / bucket)
    first = (last[:, :2] == 1).all(axis=1)
    return Training.RAW if (later | first).all() else Training.NORMALISED


def _whole(numbers: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return True where numbers are whole, as exactly as float32 shares of as many buckets are."""
    found: np.ndarray[Any, np.dtype[np.bool_]] = (
        np.abs(numbers - np.rint(numbers)) <= 1e-3 + 1e-6 * numbers**2
    )
    return found


def refusal(name: str) -> ValueError:
    """Return the error for a model that needs statistics and got none."""
    return ValueError(
        f"{name}: was trained under VecNormalize, and raw observations would mislead it. Give the file "
        f"that venv.save(...) wrote: --trust --normalise FILE.pkl (normalise=... in code). {REMEDY}"
    )


def statistics_for(
    name: str, training: Training, given: str | Path | None, space: Any
) -> Normalise | None:
    """Return the normalisation of a zip's observations; None for raw ones.

    Args:
        name: path of the zip, for errors.
        training: what the model was trained on.
        given: path of the statistics, whose maker is trusted; ``RAW``; or None.
        space: observation space of the model.

    Raises:
        ValueError: statistics are missing, not needed, or wrong.
    """
    if given is None:
        if training is Training.NORMALISED:
            raise refusal(name)
        return None
    if str(given) == RAW:
        return None
    if training is Training.RAW:
        raise ValueError(
            f"{name}: was trained without VecNormalize, on raw observations; leave out --normalise "
            f"{given}."
        )
    return load_statistics(Path(given), getattr(space, "shape", None))


def live_normalise(name: str, model: Any) -> Normalise | None:
    """Return the normalisation of a live model, from its own ``VecNormalize``; None without one.

    Args:
        name: name of the policy, for errors.
        model: any object that predicts.

    Raises:
        ValueError: it was trained under ``VecNormalize`` and does not have the statistics.
    """
    environment = getattr(model, "get_vec_normalize_env", None)
    if environment is None:  # no model of Stable-Baselines3
        return None
    statistics = environment()
    if statistics is not None:
        return _normalise_of(statistics)
    if (from_text(vars(model)) or from_values(model)) is Training.NORMALISED:
        raise ValueError(
            f"{name}: gave a model that was trained under VecNormalize, and raw observations would "
            "mislead it. Give it VecNormalize.load(FILE, venv) by set_env, or delete its "
            f"{ORIGINAL} if only rewards were normalised."
        )
    return None


def load_statistics(path: Path, shape: tuple[int, ...] | None) -> Normalise | None:
    """Return the normalisation that ``venv.save(path)`` wrote; None if only rewards were normalised.

    Unpickling the file runs any code that its maker put there.

    Args:
        path: path of the file.
        shape: shape of the model's observations, (D,).

    Raises:
        ValueError: there is no such file, it cannot be unpickled, it holds something else, or its
            statistics are impossible or of other observations.
    """
    try:
        if path.stat().st_size > MOST_STATISTICS_BYTES:
            raise _no_statistics(path, f"it is larger than {MOST_STATISTICS_BYTES:,} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # ``load_zip`` gets here only if the user trusts the makers of zip and statistics.
            statistics = pickle.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunError(f"{path}: there is no such file. Check the path.") from None
    except OSError as error:
        raise unreadable(path, error) from error
    except RunError:
        raise
    except Exception as error:  # unpickling may raise anything
        raise _no_statistics(
            path, f"it cannot be unpickled ({type(error).__name__}: {one_line(error)})"
        ) from error
    kind = importlib.import_module("stable_baselines3.common.vec_env").VecNormalize
    if not isinstance(statistics, kind):
        raise _no_statistics(path, f"it holds an object of class {type(statistics).__name__}")
    _check(path, vars(statistics), shape)
    return _normalise_of(statistics)


def _normalise_of(statistics: Any) -> Normalise | None:
    found: Normalise = statistics.normalize_obs
    return found if statistics.norm_obs else None


def _check(path: Path, held: Mapping[str, Any], shape: tuple[int, ...] | None) -> None:
    """Raise ValueError unless the attributes ``held`` can normalise observations of ``shape``."""
    try:
        if not held["norm_obs"]:
            return
        if isinstance(held["obs_rms"], dict):
            raise _no_statistics(path, "its observations are dictionaries, not vectors")
        moments = [np.asarray(getattr(held["obs_rms"], name), float) for name in ("mean", "var")]
        limits = [float(held[name]) for name in ("epsilon", "clip_obs")]
    except RunError:
        raise
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise _no_statistics(path, f"it lacks numbers ({one_line(error)})") from error
    for moment in moments:
        if moment.shape != shape:
            raise ValueError(
                f"{path}: holds statistics of observations of shape {moment.shape}, the model reads "
                f"{shape}. Give the file that was saved beside the model."
            )
    if not (np.isfinite([*moments[0], *moments[1], *limits]).all() and (moments[1] >= 0).all()):
        raise _no_statistics(path, "its moments are not finite, or a variance is negative")
    if min(limits) <= 0:
        raise _no_statistics(path, f"epsilon and clip_obs are {limits}, which must be positive")


def _no_statistics(path: Path, why: str) -> RunError:
    return RunError(
        f"{path}: holds no statistics of VecNormalize: {why}. Give the file that venv.save(...) wrote."
    )
