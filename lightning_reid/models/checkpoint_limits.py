"""Limits on the content of a checkpoint, so that whoever walks through it comes to an end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_reid.errors import InputError

_DEEPEST = 100  # containers within containers; a run's checkpoint has about ten
_MOST_VALUES = 10_000_000  # a list that stands in two places counts twice
_MOST_BITS = 64  # of a whole number; Python takes minutes to print some that fit into a file


def require_limits(content: Any, name: str, size: int) -> None:
    """Raise an InputError for content that is out of proportion to its file.

    Args:
        content: What was read, nested at will; it may contain itself.
        name: What to call the file in messages.
        size: Bytes of the file.

    Raises:
        InputError: Containers are nested too deeply, or a tensor has more elements than the file
            has bytes, as one does that repeats a single value.
    """
    seen: set[int] = set()
    level = [content]
    for _ in range(_DEEPEST):
        level = [value for value in level if _is_new(value, seen)]
        for value in level:
            if isinstance(value, Tensor) and _stored(value) > size:
                raise InputError(
                    f"{name} is damaged: a tensor in it has the shape {tuple(value.shape)}, of "
                    f"which the {size:,} bytes of the file hold no more than a part"
                )
        level = [below for value in level for below in _values(value)]
        if not level:
            return
    raise InputError(
        f"{name} is damaged: it holds containers within containers, more than {_DEEPEST} deep"
    )


def require_tree(content: Any, name: str) -> None:
    """Raise an InputError unless content is a tree of reasonable size.

    Args:
        content: What was read, nested at most as deep as :func:`require_limits` allows.
        name: What to call the file in messages.

    Raises:
        InputError: A container contains itself, or is in so many places that walking through all
            of them would not end, or a whole number has more than 64 bits.
    """
    if _size_of(content, {}, name) > _MOST_VALUES:
        raise InputError(f"{name} is damaged: its containers repeat each other endlessly")


def _size_of(value: Any, sizes: dict[int, int], name: str) -> int:
    """Count the values in a tree; ``sizes`` are those of the containers met so far, 0 if open."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise InputError(f"{name} is damaged: a whole number in it has {value.bit_length():,} bits")
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return 1
    if (size := sizes.get(id(value))) is not None:
        if size == 0:
            raise InputError(f"{name} is damaged: a container in it contains itself")
        return size
    sizes[id(value)] = 0
    size = 1 + sum(_size_of(below, sizes, name) for below in _values(value))
    sizes[id(value)] = size
    return size


def _stored(tensor: Tensor) -> int:
    """Count the elements that a file has to hold of a tensor."""
    if tensor.layout is torch.strided:
        return tensor.numel()
    return tensor._nnz() if tensor.is_sparse else tensor.values().numel()


def _is_new(value: Any, seen: set[int]) -> bool:
    new = id(value) not in seen
    seen.add(id(value))
    return new


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
