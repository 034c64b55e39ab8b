"""What every backbone looks like to the rest of the package."""

from textwrap import shorten
from typing import cast

from torch import Tensor, nn

from lightning_reid.errors import InputError
from lightning_reid.models.dry_run import refused_size


class Backbone(nn.Module):
    """A network without its classifier.

    Args:
        trunk: Maps images (B, 3, H, W) to a feature map (B, C, h, w) or, for token models, to
            pooled features (B, C).
        num_features: C.
        returns_maps: Whether it returns feature maps; None if that is not known.

    Attributes:
        trunk: The network.
        num_features: C, the number of channels it returns.
        returns_maps: Whether it returns feature maps; None if that is not known.
    """

    def __init__(
        self, trunk: nn.Module, num_features: int, returns_maps: bool | None = None
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.num_features = num_features
        self.returns_maps = returns_maps

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to features (B, C, h, w) or (B, C).

        Raises:
            InputError: The network cannot take images of this height and width.
        """
        try:
            return cast(Tensor, self.trunk(images))
        except InputError:
            raise
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            height, width = images.shape[-2:]
            refusal = refused_size(self.trunk, (height, width))
            if refusal is None:
                raise
            raise InputError(
                f"the backbone cannot take images of {height}x{width} pixels "
                f"({shorten(str(refusal), 200)}): choose another size of images or another backbone"
            ) from error
