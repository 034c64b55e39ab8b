"""Progress of what may take more than a few seconds, in the terminal of the first process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

Step = TypeVar("Step")

_PATIENCE = 2.0  # seconds; what is done by then shows nothing


def shown(steps: Sequence[Step], description: str) -> Iterator[Step]:
    """Go through steps of similar length; a bar appears after two seconds.

    Args:
        steps: what to go through.
        description: what is being done.
    """
    from rich.progress import Progress

    start = perf_counter()
    with Progress(transient=True, disable=not _is_watched()) as progress:
        task = progress.add_task(description, total=len(steps), visible=False)
        for done, step in enumerate(steps, 1):
            yield step
            late = perf_counter() - start > _PATIENCE
            progress.update(task, completed=done, visible=late)


@contextmanager
def busy(description: str) -> Iterator[None]:
    """Say what is being done while it is, where nothing tells how far it is."""
    if not _is_watched():
        yield
        return
    from rich import get_console

    with get_console().status(description):
        yield


def _is_watched() -> bool:
    from pytorch_lightning.utilities import rank_zero_only
    from rich import get_console

    return get_console().is_terminal and getattr(rank_zero_only, "rank", 0) == 0
