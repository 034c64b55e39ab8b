"""The Market-1501 file layout, which many other sets follow."""

from __future__ import annotations

import re
from pathlib import Path

from lightning_reid.data.folders import ImageFolders
from lightning_reid.data.samples import Sample
from lightning_reid.errors import InputError

JUNK = -1

_NAME = re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>\d+)")


def parse_market_folder(folder: str | Path) -> list[Sample]:
    """Images of one folder, named ``<identity>_c<camera>...``, such as ``0002_c1s1_000451_03.jpg``.

    Identity -1 (junk: neither match nor mistake) is left out; 0 (distractors) is kept.

    Args:
        folder: for example ``bounding_box_train``.

    Returns:
        Samples in the order of their file names; cameras are called ``c1``, ``c2``, ...

    Raises:
        InputError: if there is no such folder, it holds no images, or a name tells no identity and
            camera.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("0002_c1s1_000451_03.jpg", "0002_c3s1_000551_00.jpg", "-1_c2_01.jpg"):
        ...         Path(folder, name).touch()
        ...     samples = parse_market_folder(folder)
        >>> [(sample.identity, sample.camera) for sample in samples]  # -1 is junk
        [(2, 'c1'), (2, 'c3')]
    """
    folder = Path(folder)
    with ImageFolders(folder) as folders:
        samples = [_parse_name(folder / name) for name in folders.images(folder)]
    return [sample for sample in samples if sample.identity != JUNK]


def _parse_name(file: Path) -> Sample:
    match = _NAME.match(file.name)
    if match is None:
        raise InputError(
            f"cannot tell identity and camera from the name of {file}; "
            "expected <identity>_c<camera>..., such as 0002_c1s1_000451_03.jpg"
        )
    return Sample(str(file), f"c{int(match['camera'])}", int(match["identity"]))
