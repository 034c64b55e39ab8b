"""How many processes read images."""

from __future__ import annotations

import os

_MOST = 16
_IMAGES_PER_WORKER = 256  # below, starting a process takes longer than it saves


def workers_for(num_images: int) -> int:
    """As many as there are cores, at most 16, and fewer for few images, each read once."""
    return min(os.cpu_count() or 1, _MOST, num_images // _IMAGES_PER_WORKER)
