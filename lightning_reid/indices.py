"""Integers that describe rows: identities, cameras, clusters, targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_reid.errors import InputError

NOTHING_IGNORED = torch.iinfo(torch.int64).min
"""As ``ignore_index`` of torch's losses: they would leave out labels of -100, without a word."""

_FIT_INT64 = (
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint32,
    torch.uint16,
    torch.uint8,
)


def whole_numbers(name: str, values: Any) -> Tensor:
    """Convert integers of any width to int64, in which torch has every operation.

    Args:
        name: What an error calls them.
        values: Tensor, array or list of integers. A tensor stays on its device. Something empty may
            have any type, as an empty list has none.

    Returns:
        int64 tensor of the same shape; memory is shared where possible.

    Raises:
        InputError: If they are not integers (bool and floating point are not, whatever the values)
            or one does not fit int64.

    Example:
        >>> whole_numbers("cameras", np.array([0, 255], dtype=np.uint8))
        tensor([  0, 255])
        >>> whole_numbers("cameras", [0.0, 1.0])
        Traceback (most recent call last):
        lightning_reid.errors.InputError: cameras must be whole numbers that fit int64, not float64
    """
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.size and array.dtype.kind not in "iu":
            _refuse(name, array.dtype)
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise InputError(f"{name} must fit int64, and {array.max()} does not")
        # writable, as tensors are: a memory-mapped file is copied
        native = array.astype(np.int64, copy=False)
        return torch.from_numpy(np.require(native, requirements=["C", "W"]))
    column = values.detach()
    if column.dtype not in (*_FIT_INT64, torch.uint64) and column.numel():
        _refuse(name, column.dtype)
    numbers = column.to(torch.int64)
    if column.dtype == torch.uint64 and (numbers < 0).any():
        raise InputError(f"{name} must fit int64, and {column[numbers < 0][0].item()} does not")
    return numbers


def checked_indices(count: int, **columns: Tensor) -> tuple[Tensor, ...]:
    """Give columns as int64, if they are whole numbers, one for each of ``count`` rows.

    Shapes that happen to broadcast, or labels that were halved, would give a number without
    meaning, and an index of type uint8 is a mask to torch. Values are not looked at, which would
    stop a GPU; so uint64, whose values may not fit, is refused.

    Args:
        count: of the rows that they describe.
        columns: ``(count,)`` each, by name.

    Returns:
        The columns in the order given, ``(count,)`` int64 each.

    Raises:
        ValueError: if a column is no such thing.
    """
    for name, column in columns.items():
        if column.shape != (count,) or column.dtype not in _FIT_INT64:
            raise ValueError(
                f"{name} must be {count} whole numbers, not {column.dtype} of shape "
                f"{tuple(column.shape)}"
            )
    return tuple(column.long() for column in columns.values())


def _refuse(name: str, dtype: Any) -> None:
    raise InputError(f"{name} must be whole numbers that fit int64, not {dtype}")
