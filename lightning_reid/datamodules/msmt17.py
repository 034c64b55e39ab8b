"""MSMT17, in both of its releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lightning_reid.data import Samples, parse_msmt17_list
from lightning_reid.datamodules.base import ReIDDataModule, Split
from lightning_reid.datamodules.published import Counts, Published, from_c1
from lightning_reid.errors import InputError

# of MSMT17_V1, and of MSMT17_V2, in which faces are blurred
_TRAIN_FOLDERS = ("train", "mask_train_v2")
_TEST_FOLDERS = ("test", "mask_test_v2")

_TEST = {
    "query": Counts(images=11_659, identities=3_060, cameras=from_c1(*15 * [None])),
    "gallery": Counts(images=82_161, identities=3_060, cameras=from_c1(*15 * [None])),
}
_WITHOUT_VAL = Published(
    "MSMT17 without val",
    {"train": Counts(images=30_248, identities=1_041, cameras=from_c1(*15 * [None])), **_TEST},
)
# the training images of each camera: from the names of the complete lists
_WITH_VAL = Published(
    "MSMT17",
    {
        "train": Counts(
            images=32_621,
            identities=1_041,
            cameras=from_c1(
                (4910, 669),
                (203, 14),
                (454, 81),
                (1614, 173),
                (4296, 679),
                (1678, 207),
                (3453, 670),
                (795, 137),
                (1396, 154),
                (655, 58),
                (3154, 389),
                (1364, 308),
                (3635, 379),
                (3876, 649),
                (1138, 254),
            ),
        ),
        **_TEST,
    },
)


class MSMT17(ReIDDataModule):
    """MSMT17 (Wei et al., CVPR 2018): 4,101 people, 15 cameras; MSMT17_V1 or MSMT17_V2.

    ``root`` holds ``list_train.txt``, ``list_val.txt``, ``list_query.txt`` and
    ``list_gallery.txt`` beside ``train`` and ``test`` (V1), or ``mask_train_v2`` and
    ``mask_test_v2`` (V2). The published set has 32,621 training images of 1,041 people, 11,659
    query and 82,161 gallery images.

    It is never downloaded: its authors at Peking University (www.pkuvmc.com) give it out on
    request, for research; further terms are not known here.

    Args:
        root: folder of the data set.
        use_val: train on ``list_val.txt`` too: 2,373 other images of the training people, which
            the unsupervised methods use. Both lists are sorted together by path, as in CALR's code.
            False: the 30,248 images of ``list_train.txt`` alone, in the order of the list.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.

    Example:
        >>> MSMT17("path/to/MSMT17_V1").published.splits["train"].images
        32621
        >>> MSMT17("path/to/MSMT17_V1", use_val=False).published.splits["train"].images
        30248
    """

    def __init__(self, root: str | Path, use_val: bool = True, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.use_val = use_val

    def samples(self, split: Split) -> Samples:
        """The images of one split; see :func:`~lightning_reid.data.parse_msmt17_list`."""
        folder = self._folder(_TRAIN_FOLDERS if split == "train" else _TEST_FOLDERS)
        samples = parse_msmt17_list(self.root / f"list_{split}.txt", folder)
        if split == "train" and self.use_val:
            samples += parse_msmt17_list(self.root / "list_val.txt", folder)
            # as CALR's code has them: its pivots depend on the order
            samples = samples.take(np.argsort(list(samples.paths), kind="stable"))
        return samples

    @property
    def has_test(self) -> bool:
        """Whether there is a list of query images."""
        return (self.root / "list_query.txt").is_file()

    @property
    def published(self) -> Published:
        """Statistics of MSMT17, with or without ``list_val.txt``."""
        return _WITH_VAL if self.use_val else _WITHOUT_VAL

    def _folder(self, names: tuple[str, str]) -> Path:
        for name in names:
            if (self.root / name).is_dir():
                return self.root / name
        raise InputError(
            f"no folder {names[0]} (MSMT17_V1) or {names[1]} (MSMT17_V2) in {self.root}; "
            "check the root of the data"
        )
