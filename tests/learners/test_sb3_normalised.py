"""Zips of models that were trained under VecNormalize, and its statistics."""

from __future__ import annotations

import pickle
import sys
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import evaluate
from agents.evaluation import compare
from agents.policy import load_policy
from agents.policy.sb3_normalised import MOST_STATISTICS_BYTES, load_statistics
from tests.learners.sb3_models import DAYS, SCENARIO, TINY, environment, refused

WRAPPERS: dict[str, Any] = {
    "raw": lambda venv: venv,
    "both": VecNormalize,
    "observations": lambda venv: VecNormalize(venv, norm_reward=False, clip_obs=1.0),
    "rewards": lambda venv: VecNormalize(venv, norm_obs=False),
}
SHORT: dict[str, dict[str, Any]] = {
    "PPO": TINY | {"n_steps": 16, "batch_size": 16, "n_epochs": 1},
    "MaskablePPO": TINY | {"n_steps": 16, "batch_size": 16, "n_epochs": 1},
    "A2C": TINY,
    "TRPO": TINY | {"n_steps": 16, "batch_size": 16},
    "ARS": TINY | {"n_delta": 1, "n_eval_episodes": 1},
    "DQN": TINY | {"buffer_size": 100, "learning_starts": 4},
    "QRDQN": TINY | {"buffer_size": 100, "learning_starts": 4},
}


def trained(folder: Path, name: str, wrapper: str, **arguments: Any) -> tuple[Any, Any]:
    """A model and its wrapped environment; model.zip and statistics.pkl are in ``folder``."""
    venv = WRAPPERS[wrapper](DummyVecEnv([lambda: environment(**arguments)]))
    kind = getattr(stable_baselines3 if hasattr(stable_baselines3, name) else sb3_contrib, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = kind("MlpPolicy", venv, seed=1, device="cpu", **deepcopy(SHORT[name]))
        model.learn(44)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.zip")
    if wrapper != "raw":
        venv.save(folder / "statistics.pkl")
    return model, venv


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a PPO model by the wrapper of its training."""
    root = tmp_path_factory.mktemp("models")
    for wrapper in WRAPPERS:
        trained(root / wrapper, "PPO", wrapper)
    return {wrapper: root / wrapper for wrapper in WRAPPERS}


def objectives(model: Any, venv: Any) -> list[float]:
    """Of the days, played by Stable-Baselines3 alone."""
    if isinstance(venv, VecNormalize):
        venv.training = venv.norm_reward = False
    found = []
    for day in DAYS:
        venv.seed(day)
        observations, objective, done = venv.reset(), 0.0, False
        while not done:
            actions, _ = model.predict(observations, deterministic=True)
            observations, rewards, dones, _ = venv.step(actions)
            objective, done = objective - float(rewards[0]), bool(dones[0])
        found.append(objective)
    return found


@pytest.mark.parametrize("wrapper", ["both", "rewards"])
def test_a_model_trained_under_vec_normalize_is_refused(
    wrapper: str, made: dict[str, Path]
) -> None:
    for trust in (False, True):
        refused(made[wrapper] / "model.zip", "--trust --normalise FILE.pkl", trust=trust)


@pytest.mark.parametrize(
    ("name", "wrapper", "arguments"),
    [
        ("PPO", "both", {}),
        ("PPO", "observations", {"observation": "full", "action": "lots"}),
        ("PPO", "rewards", {}),
        ("DQN", "both", {"observation": "minimal"}),
    ],
)
def test_with_statistics_it_plays_as_under_vec_normalize(
    name: str, wrapper: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    model, venv = trained(tmp_path, name, wrapper, **arguments)
    result = compare(
        [tmp_path / "model.zip"],
        SCENARIO,
        DAYS,
        trust=True,
        normalise=[tmp_path / "statistics.pkl"],
    )
    assert result.objectives[0].tolist() == pytest.approx(objectives(model, venv))
    policy = load_policy(tmp_path / "model.zip", SCENARIO, True, tmp_path / "statistics.pkl")
    seen = np.random.default_rng(0).random((500, venv.observation_space.shape[0]), np.float32)
    wanted, _ = model.predict(venv.normalize_obs(seen), deterministic=True)
    raw, _ = model.predict(seen, deterministic=True)
    assert np.array_equal(policy.predict(seen)[0], wanted)
    assert np.array_equal(raw, wanted) == (wrapper == "rewards")  # else this would show nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_algorithm_tells_how_it_was_trained(name: str, wrapper: str, tmp_path: Path) -> None:
    """Only rewards normalised: algorithms with a replay buffer tell that from both."""
    trained(tmp_path, name, wrapper)
    path, statistics = tmp_path / "model.zip", tmp_path / "statistics.pkl"
    if wrapper == "raw":
        load_policy(path, SCENARIO, trust=True)
        statistics.write_bytes(b"")
        with pytest.raises(ValueError, match="was trained without VecNormalize"):
            load_policy(path, SCENARIO, True, statistics)
        return
    if name in ("DQN", "QRDQN") and wrapper == "rewards":
        load_policy(path, SCENARIO, trust=True)
    else:
        refused(path, "was trained under VecNormalize")
    load_policy(path, SCENARIO, True, statistics)


@pytest.mark.parametrize("learned", [1, 2, 3, 4, 5, 6, 7])
def test_a_replay_buffer_does_not_look_normalised(learned: int, tmp_path: Path) -> None:
    """Wherever in an order the training ended; each has three buckets."""
    venv = DummyVecEnv([environment] * 2)
    model = stable_baselines3.DQN("MlpPolicy", venv, device="cpu", **SHORT["DQN"])
    model.learn(2 * learned).save(tmp_path / "model.zip")
    load_policy(tmp_path / "model.zip", SCENARIO, trust=True)


def test_none_says_that_observations_are_raw(made: dict[str, Path]) -> None:
    policy = load_policy(made["rewards"] / "model.zip", SCENARIO, True, "none")
    with_file = load_policy(
        made["rewards"] / "model.zip", SCENARIO, True, made["rewards"] / "statistics.pkl"
    )
    seen = np.random.default_rng(0).random((500, 5), np.float32)
    assert np.array_equal(policy.predict(seen)[0], with_file.predict(seen)[0])


def test_statistics_are_not_for_a_raw_model(made: dict[str, Path]) -> None:
    statistics = made["both"] / "statistics.pkl"
    with pytest.raises(ValueError, match=r"was trained without VecNormalize.*leave out") as error:
        load_policy(made["raw"] / "model.zip", SCENARIO, True, statistics)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="is no zip, and needs no statistics"):
        load_policy("lp", SCENARIO, True, statistics)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.code = f"open({str(marker)!r}, 'w').close()"

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (self.code,)


def test_statistics_are_unpickled_only_with_trust(made: dict[str, Path], tmp_path: Path) -> None:
    marker, statistics = tmp_path / "ran", tmp_path / "statistics.pkl"
    statistics.write_bytes(pickle.dumps(Payload(marker)))
    path = made["both"] / "model.zip"
    with pytest.raises(ValueError, match="--trust"):
        load_policy(path, SCENARIO, normalise=statistics)
    assert not marker.exists()
    with pytest.raises(ValueError, match="holds an object of class NoneType"):
        load_policy(path, SCENARIO, True, statistics)
    assert marker.exists()


def statistics_of(change: Any, *, wide: int = 5) -> bytes:
    venv = VecNormalize(
        DummyVecEnv([lambda: environment(observation={5: "default", 11: "full"}[wide])])
    )
    change(venv)
    return pickle.dumps(venv)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"", "cannot be unpickled (EOFError"),
        (lambda: b"x" * (MOST_STATISTICS_BYTES + 1), "it is larger than 10,000,000 bytes"),
        (lambda: pickle.dumps([1]), "holds an object of class list"),
        (lambda: statistics_of(lambda v: None, wide=11), "of shape (11,), the model reads (5,)"),
        (lambda: statistics_of(lambda v: v.obs_rms.mean.fill(np.nan)), "moments are not finite"),
        (lambda: statistics_of(lambda v: v.obs_rms.var.fill(-1)), "a variance is negative"),
        (lambda: statistics_of(lambda v: delattr(v, "obs_rms")), "it lacks numbers"),
        (lambda: statistics_of(lambda v: setattr(v, "clip_obs", "x")), "it lacks numbers"),
        (lambda: statistics_of(lambda v: setattr(v, "clip_obs", -1)), "must be positive"),
        (lambda: statistics_of(lambda v: setattr(v, "obs_rms", {})), "are dictionaries"),
        (None, "there is no such file"),
    ],
)
def test_wrong_statistics(content: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "statistics.pkl"
    if content is not None:
        path.write_bytes(content())
    with pytest.raises(ValueError) as error:  # noqa: PT011  the words are what is tested
        load_statistics(path, (5,))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_live_model_takes_the_statistics_of_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, venv = trained(tmp_path, "PPO", "both")
    module = type(sys)("mine")
    module.make = lambda scenario: model  # type: ignore[attr-defined]
    module.bare = lambda scenario: type(model).load(tmp_path / "model.zip")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mine", module)
    result = compare(["mine:make"], SCENARIO, DAYS)
    assert result.objectives[0].tolist() == pytest.approx(objectives(model, venv))
    with pytest.raises(ValueError, match=r"policy mine:bare: .*VecNormalize\.load"):
        compare(["mine:bare"], SCENARIO, DAYS)


def test_which_zip_statistics_are_for(made: dict[str, Path]) -> None:
    path, statistics = made["both"] / "model.zip", made["both"] / "statistics.pkl"
    given = [f"one={path}", f"two={path}", made["raw"] / "model.zip"]
    result = compare(given, SCENARIO, DAYS, trust=True, normalise=[f"one={statistics}", "two=none"])
    objective = dict(zip(result.names, result.objectives.tolist(), strict=True))
    assert objective["one"] != objective["two"]
    for wrong, words in (
        ([statistics], "must be for one zip"),
        ([f"three={statistics}"], "zips here: one, two, model"),
        ([f"one={statistics}", f"one={statistics}"], "has statistics already"),
    ):
        with pytest.raises(ValueError, match=words):
            compare(given, SCENARIO, DAYS, trust=True, normalise=wrong)
    with pytest.raises(ValueError, match="there is no zip here"):
        compare(["lp"], SCENARIO, DAYS, normalise=[statistics])


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["advise"],
        pytest.param(["trace"], marks=pytest.mark.slow),
        pytest.param(["frontier"], marks=pytest.mark.slow),
    ],
)
def test_commands_take_statistics(
    command: list[str],
    made: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path, statistics = str(made["both"] / "model.zip"), str(made["both"] / "statistics.pkl")
    option = "--policy" if command == ["advise"] else "--policies"
    words = [*command, option, path, "--set", "order.buckets=3", "order.size=1000"]
    words += ["--episodes", "20"] if command in ([], ["frontier"]) else []
    words += ["--no-figures"] if not command else []
    assert evaluate.main([*words, "--trust"]) == 2
    assert "--trust --normalise FILE.pkl" in capsys.readouterr().err
    assert evaluate.main([*words, "--trust", "--normalise", statistics]) == 0
    if not command:
        assert (
            f"--normalise {statistics}"
            in Path("runs/comparison-baseline/comparison.md").read_text()
        )
