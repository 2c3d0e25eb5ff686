"""The compiled loop over blocks of days against Q-learning in plain Python, one order at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from agents.q_learning import orders as q_training
from agents.q_learning.algorithm import Hyperparameters, Table
from agents.q_learning.orders import Trainer, warm_up
from agents.q_learning.policy import QPolicy
from agents.q_learning.replay import Grid
from agents.q_learning.run import QTraining, Settings
from agents.q_learning.stages import refine, worst_return
from agents.q_learning.states import StateSpace, with_estimates, without_estimates
from execution_env import Scenario, load_scenario
from execution_env.allocation.actions import action_grid
from execution_env.allocation.batch import Batch
from execution_env.allocation.scenario_file import scenario_from_dict
from tests.learners.plain_learner import F, PlainLearner

SMALL = {"order.size": 3000, "order.buckets": 4, "volume.total": 12000}
FEW = {"order.size": 500, "order.buckets": 3, "volume.total": 3000}
MANY = {"order.size": 90000, "order.buckets": 3, "participation": None}
CASES: dict[str, tuple[str, dict[str, Any], Hyperparameters, list[int]]] = {
    "usual": ("baseline", SMALL, Hyperparameters(), [1, 3, 2]),
    "without estimates": ("baseline", SMALL, Hyperparameters(omega=0.7, trace=0), [1, 1, 1]),
    "double": ("baseline", SMALL, Hyperparameters(double=True, trace=0.6), [2, 2, 2]),
    "constant step": ("two-algos", SMALL, Hyperparameters(step_size=0.1, double=True), [3, 4]),
    "discount": (
        "textbook",
        {},
        Hyperparameters(discount=0.9, step_size=0.3, trace=0.3),
        [1, 1, 1],
    ),
    "exponential": (
        *("drifting", SMALL, Hyperparameters(epsilon_schedule="exponential", omega=0.6)),
        [1, 2, 3],
    ),
    "few lots": ("baseline", FEW, Hyperparameters(omega=0.8), [2, 3, 4]),
    "many lots": ("two-algos", MANY, Hyperparameters(double=True, discount=0.95), [2, 3]),
    "five algos": ("five-algos", SMALL, Hyperparameters(), [1, 2, 1, 2, 3]),
}


def edges_for(scenario: Scenario, bins: list[int], trainer: Trainer) -> StateSpace:
    """Bins from the estimates of the trainer's last block."""
    return with_estimates(scenario, np.array(bins), trainer.notes.estimates)


@pytest.mark.parametrize("case", CASES)
def test_the_loop_learns_bit_for_bit_what_plain_python_learns(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, overrides, h, bins = CASES[case]
    block, blocks = 80, 5
    monkeypatch.setattr(q_training, "ORDERS_PER_BLOCK", block)
    scenario = load_scenario(name, overrides)
    trainer, plain = Trainer(scenario, 5), PlainLearner(scenario, 5, block, h)
    space = without_estimates(scenario)
    start = worst_return(scenario) if "step" in case else 0.0
    table = Table.start(h.tables, space.size, scenario.grid_size, start)
    plain.start = F(start)
    for j in range(2 * blocks):
        if j == blocks:  # the second half has bins, and what was learned is thrown away
            plain.space = space = edges_for(scenario, bins, trainer)
            table = Table.start(h.tables, space.size, scenario.grid_size, start)
            plain.tables = [{} for _ in plain.tables]
            plain.visits = [{} for _ in plain.visits]
        epsilon = h.epsilon_at(j / (2 * blocks))
        trainer.block(space, table, h.step_sizes(), h, epsilon)
        plain.block(epsilon)
        expected = plain.table()
        assert np.array_equal(table.visits, expected.visits)
        assert np.array_equal(table.values, expected.values)
    assert table.visits.sum() == blocks * block * q_training.REPLAYS * scenario.buckets
    assert (trainer.grid.barred[trainer.notes.rows, trainer.notes.actions] == 0).all()


def test_a_refined_table_goes_on_bit_for_bit() -> None:
    """With blocks of the usual size, and a table that was not started anew."""
    scenario, h = load_scenario("two-algos", SMALL | {"order.buckets": 3}), Hyperparameters()
    trainer, plain = Trainer(scenario, 2), PlainLearner(scenario, 2, q_training.ORDERS_PER_BLOCK, h)
    coarse = without_estimates(scenario)
    table = Table.start(1, coarse.size, scenario.grid_size, 0.0)
    trainer.block(coarse, table, h.step_sizes(), h, 1.0)
    plain.block(1.0)
    assert np.array_equal(table.values, plain.table().values)
    estimates = trainer.notes.estimates
    space = with_estimates(scenario, np.array([2, 3]), estimates)
    table = refine(coarse, table, space, estimates)
    plain.space = space
    plain.tables[0] = {pair: table.values[0, *pair] for pair in np.ndindex(table.values[0].shape)}
    plain.visits[0] = {
        pair: int(table.visits[0, *pair]) for pair in np.ndindex(table.visits[0].shape)
    }
    trainer.block(space, table, h.step_sizes(), h, 0.5)
    plain.block(0.5)
    assert np.array_equal(table.values, plain.table().values)
    assert np.array_equal(table.visits, plain.table().visits)


# What a block leaves behind.


@pytest.fixture(scope="module")
def trained() -> tuple[Scenario, Trainer, StateSpace, Table]:
    scenario = load_scenario("baseline", SMALL)
    trainer, plain = Trainer(scenario, 0), without_estimates(scenario)
    table = Table.start(1, plain.size, scenario.grid_size, 0.0)
    steps = Hyperparameters().step_sizes()
    trainer.block(plain, table, steps, Hyperparameters(), 1.0)
    estimates = trainer.notes.estimates
    space = with_estimates(scenario, np.array([2, 4, 3]), estimates)
    table = refine(plain, table, space, estimates)
    for _ in range(5):
        trainer.block(space, table, steps, Hyperparameters(), 0.7)
    return scenario, trainer, space, table


def test_states_of_the_loop_are_those_of_observations(trained: Any) -> None:
    scenario, trainer, space, _ = trained
    notes, n = trainer.notes, q_training.ORDERS_PER_BLOCK
    batch = Batch(scenario, n, "grid", "full", informs=True)
    batch.days.put(slice(None), trainer._days)
    report = batch.advance(batch.no_actions, batch.everyone, batch.nobody)
    for b in range(scenario.buckets):
        assert np.array_equal(notes.estimates[b], report.observations[:, 2:5].T)
        assert np.array_equal(notes.states[b], space.states(report.observations))
        assert np.array_equal(notes.states[b], space.states(report.observations[:, :5]))
        masks = report.masks[np.arange(n), notes.actions[b]]
        assert masks.all()
        report = batch.advance(notes.actions[b][:, None], batch.nobody, batch.everyone)


def test_learning_can_be_left_out(trained: Any) -> None:
    scenario, _, space, table = trained
    before = table.values.copy(), table.visits.copy()
    trainer = Trainer(scenario, 1)
    trainer.watch(space, table)
    assert np.array_equal(before[0], table.values)
    assert np.array_equal(before[1], table.visits)
    best = table.values[0].argmax(axis=1)
    unmasked = trainer.grid.counts[trainer.notes.rows] == scenario.grid_size
    assert np.array_equal(trainer.notes.actions[unmasked], best[trainer.notes.states[unmasked]])


def test_seeds_are_streams() -> None:
    scenario = load_scenario("two-algos", SMALL)
    space = without_estimates(scenario)

    def learned(seed: int) -> Table:
        table = Table.start(1, space.size, scenario.grid_size, 0.0)
        trainer = Trainer(scenario, seed)
        for _ in range(2):
            trainer.block(space, table, np.ones(1), Hyperparameters(), 1.0)
        return table

    assert np.array_equal(learned(7).values, learned(7).values)
    assert not np.array_equal(learned(7).visits, learned(8).visits)


def test_warming_up_draws_from_nobody_elses_stream() -> None:
    scenario = load_scenario("two-algos", SMALL)
    trainer = Trainer(scenario, 0)
    before = trainer.exploration.bit_generator.state["state"]["state"].copy()
    warm_up(scenario)
    assert np.array_equal(before, trainer.exploration.bit_generator.state["state"]["state"])


@pytest.mark.parametrize(("algos", "resolution"), [(1, 1), (2, 3), (3, 4), (5, 2)])
def test_the_grid_lists_allowed_actions_in_front(algos: int, resolution: int) -> None:
    content = {
        "name": "grid",
        "order": {"size": 100, "lot_size": 1, "buckets": 2},
        "algos": [{"name": f"a{i}", "cost": 1.0, "fill_rate": 0.5} for i in range(algos)],
        "penalties": {"envelope": 0.0, "residual": 3.0},
        "actions": {"resolution": resolution},
    }
    grid, masks = Grid.of(scenario_from_dict(content)), action_grid(algos, resolution).mask
    assert grid.counts.tolist() == masks.sum(axis=1).tolist()
    assert grid.counts[0] == 1
    assert grid.counts[-1] == masks.shape[1]
    for row, mask in enumerate(masks):
        count = grid.counts[row]
        assert grid.allowed[row, :count].tolist() == np.flatnonzero(mask).tolist()
        assert (grid.barred[row] == np.where(mask, 0, -np.inf)).all()


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("double", [False, True])
def test_masked_actions_are_never_taken(epsilon: float, double: bool) -> None:
    """Six lots: most actions are masked, late in the order nearly all."""
    # Without a cap: the postable lots are those that remain, so a state has one mask.
    few = {"order.size": 600, "order.buckets": 4, "participation": None}
    scenario, h = load_scenario("two-algos", few), Hyperparameters(double=double)
    trainer, space = Trainer(scenario, 3), without_estimates(scenario)
    table = Table.start(h.tables, space.size, scenario.grid_size, 0.0)
    for _ in range(6):
        trainer.block(space, table, h.step_sizes(), h, epsilon)
        assert (trainer.grid.barred[trainer.notes.rows, trainer.notes.actions] == 0).all()
    mask = action_grid(2, scenario.actions.resolution).mask[: scenario.lots + 1] == 1
    assert not mask.all()
    tried = table.visits.sum(axis=0).reshape(scenario.buckets, scenario.lots + 1, -1) > 0
    assert not tried[:, ~mask].any()
    greedy = QPolicy.of(scenario, space, table).table_actions.reshape(scenario.buckets, -1)
    for lots in range(scenario.lots + 1):
        met = tried[:, lots].any(axis=1)
        assert mask[lots][greedy[met, lots]].all()
    if epsilon == 1:  # everything that is allowed is tried
        assert (tried[1] == mask).all()


# A known answer.

TINY = {
    "name": "tiny",
    "order": {"size": 6, "lot_size": 1, "buckets": 3},
    "algos": [
        {"name": "sure", "cost": 1.0, "fill_rate": 1.0},
        {"name": "half", "cost": 0.3, "fill_rate": 0.5},
    ],
    "penalties": {"envelope": 0.0, "residual": 3.0},
    "actions": {"resolution": 3},
}


def tiny_value(scenario: Scenario, policy: Any = None) -> float:
    """Optimal expected return of TINY on its grid, or that of ``policy(bucket, lots)``; from the text.

    x lots at a rate of one half fill x / 2 lots, rounded up or down with equal chances.
    """
    parts = action_grid(2, scenario.actions.resolution).parts
    n, resolution = scenario.lots, scenario.actions.resolution

    def allocations(lots: int) -> list[tuple[int, int]]:
        found = []
        for p in parts.tolist():
            total = lots * sum(p) // resolution
            quotas = [total * q / max(sum(p), 1) for q in p]
            whole = [math.floor(q) for q in quotas]
            if sum(whole) < total:
                whole[0 if quotas[0] - whole[0] >= quotas[1] - whole[1] else 1] += 1
            found.append((whole[0], whole[1]))
        return found

    worth = [-3.0 * lots / n for lots in range(n + 1)]
    for bucket in reversed(range(scenario.buckets)):
        before, worth = worth, []
        for lots in range(n + 1):
            returns = []
            for sure, half in allocations(lots):
                ends = [lots - sure - half // 2, lots - sure - (half + 1) // 2]
                cost = (sure + 0.3 * half) / n
                returns.append(-cost + sum(before[end] for end in ends) / 2)
            worth.append(max(returns) if policy is None else returns[policy(bucket, lots)])
    return worth[n]


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("start", ["optimistic", "pessimistic"])
def test_a_tiny_order_is_learned_exactly(double: bool, start: Any) -> None:
    scenario = scenario_from_dict(TINY)
    optimum = tiny_value(scenario)
    training = QTraining(scenario, 0, Settings(300_000, 4, start, Hyperparameters(double=double)))
    training.advance(training.total)
    assert training.space.combinations == 1  # nothing is hidden
    table = training.policy().table_actions.reshape(scenario.buckets, -1)
    assert tiny_value(scenario, lambda b, lots: table[b, lots]) == pytest.approx(optimum, abs=1e-9)
    learned = training.policy().values.reshape(scenario.buckets, scenario.lots + 1, -1)
    assert learned[0, -1].max() == pytest.approx(optimum, abs=0.01)
    worse = tiny_value(scenario, lambda b, lots: 0)
    assert worse == pytest.approx(-3.0)
    assert worse < optimum < -0.3
