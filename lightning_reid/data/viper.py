"""The file layout of VIPeR: a folder for each of two cameras."""

from __future__ import annotations

import re
from pathlib import Path

from lightning_reid.data.folders import ImageFolders
from lightning_reid.data.samples import Sample
from lightning_reid.errors import InputError

CAMERAS = ("cam_a", "cam_b")

_NAME = re.compile(r"(?P<identity>\d+)_-?\d+\.\w+")


def parse_viper_folder(root: str | Path) -> list[Sample]:
    """Images of all people, named ``<identity>_<angle>.bmp``, such as ``cam_a/000_45.bmp``.

    Args:
        root: folder with ``cam_a`` and ``cam_b``.

    Returns:
        Samples of ``cam_a``, then of ``cam_b``, as the cameras are called, in the order of their
        names.

    Raises:
        InputError: if a folder is missing or empty, or a name is of another form.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     for name in ("cam_a/007_0.bmp", "cam_b/007_90.bmp"):
        ...         Path(root, name).parent.mkdir()
        ...         Path(root, name).touch()
        ...     samples = parse_viper_folder(root)
        >>> [(sample.identity, sample.camera) for sample in samples]
        [(7, 'cam_a'), (7, 'cam_b')]
    """
    with ImageFolders(root) as folders:
        return [
            _parse_name(Path(root, camera, name))
            for camera in CAMERAS
            for name in folders.images(Path(root, camera))
        ]


def _parse_name(file: Path) -> Sample:
    match = _NAME.fullmatch(file.name)
    if match is None:
        raise InputError(
            f"cannot tell the identity from the name of {file}; expected <identity>_<angle>.bmp, "
            "such as 000_45.bmp"
        )
    return Sample(str(file), file.parent.name, int(match["identity"]))
