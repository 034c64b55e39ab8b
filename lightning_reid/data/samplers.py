"""Which images are drawn, in which order, by which rank.

Both are ``DistributedSampler`` s, which Lightning leaves alone under any Trainer setting and whose
``set_epoch`` it calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

Indices = npt.NDArray[np.int64]


class ProxySampler(DistributedSampler[Any]):
    """Draws batches of P groups (proxies, clusters) with K images each.

    Groups come in random order, none twice in a batch as long as there are enough; when all have
    come (a last incomplete batch is dropped) they are shuffled again. A group with fewer than K
    images has each of them replicated K times and K drawn from these, as in the published code. The
    draw is a function of (seed, epoch) alone and is shared out to the ranks in whole groups, so W
    ranks with batches of B see what one rank with batches of W * B would.

    Args:
        dataset: what is drawn from; only its length is used.
        batch_size: images in a batch of one rank, P * K.
        images_per_group: K.
        num_batches: batches in an epoch, whatever the number of groups.
        seed: of the draw.
        reshuffle: draw anew every epoch; otherwise repeat epoch 0 (to overfit on a few batches).
        num_replicas: number of ranks.
        rank: this rank.

    Raises:
        ValueError: if K does not divide the batch size; when labels of another length are assigned.
        RuntimeError: when drawn from before labels are assigned.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        images_per_group: int,
        num_batches: int,
        seed: int = 0,
        reshuffle: bool = True,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, seed=seed)
        if images_per_group < 1 or batch_size % images_per_group:
            raise ValueError(
                f"batch_size={batch_size} is not a multiple of images_per_group={images_per_group}"
            )
        self.batch_size = batch_size
        self.images_per_group = images_per_group
        self.num_batches = num_batches
        self.reshuffle = reshuffle
        self._members: Indices | None = None
        self._groups: Indices | None = None

    def assign(self, groups: Tensor) -> None:
        """Draw from these groups from the next epoch on: ``(N,)`` int64, -1 is never drawn."""
        labels = groups.cpu().numpy()
        size = len(self.dataset)  # type: ignore[arg-type]
        if len(labels) != size:
            raise ValueError(f"{len(labels)} labels for {size} images")
        self._members = np.flatnonzero(labels >= 0)
        self._groups = np.unique(labels[self._members], return_inverse=True)[1].reshape(-1)
        if not len(self._members):
            raise ValueError("every image is an outlier: there is nothing to draw from")

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        if self._members is None or self._groups is None:
            raise RuntimeError(
                "the sampler has no labels yet; assign() them first (PseudoLabelCallback does)"
            )
        rng = np.random.default_rng((self.seed, self.epoch if self.reshuffle else 0))
        per_rank = self.batch_size // self.images_per_group
        per_batch = per_rank * self.num_replicas
        needed = self.num_batches * per_batch
        num_groups = int(self._groups.max()) + 1
        usable = num_groups - num_groups % per_batch or num_groups
        passes = [
            _draw_pass(rng, self._members, self._groups, self.images_per_group)[:usable]
            for _ in range(-(-needed // usable))
        ]
        draw = np.concatenate(passes)[:needed]
        shares = draw.reshape(self.num_batches, self.num_replicas, per_rank, -1)
        yield from shares[:, self.rank].reshape(-1).tolist()


class ShardSampler(DistributedSampler[Any]):
    """Every image exactly once over all ranks, in order: no padding, so nothing counts twice.

    Args:
        dataset: what is drawn from; only its length is used.
        num_replicas: number of ranks.
        rank: this rank; it gets images ``rank, rank + num_replicas, ...``.
    """

    def __init__(self, dataset: Dataset[Any], num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)
        self._indices = range(rank, len(dataset), num_replicas)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)


def _draw_pass(rng: np.random.Generator, members: Indices, groups: Indices, count: int) -> Indices:
    """``(G, count)`` images: every group once, in random order, with ``count`` of its images."""
    sizes = np.bincount(groups)
    copies = np.where(sizes < count, count, 1)[groups]
    entries, entry_groups = members.repeat(copies), groups.repeat(copies)
    shuffled = entries[np.lexsort((rng.random(len(entries)), entry_groups))]
    ends = np.bincount(entry_groups).cumsum()
    starts = ends - np.bincount(entry_groups)
    drawn = shuffled[starts[:, None] + np.arange(count)]
    return rng.permutation(drawn)
