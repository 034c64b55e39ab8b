"""A classifier of cameras whose gradient makes embeddings forget the camera (CALR; GRL)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn


class _Reversal(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a negative number."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(values: Tensor, strength: float = 1.0) -> Tensor:
    """Hand values on unchanged and their gradient back times ``-strength``.

    Args:
        values: any shape.
        strength: 1 in CALR's code (https://arxiv.org/abs/1409.7495 raises it from 0 to 1).

    Returns:
        ``values``.

    Example:
        >>> value = torch.tensor(3.0, requires_grad=True)
        >>> (2 * reverse_gradient(value)).backward()
        >>> value.grad  # without it 2
        tensor(-2.)
    """
    return cast(Tensor, _Reversal.apply(values, strength))


class CameraDiscriminator(nn.Module):
    """Guesses the camera from an embedding; trains the network below to prevent it.

    Three fully connected layers with batch normalisation, ReLU and dropout, as in CALR's published
    code (https://arxiv.org/abs/2403.16450), but without its log-softmax at the end: see
    `lightning_reid.losses.camera_alignment.camera_alignment_loss`.

    Args:
        embedding_dim: Length of the embeddings.
        num_cameras: Number of cameras C.
        hidden: Width of the hidden layers; 100 in CALR.
        dropout: Probability of zeroing a value of the first hidden layer; 0.5 in CALR.

    Example:
        >>> discriminator = CameraDiscriminator(embedding_dim=8, num_cameras=6)
        >>> discriminator(torch.rand(4, 8)).shape  # logits of six cameras for four images
        torch.Size([4, 6])
    """

    def __init__(
        self, embedding_dim: int, num_cameras: int, hidden: int = 100, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(embedding_dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_cameras),
        )

    def forward(self, embeddings: Tensor, reversal: float = 1.0) -> Tensor:
        """Map embeddings (B, D) to logits of cameras (B, C).

        Args:
            embeddings: They receive the gradient times ``-reversal``; the layers the true one.
            reversal: 1 in CALR; 0 trains the layers only.

        Raises:
            ValueError: A single image in training mode: batch normalisation needs two.
        """
        return cast(Tensor, self.layers(reverse_gradient(embeddings, reversal)))
