"""DukeMTMC-reID, for those who hold a copy."""

from __future__ import annotations

from lightning_reid.datamodules.market1501 import Market1501
from lightning_reid.datamodules.published import Counts, Published, from_c1

# the training images of each camera: from the names of the complete list
_PUBLISHED = Published(
    "DukeMTMC-reID",
    {
        "train": Counts(
            images=16_522,
            identities=702,
            cameras=from_c1(
                (2809, 404),
                (3009, 378),
                (1088, 201),
                (1395, 165),
                (1685, 218),
                (3700, 348),
                (1330, 217),
                (1506, 265),
            ),
        ),
        "query": Counts(images=2_228, identities=702, cameras=from_c1(*8 * [None])),
        "gallery": Counts(images=17_661, identities=1_110, cameras=from_c1(*8 * [None])),
    },
)


class DukeMTMCreID(Market1501):
    """DukeMTMC-reID (Ristani et al., ECCV workshops 2016; Zheng et al., ICCV 2017): 8 cameras.

    ``root`` is laid out as Market-1501, the images named as ``0001_c2_f0046302.jpg``. The published
    set has 16,522 training images of 702 people, 2,228 query and 17,661 gallery images.

    The authors of DukeMTMC withdrew it in 2019, as the people on it had not consented: there is
    nobody to ask for it. It is here only to compare with published results, and never downloaded.
    Its licence was CC BY-NC-SA 4.0. Arguments: see :class:`~lightning_reid.ReIDDataModule`.

    Example:
        >>> data = DukeMTMCreID("path/to/DukeMTMC-reID", batch_size=64)
        >>> data.batch_size, len(data.published.splits["train"].cameras)
        (64, 8)
    """

    @property
    def published(self) -> Published:
        """Statistics of DukeMTMC-reID."""
        return _PUBLISHED
