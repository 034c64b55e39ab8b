"""Queries that take in what they find first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import normalize

from lightning_reid.clustering.arrays import Array, feature_rows, same_kind
from lightning_reid.clustering.neighbors import nearest_among
from lightning_reid.errors import InputError, require


@dataclass(frozen=True)
class Expansion:
    """Settings of :func:`expand_queries`.

    Attributes:
        k: gallery images that each query takes in; 5 as in fast-reid.
        alpha: the power of the similarity by which they weigh; 0, all alike.

    Raises:
        InputError: if k is below 1 or alpha below 0.

    Example:
        >>> Expansion(k=10, alpha=3.0)
        Expansion(k=10, alpha=3.0)
    """

    k: int = 5
    alpha: float = 0.0

    def __post_init__(self) -> None:
        require("k", self.k, 1)
        require("alpha", self.alpha, 0)


@torch.no_grad()
def expand_queries(query: Array, gallery: Any, k: int = 5, alpha: float = 0.0) -> Array:
    """Average query expansion: the mean of each query and its nearest gallery images.

    Rank by the result instead of the queries. It uses no identities, so that the nearest may well
    be images that the metrics then ignore.

    Args:
        query: ``(Q, D)`` embeddings; they are made unit rows first, as are the gallery's.
        gallery: ``(G, D)`` embeddings.
        k: gallery images that each query takes in; all if there are fewer. 5 as in fast-reid.
        alpha: a gallery image weighs its cosine similarity to this power (not below 0); the query
            weighs 1. 0 is the plain average of Chum et al. (ICCV 2007); 3 is what Radenović et al.
            (TPAMI 2018) and fast-reid use.

    Returns:
        ``(Q, D)`` float32 unit rows, of the type and on the device of ``query``.

    Raises:
        InputError: if k is below 1, alpha below 0, or the dimensions differ.
        ValueError: if either side is empty or holds NaN or infinite values.

    Example:
        >>> query, gallery = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.6], [-1.0, 0.0]])
        >>> expand_queries(query, gallery, k=1).numpy().round(4)  # half way to the nearest
        array([[0.9487, 0.3162]], dtype=float32)
    """
    settings = Expansion(k, alpha)
    rows, others = normalize(feature_rows(query)), normalize(feature_rows(gallery))
    if rows.shape[1] != others.shape[1]:
        raise InputError(
            f"query (Q, D) and gallery (G, D) differ: {tuple(rows.shape)}, {tuple(others.shape)}"
        )
    points = torch.cat([rows, others.to(rows.device)])
    places = torch.arange(len(points), device=points.device)
    queries, gallery_rows = torch.split(places, [len(rows), len(others)])
    squared, nearest = nearest_among(points, queries, gallery_rows, settings.k)
    weights = (1 - squared / 2).clamp(min=0).pow(settings.alpha)
    for place in range(nearest.shape[1]):
        rows += weights[:, place, None] * points[nearest[:, place]]
    return same_kind(normalize(rows), query)
