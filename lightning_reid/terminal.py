"""Text on a terminal, where names from files must not act."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.text import Text

from lightning_reid.messages import printable

_LIGHTNING = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric")
_SEVERAL_LINES = ("\n", "-" * 20)  # what such reports of Lightning begin with


class SafeConsole(Console):
    """A console of rich that escapes what does not print as itself; texts are no markup.

    A text, and a text in a cell of a table, is one line.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text that can be laid out; whatever is printed or in a table comes through here.

        An object of rich's class ``Text`` does not.
        """
        return super().render_str(printable(text), **options)


class EscapedLog(logging.Filter):
    """Escapes what does not print as itself in whatever a logger reports, Lightning's in a line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message by what prints."""
        message = record.getMessage()
        is_line = record.name.startswith(_LIGHTNING) and not message.startswith(_SEVERAL_LINES)
        record.msg, record.args = printable(message, keep="" if is_line else "\n"), ()
        return True


def escape_reports() -> None:
    """Escape logs, warnings and tracebacks of this process, whichever code they are from."""
    loggers = [logging.getLogger(name) for name in (*_LIGHTNING, "")]
    handlers = [handler for logger in loggers for handler in logger.handlers]
    for handler in (*handlers, logging.lastResort):
        if handler and not any(isinstance(known, EscapedLog) for known in handler.filters):
            handler.addFilter(EscapedLog())
    if not isinstance(warnings.formatwarning, _EscapedWarnings):
        warnings.formatwarning = _EscapedWarnings(warnings.formatwarning)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_traceback


class _EscapedWarnings:
    """Writes warnings as another function does, in one line that prints as it is."""

    def __init__(self, usual: Callable[..., str]) -> None:
        self.usual = usual

    def __call__(self, message: Warning | str, *arguments: Any, **options: Any) -> str:
        written = self.usual(printable(str(message)), *arguments, **options)
        return printable(written, keep="\n")


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a traceback as Python does, but for what does not print as itself."""
    for part in traceback.format_exception(kind, error, trace):
        sys.stderr.write(printable(part, keep="\n"))
