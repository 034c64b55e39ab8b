"""A progress bar for what takes more than a few seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TypeVar

Step = TypeVar("Step")

_PATIENCE = 2.0  # seconds; what is done by then shows nothing


def shown(steps: Sequence[Step], description: str) -> Iterator[Step]:
    """Go through steps of similar length; in a terminal a bar appears after two seconds.

    Only the first process shows one, as Lightning's bars do.

    Args:
        steps: what to go through.
        description: what is being done.
    """
    from pytorch_lightning.utilities import rank_zero_only
    from rich import get_console
    from rich.progress import Progress

    hidden = not get_console().is_terminal or getattr(rank_zero_only, "rank", 0) != 0
    start = perf_counter()
    with Progress(transient=True, disable=hidden) as progress:
        task = progress.add_task(description, total=len(steps), visible=False)
        for done, step in enumerate(steps, 1):
            yield step
            late = perf_counter() - start > _PATIENCE
            progress.update(task, completed=done, visible=late)
