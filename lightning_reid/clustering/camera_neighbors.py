"""The nearest neighbours of every image within its camera and across cameras."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_reid.clustering.arrays import Array, camera_numbers, feature_rows, same_kind
from lightning_reid.clustering.neighbors import nearest_among


@torch.no_grad()
def camera_neighbors(
    features: Array,
    cameras: Any,
    k_intra: int = 6,
    k_inter: int = 21,
    rows: Tensor | None = None,
) -> tuple[Array, Array]:
    """Find the nearest rows of every row in its own camera and in all others, exactly.

    Args:
        features: (N, D) array or tensor; unit rows make the ranking that of the cosine.
        cameras: (N,) camera of each row, integers from 0: array, tensor or list.
        k_intra: Neighbours within the camera, itself included, which is the first. 6, itself
            and 5 others, is what ``camera_jaccard_distance`` needs.
        k_inter: Neighbours across cameras. 21 is what ``camera_jaccard_distance`` needs.
        rows: (R,) int64 numbers of the rows whose neighbours are sought; all if None.

    Returns:
        Row numbers (R, k_intra) and (R, k_inter) int64, nearest first, -1 where a camera or the
        others have fewer images: arrays for an array, tensors on the features' device for a
        tensor.

    Raises:
        ValueError: If a k is below 1, the cameras are not N non-negative integers, or the
            features are not 2-D, are empty, or hold NaN or infinite values.

    Example:
        >>> people = np.array([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> intra, inter = camera_neighbors(people, cameras=[0, 1, 0, 1], k_intra=1, k_inter=1)
        >>> intra.ravel().tolist(), inter.ravel().tolist()  # itself, and the same abroad
        ([0, 1, 2, 3], [1, 0, 3, 2])
    """
    if k_intra < 1 or k_inter < 1:
        raise ValueError(f"k_intra and k_inter must be at least 1, not {k_intra} and {k_inter}")
    points = feature_rows(features)
    camera_of = camera_numbers(cameras, len(points)).to(points.device)
    sought = torch.arange(len(points), device=points.device) if rows is None else rows
    intra, inter = (sought.new_full((len(sought), k), -1) for k in (k_intra, k_inter))
    for camera in torch.unique(camera_of[sought]):
        places = (camera_of[sought] == camera).nonzero().flatten()
        own, others = ((camera_of == camera) == same for same in (True, False))
        _fill(intra, places, points, sought[places], own)
        _fill(inter, places, points, sought[places], others)
    return same_kind(intra, features), same_kind(inter, features)


def _fill(ranks: Tensor, places: Tensor, points: Tensor, rows: Tensor, among: Tensor) -> None:
    """Write the neighbours of some rows among the flagged ones into their places."""
    columns = among.nonzero().flatten()
    if len(columns) > 0:
        found = nearest_among(points, rows, columns, ranks.shape[1])[1]
        ranks[places, : found.shape[1]] = found
