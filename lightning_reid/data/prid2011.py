"""The file layouts of PRID 2011: single images, or a folder for each tracklet."""

from __future__ import annotations

import re
from pathlib import Path

from lightning_reid.data.folders import ImageFolders
from lightning_reid.data.samples import Sample
from lightning_reid.data.tracklets import spaced
from lightning_reid.errors import InputError

CAMERAS = ("cam_a", "cam_b")
SHARED = 200  # people 1 to 200 are the same in both cameras; the others are not

_PEOPLE_OF_A = 385
_PERSON = re.compile(r"person_(?P<number>\d+)")


def parse_prid2011_single(folder: str | Path) -> list[Sample]:
    """One image of every person and camera, such as ``cam_a/person_0001.png``.

    Person 201 and later ones of ``cam_b`` are other people than those of ``cam_a`` with the same
    numbers: here their identities follow on those of ``cam_a``.

    Args:
        folder: ``single_shot``.

    Returns:
        Samples of ``cam_a``, then of ``cam_b``, as the cameras are called, person by person.

    Raises:
        InputError: if a folder is missing or empty, or a name is of another form.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("cam_a/person_0201.png", "cam_b/person_0201.png"):
        ...         Path(folder, name).parent.mkdir()
        ...         Path(folder, name).touch()
        ...     samples = parse_prid2011_single(folder)
        >>> [(sample.identity, sample.camera) for sample in samples]  # two people: 1 + 385 in cam_b
        [(201, 'cam_a'), (386, 'cam_b')]
    """
    with ImageFolders(folder) as folders:
        return [
            Sample(str(Path(folder, camera, name)), camera, _identity(Path(folder, camera, name)))
            for camera in CAMERAS
            for name in folders.images(Path(folder, camera))
        ]


def parse_prid2011_multi(folder: str | Path, frames_per_tracklet: int | None = 1) -> list[Sample]:
    """A tracklet of every person and camera, such as ``cam_a/person_0001/0001.png``.

    Args:
        folder: ``multi_shot``.
        frames_per_tracklet: evenly spaced frames of each tracklet, 1 being the middle one; None:
            all.

    Returns:
        Samples as from :func:`parse_prid2011_single`; tracklets are called ``person_0001``, ...

    Raises:
        InputError: if a folder is missing or empty, or its name is of another form.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("cam_a/person_0001/0001.png", "cam_b/person_0001/0001.png"):
        ...         Path(folder, name).parent.mkdir(parents=True)
        ...         Path(folder, name).touch()
        ...     samples = parse_prid2011_multi(folder)
        >>> [(sample.identity, sample.camera, sample.tracklet) for sample in samples]
        [(1, 'cam_a', 'person_0001'), (1, 'cam_b', 'person_0001')]
    """
    with ImageFolders(folder) as folders:
        return [
            Sample(str(Path(folder, camera, person, frame)), camera, identity, person)
            for camera in CAMERAS
            for person in folders.folders(Path(folder, camera))
            for identity in [_identity(Path(folder, camera, person))]
            for frame in spaced(folders.images(Path(folder, camera, person)), frames_per_tracklet)
        ]


def _identity(path: Path) -> int:
    match = _PERSON.fullmatch(path.stem)
    if match is None:
        raise InputError(
            f"cannot tell the person from the name of {path}; expected one such as person_0001"
        )
    number = int(match["number"])
    if path.parent.name == CAMERAS[0] or number <= SHARED:
        return number
    return number - SHARED + _PEOPLE_OF_A
