"""PersonX: drawn people, in its release with six cameras."""

from __future__ import annotations

from lightning_reid.datamodules.market1501 import Market1501
from lightning_reid.datamodules.published import Counts, Published

_CAMERAS = dict.fromkeys(("c3", "c4", "c8", "c10", "c11", "c12"))
_PUBLISHED = Published(
    "PersonX",
    {
        "train": Counts(images=9_840, identities=410, cameras=_CAMERAS),
        "query": Counts(images=5_136, identities=856, cameras=_CAMERAS),
        "gallery": Counts(images=30_816, identities=856, cameras=_CAMERAS),
    },
)


class PersonX(Market1501):
    """PersonX (Sun & Zheng, CVPR 2019): 1,266 people made with a game engine, 6 cameras.

    ``root`` is laid out as Market-1501, the images named ``<identity>_c<camera>...``. The release
    that the literature on learning without labels uses, its authors' "more challenging subset", has
    9,840 training images of 410 people, 5,136 query and 30,816 gallery images of 856 others; its
    cameras are numbered 3, 4, 8, 10, 11 and 12. The older ``PersonX_v1`` is divided by background
    into six such folders, which load one by one, with other counts.

    It is never downloaded: github.com/sxzrt/Instructions-of-the-PersonX-dataset says how to get it.
    Nobody on it is real; no licence is known here beyond the authors' wish to be cited. Arguments:
    see :class:`~lightning_reid.ReIDDataModule`.

    Example:
        >>> list(PersonX("path/to/personx").published.splits["train"].cameras)
        ['c3', 'c4', 'c8', 'c10', 'c11', 'c12']
    """

    @property
    def published(self) -> Published:
        """Statistics of PersonX in its release with six cameras."""
        return _PUBLISHED
