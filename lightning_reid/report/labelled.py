"""The pictures of a labelling, each drawn when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from lightning_reid.clustering import camera_normalize
from lightning_reid.report.embedding_map import (
    Floats,
    Integers,
    draw_map_by_camera,
    draw_map_by_cluster,
    embedding_map,
)
from lightning_reid.report.figures import as_image
from lightning_reid.report.lettering import writable
from lightning_reid.report.montage import choose_clusters, draw_montage


@dataclass(frozen=True)
class Labelled:
    """Pseudo labels of the training images, and the embeddings of some. No identities.

    Args:
        labels: ``(N,)``, -1 for outliers.
        sample: ``(n,)`` positions of the images with embeddings.
        features: ``(n, D)`` unit rows.
        sample_cameras: ``(n,)``.
        camera_names: by camera number.
        cameras: ``(N,)``; None: not known of all.
        paths: N image files; None: there are none to show.
    """

    labels: Integers
    sample: Integers
    features: Floats
    sample_cameras: Integers
    camera_names: Sequence[str]
    cameras: Integers | None = None
    paths: Sequence[str] | None = None

    @cached_property
    def points(self) -> Floats:
        """Where the sample lies in the plane."""
        return embedding_map(self.features)

    def clusters(self) -> Image.Image | None:
        """Some clusters.

        Loose ones are found by camera-normalised embeddings: otherwise it would be those of most
        cameras.
        """
        if self.paths is None or self.cameras is None:
            return None
        features = np.asarray(camera_normalize(self.features, self.sample_cameras))
        chosen = choose_clusters(self.labels, self.cameras, self.sample, features)
        if not chosen:
            return None
        return draw_montage(chosen, self.paths, self.cameras, writable(self.camera_names))

    def map_by_camera(self) -> Image.Image:
        """The plane by camera."""
        names = writable(self.camera_names)
        return as_image(draw_map_by_camera(self.points, self.sample_cameras, names))

    def map_by_cluster(self) -> Image.Image:
        """The plane by cluster."""
        return as_image(draw_map_by_cluster(self.points, self.labels[self.sample]))
