"""The examples of ``docs/plug-ins.md``, to be run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "plug-ins.md"


def run_example(section: str) -> dict[str, Any]:
    """Run the Python of a section; returns the names that it leaves behind.

    Raises:
        LookupError: there is no such section, or not exactly one block of Python in it.
    """
    sections = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    blocks = re.findall(r"^```python\n(.*?)^```", texts.get(section, ""), re.MULTILINE | re.DOTALL)
    if len(blocks) != 1:
        raise LookupError(f"{PAGE.name}, section {section!r}: has {len(blocks)} blocks of Python.")
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(blocks[0], f"{PAGE.name}, {section}", "exec"), names)
    return names
