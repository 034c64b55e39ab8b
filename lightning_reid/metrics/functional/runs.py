"""Entries that stand in consecutive runs, one run after the other."""

from __future__ import annotations

import torch
from torch import Tensor


def runs(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Number the entries of runs.

    Args:
        lengths: ``(R,)`` int64, of each run.

    Returns:
        ``(N,)`` the run of each entry, and its place in the run, from 0.
    """
    run = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    begins = lengths.cumsum(0) - lengths
    return run, torch.arange(len(run), device=lengths.device) - begins[run]


def portions(lengths: Tensor, size: int) -> list[slice]:
    """Divide runs into portions of about ``size`` entries, none of them cut.

    Args:
        lengths: ``(R,)`` int64, of each run.
        size: a portion exceeds it by less than a run.
    """
    number = (lengths.cumsum(0) - lengths) // size
    firsts = (number.diff().nonzero().flatten() + 1).tolist()
    return [slice(a, b) for a, b in zip([0, *firsts], [*firsts, len(lengths)], strict=True)]
