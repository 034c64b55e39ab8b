"""Ranking by k-reciprocal neighbours, on the sparse engine of clustering."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_reid.clustering.jaccard_forms import (
    Form,
    form_on,
    rank_lists,
    reciprocal_neighbors,
    require_room,
)
from lightning_reid.clustering.locality import renumbered, together
from lightning_reid.clustering.neighbors import nearest_neighbors
from lightning_reid.clustering.sparse_rows import Rows, Sets
from lightning_reid.errors import require
from lightning_reid.metrics.functional.distances import EuclideanDistances
from lightning_reid.metrics.functional.farthest import farthest_distances
from lightning_reid.metrics.functional.images import squared_norms
from lightning_reid.metrics.functional.runs import portions, runs

_EXPANDED = 1 << 22  # pairs of weights compared at a time, with about 50 bytes for each
_FEW_ROWS = 8  # of a block, so that what is made of them stays in the cache


@dataclass(frozen=True)
class Reranking:
    """Settings of the distance of Zhong et al. (CVPR 2017), k-reciprocal encoding.

    As in the authors' code, over query and gallery together: ``d`` is the squared Euclidean
    distance over the largest one of its row. An image is described by weights
    ``exp(-d)``, over their sum, on its k-reciprocal neighbours; these weights are averaged over
    its k2 nearest, itself included; and two images are as far apart as the Jaccard distance of
    their weights says. The distance from a query to a gallery image is::

        original_weight * d + (1 - original_weight) * jaccard

    Images that share no weight have the Jaccard distance 1, and only the others are ever
    computed: the ranks are exact, and no matrix is kept.

    Attributes:
        k1: others among which neighbours must be mutual; a mutual one brings along those that are
            mutual among its first round(k1 / 2), if more than two thirds of them are members
            already. 20 in the paper.
        k2: nearest images, itself included, over which weights are averaged; it may be larger than
            k1. 6 in the paper.
        original_weight: the paper's lambda, 0.3 there.

    Raises:
        InputError: if k1 or k2 is below 1 or the weight not between 0 and 1.

    Example:
        >>> from lightning_reid.metrics import retrieval_metrics
        >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> sides = rows[::2], rows[1::2], [7, 8], [7, 8], [0, 0], [1, 1]
        >>> retrieval_metrics(*sides, ranks=[1], rerank=Reranking(k1=1, k2=1))["rank1"]
        1.0
    """

    k1: int = 20
    k2: int = 6
    original_weight: float = 0.3

    def __post_init__(self) -> None:
        require("k1", self.k1, 1)
        require("k2", self.k2, 1)
        require("original_weight", self.original_weight, 0, 1)


class RerankedDistances:
    """The distances of :class:`Reranking`, less the constant ``1 - original_weight``.

    The Jaccard distances of a block of queries are summed up in memory for as many Euclidean ones:
    there may be hundreds of overlapping pairs for each image.

    Args:
        plain: Euclidean distances.
        settings: the weight of these.
        farthest: ``(Q,)`` by which those of each query are divided.
        own: weights of each query's members.
        others: weights of each member's gallery images.
    """

    def __init__(
        self,
        plain: EuclideanDistances,
        settings: Reranking,
        farthest: Tensor,
        own: Rows,
        others: Rows,
    ) -> None:
        self.plain = plain
        self._scale = (settings.original_weight / farthest).to(plain.query.embeddings.dtype)
        self._jaccard_weight = 1 - settings.original_weight
        self._own, self._others = own, others
        self._room = self._scale.new_empty(0, len(plain.gallery))

    def block(self, rows: slice) -> Tensor:
        """See :meth:`~lightning_reid.metrics.functional.distances.Distances.block`."""
        distances = self.plain.block(rows).mul_(self._scale[rows, None])
        parts = (torch.split(matrix, _FEW_ROWS) for matrix in (distances, self._overlap(rows)))
        for nearer, overlap in zip(*parts, strict=True):
            nearer.addcdiv_(overlap, overlap - 2, value=self._jaccard_weight)
        return distances

    def _overlap(self, rows: slice) -> Tensor:
        """Sums of the smaller weights, ``(B, G)``."""
        begins = self._own.begins[rows.start : rows.stop + 1]
        entries = slice(int(begins[0]), int(begins[-1]))
        values, members = self._own.values[entries], self._own.columns[entries]
        first = self._others.begins[members]
        lengths = self._others.begins.diff()[members]
        width = len(self.plain.gallery)
        row_begins = runs(begins.diff())[0] * width
        overlap = self._zeros(len(begins) - 1)
        for part in portions(lengths, _EXPANDED):
            run, place = runs(lengths[part])
            held = first[part][run] + place
            shared = values[part][run].minimum(self._others.values[held]).to(overlap.dtype)
            target = row_begins[part][run] + self._others.columns[held]
            overlap.view(-1).index_add_(0, target, shared)
        return overlap

    def _zeros(self, num_rows: int) -> Tensor:
        if len(self._room) < num_rows:
            self._room = self._scale.new_empty(num_rows, len(self.plain.gallery))
        return self._room[:num_rows].zero_()


@torch.no_grad()
def reranked(plain: EuclideanDistances, settings: Reranking) -> RerankedDistances:
    """Prepare the re-ranked distances: neighbours, farthest images and weights.

    Args:
        plain: Euclidean distances of at least one query to at least one gallery image.
        settings: what to compute.
    """
    # the only copy of the embeddings; it is worked on in place
    points = torch.cat([plain.query.embeddings, plain.gallery.embeddings]).to(torch.float32)
    ranks = _rank_lists(points, settings)
    points -= points.mean(dim=0)  # no distance changes, and rounding takes less
    farthest = farthest_distances(points).clamp_(min=torch.finfo(points.dtype).tiny)
    weights = _weights(points, ranks, farthest, settings)
    own, others = torch.arange(len(points), device=points.device).tensor_split([len(plain.query)])
    gallery = _some(weights, others)
    return RerankedDistances(
        plain,
        settings,
        farthest[own],
        _some(weights, own),
        _by_column(gallery, len(points)),
    )


def _rank_lists(points: Tensor, settings: Reranking) -> Tensor:
    """Rank for every image itself and its nearest others: k1, and enough to average over k2."""
    require_room(len(points), settings.k1, settings.k2, points.device)
    columns = min(max(settings.k1 + 1, settings.k2), len(points))
    return rank_lists(nearest_neighbors(points, columns)[1], len(points), columns)


def _weights(points: Tensor, ranks: Tensor, farthest: Tensor, settings: Reranking) -> Rows:
    """The weights that describe each image.

    Args:
        points: ``(N, D)`` with mean 0; overwritten.
        ranks: ``(N, K)`` neighbours.
        farthest: ``(N,)`` squared distance of the farthest.
        settings: k1 and k2.
    """
    form, device = form_on(points.device, "auto")
    order = together(ranks.to(device))
    ranks = renumbered(ranks.to(device), order)
    sets = reciprocal_neighbors(form, ranks, settings.k1 + 1, round(settings.k1 / 2) + 1)
    weights = _weighted(form, points, order, sets, farthest)
    if settings.k2 > 1:
        weights = form.averaged(weights, ranks[:, : settings.k2])
    # rows as they came in; members keep their places in the order, which is any name for them
    return _some(weights, order.argsort())


def _weighted(form: Form, points: Tensor, order: Tensor, sets: Sets, farthest: Tensor) -> Rows:
    """Weights ``exp(-d)`` over their sum, where ``d`` is divided by the farthest of each row.

    The engine's weights are ``exp(2 a b)`` over their sum. Their logarithms tell the products of
    the points, all that the distances lack but for the norms.
    """
    widest = farthest.max()
    points *= widest.rsqrt()  # distances up to 1: nothing overflows, whatever the embeddings
    norms, largest = squared_norms(points), farthest / widest
    begins, columns, values = form.weighted(points, order, sets)
    counts = begins.diff()
    rows = order.repeat_interleave(counts)
    others = order[columns.to(torch.int64)]
    weights = ((values.log() - norms[others]) / largest[rows]).exp()
    sums = torch.segment_reduce(weights[:, None], "sum", lengths=counts, unsafe=True)[:, 0]
    return Rows(begins, columns, weights / sums.repeat_interleave(counts))


def _some(entries: Rows, rows: Tensor) -> Rows:
    """Some rows, in the order in which they are named."""
    lengths = entries.begins.diff()[rows]
    run, place = runs(lengths)
    held = entries.begins[rows][run] + place
    begins = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return Rows(begins, entries.columns[held], entries.values[held])


def _by_column(entries: Rows, num_columns: int) -> Rows:
    """The rows that hold each column, as rows of their own."""
    columns, by_column = entries.columns.sort(stable=True)
    row = runs(entries.begins.diff())[0].to(torch.int32)
    names = torch.arange(num_columns + 1, dtype=columns.dtype, device=columns.device)
    begins = torch.searchsorted(columns, names)
    return Rows(begins, row[by_column], entries.values[by_column])
