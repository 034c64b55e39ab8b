"""The file layout of VIPeR: a folder for each of two cameras."""

from __future__ import annotations

import re
from pathlib import Path

from lightning_reid.data.folders import image_names
from lightning_reid.data.samples import Sample
from lightning_reid.errors import InputError

CAMERAS = ("cam_a", "cam_b")

_NAME = re.compile(r"(?P<identity>\d+)_-?\d+\.\w+")
_SUFFIXES = frozenset({".bmp", ".jpg", ".png"})


def parse_viper_folder(root: str | Path) -> list[Sample]:
    """Images of all people, named ``<identity>_<angle>.bmp``, such as ``cam_a/000_45.bmp``.

    Returns:
        Samples of ``cam_a``, then of ``cam_b``, as the cameras are called, in the order of their
        names.

    Raises:
        InputError: if a folder is missing or empty, or a name is of another form.
    """
    return [
        _parse_name(Path(root, camera, name))
        for camera in CAMERAS
        for name in image_names(Path(root, camera), _SUFFIXES)
    ]


def _parse_name(file: Path) -> Sample:
    match = _NAME.fullmatch(file.name)
    if match is None:
        raise InputError(
            f"cannot tell the identity from the name of {file}; expected <identity>_<angle>.bmp, "
            "such as 000_45.bmp"
        )
    return Sample(str(file), file.parent.name, int(match["identity"]))
