"""Matrix products in true float32, whatever the user chose for training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_CUDA: Any = torch.backends.cuda.matmul
_CPU: Any = getattr(torch.backends.mkldnn, "matmul", None)
# torch 2.9 names the precision per backend, and then rejects the single switch of before
_PER_BACKEND = _CPU is not None and hasattr(_CUDA, "fp32_precision")


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Run float32 products without TF32, bfloat16 or autocast, then restore the settings.

    Reduced products are off by 1e-3, enough to swap neighbours.

    Args:
        device_type: Type of the device that computes, "cpu" or "cuda" for example.
    """
    before = _precision()
    _set_precision(("ieee", "ieee") if _PER_BACKEND else ("highest",))
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        _set_precision(before)


def _precision() -> tuple[str, ...]:
    if _PER_BACKEND:
        return _CUDA.fp32_precision, _CPU.fp32_precision
    return (torch.get_float32_matmul_precision(),)


def _set_precision(values: tuple[str, ...]) -> None:
    if _PER_BACKEND:
        _CUDA.fp32_precision, _CPU.fp32_precision = values
    else:
        torch.set_float32_matmul_precision(*values)
