"""Titles, texts and numbers in a drawn figure."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from execution_env import load_scenario

SCENARIO = load_scenario("baseline", {"order.buckets": 6, "volume.total": 60000})


def titled(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title("left") == title)


def title_of(figure: Figure) -> str:
    return " ".join(figure.texts[0].get_text().replace("\N{NO-BREAK SPACE}", " ").split())


def texts(axes: Axes) -> list[str]:
    return [text.get_text().replace("\N{NO-BREAK SPACE}", " ") for text in axes.texts]


def dots_of(axes: Axes) -> dict[str, tuple[float, float, float]]:
    """Low end, value and high end of every row with a dot, by label."""
    labels = [text.get_text() for text in axes.get_yticklabels()]
    found: dict[str, list[float]] = {}
    for line in axes.lines:
        x, y = (np.asarray(data, float) for data in line.get_data())
        inside = y.size and y[0] == round(y[0]) and (y == y[0]).all()
        if inside and line.get_transform() == axes.transData:
            found.setdefault(labels[-round(y[0])], []).extend(x)
    return {label: (min(x), sorted(x)[len(x) // 2], max(x)) for label, x in found.items()}
