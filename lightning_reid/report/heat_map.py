"""A table of shares as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lightning_reid.report.figures import GREY, new_figure
from lightning_reid.report.lettering import abbreviated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NUMBERS = 20  # cameras up to which cells hold their number
_MOST_NAMES = 40  # and up to which all of them are named


def draw_heat_map(
    table: npt.NDArray[np.float64], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """MAP by camera of the query and of the gallery, in percent.

    Args:
        table: ``(A, B)`` shares; grey where there is no number.
        rows: names of the A query cameras.
        columns: names of the B gallery cameras.

    Returns:
        A ``Figure`` of matplotlib that belongs to no window; ``savefig`` writes it.

    Example:
        >>> shares = np.array([[np.nan, 0.8], [0.6, np.nan]])  # nobody is sought in the own camera
        >>> figure = draw_heat_map(shares, rows=["gate", "hall"], columns=["gate", "hall"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['80', '60']
    """
    import matplotlib

    side = float(np.clip(1.8 + 0.5 * max(table.shape), 4, 12))
    figure = new_figure(side + 0.8, side)
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["viridis"].with_extremes(bad=GREY)
    percent = np.ma.masked_invalid(100 * table)
    shown = axes.imshow(percent, cmap=colours, vmin=0, vmax=100, aspect="equal")
    figure.colorbar(shown, label="mAP, %", shrink=0.8)
    if max(table.shape) <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(100 * table):
            if np.isfinite(value):
                colour = "black" if value > 65 else "white"
                text = axes.text(column, row, f"{value:.0f}", ha="center", va="center")
                text.set(fontsize=8, color=colour)
    axes.set_yticks(*_ticks(rows), parse_math=False, fontsize=8)
    rotation = 90 if max(map(len, columns), default=0) > 4 else 0
    axes.set_xticks(*_ticks(columns), parse_math=False, fontsize=8, rotation=rotation)
    axes.set_ylabel("camera of the query")
    axes.set_xlabel("camera of the gallery")
    return figure


def _ticks(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Where names stand, evenly thinned where there are many, and what they say."""
    places = list(range(0, len(names), -(-len(names) // _MOST_NAMES) or 1))
    return places, [abbreviated(names[place]) for place in places]
