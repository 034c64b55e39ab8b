"""Retrieval quality as a torchmetrics metric: any number of batches, any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_reid.clustering.normalization import camera_normalize
from lightning_reid.metrics.functional.retrieval import retrieval_metrics


@dataclass(frozen=True)
class Collected:
    """Everything a :class:`RetrievalMetrics` has seen, once each, in order of ``index``."""

    embeddings: Tensor
    identities: Tensor
    cameras: Tensor
    is_query: Tensor
    index: Tensor


class RetrievalMetrics(Metric):
    """The class twin of :func:`~lightning_reid.metrics.retrieval_metrics`.

    Keeps the embeddings, never a distance matrix. Images that were seen twice (a sampler that pads)
    count once.

    Args:
        ranks: ranks of the CMC curve to report.
        normalize_cameras: also report every number for camera-normalised embeddings (see
            :func:`~lightning_reid.clustering.camera_normalize`), under ``camera_normalized/...``.
        kwargs: as for :class:`torchmetrics.Metric`.

    Raises:
        ValueError: in ``update``, if the arguments differ in length.
    """

    full_state_update = False
    is_differentiable = False

    embeddings: list[Tensor]
    identities: list[Tensor]
    cameras: list[Tensor]
    is_query: list[Tensor]
    index: list[Tensor]

    def __init__(
        self, ranks: Sequence[int] = (1, 5, 10), normalize_cameras: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.ranks = tuple(ranks)
        self.normalize_cameras = normalize_cameras
        for field in fields(Collected):
            self.add_state(field.name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        embeddings: Tensor,
        identities: Tensor,
        cameras: Tensor,
        is_query: Tensor,
        index: Tensor,
    ) -> None:
        """Add a batch.

        Args:
            embeddings: ``(B, D)``.
            identities: ``(B,)``.
            cameras: ``(B,)``.
            is_query: ``(B,)`` bool; the others are gallery.
            index: ``(B,)``, position in the evaluation set; tells repeated images.
        """
        columns = Collected(embeddings.detach().float(), identities, cameras, is_query, index)
        lengths = {name: len(column) for name, column in vars(columns).items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"arguments differ in length: {lengths}")
        for name, column in vars(columns).items():
            getattr(self, name).append(column)

    def collect(self) -> Collected:
        """What was seen so far by this process (by all of them, inside ``compute``)."""
        columns = [dim_zero_cat(getattr(self, field.name)) for field in fields(Collected)]
        index, where = columns[-1].sort(stable=True)
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        return Collected(*(column[where[first]] for column in columns))

    def compute(self) -> dict[str, float]:
        """All numbers, as :func:`~lightning_reid.metrics.retrieval_metrics` returns them."""
        seen = self.collect()
        result = self._retrieve(seen.embeddings, seen)
        if self.normalize_cameras:
            normalized = self._retrieve(camera_normalize(seen.embeddings, seen.cameras), seen)
            normalized.pop("num_valid_queries")
            result.update({f"camera_normalized/{k}": v for k, v in normalized.items()})
        return result

    def _retrieve(self, embeddings: Tensor, seen: Collected) -> dict[str, float]:
        query, gallery = seen.is_query, ~seen.is_query
        return retrieval_metrics(
            embeddings[query],
            embeddings[gallery],
            seen.identities[query],
            seen.identities[gallery],
            seen.cameras[query],
            seen.cameras[gallery],
            self.ranks,
        )
