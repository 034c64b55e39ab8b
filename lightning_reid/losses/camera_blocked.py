"""A classifier over (camera, person) pairs whose softmax stays inside a camera.

Where persons are labelled inside each camera only, one human being is several persons, one a
camera. A softmax over all of them would push the same human apart; here the persons of a camera
compete among themselves only. PCSL (Qi et al., https://arxiv.org/abs/1908.05669) is known to us by
description: everything here is our reconstruction.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from lightning_reid.indices import NOTHING_IGNORED, checked_indices


def camera_log_softmax(logits: Tensor, person_cameras: Tensor) -> Tensor:
    """Log-softmax over the persons of each camera.

    Args:
        logits: ``(B, P)``, one column a person.
        person_cameras: camera of every person, ``(P,)``, in any order; cameras may be without
            persons.

    Returns:
        Log-probabilities ``(B, P)``, at least float32; those of each camera's columns sum to 1 in
        every row.

    Raises:
        RuntimeError: if there are not as many cameras as columns.

    Example:
        >>> logits, person_cameras = torch.zeros(1, 3), torch.tensor([0, 0, 1])
        >>> camera_log_softmax(logits, person_cameras).exp()  # in camera 0 two share
        tensor([[0.5000, 0.5000, 1.0000]])
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    cameras, block = torch.unique(person_cameras, return_inverse=True)
    block = block.expand(len(logits), -1)
    maxima = logits.new_full((len(logits), len(cameras)), float("-inf"))
    maxima = maxima.scatter_reduce(1, block, logits.detach(), "amax")
    shifted = logits - maxima.gather(1, block)
    totals = torch.zeros_like(maxima).scatter_add(1, block, shifted.exp())
    return shifted - totals.log().gather(1, block)


def camera_cross_entropy(log_probabilities: Tensor, persons: Tensor) -> Tensor:
    """``-log P(own person)`` among the persons of its camera, averaged over the images.

    Args:
        log_probabilities: what `camera_log_softmax` gave, ``(B, P)``.
        persons: column of every image's person, ``(B,)``.

    Returns:
        Scalar.

    Raises:
        ValueError: if persons are not as many whole numbers as there are rows.
        IndexError: on the CPU, if a person has no column, such as -1, or the -100 that torch
            ignores.

    Example:
        >>> log_probabilities = camera_log_softmax(torch.zeros(1, 3), torch.tensor([0, 0, 1]))
        >>> camera_cross_entropy(log_probabilities, torch.tensor([0]))  # one of two: ln 2
        tensor(0.6931)
    """
    (persons,) = checked_indices(len(log_probabilities), persons=persons)
    return nll_loss(log_probabilities, persons, ignore_index=NOTHING_IGNORED)


def cross_camera_cross_entropy(
    log_probabilities: Tensor, columns: Tensor, weights: Tensor
) -> Tensor:
    """``-sum_j weight_j log P(person_j)`` over soft labels in other cameras, averaged.

    Args:
        log_probabilities: what `camera_log_softmax` gave, ``(B, P)``.
        columns: persons that every image resembles, ``(B, J)``; rows with fewer are filled up with
            any valid column of weight 0.
        weights: their soft labels times the confidence in them, ``(B, J)``. An image whose weights
            are all 0 costs nothing but counts in the mean.

    Returns:
        Scalar.

    Raises:
        RuntimeError: if the shapes do not fit or, on the CPU, a column is not there.

    Example:
        >>> logits = torch.tensor([[9.0, 0.0, 9.0, 0.0]])
        >>> log_probabilities = camera_log_softmax(logits, torch.tensor([0, 0, 1, 1]))
        >>> right, wrong, sure = torch.tensor([[2]]), torch.tensor([[3]]), torch.tensor([[1.0]])
        >>> cross_camera_cross_entropy(log_probabilities, right, sure).round(decimals=3)
        tensor(0.)
        >>> cross_camera_cross_entropy(log_probabilities, wrong, sure).round(decimals=3)
        tensor(9.)
    """
    chosen = log_probabilities.gather(1, columns)
    return -(weights.detach().to(chosen.dtype) * chosen).sum(1).mean()
