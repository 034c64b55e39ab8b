"""The k-reciprocal Jaccard distance, sparse from the first step to the last."""

from __future__ import annotations

from typing import Any

from lightning_reid.clustering.arrays import Array, unit_rows
from lightning_reid.clustering.jaccard_forms import (
    Backend,
    Layout,
    form_on,
    in_layout,
    rank_lists,
    reciprocal_neighbors,
    require_room,
    require_valid,
)
from lightning_reid.clustering.locality import renumbered, together
from lightning_reid.clustering.neighbors import nearest_neighbors


def jaccard_distance(
    features: Array,
    k1: int = 20,
    k2: int = 6,
    max_distance: float = 0.6,
    k1_counts_self: bool = True,
    neighbors: tuple[Any, Any] | None = None,
    backend: Backend = "auto",
    layout: Layout = "scipy",
) -> Any:
    """Compute the Jaccard distance of k-reciprocal neighbourhoods, for all pairs that are close.

    Zhong et al., "Re-ranking person re-identification with k-reciprocal encoding" (CVPR 2017):
    every image is described by weights on the images that are mutually near to it, and two
    images are close when their weights overlap. The result is exact; work and memory after the
    neighbours grow with N, not with its square.

    Args:
        features: (N, D) array or tensor with unit rows.
        k1: Size of the rank list whose mutual members describe an image. 20 as in CAP. A member
            brings along those that are mutual in the first round(k1 / 2) + 1 places, itself
            counted, if more than two thirds of them are members already.
        k2: The description is averaged over so many nearest neighbours, itself included; 1 leaves
            it as it is. 6 as in CAP. With ``k1_counts_self`` it is averaged over k1 at most, as in
            the code of CAP, O2CAP and CALR, where rank lists end there.
        max_distance: Pairs up to this distance (plus 1e-6) are stored, except those at
            distance 1.
        k1_counts_self: Whether the k1 neighbours include the image itself, as in the code of
            CAP, O2CAP and CALR; False is the definition of the paper, k1 others.
        neighbors: What ``nearest_neighbors`` returned for these features with at least k1
            columns (k1 + 1 if itself does not count, and then at least k2), where it is known
            already.
        backend: "compiled" runs loops on the CPU, "torch" tensor operations on the features'
            device; they agree but for rounding. "auto" is compiled for features on the CPU,
            else torch.
        layout: What to return, "scipy" or "torch".

    Returns:
        The sparse matrix (N, N) float32: symmetric, sorted, with an explicit 0 for the diagonal
        and for pairs at distance 0. It carries ``max_distance``. In the layout "scipy" it is a
        ``csr_array``, in "torch" a coalesced COO tensor on the features' device.

    Raises:
        ValueError: If k1, k2 or max_distance are out of range, the backend or the layout is
            unknown, the neighbours do not fit the features, or the features are not 2-D, are
            empty, or hold NaN or infinite values.
        InputError: If a row is not of unit length, or that takes more memory than is free.

    Example:
        >>> people = np.array([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> graph = jaccard_distance(people, k1=2, k2=1)
        >>> [(i, graph.indices[graph.indptr[i] : graph.indptr[i + 1]].tolist()) for i in range(4)]
        [(0, [0, 1]), (1, [0, 1]), (2, [2, 3]), (3, [2, 3])]
        >>> round(float(graph[0, 1]), 2)  # what is not stored is at 1
        0.33
    """
    require_valid(max_distance, layout, k1=k1, k2=k2)
    points = unit_rows(features)
    form, device = form_on(points.device, backend)
    require_room(len(points), k1, k2, device)
    mutual = k1 if k1_counts_self else k1 + 1
    columns = min(mutual if k1_counts_self else max(mutual, k2), len(points))
    found = nearest_neighbors(features, columns) if neighbors is None else neighbors

    ranks = rank_lists(found[1], len(points), columns).to(device)
    order = together(ranks)
    ranks = renumbered(ranks, order)
    sets = reciprocal_neighbors(form, ranks, mutual, round(k1 / 2) + 1)
    weights = form.weighted(points.to(device), order, sets)
    if k2 > 1:
        weights = form.averaged(weights, ranks[:, :k2])  # at most k1 where that counts itself
    pairs = form.close_pairs(weights, max_distance)
    return in_layout(pairs, order, max_distance, layout, points.device)
