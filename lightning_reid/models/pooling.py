"""Pool a feature map to one vector per image."""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_reid.errors import require_one_of


class GeneralizedMeanPool(nn.Module):
    """Generalised-mean pooling with a learned exponent (GeM, https://arxiv.org/abs/1711.02512).

    The mean of x^p over the map, to the power 1/p: average pooling for p = 1, towards maximum
    pooling as p grows.

    Args:
        p: Initial exponent; 3 as in the paper.
        eps: Values of the map are raised to this at least; 1e-6 as in the paper's code.

    Example:
        >>> one_map = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> [round(GeneralizedMeanPool(p)(one_map).item(), 2) for p in (1, 3, 10)]
        [2.0, 2.29, 2.69]
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([float(p)]))
        self.eps = eps

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C), at least float32: in less x^p would overflow."""
        powers = maps.to(_at_least_float32(maps)).clamp(min=self.eps).pow(self.p)
        return powers.mean(dim=(-2, -1)).pow(1.0 / self.p)


class AveragePool(nn.Module):
    """The mean over the map."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C), at least float32."""
        return maps.mean(dim=(-2, -1), dtype=_at_least_float32(maps))


def build_pool(name: Literal["avg", "gem"]) -> nn.Module:
    """Build a pooling layer by name.

    Args:
        name: "avg" for the mean, "gem" for `GeneralizedMeanPool` with its defaults.

    Raises:
        InputError: Unknown name.
    """
    pools: dict[str, type[nn.Module]] = {"avg": AveragePool, "gem": GeneralizedMeanPool}
    require_one_of("pooling", name, tuple(pools))
    return pools[name]()


def _at_least_float32(maps: Tensor) -> torch.dtype:
    return torch.promote_types(maps.dtype, torch.float32)
