"""ResNets with instance-batch normalisation (IBN-Net, variant a, https://arxiv.org/abs/1807.09441).

Instance normalisation of half the channels takes out the looks of a camera (brightness, colour
cast), which helps across cameras.
"""

import torch
import torchvision
from torch import Tensor, nn

_SUFFIX = "_ibn_a"
IBN_RESNETS = tuple(f"resnet{depth}{_SUFFIX}" for depth in (18, 34, 50, 101))


class InstanceBatchNorm(nn.Module):
    """Instance norm of the first half of the channels, batch norm of the others.

    Args:
        num_features: Number of channels of the map.

    Attributes:
        IN: The instance norm, with scale and shift; named as in published checkpoints.
        BN: The batch norm.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.split = num_features // 2
        self.IN = nn.InstanceNorm2d(self.split, affine=True)
        self.BN = nn.BatchNorm2d(num_features - self.split)

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise maps (B, C, h, w)."""
        instance, batch = maps[:, : self.split], maps[:, self.split :]
        return torch.cat([self.IN(instance), self.BN(batch)], dim=1)


def plain_name(name: str) -> str:
    """The ResNet that an IBN variant is made from: "resnet50" for "resnet50_ibn_a"."""
    return name.removesuffix(_SUFFIX)


def is_ibn_tensor(name: str) -> bool:
    """Whether a tensor of this name belongs to an IBN layer, which plain ResNets do not have."""
    return ".IN." in name or ".BN." in name


def build_ibn_resnet(name: str) -> nn.Module:
    """Build torchvision's ResNet with the first norm of every block of layers 1 to 3 an IBN.

    Args:
        name: One of `IBN_RESNETS`.

    Returns:
        The ResNet, randomly initialised, with its classifier.
    """
    network = torchvision.models.get_model(plain_name(name))
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in stage:
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)
    return network  # type: ignore[no-any-return]
