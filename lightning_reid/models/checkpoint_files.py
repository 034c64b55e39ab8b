"""Read the tensors of a checkpoint file without executing anything in it."""

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_reid.errors import InputError, MissingPackageError
from lightning_reid.local_paths import local_path

_SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors")


def is_checkpoint_path(weights: str | Path) -> bool:
    """Whether `weights` means a file (by its ending, or because there is one) and not a name."""
    path = local_path(weights)
    return isinstance(weights, Path) or path.suffix in _SUFFIXES or path.is_file()


def read_checkpoint(path: Path) -> Any:
    """Read a checkpoint onto the CPU; code inside it is never executed.

    Args:
        path: A file written by `torch.save`, or a safetensors file (needs that package).

    Raises:
        FileNotFoundError: There is no such file.
        MissingPackageError: A safetensors file, and the package is not installed.
        InputError: Not a checkpoint, or one with objects other than tensors and plain containers;
            the message says how to convert it.
    """
    path = local_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights file not found: {path}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if blocked := _blocked_object(str(error)):
            raise InputError(_conversion_advice(path, blocked)) from error
        raise InputError(f"{path} is not a checkpoint written by torch.save") from error
    except Exception as error:  # a damaged file can fail anywhere in the reader
        raise InputError(
            f"{path} is not a checkpoint written by torch.save ({type(error).__name__}: {error})"
        ) from error


def find_state_dicts(checkpoint: object) -> Iterator[dict[str, Tensor]]:
    """Find every dictionary of named tensors in a checkpoint, however it is wrapped.

    Args:
        checkpoint: What `read_checkpoint` returned: a state dict, or dictionaries around one or
            several ("state_dict", "model", "net", "teacher", ...).

    Yields:
        The outermost first. Of self-distillation's two networks the student comes last, as it is
        the teacher that is meant to be used.
    """
    if not isinstance(checkpoint, Mapping):
        return
    named = {key: value for key, value in checkpoint.items() if isinstance(key, str)}
    tensors = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    if tensors:
        yield tensors
    for key in sorted(named, key=lambda key: key == "student"):
        yield from find_state_dicts(named[key])


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingPackageError(
            f"reading {path} needs safetensors: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file ({error})") from error


def _blocked_object(message: str) -> str | None:
    """The object that weights-only loading refused; None if it failed for another reason."""
    refused = re.search(
        r"GLOBAL (\S+)|[Uu]nsupported (?:class|global)[: ]+(?!GLOBAL )(\S+)", message
    )
    if refused:
        return refused.group(1) or refused.group(2)
    return "an object of unknown type" if "unrecognized function" in message else None


def _conversion_advice(path: Path, blocked: str) -> str:
    converted = path.with_name(f"{path.stem}-tensors.pth")
    return (
        f"{path} holds more than tensors ({blocked}), and loading that could execute code, so it "
        "was not loaded. If you trust where the file came from, convert it once:\n"
        "  import torch\n"
        f"  checkpoint = torch.load({str(path)!r}, map_location='cpu', weights_only=False)\n"
        "  weights = checkpoint.get('state_dict', checkpoint.get('model', checkpoint))\n"
        f"  torch.save({{k: v for k, v in weights.items() if torch.is_tensor(v)}}, "
        f"{str(converted)!r})\n"
        f"and pass {converted}"
    )
