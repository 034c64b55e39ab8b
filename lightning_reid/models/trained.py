"""The network of a checkpoint, and what has to be done to an image before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from lightning_reid.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from lightning_reid.errors import InputError, reading, require_size
from lightning_reid.models.checkpoint_content import (
    method_of,
    network_weights,
    run_image_size,
)
from lightning_reid.models.checkpoint_files import read_checkpoint
from lightning_reid.models.embedding import EmbeddingNetwork
from lightning_reid.models.positions import adaptable_names
from lightning_reid.run_folder import find_checkpoint

# arguments of a method that decide about its embeddings
NETWORK_SETTINGS = ("backbone", "pooling", "last_stride", "neck", "samples_per_bn_group")


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
        method_of(content, str(file))  # refuses what no method has written
        told = content.get("hyper_parameters", {})
        if not isinstance(told.get("backbone"), str):
            raise InputError(
                f"{file} does not tell its backbone, which was given as a module rather than by "
                "name: in Python, make a TrainedModel of the network itself"
            )
        settings = {name: told[name] for name in NETWORK_SETTINGS if name in told}
        weights = network_weights(content, str(file))
        require_network(settings, weights, str(file))
        network = EmbeddingNetwork(weights=None, **settings)
        with reading(f"the weights in {file} do not fit the network that it tells of"):
            network.load_state_dict(weights)
        network.to(torch.float32)
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


def require_network(settings: Mapping[str, Any], weights: Mapping[str, Any], name: str) -> None:
    """Raise an InputError unless settings in a checkpoint describe the network in it.

    No memory is taken for the network: its size may be anything that the settings say.

    Args:
        settings: Arguments of `EmbeddingNetwork`, without ``weights``.
        weights: The tensors of the network, under its names.
        name: What to call the checkpoint in messages.
    """
    what = f"the settings in {name} do not make a network"
    with reading(what, user_errors=True), torch.device("meta"):
        network = EmbeddingNetwork(weights=None, **settings)
    adapted = adaptable_names(network)
    own = {k: v.shape for k, v in network.state_dict().items() if k not in adapted}
    theirs = {k: v.shape for k, v in weights.items() if k not in adapted}
    if own != theirs:
        first = next(key for key in [*own, *theirs] if own.get(key) != theirs.get(key))
        raise InputError(
            f"the weights in {name} do not fit the network that it tells of: {first} has the shape "
            f"{_shape(theirs.get(first))}, and not {_shape(own.get(first))}"
        )


def _shape(found: Any) -> Any:
    return "of nothing, as it is missing" if found is None else tuple(found)
