"""VeRi-776: vehicles instead of people."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from lightning_reid.datamodules.base import Split
from lightning_reid.datamodules.market1501 import Market1501
from lightning_reid.datamodules.published import Counts, Published, from_c1

# of single cameras only these counts are known here; not every camera occurs in the test images
_PUBLISHED = Published(
    "VeRi-776",
    {
        "train": Counts(
            images=37_778,
            identities=576,
            cameras=from_c1(*17 * [None], (173, 22), None, (22, 3)),
        ),
        "query": Counts(images=1_678, identities=200),
        "gallery": Counts(images=11_579, identities=200),
    },
)


class VeRi776(Market1501):
    """VeRi-776 (Liu et al., ICME 2016 and ECCV 2016): 776 vehicles, 20 cameras.

    ``root`` holds ``image_train``, ``image_query`` and ``image_test``, the images named as
    ``0002_c002_00030600_0.jpg``. The published set has 37,778 training images of 576 vehicles;
    1,678 query and 11,579 gallery images of 200 others.

    It is never downloaded: its authors (vehiclereid.github.io/VeRi) give it out on request, for
    research; further terms are not known here.

    Args:
        root: folder of the data set.
        size: height and width in pixels that images are resized to; vehicles are not upright.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.

    Example:
        >>> data = VeRi776("path/to/VeRi")
        >>> data.size, len(data.published.splits["train"].cameras)
        ((224, 224), 20)
    """

    folders: ClassVar[dict[Split, str]] = {
        "train": "image_train",
        "query": "image_query",
        "gallery": "image_test",
    }

    def __init__(self, root: str | Path, size: tuple[int, int] = (224, 224), **kwargs: Any) -> None:
        super().__init__(root, size=size, **kwargs)

    @property
    def published(self) -> Published:
        """Statistics of VeRi-776."""
        return _PUBLISHED
