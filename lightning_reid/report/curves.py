"""Numbers that change with rank or epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lightning_reid.report.figures import COLOURS, add_legend, look, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = npt.NDArray[np.float64]

_EPOCHS = "epochs of training"


def cmc_curve(first_match: npt.NDArray[np.int64], num_ranks: int = 50) -> Numbers:
    """Share of queries with a match among their nearest k images, for k from 1.

    Args:
        first_match: ``(Q,)``, rank of the first match of every valid query, from 1.
        num_ranks: K.

    Returns:
        ``(K,)``.
    """
    hits = np.bincount(np.minimum(first_match, num_ranks + 1), minlength=num_ranks + 2)
    return hits[1 : num_ranks + 1].cumsum() / max(len(first_match), 1)


def draw_cmc(curves: Mapping[str, Numbers]) -> Figure:
    """CMC curves.

    Args:
        curves: ``(K,)`` shares for ranks 1 to K, by name.

    Returns:
        A ``Figure`` of matplotlib that belongs to no window; ``savefig`` writes it.

    Example:
        >>> figure = draw_cmc({"all cameras": np.array([0.5, 0.75, 1.0])})
        >>> axes = figure.axes[0]
        >>> axes.get_xlabel(), axes.get_legend().get_texts()[0].get_text()
        ('rank', 'all cameras: 50.0 % at rank 1')
    """
    figure = new_figure(6, 4)
    axes = figure.add_subplot()
    for number, curve in enumerate(curves.values()):
        colour, marker = look(number)
        ranks = np.arange(1, len(curve) + 1)
        style = ("-", "--", ":", "-.")[number % 4]
        axes.plot(ranks, 100 * curve, style, color=colour, marker=marker, markersize=3)
    axes.set_xlabel("rank")
    axes.set_ylabel("queries with a match, %")
    axes.set_ylim(0, 103)
    tidy(axes)
    first_ranks = [f"{name}: {100 * curve[0]:.1f} % at rank 1" for name, curve in curves.items()]
    add_legend(axes, axes.get_lines(), first_ranks)
    return figure


def draw_over_epochs(curves: Mapping[str, Sequence[tuple[float, float]]], title: str) -> Figure:
    """Shares over epochs, in percent, with the last of each written beside it.

    Args:
        curves: (epoch, share) by name.
        title: what the shares are.

    Returns:
        A ``Figure`` of matplotlib that belongs to no window; ``savefig`` writes it.

    Example:
        >>> figure = draw_over_epochs({"mAP": [(0, 0.25), (10, 0.75)]}, "test set")
        >>> axes = figure.axes[0]
        >>> axes.get_ylabel(), axes.get_legend().get_texts()[0].get_text()
        ('test set, %', 'mAP: 75.0 %')
    """
    figure = new_figure(6, 4)
    axes = figure.add_subplot()
    for number, points in enumerate(curves.values()):
        colour, marker = look(number)
        epochs, shares = np.array(sorted(points), dtype=float).reshape(-1, 2).T
        axes.plot(epochs, 100 * shares, color=colour, marker=marker, markersize=4)
    axes.set_ylabel(f"{title}, %")
    axes.set_ylim(bottom=0)
    _epochs(axes)
    lasts = [f"{name}: {100 * max(points)[1]:.1f} %" for name, points in curves.items()]
    add_legend(axes, axes.get_lines(), lasts)
    return figure


def draw_loss(losses: Sequence[tuple[float, float]]) -> Figure:
    """The loss of every epoch.

    Args:
        losses: (epoch, mean loss of its batches).

    Returns:
        A ``Figure`` of matplotlib that belongs to no window; ``savefig`` writes it.

    Example:
        >>> axes = draw_loss([(0, 4.5), (1, 2.25), (2, 1.5)]).axes[0]
        >>> axes.get_ylabel(), axes.get_lines()[0].get_xdata().tolist()
        ('mean loss', [1.0, 2.0, 3.0])
    """
    figure = new_figure(6, 3.5)
    axes = figure.add_subplot()
    # an epoch's mean stands at its end, as the mAP that it led to does
    epochs, means = np.array(sorted(losses), dtype=float).reshape(-1, 2).T
    axes.plot(epochs + 1, means, color=COLOURS[0], marker="o", markersize=4)
    axes.set_ylabel("mean loss")
    axes.set_ylim(bottom=min(0.0, *means))
    _epochs(axes)
    return figure


def draw_labellings(history: Sequence[Mapping[str, float]]) -> Figure:
    """Clusters, outliers and churn of every labelling, one above the other.

    Args:
        history: what :class:`~lightning_reid.PseudoLabelCallback` keeps; oldest first.

    Returns:
        A ``Figure`` of matplotlib that belongs to no window; ``savefig`` writes it.

    Example:
        >>> names = ("labels/clusters", "labels/outlier_share", "labels/stability")
        >>> history = [{"epoch": epoch, **dict.fromkeys(names, 0.5)} for epoch in range(3)]
        >>> [axes.get_ylabel().split(",")[0] for axes in draw_labellings(history).axes]
        ['clusters', 'outliers', 'churn']
    """
    epochs = [row["epoch"] for row in history]
    panels = {
        "clusters": [row["labels/clusters"] for row in history],
        "outliers,\n% of images": [100 * row["labels/outlier_share"] for row in history],
        "churn, %": [100 * (1 - row["labels/stability"]) for row in history],
    }
    figure = new_figure(6, 5.5)
    all_axes = figure.subplots(len(panels), sharex=True)
    for axes, colour, (name, values) in zip(all_axes, COLOURS, panels.items(), strict=False):
        axes.plot(epochs, values, color=colour, marker="o", markersize=4)
        axes.set_ylabel(name)
        axes.set_ylim(0, 1.08 * max([v for v in values if v == v], default=1) or 1)
        _epochs(axes)
        axes.set_xlabel("")
    all_axes[-1].set_xlabel(_EPOCHS)
    return figure


def _epochs(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(_EPOCHS)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    tidy(axes)
