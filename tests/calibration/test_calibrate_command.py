"""``python -m execution_env calibrate``: files in, files out, and what is said when it cannot be."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from execution_env import load_scenario
from execution_env.__main__ import main
from execution_env.allocation.market.day_stream import DayStream, numbered_days
from execution_env.allocation.market.days_file import read_days, replayed_orders
from execution_env.calibration import options
from execution_env.calibration.days import split_windows
from execution_env.calibration.readers.tape import DataError
from tests.calibration.made_days import NESTED, WINDOWS, made_log, made_tape, with_messages
from tests.calibration.samples import samples
from tests.calibration.writers import write_fill_log, write_lean, write_lobster

DATES = ("20130114", "20130115", "20130116")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three days of a made stock in LEAN's format, one in LOBSTER's, and a log of fills."""
    folder = tmp_path_factory.mktemp("data")
    days = DayStream(NESTED, 2).draw(3 * 2 * WINDOWS)
    for j, date in enumerate(DATES):
        part = days.part(slice(2 * WINDOWS * j, 2 * WINDOWS * (j + 1)))
        tape = made_tape(part, date)
        write_lean(tape, folder / "lean")
        if j == 0:
            write_lobster(with_messages(tape), folder / "lobster")
    write_fill_log(made_log(NESTED, 13, 3, [40_000, 20_000, 20_000]), folder / "fills.csv")
    return folder


def calibrate(data: Path, *words: object) -> int:
    return main(["calibrate", "--lean", str(data / "lean"), "--symbol", "made", *map(str, words)])


def lines(capsys) -> list[str]:
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    return out.err.strip().splitlines()


def test_scenario_days_and_figure(data, tmp_path, capsys) -> None:
    out, days = tmp_path / "made.toml", tmp_path / "days.npz"
    assert calibrate(data, "--out", out, "--days", days, "--fee", "Aggressive=0.3") == 0
    said = capsys.readouterr().out
    assert "fitted on split train (20130114, 20130115): 26 windows" in said
    assert [line for line in said.splitlines() if line.startswith("wrote")] == [
        f"wrote {path}"
        for path in (out, days, tmp_path / "made-replay.toml", tmp_path / "made.png")
    ]
    assert main(["check", str(out)]) == 0
    scenario, replay = load_scenario(out), load_scenario(tmp_path / "made-replay.toml")
    assert scenario.algos == replay.algos
    assert scenario.name == "made"
    assert 60 <= scenario.lots <= 150
    # touch 30, fee 0.3, and the impact of a tenth of the order
    assert scenario.penalties.residual == pytest.approx(30.9, abs=0.2)

    text = out.read_text()
    assert str(tmp_path) not in text
    assert str(data) not in text
    assert "calibrate --lean lean --symbol made --out made.toml --days days.npz" in text
    assert "+-" in text
    assert "(standard error, 26 windows)" in text

    file = read_days(days)
    assert file.depth.shape == (3 * 2 * WINDOWS, 10, 3)
    order = list(zip(file.date, file.start, -file.side, strict=True))
    assert order == sorted(order)
    assert set(file.date[file.splits["test"]]) == {"20130116"}
    assert np.allclose(file.move[::2], -file.move[1::2])
    assert np.allclose(file.volume[::2], file.volume[1::2])
    assert file.spread[..., 0] == pytest.approx(30.0, abs=0.6)
    # as the scenario's clean-up, but for its fee and each day's own touch
    fitted = file.touch[file.splits["train"]]
    assert fitted.mean() == pytest.approx(scenario.penalties.residual - 0.3, abs=0.02)
    assert file.touch == pytest.approx(30.6, abs=0.6)
    # the market's own price lies between the mids, and starts at arrival
    assert file.vwap[:, 0] == pytest.approx(0.0, abs=1e-9)
    assert file.vwap[:, 3] == pytest.approx(file.move[:, :3].sum(axis=1), abs=1e-6)

    played = numbered_days(replay, range(26))
    lots = np.rint(file.depth[file.splits["test"]] / scenario.order.lot_size)
    assert (played.depth == lots.transpose(1, 2, 0)).all()
    assert np.unique(replayed_orders(replay).clusters).size == WINDOWS

    with Image.open(io.BytesIO((tmp_path / "made.png").read_bytes())) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 600
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["made.toml", "days.npz", "made-replay.toml", "made.png"]
    )


@pytest.mark.slow
def test_test_days_do_not_change_what_is_fitted(data, tmp_path) -> None:
    """Parameters must not see what policies are tested on."""
    calibrate(data, "--out", tmp_path / "a.toml", "--days", tmp_path / "a.npz", "--no-figure")
    calibrate(data, "--out", tmp_path / "b.toml", "--dates", ",".join(DATES[:2]), "--no-figure")
    calibrate(data, "--out", tmp_path / "c.toml", "--no-figure")
    a, b, c = (load_scenario(tmp_path / f"{name}.toml") for name in "abc")
    assert a.algos == b.algos != c.algos
    assert a.volume == b.volume != c.volume


def test_lobster(data, tmp_path) -> None:
    """One day: the last third of its windows is the test."""
    pair = sorted((data / "lobster").iterdir())
    out = tmp_path / "x.toml"
    words = ["calibrate", "--lobster", *map(str, pair), "--out", str(out), "--no-figure"]
    assert main([*words, "--days", str(tmp_path / "x.npz")]) == 0
    file = read_days(tmp_path / "x.npz")
    assert [file.splits[name].size for name in ("train", "test")] == [18, 8]
    assert file.start[file.splits["test"]].min() > file.start[file.splits["train"]].max()
    assert load_scenario(out).volume is not None


def test_a_fill_log(data, tmp_path, capsys) -> None:
    words = ["calibrate", "--fill-log", str(data / "fills.csv"), "--out", str(tmp_path / "x.toml")]
    assert main(words) == 0
    assert [algo.name for algo in load_scenario(tmp_path / "x.toml").algos] == list(
        NESTED.algo_names
    )
    assert (tmp_path / "x.png").is_file()
    capsys.readouterr()
    assert main([*words, "--days", str(tmp_path / "x.npz")]) == 2
    (said,) = lines(capsys)
    assert "days to replay need --lean or --lobster" in said


@pytest.mark.parametrize(
    ("without", "remedy"),
    [
        ("volume", "--volume SHARES"),
        ("mid", "--half-spread Aggressive=BPS --half-spread Neutral=BPS"),
        ("mid_end", "--price-sd BPS"),
    ],
)
def test_a_fill_log_without_a_column(data, tmp_path, capsys, without, remedy) -> None:
    rows = [line.split(",") for line in (data / "fills.csv").read_text().splitlines()]
    column = rows[0].index(without)
    path = tmp_path / "fills.csv"
    path.write_text("\n".join(",".join(r[:column] + r[column + 1 :]) for r in rows))
    words = ["calibrate", "--fill-log", str(path), "--out", str(tmp_path / "x.toml")]
    assert main(words) == 2
    (said,) = lines(capsys)
    assert f"no column {without}" in said
    assert remedy in said
    given = ["--volume", "100000", "--price-sd", "4", "--no-figure"]
    given += [f"--half-spread={name}={h}" for name, h in (("Aggressive", 30), ("Neutral", 0))]
    assert main([*words, *given, "--half-spread=Passive=-30"]) == 0
    found = load_scenario(tmp_path / "x.toml")
    assert found.price.sd == 4
    assert [algo.half_spread for algo in found.algos] == [30, 0, -30]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dates", "20130101"], "no files of 20130101"),
        (["--split", "train=20130114"], "--split: --days needs a split train and a split test"),
        (["--split", "train=20130114", "test=20130114,20130115"], "in split train already"),
        (["--fit-on", "tarin"], 'Did you mean "train"'),
        (["--fee", "Agressive=1"], 'Did you mean "Aggressive"'),
        (["--bucket", "7min"], "whole number of buckets"),
        (["--max-rate", "2"], "--max-rate = 2"),
        (["--size", "1001", "--lot-size", "10"], "order.size = 1001"),
        (["--cancellations", "some"], "cancellations"),
        (["--algo", "Odd=1.5"], "at = 1.5"),
        (["--figure", "DAYS"], "are the same"),
        (["--symbol", "nope"], "nope"),
    ],
)
def test_errors_are_a_line_and_leave_nothing(data, tmp_path, capsys, words, said) -> None:
    days = str(tmp_path / "x.npz")
    words = [days if word == "DAYS" else word for word in words]
    assert calibrate(data, "--out", tmp_path / "x.toml", "--days", days, *words) == 2
    (line,) = lines(capsys)
    assert line.startswith("error: ")
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_said_before_anything_is_read(data, tmp_path, capsys) -> None:
    assert calibrate(data, "--out", tmp_path / "no" / "x.toml") == 2
    assert "there is no folder" in lines(capsys)[0]


def test_interrupted(data, tmp_path, capsys, monkeypatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("execution_env.calibration.command.fit", stop)
    assert calibrate(data, "--out", tmp_path / "x.toml") == 130
    assert "nothing was written" in lines(capsys)[0]
    assert list(tmp_path.iterdir()) == []


def test_own_algos_sizes_and_names(data, tmp_path) -> None:
    words = ["--algo", "Cross=1,queue=0", "--algo", "Inside=0.5,ticks=1"]
    words += ["--size", "2000", "--lot-size", "100", "--name", "mine", "--impact", "9", "--dark"]
    assert calibrate(data, "--out", tmp_path / "x.toml", "--no-figure", *words) == 0
    found = load_scenario(tmp_path / "x.toml")
    assert found.algo_names == ("Cross", "Inside")
    assert (found.name, found.order.size, found.lots) == ("mine", 2000, 20)
    assert found.penalties.residual_quadratic == 9


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("180s", 180), ("3min", 180), ("1h", 3600), ("5ms", 0.005)]
)
def test_durations(text, nanoseconds) -> None:
    assert options.duration(text) == round(nanoseconds * 10**9)
    assert options.duration(options.shown_duration(options.duration(text))) == options.duration(
        text
    )


@pytest.mark.parametrize("text", ["180", "3m", "-1s", ""])
def test_no_durations(text) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="180s"):
        options.duration(text)


def test_a_split_of_one_window_is_refused() -> None:
    from tests.calibration.made_outcomes import outcomes_of

    with pytest.raises(DataError, match="one window"):
        split_windows(outcomes_of(np.ones((2, 1, 3, 1))), {})


def test_help_teaches_and_needs_no_market_data_libraries() -> None:
    code = "import sys; sys.modules['polars'] = None; from execution_env.__main__ import main; "
    run = [sys.executable, "-c", code + "main(['calibrate', '--help'])"]
    found = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "python -m execution_env calibrate --lean data --symbol ibm" in found
    run[-1] = code + "main('calibrate --lean x --symbol y --out z.toml'.split())"
    missing = subprocess.run(run, capture_output=True, text=True, check=False)
    assert 'pip install "execution_env[calibration]"' in missing.stderr
    assert "Traceback" not in missing.stderr


@pytest.mark.parametrize("symbol", ["bac", "ibm"])
def test_real_days(symbol, tmp_path, capsys) -> None:
    """Order of algos and signs are those every market has; three samples of two days."""
    words = ["calibrate", "--lean", str(samples()), "--symbol", symbol, "--no-figure"]
    words += ["--out", str(tmp_path / "x.toml"), "--days", str(tmp_path / "x.npz")]
    assert main(words) == 0
    assert "locked or crossed quotes left out" in capsys.readouterr().out
    found = load_scenario(tmp_path / "x-replay.toml")
    aggressive, neutral, passive = found.algos
    assert aggressive.fill_probability > 0.95
    assert neutral.fill_probability >= passive.fill_probability
    assert aggressive.half_spread > 0 > passive.half_spread
    assert found.price.liquidity_correlation < -0.3
    assert main(["check", str(tmp_path / "x.toml")]) == 0
