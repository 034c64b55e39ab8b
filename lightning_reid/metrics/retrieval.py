"""Retrieval quality as a torchmetrics metric: any number of batches, any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import reduce
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric

from lightning_reid.clustering.normalization import camera_normalize
from lightning_reid.errors import InputError
from lightning_reid.metrics.collected import Collected, checked_columns
from lightning_reid.metrics.evaluation import Evaluation
from lightning_reid.metrics.functional.expansion import Expansion, expand_queries
from lightning_reid.metrics.functional.images import Images, require_identities
from lightning_reid.metrics.functional.reranking import Reranking
from lightning_reid.metrics.functional.retrieval import ProtocolName, distances_between
from lightning_reid.metrics.functional.undefined import (
    warn_of_open_set,
    warn_of_verification,
    warn_without_match,
)
from lightning_reid.metrics.numbers import ranking_numbers
from lightning_reid.metrics.share import Share

_PIECE_ELEMENTS = 1 << 24  # 64 MiB of float32
_NO_INDEX = torch.iinfo(torch.int64).min  # of rows that came without an index
_ROUNDING = 0.05  # of a row's length: embeddings of one image in two batches of bfloat16
_BLOCK_ROWS = 4096  # repeated embeddings compared at a time


class RetrievalMetrics(Metric):
    """The class twin of :func:`~lightning_reid.metrics.retrieval_metrics`.

    Keeps the embeddings, once, and never a distance matrix. Images that were seen twice (a sampler
    that pads) count once if ``update`` is told their ``index``. Where processes have been
    synchronised, each scores its share of the queries; the numbers do not depend on how many there
    are. Each must have seen an image.

    Args:
        ranks: as for :class:`~lightning_reid.metrics.Evaluation`, which tells what is reported; so
            are the others up to ``verification``.
        normalize_cameras: as there, but False.
        expand: as there.
        rerank: as there.
        protocol: as there; None is "market".
        cross_camera_only: as there.
        confidence: as there.
        open_set: as there.
        verification: as there.
        kwargs: as for :class:`torchmetrics.Metric`.

    Raises:
        InputError: if a setting is out of its range; in ``update``, if the arguments differ in
            length, are not of the type that they should be, or embeddings have another dimension
            than those before; in ``compute``, if nothing was added, an embedding is NaN or
            infinite, an identity is below -1, rows with the same index differ, or some updates
            came with an index and some without.

    Example:
        >>> metric = RetrievalMetrics(ranks=[1])
        >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> people, cameras = torch.tensor([4, 4, 5]), torch.tensor([0, 1, 1])
        >>> is_query = torch.tensor([True, False, False])
        >>> metric.update(rows, people, cameras, is_query)
        >>> metric.compute()
        {'mAP': 1.0, 'mINP': 1.0, 'rank1': 1.0, 'num_valid_queries': 1.0}
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
        protocol: ProtocolName | None = None,
        cross_camera_only: bool = False,
        confidence: float | None = None,
        open_set: bool | Sequence[float] = False,
        verification: bool | Sequence[float] = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.evaluation = Evaluation(
            ranks,
            normalize_cameras,
            expand,
            rerank,
            protocol,
            cross_camera_only,
            confidence,
            open_set,
            verification,
        )
        for field in fields(Collected):
            self.add_state(field.name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        embeddings: Tensor,
        identities: Tensor,
        cameras: Tensor,
        is_query: Tensor,
        index: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            embeddings: ``(B, D)`` of floating point; compared in float32, or float64 if they are.
            identities: ``(B,)`` integers from 0; -1 where unknown: such an image is no valid query,
                and neither right nor wrong in the gallery.
            cameras: ``(B,)`` integers from 0.
            is_query: ``(B,)`` bool; the others are gallery.
            index: ``(B,)`` integers, position in the evaluation set, so that an image counts once
                that a sampler repeats to fill the last batch. None: every row counts. Give it in
                every update or in none.
        """
        columns = {
            "embeddings": embeddings,
            "identities": identities,
            "cameras": cameras,
            "is_query": is_query,
        }
        batch = checked_columns(**columns, **({} if index is None else {"index": index}))
        batch.setdefault("index", torch.full_like(batch["identities"], _NO_INDEX))
        self._require_width(embeddings)
        precise = torch.promote_types(embeddings.dtype, torch.float32)
        batch["embeddings"] = batch["embeddings"].to(precise)
        for name, column in batch.items():
            getattr(self, name).append(column)
        self._join_batches()

    def _require_width(self, embeddings: Tensor) -> None:
        widths = {rows.shape[1] for rows in (*self.embeddings[-1:], embeddings)}
        if len(widths) > 1:
            raise InputError(
                f"embeddings have {embeddings.shape[1]} dimensions, those before have "
                f"{self.embeddings[-1].shape[1]}"
            )

    def _join_batches(self) -> None:
        """Make one piece of the last batches once they are large enough.

        Large pieces go back to the system when they are freed; a test's thousands of small ones,
        which are freed when they are joined at its end, would not.
        """
        batches = takewhile(lambda rows: rows.numel() < _PIECE_ELEMENTS, reversed(self.embeddings))
        sizes = [rows.numel() for rows in batches]
        if sum(sizes) < _PIECE_ELEMENTS:
            return
        for field in fields(Collected):
            state = getattr(self, field.name)
            state[-len(sizes) :] = [torch.cat(state[-len(sizes) :])]

    def collect(self) -> Collected:
        """What was seen so far by this process (by all of them, inside ``compute``).

        Raises:
            InputError: if nothing was, an identity is below -1, or the index does not tell the
                rows apart (see the class).
        """
        if not len(self.index):
            raise InputError("no image has been added: call update before compute")
        for field in fields(Collected):
            state = getattr(self, field.name)
            # once synchronised, it is one tensor
            setattr(self, field.name, [state] if isinstance(state, Tensor) else _in_one(state))
        seen = Collected(*(getattr(self, field.name)[0] for field in fields(Collected)))
        require_identities("identities", seen.identities)
        everyone = torch.arange(len(seen.index), device=seen.index.device)
        without = seen.index == _NO_INDEX
        if without.all():
            return replace(seen, index=everyone)
        if without.any():
            raise InputError(
                f"{int(without.sum())} of {len(without)} rows came without an index: give index "
                "in every update, or in none"
            )
        index, where = seen.index.sort(stable=True)
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        kept = where[first]
        _require_equal(seen, kept[first.cumsum(0) - 1][~first], where[~first])
        if not torch.equal(kept, everyone):
            for field in fields(Collected):
                state = getattr(self, field.name)
                state[0] = state[0][kept]
        return Collected(*(getattr(self, field.name)[0] for field in fields(Collected)))

    def compute(self) -> dict[str, float]:
        """All numbers, named as :func:`~lightning_reid.metrics.retrieval_metrics` names them.

        Warns of the reason where numbers are NaN: no query has a match, or what ``open_set`` or
        ``verification`` report has only one of the two kinds that it takes.
        """
        seen = self.collect()
        numbers = self._compare(seen)
        if not numbers["num_valid_queries"]:
            sides = seen.sides()
            warn_without_match(Images(*sides[::2]), Images(*sides[1::2]))
        if self.evaluation.false_alarm_rates:
            warn_of_open_set(numbers)
        if self.evaluation.false_positive_rates:
            warn_of_verification(numbers)
        if self.evaluation.normalize_cameras:
            normalized = camera_normalize(seen.embeddings, seen.cameras)
            others = self._compare(replace(seen, embeddings=normalized))
            numbers |= _under("camera_normalized", others)
        return numbers

    def _compare(self, seen: Collected) -> dict[str, float]:
        """Rank the embeddings in all the ways that were asked for."""
        sides = seen.sides()
        query, gallery = Images(*sides[::2]), Images(*sides[1::2])
        query.require_finite("query")
        gallery.require_finite("gallery")
        expand, rerank = self.evaluation.expand, self.evaluation.rerank
        numbers = self._numbers(query, gallery)
        if expand is not False and len(query) and len(gallery):
            expanded = self._numbers(*_expanded(query, gallery, expand))
            numbers |= _under("expanded", expanded)
        if rerank is not False:
            numbers |= _under("reranked", self._numbers(query, gallery, rerank))
        return numbers

    def _numbers(
        self, query: Images, gallery: Images, rerank: bool | Reranking = False
    ) -> dict[str, float]:
        """All numbers of one ranking."""
        share = Share.among(self.process_group) if self._is_synced else Share()
        distances = distances_between(query, gallery, rerank)
        return ranking_numbers(query, gallery, distances, self.evaluation, share)


def _require_equal(seen: Collected, one: Tensor, other: Tensor) -> None:
    """Raise an InputError unless rows with the same index are the same image.

    Args:
        seen: all rows.
        one: ``(R,)`` row numbers.
        other: ``(R,)`` row numbers of the same index.
    """

    def differ(flags: Tensor, what: str) -> None:
        if flags.any():
            row, copy = int(one[flags][0]), int(other[flags][0])
            raise InputError(
                f"rows {row} and {copy} have the index {int(seen.index[row])} but differ in "
                f"{what}. index is the position of an image in the evaluation set, by which rows "
                "that a sampler repeats count once: give every image its own, or leave index out"
            )

    for name in ("identities", "cameras", "is_query"):
        column = getattr(seen, name)
        differ(column[one] != column[other], name)
    for start in range(0, len(one), _BLOCK_ROWS):
        rows, copies = (seen.embeddings[part[start : start + _BLOCK_ROWS]] for part in (one, other))
        apart = torch.linalg.vector_norm(rows - copies, dim=1)
        flags = torch.zeros_like(one, dtype=torch.bool)
        flags[start : start + _BLOCK_ROWS] = apart > _ROUNDING * torch.linalg.vector_norm(
            rows, dim=1
        )
        differ(flags, "embeddings")


def _in_one(batches: list[Tensor]) -> list[Tensor]:
    """The same list with all batches in one tensor; each goes as it is copied, not all at last."""
    if len(batches) == 1:
        return batches
    dtype = reduce(torch.promote_types, (batch.dtype for batch in batches), torch.bool)
    count = sum(len(batch) for batch in batches)
    whole = batches[0].new_empty(count, *batches[0].shape[1:], dtype=dtype)
    start = 0
    while batches:
        batch = batches.pop(0)
        whole[start : start + len(batch)] = batch
        start += len(batch)
    # metrics of one collection share the list
    batches.append(whole)
    return batches


def _under(prefix: str, numbers: dict[str, float]) -> dict[str, float]:
    """The same numbers under longer names, less the counts, which are known."""
    return {
        f"{prefix}/{name}": value
        for name, value in numbers.items()
        if not name.rpartition("/")[2].startswith("num_")
    }


def _expanded(query: Images, gallery: Images, settings: bool | Expansion) -> tuple[Images, Images]:
    """Expanded queries, and the gallery as unit rows, as they are."""
    chosen = settings if isinstance(settings, Expansion) else Expansion()
    rows = expand_queries(query.embeddings, gallery.embeddings, chosen.k, chosen.alpha)
    return (
        replace(query, embeddings=rows.to(gallery.embeddings.dtype)),
        replace(gallery, embeddings=normalize(gallery.embeddings)),
    )
