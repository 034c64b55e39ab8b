"""DukeMTMC-reID, for those who hold a copy."""

from __future__ import annotations

from lightning_reid.datamodules.market1501 import Market1501


class DukeMTMCreID(Market1501):
    """DukeMTMC-reID (Ristani et al., ECCV workshops 2016; Zheng et al., ICCV 2017): 8 cameras.

    ``root`` is laid out as Market-1501, the images named as ``0001_c2_f0046302.jpg``. The published
    set has 16,522 training images of 702 people, 2,228 query and 17,661 gallery images. The authors
    of DukeMTMC withdrew it in 2019, as the people on it had not consented; it is here only to
    compare with published results, and never downloaded. Arguments: see
    :class:`~lightning_reid.ReIDDataModule`.
    """
