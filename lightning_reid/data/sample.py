"""One image as the parsers describe it."""

from __future__ import annotations

from typing import NamedTuple


class Sample(NamedTuple):
    """An image file, the camera that took it and, where known, who is on it.

    Attributes:
        path: image file.
        camera: name of the camera; the data module numbers the names from 0.
        identity: true identity; None where unknown. Never reaches a training batch.
    """

    path: str
    camera: str
    identity: int | None = None
