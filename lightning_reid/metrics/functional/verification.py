"""Are two images of the same individual? Pairs accepted by their distance alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_reid.errors import InputError, require
from lightning_reid.metrics.functional.counted import counted_blocks
from lightning_reid.metrics.functional.counting import ascending
from lightning_reid.metrics.functional.distances import Distances
from lightning_reid.metrics.functional.images import Images, Values, checked_images
from lightning_reid.metrics.functional.reranking import Reranking
from lightning_reid.metrics.functional.retrieval import distances_between
from lightning_reid.metrics.functional.undefined import warn_of_verification

_BLOCK_ENTRIES = 1 << 24  # distances held at once


class PairDistances(NamedTuple):
    """What is known of all pairs of a query and a gallery image that count.

    Attributes:
        positives: ``(P,)`` distances of the pairs of one identity.
        negatives: smallest distances of the pairs of different identities, ascending.
        num_negatives: how many pairs of different identities there are.
    """

    positives: Tensor
    negatives: Tensor
    num_negatives: int


@torch.no_grad()
def verification_rates(
    query: Values,
    gallery: Values,
    query_ids: Values,
    gallery_ids: Values,
    query_cameras: Values,
    gallery_cameras: Values,
    false_positive_rates: Sequence[float] = (1e-4, 1e-3, 1e-2),
    rerank: bool | Reranking = False,
    cross_camera_only: bool = False,
) -> dict[str, float]:
    """Points of the ROC curve over all pairs of a query and a gallery image that count.

    Exact: a pair is accepted up to the largest distance at which no more than the given share of
    the pairs of different identities are. Pairs at one distance are accepted or refused together.
    Images whose identity is -1, unknown, are in no pair.

    Args:
        query: ``(Q, D)`` embeddings.
        gallery: ``(G, D)`` embeddings.
        query_ids: ``(Q,)`` identities.
        gallery_ids: ``(G,)`` identities.
        query_cameras: ``(Q,)`` cameras.
        gallery_cameras: ``(G,)`` cameras.
        false_positive_rates: shares of the pairs of different identities, from 0 to 1. Memory
            grows with the largest of them: about 20 bytes for each pair that it accepts.
        rerank: compare by the re-ranked distance.
        cross_camera_only: leave out pairs of one camera, not only those of one identity in it.

    Returns:
        ``tpr@<rate>``, the share of the pairs of one identity that is accepted at that rate;
        NaN where there are no pairs of one kind, and a warning says so. ``num_positive_pairs``,
        ``num_negative_pairs``.

    Raises:
        InputError: as for :func:`~lightning_reid.metrics.retrieval_metrics`, or if the rates are no
            list of numbers between 0 and 1.

    Example:
        >>> query, gallery = torch.tensor([[0.0], [5.0]]), torch.tensor([[0.1], [3.0]])
        >>> sides = query, gallery, [7, 8], [7, 8], [0, 0], [1, 1]
        >>> verification_rates(*sides, false_positive_rates=[0.0])
        {'tpr@0': 1.0, 'num_positive_pairs': 2.0, 'num_negative_pairs': 2.0}
    """
    rates = checked_rates("false_positive_rates", false_positive_rates)
    queries, images = checked_images(
        query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras
    )
    distances = distances_between(queries, images, rerank)
    pairs = pair_distances(queries, images, distances, rates, cross_camera_only)
    numbers = rates_at_false_positives(pairs, rates)
    if rates:
        warn_of_verification(numbers)
    return numbers


def checked_rates(name: str, rates: Sequence[float]) -> tuple[float, ...]:
    """Give rates as plain numbers.

    Args:
        name: What an error calls them.
        rates: Numbers from 0 to 1.

    Raises:
        InputError: If they are no such numbers in a list or tuple.
    """
    try:
        numbers = tuple(float(rate) for rate in rates)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} must be a list of numbers from 0 to 1, such as [0.01, 0.1], not {rates!r}"
        ) from None
    for rate in numbers:
        require(f"a rate of {name}", rate, 0, 1)
    return numbers


@torch.no_grad()
def pair_distances(
    query: Images,
    gallery: Images,
    distances: Distances,
    false_positive_rates: Sequence[float],
    cross_camera_only: bool = False,
    share: tuple[int, int] = (0, 1),
) -> PairDistances:
    """Find the distances that decide about the rates of :func:`verification_rates`.

    Args:
        query: the queries.
        gallery: the gallery.
        distances: between them.
        false_positive_rates: as there.
        cross_camera_only: as there.
        share: (which, of how many) shares of the queries to do.
    """
    most = max(false_positive_rates, default=0.0) * len(query) * len(gallery)
    nothing = query.embeddings.new_zeros(0)
    negatives, positives = Smallest(floor(most) + 1, nothing), [nothing]
    for block in counted_blocks(
        query, gallery, distances, cross_camera_only, _BLOCK_ENTRIES, share
    ):
        positives.append(block.matches[block.matches.isfinite()])
        negatives.add(block.others[block.others.isfinite()])
    return PairDistances(torch.cat(positives), negatives.values(), negatives.count)


def rates_at_false_positives(
    pairs: PairDistances, false_positive_rates: Sequence[float]
) -> dict[str, float]:
    """What :func:`verification_rates` returns, where the distances are known."""
    accepted, count = pairs.positives, pairs.num_negatives
    known = len(accepted) > 0 and count > 0
    limits = threshold_limits(pairs.negatives, count, false_positive_rates)
    return {
        **{
            f"tpr@{rate:g}": float((accepted < limit).double().mean()) if known else float("nan")
            for rate, limit in zip(false_positive_rates, limits, strict=True)
        },
        "num_positive_pairs": float(len(accepted)),
        "num_negative_pairs": float(count),
    }


def threshold_limits(smallest: Tensor, count: int, rates: Sequence[float]) -> list[float]:
    """The distance below which no more than each share of the negatives lies.

    Args:
        smallest: the smallest of the negatives' distances, ascending, beyond the largest share.
        count: of all negatives.
        rates: the shares.
    """
    allowed = [floor(rate * count + 1e-9) for rate in rates]  # 0.29 * 100 is 28.999...
    return [float(smallest[n]) if n < len(smallest) else torch.inf for n in allowed]


class Smallest:
    """The smallest of many numbers that come in parts.

    Args:
        size: how many to keep.
        first: ``(N,)`` first part, which may be empty.
    """

    def __init__(self, size: int, first: Tensor) -> None:
        self.size = size
        self.count = len(first)
        self._limit = torch.inf
        self._parts = [first]

    def add(self, values: Tensor) -> None:
        """Take a part ``(N,)`` of the numbers."""
        self.count += len(values)
        self._parts.append(values[values <= self._limit])
        if sum(map(len, self._parts)) > 2 * self.size:
            self._cut()

    def values(self) -> Tensor:
        """The smallest, ascending."""
        self._cut()
        return self._parts[0]

    def _cut(self) -> None:
        everything = torch.cat(self._parts)[None]
        self._parts = [ascending(everything)[0, : self.size].clone()]  # frees the rest
        if len(self._parts[0]) == self.size:
            self._limit = float(self._parts[0][-1])
