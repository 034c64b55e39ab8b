"""Making embeddings and clusters independent of cameras (CALR, https://arxiv.org/abs/2403.16450)."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_reid.indices import NOTHING_IGNORED, checked_indices


def camera_entropy_weights(
    labels: Tensor | npt.NDArray[Any], cameras: Tensor | npt.NDArray[Any]
) -> Tensor:
    """Weight of every cluster by how evenly it spreads over the cameras.

    ``h_k = ln(1 + H_k)`` with ``H_k`` the entropy of the cameras of cluster ``k``'s images, as in
    the published code. A cluster of a single camera weighs 0, and so does one without images.

    Args:
        labels: cluster of every image, ``(N,)``; negative: none.
        cameras: camera of every image, ``(N,)``, from 0.

    Returns:
        ``(C,)`` float32 on the device of ``labels``; C is one more than the highest label.

    Raises:
        ValueError: if both are not as many whole numbers, or a camera is negative.

    Example:
        >>> clusters, cameras = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 2])
        >>> camera_entropy_weights(clusters, cameras)  # ln(1 + ln 2) for two cameras, 0 for one
        tensor([0.5266, 0.0000])
    """
    labels = torch.as_tensor(labels)
    cameras = torch.as_tensor(cameras, device=labels.device)
    labels, cameras = checked_indices(len(cameras), labels=labels, cameras=cameras)
    if len(cameras) and int(cameras.min()) < 0:
        raise ValueError(f"cameras must not be negative, as {int(cameras.min())} is")
    member = labels >= 0
    labels, cameras = labels[member], cameras[member]
    if not len(labels):
        return torch.zeros(0, device=labels.device)
    num_clusters, num_cameras = int(labels.max()) + 1, int(cameras.max()) + 1
    pairs = torch.bincount(labels * num_cameras + cameras, minlength=num_clusters * num_cameras)
    counts = pairs.view(num_clusters, num_cameras).double()
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    entropy: Tensor = torch.special.entr(shares).sum(1)
    return entropy.log1p().float()


def camera_alignment_loss(logits: Tensor, cameras: Tensor, double_softmax: bool = True) -> Tensor:
    """Cross-entropy of a camera classifier that sits behind a gradient reversal.

    Args:
        logits: ``(B, C)``, see `lightning_reid.models.camera_discriminator.CameraDiscriminator`.
        cameras: camera of every image, ``(B,)``.
        double_softmax: take the cross-entropy of the *probabilities* as if they were logits, as
            the published code does. Gradients are then weak and the loss at least
            ``ln(1 + (C - 1) / e)``. False for an ordinary cross-entropy.

    Returns:
        Scalar.

    Raises:
        ValueError: if cameras are not as many whole numbers as there are rows.
        IndexError: on the CPU, if a camera is none of the C.

    Example:
        >>> cameras, sure, unsure = torch.tensor([0, 1]), 9 * torch.eye(2), torch.zeros(2, 2)
        >>> camera_alignment_loss(unsure, cameras)  # the discriminator guesses: ln 2
        tensor(0.6931)
        >>> camera_alignment_loss(sure, cameras)  # it knows, and softmax twice keeps this above 0
        tensor(0.3133)
        >>> camera_alignment_loss(sure, cameras, double_softmax=False)
        tensor(0.0001)
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    (cameras,) = checked_indices(len(logits), cameras=cameras)
    scores = logits.softmax(1) if double_softmax else logits
    return cross_entropy(scores, cameras, ignore_index=NOTHING_IGNORED)
