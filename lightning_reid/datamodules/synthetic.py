"""Drawn people: the data set that is always at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_reid.data.synthetic import draw_synthetic_persons
from lightning_reid.datamodules.market1501 import Market1501
from lightning_reid.errors import require

_MOST_IDENTITIES = 9_999  # their names have four digits


class SyntheticPersons(Market1501):
    """Pictures of people in several cameras, drawn from a seed into a Market-1501 layout, once.

    A person is clothing, hair, build and bag; an image adds pose, viewpoint, crop and occlusion; a
    camera has its own colours, exposure, blur and background, which matter more to raw pixels than
    the person does. For demonstrations and tests, not for claims about real cameras.

    Args:
        root: folder to draw into; drawn again only if missing.
        num_train_identities: people to train on.
        num_test_identities: other people to test on.
        num_cameras: cameras; each person is seen by two at least, and by most of them.
        images_per_camera: images of a person in a camera, one more or less; two at least.
        num_distractors: gallery images of people that no query shows.
        drawing_seed: of the pictures.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.

    Raises:
        InputError: if a number is out of its range, such as fewer than two cameras or more than
            9,999 identities; in ``prepare_data``, if ``root`` holds anything but pictures that were
            drawn with these settings.

    Example:
        >>> data = SyntheticPersons("people", num_cameras=3, num_distractors=0)
        >>> data.has_test, data.camera_names  # nothing is drawn before prepare_data()
        (True, [])
    """

    def __init__(
        self,
        root: str | Path = "data/synthetic_persons",
        num_train_identities: int = 100,
        num_test_identities: int = 50,
        num_cameras: int = 5,
        images_per_camera: int = 5,
        num_distractors: int = 60,
        drawing_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        require("num_train_identities", num_train_identities, 0, _MOST_IDENTITIES)
        most_to_test = _MOST_IDENTITIES - num_train_identities
        require("num_test_identities", num_test_identities, 0, most_to_test)
        require("num_cameras", num_cameras, 2)
        require("images_per_camera", images_per_camera, 1)
        require("num_distractors", num_distractors, 0)
        require("drawing_seed", drawing_seed, 0)
        super().__init__(root, **kwargs)
        self.num_train_identities = num_train_identities
        self.num_test_identities = num_test_identities
        self.num_cameras = num_cameras
        self.images_per_camera = images_per_camera
        self.num_distractors = num_distractors
        self.drawing_seed = drawing_seed

    def prepare_data(self) -> None:
        """Draw the pictures if they are not there yet."""
        draw_synthetic_persons(
            self.root,
            num_train_identities=self.num_train_identities,
            num_test_identities=self.num_test_identities,
            num_cameras=self.num_cameras,
            images_per_camera=self.images_per_camera,
            num_distractors=self.num_distractors,
            seed=self.drawing_seed,
        )

    @property
    def has_test(self) -> bool:
        """Always: test people are drawn too."""
        return True
