"""VIPeR: one image of each person in each of two cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_reid.data import Sample, parse_viper_folder
from lightning_reid.data.halves import random_half
from lightning_reid.data.viper import CAMERAS
from lightning_reid.datamodules.base import ReIDDataModule, Split
from lightning_reid.datamodules.published import Counts, Published
from lightning_reid.errors import require

_PUBLISHED = Published(
    "VIPeR",
    {
        "train": Counts(632, 316, dict.fromkeys(CAMERAS, (316, 316))),
        "query": Counts(316, 316, {"cam_a": None}),
        "gallery": Counts(316, 316, {"cam_b": None}),
    },
)


class VIPeR(ReIDDataModule):
    """VIPeR (Gray, Brennan & Tao, PETS 2007): 632 people, one image of each in each of 2 cameras.

    ``root`` holds ``cam_a`` and ``cam_b``, the images named ``<identity>_<angle>.bmp``, such as
    ``cam_a/000_45.bmp``. Half of the people are for training; of the others, those in ``cam_a`` are
    the queries and those in ``cam_b`` the gallery. The set itself does not say which half: papers
    average over ten divisions of their own, and so should what is compared with them.

    It is never downloaded. Its first home, at the University of California, Santa Cruz, may be
    gone; published for research, further terms are not known here.

    Args:
        root: folder of the data set.
        split: which random division of the people, 0 to 9. They are drawn here, and are not those
            of any paper.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.

    Raises:
        InputError: if ``split`` is not from 0 to 9.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     for camera in ("cam_a", "cam_b"):
        ...         Path(root, camera).mkdir()
        ...         for person in range(4):
        ...             Path(root, camera, f"{person:03d}_0.bmp").touch()
        ...     data = VIPeR(root, split=3)
        ...     sizes = [len(data.samples(split)) for split in ("train", "query", "gallery")]
        >>> sizes  # two people in two cameras; of two others one image in each
        [4, 2, 2]
    """

    def __init__(self, root: str | Path, split: int = 0, **kwargs: Any) -> None:
        require("split", split, 0, 9)
        super().__init__(root, **kwargs)
        self.split = split

    def samples(self, split: Split) -> list[Sample]:
        """The images of one split; see :func:`~lightning_reid.data.parse_viper_folder`."""
        images = parse_viper_folder(self.root)
        trained = random_half((s.identity for s in images if s.identity is not None), self.split)
        if split == "train":
            return [s for s in images if s.identity in trained]
        camera = CAMERAS[split == "gallery"]
        return [s for s in images if s.identity not in trained and s.camera == camera]

    @property
    def published(self) -> Published:
        """Statistics of VIPeR, divided in halves."""
        return _PUBLISHED
