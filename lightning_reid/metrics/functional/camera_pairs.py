"""Retrieval quality from each camera to each other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_reid.metrics.functional.counted import SameIdentity, counted
from lightning_reid.metrics.functional.images import Values, checked_images
from lightning_reid.metrics.functional.reranking import Reranking
from lightning_reid.metrics.functional.retrieval import (
    checked_ranks,
    distances_between,
    score_block,
    score_values,
)

_BLOCK_ENTRIES = 1 << 24  # distances held at once


@dataclass(frozen=True)
class CameraPairTable:
    """Retrieval from the queries of one camera among the gallery images of another.

    Attributes:
        query_cameras: ``(A,)`` cameras of the rows, ascending.
        gallery_cameras: ``(B,)`` cameras of the columns, ascending.
        metrics: ``(A, B)`` float64 by the names of
            :func:`~lightning_reid.metrics.retrieval_metrics`; NaN where no query is valid, as
            within a camera. ``num_valid_queries`` is 0 there.

    Example:
        >>> cameras = torch.tensor([0]), torch.tensor([1, 2])
        >>> table = CameraPairTable(*cameras, {"mAP": torch.ones(1, 2)})
        >>> table.metrics["mAP"].mean(dim=1)  # of the queries of each camera
        tensor([1.])
    """

    query_cameras: Tensor
    gallery_cameras: Tensor
    metrics: dict[str, Tensor]


@torch.no_grad()
def camera_pair_table(
    query: Values,
    gallery: Values,
    query_ids: Values,
    gallery_ids: Values,
    query_cameras: Values,
    gallery_cameras: Values,
    ranks: Sequence[int] = (1, 5, 10),
    rerank: bool | Reranking = False,
) -> CameraPairTable:
    """Every number for every pair of a query camera and a gallery camera.

    In a column the gallery is that of one camera alone. Arguments, ties and errors are those of
    :func:`~lightning_reid.metrics.retrieval_metrics`.

    Example:
        >>> rows = torch.eye(2)
        >>> table = camera_pair_table(rows, rows, [7, 8], [7, 8], [0, 0], [1, 2], ranks=[1])
        >>> table.gallery_cameras, table.metrics["rank1"]
        (tensor([1, 2]), tensor([[1., 1.]], dtype=torch.float64))
    """
    ranks = checked_ranks(ranks)
    queries, images = checked_images(
        query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras
    )
    distances = distances_between(queries, images, rerank)
    own, row_of = torch.unique(queries.cameras, return_inverse=True)
    cameras, column_of = torch.unique(images.cameras, return_inverse=True)
    same = SameIdentity.of(queries.identities, images.identities)
    parts = [(column_of == column).nonzero().flatten() for column in range(len(cameras))]
    same_of_part = [
        SameIdentity.of(queries.identities, images.identities[columns]) for columns in parts
    ]
    sums: dict[str, Tensor] = {}
    for rows in same.blocks(_BLOCK_ENTRIES):
        block = distances.block(rows)
        for place, columns in enumerate(parts):
            found = counted(
                block[:, columns],
                rows,
                same_of_part[place],
                queries.cameras,
                images.cameras[columns],
            )
            for name, values in score_values(score_block(found), ranks).items():
                table = sums.setdefault(name, values.new_zeros(len(own), len(cameras)))
                table[:, place].index_add_(0, row_of[rows], values)
    count = sums.pop("valid", torch.zeros(len(own), len(cameras)))
    metrics = {name: table / count for name, table in sums.items()}
    return CameraPairTable(own, cameras, {**metrics, "num_valid_queries": count})
