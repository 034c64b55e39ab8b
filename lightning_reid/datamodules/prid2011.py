"""PRID 2011: two cameras that share 200 people."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lightning_reid.data import Sample, parse_prid2011_multi, parse_prid2011_single
from lightning_reid.data.halves import random_half
from lightning_reid.data.prid2011 import CAMERAS, SHARED
from lightning_reid.datamodules.base import ReIDDataModule, Split
from lightning_reid.datamodules.published import Counts, Published
from lightning_reid.errors import require, require_one_of

_NAME = "PRID 2011"
_SINGLE = Published(
    _NAME,
    {
        "train": Counts(200, 100, dict.fromkeys(CAMERAS, (100, 100))),
        "query": Counts(100, 100, {"cam_a": None}),
        "gallery": Counts(649, 649, {"cam_b": None}),
    },
)
_MULTI = Published(
    _NAME,
    {
        "train": Counts(identities=100, cameras=dict.fromkeys(CAMERAS), tracklets=200),
        "query": Counts(identities=100, cameras={"cam_a": None}, tracklets=100),
        "gallery": Counts(identities=649, cameras={"cam_b": None}, tracklets=649),
    },
)


class PRID2011(ReIDDataModule):
    """PRID 2011 (Hirzer et al., SCIA 2011): 385 people in one camera, 749 in another, 200 in both.

    ``root`` holds ``single_shot`` (one image of each person and camera, such as
    ``cam_a/person_0001.png``) and ``multi_shot`` (a tracklet, such as
    ``cam_a/person_0001/0001.png``). Half of the 200 people in both cameras are for training. The
    other half in ``cam_a`` are the queries; in ``cam_b``, with the 549 people seen by it alone,
    they are the gallery. The people seen by ``cam_a`` alone are not used.

    Images are compared one by one, also those of tracklets. Published numbers on the tracklets pool
    over them, mostly with the people of long tracklets only: **image-level results are not
    comparable with them**.

    It is never downloaded: it is on the page of Graz University of Technology
    (www.tugraz.at/index.php?id=17766); published for research, further terms are not known here.

    Args:
        root: folder of the data set.
        shots: ``"single"`` for ``single_shot``, ``"multi"`` for ``multi_shot``.
        split: which random division of the 200 people, 0 to 9. They are drawn here, and are not
            those of any paper.
        frames_per_tracklet: evenly spaced images of each tracklet of ``multi_shot``, in training
            and test; 1 is the middle one. None: all.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.

    Raises:
        InputError: if ``shots`` is neither, ``split`` is not from 0 to 9, or
            ``frames_per_tracklet`` is below 1.

    Example:
        >>> data = PRID2011("path/to/prid_2011", shots="multi", frames_per_tracklet=4)
        >>> data.published.splits["query"].tracklets, data.published.splits["gallery"].tracklets
        (100, 649)
        >>> PRID2011("path/to/prid_2011", split=10)
        Traceback (most recent call last):
            ...
        lightning_reid.errors.InputError: split must be from 0 to 9, not 10
    """

    def __init__(
        self,
        root: str | Path,
        shots: Literal["single", "multi"] = "single",
        split: int = 0,
        frames_per_tracklet: int | None = 1,
        **kwargs: Any,
    ) -> None:
        require_one_of("shots", shots, ("single", "multi"))
        require("split", split, 0, 9)
        if frames_per_tracklet is not None:
            require("frames_per_tracklet", frames_per_tracklet, 1)
        super().__init__(root, **kwargs)
        self.shots = shots
        self.split = split
        self.frames_per_tracklet = frames_per_tracklet

    def samples(self, split: Split) -> list[Sample]:
        """The images of one split; see :func:`~lightning_reid.data.parse_prid2011_single`."""
        if self.shots == "single":
            images = parse_prid2011_single(self.root / "single_shot")
        else:
            images = parse_prid2011_multi(self.root / "multi_shot", self.frames_per_tracklet)
        trained = random_half(range(1, SHARED + 1), self.split)
        if split == "train":
            return [s for s in images if s.identity in trained]
        tested = [s for s in images if s.identity not in trained]
        if split == "gallery":
            return [s for s in tested if s.camera == "cam_b"]
        shared = range(1, SHARED + 1)
        return [s for s in tested if s.camera == "cam_a" and s.identity in shared]

    @property
    def published(self) -> Published:
        """Statistics of PRID 2011, divided in halves; images only of ``single_shot``."""
        return _SINGLE if self.shots == "single" else _MULTI
