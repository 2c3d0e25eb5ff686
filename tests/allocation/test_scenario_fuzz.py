"""Scenario files that are damaged or made to harm: refused with one line, or read as what they say."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit

from execution_env import ScenarioError, load_scenario
from execution_env.__main__ import main
from execution_env.allocation.scenario_file import MOST_BYTES, SHIPPED, toml_content
from execution_env.core.validation import shown, suggestion
from tests.allocation.checking import complaint
from tests.allocation.wrong_content import BASE, changed
from tests.fuzzing import read_damaged

ROOT = Path(__file__).parents[2]


def refusal(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of ``python -m execution_env check`` on a bad file."""
    line = complaint(path, capsys)
    assert len(line) < 1000
    return line


def fuzzed(name: str, folder: Path, number: int, seed: int = 0) -> int:
    path = folder / "mine.toml"
    path.write_bytes((SHIPPED / f"{name}.toml").read_bytes())
    return read_damaged(path, load_scenario, ScenarioError, number, seed)


def test_damaged_files(tmp_path: Path) -> None:
    assert fuzzed("vwap-u-shape", tmp_path, 60) > 30


@pytest.mark.slow
@pytest.mark.parametrize("name", ["baseline", "five-algos", "vwap-u-shape", "bac-2013"])
def test_thousands_of_damaged_files(name: str, tmp_path: Path) -> None:
    assert fuzzed(name, tmp_path, 1000, seed=1) > 200


BAD = {
    "deep lists": b"x = " + b"[" * 20_000,
    "deep tables": b"x = " + b"{a = " * 20_000,
    "a deep list as a name": b"name = " + b"[" * 200 + b"]" * 200,
    "many words in a key": b"a." * 20_000 + b"a = 1",
    "many words in a header": b"[" + b'"a" . ' * 20_000 + b"a]",
    "a long number": b"name = " + b"9" * 100_000,
    "a long hexadecimal number": b"[order]\nsize = 0x" + b"f" * 100_000,
    "a number that no float holds": b"[penalties]\nenvelope = 1" + b"0" * 400,
    "nan": b"[penalties]\nenvelope = nan\nresidual = 1",
    "inf": b"[penalties]\nenvelope = 1\nresidual = -inf",
    "a date": b"[order]\nsize = 1979-05-27\nlot_size = 1\nbuckets = 1",
    "a time": b"name = 07:32:00",
    "a key twice": b'name = "a"\nname = "b"',
    "a section twice": b"[order]\nsize = 1\n[order]\nlot_size = 1",
    "NUL": b'name = "a\x00"',
    "an escaped NUL": b'[order]\nsize = "a\\u0000"',
    "a text of two lines": b'[order]\nsize = "a\\nb"',
    "a long name": b'name = "' + b"x" * 100_000 + b'"',
    "a long unknown key": b"x" * 100_000 + b" = 1",
    "an unknown key of two lines": b'"a\\nb" = 1',
    "a file of days in no one's home": b'[replay]\nfile = "~nobody-at-all/a.npz"',
    "invalid UTF-8": b'name = "\xff"',
    "UTF-16": 'name = "a"'.encode("utf-16"),
    "full-width digits": "[order]\nsize = \uff11".encode(),
    "Arabic digits": "[order]\nsize = \u0663".encode(),
    "only a carriage return": b'name = "a"\rdescription = "b"',
    "empty": b"",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(BAD[kind])
    assert refusal(path, capsys).startswith("error: bad.toml: ")


def test_a_mark_of_byte_order_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (SHIPPED / "baseline.toml").read_bytes())
    assert load_scenario(path) == load_scenario("baseline")


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "a\u2028b", "a\x9b"])
def test_what_commands_a_terminal_is_escaped(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ScenarioError, match="must be a fill rate") as error:
        load_scenario(changed({"algos.1.name": name, "algos.1.fill_rate": 2}))
    assert str(error.value).isprintable()
    path = tmp_path / "mine.toml"
    content = changed({"name": name, "description": name, "algos.1.name": name})
    path.write_text(tomlkit.dumps(content), encoding="utf-8")
    assert main(["check", str(path)]) == 0
    assert main(["show", str(path)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert name not in said.partition("[order]")[0]


@pytest.mark.parametrize("key", ["name", "algos.1.name"])
def test_long_names(key: str) -> None:
    with pytest.raises(ScenarioError, match="has 201 characters; at most 200 are supported"):
        load_scenario(changed({key: "x" * 201}))


def test_too_many_buckets_for_so_many_algos() -> None:
    algos = [dict(BASE["algos"][0], name=f"a{j}") for j in range(11)]
    content = {**BASE, "algos": algos, "actions": {"resolution": 1}}
    content["order"] = {"size": 1000, "lot_size": 1, "buckets": 100_000}
    content.pop("volume", None)
    with pytest.raises(ScenarioError, match=r"order\.buckets = 100000: times 11 algos must be"):
        load_scenario(content)


def test_a_file_that_is_too_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    assert "is larger than 2,000,000 bytes" in refusal(path, capsys)


def test_long_values_are_shown_in_a_line() -> None:
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert shown(deep) == "[" * 77 + "..."
    assert shown({"a\n": [1, "b\x85"]}) == '{"a\\n" = [1, "b\\u0085"]}'
    assert len(shown(range(10**9))) == len(shown("\x00" * 10**6)) == 80
    assert shown(1 << 10**6) == "a whole number of more than 4,300 digits"
    assert suggestion("x" * 10**6, ["x"]) == suggestion(deep, ["x"]) == ""
    assert suggestion("bucket", ["buckets"]) == ' Did you mean "buckets"?'


def test_long_keys_are_told_from_prose() -> None:
    text = 'a = "see i.e. e.g. www.example.org. ' + "It ends. " * 9 + '"\nb = ' + str([0.5] * 99)
    assert toml_content(text)["b"] == [0.5] * 99


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # reserved, of which little is used


LARGE = {
    "a list of numbers": b"a = [" + b"1," * 950_000 + b"]",
    "a list of texts": b"a = [" + b"''," * 600_000 + b"]",
    "digits": b"a = " + b"9" * 1_900_000,
    "sections": b"\n".join(b"[k%d]" % j for j in range(180_000)),
    "algos": b"[[algos]]\nname='a'\nfill_rate=1\ncost=0\n" * 40_000,
    "a text": b"name = '" + b"x" * 1_900_000 + b"'",
    "escapes": b'name = "' + b"\\n" * 950_000 + b'"',
    "words in a header": b"[" + b"a." * 950_000 + b"a]",
    "words and spaces": (b"a" * 1000 + b" " * 1000) * 950,
    "quotes": b"a = " + b"\"'" * 950_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_files_as_large_as_may_be(kind: str, tmp_path: Path) -> None:
    """One line, in seconds, in less than 1 GiB."""
    path = tmp_path / "large.toml"
    path.write_bytes(LARGE[kind])
    assert path.stat().st_size <= MOST_BYTES
    code = (
        "import resource, sys; from execution_env.__main__ import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, "check", str(path)],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limit_memory,
    )
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: large.toml: ")
    assert int(found.stdout) < 1 << 20  # KiB


def test_the_base_of_these_tests_is_good(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(tomlkit.dumps(BASE), encoding="utf-8")
    assert main(["check", str(path)]) == 0
