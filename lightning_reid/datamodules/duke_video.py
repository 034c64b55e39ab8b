"""DukeMTMC-VideoReID, for those who hold a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_reid.data import Sample, parse_duke_video_folder
from lightning_reid.datamodules.base import ReIDDataModule, Split
from lightning_reid.datamodules.published import Counts, Published, from_c1
from lightning_reid.errors import require

_CAMERAS = from_c1(*8 * [None])
_PUBLISHED = Published(
    "DukeMTMC-VideoReID",
    {
        "train": Counts(identities=702, cameras=_CAMERAS, tracklets=2_196),
        "query": Counts(identities=702, cameras=_CAMERAS, tracklets=702),
        "gallery": Counts(identities=1_110, cameras=_CAMERAS, tracklets=2_636),
    },
)


class DukeMTMCVideoReID(ReIDDataModule):
    """DukeMTMC-VideoReID (Ristani et al., ECCV workshops 2016; Wu et al., CVPR 2018): 8 cameras.

    ``root`` holds ``train``, ``query`` and ``gallery``, each with a folder for every person and in
    it one for every tracklet: ``train/0001/0003/0001_C6_F0099_X30823.jpg`` (in an older release
    without underscores). The published set has 2,196 training tracklets of 702 people, and of 702
    others 702 query tracklets, found among 2,636 gallery tracklets with those of 408 more people.

    Images are compared one by one. The published numbers pool over whole tracklets: **image-level
    results are not comparable with them**.

    The authors of DukeMTMC, of which it is a part, withdrew it in 2019, as the people on it had not
    consented: there is nobody to ask for it. It is here only to compare with published results, and
    never downloaded. Its licence was CC BY-NC-SA 4.0.

    Args:
        root: folder of the data set.
        frames_per_tracklet: evenly spaced images of each tracklet, in training and test; 1 is the
            middle one. None: all, hundreds of times as many. Labels from the tracklets
            (``within_camera="tracklet"``) mean something from 2 on.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.

    Raises:
        InputError: if ``frames_per_tracklet`` is below 1.

    Example:
        >>> data = DukeMTMCVideoReID("path/to/DukeMTMC-VideoReID", frames_per_tracklet=2)
        >>> data.frames_per_tracklet, data.published.splits["train"].tracklets
        (2, 2196)
    """

    def __init__(
        self, root: str | Path, frames_per_tracklet: int | None = 1, **kwargs: Any
    ) -> None:
        if frames_per_tracklet is not None:
            require("frames_per_tracklet", frames_per_tracklet, 1)
        super().__init__(root, **kwargs)
        self.frames_per_tracklet = frames_per_tracklet

    def samples(self, split: Split) -> list[Sample]:
        """The images of one split; see :func:`~lightning_reid.data.parse_duke_video_folder`."""
        return parse_duke_video_folder(self.root / split, self.frames_per_tracklet)

    @property
    def has_test(self) -> bool:
        """Whether there is a folder of queries."""
        return (self.root / "query").is_dir()

    @property
    def published(self) -> Published:
        """Statistics of DukeMTMC-VideoReID."""
        return _PUBLISHED
