"""CUHK03, in the new protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lightning_reid.datamodules.market1501 import Market1501
from lightning_reid.datamodules.published import Counts, Published, from_c1
from lightning_reid.errors import require_one_of

_CAMERAS = from_c1(None, None)
_QUERY = Counts(images=1_400, identities=700, cameras=_CAMERAS)
_PUBLISHED = {
    "detected": Published(
        "CUHK03 (new protocol, detected)",
        {
            "train": Counts(images=7_365, identities=767, cameras=_CAMERAS),
            "query": _QUERY,
            "gallery": Counts(images=5_332, identities=700, cameras=_CAMERAS),
        },
    ),
    "labeled": Published(
        "CUHK03 (new protocol, labeled)",
        {
            "train": Counts(images=7_368, identities=767, cameras=_CAMERAS),
            "query": _QUERY,
            "gallery": Counts(images=5_328, identities=700, cameras=_CAMERAS),
        },
    ),
}


class CUHK03(Market1501):
    """CUHK03 (Li et al., CVPR 2014), as divided by Zhong et al. (CVPR 2017): 1,467 people.

    ``root`` is ``cuhk03-np``: it holds ``detected`` and ``labeled``, each laid out as Market-1501,
    the images named as ``0001_c1_1.png``. The 2 cameras of the names are the two sides of five
    pairs of cameras. The published set has 767 training and 700 test people: 7,365 training, 1,400
    query and 5,332 gallery images (detected) or 7,368, 1,400 and 5,328 (labeled). ``cuhk-03.mat``,
    the form in which the images were first given out, and its twenty older divisions are not read.

    The new protocol is evaluated as Market-1501 is. A gallery with a single image of each identity
    belongs to the older divisions: ``--model.evaluation.protocol cuhk03``.

    It is never downloaded: the images are asked for at the Chinese University of Hong Kong
    (www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html), the new protocol is described at
    github.com/zhunzhong07/person-re-ranking; published for research, further terms are not known
    here.

    Args:
        root: folder of the data set.
        boxes: ``"detected"``: images as a detector cut them out; ``"labeled"``: as people did.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.

    Raises:
        InputError: if ``boxes`` is neither.

    Example:
        >>> data = CUHK03("path/to/cuhk03-np", boxes="labeled")
        >>> data.root.name, data.published.splits["train"].images
        ('labeled', 7368)
    """

    def __init__(
        self,
        root: str | Path,
        boxes: Literal["detected", "labeled"] = "detected",
        **kwargs: Any,
    ) -> None:
        require_one_of("boxes", boxes, ("detected", "labeled"))
        super().__init__(Path(root) / boxes, **kwargs)
        self.boxes = boxes

    @property
    def published(self) -> Published:
        """Statistics of CUHK03 with these boxes."""
        return _PUBLISHED[self.boxes]
