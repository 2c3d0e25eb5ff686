"""One order at a time: the Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import Any, SupportsIndex

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from execution_env.allocation.batch import Batch, invalid_action
from execution_env.allocation.market.day_stream import DayStream, numbered_days
from execution_env.allocation.rendering import Recorder
from execution_env.allocation.scenario import Scenario
from execution_env.allocation.scenario_file import load_scenario
from execution_env.core.validation import choice, optional_natural, suggestion

INFO = ("full", "none")

OF_WRAPPERS = ("minari_autoseed",)
"""Reset options that are meant for wrappers of other libraries, which pass them on."""

DAYS_PER_BLOCK = 128
"""Number of training days drawn at a time."""


class OrderAllocationEnv(gym.Env[NDArray[np.float32], Any]):
    """Fill a parent order over B buckets by splitting postings among K execution algos.

    ## Description
    A parent order of n lots is to be filled within B time buckets. In every bucket some of the
    remaining lots may be posted, split among K algos that differ in cost and fill rate. Fill
    rates are hidden; the trader has predictions, and corrects them by what filled. The cumulative
    fill should stay inside an envelope around a TWAP or VWAP schedule, a participation rate limits
    how much can be posted, and what is left at the end is charged at a high price.

    ## Action Space
    ``action="grid"``: ``Discrete``, an index into the ways to split the postable lots in parts of
    1 / resolution over the algos and "not posted" (``grid_actions`` lists them). Actions that
    post the same lots as an earlier one are masked, and legal: they mean that earlier one.
    ``action="lots"``: ``MultiDiscrete([n + 1] * K)``, lots per algo; where their sum exceeds the
    postable lots they are scaled down in proportion, and ``lots_posted`` tells what was posted.

    ## Observation Space
    ``Box(0, 1, float32)``: ``[remaining / n, buckets_left / B, estimate_1..K]``, the estimates being
    the expected fill rates of the bucket about to be decided; of an algo that depth limits, the
    expected fraction of an even slice of the order. ``observation="minimal"`` has the
    first two only; ``"full"`` appends how much each algo has been learned about (evidence
    T / (w + T), K numbers), the bucket's lower and upper envelope as fractions of the order, and
    the postable lots / n. Where a scenario has hidden day effects or a common liquidity factor, the
    observation is not Markov: the fills so far say more about the hidden state than the estimates
    do. Neither is it where the participation cap or a tracking envelope looks back: the default
    observation lacks the postable lots, and none shows the fills and volumes of past buckets that
    later caps depend on. After the last bucket the estimates and the envelope are those of the last
    bucket.

    ## Starting State
    Nothing filled, estimates equal to predictions, which may be the order's own (``prediction_sd``).
    ``reset(seed=s)`` plays day number s; of a scenario that replays days, day s modulo their number.
    ``reset()`` draws from a stream of training days, which no numbered day is part of:
    ``reset(options={"training_seed": t})`` starts it at t, ``reset(seed=s)`` at s.

    ## Rewards
    Minus (posting cost + envelope penalty + residual penalty), per share of the parent order, in
    half-spreads. An episode's return is minus its objective. Where a scenario's costs are a shortfall,
    in basis points of the mid at arrival: the posting cost is the spread and fee of what filled and the
    drift of the mid on what remains after the bucket, the residual penalty the clean-up.

    ## Episode End
    Terminated after exactly B buckets; never truncated.

    ## Information
    The same keys from ``reset`` and ``step``: ``lots_posted``, ``lots_filled`` (K,),
    ``remaining_lots``, ``posting_cost``, ``envelope_penalty``, ``residual_penalty`` (per share;
    the reward is minus their sum), ``cost`` (constraint violation: lots outside the envelope or
    left over, as a fraction of n) with parts ``cost_envelope``, ``cost_residual`` and the running
    ``cost_sum``, ``estimates`` (K,) and ``action_mask`` (int8). With shortfall costs also
    ``spread_cost``, ``fee_cost`` and ``drift_cost``, whose sum is the posting cost.

    ## Arguments
    All are JSON primitives, so an ``EnvSpec`` can be stored.
    ``scenario``: a shipped name, a path of a TOML file, or a file's content as a dictionary.
    ``overrides``: values by dotted key, such as ``{"order.buckets": 20}``.
    ``action``: "grid" or "lots". ``observation``: "minimal", "default" or "full".
    ``info``: "full", or "none" for an empty ``info``, faster.
    ``render_mode``: None, "ansi" (a line per bucket) or "rgb_array" (a picture).

    ## References
    Almgren & Chriss (2001), Optimal execution of portfolio transactions, J. Risk 3, for the
    problem; Gamma-Poisson estimates and the day model are described in ``estimation`` and
    ``market.model``.

    ## Version History
    * v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 2}  # noqa: RUF012

    def __init__(
        self,
        scenario: str | Path | Mapping[str, Any] | Scenario = "baseline",
        overrides: Mapping[str, Any] | None = None,
        action: str = "grid",
        observation: str = "default",
        info: str = "full",
        render_mode: str | None = None,
    ) -> None:
        self.scenario = load_scenario(scenario, overrides)
        informs = choice("info", info, INFO) == "full"
        self._batch = Batch(self.scenario, 1, action, observation, informs)
        self.observation_space = self._batch.observation_space
        self.action_space = self._batch.action_space
        if render_mode is not None:
            choice("render_mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self._recorder = Recorder(self._batch) if render_mode is not None else None
        self._stream: DayStream | None = None
        self._training_seed: int | None = None
        self._block: list[NDArray[Any]] = []
        self._next_in_block = DAYS_PER_BLOCK
        self._bucket: int | None = None
        self._action = self._batch.no_actions.copy()

    @property
    def grid_actions(self) -> NDArray[np.float64]:
        """(A, K) fractions of the postable lots that the actions of the grid post."""
        return self._batch.grid.parts / self.scenario.actions.resolution

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an order.

        Args:
            seed: number of the day to play; None for the next training day.
            options: ``{"training_seed": t}`` starts the stream of training days at t.

        Raises:
            ValueError: a seed is not a non-negative integer.
            TypeError: options are not a dictionary.
        """
        training_seed = read_options(options)
        seed = optional_natural("seed", seed)
        super().reset(seed=seed)
        if training_seed is None:
            training_seed = seed
        if training_seed is not None:
            self._training_seed, self._stream = training_seed, None
        batch = self._batch
        if seed is not None:
            batch.days.put(slice(None), numbered_days(self.scenario, [seed]))
        else:
            self._next_training_day()
        report = batch.advance(batch.no_actions, batch.everyone, batch.nobody)
        self._bucket = 0
        if self._recorder is not None:
            self._recorder.start()
        return report.observations[0], report.info()

    def _next_training_day(self) -> None:
        if self._stream is None:
            self._stream = DayStream(self.scenario, self._training_seed)
            self._next_in_block = DAYS_PER_BLOCK
        if self._next_in_block == DAYS_PER_BLOCK:
            days = self._stream.draw(DAYS_PER_BLOCK)
            self._block = [np.ascontiguousarray(np.moveaxis(array, -1, 0)) for array in days]
            self._next_in_block = 0
        self._batch.days.put(0, [block[self._next_in_block] for block in self._block])
        self._next_in_block += 1

    def step(
        self, action: SupportsIndex | ArrayLike
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Post an allocation in the current bucket.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset, or after the last bucket.
            gymnasium.error.InvalidAction: the action is not in the action space.
        """
        if self._bucket is None:
            raise ResetNeeded("step() before reset(): call reset() to start an order.")
        if self._bucket == self.scenario.buckets:
            raise ResetNeeded(
                f"step() after the order's last bucket ({self._bucket}): call reset() to start "
                "the next order."
            )
        self._read(action)
        batch = self._batch
        report = batch.advance(self._action, batch.nobody, batch.everyone)
        self._bucket += 1
        if self._recorder is not None:
            self._recorder.record()
        return (
            report.observations[0],
            report.floats.item(0),
            self._bucket == self.scenario.buckets,
            False,
            report.info(),
        )

    def _read(self, action: Any) -> None:
        """Store ``action`` in ``_action``; only whole numbers are accepted, nothing is rounded."""
        try:
            if self._batch.by_lots:
                lots = np.asarray(action)
                if lots.dtype.kind not in "iu" or lots.shape != self.action_space.shape:
                    raise TypeError
                self._action[0] = lots
            else:
                self._action[0, 0] = index(action)
        except (TypeError, ValueError, OverflowError):
            raise invalid_action(repr(action), self.action_space) from None

    def action_masks(self) -> NDArray[np.bool_]:
        """Return (A,) bool: True for actions that differ from all earlier ones, for sb3-contrib.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self._bucket is None:
            raise ResetNeeded("action_masks() before reset(): call reset() to start an order.")
        masks: NDArray[np.bool_] = self._batch.masks()[0].view(np.bool_)
        return masks

    def render(self) -> Any:
        """Return a line about the last bucket ("ansi"), or the order so far as a (H, W, 3) picture.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
            ImportError: "rgb_array" without matplotlib.
        """
        if self._recorder is None:
            gym.logger.warn(
                "render() without a render mode does nothing: make the environment with "
                'render_mode="ansi" or "rgb_array".'
            )
            return None
        if self._bucket is None:
            raise ResetNeeded("render() before reset(): call reset() to start an order.")
        return self._recorder.line() if self.render_mode == "ansi" else self._recorder.picture()


def read_options(options: Any, known: tuple[str, ...] = ("training_seed",)) -> int | None:
    """Return the "training_seed" of reset options, or None; warn about options not in ``known``.

    Raises:
        TypeError: options are not a dictionary.
        ValueError: the training seed is not a non-negative integer.
    """
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise TypeError(f"options = {options!r}: must be a dictionary or None.")
    for key in options:
        if key not in known and key not in OF_WRAPPERS:
            gym.logger.warn(
                f"reset option {key!r} is unknown and ignored.{suggestion(key, known)} Known here: "
                f"{', '.join(known)}."
            )
    return optional_natural("training_seed", options.get("training_seed"))
