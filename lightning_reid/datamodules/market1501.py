"""Market-1501, and every set in its layout."""

from __future__ import annotations

from typing import ClassVar

from lightning_reid.data import Sample, parse_market_folder
from lightning_reid.datamodules.base import ReIDDataModule, Split


class Market1501(ReIDDataModule):
    """Market-1501 (Zheng et al., ICCV 2015): 1501 people, 6 cameras.

    ``root`` holds ``bounding_box_train``, ``query`` and ``bounding_box_test``, the images named
    ``<identity>_c<camera>...`` (``.jpg`` or ``.png``). Identity -1 (junk) is never loaded; 0
    (distractors) stays in the gallery. The published set has 12,936 training, 3,368 query and
    15,913 gallery images. It is never downloaded: ask its authors. Other sets in this layout load
    as well. Arguments: see :class:`~lightning_reid.ReIDDataModule`.
    """

    folders: ClassVar[dict[Split, str]] = {
        "train": "bounding_box_train",
        "query": "query",
        "gallery": "bounding_box_test",
    }

    def samples(self, split: Split) -> list[Sample]:
        """The images of one split; see :func:`~lightning_reid.data.parse_market_folder`."""
        return parse_market_folder(self.root / self.folders[split])

    @property
    def has_test(self) -> bool:
        """Whether there is a folder of query images."""
        return (self.root / self.folders["query"]).is_dir()
