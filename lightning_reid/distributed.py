"""Tensors and decisions across processes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor

Result = TypeVar("Result")

_PATIENCE = timedelta(days=7)  # how long the others wait for the first process


def gather_rows(trainer: pl.Trainer, rows: Tensor) -> Tensor:
    """Rows of all ranks, in rank order; ranks may have different numbers of them.

    Args:
        trainer: tells the ranks.
        rows: ``(n, ...)``, with ``n`` of this rank.

    Returns:
        ``(N, ...)``, the same on every rank.
    """
    if trainer.world_size == 1:
        return rows
    counts = trainer.strategy.all_gather(torch.tensor(len(rows), device=rows.device))
    longest = int(counts.max())
    padded = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])])
    gathered = trainer.strategy.all_gather(padded)
    return torch.cat([part[:count] for part, count in zip(gathered, counts.tolist(), strict=True)])


def own_share(trainer: pl.Trainer, rows: Tensor) -> Tensor:
    """This rank's consecutive part of rows; the parts of all ranks are the rows in order."""
    return rows.tensor_split(trainer.world_size)[trainer.global_rank]


def first_rank_only(trainer: pl.Trainer, work: Callable[[], Result]) -> Result:
    """Do something on the first rank and give its result to all; every rank must call this.

    The others wait as long as it takes, where an ordinary collective would time out. Should the
    work fail, it fails on every rank.

    Args:
        trainer: tells the ranks.
        work: is called without arguments; its result is sent as ``pickle`` does.

    Returns:
        What the work gave on the first rank.

    Raises:
        Exception: what the work raised.
    """
    if trainer.world_size == 1:
        return work()
    outcome: list[tuple[Result | None, Exception | None]] = [(None, None)]
    group = _patient_group(dist.group.WORLD)  # before the work begins: forming it does time out
    if trainer.is_global_zero:
        outcome = [_outcome(work)]
    dist.broadcast_object_list(outcome, src=0, group=group)
    result, failure = outcome[0]
    if failure is not None:
        raise failure
    return result  # type: ignore[return-value]


@lru_cache(maxsize=1)  # formed once: one formed while its forerunner ends can hang
def _patient_group(_world: Any) -> Any:
    """Form a group of all ranks on the CPU whose collectives hardly ever time out."""
    return dist.new_group(backend="gloo", timeout=_PATIENCE)


def _outcome(work: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:  # raised again, on every rank
        return None, error
