"""Arrays or tensors in: checked, as one type. Results out: the type that came in."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.linalg import vector_norm

from lightning_reid.errors import InputError
from lightning_reid.indices import whole_numbers
from lightning_reid.resources import require_memory

Array = TypeVar("Array", NDArray[Any], Tensor)
"""A NumPy array or a torch tensor; the result is of the kind that came in."""

_NAMED_ROWS = 10  # how many offending rows an error message lists
_UNIT_TOLERANCE = 0.01  # of a length; rows that were normalised in bfloat16 are 0.004 off


def feature_rows(features: NDArray[Any] | Tensor) -> Tensor:
    """Check features and give them as a contiguous float32 tensor.

    Args:
        features: (N, D) array or tensor of numbers; a tensor stays on its device.

    Returns:
        The (N, D) features, detached; memory is shared where possible.

    Raises:
        ValueError: If the features are not 2-D, are complex or empty, or hold NaN or infinite
            values.
        InputError: If they are too large for squared distances in float32, or have to be copied
            and that takes more memory than is free.
    """
    rows = _float32_rows(features)
    _require_finite(rows)
    return rows


def unit_rows(features: NDArray[Any] | Tensor) -> Tensor:
    """Check features of unit length and give them as a contiguous float32 tensor.

    Lengths may be 0.01 off, as rows that were normalised in half precision are.

    Args:
        features: (N, D) array or tensor of real numbers.

    Returns:
        The (N, D) features, detached; memory is shared where possible.

    Raises:
        ValueError: If the features are not 2-D, are complex or empty, or hold NaN or infinite
            values.
        InputError: If a row is not of unit length, or a copy takes more memory than is free.
    """
    rows = _float32_rows(features)
    lengths = vector_norm(rows, dim=1)
    if (lengths - 1).abs().max() <= _UNIT_TOLERANCE:  # false for NaN
        return rows
    _require_finite(rows)
    bad = ((lengths - 1).abs() > _UNIT_TOLERANCE).nonzero().flatten()
    raise InputError(
        "features must be rows of unit length, as torch.nn.functional.normalize(features) makes "
        f"of all but rows of zeros: {len(bad)} of {len(rows)} are not, and row {int(bad[0])} has "
        f"the length {float(lengths[bad[0]]):.3g}"
    )


def _float32_rows(features: NDArray[Any] | Tensor) -> Tensor:
    """Give features as a contiguous float32 tensor, whatever their values."""
    if isinstance(features, Tensor):
        _require_real(features.is_complex())
        rows = features.detach().to(torch.float32).contiguous()
    else:
        array = np.asarray(features)
        _require_real(np.iscomplexobj(array))
        what, needed = f"A float32 copy of features {array.shape}", 4 * array.size
        # writable, as tensors are: a memory-mapped file is copied
        if array.dtype != np.float32 or not array.flags.carray:
            require_memory(what, needed, "cpu", "give fewer rows")
        rows = torch.from_numpy(np.require(array, np.float32, ["C", "W"]))
    if rows.ndim != 2:
        raise ValueError(f"features must be 2-D (N, D), not of shape {tuple(rows.shape)}")
    if rows.numel() == 0:
        raise ValueError(f"features are empty: shape {tuple(rows.shape)}")
    return rows


def camera_numbers(cameras: Any, num_rows: int) -> Tensor:
    """Check cameras and give them as a tensor, on the device where they are.

    Args:
        cameras: Camera of each row: array, tensor or list of integers of any width.
        num_rows: How many there must be.

    Returns:
        (num_rows,) int64.

    Raises:
        ValueError: If they are not so many non-negative integers that fit int64.
    """
    numbers = whole_numbers("cameras", cameras)
    if numbers.shape != (num_rows,):
        raise ValueError(f"cameras must be {num_rows} integers, not {tuple(numbers.shape)}")
    if (numbers < 0).any():
        raise ValueError(f"cameras must not be negative, as {numbers.min()} is")
    return numbers


def as_numpy(values: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Give an array, or a tensor on any device, as NumPy array."""
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def same_kind(result: Tensor, given: Array) -> Array:
    """Give a tensor as NumPy array where the input was none, else on the input's device."""
    if isinstance(given, Tensor):
        return result.to(given.device)
    return result.cpu().numpy()


def _require_real(is_complex: bool) -> None:
    if is_complex:
        raise ValueError("features must be real numbers, not complex ones")


def _require_finite(rows: Tensor) -> None:
    """Raise an error if a value is NaN or infinite, or if a squared distance would be."""
    # quick: one bad value spoils it; two rows are at most twice the longest apart
    if (4 * vector_norm(rows, dim=1).max().square()).isfinite():
        return
    finite = torch.isfinite(rows).all(dim=1)
    if finite.all():
        raise InputError(
            f"features up to {float(rows.abs().max()):.3g} are too large for squared distances in "
            "float32: scale them down, as to unit rows"
        )
    bad = (~finite).nonzero().flatten()
    named = ", ".join(str(row) for row in bad[:_NAMED_ROWS].tolist())
    more = ", ..." if len(bad) > _NAMED_ROWS else ""
    raise ValueError(f"{len(bad)} feature rows hold NaN or infinite values: {named}{more}")
