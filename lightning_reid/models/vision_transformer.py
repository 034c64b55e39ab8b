"""torchvision's vision transformer for images of any size."""

from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lightning_reid.errors import InputError
from lightning_reid.models.positions import Grid, adapt_on_load


class VisionTransformerTrunk(nn.Module):
    """torchvision's vision transformer without its head, for any size divisible by the patch.

    The position embedding stays as it was trained and is interpolated (bicubic) to the grid of the
    images as part of the forward pass. A state dict may bring one for any grid.

    Args:
        network: A `torchvision.models.VisionTransformer`, whose layers are taken over under
            their names.

    Attributes:
        patch_size: Side of a patch in pixels.
        grid: Rows and columns of patches that the position embedding is for.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.patch_size = cast(int, network.patch_size)
        self.class_token = cast(nn.Parameter, network.class_token)
        self.conv_proj = cast(nn.Module, network.conv_proj)
        self.encoder = cast(nn.Module, network.encoder)
        side = cast(int, network.image_size) // self.patch_size
        self.grid = (side, side)
        adapt_on_load(self, "encoder.pos_embedding", "grid")

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to the class token after the last layer, (B, C).

        Raises:
            InputError: H or W is not a multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise InputError(
                f"images of {height}x{width} pixels cannot be cut into patches of "
                f"{self.patch_size}x{self.patch_size}: choose a height and width divisible by "
                f"{self.patch_size}"
            )
        patches = self.conv_proj(images)
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), tokens], dim=1)
        tokens = tokens + resize_positions(
            cast(Tensor, self.encoder.pos_embedding),
            (patches.shape[-2], patches.shape[-1]),
            self.grid,
        )
        encoder = self.encoder
        tokens = encoder.ln(encoder.layers(encoder.dropout(tokens)))  # type: ignore[operator]
        return cast(Tensor, tokens[:, 0])


def resize_positions(positions: Tensor, grid: Grid, own_grid: Grid) -> Tensor:
    """Interpolate a position embedding from its grid to another one.

    Args:
        positions: (1, 1 + rows * columns, C), the class token's position first.
        grid: Rows and columns of patches wanted.
        own_grid: Rows and columns of the embedding.

    Returns:
        (1, 1 + rows * columns, C); the input itself where the grid is the same.
    """
    if grid == own_grid:
        return positions
    # A product with a fixed matrix, not interpolate(): its gradient is deterministic on a GPU.
    with torch.autocast(positions.device.type, enabled=False):
        patches = _interpolation(own_grid, grid, positions.device) @ positions[:, 1:].float()
    return torch.cat([positions[:, :1], patches.to(positions.dtype)], dim=1)


@lru_cache(maxsize=8)
def _interpolation(old: Grid, new: Grid, device: torch.device) -> Tensor:
    """Return the matrix (new patches, old patches) of a bicubic resize."""
    with torch.inference_mode(False), torch.no_grad():  # may serve a training step later
        basis = torch.eye(old[0] * old[1]).reshape(-1, 1, *old)
        resized = interpolate(basis, size=new, mode="bicubic", align_corners=False)
        return resized.flatten(1).T.contiguous().to(device)
