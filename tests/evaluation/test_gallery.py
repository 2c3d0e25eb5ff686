from __future__ import annotations

import inspect

import pytest

from agents.evaluation import figures
from agents.evaluation.gallery import PICTURES

OF_A_COMPARISON = [
    name
    for name in figures.__all__
    if next(iter(inspect.signature(getattr(figures, name)).parameters.values())).annotation
    == "Comparison"
]


def test_figures_of_a_comparison_are_found() -> None:
    assert {"headline", "objectives", "costs"} <= set(OF_A_COMPARISON)
    assert "frontier" not in OF_A_COMPARISON


@pytest.mark.parametrize("name", OF_A_COMPARISON)
def test_every_figure_of_a_comparison_is_on_its_page(name: str) -> None:
    assert getattr(figures, name) in [picture.draw for picture in PICTURES.values()]


def test_pages_show_what_their_files_are_called_after() -> None:
    assert all(file.endswith(".png") and picture.alternative for file, picture in PICTURES.items())
