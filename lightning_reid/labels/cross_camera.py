"""Soft labels that say who, in another camera, a person may be.

In the manner of PCSL (Qi et al., arXiv 1908.05669), whose abstract alone is known to us: persons,
each known within one camera only, have features, these give affinities, and the affinities
between cameras soft labels. Every formula here is our reconstruction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from lightning_reid.clustering.arrays import camera_numbers, feature_rows
from lightning_reid.clustering.camera_jaccard import camera_jaccard_distance
from lightning_reid.clustering.precision import full_precision
from lightning_reid.errors import require, require_one_of, require_positive

Kernel = Literal["gaussian", "cosine", "jaccard"]

_BLOCK = 512  # persons compared with all others at a time
_SMALLEST_DISTANCE = 1e-6
_NONE = -torch.inf


class _Nearest(NamedTuple):
    """The most similar persons of each person in each camera.

    Attributes:
        similarities: ``(M, C, k)``, largest first; -inf in empty places and in the own camera.
        columns: ``(M, C, k)`` int64 numbers of these persons.
        distance: mean over all pairs of persons of different cameras.
    """

    similarities: Tensor
    columns: Tensor
    distance: float


@torch.no_grad()
def cross_camera_soft_labels(
    person_features: Any,
    person_cameras: Any,
    k: int = 3,
    kernel: Kernel = "gaussian",
    bandwidth: float = 0.2,
    confidence: bool = False,
    mutual: bool = True,
) -> Any:
    """Relate every person to the most similar ones of each other camera.

    Of each other camera the ``k`` persons of highest affinity are kept, and their affinities
    divided by their sum: ``S_pq = A_pq / sum_r A_pr``. That alone would assert that everybody was
    seen by every camera. Two things take it back: that a pair be mutual, and the confidence, the
    highest affinity to a person of that camera. All of this is our reconstruction, as are the
    defaults; ``benchmarks/learning.py --table pcsl`` varies each.

    Args:
        person_features: ``(M, D)`` array or tensor, one row for each person and camera, as the
            mean over the person's images; of any length.
        person_cameras: ``(M,)``, from 0.
        k: Persons kept in each other camera; all where a camera has fewer. Which of equals is
            not defined.
        kernel: Affinity of two persons. "gaussian" is ``exp(-d^2 / (2 s^2))`` with the distance
            ``d`` of the unit rows and ``s`` the bandwidth times the mean distance of persons of
            different cameras; "cosine" the cosine, if above 0; "jaccard" one less the distance
            of ``camera_jaccard_distance`` with its defaults.
        bandwidth: Of the Gaussian.
        confidence: Multiply each camera's labels by the highest affinity there.
        mutual: Keep pairs only in which each is among the ``k`` of the other.

    Returns:
        Sparse matrix ``(M, M)`` float32 (``scipy.sparse.csr_array``), empty within a camera and
        without explicit zeros. Without confidence, a row sums to 1 in each other camera, or to 0
        where nobody is left.

    Raises:
        InputError: If a setting is out of range.
        ValueError: If the features are not 2-D, are empty or not finite, or the cameras are not
            M non-negative integers.

    Example:
        >>> persons = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
        >>> soft = cross_camera_soft_labels(persons, person_cameras=[0, 0, 1, 1], k=1)
        >>> soft.toarray().tolist()  # person 0 is person 2 of the other camera, and 1 is 3
        [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    """
    require("k", k, 1)
    require_one_of("kernel", kernel, get_args(Kernel))
    require_positive("bandwidth", bandwidth)
    unit = normalize(feature_rows(person_features))
    cameras = camera_numbers(person_cameras, len(unit)).to(unit.device)
    nearest = _nearest(unit, cameras, k, kernel)
    # in logarithms, as a narrow Gaussian can be too small for its sum to be divided by
    if kernel == "gaussian":
        width = max(bandwidth * nearest.distance, _SMALLEST_DISTANCE)
        logarithms = (nearest.similarities - 1) / width**2  # half the squared distance
    else:
        logarithms = nearest.similarities.clamp(min=0).log()
    largest = logarithms[..., :1].exp()
    if mutual:
        logarithms = logarithms.masked_fill(~_are_mutual(nearest), _NONE)
    weights = logarithms.softmax(dim=2).nan_to_num(0)  # where nobody is left
    return _sparse(weights * largest if confidence else weights, nearest.columns)


def soft_label_table(soft: Any) -> tuple[Tensor, Tensor]:
    """Lay out sparse rows as a table, whose rows a training step can gather.

    Args:
        soft: ``scipy.sparse.csr_array`` ``(M, M)``.

    Returns:
        Columns ``(M, J)`` int64 and weights ``(M, J)`` float32; J is the longest row, at least 1.
        Shorter rows end in column 0 with weight 0.

    Example:
        >>> from scipy.sparse import csr_array
        >>> soft = csr_array(np.array([[0, 0, 0.75, 0.25], [0, 0, 0, 1], [1, 0, 0, 0]]))
        >>> columns, weights = soft_label_table(soft)
        >>> columns.tolist(), weights.tolist()
        ([[2, 3], [3, 0], [0, 0]], [[0.75, 0.25], [1.0, 0.0], [1.0, 0.0]])
    """
    lengths = np.diff(soft.indptr)
    filled = torch.from_numpy(np.arange(max(1, lengths.max(initial=0))) < lengths[:, None])
    columns = torch.zeros(filled.shape, dtype=torch.int64)
    weights = torch.zeros(filled.shape, dtype=torch.float32)
    columns[filled] = torch.from_numpy(soft.indices.astype(np.int64))
    weights[filled] = torch.from_numpy(soft.data.astype(np.float32))
    return columns, weights


def _nearest(unit: Tensor, cameras: Tensor, k: int, kernel: Kernel) -> _Nearest:
    _, own, sizes = torch.unique(cameras, return_inverse=True, return_counts=True)
    by_camera = own.argsort(stable=True)
    of_jaccard = kernel == "jaccard"
    blocks = _overlaps(unit, cameras, by_camera) if of_jaccard else _cosines(unit, by_camera)
    k = min(k, int(sizes.max()))
    tables, total = [], 0.0
    for camera, block in zip(torch.split(own, _BLOCK), blocks, strict=True):
        tables.append(_top_of_each(block, sizes.tolist(), k))
        if kernel == "gaussian":  # the only one with a scale
            apart = camera[:, None] != own[by_camera]
            total += float(((2 - 2 * block).sqrt() * apart).sum())
    similarities, places = (torch.cat(parts) for parts in zip(*tables, strict=True))
    columns = by_camera.to(places.device)[places]
    own = own.to(places.device)
    similarities[torch.arange(len(own), device=own.device), own] = _NONE
    num_pairs = len(own) ** 2 - int(sizes.square().sum())
    return _Nearest(similarities, columns, total / max(num_pairs, 1))


def _cosines(unit: Tensor, columns: Tensor) -> Iterator[Tensor]:
    """Cosines ``(B, M)`` of a block of persons with all, in the order of ``columns``."""
    others = unit[columns].T
    for rows in torch.split(unit, _BLOCK):
        with full_precision(unit.device.type):
            cosines = rows @ others
        yield cosines.clamp_(-1, 1)


def _overlaps(unit: Tensor, cameras: Tensor, columns: Tensor) -> Iterator[Tensor]:
    """One less the camera-aware Jaccard distance, as ``_cosines``."""
    graph = camera_jaccard_distance(unit, cameras, max_distance=1)
    graph.data = 1 - graph.data  # what is not stored is at distance 1
    graph = graph[:, columns.cpu().numpy()]
    for start in range(0, len(unit), _BLOCK):
        yield torch.from_numpy(graph[start : start + _BLOCK].toarray())


def _top_of_each(block: Tensor, sizes: list[int], k: int) -> tuple[Tensor, Tensor]:
    """Largest values ``(B, C, k)`` in each run of columns, and their places in the block."""
    values, places, begin = [], [], 0
    for part in torch.split(block, sizes, dim=1):
        top = part.topk(min(k, part.shape[1]), dim=1)
        empty = (0, k - top.values.shape[1])
        values.append(pad(top.values, empty, value=_NONE))
        places.append(pad(top.indices + begin, empty))
        begin += part.shape[1]
    return torch.stack(values, dim=1), torch.stack(places, dim=1)


def _are_mutual(nearest: _Nearest) -> Tensor:
    columns = nearest.columns
    persons = torch.arange(len(columns), device=columns.device)[:, None, None]
    pairs, reverse = persons * len(columns) + columns, columns * len(columns) + persons
    return torch.isin(pairs, reverse[nearest.similarities > _NONE])


def _sparse(weights: Tensor, columns: Tensor) -> Any:
    from scipy.sparse import csr_array

    rows = torch.arange(len(weights), device=weights.device)[:, None, None].expand_as(columns)
    kept = weights > 0
    entries = [part[kept].cpu().numpy() for part in (weights, rows, columns)]
    matrix = csr_array((entries[0], tuple(entries[1:])), shape=(len(weights),) * 2)
    matrix.sort_indices()
    return matrix
