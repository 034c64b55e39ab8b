"""Retrieval quality as a torchmetrics metric: any number of batches, any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_reid.clustering.normalization import camera_normalize
from lightning_reid.errors import require, require_one_of
from lightning_reid.metrics.functional.bootstrap import bootstrap_interval
from lightning_reid.metrics.functional.expansion import Expansion, expand_queries
from lightning_reid.metrics.functional.images import Images
from lightning_reid.metrics.functional.reranking import Reranking
from lightning_reid.metrics.functional.retrieval import ProtocolName, mean_values, query_values


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

    Keeps the embeddings, once, and never a distance matrix. Images that were seen twice (a sampler
    that pads) count once. Where processes have been synchronised, each scores its share of the
    queries; the numbers do not depend on how many there are.

    Args:
        ranks: ranks of the CMC curve to report.
        normalize_cameras: also report every number for camera-normalised embeddings (see
            :func:`~lightning_reid.clustering.camera_normalize`), under ``camera_normalized/...``.
        expand: also report every number for expanded queries (see
            :func:`~lightning_reid.metrics.expand_queries`), under ``expanded/...``; True takes the
            defaults of :class:`~lightning_reid.metrics.Expansion`.
        rerank: also report every number for k-reciprocal re-ranking, under ``reranked/...``; True
            takes the defaults of :class:`~lightning_reid.metrics.Reranking`.
        protocol: "market" or "cuhk03", as for the function.
        cross_camera_only: ignore all gallery images of the query's camera.
        confidence: also report, as ``<name>_low`` and ``<name>_high``, the bootstrap interval over
            queries that holds so much of the resampled means, such as 0.95 (see
            :func:`~lightning_reid.metrics.bootstrap_interval`).
        kwargs: as for :class:`torchmetrics.Metric`.

    Raises:
        ValueError: in ``update``, if the arguments differ in length.
        InputError: if a setting is out of its range; in ``compute``, if an embedding is NaN or
            infinite.
    """

    full_state_update = False
    is_differentiable = False

    embeddings: list[Tensor]
    identities: list[Tensor]
    cameras: list[Tensor]
    is_query: list[Tensor]
    index: list[Tensor]

    def __init__(
        self,
        ranks: Sequence[int] = (1, 5, 10),
        normalize_cameras: bool = False,
        expand: bool | Expansion = False,
        rerank: bool | Reranking = False,
        protocol: ProtocolName = "market",
        cross_camera_only: bool = False,
        confidence: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require("the smallest rank", min(ranks, default=1), 1)
        require_one_of("protocol", protocol, ("market", "cuhk03"))
        require("confidence", confidence or 0, 0, 1)
        self.ranks = tuple(ranks)
        self.normalize_cameras = normalize_cameras
        self.expand = expand
        self.rerank = rerank
        self.protocol = protocol
        self.cross_camera_only = cross_camera_only
        self.confidence = confidence
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
        index, where = _whole(self.index).sort(stable=True)
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        kept = where[first]
        as_they_are = torch.equal(kept, torch.arange(len(where), device=kept.device))
        for field in fields(Collected):
            column = _whole(getattr(self, field.name))
            # instead of the batches, so that embeddings are in memory once
            setattr(self, field.name, [column if as_they_are else column[kept]])
        return Collected(*(getattr(self, field.name)[0] for field in fields(Collected)))

    def compute(self) -> dict[str, float]:
        """All numbers, named as :func:`~lightning_reid.metrics.retrieval_metrics` names them."""
        seen = self.collect()
        numbers = self._compare(seen.embeddings, seen)
        if self.normalize_cameras:
            normalized = camera_normalize(seen.embeddings, seen.cameras)
            numbers |= _under("camera_normalized", self._compare(normalized, seen))
        return numbers

    def _compare(self, embeddings: Tensor, seen: Collected) -> dict[str, float]:
        """Rank these embeddings in all the ways that were asked for."""
        query, gallery = (
            Images(embeddings[rows], seen.identities[rows], seen.cameras[rows])
            for rows in (_places(seen.is_query), _places(~seen.is_query))
        )
        numbers = self._numbers(query, gallery)
        if self.expand is not False and len(query) and len(gallery):
            expanded = self._numbers(*_expanded(query, gallery, self.expand))
            numbers |= _under("expanded", expanded)
        if self.rerank is not False:
            numbers |= _under("reranked", self._numbers(query, gallery, self.rerank))
        return numbers

    def _numbers(
        self, query: Images, gallery: Images, rerank: bool | Reranking = False
    ) -> dict[str, float]:
        query.require_finite("query")
        gallery.require_finite("gallery")
        share = self._share()
        values = query_values(
            query, gallery, self.ranks, rerank, self.protocol, self.cross_camera_only, share
        )
        if share[1] > 1:
            table = torch.stack(list(values.values()))
            dist.all_reduce(table, group=self.process_group)
            values = dict(zip(values, table, strict=True))
        numbers = mean_values(values)
        if self.confidence is not None:
            valid = values.pop("valid") > 0
            for name, column in values.items():
                interval = bootstrap_interval(column[valid], confidence=self.confidence)
                numbers[f"{name}_low"], numbers[f"{name}_high"] = interval
        return numbers

    def _share(self) -> tuple[int, int]:
        """Which share of how many is this process's; all of them have the same images."""
        if self._is_synced and dist.is_available() and dist.is_initialized():
            return dist.get_rank(self.process_group), dist.get_world_size(self.process_group)
        return 0, 1


def _whole(state: list[Tensor] | Tensor) -> Tensor:
    """All batches of a state; not a copy of them if there is one, or they have been gathered."""
    alone = isinstance(state, list) and len(state) == 1
    return state[0] if alone else dim_zero_cat(state)


def _under(prefix: str, numbers: dict[str, float]) -> dict[str, float]:
    """The same numbers under longer names, less the number of queries, which is known."""
    return {f"{prefix}/{k}": v for k, v in numbers.items() if not k.endswith("num_valid_queries")}


def _places(flags: Tensor) -> slice | Tensor:
    """Where the flags are; a slice, which copies nothing, if they stand together."""
    places = flags.nonzero().flatten()
    if len(places) == 0:
        return slice(0)
    first, last = int(places[0]), int(places[-1])
    return slice(first, last + 1) if last - first + 1 == len(places) else places


def _expanded(query: Images, gallery: Images, settings: bool | Expansion) -> tuple[Images, Images]:
    """Expanded queries, and the gallery as unit rows, as they are."""
    chosen = settings if isinstance(settings, Expansion) else Expansion()
    rows = expand_queries(query.embeddings, gallery.embeddings, chosen.k, chosen.alpha)
    return (
        replace(query, embeddings=rows),
        replace(gallery, embeddings=normalize(gallery.embeddings)),
    )
