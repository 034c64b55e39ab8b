"""The Jaccard distance of neighbourhoods that are taken within and across cameras."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_reid.clustering.arrays import Array, camera_numbers, unit_rows
from lightning_reid.clustering.camera_neighbors import camera_neighbors
from lightning_reid.clustering.jaccard_forms import (
    Backend,
    Layout,
    form_on,
    in_layout,
    rank_lists,
    require_room,
    require_valid,
)
from lightning_reid.clustering.locality import renumbered, together


def camera_jaccard_distance(
    features: Array,
    cameras: Any,
    k1_intra: int = 5,
    k1_inter: int = 20,
    k2_intra: int = 2,
    k2_inter: int = 4,
    max_distance: float = 0.6,
    neighbors: tuple[Any, Any] | None = None,
    backend: Backend = "auto",
    layout: Layout = "scipy",
) -> Any:
    """Compute the camera-aware Jaccard distance, for all pairs that are close.

    Chen et al., "CA-Jaccard: Camera-aware Jaccard distance for person re-identification" (CVPR
    2024). Images of one camera look alike and crowd the others out of a common rank list. Here
    every image has two: of its own camera, itself first, and of all other cameras. Its mutual
    neighbours in either list describe it, without expansion; the rest is ``jaccard_distance``.
    DBSCAN's eps is 0.4 for Market-1501 and 0.6 for MSMT17 and VeRi-776 in the published code.

    A list is shorter where there are fewer images to choose from. The published code fills it
    with images of the wrong cameras instead; here these are neither neighbours nor averaged.

    Args:
        features: (N, D) array or tensor with unit rows.
        cameras: (N,) camera of each row, integers from 0: array, tensor or list.
        k1_intra: Neighbours in the own camera, itself not counted. 5 as published.
        k1_inter: Neighbours in the other cameras. 20 as published.
        k2_intra: The description is averaged over so many first images of the list within the
            camera, itself included. 2 as published, but 3 in the first epoch.
        k2_inter: And over so many first images of the list across. 4 as published, but 3 in the
            first epoch.
        max_distance: Pairs up to this distance (plus 1e-6) are stored, except those at
            distance 1.
        neighbors: What ``camera_neighbors`` returned for these features and cameras with at
            least k1_intra + 1 and k1_inter + 1 columns, and at least k2_intra and k2_inter, where
            it is known already: the lists within and across as row numbers, -1 in empty places.
        backend: As for ``jaccard_distance``.
        layout: As for ``jaccard_distance``.

    Returns:
        The sparse matrix (N, N) float32, as ``jaccard_distance`` gives.

    Raises:
        ValueError: If a k or max_distance is out of range, the backend or the layout is
            unknown, the cameras are not N non-negative integers, the neighbours do not fit the
            features or the cameras, or the features are not 2-D, are empty, or hold NaN or
            infinite values.
        InputError: If a row is not of unit length, or that takes more memory than is free.

    Example:
        >>> from lightning_reid.clustering import dbscan
        >>> people = np.array([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> cameras = [0, 1, 0, 1]  # each of two people is seen by both
        >>> graph = camera_jaccard_distance(people, cameras, 1, 1, 1, 1)
        >>> dbscan(graph, eps=0.5, min_samples=2).tolist()
        [0, 0, 1, 1]
    """
    require_valid(
        max_distance,
        layout,
        k1_intra=k1_intra,
        k1_inter=k1_inter,
        k2_intra=k2_intra,
        k2_inter=k2_inter,
    )
    points = unit_rows(features)
    form, device = form_on(points.device, backend)
    require_room(len(points), k1_intra + k1_inter, k2_intra + k2_inter, device)
    widths = max(k1_intra + 1, k2_intra), max(k1_inter + 1, k2_inter)
    found = camera_neighbors(features, cameras, *widths) if neighbors is None else neighbors

    intra, inter = (
        rank_lists(indices, len(points), width, smallest=-1).to(device)
        for indices, width in zip(found, widths, strict=True)
    )
    _require_apart(intra, inter, camera_numbers(cameras, len(points)).to(device))
    order = together(intra)
    intra, inter = renumbered(intra, order), renumbered(inter, order)
    lists = intra[:, : k1_intra + 1], inter[:, : k1_inter + 1]
    flags = torch.cat([form.mutual(ranks) for ranks in lists], dim=1)
    sets = form.reciprocal_sets(torch.cat(lists, dim=1), flags, flags[:, :0])
    weights = form.weighted(points.to(device), order, sets)
    nearest = torch.cat([intra[:, :k2_intra], inter[:, :k2_inter]], dim=1)
    weights = form.averaged(weights, nearest)
    pairs = form.close_pairs(weights, max_distance)
    return in_layout(pairs, order, max_distance, layout, points.device)


def _require_apart(intra: Tensor, inter: Tensor, cameras: Tensor) -> None:
    """Each list has images of the cameras it is meant for, so that the two share none."""
    same, other = (cameras[ranks.to(torch.int64)] == cameras[:, None] for ranks in (intra, inter))
    if ((intra >= 0) & ~same).any() or ((inter >= 0) & other).any():
        raise ValueError("neighbors must be of the own camera first, then of the others")
