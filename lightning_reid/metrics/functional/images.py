"""Query and gallery images as the retrieval functions take them, checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_reid.errors import InputError
from lightning_reid.indices import whole_numbers

Values = Tensor | npt.ArrayLike
"""A tensor, an array or a list of numbers."""

UNKNOWN = -1
"""Identity of an image of which it is not known whom it shows."""

_BLOCK_ROWS = 256  # squared at a time


@dataclass(frozen=True)
class Images:
    """One side of a retrieval.

    Attributes:
        embeddings: ``(N, D)`` float32 or float64.
        identities: ``(N,)`` int64, -1 where unknown.
        cameras: ``(N,)`` int64.
    """

    embeddings: Tensor
    identities: Tensor
    cameras: Tensor

    def __len__(self) -> int:
        return len(self.embeddings)

    @cached_property
    def squared_norms(self) -> Tensor:
        """Squared lengths of the embeddings, ``(N,)``."""
        return squared_norms(self.embeddings)

    def require_finite(self, name: str) -> None:
        """Raise an InputError unless all embeddings, and all their distances, are finite."""
        # two of them are at most twice the longest apart
        bad = (~(4 * self.squared_norms).isfinite()).nonzero().flatten()
        if len(bad) == 0:
            return
        too_long = self.embeddings[bad].isfinite().all()
        dtype = str(self.embeddings.dtype).removeprefix("torch.")
        reason = f"are too long for {dtype}" if too_long else "hold NaN or infinite values"
        raise InputError(f"{len(bad)} {name} embeddings {reason}; the first is row {int(bad[0])}")


def checked_images(
    query: Values,
    gallery: Values,
    query_ids: Values,
    gallery_ids: Values,
    query_cameras: Values,
    gallery_cameras: Values,
) -> tuple[Images, Images]:
    """Check both sides and bring them to one type of number and one device.

    Embeddings are compared in float64 if one side is float64, else in float32. Those that are so
    already are not copied.

    Raises:
        InputError: if lengths or dimensions disagree, embeddings are not floating point, NaN,
            infinite or too long for their squares, or identities or cameras are not integers that
            fit int64, identities from -1.
    """
    one, other = as_tensor(query, "query"), as_tensor(gallery, "gallery")
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise InputError(
            f"query (Q, D) and gallery (G, D) differ: {tuple(one.shape)}, {tuple(other.shape)}"
        )
    for name, side in (("query", one), ("gallery", other)):
        if not side.is_floating_point():
            raise InputError(f"{name} embeddings must be floating point, not {side.dtype}")
    dtype = torch.float64 if torch.float64 in (one.dtype, other.dtype) else torch.float32
    return (
        _side("query", one.to(dtype), query_ids, query_cameras),
        _side("gallery", other.to(one.device, dtype), gallery_ids, gallery_cameras),
    )


def squared_norms(rows: Tensor) -> Tensor:
    """Squared lengths ``(N,)`` of rows ``(N, D)``, without the squares of them all."""
    rows, norms = rows.detach(), rows.new_empty(len(rows))
    # in one place: of squares by themselves glibc may leave the memory of them all in use
    room = rows.new_empty(min(_BLOCK_ROWS, len(rows)), rows.shape[1])
    parts = zip(torch.split(rows, _BLOCK_ROWS), torch.split(norms, _BLOCK_ROWS), strict=True)
    for part, own in parts:
        squares = torch.square(part, out=room[: len(part)])
        torch.sum(squares, dim=1, out=own)
    return norms


def _side(name: str, embeddings: Tensor, ids: Values, cameras: Values) -> Images:
    columns = [
        whole_numbers(f"{name}_{kind}", values)
        for values, kind in ((ids, "ids"), (cameras, "cameras"))
    ]
    if any(column.shape != (len(embeddings),) for column in columns):
        shown = (len(c) if c.ndim == 1 else tuple(c.shape) for c in columns)
        raise InputError(
            "{}: {} embeddings, {} identities, {} cameras".format(name, len(embeddings), *shown)
        )
    require_identities(f"{name}_ids", columns[0])
    images = Images(embeddings, *(column.to(embeddings.device) for column in columns))
    images.require_finite(name)
    return images


def require_identities(name: str, identities: Tensor) -> None:
    """Raise an InputError if an identity ``(N,)`` int64 is below -1."""
    lowest = int(identities.min()) if len(identities) else 0
    if lowest < UNKNOWN:
        raise InputError(
            f"{name} must be at least 0, or {UNKNOWN} where it is unknown whom an image shows, "
            f"not {lowest}"
        )


def as_tensor(values: Values, name: str) -> Tensor:
    """Give numbers as a tensor; an InputError names them if they are none."""
    if isinstance(values, Tensor):
        if values.is_complex():
            raise InputError(f"{name} must be real numbers, not {values.dtype}")
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must be real numbers, not {array.dtype}")
    # writable, as tensors are: a memory-mapped file is copied
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
