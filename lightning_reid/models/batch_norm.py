"""Batch norm over groups of a chosen size, whatever the number of devices."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_reid.errors import InputError


class GroupBatchNorm(_BatchNorm):
    """Batch norm whose statistics are those of ``samples_per_group`` images each.

    The results of the field depend on how many images batch norm sees, which with ordinary layers
    is the batch of one device: the same settings on one GPU and on four train different networks.
    Here consecutive images of the batch of all devices form the groups. Several groups within a
    device are normalised one by one; a group that spans devices exchanges its sums. The running
    statistics are moved by the mean over all groups, so they are the same on every device.

    Args:
        num_features: channels.
        samples_per_group: images; must divide the batch of a device, or be a multiple of it that
            divides the batch of all devices.
        kwargs: see :class:`torch.nn.BatchNorm2d`.

    Raises:
        InputError: in training, if the batch cannot be divided so.

    Example:
        >>> values = torch.tensor([[0.0], [2.0], [10.0], [12.0]])  # two groups of two images
        >>> GroupBatchNorm(1, samples_per_group=2)(values).flatten().round().tolist()
        [-1.0, 1.0, -1.0, 1.0]
        >>> GroupBatchNorm(1, samples_per_group=4)(values).flatten().sign().tolist()
        [-1.0, -1.0, 1.0, 1.0]
    """

    def __init__(self, num_features: int, samples_per_group: int, **kwargs: Any) -> None:
        super().__init__(num_features, **kwargs)
        self.samples_per_group = samples_per_group

    def forward(self, images: Tensor) -> Tensor:
        """Normalise ``(B, C, ...)``."""
        if not self.training:
            return super().forward(images)
        parts, ranks = divide_batch(len(images), self.samples_per_group)
        return self._within(images, parts) if ranks == 1 else self._across(images, ranks)

    def _within(self, images: Tensor, parts: int) -> Tensor:
        """Groups that lie in the batch of this device: torch's own layer for each."""
        kind = self.running_mean if self.running_mean is not None else images
        means, variances = torch.zeros(
            2, parts, self.num_features, dtype=kind.dtype, device=images.device
        )
        normalized = [
            # running statistics that forget at once are those of the group
            batch_norm(group, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
            for group, mean, variance in zip(images.chunk(parts), means, variances, strict=True)
        ]
        self._track(means.mean(0), variances.mean(0))
        return torch.cat(normalized)

    def _across(self, images: Tensor, ranks: int) -> Tensor:
        """A group that takes in the batches of several devices."""
        values = images.transpose(0, 1).flatten(1)
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        mean, variance, count = _moments(values, ranks)
        self._track(mean.detach(), variance.detach() * (count / (count - 1)))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        shape = (-1, *(1,) * (images.dim() - 2))
        return torch.addcmul(shift.view(shape), images, scale.view(shape)).to(images.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics by the mean over all devices of what their groups showed."""
        if self.running_mean is None or self.running_var is None:
            return
        seen = torch.stack([mean, variance]).to(self.running_mean.dtype)
        if _world_size() > 1:
            dist.all_reduce(seen)
            seen /= _world_size()
        count = cast(Tensor, self.num_batches_tracked)
        count += 1
        step = 1 / float(count) if self.momentum is None else self.momentum
        self.running_mean.lerp_(seen[0], step)
        self.running_var.lerp_(seen[1], step)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  # torch's name
        """Any number of dimensions."""

    def extra_repr(self) -> str:
        """As of batch norm, with the size of a group."""
        return f"{super().extra_repr()}, samples_per_group={self.samples_per_group}"  # type: ignore[no-untyped-call]


def group_batch_norms(module: nn.Module, samples_per_group: int) -> nn.Module:
    """Let every batch norm within a module form groups; parameters and buffers stay.

    Args:
        module: is changed in place, unless it is a batch norm itself.
        samples_per_group: see :class:`GroupBatchNorm`.

    Returns:
        The module.

    Raises:
        InputError: for groups of fewer than two images.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.BatchNorm1d(2))
        >>> group_batch_norms(network, samples_per_group=16)[1].samples_per_group
        16
    """
    if samples_per_group < 2:
        raise InputError(f"samples_per_bn_group must be at least 2, not {samples_per_group}")
    if isinstance(module, _BatchNorm):
        return _grouping(module, samples_per_group)
    for name, child in module.named_children():
        setattr(module, name, group_batch_norms(child, samples_per_group))
    return module


def divide_batch(
    batch_size: int, samples_per_group: int, world_size: int | None = None
) -> tuple[int, int]:
    """How batch norm divides a batch: groups within a device, and devices that share a group.

    Args:
        batch_size: images on this device.
        samples_per_group: see :class:`GroupBatchNorm`.
        world_size: number of devices; None: as many as there are processes now.

    Returns:
        Two numbers, one of which is 1.

    Raises:
        InputError: if the batch cannot be divided so.

    Example:
        >>> divide_batch(64, samples_per_group=16)  # four groups on this one device
        (4, 1)
    """
    world_size = _world_size() if world_size is None else world_size
    if batch_size % samples_per_group == 0:
        return batch_size // samples_per_group, 1
    ranks = samples_per_group // max(1, batch_size)
    if samples_per_group % max(1, batch_size) == 0 and world_size % ranks == 0:
        return 1, ranks
    raise InputError(
        f"samples_per_bn_group={samples_per_group} does not divide the batch: {batch_size} images "
        f"on each of {world_size} devices; choose a divisor of {batch_size}, or a multiple of it "
        f"that divides {batch_size * world_size}"
    )


def _grouping(norm: _BatchNorm, samples_per_group: int) -> GroupBatchNorm:
    made = GroupBatchNorm(
        norm.num_features,
        samples_per_group,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
    )
    # the parameters themselves, not copies: frozen ones stay frozen
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    made.num_batches_tracked = norm.num_batches_tracked
    return made.train(norm.training)


def _moments(values: Tensor, ranks: int) -> tuple[Tensor, Tensor, int]:
    """Mean and variance of every channel of ``(C, values)`` over devices, and of how many."""
    count = values.shape[1] * ranks
    group = _group_of(ranks, dist.group.WORLD)
    mean = _sum_over_devices(values.sum(1), group) / count
    # around the mean: sums of squares alone would lose small differences
    squares = (values - mean[:, None]).square().sum(1)
    variance = _sum_over_devices(squares, group) / count
    return mean, variance, count


class _Sum(torch.autograd.Function):
    """Sum over the devices of a group; what one of them put in reaches the losses of all."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = values.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


def _sum_over_devices(values: Tensor, group: Any) -> Tensor:
    return cast(Tensor, _Sum.apply(values, group))


@lru_cache(maxsize=8)
def _group_of(ranks: int, _world: Any) -> Any:
    """The group of this process among groups of so many consecutive ones; all must ask for it."""
    groups = [
        dist.new_group(list(range(first, first + ranks)))
        for first in range(0, _world_size(), ranks)
    ]
    return groups[dist.get_rank() // ranks]


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
