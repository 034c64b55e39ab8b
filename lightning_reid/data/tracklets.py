"""Which frames stand for a tracklet."""

from __future__ import annotations

from collections.abc import Sequence


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


def spaced(frames: Sequence[str], wanted: int | None) -> list[str]:
    """Choose evenly spaced frames of a tracklet; see :func:`spread`."""
    return [frames[position] for position in spread(len(frames), wanted)]
