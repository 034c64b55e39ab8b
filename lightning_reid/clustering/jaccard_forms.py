"""The two forms of the Jaccard distance: the same steps, compiled or in tensor operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_reid.clustering.graph import JaccardGraph

from lightning_reid.clustering.sparse_rows import Rows, Sets
from lightning_reid.indices import whole_numbers
from lightning_reid.resources import require_memory

Backend = Literal["auto", "compiled", "torch"]
Layout = Literal["scipy", "torch"]


_BYTES_PER_WEIGHT = 32  # column and value, by row, by column and averaged, and room to grow


class Form(Protocol):
    """The steps from rank lists to close pairs. A rank list is int32, -1 where a place is empty."""

    def mutual(self, ranks: Tensor) -> Tensor:
        """Tell for each rank of a row (N, K) whether the row is in the list of that one, too."""

    def reciprocal_sets(self, ranks: Tensor, flags: Tensor, half_flags: Tensor) -> Sets:
        """Collect the flagged ranks (N, K) of each row, and what those bring along.

        A member brings its own ``half_flags`` (N, H), a flag for each of its first H ranks,
        where more than two thirds of them are members already; with H = 0 none brings any.
        """

    def weighted(self, points: Tensor, order: Tensor, sets: Sets) -> Rows:
        """Weigh the members of each row by exp(-distance) over its sum, distance 2 - 2 cosine.

        Row and member are places in the order (N,) of the points (N, D).
        """

    def averaged(self, weights: Rows, ranks: Tensor) -> Rows:
        """Average the weights over the rows that are listed (N, K) for each."""

    def close_pairs(self, weights: Rows, max_distance: float) -> Rows:
        """Give the Jaccard distances to the close ones of the rows after each row.

        Close is what ``graph.reach`` says of the largest distance, and is below 1.
        """


def reciprocal_neighbors(form: Form, ranks: Tensor, columns: int, half: int) -> Sets:
    """Collect the neighbors that are mutual, and those that they bring along.

    Args:
        form: Which form of the steps to use.
        ranks: (N, K) rank lists; they may be longer than what is mutual among them.
        columns: First places of a list that are mutual neighbors, itself included.
        half: First places of a list that a member may bring along, at most ``columns``.

    Returns:
        The neighbors of each row.
    """
    core = ranks[:, :columns]
    return form.reciprocal_sets(core, form.mutual(core), form.mutual(ranks[:, :half]))


def require_valid(max_distance: float, layout: str, **sizes: int) -> None:
    """Raise a ValueError if the distance, the layout or a named number of neighbours is wrong."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, not {size}")
    if not 0 <= max_distance <= 1:
        raise ValueError(f"max_distance must be between 0 and 1, not {max_distance}")
    if layout not in ("scipy", "torch"):
        raise ValueError(f"layout must be 'scipy' or 'torch', not {layout!r}")


def form_on(device: torch.device, backend: Backend) -> tuple[Form, torch.device]:
    """Choose the form for features on a device, and the device on which it works.

    Args:
        device: Where the features are.
        backend: "compiled" works on the CPU, "torch" on the features' device; "auto" is compiled
            for features on the CPU, else torch.

    Raises:
        ValueError: If the backend is unknown.
    """
    if backend not in ("auto", "compiled", "torch"):
        raise ValueError(f"backend must be 'auto', 'compiled' or 'torch', not {backend!r}")
    if backend == "compiled" or (backend == "auto" and device.type == "cpu"):
        from lightning_reid.clustering import jaccard_loops  # loads numba

        return jaccard_loops, torch.device("cpu")
    from lightning_reid.clustering import jaccard_tensors

    return jaccard_tensors, device


def require_room(num_rows: int, k1: int, k2: int, device: torch.device) -> None:
    """Raise an InputError if the weights of so many rows and their neighbours do not fit.

    A row has neither more neighbours nor more weights than there are rows.
    """
    weights = num_rows * min(min(k1, num_rows) * min(k2, num_rows), num_rows)
    require_memory(
        f"The Jaccard distance of {num_rows:,} images",
        _BYTES_PER_WEIGHT * weights,
        device,
        "use a smaller k1 or k2",
    )


def rank_lists(indices: Any, num_rows: int, columns: int, smallest: int = 0) -> Tensor:
    """Check neighbours and give the first columns of them, on the device where they are.

    Args:
        indices: (N, at least ``columns``) array or tensor of row numbers.
        num_rows: N.
        columns: How many to take.
        smallest: Smallest number that is allowed: 0, or -1 where places may be empty.

    Returns:
        (N, columns) int32.

    Raises:
        ValueError: If the shape does not fit or a number is out of range.
    """
    given = indices if isinstance(indices, Tensor) else _as_tensor(indices)
    if given.ndim != 2 or len(given) != num_rows or given.shape[1] < columns:
        raise ValueError(
            f"neighbors must be of shape ({num_rows}, {columns}) or wider, not {tuple(given.shape)}"
        )
    if given.is_floating_point():
        raise ValueError("neighbors must be (squared distances, row numbers) in this order")
    ranks = whole_numbers("neighbors", given[:, :columns])
    if ((ranks < smallest) | (ranks >= num_rows)).any():
        raise ValueError(f"neighbors must be row numbers from {smallest} to {num_rows - 1}")
    return ranks.to(torch.int32).contiguous()


def in_layout(
    pairs: Rows, order: Tensor, max_distance: float, layout: Layout, device: torch.device
) -> JaccardGraph | Tensor:
    """Mirror the pairs, add a diagonal of zeros, and give them as a sparse matrix.

    Args:
        pairs: For each row, the close rows after it and their distances.
        order: (N,) numbers of the images that are these rows.
        max_distance: Every pair up to this distance is there; the matrix carries it.
        layout: "scipy" or "torch".
        device: Where a tensor shall be.

    Returns:
        (N, N) float32: a ``JaccardGraph``, or a coalesced COO tensor.
    """
    size, count = len(pairs.begins) - 1, len(pairs.columns)
    images = order.to(torch.int32)
    earlier = images.repeat_interleave(pairs.begins.diff(), output_size=count)
    later = images[pairs.columns.to(torch.int64)]
    rows = torch.cat([later, images, earlier])
    columns = torch.cat([earlier, images, later])
    values = torch.cat([pairs.values, pairs.values.new_zeros(size), pairs.values])
    if layout == "scipy":
        return _scipy_graph(rows, columns, values, size, max_distance)
    return _torch_graph(rows.to(device), columns.to(device), values.to(device), size, max_distance)


def _scipy_graph(
    rows: Tensor, columns: Tensor, values: Tensor, size: int, max_distance: float
) -> JaccardGraph:
    from scipy.sparse import coo_array

    from lightning_reid.clustering.graph import JaccardGraph

    places = rows.cpu().numpy(), columns.cpu().numpy()
    graph = coo_array((values.cpu().numpy(), places), shape=(size, size))
    return JaccardGraph.of(graph.tocsr(), max_distance)


def _torch_graph(
    rows: Tensor, columns: Tensor, values: Tensor, size: int, max_distance: float
) -> Tensor:
    order = (rows.to(torch.int64) * size + columns).argsort()
    graph = torch.sparse_coo_tensor(
        torch.stack([rows[order], columns[order]]),
        values[order],
        (size, size),
        check_invariants=False,
        is_coalesced=True,
    )
    graph.max_distance = max_distance  # type: ignore[attr-defined]  # dbscan checks it
    return graph


def _as_tensor(array: Any) -> Tensor:
    # writable, as tensors are: a memory-mapped file is copied
    return torch.from_numpy(np.require(array, requirements="W"))
