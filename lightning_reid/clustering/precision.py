"""Matrix products with float32 sums, whatever the user chose for training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter
from typing import Any

import torch

_CUDA: Any = torch.backends.cuda.matmul
_CPU: Any = getattr(torch.backends.mkldnn, "matmul", None)
# torch 2.9 names the precision per backend, and then rejects the single switch of before
_PER_BACKEND = _CPU is not None and hasattr(_CUDA, "fp32_precision")


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Run products without TF32 or autocast and with float32 sums, then restore the settings.

    Reduced products are off by 1e-3, enough to swap neighbours.

    Args:
        device_type: Type of the device that computes, "cpu" or "cuda" for example.
    """
    before = _precision()
    reduced_sums = _CUDA.allow_bf16_reduced_precision_reduction
    _set_precision(("ieee", "ieee") if _PER_BACKEND else ("highest",))
    _CUDA.allow_bf16_reduced_precision_reduction = False
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        _set_precision(before)
        _CUDA.allow_bf16_reduced_precision_reduction = reduced_sums


@cache
def fast_type(device_type: str) -> torch.dtype:
    """Give the number type in which matrix products are fastest: bfloat16 or float32.

    On a CPU it is tried out once, in milliseconds: it depends on the processor's instructions.
    """
    if device_type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    types = (torch.float32, torch.bfloat16)
    return min(types, key=lambda dtype: product_seconds(256, 256, dtype, torch.device("cpu")))


def product_seconds(size: int, dimensions: int, dtype: torch.dtype, device: torch.device) -> float:
    """Measure how long the product of ``(size, dimensions)`` with its transpose takes."""
    matrix = torch.ones(size, dimensions, dtype=dtype, device=device)
    tries = []
    for _ in range(3):  # the first one sets things up
        start = perf_counter()
        product = torch.mm(matrix, matrix.T)
        product[-1, -1].item()  # waits for the device
        tries.append(perf_counter() - start)
    return min(tries)


def _precision() -> tuple[str, ...]:
    if _PER_BACKEND:
        return _CUDA.fp32_precision, _CPU.fp32_precision
    return (torch.get_float32_matmul_precision(),)


def _set_precision(values: tuple[str, ...]) -> None:
    if _PER_BACKEND:
        _CUDA.fp32_precision, _CPU.fp32_precision = values
    else:
        torch.set_float32_matmul_precision(*values)
