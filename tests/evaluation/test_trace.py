from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import evaluate
from agents.commands import trace as command_of
from agents.evaluation import compare, figures
from agents.evaluation.allocation.trace import TRACE_COLUMNS, Trace, standing, trace, trace_csv
from agents.evaluation.allocation.trace_report import show
from agents.policy import Lots, Observations, Policy
from execution_env import Scenario, load_scenario
from tests.evaluation.running import complaint, output

SMALL = load_scenario("baseline", {"order.buckets": 4, "order.size": 2000, "volume.total": 20000})
WORDS = ["--set", "order.buckets=4", "order.size=2000", "volume.total=20000", "--seed", "7"]
TRACKING = load_scenario("vwap-u-shape")
ODD = ["lp", "_x$y_1$=twap", "[red]a=all-passive", "long " * 12 + "=all-neutral", "5=lp-scenario"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def day() -> Trace:
    return trace(["lp", "twap", "all-passive"], TRACKING, 7)


@pytest.fixture(scope="module")
def odd() -> Trace:
    return trace(ODD, SMALL, 7)


def shown_at(width: int, found: Trace) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        show(found, console)
    return capture.get()


def rows_of(found: Trace) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(trace_csv(found))))


# It is the day of the environment and of a comparison.


def test_objectives_are_those_of_a_comparison(day: Trace) -> None:
    result = compare(["lp", "twap", "all-passive"], TRACKING, range(5, 9))
    assert [order.label for order in day.orders] == result.names
    for order, objectives in zip(day.orders, result.objectives, strict=True):
        assert order.objective == objectives[2]
        parts = order.posting_cost + order.envelope_penalty + order.residual_penalty
        assert parts == pytest.approx(order.objective, abs=1e-12)
    assert day.bounds["hindsight"] == result.bounds["hindsight"][2]


@pytest.mark.parametrize("name", ["lp", "twap"])
def test_it_is_the_day_of_the_environment(day: Trace, name: str) -> None:
    (order,) = (order for order in day.orders if order.label == name)
    env = gym.make(
        "execution_env/OrderAllocation-v0", scenario=TRACKING, action="lots", observation="full"
    )
    observation, info = env.reset(seed=7)
    n = TRACKING.lots
    for bucket in order.buckets:
        assert np.array_equal(bucket.estimates, info["estimates"])
        assert [bucket.lower / n, bucket.upper / n] == pytest.approx(observation[-3:-1], abs=1e-6)
        assert bucket.postable == round(observation[-1] * n)
        observation, reward, _, _, info = env.step(bucket.posted)
        for key in ("posting_cost", "envelope_penalty", "residual_penalty"):
            assert getattr(bucket, key) == info[key]
        assert np.array_equal(bucket.filled, info["lots_filled"])
        assert bucket.done == n - info["remaining_lots"]
        assert bucket.cost == pytest.approx(-reward)
        assert (standing(bucket) == "inside") == (info["cost_envelope"] == 0)


def test_lp_is_left_out_where_nobody_asked() -> None:
    assert [order.label for order in trace(["twap"], SMALL, 0).orders] == ["twap"]
    both = trace(["twap", "lp"], SMALL, 0)
    assert [order.label for order in both.orders] == ["twap", "lp"]


def test_behind_and_ahead() -> None:
    found = trace(["all-passive", "all-aggressive"], "baseline", 3)
    behind, ahead = ({standing(bucket) for bucket in order.buckets} for order in found.orders)
    assert "behind" in behind and "ahead" in ahead  # noqa: PT018


# What is written.


def test_the_file(day: Trace) -> None:
    rows, lot = rows_of(day), TRACKING.order.lot_size
    assert tuple(rows[0]) == TRACE_COLUMNS
    assert len(rows) == 3 * 13 * 4
    for order in day.orders:
        mine = [row for row in rows if row["policy"] == order.label]
        whole = [row for row in mine if not row["algo"]]
        passive = [row for row in mine if row["algo"] == "Passive"]
        for key in ("posting_cost", "envelope_penalty", "residual_penalty"):
            total = sum(float(row[key]) for row in whole)
            assert total == pytest.approx(getattr(order, key), abs=1e-12)
        assert [int(row["bucket"]) for row in whole] == list(range(1, 14))
        assert [int(row["posted"]) for row in passive] == (order.posted[:, 2] * lot).tolist()
        filled = np.cumsum([int(row["filled"]) for row in whole]).tolist()
        assert [int(row["filled_by_end"]) for row in whole] == filled
        assert [float(row["volume"]) for row in whole] == day.day.volume[:, 0].tolist()
        rates = day.day.fill_rate[:, 2, 0].astype(float).tolist()
        assert [float(row["fill_rate"]) for row in passive] == rates
        assert whole[-1]["envelope_lower"] == "" != whole[0]["envelope_lower"]


def test_without_a_volume_model() -> None:
    scenario = load_scenario(SMALL, {"volume": None, "participation": None})
    assert {row["volume"] for row in rows_of(trace(["twap"], scenario, 1))} == {""}


@pytest.mark.parametrize("width", [80, 120, 160, 400])
def test_tables_fit(day: Trace, odd: Trace, width: int) -> None:
    for found in (day, odd):
        said = shown_at(width, found)
        assert max(map(len, said.splitlines())) <= width
        assert "…" not in said
        for order in found.orders:
            assert order.label.split()[0] in said
            assert f"{order.objective:.4f}" in said
            for lots in order.filled.ravel():
                assert f"{lots * found.scenario.order.lot_size:,}" in said


def test_side_by_side_where_there_is_room(day: Trace) -> None:
    narrow, wide = shown_at(80, day), shown_at(400, day)
    assert narrow.count("Aggressive ") == wide.count("Aggressive ") == 3
    assert narrow.count("bucket  ") == 3 * wide.count("bucket  ") == 3


def test_what_it_is_read_against(day: Trace) -> None:
    said = " ".join(shown_at(80, day).split())
    assert f"{day.bounds['hindsight']:.4f} could have been had (hindsight)" in said
    assert "Best on this day: " in said
    assert "twap, other with" in " ".join(
        shown_at(80, trace(["twap", "other=twap"], SMALL, 1)).split()
    )


@pytest.mark.parametrize("count", [1, 5])
def test_the_figure(odd: Trace, count: int) -> None:
    some = Trace(
        odd.scenario, odd.seed, odd.day, odd.orders[:count], odd.bounds if count > 1 else {}, []
    )
    image = np.asarray(Image.open(io.BytesIO(figures.png(figures.day(some)))))
    assert 700 < image.shape[1] < 1400
    assert image.std() > 10


# The command.


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trace", *WORDS, "--policies", "lp", "mine=twap"]
    shown, noted = output(capsys, *words)
    assert "baseline, day 7: 2,000 shares in 4 buckets" in shown
    assert "mine" in shown
    assert "Wrote trace.csv and trace.png to runs/trace-baseline-7." in noted
    folder = Path("runs/trace-baseline-7")
    assert sorted(os.listdir(folder)) == ["trace.csv", "trace.png"]
    found = trace(["lp", "mine=twap"], SMALL, 7)
    assert (folder / "trace.csv").read_text() == trace_csv(found)
    before = (folder / "trace.png").read_bytes()
    output(capsys, *words, "--out", "a/b")
    assert Path("a/b/trace.png").read_bytes() == before


def test_by_default_lp_and_dp_adaptive() -> None:
    command = command_of.Trace()
    assert (command.policies, command.seed) == (["lp", "dp-adaptive"], 1_000_000)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("trace", "compare"):
        with pytest.raises(SystemExit):
            evaluate.main([word, "--help"])
        shown = capsys.readouterr().out
        assert "python evaluate.py advise --help" in " ".join(shown.split())
        if word == "trace":
            assert "python evaluate.py trace --policies lp q=runs/first --seed 1000042" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "-1"], ["--seed: -1 must be a whole number of at least 0"]),
        (["--seed", "x"], ["--seed: x must be"]),
        (["--policies"], ["policies: there are none"]),
        (["--policies", "twpa"], ['Did you mean "twap"?']),
        (["--policies", "twap", "twap"], ["policy twap: is there twice"]),
        (["--policies", "hindsight"], ["is a bound"]),
        (["--policies", "runs/none"], ["runs/none: there is no such directory"]),
        (["--scenario", "basline"], ['Did you mean "baseline"?']),
        (["--out", ""], ["--out is empty"]),
        (["--polices", "lp"], ["Did you mean --policies?"]),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    line = complaint(capsys, "trace", *arguments)
    for word in words:
        assert word in line


def test_a_mistake_in_words_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is: compare, frontier, advise, trace." in complaint(capsys, "advice")


@pytest.mark.parametrize("where", ["trace", "write_files"])
def test_an_interrupt_leaves_whole_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(figures, "day", lambda _: None)
    monkeypatch.setattr(figures, "png", lambda _: b"a picture")
    words = ["trace", *WORDS, "--policies", "twap", "--out", "out"]
    output(capsys, *words)
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    monkeypatch.setattr(f"agents.commands.trace.{where}", interrupted)
    assert evaluate.main(words) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "stopped" in captured.err
    assert ("nothing was written" in captured.err) == (where == "trace")
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_a_policy_that_decides_on_no_lots() -> None:
    class Halves(Policy):
        def decide(self, observations: Observations) -> Lots:
            return np.full((len(observations), 3), 0.5)  # type: ignore[return-value]

    def made(scenario: Scenario) -> Policy:
        return Halves(scenario, "halves")

    with pytest.raises(ValueError, match=r"halves: decided on an array with 0\.5"):
        trace([made(SMALL)], SMALL, 1)
