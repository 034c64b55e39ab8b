"""The file layout of DukeMTMC-VideoReID: a folder for each tracklet."""

from __future__ import annotations

import re
from pathlib import Path

from lightning_reid.data.folders import ImageFolders
from lightning_reid.data.samples import Sample
from lightning_reid.data.tracklets import spaced
from lightning_reid.errors import InputError

# two releases: 0001C6F0099X30823.jpg and 0001_C6_F0099_X30823.jpg
_NAME = re.compile(r"(?P<identity>\d+)_?C(?P<camera>\d+)_?F\d+.*")


def parse_duke_video_folder(
    folder: str | Path, frames_per_tracklet: int | None = 1
) -> list[Sample]:
    """Images of one split, such as ``0001/0003/0001_C6_F0099_X30823.jpg``.

    A path is identity, tracklet and frame; the frame's name tells identity and camera, with or
    without underscores.

    Args:
        folder: ``train``, ``query`` or ``gallery``.
        frames_per_tracklet: evenly spaced frames of each tracklet, 1 being the middle one; None:
            all.

    Returns:
        Samples in the order of their paths; cameras are called ``c1``, ``c2``, ..., tracklets
        ``0001/0003``, ...

    Raises:
        InputError: if a folder is missing or empty, or a name is of another form or identity.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     tracklet = Path(folder, "0001", "0003")
        ...     tracklet.mkdir(parents=True)
        ...     for frame in range(1, 4):
        ...         (tracklet / f"0001_C6_F000{frame}_X30823.jpg").touch()
        ...     (middle,) = parse_duke_video_folder(folder)
        >>> Path(middle.path).name, middle.identity, middle.camera, middle.tracklet
        ('0001_C6_F0002_X30823.jpg', 1, 'c6', '0001/0003')
    """
    folder = Path(folder)
    with ImageFolders(folder) as folders:
        return [
            _parse_frame(folder / person / tracklet / frame, f"{person}/{tracklet}")
            for person in folders.folders(folder)
            for tracklet in folders.folders(folder / person)
            for frame in spaced(folders.images(folder / person / tracklet), frames_per_tracklet)
        ]


def _parse_frame(file: Path, tracklet: str) -> Sample:
    match = _NAME.fullmatch(file.name)
    person = file.parent.parent.name
    if match is None or match["identity"] != person:
        raise InputError(
            f"cannot tell identity {person} and a camera from the name of {file}; expected "
            f"{person}_C<camera>_F<frame>..., such as 0001_C6_F0099_X30823.jpg in 0001/0003"
        )
    return Sample(str(file), f"c{int(match['camera'])}", int(match["identity"]), tracklet)
