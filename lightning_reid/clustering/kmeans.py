"""K-means on all images, with no cluster left empty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_reid.clustering.arrays import Array, feature_rows, same_kind
from lightning_reid.clustering.faiss_indexes import on_device
from lightning_reid.clustering.precision import full_precision
from lightning_reid.clustering.progress import shown
from lightning_reid.resources import require_memory

_DRAWN = 64  # candidates for a first centre per pass over the images
_KEPT = 8  # centres kept of them

Settled = tuple[NDArray[np.float32], NDArray[np.int64]]  # squared distances, labels


@torch.no_grad()
def kmeans(
    features: Array, num_clusters: int, seed: int = 0, iterations: int = 25, restarts: int = 1
) -> tuple[Array, Array]:
    """Cluster rows by k-means, with faiss.

    All rows are used, no cluster is empty, and every centre is the mean of its rows. The first
    centres are rows drawn far from each other, after k-means++ (Arthur and Vassilvitskii,
    2007). A cluster that ends without rows takes one of those farthest from their centres, but
    never the last of a cluster. The same seed gives the same result.

    Args:
        features: (N, D) array or tensor; give unit rows to cluster by cosine.
        num_clusters: Clusters, from 1 to N. Identical rows may end in different ones where
            there are fewer distinct rows than clusters.
        seed: Decides the first centres.
        iterations: Rounds of assigning the rows and moving the centres, unless they settle
            before; 25 is the default of faiss, 300 that of scikit-learn.
        restarts: First centres are drawn so many times; the result with the smallest sum of squared
            distances holds, the first of equals. 10 was long the default of scikit-learn.

    Returns:
        Labels (N,) int64 and centres (num_clusters, D) float32: arrays for an array, tensors
        on the features' device for a tensor. For features on a GPU faiss uses that GPU alone, if
        it can, for features on the CPU none.

    Raises:
        ValueError: If num_clusters is not from 1 to N, iterations or restarts is below 1, or the
            features are not 2-D, are empty, or hold NaN or infinite values.
        InputError: If that takes more memory than is free, or the features are too large for
            squared distances in float32.

    Example:
        >>> points = np.array([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0], [9.0, 2.0]])
        >>> labels, centers = kmeans(points, num_clusters=2)
        >>> sorted(centers.tolist())
        [[0.0, 1.0], [9.0, 1.0]]
        >>> bool(labels[0] == labels[1]), bool(labels[0] == labels[2])
        (True, False)
    """
    rows = feature_rows(features)
    if not 1 <= num_clusters <= len(rows):
        raise ValueError(
            f"num_clusters must be from 1 to the {len(rows)} features, not {num_clusters}"
        )
    for name, number in (("iterations", iterations), ("restarts", restarts)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, not {number}")
    what, advice = f"k-means on {len(rows):,} images", "give fewer rows"
    copies, drawn = 4 * rows.numel(), 16 * len(rows) * _DRAWN
    if rows.device.type == "cpu":
        require_memory(what, copies + drawn, "cpu", advice)
    else:  # where the rows are, centres are drawn; faiss takes the rows from the CPU
        require_memory(what, drawn, rows.device, advice)
        require_memory(what, 2 * copies, "cpu", advice)
    points = rows.cpu().numpy()
    distances, labels = _best_of(
        restarts, lambda generator: _once(rows, points, num_clusters, iterations, generator), seed
    )
    labels = _without_empty(distances, labels, num_clusters)
    centers = _means(points, labels, num_clusters)
    return (
        same_kind(torch.from_numpy(labels), features),
        same_kind(torch.from_numpy(centers), features),
    )


def _once(
    rows: Tensor,
    points: NDArray[np.float32],
    num_clusters: int,
    iterations: int,
    generator: torch.Generator,
) -> Settled:
    first_centers = points[_spread_rows(rows, num_clusters, generator).cpu().numpy()]
    return _settle(points, first_centers, iterations, rows.device)


def _best_of(restarts: int, run: Callable[[torch.Generator], Settled], seed: int) -> Settled:
    """The run whose rows lie nearest to their centres."""
    generator = torch.Generator().manual_seed(seed)
    best = run(generator)
    for _ in range(restarts - 1):
        other = run(generator)
        if other[0].sum(dtype=np.float64) < best[0].sum(dtype=np.float64):
            best = other
    return best


def _spread_rows(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw rows with a chance that grows with their distance to those drawn before.

    Keeping the best of a few is the greedy k-means++ of scikit-learn. Here several of many are
    kept, so that one pass over the rows serves them all (see ``benchmarks/kmeans.py``).
    """
    norms = rows.square().sum(dim=1)
    chosen = [torch.randint(len(rows), (1,), generator=generator).to(rows.device)]
    nearest = _squared_distances(rows, norms, chosen[0])[0]
    while len(chosen) < count:
        drawn = _draw(nearest.cpu(), generator).to(rows.device)
        distances = _squared_distances(rows, norms, drawn)
        for _ in range(min(_KEPT, count - len(chosen))):
            torch.minimum(distances, nearest, out=distances)
            best = distances.sum(dim=1).argmin()
            nearest = distances[best].clone()
            chosen.append(drawn[best, None])
    return torch.cat(chosen)


def _draw(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Row numbers, drawn with a chance proportional to their weights."""
    sums = weights.double().cumsum(dim=0)
    spots = torch.rand(_DRAWN, generator=generator, dtype=torch.float64)
    # all weights are 0 where every row is a centre already
    return torch.searchsorted(sums, spots * sums[-1], right=True).clamp_(max=len(weights) - 1)


def _squared_distances(rows: Tensor, norms: Tensor, chosen: Tensor) -> Tensor:
    with full_precision(rows.device.type):
        distances = torch.addmm(norms, rows[chosen], rows.T, alpha=-2)
    return distances.add_(norms[chosen, None]).clamp_(min=0)


def _settle(
    points: NDArray[np.float32],
    first_centers: NDArray[np.float32],
    iterations: int,
    device: torch.device,
) -> Settled:
    """Squared distance of each point to the nearest settled centre, and its number."""
    import faiss  # imported where used: it loads slowly

    clustering = faiss.Kmeans(
        points.shape[1],
        len(first_centers),
        niter=1,
        min_points_per_centroid=1,  # no warning
        max_points_per_centroid=len(points),  # no subsampling
    )
    clustering.index = on_device(clustering.index, device, first_centers.nbytes)
    centers = first_centers
    for _ in shown(range(iterations), "k-means"):
        clustering.train(points, init_centroids=centers)
        moved: NDArray[np.float32] = np.asarray(clustering.centroids)
        if np.array_equal(moved, centers):
            break
        centers = moved
    distances, labels = clustering.assign(points)
    return distances, labels.astype(np.int64)


def _without_empty(
    distances: NDArray[np.float32], labels: NDArray[np.int64], num_clusters: int
) -> NDArray[np.int64]:
    empty = np.flatnonzero(np.bincount(labels, minlength=num_clusters) == 0)
    by_distance = np.argsort(distances, kind="stable")
    _, nearest = np.unique(labels[by_distance], return_index=True)
    others = np.delete(by_distance, nearest)  # every cluster keeps its nearest row
    filled = labels.copy()
    filled[others[len(others) - len(empty) :]] = empty
    return filled


def _means(
    points: NDArray[np.float32], labels: NDArray[np.int64], num_clusters: int
) -> NDArray[np.float32]:
    from scipy.sparse import csr_array

    sizes = np.bincount(labels, minlength=num_clusters)
    shares = csr_array(
        ((1 / sizes)[labels].astype(np.float32), (labels, np.arange(len(labels)))),
        shape=(num_clusters, len(labels)),
    )
    means: NDArray[np.float32] = shares @ points
    return means
