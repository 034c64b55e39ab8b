"""Camera-aware proxies: the non-empty (cluster, camera) pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_reid.indices import checked_indices, whole_numbers

OUTLIER = -1


def split_by_camera(
    labels: Tensor | npt.ArrayLike, cameras: Tensor | npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Split every cluster by camera (CAP, O2CAP: section "proxies").

    Args:
        labels: cluster of every image, ``(N,)``, -1 for outliers.
        cameras: camera of every image, ``(N,)``, from 0.

    Returns:
        The proxy of every image, ``(N,)`` int64, numbered cluster by cluster and within a cluster
        camera by camera, without gaps; -1 stays -1.

    Raises:
        ValueError: if the two differ in length, or are no integers that fit int64.

    Example:
        >>> split_by_camera([0, 0, 1, -1, 0], [2, 0, 1, 1, 2])
        array([ 1,  0,  2, -1,  1])
    """
    labels, cameras = (
        whole_numbers(name, column).cpu().numpy()
        for name, column in (("labels", labels), ("cameras", cameras))
    )
    if labels.shape != cameras.shape or labels.ndim != 1:
        raise ValueError(
            "labels and cameras must be (N,), equally many, not of shapes "
            f"{labels.shape} and {cameras.shape}"
        )
    proxies = np.full(len(labels), OUTLIER, dtype=np.int64)
    inlier = labels != OUTLIER
    pairs = np.stack([labels[inlier], cameras[inlier]], axis=1)
    proxies[inlier] = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return proxies


def group_owner(groups: Tensor, values: Tensor) -> Tensor:
    """The value that all images of a group share, per group.

    Args:
        groups: group of every image, ``(N,)``, -1 for none, numbered from 0 without gaps.
        values: one number an image, ``(N,)``, equal within a group (its cluster, its camera).

    Returns:
        ``(G,)`` tensor of the type of ``values``; int64 for unsigned types beyond uint8, of which
        torch copies no parts.

    Raises:
        ValueError: if groups are not as many whole numbers as there are values.

    Example:
        >>> proxies, cameras = torch.tensor([0, 0, 1, -1]), torch.tensor([5, 5, 2, 4])
        >>> group_owner(proxies, cameras)  # proxy 0 is of camera 5, proxy 1 of camera 2
        tensor([5, 2])
    """
    (groups,) = checked_indices(len(values), groups=groups)
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
        values = whole_numbers("values", values)
    member = groups >= 0
    num_groups = int(groups.max()) + 1 if member.any() else 0
    owner = torch.zeros(num_groups, dtype=values.dtype, device=values.device)
    return owner.index_copy_(0, groups[member], values[member])


def group_means(features: Tensor, groups: Tensor) -> Tensor:
    """Unit-length mean feature of every group.

    Args:
        features: ``(N, D)``.
        groups: group of every image, ``(N,)``, -1 for none, numbered from 0 without gaps.

    Returns:
        ``(G, D)`` unit rows, at least float32.

    Raises:
        ValueError: if groups are not as many whole numbers as there are features.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> group_means(features, groups=torch.tensor([0, 0, 1]))
        tensor([[0.7071, 0.7071],
                [0.0000, 1.0000]])
    """
    (groups,) = checked_indices(len(features), groups=groups)
    member = groups >= 0
    num_groups = int(groups.max()) + 1 if member.any() else 0
    precise = features.to(torch.promote_types(features.dtype, torch.float32))
    sums = precise.new_zeros(num_groups, features.shape[1])
    sums.index_add_(0, groups[member], precise[member])
    # the length of the mean does not matter: it is normalised away
    return torch.nn.functional.normalize(sums, dim=1)
