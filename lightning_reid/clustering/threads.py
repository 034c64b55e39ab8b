"""Row ranges worked on by threads: compiled loops release the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Result = TypeVar("Result")

_RANGES_PER_THREAD = 4  # rows differ in cost
_SMALLEST_RANGE = 256  # rows; less does not pay for its scratch memory


def over_row_ranges(work: Callable[[int, int], Result], num_rows: int) -> list[Result]:
    """Call ``work(start, stop)`` on consecutive ranges of rows, in parallel.

    As many threads as torch uses: its setting (OMP_NUM_THREADS) is the one people know.

    Args:
        work: Gives the result for the rows start to stop - 1; releases the lock while it runs.
        num_rows: Rows in total.

    Returns:
        The results in the order of the rows.
    """
    size = max(_SMALLEST_RANGE, -(-num_rows // (torch.get_num_threads() * _RANGES_PER_THREAD)))
    starts = range(0, num_rows, size)
    with thread_pool() as pool:
        return list(pool.map(lambda start: work(start, min(start + size, num_rows)), starts))


def thread_pool() -> ThreadPoolExecutor:
    """Start as many threads as torch uses."""
    return ThreadPoolExecutor(torch.get_num_threads())
