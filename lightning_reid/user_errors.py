"""Errors that the user can solve, and what the command line prints of them."""

from __future__ import annotations

import dis
import re

import torch.distributed as dist
import yaml  # type: ignore[import-untyped]
from omegaconf.errors import OmegaConfBaseException

from lightning_reid.errors import (
    DownloadError,
    InputError,
    MissingPackageError,
    causes,
    is_of_worker,
)
from lightning_reid.lightning import MisconfigurationException
from lightning_reid.messages import printable
from lightning_reid.resources import is_out_of_memory

_OWN = (InputError, DownloadError, MissingPackageError)
_OTHERS = (
    MisconfigurationException,
    yaml.YAMLError,
    dist.DistError,
)
_MACHINE = re.compile(
    r"CUDA error: (?!device-side assert)|CUDA driver|cuDNN error|NCCL error|No CUDA GPUs"
    r"|Found no NVIDIA|DataLoader worker \(pid"
)
_WATCHED = re.compile(r"Early stopping conditioned on metric `(.*?)` which is not available")
_NAMES = re.compile(r"any of the following: (.*)")
_RAISE = dis.opmap["RAISE_VARARGS"]
_LIGHTNING = ("lightning", "lightning_fabric", "pytorch_lightning")


def user_error(error: BaseException) -> str | None:
    """Return what to print of an error that the user can solve.

    Args:
        error: What a command ended with; the parser may have wrapped the cause in others.

    Returns:
        One or a few lines; None for a programming error, whose traceback is needed.
    """
    return next(filter(None, map(_message, causes(error))), None)


def _message(error: BaseException) -> str | None:
    """Return what to print of an error, whatever led to it."""
    text = str(error)
    if is_of_worker(text):  # a traceback, and at its end the error
        text = text.strip().splitlines()[-1].partition(": ")[2]
    if isinstance(error, _OWN):
        return text
    if isinstance(error, OmegaConfBaseException):
        key = getattr(error, "full_key", None)
        return f"{f'{key}: ' if key else ''}{text.splitlines()[0]}"
    if is_out_of_memory(error):
        return _of_memory(text)
    if isinstance(error, OSError):
        return _of_system(error, text)
    if found := _WATCHED.search(text):
        names = _NAMES.search(text)
        known = f"; there are {names[1].replace('`', '')}" if names and names[1] else ""
        return f"EarlyStopping watches {found[1]!r}, which was not logged{known}"
    of_user = isinstance(error, _OTHERS) or _is_from_lightning(error)
    if of_user or (isinstance(error, RuntimeError) and _MACHINE.search(text)):
        return _one_line(text)
    return None


def _of_memory(text: str) -> str:
    what = _one_line(text.rpartition("DefaultCPUAllocator: ")[2])
    return (
        f"out of memory{f': {what}' if what else ''}; lower --data.batch_size, "
        "--data.eval_batch_size or --data.num_workers (of search --batch_size or --num_workers)"
    )


def _of_system(error: OSError, text: str) -> str:
    if error.filename is None or error.strerror is None:
        return _one_line(text)
    return printable(f"{error.strerror}: {error.filename}")


def _is_from_lightning(error: BaseException) -> bool:
    """Return whether Lightning refused something: a setting, or a package that is missing.

    That is an error of a ``raise`` statement of its own, not one of code that it runs.
    """
    trace = error.__traceback__
    if trace is None or not isinstance(error, (ValueError, TypeError, RuntimeError, ImportError)):
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in _LIGHTNING and frame.f_code.co_code[trace.tb_lasti] == _RAISE


def _one_line(text: str) -> str:
    return " ".join(text.split())
