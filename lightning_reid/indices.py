"""What a batch and a memory are described by: one whole number for each row."""

from __future__ import annotations

import torch
from torch import Tensor

NOTHING_IGNORED = torch.iinfo(torch.int64).min
"""As ``ignore_index`` of torch's losses: they would leave out labels of -100, without a word."""

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)


def checked_indices(count: int, **columns: Tensor) -> tuple[Tensor, ...]:
    """Give columns as int64, if they are whole numbers, one for each of ``count`` rows.

    Shapes that happen to broadcast, or labels that were halved, would give a number without
    meaning, and an index of type uint8 is a mask to torch. Values are not looked at, which would
    stop a GPU.

    Args:
        count: of the rows that they describe.
        columns: ``(count,)`` each, by name.

    Returns:
        The columns in the order given, ``(count,)`` int64 each.

    Raises:
        ValueError: if a column is no such thing.
    """
    for name, column in columns.items():
        if column.shape != (count,) or column.dtype not in _WHOLE:
            raise ValueError(
                f"{name} must be {count} whole numbers, not {column.dtype} of shape "
                f"{tuple(column.shape)}"
            )
    return tuple(column.long() for column in columns.values())
