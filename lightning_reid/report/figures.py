"""What all plots share: figures without global state, colours that most eyes tell apart."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# of Okabe and Ito, for all kinds of colour vision; without their yellow, too faint on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#BBBBBB"
NUM_LOOKS = len(COLOURS) * len(MARKERS)

_DPI = 120
_MARGIN = 0.1  # inches


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that no window system and no other figure knows of."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=_DPI)
    figure.set_layout_engine("constrained", w_pad=_MARGIN, h_pad=_MARGIN)
    return figure


def as_image(figure: Figure) -> Image.Image:
    """The figure as pixels."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels).convert("RGB")


@contextmanager
def figures_freed() -> Iterator[None]:
    """Figures drawn within are freed at its end.

    They are cycles of thousands of objects, which Python's collector would leave for many epochs,
    with open files of fonts. While it rests they all stay in its youngest generation, which is
    quickly searched.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect(1)
        if was_enabled:
            gc.enable()


def look(number: int) -> tuple[str, str]:
    """Colour and marker of a curve or group; the first ``NUM_LOOKS`` differ."""
    # 7 colours and 8 markers: no common factor
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def tidy(axes: Axes) -> None:
    """A light grid, and no frame where nothing is."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def add_legend(axes: Axes, handles: Sequence[Artist], names: Sequence[str], **options: Any) -> None:
    """A legend whose names are taken as they are: not as formulas, and none is left out."""
    stand_ins = ["x" * max(len(name), 1) for name in names]  # of their length
    legend = axes.legend(handles, stand_ins, fontsize=8, **options)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
