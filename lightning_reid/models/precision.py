"""Half precision for the backbone alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor


def at_least_float32(convert: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Let what ``module.to(...)`` does to a tensor leave it in float32 or more.

    Batch statistics, classifiers and what compares embeddings need more than the eight or eleven
    bits of a half.

    Args:
        convert: What is done to each tensor, as ``torch.nn.Module._apply`` gets it.

    Example:
        >>> at_least_float32(torch.Tensor.bfloat16)(torch.tensor(0.1))
        tensor(0.1000)
    """

    @wraps(convert)  # torchmetrics looks at its name
    def converted(tensor: Tensor) -> Tensor:
        result = convert(tensor)
        if not result.is_floating_point() or result.element_size() >= 4:
            return result
        # from the values before, which half precision has rounded
        return tensor.to(result.device, torch.promote_types(tensor.dtype, torch.float32))

    return converted
