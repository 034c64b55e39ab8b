"""Text on a terminal, where names from files must not act."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from lightning_reid.messages import printable


class SafeConsole(Console):
    """A console of rich that escapes what does not print as itself; texts are no markup."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects; a text is one line, whatever is in it."""
        super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render texts and tables; what controls the terminal comes from rich alone."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text, keep="\n"), style)


class EscapedLog(logging.Filter):
    """Escapes what does not print as itself in whatever a logger reports."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message by what prints."""
        record.msg, record.args = printable(record.getMessage(), keep="\n"), ()
        return True


def escape_logs() -> None:
    """Escape Lightning's reports and all warnings of this process, whichever code they are from."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(known, EscapedLog) for known in handler.filters):
                handler.addFilter(EscapedLog())
    if not isinstance(warnings.formatwarning, _EscapedWarnings):
        warnings.formatwarning = _EscapedWarnings(warnings.formatwarning)


class _EscapedWarnings:
    """Writes warnings as another function does, and escapes what does not print as itself."""

    def __init__(self, usual: Callable[..., str]) -> None:
        self.usual = usual

    def __call__(self, *arguments: Any, **options: Any) -> str:
        return printable(self.usual(*arguments, **options), keep="\n")
