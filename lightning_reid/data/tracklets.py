"""Which frames stand for a tracklet."""

from __future__ import annotations

from pathlib import Path

from lightning_reid.data.folders import image_names


def spread(count: int, wanted: int | None) -> list[int]:
    """Positions of evenly spaced frames: the middle of each of ``wanted`` equal parts.

    Args:
        count: frames of the tracklet.
        wanted: frames to choose; 1 is the middle one. None, or as many as there are: all.

    >>> spread(9, 1), spread(9, 3), spread(2, 3)
    ([4], [1, 4, 7], [0, 1])
    """
    if wanted is None or wanted >= count:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def frame_names(folder: Path, wanted: int | None) -> list[str]:
    """Names of so many images of a tracklet's folder; see :func:`spread`.

    Raises:
        InputError: if there is no such folder, or it holds no image.
    """
    names = image_names(folder)
    return [names[position] for position in spread(len(names), wanted)]
