"""MARS: tracklets of the people of Market-1501."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_reid.data import Samples, parse_mars
from lightning_reid.datamodules.base import ReIDDataModule, Split
from lightning_reid.datamodules.published import Counts, Published, from_c1
from lightning_reid.errors import require

_CAMERAS = from_c1(*6 * [None])


class MARS(ReIDDataModule):
    """MARS (Zheng et al., ECCV 2016): tracklets of 1,261 people, 6 cameras.

    ``root`` holds the images in ``bbox_train`` and ``bbox_test``, such as
    ``bbox_train/0001/0001C1T0001F001.jpg``, and the lists in ``info``: ``train_name.txt``,
    ``test_name.txt``, ``tracks_train_info.mat``, ``tracks_test_info.mat`` and ``query_IDX.mat``.
    Identity -1 (folder ``00-1``, junk) is never loaded; 0 (distractors) stays in the gallery. The
    published set has 8,298 training tracklets (509,914 images) of 625 people, and 12,180 test
    tracklets: 870 are junk; the gallery is the other 11,310, and 1,980 of them are the queries.

    Images are compared one by one. The published numbers pool over whole tracklets: **image-level
    results are not comparable with them**.

    It is never downloaded: its authors' page (www.liangzheng.com.cn/Project/project_mars.html) says
    how to get it, and the lists come with github.com/liangzheng06/MARS-evaluation; published for
    research, further terms are not known here.

    Args:
        root: folder of the data set.
        frames_per_tracklet: evenly spaced images of each tracklet, in training and test; 1 is the
            middle one. None: all, which is 120 times as many to cluster. Labels from the tracklets
            (``within_camera="tracklet"``) mean something from 2 on.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.

    Raises:
        InputError: if ``frames_per_tracklet`` is below 1.

    Example:
        >>> MARS("path/to/mars").published.splits["train"].tracklets  # of each its middle image
        8298
        >>> MARS("path/to/mars", frames_per_tracklet=None).published.splits["train"].images
        509914
    """

    def __init__(
        self, root: str | Path, frames_per_tracklet: int | None = 1, **kwargs: Any
    ) -> None:
        if frames_per_tracklet is not None:
            require("frames_per_tracklet", frames_per_tracklet, 1)
        super().__init__(root, **kwargs)
        self.frames_per_tracklet = frames_per_tracklet

    def samples(self, split: Split) -> Samples:
        """The images of one split; see :func:`~lightning_reid.data.parse_mars`."""
        return parse_mars(self.root, split, self.frames_per_tracklet)

    @property
    def has_test(self) -> bool:
        """Whether there is a list of queries."""
        return (self.root / "info/query_IDX.mat").is_file()

    @property
    def published(self) -> Published:
        """Statistics of MARS; images only if all are loaded."""
        images = 509_914 if self.frames_per_tracklet is None else None
        return Published(
            "MARS",
            {
                "train": Counts(images, identities=625, cameras=_CAMERAS, tracklets=8_298),
                "query": Counts(identities=626, cameras=_CAMERAS, tracklets=1_980),
                "gallery": Counts(cameras=_CAMERAS, tracklets=11_310),
            },
        )
