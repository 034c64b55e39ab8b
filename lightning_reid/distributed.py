"""Tensors and decisions across processes."""

from __future__ import annotations

import atexit
import gc
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from lightning_reid.errors import InputError
from lightning_reid.lightning import DistributedSamplerWrapper, pl

Result = TypeVar("Result")

_PATIENCE = timedelta(days=7)  # how long the others wait for the first process
_GIVE_RANKS = "num_replicas=trainer.world_size and rank=trainer.global_rank"


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


def follow_first_rank(trainer: pl.Trainer | None, tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors, in place, by those of the first rank; every rank must call this.

    Args:
        trainer: tells the ranks; None: there is one.
        tensors: as many on every rank, of the same shapes.
    """
    if trainer is None or trainer.world_size == 1:
        return
    for tensor in tensors:
        dist.broadcast(tensor, src=0)


def require_own_batches(trainer: pl.Trainer, batch: Any) -> None:
    """Raise an error unless every rank draws whole groups, and others than the other ranks.

    Args:
        trainer: Tells ranks and loader; every rank must call this.
        batch: This rank's batch. Images are compared where it is a mapping with ``"index"``,
            ``(B,)``; for a batch of another structure only the sampler is looked at.

    Raises:
        InputError: if they do not; the message says what to change.
    """
    if trainer.world_size == 1:
        return
    loader = trainer.train_dataloader
    sampler = loader.sampler if isinstance(loader, DataLoader) else None
    if isinstance(sampler, DistributedSamplerWrapper):
        raise InputError(
            "the Trainer would deal out the images of the training sampler one by one, which tears "
            "its groups apart: set Trainer(use_distributed_sampler=False) and let the sampler give "
            f"every process whole groups, as LabelSampler does with {_GIVE_RANKS}"
        )
    if isinstance(sampler, DistributedSampler):
        if sampler.num_replicas != trainer.world_size:
            raise InputError(
                f"the training sampler {type(sampler).__name__} has num_replicas="
                f"{sampler.num_replicas}, but there are {trainer.world_size} processes: give it "
                f"{_GIVE_RANKS}"
            )
        return
    if not (isinstance(batch, Mapping) and isinstance(batch.get("index"), Tensor)):
        return
    batches = gather_rows(trainer, batch["index"][None])
    if len(torch.unique(batches, dim=0)) < len(batches):
        raise InputError(
            "processes draw the same training images: let the sampler give each its own, as "
            f"LabelSampler does with {_GIVE_RANKS}, or, if it draws images one by one, set "
            "Trainer(use_distributed_sampler=True)"
        )


@contextmanager
def same_random_numbers(device: torch.device, *entropy: int) -> Iterator[None]:
    """What is drawn inside is the same on every rank, and nothing outside notices.

    Args:
        device: where it is drawn.
        entropy: numbers from 0 that tell what it is drawn for, such as seed and epoch.
    """
    with seeded(device, seed_of(*entropy)):
        yield


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the random numbers of one device, and restore them afterwards.

    Other devices are left alone, which ``torch.manual_seed`` would reseed.

    Args:
        device: Where numbers are drawn.
        seed: Any seed that ``torch.manual_seed`` takes.
    """
    if device.type == "cpu":
        generator = torch.default_generator
    elif device.type == "cuda":
        place = torch.cuda.current_device() if device.index is None else device.index
        generator = torch.cuda.default_generators[place]
    else:
        with torch.random.fork_rng(device_type=device.type):
            torch.manual_seed(seed)
            yield
        return
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)


def seed_of(*entropy: int) -> int:
    """A seed that follows from numbers from 0, and differs from that of as many other numbers.

    That holds for numbers below 2**32. Trailing zeros do not count: 7 and (7, 0) give the same.
    """
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


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
        Exception: what the work raised; where ``pickle`` cannot restore that, a RuntimeError with
            its type and message. What ``pickle`` raises if it cannot send the result.
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
    atexit.register(_end_groups)
    return dist.new_group(backend="gloo", timeout=_PATIENCE)


def _end_groups() -> None:
    """End all process groups while Python still runs.

    Lightning leaves those on the CPU to the end of the process, where a thread of theirs that finds
    Python gone now and then aborts it. A group ends when nothing refers to it any more.
    """
    _patient_group.cache_clear()
    gc.collect()  # cycles: Trainers, and modules and metrics with groups of their own
    if dist.is_initialized():
        dist.destroy_process_group()


def _outcome(work: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    """What the work gave or raised, as all ranks can have it."""
    try:
        result = work()
        pickle.dumps(result)  # to fail here, not between the ranks
    except Exception as error:  # raised again, on every rank
        return None, _sendable(error)
    return result, None


def _sendable(error: Exception) -> Exception:
    """The error or, where ``pickle`` cannot restore it, one that tells as much."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an error's own methods may raise anything
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.__cause__ = error  # seen on the first rank; pickle leaves it out
        return told
    return error
