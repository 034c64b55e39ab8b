"""What every backbone looks like to the rest of the package."""

from typing import cast

from torch import Tensor, nn


class Backbone(nn.Module):
    """A network without its classifier.

    Args:
        trunk: Maps images (B, 3, H, W) to a feature map (B, C, h, w) or, for token models, to
            pooled features (B, C).
        num_features: C.

    Attributes:
        trunk: The network.
        num_features: C, the number of channels it returns.
    """

    def __init__(self, trunk: nn.Module, num_features: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.num_features = num_features

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to features (B, C, h, w) or (B, C)."""
        return cast(Tensor, self.trunk(images))
