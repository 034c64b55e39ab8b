"""Features without the look of their camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_reid.clustering.arrays import Array, feature_rows, same_kind

_SMALLEST_STD = 1e-6


@torch.no_grad()
def camera_normalize(features: Array, cameras: Any) -> Array:
    """Take the mean and spread of each camera out of the features, then make unit rows.

    Per camera and dimension: subtract the mean and divide by the standard deviation (at least
    1e-6). A row of which nothing is left, because its camera has one image or only identical
    ones, becomes its plain L2-normalised feature.

    Args:
        features: (N, D) array or tensor.
        cameras: (N,) camera of each row, integers from 0: array, tensor or list.

    Returns:
        (N, D) float32 unit rows, of the type and on the device of ``features``.

    Raises:
        ValueError: If the cameras are not N non-negative integers, or the features are not
            2-D, are empty, or hold NaN or infinite values.
    """
    rows = feature_rows(features)
    normalized = torch.empty_like(rows)
    for members in _members(cameras, rows):
        normalized[members] = _standardized(rows[members])
    return same_kind(normalized, features)


def _standardized(rows: Tensor) -> Tensor:
    # measured from one of the images, what is constant in a camera is exactly zero
    centred = rows - rows[0]
    centred -= centred.mean(dim=0)
    centred /= centred.square().mean(dim=0).sqrt_().clamp_(min=_SMALLEST_STD)
    something_left = centred.any(dim=1, keepdim=True)
    return normalize(torch.where(something_left, centred, rows))


def _members(cameras: Any, rows: Tensor) -> tuple[Tensor, ...]:
    """Row numbers of each camera that occurs."""
    given = cameras.cpu().numpy() if isinstance(cameras, Tensor) else np.asarray(cameras)
    if given.shape != (len(rows),) or given.dtype.kind not in "iu":
        raise ValueError(
            f"cameras must be {len(rows)} integers, not {given.dtype} of shape {given.shape}"
        )
    if given.min() < 0:
        raise ValueError(f"cameras must not be negative, as {given.min()} is")
    _, sizes = np.unique(given, return_counts=True)
    by_camera = torch.from_numpy(given.argsort(kind="stable")).to(rows.device)
    return torch.split(by_camera, sizes.tolist())
