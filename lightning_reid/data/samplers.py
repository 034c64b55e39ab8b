"""Which images are drawn, in which order, by which rank.

Both are ``DistributedSampler`` s, whose ``set_epoch`` Lightning calls and which it leaves alone.
With ``overfit_batches`` it replaces every training sampler that is not a ``SequentialSampler``,
hence that second base.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, SequentialSampler

from lightning_reid.errors import InputError, require, require_one_of
from lightning_reid.labels.pseudo_labels import Sampling

Indices = npt.NDArray[np.int64]


class _Assigned(NamedTuple):
    """What :meth:`LabelSampler.assign` was given last."""

    groups: Tensor
    sampling: Sampling
    cameras: Tensor | None
    images_per_group: int | None
    num_batches: int | None
    soft: Tensor | None


class Draw(int):
    """Position of an image in the data set, with the seed of what is random about this draw.

    Args:
        index: the position, from 0.
        seed: of the image's augmentation.

    Example:
        >>> draw = Draw(7, seed=3)
        >>> draw == 7, draw.seed, ["a", "b"][Draw(1, seed=3)]
        (True, 3, 'b')
    """

    seed: int

    def __new__(cls, index: int, seed: int) -> Draw:
        """An integer that also has a seed."""
        made = super().__new__(cls, index)
        made.seed = seed
        return made

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        """On its way to a worker process."""
        return int(self), self.seed


class LabelSampler(DistributedSampler[Any], SequentialSampler):
    """Draws batches of P groups (proxies, clusters) with K images each.

    Groups come in random order, none twice in a batch as long as there are enough; when all have
    come (a last incomplete batch is dropped) they are shuffled again. The K images of a group are
    drawn in one of four ways:

    - ``"groups"`` (CAP, O2CAP): at random. A group with fewer than K images has each of them
      replicated K times and K drawn from these, as in the published code.
    - ``"cameras"`` (CALR, Cluster-Contrast): one image at random, the others from other cameras
      than its own; from its own where the group has no other camera; repeated where they are few.
      A group of a single image comes with that image once.
    - ``"partners"`` (PCSL): as ``"groups"``, and after each group one that resembles it, drawn by
      the soft labels, if there is any.
    - ``"images"`` (Sun & Jung): groups are not heeded, all images come in random order.

    The draw is a function of (seed, epoch) alone and is shared out to the ranks batch by batch, so
    W ranks with batches of B see what one rank with batches of W * B would. Every image comes as a
    :class:`Draw`, with a seed for its augmentation that follows from (seed, epoch, position in the
    global draw): it depends neither on the number of ranks or workers nor on what was drawn before.

    Args:
        dataset: what is drawn from; only its length is used.
        batch_size: images in a batch of one rank, P * K.
        images_per_group: K.
        num_batches: batches in an epoch, whatever the number of groups; ``"clustered"``: as many as
            hold every image that has a group once, rounded down, but one at least (CAP's code).
        seed: of the draw.
        reshuffle: draw anew every epoch; otherwise repeat the images of epoch 0 (to overfit on a
            few batches).
        num_replicas: number of ranks.
        rank: this rank.

    Raises:
        InputError: if a number is below 1 or K does not divide the batch size.
        ValueError: when labels of another length are assigned.
        RuntimeError: when drawn from before labels are assigned.

    Example:
        >>> people = ["image"] * 5  # whose only use is its length
        >>> sampler = LabelSampler(people, batch_size=4, images_per_group=2, num_batches=10)
        >>> sampler.assign(torch.tensor([0, 0, 1, 1, -1]))
        >>> len(sampler), sorted(list(sampler)[:4])  # two images of each cluster; never the outlier
        (40, [0, 1, 2, 3])
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        images_per_group: int,
        num_batches: int | Literal["clustered"],
        seed: int = 0,
        reshuffle: bool = True,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, seed=seed)
        require("batch_size", batch_size, 1)
        if num_batches != "clustered":
            require("num_batches", num_batches, 1)
        _require_multiple(batch_size, images_per_group)
        self.batch_size = batch_size
        self.images_per_group = images_per_group
        self.num_batches = num_batches
        self.reshuffle = reshuffle
        self._draw_pass: Callable[[np.random.Generator], Indices] | None = None
        self._assigned: _Assigned | None = None
        self._num_members = 0
        self._resized = False
        self._resumed = (-1, 0)  # an epoch, and how many of its batches are left out

    def assign(
        self,
        groups: Tensor,
        sampling: Sampling = "groups",
        cameras: Tensor | None = None,
        images_per_group: int | None = None,
        num_batches: int | None = None,
        soft: Tensor | None = None,
    ) -> None:
        """Draw from these groups from the next epoch on.

        Args:
            groups: ``(N,)`` int64, -1 is never drawn.
            sampling: how, see the class.
            cameras: ``(N,)``; needed to draw by ``"cameras"``.
            images_per_group: instead of K, until labels are assigned again.
            num_batches: likewise, instead of the number of batches.
            soft: ``(N, G)`` weights of the groups for each image, dense or sparse; needed to draw
                by ``"partners"``.
        """
        count = images_per_group or self.images_per_group
        if self._resized:
            count = math.gcd(count, self.batch_size)
        _require_multiple(self.batch_size, count)
        labels = groups.cpu().numpy()
        size = len(self.dataset)  # type: ignore[arg-type]
        if len(labels) != size:
            raise ValueError(f"{len(labels)} labels for {size} images")
        members = np.flatnonzero(labels >= 0)
        if not len(members):
            raise ValueError("every image is an outlier: there is nothing to draw from")
        numbers = np.unique(labels[members], return_inverse=True)[1].reshape(-1)
        if sampling == "images":
            self._draw_pass = partial(_draw_images, members)
        elif sampling == "groups":
            self._draw_pass = partial(_draw_groups, members, numbers, count)
        elif cameras is not None and sampling == "cameras":
            own = cameras.cpu().numpy()[members]
            self._draw_pass = partial(_draw_cameras, members, numbers, own, count)
        elif soft is not None and sampling == "partners":
            partners = _Partners.of(soft, members, labels)
            self._draw_pass = partial(_draw_partners, members, numbers, partners, count)
        else:
            require_one_of("sampling", sampling, get_args(Sampling))
            needs = "cameras" if sampling == "cameras" else "soft labels"
            raise ValueError(f"drawing by {sampling} needs {needs}")
        self._num_members = len(members)
        self._assigned = _Assigned(groups, sampling, cameras, images_per_group, num_batches, soft)

    def resize(self, batch_size: int, num_batches: int | Literal["clustered"]) -> None:
        """Follow a batch size that a tuner tries, with the labels that are assigned.

        Args:
            batch_size: Images in a batch of one rank; rounded down to a multiple of K. A batch of
                fewer than K images holds as many of each group as divide it.
            num_batches: Batches in an epoch.
        """
        assigned = self._assigned
        own = (assigned.images_per_group if assigned else None) or self.images_per_group
        unit = math.lcm(self.images_per_group, own)
        self.batch_size = batch_size - batch_size % unit if batch_size > unit else batch_size
        self.num_batches = num_batches
        self._resized = True
        if assigned:
            self.assign(*assigned)

    def resume_at(self, epoch: int, batches: int) -> None:
        """Leave out the first batches of an epoch, which a resumed run has trained on already.

        Args:
            epoch: The epoch, from 0; later ones are drawn whole.
            batches: Batches of one rank.
        """
        self._resumed = (epoch, batches)

    @property
    def length(self) -> int:
        """Batches in the next epoch."""
        assigned = self._assigned
        if assigned is not None and assigned.num_batches is not None:
            return assigned.num_batches
        if self.num_batches == "clustered":
            return max(1, self._num_members // (self.batch_size * self.num_replicas))
        return self.num_batches

    def __len__(self) -> int:
        return self.length * self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        if self._draw_pass is None:
            raise RuntimeError(
                "the sampler has no labels yet; assign() them first (PseudoLabelCallback does)"
            )
        rng = np.random.default_rng((self.seed, self.epoch if self.reshuffle else 0))
        per_batch = self.batch_size * self.num_replicas
        needed = self.length * per_batch
        passes: list[Indices] = []
        while (drawn := sum(map(len, passes))) < needed:
            images = self._draw_pass(rng)
            usable = len(images) - len(images) % per_batch or len(images)
            passes.append(images[: min(usable, needed - drawn)])
        draw = np.concatenate(passes)
        seeds = np.random.default_rng((self.seed, self.epoch, 1)).integers(2**63, size=draw.shape)
        epoch, batches = self._resumed
        first = batches * self.batch_size if epoch == self.epoch else 0
        own_images, own_seeds = self._own_share(draw), self._own_share(seeds)
        yield from map(Draw, own_images[first:], own_seeds[first:])

    def _own_share(self, values: Indices) -> list[int]:
        """Of values for all ranks, batch by batch, those of this one."""
        shares = values.reshape(-1, self.num_replicas, self.batch_size)
        own: list[int] = shares[:, self.rank].reshape(-1).tolist()
        return own


class ShardSampler(DistributedSampler[Any]):
    """Every image exactly once over all ranks, in order: no padding, so nothing counts twice.

    Args:
        dataset: what is drawn from; only its length is used.
        num_replicas: number of ranks.
        rank: this rank; it gets images ``rank, rank + num_replicas, ...``.

    Example:
        >>> [list(ShardSampler("abcde", num_replicas=2, rank=rank)) for rank in (0, 1)]
        [[0, 2, 4], [1, 3]]
    """

    def __init__(self, dataset: Dataset[Any], num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)
        self._indices = range(rank, len(dataset), num_replicas)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)


def _require_multiple(batch_size: int, images_per_group: int) -> None:
    require("images_per_group", images_per_group, 1)
    if batch_size % images_per_group:
        raise InputError(
            f"batch_size={batch_size} is not a multiple of images_per_group={images_per_group}; "
            "change one of them"
        )


def _draw_images(members: Indices, rng: np.random.Generator) -> Indices:
    """Every image once, in random order."""
    return rng.permutation(members)


def _draw_groups(
    members: Indices, groups: Indices, count: int, rng: np.random.Generator
) -> Indices:
    """Every group once, in random order, with ``count`` of its images."""
    return rng.permutation(_some_of_each(members, groups, count, rng)).reshape(-1)


def _some_of_each(
    members: Indices, groups: Indices, count: int, rng: np.random.Generator
) -> Indices:
    """``(G, count)`` images, in the order of the groups."""
    sizes = np.bincount(groups)
    copies = np.where(sizes < count, count, 1)[groups]
    entries, entry_groups = members.repeat(copies), groups.repeat(copies)
    shuffled = entries[np.lexsort((rng.random(len(entries)), entry_groups))]
    ends = np.bincount(entry_groups).cumsum()
    starts = ends - np.bincount(entry_groups)
    drawn: Indices = shuffled[starts[:, None] + np.arange(count)]
    return drawn


class _Partners(NamedTuple):
    """Groups that resemble each of G groups: ``(G, k)`` numbers and how likely each is drawn."""

    groups: Indices
    weights: npt.NDArray[np.float64]

    @classmethod
    def of(cls, soft: Tensor, members: Indices, labels: Indices) -> _Partners:
        """From the soft labels of an image of each group, which are those of the group."""
        from scipy.sparse import csr_array

        found, first = np.unique(labels[members], return_index=True)
        rows = soft.cpu() if soft.is_sparse else soft.cpu().to_sparse()
        rows = rows.index_select(0, torch.from_numpy(members[first])).coalesce()
        table = csr_array(
            (rows.values().double().numpy(), tuple(rows.indices().numpy())), shape=tuple(rows.shape)
        )[:, found]  # groups without images are no partners
        sizes = np.diff(table.indptr)
        groups = np.zeros((len(found), max(1, int(sizes.max(initial=0)))), dtype=np.int64)
        weights = np.zeros(groups.shape)
        place = np.arange(len(table.indices)) - table.indptr[:-1].repeat(sizes)
        row = np.arange(len(found)).repeat(sizes)
        groups[row, place], weights[row, place] = table.indices, table.data
        return cls(groups, weights)

    def draw(self, rng: np.random.Generator) -> Indices:
        """A partner of each group, ``(G,)``; -1 where there is none."""
        sums = self.weights.cumsum(axis=1)
        spots = rng.random(len(sums)) * sums[:, -1]
        place = (sums <= spots[:, None]).sum(axis=1).clip(max=sums.shape[1] - 1)
        drawn = self.groups[np.arange(len(sums)), place]
        return np.where(sums[:, -1] > 0, drawn, -1)


def _draw_partners(
    members: Indices,
    groups: Indices,
    partners: _Partners,
    count: int,
    rng: np.random.Generator,
) -> Indices:
    """Every group once, in random order, each followed by a partner if it has one."""
    own = _some_of_each(members, groups, count, rng)
    others = _some_of_each(members, groups, count, rng)
    partner = partners.draw(rng)
    pairs = np.stack([own, others[partner]], axis=1)  # (G, 2, count)
    drawn = np.stack([np.full(len(own), True), partner >= 0], axis=1)
    order = rng.permutation(len(own))
    images: Indices = pairs[order][drawn[order]].reshape(-1)
    return images


def _draw_cameras(
    members: Indices, groups: Indices, cameras: Indices, count: int, rng: np.random.Generator
) -> Indices:
    """One image of every group, in random order, and others of it, of other cameras if possible."""
    order = rng.permutation(len(members))
    members, groups, cameras = members[order], groups[order], cameras[order]
    num_groups = int(groups.max()) + 1
    anchor = np.full(num_groups, len(members))
    np.minimum.at(anchor, groups, np.arange(len(members)))  # the first of the shuffled ones
    other = np.arange(len(members)) != anchor[groups]
    abroad = cameras != cameras[anchor][groups]
    has_abroad, has_other = np.zeros((2, num_groups), dtype=bool)
    has_abroad[groups[abroad]] = True
    has_other[groups[other]] = True
    candidate = np.where(has_abroad[groups], abroad, other | ~has_other[groups])
    drawn = _draw_of_each(members[candidate], groups[candidate], count - 1, rng)
    rows = np.column_stack([members[anchor], drawn])
    kept = np.ones(rows.shape, dtype=bool)
    kept[~has_other, 1:] = False
    order = rng.permutation(num_groups)
    drawn_once: Indices = rows[order][kept[order]]
    return drawn_once


def _draw_of_each(
    members: Indices, groups: Indices, count: int, rng: np.random.Generator
) -> Indices:
    """``(G, count)`` of the shuffled members of each group; repeated only where they are fewer."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)[:, None]
    starts = sizes.cumsum()[:, None] - sizes
    once = np.arange(count)
    again = rng.integers(0, sizes, (len(sizes), count))
    return members[order][starts + np.where(sizes >= count, once, again)]
