"""Paths on this machine, as people write them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lightning_reid.errors import InputError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://?[^/]")


def local_path(given: str | Path) -> Path:
    """Return a path with a leading ``~`` or ``~user`` replaced by the home folder.

    Args:
        given: A path on this machine, absolute, relative or below a home folder.

    Raises:
        InputError: If it is a URL.

    Example:
        >>> local_path("~/crops") == Path.home() / "crops"
        True
    """
    if _URL.match(str(given)):
        raise InputError(f"{given} is a URL; download it first and give the path on this machine")
    return Path(os.path.expanduser(given))  # noqa: PTH111  # Path's raises for unknown users
