"""Infomap on the graph of near neighbours, and how central each image is in that graph."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_reid.clustering.arrays import as_numpy
from lightning_reid.clustering.numbering import number_by_first
from lightning_reid.errors import InputError, MissingPackageError

_SMALLEST_DISTANCE = 1e-12
_LARGEST_SQUARED_DISTANCE = 4.1  # of unit rows, whose lengths may be 0.01 off


def infomap(
    neighbors: tuple[Any, Any], min_similarity: float = 0.5, min_size: int = 5, seed: int = 0
) -> NDArray[np.int64]:
    """Cluster images by random walks among similar neighbours.

    As Cluster-Contrast and CALR do: an image has a link to each neighbour that is similar
    enough, weighted by the cosine, and two-level directed Infomap (Rosvall and Bergstrom, 2008)
    groups images among which a walker stays. Images without a link are alone.

    Needs the package ``infomap``, whose licence is GPL-3.0-or-later; it is loaded only here.

    Args:
        neighbors: (N, k) squared distances and indices that ``nearest_neighbors`` gives for
            unit rows: arrays or tensors. 15 neighbours, themselves included, in CALR.
        min_similarity: Smallest cosine of a link, above 0. 0.5 in CALR.
        min_size: Smaller clusters become outliers. 5 in CALR.
        seed: The same seed gives the same labels.

    Returns:
        (N,) labels: 0, 1, ... for the clusters by their first member, -1 for outliers.

    Raises:
        MissingPackageError: If the package infomap is not installed.
        InputError: If a squared distance is beyond that of unit rows, 4.
        ValueError: If the neighbours are not as described, min_similarity is not above 0 and
            at most 1, min_size is below 1, or the seed below 0.

    Example:
        >>> from lightning_reid.clustering import nearest_neighbors
        >>> people = np.array([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> infomap(nearest_neighbors(people, k=2), min_similarity=0.5, min_size=2).tolist()
        [0, 0, 1, 1]
        >>> infomap(nearest_neighbors(people, k=2), min_similarity=0.9, min_size=2).tolist()
        [-1, -1, -1, -1]
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, not {seed}")
    if min_size < 1:
        raise ValueError(f"min_size must be at least 1, not {min_size}")
    distances, indices, kept = _edges(neighbors, min_similarity)
    modules = np.arange(len(indices))  # alone
    links = np.column_stack([kept.nonzero()[0], indices[kept], 1 - distances[kept]])
    if len(links):
        nodes, found = _two_level_modules(links, seed)
        modules[nodes] = len(modules) + found
    return number_by_first(modules, min_size)


def graph_scores(neighbors: tuple[Any, Any], min_similarity: float = 0.5) -> NDArray[np.float32]:
    """Score how many similar neighbours an image has, and how near they are.

    The score of CALR: the sum of 1 / (d + m) over the links of an image as in ``infomap``, with
    d = 1 - cosine and m the mean of d over all neighbours of all images, themselves included.

    Args:
        neighbors: (N, k) squared distances and indices, as for ``infomap``.
        min_similarity: Smallest cosine of a link, above 0. 0.5 in CALR.

    Returns:
        (N,) scores; 0 for an image without a link.

    Raises:
        InputError: If a squared distance is beyond that of unit rows, 4.
        ValueError: If the neighbours are not as described, or min_similarity is not above 0
            and at most 1.

    Example:
        >>> from lightning_reid.clustering import nearest_neighbors
        >>> people = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> graph_scores(nearest_neighbors(people, k=2)).tolist()  # 1 / (0 + 1 / 6), none
        [6.0, 6.0, 0.0]
    """
    distances, _, kept = _edges(neighbors, min_similarity)
    softened = np.maximum(distances + distances.mean(), _SMALLEST_DISTANCE)
    scores: NDArray[np.float64] = np.where(kept, 1 / softened, 0).sum(axis=1)
    return scores.astype(np.float32)


def require_infomap() -> None:
    """Raise a MissingPackageError if the package infomap is not installed."""
    if find_spec("infomap") is None:
        raise MissingPackageError(
            'infomap needs the package of its name: pip install "lightning-reid[infomap]" '
            "(Python 3.11 or newer), or choose another clusterer, such as DensityClusterer"
        )


def _edges(
    neighbors: tuple[Any, Any], min_similarity: float
) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.bool_]]:
    """Distances 1 - cosine (N, k), whom they lead to, and which of them are links."""
    if not 0 < min_similarity <= 1:
        raise ValueError(f"min_similarity must be above 0 and at most 1, not {min_similarity}")
    squared, indices = (as_numpy(part) for part in neighbors)
    _require_neighbors(squared, indices)
    distances = squared.astype(np.float64) / 2
    others = indices != np.arange(len(indices))[:, None]
    return distances, indices, others & (1 - distances >= min_similarity)


def _require_neighbors(squared: NDArray[Any], indices: NDArray[Any]) -> None:
    if indices.dtype.kind not in "iu":
        raise ValueError("neighbors must be (squared distances, row numbers) in this order")
    if squared.ndim != 2 or squared.shape != indices.shape:
        raise ValueError(
            "neighbors must be squared distances and indices of one shape (N, k), "
            f"not {squared.shape} and {indices.shape}"
        )
    if squared.max(initial=0) > _LARGEST_SQUARED_DISTANCE or not np.isfinite(squared).all():
        raise InputError(
            f"neighbors must be those of unit rows, whose squared distances are at most 4, not "
            f"{squared.max():.3g}: search them among torch.nn.functional.normalize(features)"
        )
    if indices.min() < 0 or indices.max() >= len(indices):
        raise ValueError(f"neighbors must be row numbers from 0 to {len(indices) - 1}")


def _two_level_modules(
    links: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images that have a link, and the module of each."""
    require_infomap()
    from infomap import Network, run

    network = Network()
    network.add_links(links)
    seed_from_one = seed + 1  # it refuses 0
    result = run(network, two_level=True, directed=True, seed=seed_from_one)
    # through a file: what faiss, made with the same SWIG, leaves in the process breaks iterating
    # over Infomap's own containers
    with TemporaryDirectory() as folder:
        file = Path(folder, "modules.clu")
        result.write_clu(str(file))
        columns = np.loadtxt(file, dtype=np.int64, usecols=(0, 1), ndmin=2)
    return columns[:, 0], columns[:, 1]
