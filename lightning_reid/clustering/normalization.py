"""Features without the look of their camera."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm

from lightning_reid.clustering.arrays import Array, camera_numbers, feature_rows, same_kind

_SMALLEST_STD = 1e-6
_SMALLEST_NORM = 1e-12
_ROUNDING = 1e-5  # of a row's length; embeddings of one picture in two batches differ by 4e-7


@torch.no_grad()
def camera_normalize(features: Array, cameras: Any) -> Array:
    """Take the mean and spread of each camera out of the features, then make unit rows.

    Per camera and dimension: subtract the mean and divide by the standard deviation (at least
    1e-6). A row of which nothing is left, because its camera has one image or only copies of one,
    or because it is its camera's mean, becomes its plain L2-normalised feature; nothing is what
    rounding may leave, 1e-5 of its length.

    Args:
        features: (N, D) array or tensor.
        cameras: (N,) camera of each row, integers from 0: array, tensor or list.

    Returns:
        (N, D) float32 unit rows, of the type and on the device of ``features``.

    Raises:
        ValueError: If the cameras are not N non-negative integers, or the features are not
            2-D, are empty, or hold NaN or infinite values.

    Example:
        >>> people = np.array([[1.0, 0.0], [3.0, 0.0], [1.0, 5.0], [3.0, 5.0]])  # camera 1 adds 5
        >>> camera_normalize(people, cameras=[0, 0, 1, 1]).tolist()
        [[-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]
    """
    rows = feature_rows(features)
    normalized = torch.empty_like(rows)
    for members in _members(cameras, rows):
        own = rows[members]
        lost = _standardize(own)
        own[lost] = rows[members[lost]]
        own /= vector_norm(own, dim=1, keepdim=True).clamp_(min=_SMALLEST_NORM)
        normalized[members] = own
    return same_kind(normalized, features)


def _standardize(rows: Tensor) -> Tensor:
    """Standardize the rows of a camera in place; flags ``(N,)`` of those that are lost by it."""
    lengths = vector_norm(rows, dim=1)
    # measured from one of the images, what is constant in a camera is exactly zero
    rows -= rows[0].clone()
    rows -= rows.mean(dim=0)
    lost: Tensor = vector_norm(rows, dim=1) <= _ROUNDING * lengths
    rows /= (vector_norm(rows, dim=0) / len(rows) ** 0.5).clamp_(min=_SMALLEST_STD)
    return lost


def _members(cameras: Any, rows: Tensor) -> tuple[Tensor, ...]:
    """Row numbers of each camera that occurs."""
    camera_of = camera_numbers(cameras, len(rows)).to(rows.device)
    _, sizes = torch.unique(camera_of, return_counts=True)
    return torch.split(camera_of.argsort(stable=True), sizes.tolist())
