from __future__ import annotations

import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from execution_env import load_scenario, scenario_to_toml, scenarios
from execution_env.__main__ import main
from execution_env.allocation.scenario_file import scenario_from_dict

ROOT = Path(__file__).parents[2]
FOLLOWS = "# What follows from it"


def write(path: Path, **overrides: object) -> str:
    """``path``, now the file of textbook with ``overrides`` ("__" for dots)."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    scenario = load_scenario("textbook", {"name": "mine", **changes})
    path.write_text(scenario_to_toml(scenario), encoding="utf-8")
    return str(path)


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a successful command prints."""
    assert main(list(arguments)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a failing command."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


@pytest.mark.parametrize("arguments", [(), ("list",)], ids=["no command", "list"])
def test_list_prints_key_numbers(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    rows = {line.split()[0]: line for line in output(capsys, *arguments).splitlines() if line}
    assert set(scenarios()) <= set(rows)
    assert rows["baseline"].split()[1:7] == ["10,000", "100", "10", "3", "35", "0.95/0.75/0.25"]
    assert rows["baseline"].endswith("2/1/0 per posted share")
    assert rows["baseline-filled"].endswith("per filled share")
    assert rows["vwap-u-shape"].split()[1:6] == ["50,000", "100", "13", "3", "35"]


def test_list_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert "python -m execution_env show NAME" in output(capsys).splitlines()[-1]


@pytest.mark.parametrize("name", scenarios())
def test_show_contains_the_file(capsys: pytest.CaptureFixture[str], name: str) -> None:
    scenario = load_scenario(name)
    shown = output(capsys, "show", name)
    toml = scenario_to_toml(scenario)
    assert toml in shown
    start = shown.index('name = "')
    part = shown[start : shown.index(FOLLOWS)]
    assert part.rstrip() == toml.rstrip()
    assert scenario_from_dict(tomllib.loads(part)) == scenario


def test_show_begins_with_the_description(capsys: pytest.CaptureFixture[str]) -> None:
    description = load_scenario("textbook").description.strip()
    assert output(capsys, "show", "textbook").startswith(textwrap.fill(description, 88))


def test_show_says_what_follows(capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "show", "textbook")
    follows = shown[shown.index(FOLLOWS) :]
    assert "100 lots, 35 actions" in follows
    assert "Aggressive: nothing about its fill rate is hidden" in follows
    baseline = output(capsys, "show", "baseline")
    assert "Passive: its prediction is worth" in baseline


def test_show_takes_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", description="What I think.")
    shown = output(capsys, "show", path)
    assert shown.startswith("What I think.\n")
    assert scenario_to_toml(load_scenario(path)) in shown


def sketch_of(shown: str) -> list[str]:
    lines = shown.rstrip("\n").splitlines()
    first = next(j for j, line in enumerate(lines) if line.startswith("envelope: "))
    return [line.rstrip() for line in lines[first + 1 :]]


def test_the_sketch_draws_the_envelope(capsys: pytest.CaptureFixture[str]) -> None:
    assert sketch_of(output(capsys, "show", "textbook")) == [
        " 100% |                     ####",
        "  92% |                ####",
        "  83% |                ####",
        "  75% |                ####",
        "  67% |           #### ####",
        "  58% |           #### ####",
        "  50% |           #### ####",
        "  42% |      #### ####",
        "  33% |      #### ####",
        "  25% |      ####",
        "  17% | #### ####",
        "   8% | #### ####",
        "   0% | ####",
        "      +--------------------------",
        "           1    2    3    4    5",
    ]


def test_the_sketch_of_many_buckets_is_narrow(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write(
        tmp_path / "mine.toml",
        order__buckets=40,
        volume=None,
        participation=None,
        algos__2__fill_rate=0.5,
        envelope={"kind": "twap", "band": 1.0},
    )
    sketch = sketch_of(output(capsys, "show", path))
    assert sketch[0] == " 100% |" + "#" * 40
    assert sketch[12] == "   0% |" + "#" * 40
    assert sketch[-1].strip() == "1 to 40"


def test_a_thin_envelope_shows_in_every_bucket(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    edge = [0.041, 0.29, 0.5, 0.77, 1.0]
    path = write(tmp_path / "mine.toml", envelope={"lower": edge, "upper": edge})
    rows = sketch_of(output(capsys, "show", path))[:13]
    for column in (8, 13, 18, 23, 28):
        assert any(row[column : column + 1] == "#" for row in rows)


def test_the_sketch_says_that_the_envelope_follows_volume(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "follows the realised volume" in output(capsys, "show", "vwap-u-shape")
    assert "follows the realised volume" not in output(capsys, "show", "baseline")


def test_check_is_content_with_a_good_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "good.toml"
    path.write_text(scenario_to_toml(load_scenario("baseline")), encoding="utf-8")
    assert "nothing odd" in output(capsys, "check", str(path))


def test_check_warns_of_what_is_odd(capsys: pytest.CaptureFixture[str]) -> None:
    checked = output(capsys, "check", "textbook")
    assert "warning: algo Neutral is dominated in every bucket" in checked
    assert "nothing odd" not in checked


@pytest.mark.parametrize("command", ["show", "check"])
def test_an_unknown_name_suggests_one(capsys: pytest.CaptureFixture[str], command: str) -> None:
    line = complaint(capsys, command, "basline")
    assert line.startswith("error: ")
    assert '"basline"' in line
    assert 'Did you mean "baseline"?' in line
    assert "vwap-u-shape" in line


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_missing_file_is_named(
    capsys: pytest.CaptureFixture[str], command: str, tmp_path: Path
) -> None:
    path = tmp_path / "absent.toml"
    line = complaint(capsys, command, str(path))
    assert str(path) in line
    assert "no such file" in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[order\nsize = 1\n", ("broken.toml", "not valid TOML", "line 1")),
        ("[order]\nsize = 100\nsize = 200\n", ("broken.toml", "not valid TOML")),
        ('name = "x"\nordr = 5\n', ("broken.toml", "ordr", 'Did you mean "order"?')),
        ("", ("broken.toml", "[order]", "missing")),
        ('[costs]\nbasis = """\nposted\n"""\n', ("broken.toml", "costs.basis", '"posted"')),
        ('"two\\nlines" = 5\n', ("broken.toml", "two", "unknown key")),
        ("name = " + "1" * 5_000, ("broken.toml",)),
    ],
    ids=[
        "no bracket",
        "key twice",
        "unknown key",
        "empty",
        "value of two lines",
        "key of two lines",
        "endless number",
    ],
)
def test_a_broken_file_is_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(content, encoding="utf-8")
    line = complaint(capsys, "check", str(path))
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def test_a_file_that_is_not_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(b"\xff\xfe\x00name")
    line = complaint(capsys, "check", str(path))
    assert "broken.toml" in line
    assert "UTF-8" in line


def test_a_folder_is_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert str(tmp_path) in complaint(capsys, "check", str(tmp_path))


def test_the_home_of_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such file" in complaint(capsys, "check", "~no-such-user-here/mine.toml")


@pytest.mark.parametrize(
    "arguments", [["shw", "baseline"], ["show"], ["check", "a", "b"]], ids=" ".join
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert "See python -m execution_env" in stopped(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chek", "x"], 'there is no "chek". Did you mean "check"?'),
        (["play", "baseline", "--sed", "1"], 'unknown arguments: --sed. Did you mean "--seed"?'),
        (
            ["play", "baseline", "--sed=1"],
            'Did you mean "--seed"? See python -m execution_env play',
        ),
        (["calibrate", "--fil-log", "a.csv"], 'Did you mean "--fill-log"?'),
        (["play", "baseline", "--seed", "1_0"], '"1_0": must be a whole number, in at most'),
        (
            ["play", "baseline", "--seed", "\uff11"],
            "whole number, in at most 40 digits 0 to 9.",
        ),
        (["play", "baseline", "--seed", "9" * 5000], "in at most 40 digits"),
    ],
)
def test_what_was_meant(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in stopped(capsys, *arguments)


def stopped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a command line that cannot be parsed."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_help_of_play_says_where_policies_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["play", "--help"])
    said = capsys.readouterr().out
    assert "later" not in said
    assert "evaluate.py trace" in said


def test_as_a_process() -> None:
    command = [sys.executable, "-m", "execution_env", "show", "basline"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1


def test_play_prints_a_line_per_bucket_and_writes_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "order.png"
    arguments = ["play", "textbook", "--seed", "3", "--action", "8", "--picture", str(picture)]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:-1]] == [f"bucket {b}/5" for b in range(1, 6)]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["play", "textbook", "--seed", "3", "--action", "8"]) == 0
    assert capsys.readouterr().out.splitlines() == lines[:-1]


def test_play_acts_at_random_but_reproducibly(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for seed in ("1", "1", "2"):
        assert main(["play", "five-algos", "--seed", seed]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--action", "35"], "action = 35: must be a whole number from 0 to 34"),
        (["--seed", "-1"], "seed = -1: must be a non-negative integer"),
        (["--picture", "/absent/folder/order.png"], "No such file or directory"),
    ],
)
def test_play_refuses_what_cannot_be(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", "baseline", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
