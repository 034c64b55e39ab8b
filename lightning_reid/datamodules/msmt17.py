"""MSMT17, in both of its releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_reid.data import Sample, parse_msmt17_list
from lightning_reid.datamodules.base import ReIDDataModule, Split
from lightning_reid.errors import InputError

# of MSMT17_V1, and of MSMT17_V2, in which faces are blurred
_TRAIN_FOLDERS = ("train", "mask_train_v2")
_TEST_FOLDERS = ("test", "mask_test_v2")


class MSMT17(ReIDDataModule):
    """MSMT17 (Wei et al., CVPR 2018): 4,101 people, 15 cameras; MSMT17_V1 or MSMT17_V2.

    ``root`` holds ``list_train.txt``, ``list_val.txt``, ``list_query.txt`` and
    ``list_gallery.txt`` beside ``train`` and ``test`` (V1), or ``mask_train_v2`` and
    ``mask_test_v2`` (V2). The published set has 32,621 training images of 1,041 people, 11,659
    query and 82,161 gallery images. It is never downloaded: ask its authors.

    Args:
        root: folder of the data set.
        use_val: train on ``list_val.txt`` too: 2,373 other images of the training people, which
            the unsupervised methods use. False: the 30,248 images of ``list_train.txt`` alone.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.
    """

    def __init__(self, root: str | Path, use_val: bool = True, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.use_val = use_val

    def samples(self, split: Split) -> list[Sample]:
        """The images of one split; see :func:`~lightning_reid.data.parse_msmt17_list`."""
        lists = ["train", "val"] if split == "train" and self.use_val else [split]
        folder = self._folder(_TRAIN_FOLDERS if split == "train" else _TEST_FOLDERS)
        parsed = (parse_msmt17_list(self.root / f"list_{name}.txt", folder) for name in lists)
        return [sample for samples in parsed for sample in samples]

    @property
    def has_test(self) -> bool:
        """Whether there is a list of query images."""
        return (self.root / "list_query.txt").is_file()

    def _folder(self, names: tuple[str, str]) -> Path:
        for name in names:
            if (self.root / name).is_dir():
                return self.root / name
        raise InputError(
            f"no folder {names[0]} (MSMT17_V1) or {names[1]} (MSMT17_V2) in {self.root}; "
            "check the root of the data"
        )
