"""A trained network as an ONNX file that has been checked."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_reid.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from lightning_reid.errors import InputError, MissingPackageError
from lightning_reid.local_paths import local_path
from lightning_reid.models.trained import TrainedModel
from lightning_reid.whole_files import write_output

INPUT, OUTPUT = "images", "embeddings"

# the first whose torch.onnx.export takes what torch.export traced unless told otherwise; the one
# before it follows a single call, which does for these networks too
_TRACING_SINCE = (2, 9)
_OPSET = 18
_BATCHES = (1, 2, 3, 8)
_TOLERANCE = 1e-4  # of unit rows; seen: 2e-7 on a CPU
_SEED = 0


@dataclass(frozen=True)
class Exported:
    """An ONNX file.

    Args:
        file: where it is.
        differences: for each size of batch that was tried, the largest difference between a value
            of an embedding in onnxruntime and in torch, both on the CPU.

    Example:
        >>> from pathlib import Path
        >>> exported = Exported(Path("model.onnx"), differences={1: 1e-7, 8: 2e-7})
        >>> max(exported.differences.values())
        2e-07
    """

    file: Path
    differences: dict[int, float]


class RawImageNetwork(nn.Module):
    """A network that takes images as they are decoded, ``(B, H, W, 3)`` uint8 RGB.

    Args:
        model: what embeds them; H and W are its size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.network = model.network
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map images to ``(B, D)`` unit rows."""
        values = images.permute(0, 3, 1, 2).to(torch.float32) / 255
        embeddings: Tensor = self.network((values - self.mean) / self.std)
        return embeddings


def export_onnx(model: TrainedModel, file: str | Path) -> Exported:
    """Write a network as an ONNX file, if it does the same there.

    The file takes ``images``, ``(B, H, W, 3)`` uint8 RGB of the model's size, any number of them,
    normalises them, and gives ``embeddings``, ``(B, D)`` float32 unit rows. Resizing is left to
    whoever reads the image: with Pillow ``ImageOps.exif_transpose(image).convert("RGB")`` and then
    ``.resize((W, H), Image.BICUBIC)`` are what training did. The file's metadata tells size and
    fingerprint of the model.

    Args:
        model: on the CPU.
        file: where to.

    Returns:
        Where it is, and how far onnxruntime and torch were apart.

    Raises:
        InputError: if onnxruntime computes other embeddings than torch, the network cannot be
            exported, or the file cannot be written; nothing is left then, and what was there before
            is untouched.
        MissingPackageError: if onnx, onnxruntime or onnxscript is not installed.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from lightning_reid.models import EmbeddingNetwork
        >>> from lightning_reid.search import TrainedModel
        >>> network = EmbeddingNetwork(torch.nn.Conv2d(3, 8, 5), weights=None).eval()
        >>> model = TrainedModel(network, size=(64, 32), source=Path("mine"), settings={})
        >>> with TemporaryDirectory() as folder:
        ...     exported = export_onnx(model, f"{folder}/model.onnx")
        >>> exported.file.name, max(exported.differences.values()) < 1e-4
        ('model.onnx', True)
    """
    require_onnx()
    file = local_path(file).resolve()
    network = RawImageNetwork(model).eval().cpu()
    content = _described(_exported(network, model), model)
    try:
        differences = compare(content, network, model.size)
    except Exception as error:  # onnxruntime has no error of its own that all of its are
        raise _cannot_be_exported(model, error) from error
    if not all(value <= _TOLERANCE for value in differences.values()):  # nor if one is no number
        told = ", ".join(f"{size}: {value:.2g}" for size, value in differences.items())
        raise InputError(
            f"not written: {file}; onnxruntime computes other embeddings than torch (largest "
            f"difference by size of the batch: {told}; allowed {_TOLERANCE:g}); try another "
            "version of onnxruntime or torch"
        )
    write_output(file, content)
    return Exported(file, differences)


def require_onnx() -> None:
    """Raise a MissingPackageError if a package that exporting needs is not installed."""
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f'exporting needs {" and ".join(missing)}: pip install "lightning-reid[onnx]"'
        )


def compare(content: bytes, network: nn.Module, size: tuple[int, int]) -> dict[int, float]:
    """Largest difference between onnxruntime and torch, by size of the batch.

    Args:
        content: of an ONNX file.
        network: what it was made from.
        size: height and width of images.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(_SEED)
    differences = {}
    for count in _BATCHES:
        images = _random_images(count, size, generator)
        with torch.no_grad():
            expected = network(images)
        (given,) = session.run([OUTPUT], {INPUT: images.numpy()})
        same_shape = given.shape == tuple(expected.shape)
        difference = (torch.from_numpy(given) - expected).abs().max() if same_shape else torch.inf
        differences[count] = float(difference)
    return differences


def _random_images(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Noise around a colour, each of another strength: ``(count, *size, 3)`` uint8."""
    colour, strength = torch.rand(2, count, 1, 1, 3, generator=generator) * 255
    noise = torch.rand(count, *size, 3, generator=generator) - 0.5
    images: Tensor = (colour + strength * noise).clamp(0, 255).to(torch.uint8)
    return images


def _exported(network: nn.Module, model: TrainedModel) -> bytes:
    images = torch.zeros(2, *model.size, 3, dtype=torch.uint8)
    names: dict[str, Any] = {
        "input_names": [INPUT],
        "output_names": [OUTPUT],
        "opset_version": _OPSET,
    }
    try:
        with torch.no_grad(), _quiet(), _plain_attention():
            network(images)  # what is computed once must not be computed by the tracer
            if _torch_version() < _TRACING_SINCE:
                return _followed(network, images, names)
            program: Any = torch.onnx.export(
                network,
                (images,),
                dynamo=True,
                dynamic_shapes={INPUT: {0: torch.export.Dim("batch", min=1)}},
                verbose=False,
                **names,
            )
            content: bytes = program.model_proto.SerializeToString()
            return content
    except Exception as error:  # the exporter meets whatever a network of somebody else does
        raise _cannot_be_exported(model, error) from error


def _cannot_be_exported(model: TrainedModel, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [""])[0]
    return InputError(
        f"{model.source} cannot be exported as ONNX: {type(error).__name__}: {reason}"
    )


def _followed(network: nn.Module, images: Tensor, names: dict[str, Any]) -> bytes:
    """With the exporter that follows a single call."""
    stream: Any = io.BytesIO()
    names |= {"dynamic_axes": {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}}
    torch.onnx.export(network, (images,), stream, dynamo=False, **names)
    content: bytes = stream.getvalue()
    return content


def _described(content: bytes, model: TrainedModel) -> bytes:
    """With what the file was made from in its metadata."""
    import onnx

    made = onnx.load_from_string(content)
    height, width = model.size
    onnx.helper.set_model_props(
        made,
        {
            "height": str(height),
            "width": str(width),
            "fingerprint": model.fingerprint,
            "settings": json.dumps({**model.settings}, default=str),
        },
    )
    described: bytes = made.SerializeToString()
    return described


def _torch_version() -> tuple[int, ...]:
    return tuple(map(int, torch.__version__.split(".")[:2]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings are about the inside of the exporters; what counts is compared afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without the fused layer of transformers, which ONNX does not have."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
