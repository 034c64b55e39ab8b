"""Errors that the user can mend."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from textwrap import shorten
from typing import Any

from lightning_reid.messages import did_you_mean, printable

_LARGEST_SIDE = (
    10_000  # pixels that images are resized to; a typing error must not ask for terabytes
)

_OF_WORKER = re.compile(r"Caught \w+ in .*\nOriginal Traceback \(most recent call last\):\n")


def is_of_worker(message: str) -> bool:
    """Return whether the message of an error is what torch makes of one in a worker process."""
    return _OF_WORKER.match(message) is not None


class _OneLineError(Exception):
    """An error whose message is one line, whatever the names in it are.

    Args:
        message: One line: anything in it that does not print as itself is escaped.
        lines: Further lines.
    """

    def __init__(self, message: object = "", *lines: object) -> None:
        told = [str(message), *map(str, lines)]
        if is_of_worker(told[0]):  # a traceback follows
            told = told[0].splitlines()
        super().__init__(*map(printable, told))

    def __str__(self) -> str:
        return "\n".join(self.args)


class InputError(_OneLineError, ValueError):
    """Data, weights or settings that cannot be used; the message names them and says why.

    The command line prints the message alone, without a traceback.
    """


class UnknownArgumentError(InputError, TypeError):
    """A class was given an argument that it does not have; the message says which are like it."""


def causes(error: BaseException | None, suppressed: bool = False) -> Iterator[BaseException]:
    """Yield an error and the errors that led to it, the last one first.

    Args:
        error: What was caught.
        suppressed: Whether to follow errors that ``raise ... from None`` hides.
    """
    while error is not None:
        yield error
        hidden = error.__suppress_context__ and not suppressed
        error = error.__cause__ or (None if hidden else error.__context__)


class MissingPackageError(_OneLineError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class DownloadError(_OneLineError, RuntimeError):
    """Something could not be fetched; the message says from where and what to do instead."""


@contextmanager
def reading(what: str, user_errors: bool = False) -> Iterator[None]:
    """Let whatever fails in a block be an InputError: a file holds values of any type.

    Args:
        what: What the message begins with, such as the name of the file and of the part.
        user_errors: Whether the message of an InputError gets this beginning, too.

    Raises:
        InputError: The block raised something else, which is the cause of this. Errors of the
            system that name a file, such as a missing one, pass.
    """
    try:
        yield
    except (MissingPackageError, DownloadError, MemoryError):
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        raise InputError(f"{what}: {error.strerror or error}") from error
    except InputError as error:
        if not user_errors:
            raise
        raise InputError(f"{what}: {error}") from error
    except Exception as error:
        raise InputError(f"{what}: {shorten(repr(error), 300)}") from error


def require(name: str, value: float, smallest: float, largest: float = inf) -> None:
    """Raise an InputError unless a setting is in its range, before anything is computed with it."""
    if not smallest <= value <= largest:
        wanted = f"at least {smallest}" if largest == inf else f"from {smallest} to {largest}"
        raise InputError(f"{name} must be {wanted}, not {value}")


def require_positive(name: str, value: float) -> None:
    """Raise an InputError unless a setting is above 0, before anything is divided by it."""
    if not 0 < value < inf:
        raise InputError(f"{name} must be above 0, not {value}")


def require_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise an InputError unless a setting is one of the choices."""
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def require_size(size: Any) -> None:
    """Raise an InputError unless this is a height and a width."""
    whole = (
        isinstance(size, (tuple, list))
        and len(size) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) for side in size)
    )
    if not whole or min(size) < 1 or max(size) > _LARGEST_SIDE:
        raise InputError(
            f"size must be height and width in pixels, each from 1 to {_LARGEST_SIDE}, not {size}"
        )


def refuse_unknown(cls: type, unknown: Mapping[str, Any]) -> None:
    """Raise an error for keyword arguments that no ``__init__`` of a class knows.

    Args:
        cls: The class that is made.
        unknown: What its innermost base was given and does not know.

    Raises:
        UnknownArgumentError: If there is any; the message names similar arguments.
    """
    for name in unknown:
        known = {
            parameter.name
            for base in cls.__mro__
            if inspect.isfunction(init := vars(base).get("__init__"))
            and not base.__module__.startswith(("torch.", "lightning.", "pytorch_lightning."))
            for parameter in [*inspect.signature(init).parameters.values()][1:]
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        }
        guess = did_you_mean(name, sorted(known)) or f"; there are {', '.join(sorted(known))}"
        raise UnknownArgumentError(f"{cls.__name__} has no argument {name!r}{guess}")
