"""How far a mean over queries might be off."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_reid.errors import InputError, require
from lightning_reid.indices import whole_numbers
from lightning_reid.metrics.functional.images import UNKNOWN, Values, as_tensor

_BLOCK_ENTRIES = 1 << 22  # draws held at once


@torch.no_grad()
def bootstrap_interval(
    values: Values,
    groups: Values | None = None,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean: ``low, high``.

    Args:
        values: ``(N,)``, one of each query, such as the average precisions.
        groups: ``(N,)``, such as the queries' identities: draw whole groups, as the queries of one
            person are not independent. Integers; each -1, unknown, is a group of its own. None
            draws single queries.
        confidence: the interval holds so much of the resampled means.
        num_resamples: how often as many queries, or groups, as there are are drawn with
            replacement.
        seed: of the draws.

    Returns:
        NaN, NaN where there are no values.

    Raises:
        InputError: if the lengths differ, a value is NaN or infinite, groups are no integers, or a
            setting is out of its range.

    Example:
        >>> low, high = bootstrap_interval([0.2, 0.5, 0.9, 0.4, 0.7])
        >>> low < 0.54 < high  # the mean
        True
    """
    require("num_resamples", num_resamples, 1)
    require("confidence", confidence, 0, 1)
    column = as_tensor(values, "values").to("cpu", torch.float64).flatten()
    if not column.isfinite().all():
        raise InputError(
            f"{int((~column.isfinite()).sum())} of {len(column)} values are NaN or infinite: leave "
            "them out"
        )
    sums, sizes = _by_group(column, groups)
    if len(column) == 0:
        return float("nan"), float("nan")
    generator = torch.Generator().manual_seed(seed)
    means = torch.cat(
        [
            _means(torch.randint(len(sums), (size, len(sums)), generator=generator), sums, sizes)
            for size in _portions(num_resamples, max(1, _BLOCK_ENTRIES // len(sums)))
        ]
    )
    outside = (1 - confidence) / 2
    low, high = means.quantile(means.new_tensor([outside, 1 - outside])).tolist()
    return low, high


def _by_group(column: Tensor, groups: Values | None) -> tuple[Tensor, Tensor]:
    """Sum and number of the values of each group."""
    if groups is None:
        return column, torch.ones_like(column)
    numbers = whole_numbers("groups", groups).cpu().flatten()
    if len(numbers) != len(column):
        raise InputError(
            f"there are {len(column)} values and {len(numbers)} groups: each value needs its group"
        )
    group = torch.unique(numbers, return_inverse=True)[1]
    alone = (numbers == UNKNOWN).nonzero().flatten()
    group[alone] = len(numbers) + torch.arange(len(alone))
    group = torch.unique(group, return_inverse=True)[1]
    return torch.bincount(group, weights=column), torch.bincount(group).double()


def _means(draws: Tensor, sums: Tensor, sizes: Tensor) -> Tensor:
    return sums[draws].sum(1) / sizes[draws].sum(1)


def _portions(total: int, largest: int) -> list[int]:
    whole, rest = divmod(total, largest)
    return [largest] * whole + [rest] * (rest > 0)
