"""Embeddings in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lightning_reid.report.figures import GREY, NUM_LOOKS, add_legend, look, new_figure
from lightning_reid.report.lettering import abbreviated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_COMPONENTS = 50  # of the PCA before t-SNE, as its authors do
_PERPLEXITY = 30.0  # scikit-learn's default
_FEWEST = 10  # points; for fewer the first two principal components have to do
_MOST_NAMED = 24  # groups that a legend names


def sample_clusters(labels: Integers, count: int, seed: int = 0) -> Integers:
    """Positions of whole clusters, drawn at random, and of outliers in their proportion.

    Args:
        labels: ``(N,)``, -1 for outliers.
        count: how many images at most; the last cluster that is drawn may be cut.
        seed: of the choice.

    Returns:
        Ascending; all of them where there are no more than ``count``.
    """
    if len(labels) <= count:
        return np.arange(len(labels))
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    outliers, inliers = (shuffled[flags[shuffled]] for flags in (labels < 0, labels >= 0))
    num_outliers = round(count * len(outliers) / len(labels))
    place = generator.permutation(max(int(labels.max()) + 1, 0))
    inliers = inliers[np.argsort(place[labels[inliers]], kind="stable")]
    return np.sort(np.concatenate([outliers[:num_outliers], inliers[: count - num_outliers]]))


def embedding_map(features: Floats, seed: int = 0) -> Floats:
    """Positions in the plane that keep neighbours together: PCA, then t-SNE.

    Args:
        features: ``(N, D)``; for fewer than 10, and where all are equal, only the PCA is done.
        seed: of both.

    Returns:
        ``(N, 2)``.

    Example:
        >>> features = np.array([[0, 0, 1], [0, 0, 1], [9, 0, 1]], dtype=np.float32)
        >>> near, same, far = embedding_map(features)
        >>> round(float(abs(near - same).sum()), 3), round(float(abs(near - far).sum()), 3)
        (0.0, 9.0)
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    centred = features - features.mean(0)
    rank = min(_COMPONENTS, *features.shape)
    reduced = np.zeros((len(features), max(2, rank)), dtype=np.float32)
    if np.abs(centred).max(initial=0) > 1e-6:
        reduced[:, :rank] = PCA(rank, random_state=seed).fit_transform(centred)
    if len(features) < _FEWEST or not reduced.any():
        return reduced[:, :2]
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    made: Floats = TSNE(perplexity=perplexity, random_state=seed).fit_transform(reduced)
    return made


def draw_map_by_camera(points: Floats, cameras: Integers, names: Sequence[str]) -> Figure:
    """The points in the colours of their cameras.

    Args:
        points: ``(N, 2)``.
        cameras: ``(N,)``.
        names: by camera number.

    Returns:
        A ``Figure`` of matplotlib that belongs to no window; ``savefig`` writes it.

    Example:
        >>> points, cameras = np.array([[0.0, 0.0], [0.1, 0.0], [9.0, 0.0]]), np.array([0, 1, 0])
        >>> figure = draw_map_by_camera(points, cameras, names=["gate", "hall"])
        >>> figure.axes[0].get_xlabel(), len(figure.axes[0].collections)  # a look for each camera
        ('3 images', 2)
    """
    figure = new_figure(7, 5.5)
    axes = _plane(figure)
    _scatter(axes, points, cameras)
    _name(axes, [names[camera] for camera in np.unique(cameras)], f"{len(points)} images")
    return figure


def draw_map_by_cluster(points: Floats, labels: Integers) -> Figure:
    """The points in the colours of their clusters, of which several share one; outliers grey.

    Args:
        points: ``(N, 2)``.
        labels: ``(N,)``, -1 for outliers.

    Returns:
        A ``Figure`` of matplotlib that belongs to no window; ``savefig`` writes it.

    Example:
        >>> points, labels = np.random.default_rng(0).random((5, 2)), np.array([0, 0, 1, 1, -1])
        >>> draw_map_by_cluster(points, labels).axes[0].get_xlabel()
        'clusters: 2, images in them: 4, outliers: 1'
    """
    figure = new_figure(7, 5.5)
    axes = _plane(figure)
    outlier = labels < 0
    axes.scatter(points[outlier, 0], points[outlier, 1], s=6, color=GREY, linewidths=0)
    # by size, so that the largest have looks of their own
    _, group, sizes = np.unique(labels[~outlier], return_inverse=True, return_counts=True)
    by_size = np.argsort(np.argsort(-sizes, kind="stable"))
    _scatter(axes, points[~outlier], by_size[group])
    inside, outside = (~outlier).sum(), outlier.sum()
    axes.set_xlabel(f"clusters: {len(sizes)}, images in them: {inside}, outliers: {outside}")
    return figure


def _plane(figure: Figure) -> Axes:
    axes = figure.add_subplot()
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(GREY)
    return axes


def _scatter(axes: Axes, points: Floats, groups: Integers) -> None:
    """One collection of points for each look, in the order of the groups."""
    size = float(np.clip(6000 / max(len(points), 1), 10, 40))
    looks = groups % NUM_LOOKS
    for number in np.unique(looks):
        colour, marker = look(int(number))
        own = points[looks == number]
        axes.scatter(
            own[:, 0], own[:, 1], s=size, color=colour, marker=marker, linewidths=0, alpha=0.8
        )


def _name(axes: Axes, names: Sequence[str], count: str) -> None:
    if len(names) > _MOST_NAMED:
        axes.set_xlabel(f"{count}, {len(names)} cameras")
        return
    axes.set_xlabel(count)
    place = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False, "markerscale": 1.5}
    add_legend(axes, axes.collections, [abbreviated(name) for name in names], **place)
