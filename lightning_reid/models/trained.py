"""The network of a checkpoint, and what has to be done to an image before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from lightning_reid.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from lightning_reid.errors import InputError, require_size
from lightning_reid.models.checkpoint_content import network_weights, run_image_size
from lightning_reid.models.checkpoint_files import read_checkpoint
from lightning_reid.models.embedding import EmbeddingNetwork
from lightning_reid.run_folder import find_checkpoint

# of what a checkpoint tells of its model, what decides about embeddings
_SETTINGS = ("backbone", "pooling", "last_stride", "neck", "samples_per_bn_group")


@dataclass(frozen=True)
class TrainedModel:
    """A network that embeds images; needs no data set.

    Args:
        network: in evaluation mode, float32, on the CPU.
        size: height and width in pixels that images are resized to.
        source: the checkpoint, for messages.
        settings: of the network, as the checkpoint tells them.

    Example:
        >>> from pathlib import Path
        >>> from lightning_reid.models import EmbeddingNetwork
        >>> network = EmbeddingNetwork(torch.nn.Conv2d(3, 8, 5), weights=None).eval()
        >>> model = TrainedModel(network, size=(64, 32), source=Path("mine"), settings={})
        >>> model.network.embedding_dim, len(model.fingerprint)
        (8, 32)
    """

    network: EmbeddingNetwork
    size: tuple[int, int]
    source: Path
    settings: Mapping[str, Any]

    @classmethod
    def load(cls, checkpoint: str | Path, size: tuple[int, int] | None = None) -> TrainedModel:
        """Read a checkpoint of any method; nothing in it is executed, no data is looked for.

        Args:
            checkpoint: a file, or the folder of a run.
            size: height and width that the model was trained with; None: as in the ``config.yaml``
                of the run.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            InputError: if it is no checkpoint of this library, or the size is not told, or is none.
        """
        if size is not None:
            require_size(size)
        file = find_checkpoint(checkpoint)
        content = read_checkpoint(file)
        if not (isinstance(content, Mapping) and "lightning_reid" in content):
            raise InputError(
                f"{file} was not written by a run of lightning_reid; give its checkpoints/last.ckpt"
            )
        told = content.get("hyper_parameters")
        told = told if isinstance(told, Mapping) else {}
        if not isinstance(told.get("backbone"), str):
            raise InputError(
                f"{file} does not tell its backbone, which was given as a module rather than by "
                "name: in Python, make a TrainedModel of the network itself"
            )
        settings = {name: told[name] for name in _SETTINGS if name in told}
        try:
            network = EmbeddingNetwork(weights=None, **settings)
        except (TypeError, ValueError) as error:
            raise InputError(f"the settings in {file} do not make a network: {error}") from error
        _fill(network, network_weights(content, str(file)), file)
        return cls(network.eval(), size or run_image_size(file), file, settings)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for two models whose embeddings of an image are equal: of weights and settings."""
        seen = blake2b(digest_size=16)
        preprocessing = ("bicubic, antialiased", self.size, IMAGENET_MEAN, IMAGENET_STD)
        seen.update(repr((preprocessing, sorted(self.settings.items()))).encode())
        for name, tensor in self.network.state_dict().items():
            seen.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            seen.update(tensor.cpu().contiguous().numpy().tobytes())
        return seen.hexdigest()


def _fill(network: EmbeddingNetwork, weights: dict[str, Any], file: Path) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the weights in {file} do not fit the network that it tells of: "
            + shorten(str(error), 300)
        ) from error
    network.to(torch.float32)
