"""Work that several processes share out among themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors


@dataclass(frozen=True)
class Share:
    """Which part of the work is this process's; all of them know what it is done on.

    Attributes:
        which: the number of the part, from 0.
        of: the number of parts.
        group: the processes; None: all.
    """

    which: int = 0
    of: int = 1
    group: Any = None

    @classmethod
    def among(cls, group: Any = None) -> Share:
        """The share of this process among those of a group."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(group), dist.get_world_size(group), group)

    def sums(self, columns: Sequence[Tensor]) -> list[Tensor]:
        """Sum columns ``(N,)`` over all processes; exact where all but one have 0."""
        if self.of == 1:
            return list(columns)
        table = torch.stack([column.double() for column in columns])
        dist.all_reduce(table, group=self.group)
        return [row.to(column.dtype) for row, column in zip(table, columns, strict=True)]

    def joined(self, rows: Tensor) -> Tensor:
        """The rows of all processes, which may have different numbers of them."""
        return rows if self.of == 1 else torch.cat(gather_all_tensors(rows, self.group))
