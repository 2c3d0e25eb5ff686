"""One style for all figures: sizes, colours, a header that says what a figure shows, and PNG bytes.

Figures are 7.2 inches wide, as wide as a README shows them, with a font of at least 9 points. They
are made without pyplot, so they need no screen and no closing. Colours are Okabe & Ito's, which
colour-blind readers can tell apart. A user's own matplotlib settings have no effect.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from execution_env.allocation.rendering import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

FIGURE_WIDTH, DPI = 7.2, 140
"""Width of a figure in inches, and its dots per inch."""

TITLE, TEXT, SMALL = 11.0, 10.0, 9.0
"""Font sizes in points."""

QUIET = "#5A5A5A"
"""Colour of less important text; ``MUTED`` is too pale for it."""

EDGE = "#9DB4CC"
"""Colour of an envelope's edges, as in ``execution_env.allocation.rendering``."""

STYLE: dict[str, Any] = {
    "font.size": TEXT,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": TEXT,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a label may hold any sign
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": SMALL,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": SMALL,
}

LINE = 1.3
"""Height of a line of text, as a multiple of the font size."""

NARROW, BOLD = 0.52, 0.565
"""Average widths of a letter, plain and bold, as multiples of the font size."""


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Return ``draw`` in this style, whatever the user's own settings are."""

    @wraps(draw)
    def drawn(*arguments: P.args, **named: P.kwargs) -> T:
        from matplotlib.style import context  # noqa: PLC0415  slow to import

        with context(["default", STYLE]):
            return draw(*arguments, **named)

    return drawn


def new_figure(
    title: str,
    note: str,
    height: float,
    key: Sequence[tuple[str, Any]] = (),
) -> Figure:
    """Return an empty figure with a header.

    Args:
        title: finding of the figure, in a sentence.
        note: content of the figure, in smaller letters.
        height: height below the header, in inches.
        key: names with their artists, in lines below the note.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    titles = wrapped(title, FIGURE_WIDTH - 0.15, TITLE, BOLD)
    notes = wrapped(note, FIGURE_WIDTH - 0.15, SMALL) if note else []
    columns, lines = _key_shape([name for name, _ in key])
    of_title, of_note = (LINE * size / 72.0 for size in (TITLE, SMALL))
    header = 0.08 + of_title * len(titles) + of_note * len(notes) + 0.21 * lines + 0.04
    total = height + header
    figure = Figure(figsize=(FIGURE_WIDTH, total), dpi=DPI, layout="constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0.0, 0.0, 1.0, height / total), h_pad=0.05, w_pad=0.05)  # type: ignore[call-arg]
    left, top = 0.07 / FIGURE_WIDTH, 1.0 - 0.08 / total
    figure.text(
        left,
        top,
        "\n".join(titles),
        fontsize=TITLE,
        fontweight="bold",
        va="top",
        linespacing=LINE - 0.1,
    ).set_in_layout(False)
    top -= of_title * len(titles) / total
    figure.text(
        left, top, "\n".join(notes), fontsize=SMALL, color=QUIET, va="top", linespacing=LINE - 0.1
    ).set_in_layout(False)
    if key:
        top -= of_note * len(notes) / total
        legend = figure.legend(
            [artist for _, artist in key],
            [_shown(name) for name, _ in key],
            loc="upper left",
            bbox_to_anchor=(0.0, top),
            ncols=columns,
            fontsize=SMALL,
            borderpad=0.25,
            handlelength=1.2,
            handleheight=0.9,
            columnspacing=1.4,
            handletextpad=0.5,
            labelspacing=0.25,
        )
        legend.set_in_layout(False)
    return figure


def _key_shape(names: Sequence[str]) -> tuple[int, int]:
    """Return the numbers of columns and lines of a key."""
    if not names:
        return 0, 0
    widest = max(map(len, names)) * NARROW * SMALL / 72.0 + 0.45
    columns = max(1, min(len(names), int(FIGURE_WIDTH / widest)))
    total = sum(len(name) * NARROW * SMALL / 72.0 + 0.45 for name in names)
    columns = len(names) if total < FIGURE_WIDTH else columns
    return columns, -(-len(names) // columns)


def _shown(name: str) -> str:
    """Return a name that a legend shows; it would leave out one that starts with an underscore."""
    return f" {name}" if name.startswith("_") else name


def patch(colour: str, alpha: float = 1.0, **look: Any) -> Any:
    """Return the artist of an area in a key."""
    from matplotlib.patches import Patch  # noqa: PLC0415  slow to import

    return Patch(facecolor=colour, alpha=alpha, **({"edgecolor": "none"} | look))


def line(colour: str, **look: Any) -> Any:
    """Return the artist of a line or a marker in a key."""
    from matplotlib.lines import Line2D  # noqa: PLC0415  slow to import

    return Line2D([], [], color=colour, **look)


def wrapped(text: str, inches: float, size: float, letter: float = NARROW) -> list[str]:
    """Return ``text`` in lines of at most about ``inches``, at ``size`` points."""
    return textwrap.wrap(text, max(8, int(inches * 72.0 / (size * letter)))) or [""]


def short(label: str, most: int = 30) -> str:
    """Return ``label``, its middle left out where it is longer than ``most`` letters."""
    label = " ".join(label.split())
    if len(label) <= most:
        return label
    end = (most - 1) // 2
    return f"{label[: most - 1 - end]}…{label[len(label) - end :]}"


def magnitude(value: float) -> str:
    """Return a number of steps or seconds as an axis shows it: 500, 20 k, 1 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def percent(share: float) -> str:
    """Return a share as a percentage, with a decimal below 10 % and between 99 and 100 %."""
    number = 100.0 * share
    digits = 0 if number == 0 or abs(number) >= 9.95 else 1
    if 99.0 < number < 100.0:  # not everything, so not 100 either
        number, digits = math.floor(10.0 * number) / 10.0, 1
    return f"{number:.{digits}f}\N{NO-BREAK SPACE}%"


def signed(value: float, shape: str) -> str:
    """Return a number with the same minus sign as on an axis."""
    return format(value, shape).replace("-", "\N{MINUS SIGN}")


def quiet(axes: Axes, grid: str = "") -> None:
    """Style the ticks, also those that matplotlib adds later; draw a pale grid along ``grid``."""
    axes.tick_params(
        labelsize=SMALL, color=MUTED, labelcolor=INK, length=3, grid_color=MUTED, grid_alpha=0.22
    )
    if grid:
        axes.grid(axis=grid, color=MUTED, alpha=0.22, linewidth=0.6)  # type: ignore[arg-type]
        axes.set_axisbelow(True)


def bucket_ticks(axes: Axes, buckets: int, most: int = 6) -> None:
    """Set ticks at the buckets 1 to B, bucket b at x = b, few enough to be read."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 10**9) if buckets / s <= most or s == 10**9)
    ticks = [1] if step > buckets else [b for b in range(1, buckets + 1) if b % step == 0]
    axes.set_xticks(ticks, [str(b) for b in ticks])


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file: the same bytes for the same figure, without date and software.

    A palette of 256 colours makes the file a third as large and shows no difference.

    Args:
        figure: any figure of matplotlib.
    """
    from PIL import Image  # noqa: PLC0415  slow to import

    drawn, picture = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        # A letter that the font lacks becomes a box; the figure is still useful.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure.savefig(drawn, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
    with Image.open(drawn) as image:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(picture, "png")
    return picture.getvalue()
