"""The lists of images that come with MSMT17."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lightning_reid.data.samples import Samples, identity_column, numbered
from lightning_reid.data.strings import Strings
from lightning_reid.errors import InputError

# the file name begins with the identity, the image's number and the camera
_LINE = re.compile(
    r"(?P<path>(?:\S*/)?\d+_\d+_(?P<camera>\d{1,99})_[^\s/]+)\s+(?P<identity>\d{1,99})"
)


def parse_msmt17_list(list_file: str | Path, image_folder: str | Path) -> Samples:
    """Images of one list, with lines such as ``0000/0000_000_01_0303morning_0015_0.jpg 0``.

    A line holds the path inside ``image_folder`` and the number of the identity; the third part of
    the file name is the camera. Only the list is read, not the images.

    Args:
        list_file: for example ``list_train.txt``.
        image_folder: for example ``train`` (MSMT17_V1) or ``mask_train_v2`` (MSMT17_V2).

    Returns:
        Samples in the order of the list; cameras are called ``c1``, ``c2``, ...

    Raises:
        InputError: if the list is missing or empty, or a line is of another form.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     listed = Path(root, "list_train.txt")
        ...     written = listed.write_text("0000/0000_000_01_0303morning_0015_0.jpg 0")
        ...     (sample,) = parse_msmt17_list(listed, Path(root, "train"))
        >>> sample.identity, sample.camera
        (0, 'c1')
    """
    list_file = Path(list_file)
    if not list_file.is_file():
        raise InputError(
            f"no list {list_file}; it comes with MSMT17, next to the folders of images: "
            "check the root of the data, or ask the authors of MSMT17 for it"
        )
    folder = f"{Path(image_folder)}{os.sep}"
    paths, cameras, identities = [], [], []
    # names of files need not be UTF-8
    content = list_file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    for number, line in enumerate(content.splitlines(), start=1):
        if line := line.strip():
            match = _LINE.fullmatch(line)
            if match is None:
                raise InputError(
                    f"{list_file}:{number}: cannot tell image, camera and identity from {line!r}; "
                    "expected a line such as 0000/0000_000_01_0303morning_0015_0.jpg 0"
                )
            path, camera, identity = match.groups()
            paths.append(folder + path)
            cameras.append(f"c{int(camera)}")
            identities.append(int(identity))
    if not paths:
        raise InputError(f"{list_file} lists no images; copy it again from MSMT17")
    return Samples(Strings(paths), *numbered(cameras), identity_column(identities, paths))
