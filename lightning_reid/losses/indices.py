"""What a batch and a memory are described by: one whole number for each row."""

from __future__ import annotations

import torch
from torch import Tensor

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)


def require_indices(count: int, **columns: Tensor) -> None:
    """Raise a ValueError unless columns are whole numbers, one for each of ``count`` rows.

    Shapes that happen to broadcast, or labels that were halved, would give a number without
    meaning. Values are not looked at, which would stop a GPU.

    Args:
        count: of the rows that they describe.
        columns: ``(count,)`` each, by name.
    """
    for name, column in columns.items():
        if column.shape != (count,) or column.dtype not in _WHOLE:
            raise ValueError(
                f"{name} must be {count} whole numbers, not {column.dtype} of shape "
                f"{tuple(column.shape)}"
            )
