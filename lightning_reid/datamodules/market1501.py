"""Market-1501, and every set in its layout."""

from __future__ import annotations

from typing import ClassVar

from lightning_reid.data import Sample, parse_market_folder
from lightning_reid.datamodules.base import ReIDDataModule, Split
from lightning_reid.datamodules.published import Counts, Published, from_c1

# the training images of each camera: from the names of the complete list
_PUBLISHED = Published(
    "Market-1501",
    {
        "train": Counts(
            images=12_936,
            identities=751,
            cameras=from_c1(
                (2017, 652), (1709, 541), (2707, 694), (920, 241), (2338, 576), (3245, 558)
            ),
        ),
        "query": Counts(images=3_368, identities=750, cameras=from_c1(*6 * [None])),
        "gallery": Counts(images=15_913, identities=751, cameras=from_c1(*6 * [None])),
    },
)


class Market1501(ReIDDataModule):
    """Market-1501 (Zheng et al., ICCV 2015): 1501 people, 6 cameras.

    ``root`` holds ``bounding_box_train``, ``query`` and ``bounding_box_test``, the images named
    ``<identity>_c<camera>...`` (``.jpg``, ``.png`` or any other ending of images). Identity -1
    (junk) is never loaded; 0 (distractors) stays in the gallery. The published set has 12,936
    training, 3,368 query and 15,913 gallery images. Other sets in this layout load as well.

    It is never downloaded: its authors' page (zheng-lab.cecs.anu.edu.au/Project/project_reid.html)
    says how to get it; published for research, further terms are not known here. Arguments: see
    :class:`~lightning_reid.ReIDDataModule`.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     Path(root, "bounding_box_train").mkdir()
        ...     for name in ("0002_c1s1_000451_03.jpg", "0002_c3s1_000551_00.jpg"):
        ...         Path(root, "bounding_box_train", name).touch()
        ...     data = Market1501(root)
        ...     data.setup("fit")
        >>> data.camera_names, data.train_identities.tolist()
        (['c1', 'c3'], [2, 2])
        >>> data.published.splits["train"].images
        12936
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

    @property
    def published(self) -> Published | None:
        """Statistics of Market-1501; a class that derives from it is another set."""
        return _PUBLISHED if type(self) is Market1501 else None
