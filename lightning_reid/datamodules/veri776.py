"""VeRi-776: vehicles instead of people."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from lightning_reid.datamodules.base import Split
from lightning_reid.datamodules.market1501 import Market1501


class VeRi776(Market1501):
    """VeRi-776 (Liu et al., ICME 2016 and ECCV 2016): 776 vehicles, 20 cameras.

    ``root`` holds ``image_train``, ``image_query`` and ``image_test``, the images named as
    ``0002_c002_00030600_0.jpg``. The published set has 37,778 training images of 576 vehicles;
    1,678 query and 11,579 gallery images of 200 others. It is never downloaded: ask its authors.

    Args:
        root: folder of the data set.
        size: height and width in pixels that images are resized to; vehicles are not upright.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.
    """

    folders: ClassVar[dict[Split, str]] = {
        "train": "image_train",
        "query": "image_query",
        "gallery": "image_test",
    }

    def __init__(self, root: str | Path, size: tuple[int, int] = (224, 224), **kwargs: Any) -> None:
        super().__init__(root, size=size, **kwargs)
