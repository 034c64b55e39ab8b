"""What a step will cost, said before it starts."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import torch

from lightning_reid.errors import InputError

_WORTH_SAYING = 5.0  # seconds
_CONTROL_GROUPS = (  # limit and use of containers: version 2, version 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)

# what libraries say that have no error of their own for it; oneDNN's is the last
_NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|bad.alloc|can't start new thread|Caught MemoryError"
    r"|Cannot allocate memory|could not create a (?:primitive|memory)"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there was not enough memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


def announce(what: str, seconds: float, needed: int) -> None:
    """Log what a step will take, if it is more than a few seconds.

    Args:
        what: is being done, in a few words.
        seconds: it will take, estimated.
        needed: bytes of memory that it needs.
    """
    from lightning_reid.lightning import rank_zero_info

    if seconds > _WORTH_SAYING:
        rank_zero_info(f"{what}: about {_duration(seconds)} and {needed / 1e9:.1f} GB of memory")


def require_memory(
    what: str,
    needed: int,
    device: torch.device | str,
    advice: str,
    outside_torch: bool = False,
) -> None:
    """Refuse to start what would end by being killed.

    Args:
        what: is being done, in a few words.
        needed: bytes of memory that it needs.
        device: on which.
        advice: what to change.
        outside_torch: another library allocates it, which cannot use what torch has cached on a
            GPU.

    Raises:
        InputError: If less memory is free.
    """
    free = available_memory(torch.device(device))
    if outside_torch:
        free -= _cached_by_torch(torch.device(device))
    if needed > free:
        raise InputError(
            f"{what} needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are "
            f"free on {torch.device(device).type}: {advice}"
        )


def available_memory(device: torch.device) -> int:
    """Bytes that torch can use on a device; for the CPU, what machine and container have left."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + _cached_by_torch(device)
    import psutil

    left: int = psutil.virtual_memory().available
    for limit, used in _CONTROL_GROUPS:
        if Path(limit).is_file() and (most := Path(limit).read_text().strip()) != "max":
            left = min(left, int(most) - int(Path(used).read_text()) + _reclaimable(Path(limit)))
    return left


def _cached_by_torch(device: torch.device) -> int:
    """Bytes on a GPU that torch holds without using them."""
    if device.type != "cuda":
        return 0
    return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _reclaimable(limit: Path) -> int:
    """Bytes of cached files, which count as used but are given back when needed."""
    statistics = limit.parent / "memory.stat"
    if not statistics.is_file():
        return 0
    entries = dict(line.split() for line in statistics.read_text().splitlines())
    return int(entries.get("inactive_file", 0)) + int(entries.get("active_file", 0))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
