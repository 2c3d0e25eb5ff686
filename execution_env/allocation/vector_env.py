"""Many orders at once: the native Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from execution_env.allocation.batch import Batch
from execution_env.allocation.env import INFO, read_options
from execution_env.allocation.market.day_stream import DayStream, numbered_days
from execution_env.allocation.rendering import Recorder
from execution_env.allocation.report import Report
from execution_env.allocation.scenario import Scenario
from execution_env.allocation.scenario_file import load_scenario
from execution_env.core.validation import choice, integer, optional_natural

Flags = NDArray[np.bool_]
Info = dict[str, Any]


class OrderAllocationVectorEnv(gym.vector.VectorEnv[NDArray[np.float32], Any, NDArray[Any]]):
    """n independent orders of one scenario, stepped by one compiled call.

    ## Description
    As ``OrderAllocationEnv``; episodes are bit-identical to those of n such environments with the
    same days and actions.

    ## Action Space
    n times that of ``OrderAllocationEnv``: ``MultiDiscrete``, of shape (n,) or (n, K).

    ## Observation Space
    ``Box(0, 1, (n, D), float32)``.

    ## Starting State
    ``reset(seed=s)`` plays day s + i in environment i; a list gives each its own day, or None for a
    training day. Resets without a seed, and automatic ones, take the next days of one training
    stream, in order of the environments. ``reset(options={"training_seed": t})`` starts it at t, a
    seeded reset of all environments at its first seed. ``options={"reset_mask": mask}`` resets
    only the environments that ``mask`` (n,) selects, and leaves the training stream alone.

    ## Rewards
    (n,) float64.

    ## Episode End
    Terminated after B buckets; never truncated. ``autoreset_mode`` says what follows:
    ``NEXT_STEP``: the next step ignores the environment's action, starts its next order and gives
    reward 0. ``SAME_STEP``: the next order starts at once; its first observation is returned, and
    ``info`` has ``final_obs`` (n, D) and ``final_info`` of the order that ended. ``DISABLED``:
    stepping before ``reset(options={"reset_mask": ...})`` is an error. Orders in the same bucket are
    played together: resets by mask that put neighbours out of step make stepping several times slower.

    ## Information
    That of ``OrderAllocationEnv`` as arrays with n as the first axis. For every key ``_key`` (n,)
    tells for which environments it holds. With ``info="none"`` there is no ``final_obs`` either.

    ## Arguments
    ``num_envs``: n. ``autoreset_mode``: an ``AutoresetMode`` or its value, such as "SameStep". The
    others as for ``OrderAllocationEnv``.

    ## References
    See ``OrderAllocationEnv``.

    ## Version History
    * v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 2}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | Path | Mapping[str, Any] | Scenario = "baseline",
        overrides: Mapping[str, Any] | None = None,
        action: str = "grid",
        observation: str = "default",
        info: str = "full",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        self.num_envs = integer("num_envs", num_envs, 1, 2**24, "environments")
        if not isinstance(autoreset_mode, AutoresetMode):
            modes = [mode.value for mode in AutoresetMode]
            autoreset_mode = AutoresetMode(choice("autoreset_mode", autoreset_mode, modes))
        self.autoreset_mode = autoreset_mode
        self.metadata = {**self.metadata, "autoreset_mode": autoreset_mode}
        self.scenario = load_scenario(scenario, overrides)
        informs = choice("info", info, INFO) == "full"
        self._batch = Batch(self.scenario, self.num_envs, action, observation, informs)
        self.single_observation_space = self._batch.observation_space
        self.single_action_space = self._batch.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        if render_mode is not None:
            choice("render_mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self._recorders = (
            [] if render_mode is None else [Recorder(self._batch, e) for e in range(self.num_envs)]
        )
        self._stream = DayStream(self.scenario, None)
        self._started = np.zeros(self.num_envs, np.bool_)
        self._all_started = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | NDArray[np.integer[Any]] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], Info]:
        """Start an order in every environment, or in those that the reset mask selects.

        Args:
            seed: day of the first environment, or a list with a day or None for each.
            options: "reset_mask", (n,) bool; "training_seed", where to start the training stream.
                Others are ignored with a warning.

        Raises:
            ValueError: a seed is not a non-negative integer, or a length is not n.
            TypeError: the reset mask is not an array of bools, or options are not a dictionary.
        """
        training_seed = read_options(options, ("training_seed", "reset_mask"))
        seeds = self._seeds(seed)
        mask = self._reset_mask(options)
        if isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
        if training_seed is None and mask is None:
            training_seed = next((s for s in seeds if s is not None), None)
        if training_seed is not None:
            self._stream = DayStream(self.scenario, training_seed)
        starting = self._batch.everyone if mask is None else mask
        numbered = self._batch.nobody
        if seed is not None:
            numbered = np.array([s is not None for s in seeds]) & starting
        if numbered.any():
            chosen = [int(seeds[e]) for e in np.flatnonzero(numbered)]  # type: ignore[arg-type]
            self._batch.days.put(numbered, numbered_days(self.scenario, chosen))
        self._draw_days(starting & ~numbered)
        self._started |= starting
        self._all_started = bool(self._started.all())
        report = self._advance(self._batch.no_actions, starting, self._batch.nobody)
        infos = report.infos()
        if mask is not None:
            infos = _only(infos, mask)
        return report.observations, _with_keys(infos, starting)

    def _seeds(self, seed: Any) -> list[int | None]:
        is_list = isinstance(seed, Sequence) and not isinstance(seed, str)
        if not is_list and np.ndim(seed) == 0:
            first = optional_natural("seed", seed)
            if first is None:
                return [None] * self.num_envs
            return list(range(first, first + self.num_envs))
        seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(
                f"seed has {len(seeds)} entries, but there are {self.num_envs} environments: give "
                "one for each, or a single integer."
            )
        return [optional_natural(f"seed[{e}]", value) for e, value in enumerate(seeds)]

    def _reset_mask(self, options: Mapping[str, Any] | None) -> Flags | None:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return None
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError("reset_mask must be a NumPy array with dtype=np.bool_.")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"reset_mask has shape {mask.shape}, must have ({self.num_envs},).")
        if not mask.any():
            raise ValueError("reset_mask selects no environment: at least one must be True.")
        return mask.copy()

    def _draw_days(self, starting: Flags) -> None:
        if starting.all():
            self._stream.draw_into(self._batch.days)
        elif starting.any():
            self._batch.days.put(starting, self._stream.draw(int(starting.sum())))

    def step(
        self, actions: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any], Info]:
        """Post an allocation in the current bucket of every order.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset, or an order is over and
                autoreset is disabled.
            gymnasium.error.InvalidAction: an action is not in the action space. Nothing was played.
        """
        if not self._all_started:
            raise ResetNeeded("step() before reset(): call reset() to start the orders.")
        batch = self._batch
        actions = self._read(actions)
        final: Info = {}
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            finished = self._finished()
            if finished.any():
                batch.check(actions, ~finished)  # before days are drawn: an error changes nothing
                self._draw_days(finished)
            report = played = self._advance(actions, finished, ~finished)
        elif self.autoreset_mode is AutoresetMode.SAME_STEP:
            report = played = self._advance(actions, batch.nobody, batch.everyone)
            over = played.terminations
            if over.any():
                if batch.informs:
                    final = _only({"final_obs": played.observations}, over)
                    final["final_info"] = _with_keys(_only(played.infos(), over), over)
                    final = _with_keys(final, over)
                self._draw_days(over)
                report = self._advance(batch.no_actions, over, batch.nobody)
        else:
            finished = self._finished()
            if finished.any():
                raise ResetNeeded(
                    f"step() with autoreset disabled while the orders of environments "
                    f"{np.flatnonzero(finished).tolist()} are over: call "
                    'reset(options={"reset_mask": mask}) for them first.'
                )
            report = played = self._advance(actions, batch.nobody, batch.everyone)
        infos = final | _with_keys(report.infos(), batch.everyone)
        truncations = np.zeros(self.num_envs, np.bool_)
        return report.observations, played.rewards, played.terminations, truncations, infos

    @property
    def batch(self) -> Batch:
        """Batch of the orders and their days, for learners that may see hidden state."""
        return self._batch

    def _finished(self) -> Flags:
        finished: Flags = self._batch.orders.bucket == self.scenario.buckets
        return finished

    def _read(self, actions: ArrayLike) -> NDArray[np.int64]:
        try:
            array = np.asarray(actions)
        except ValueError:  # ragged: the check below raises the error
            array = np.empty(0, object)
        if array.dtype.kind not in "iu" or array.shape != self.action_space.shape:
            raise ValueError(
                f"actions have shape {array.shape} and dtype {array.dtype}: they must be whole "
                f"numbers of shape {self.action_space.shape}."
            )
        if not array.flags.writeable:  # to compiled code a read-only array is another type
            array = array.copy()
        return np.ascontiguousarray(array, np.int64).reshape(self.num_envs, -1)

    def _advance(self, actions: NDArray[np.int64], starting: Flags, playing: Flags) -> Report:
        report = self._batch.advance(actions, starting, playing)
        for recorder, starts, plays in zip(self._recorders, starting, playing, strict=False):
            if starts:
                recorder.start()
            elif plays:
                recorder.record()
        return report

    def action_masks(self) -> Flags:
        """Return (n, A) bool: True for actions that differ from all earlier ones.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if not self._all_started:
            raise ResetNeeded("action_masks() before reset(): call reset() to start the orders.")
        return self._batch.masks().view(np.bool_)

    def render(self) -> tuple[Any, ...] | None:
        """Return one line or picture per environment, as ``OrderAllocationEnv.render`` does.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
            ImportError: "rgb_array" without matplotlib.
        """
        if self.render_mode is None:
            gym.logger.warn("render() without a render mode does nothing.")
            return None
        if not self._all_started:
            raise ResetNeeded("render() before reset(): call reset() to start the orders.")
        if self.render_mode == "ansi":
            return tuple(recorder.line() for recorder in self._recorders)
        return tuple(recorder.picture() for recorder in self._recorders)


def _only(infos: Info, which: Flags) -> Info:
    """Set ``infos`` to zero, in place, where ``which`` is False, as Gymnasium does; return it."""
    absent = np.flatnonzero(~which)
    if absent.size:
        for array in infos.values():
            array[absent] = 0
    return infos


def _with_keys(infos: Info, which: Flags) -> Info:
    """Return ``infos`` with the mask ``_key`` beside every key; all masks are one array."""
    mask = which.copy()
    return infos | {f"_{key}": mask for key in infos}
