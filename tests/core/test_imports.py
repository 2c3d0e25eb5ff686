"""Imports point down: no circle, no import of a higher floor, no problem that knows another.

Read from the sources. An import inside a function counts, and so does one for type checking only.
Importing a module of a package counts as importing the package's ``__init__``, except for the package's
own modules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PACKAGES = ("execution_env", "agents", "results")

FLOORS = (
    "storage",
    "learners",
    "console",
    "policy",
    "planning",
    "rollouts",
    "rules",
    "lp dynamic_programming",
    "bounds",
    "evaluation",
    "training",
    "q_learning ppo",
    "sweep advice",
    "commands",
)
"""Parts of ``agents`` from the bottom; a part may import those below, and its own modules."""

PROBLEMS = ("allocation", "wheel", "liquidation")
"""Packages in ``execution_env``, one per problem."""

Imports = Mapping[str, set[str]]


def modules(root: Path, names: Iterable[str]) -> dict[str, Path]:
    """Paths of the modules of packages and scripts, by dotted name."""
    found = {}
    for name in names:
        paths = (root / name).rglob("*.py") if (root / name).is_dir() else [root / f"{name}.py"]
        for path in paths:
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.Module, known: Iterable[str]) -> Iterator[str]:
    """Modules among ``known`` that a module's statements name."""
    known = set(known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports here are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known:
                    yield inner
                elif node.module in known:
                    yield str(node.module)


def imports_of(paths: Mapping[str, Path]) -> dict[str, set[str]]:
    """The modules that each module imports, the ``__init__`` of other packages among them."""
    found = {}
    for module, path in paths.items():
        wanted = set(imported(ast.parse(path.read_text(encoding="utf-8")), paths))
        for name in list(wanted):
            parts = name.split(".")
            parents = {".".join(parts[:j]) for j in range(1, len(parts))}
            wanted |= {name for name in parents if not f"{module}.".startswith(f"{name}.")}
        found[module] = (wanted & set(paths)) - {module}
    return found


def circle(imports: Imports) -> list[str]:
    """A circle of imports, its first module at the end again; empty if there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for other in sorted(imports[module]):
            found = visit(other, [*path, module])
            if found:
                return found
        done.add(module)
        return []

    return next((found for module in imports if (found := visit(module, []))), [])


def floor(module: str) -> int:
    """Position in ``FLOORS`` of a module of ``agents``."""
    part = module.split(".")[1]
    return next(j for j, parts in enumerate(FLOORS) if part in parts.split())


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    return imports_of(modules(ROOT, (*PACKAGES, "train", "evaluate")))


def test_there_is_no_circle(imports: Imports) -> None:
    assert circle(imports) == []


def test_the_environment_imports_no_agents(imports: Imports) -> None:
    for module, others in imports.items():
        if module.startswith("execution_env"):
            assert not [name for name in others if not name.startswith("execution_env")], module


def test_no_problem_imports_another_and_the_core_imports_none(imports: Imports) -> None:
    for module, others in imports.items():
        own = next((problem for problem in PROBLEMS if f".{problem}." in f"{module}."), "")
        if not module.startswith("execution_env.") or not (own or ".core" in module):
            continue
        for other in others:
            parts = other.split(".")
            assert parts[:1] != ["execution_env"] or len(parts) > 1, f"{module} imports the face"
            assert parts[1] in (own, "core"), f"{module} imports {other}"


def test_agents_import_no_higher_floor(imports: Imports) -> None:
    for module, others in imports.items():
        if not module.startswith("agents."):
            continue
        for other in others:
            assert not other.startswith(("results", "train", "evaluate")), f"{module}: {other}"
            if other.startswith("agents.") and other.split(".")[1] != module.split(".")[1]:
                assert floor(other) < floor(module), f"{module} imports {other}"


def test_no_test_file_imports_another() -> None:
    paths = modules(ROOT, ["tests"])
    for module, others in imports_of(paths).items():
        assert not [name for name in others if ".test_" in name], module


def test_every_part_of_agents_has_a_floor(imports: Imports) -> None:
    parts = {module.split(".")[1] for module in imports if module.startswith("agents.")}
    assert parts == {part for parts in FLOORS for part in parts.split()}


# The test's own tools.


def made(folder: Path, **sources: str) -> dict[str, set[str]]:
    for name, text in sources.items():
        path = folder / "agents" / f"{name.replace('_in_', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return imports_of(modules(folder, ["agents"]))


@pytest.mark.parametrize(
    "text",
    [
        "import agents.b",
        "from agents import b",
        "from agents.b import x",
        "def f():\n    from agents import b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from agents.b import x",
    ],
)
def test_a_circle_is_found_wherever_it_is_closed(tmp_path: Path, text: str) -> None:
    imports = made(tmp_path, a=text, b="import agents.c", c="from agents.a import y")
    assert circle(imports) in (
        ["agents.a", "agents.b", "agents.c", "agents.a"],
        ["agents.b", "agents.c", "agents.a", "agents.b"],
        ["agents.c", "agents.a", "agents.b", "agents.c"],
    )


def test_a_circle_through_a_face_is_found(tmp_path: Path) -> None:
    sources = {
        "p_in___init__": "from agents.p.one import x",
        "p_in_one": "import agents.q",
        "p_in_two": "",
        "q": "from agents.p.two import y",
    }
    assert "agents.p" in circle(made(tmp_path, **sources))
    sources["q"] = ""
    assert circle(made(tmp_path, **sources)) == []
