"""Progress of what may take more than a few seconds, in the terminal of the first process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

Step = TypeVar("Step")

_PATIENCE = 2.0  # seconds; what is done by then shows nothing
_INTERVAL = 0.2  # seconds between two drawings


def shown(steps: Iterable[Step], description: str, total: int | None = None) -> Iterator[Step]:
    """Go through steps of similar length; a bar appears after two seconds.

    Args:
        steps: what to go through.
        description: what is being done.
        total: how many steps there are; None: the length of ``steps``.
    """
    if not _is_watched():  # older versions of rich end a disabled bar, too, with an empty line
        yield from steps
        return
    from rich.progress import Progress

    start = drawn = perf_counter()
    with Progress(transient=True) as progress:
        count = len(steps) if total is None else total  # type: ignore[arg-type]
        task = progress.add_task(description, total=count, visible=False)
        for done, step in enumerate(steps, 1):
            yield step
            now = perf_counter()
            late, due = now - start > _PATIENCE, now - drawn > _INTERVAL
            # under another bar it is drawn only when it asks for it
            progress.update(task, completed=done, visible=late, refresh=late and due)
            drawn = now if due else drawn


@contextmanager
def busy(description: str) -> Iterator[None]:
    """Say what is being done while it is, where nothing tells how far it is."""
    if not _is_watched():
        yield
        return
    from rich import get_console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = SpinnerColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=get_console(), transient=True) as progress:
        progress.add_task(description, total=None)
        progress.refresh()
        yield


def _is_watched() -> bool:
    from rich import get_console

    from lightning_reid.lightning import rank_zero_only

    return get_console().is_terminal and getattr(rank_zero_only, "rank", 0) == 0
