"""Embeddings of image files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from lightning_reid.clustering.progress import shown
from lightning_reid.data import ImageDataset, OnError, test_transform
from lightning_reid.data.images import MAX_PIXELS
from lightning_reid.data.samples import Integers
from lightning_reid.data.workers import workers_for
from lightning_reid.errors import InputError, require, require_one_of
from lightning_reid.lightning import rank_zero_warn
from lightning_reid.messages import left_out
from lightning_reid.models.trained import TrainedModel
from lightning_reid.search.query import Picture, pixels_of

Vectors: TypeAlias = npt.NDArray[np.float32]


class Embedded(NamedTuple):
    """Some images.

    Attributes:
        places: ``(B,)`` which of the images that were asked for.
        vectors: ``(B, D)`` unit rows.
    """

    places: Integers
    vectors: Vectors


class Embedder:
    """Embeds image files as ``test`` and ``predict`` do, in float32.

    Args:
        model: what embeds them.
        device: such as ``"cpu"``; None: the GPU, where there is one.
        batch_size: images at a time; changes speed, not results.
        num_workers: processes that load images; None: as many as there are cores, at most 16, and
            fewer for few images.
        on_error: ``"stop"`` raises an error for an image that cannot be read; ``"skip"`` leaves it
            out and warns.
        max_pixels: Largest height times width of an image file; a larger one counts as unreadable.

    Raises:
        InputError: if a number is out of its range or the device cannot be used.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> from lightning_reid.models import EmbeddingNetwork
        >>> network = EmbeddingNetwork(torch.nn.Conv2d(3, 8, 5), weights=None).eval()
        >>> embedder = Embedder(TrainedModel(network, (64, 32), Path("mine"), {}), device="cpu")
        >>> with TemporaryDirectory() as folder:
        ...     Image.effect_noise((32, 64), 9).save(f"{folder}/1.png")
        ...     print(embedder.all([f"{folder}/1.png"]).vectors.shape)
        (1, 8)
    """

    def __init__(
        self,
        model: TrainedModel,
        device: str | None = None,
        batch_size: int = 128,
        num_workers: int | None = None,
        on_error: OnError = "stop",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        require("batch_size", batch_size, 1)
        if num_workers is not None:
            require("num_workers", num_workers, 0)
        require_one_of("on_error", on_error, ("stop", "skip"))
        require("max_pixels", max_pixels, 1)
        self.model = model
        self.device = _device(device)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.on_error = on_error
        self.max_pixels = max_pixels
        self._network = model.network.to(self.device).eval()

    @property
    def dimensions(self) -> int:
        """Length of the embeddings."""
        return int(self._network.embedding_dim)

    def batches(self, paths: Sequence[str]) -> Iterator[Embedded]:
        """Embeddings of N image files, some at a time, in their order.

        Raises:
            UnreadableImageError: naming the first image that cannot be read, with ``on_error``
                ``"stop"``.
            InputError: if an embedding is no number.
        """
        unreadable: list[str] = []
        loader: Any = self._loader(paths)  # needs no more of a sequence than a length
        for batch in shown(loader, "Embedding images"):
            places, images = batch["index"], batch["image"]
            if self.on_error == "skip":
                readable = batch["readable"]
                unreadable += [paths[i] for i in places[~readable].tolist()]
                places, images = places[readable], images[readable]
            if len(places):
                yield Embedded(places.numpy(), self._embed(images, paths, places.tolist()))
        if unreadable:
            rank_zero_warn(left_out(unreadable))

    def all(self, paths: Sequence[str]) -> Embedded:
        """Embeddings of those of N image files that can be read; raises as :meth:`batches`."""
        batches = list(self.batches(paths))
        return Embedded(
            np.concatenate([np.empty(0, dtype=np.int64), *(b.places for b in batches)]),
            np.concatenate(
                [np.empty((0, self.dimensions), dtype=np.float32), *(b.vectors for b in batches)]
            ),
        )

    def pictures(self, pictures: Sequence[Picture], names: Sequence[str]) -> Vectors:
        """Embeddings ``(B, D)`` of images in memory, as if they were read from files.

        Args:
            pictures: B PIL images or ``(H, W, 3)`` uint8 arrays in RGB.
            names: of each; for messages.

        Raises:
            InputError: if one is no such image, or an embedding is no number.
        """
        transform = test_transform(self.model.size)
        embedded = [np.empty((0, self.dimensions), dtype=np.float32)]
        for start in range(0, len(pictures), self.batch_size):
            places = list(range(len(pictures)))[start : start + self.batch_size]
            images = torch.stack([transform(pixels_of(pictures[i])) for i in places])
            embedded.append(self._embed(images, names, places))
        return np.concatenate(embedded)

    @torch.inference_mode()
    def _embed(self, images: torch.Tensor, paths: Sequence[str], places: list[int]) -> Vectors:
        vectors = self._network(images.to(self.device, non_blocking=True)).float().cpu()
        wrong = (~vectors.isfinite().all(1)).nonzero()[:, 0].tolist()
        if wrong:
            raise InputError(
                f"the embedding of {paths[places[wrong[0]]]} is no number: {self.model.source} "
                "holds a model that has diverged"
            )
        embedded: Vectors = vectors.numpy()
        return embedded

    def _loader(self, paths: Sequence[str]) -> DataLoader[dict[str, Any]]:
        workers = workers_for(len(paths)) if self.num_workers is None else self.num_workers
        nowhere = torch.zeros(len(paths), dtype=torch.int64)  # the network does not see cameras
        transform = test_transform(self.model.size)
        settings: dict[str, Any] = {"on_error": self.on_error, "max_pixels": self.max_pixels}
        return DataLoader(
            ImageDataset(paths, nowhere, transform, **settings),
            batch_size=self.batch_size,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
        )


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        told = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used: {told}; leave it out") from error
