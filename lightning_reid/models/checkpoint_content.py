"""Content of this library's checkpoints, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from packaging.version import InvalidVersion, Version

from lightning_reid.errors import InputError, require_size
from lightning_reid.models.checkpoint_limits import require_tree
from lightning_reid.models.tensor_names import unwrapped_name
from lightning_reid.run_folder import CONFIG, run_of
from lightning_reid.settings_files import read_settings

_OWN = "lightning_reid"
_NETWORK = "network."  # before the names of the network's tensors
_MOST_STEPS = 2**53  # a float holds every whole number up to it

# parts of a checkpoint and their types; a checkpoint without the training state lacks some
_NEEDED = {"state_dict": Mapping, "pytorch-lightning_version": str}
_OPTIONAL = {
    "loops": Mapping,
    "callbacks": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
    "hyper_parameters": Mapping,
}


def method_of(checkpoint: Any, name: str) -> str:
    """Return the name of the method that wrote a checkpoint, whose parts have the right types.

    Args:
        checkpoint: What `read_checkpoint` returned.
        name: What to call the checkpoint in messages.

    Raises:
        InputError: The checkpoint was not written by this library, or is damaged.
    """
    saved = checkpoint.get(_OWN) if isinstance(checkpoint, Mapping) else None
    method = saved.get("method") if isinstance(saved, Mapping) else None
    if not isinstance(method, str):
        raise InputError(
            f"{name} was not written by a run of lightning_reid: give the checkpoints/last.ckpt of "
            "one, or start from its weights with --model.weights=<file>"
        )
    _require_parts(checkpoint, name)
    require_tree(checkpoint, name)
    return method


def _require_parts(checkpoint: Mapping[str, Any], name: str) -> None:
    """Raise an InputError unless the parts of a checkpoint have the types that they are read as."""
    for part, kind in {**_NEEDED, **_OPTIONAL}.items():
        if part not in checkpoint and part in _NEEDED:
            raise InputError(f"{name} is damaged: it has no {part}")
        if part in checkpoint and not isinstance(checkpoint[part], kind):
            found = type(checkpoint[part]).__name__
            raise InputError(f"{name} is damaged: its {part} is a {found}")
    for part in ("epoch", "global_step"):
        value = checkpoint.get(part)
        if type(value) is not int or not 0 <= value <= _MOST_STEPS:
            raise InputError(f"{name} is damaged: its {part} is no number of steps")
    try:
        Version(checkpoint["pytorch-lightning_version"][:100])
    except InvalidVersion as error:
        raise InputError(f"{name} is damaged: its pytorch-lightning_version is none") from error


def hyper_parameters_of(
    checkpoint: Mapping[str, Any], name: str, without: Collection[str] = ()
) -> dict[str, Any]:
    """Return the arguments that a checkpoint's method was made with.

    They are plain values, and settings of this library's own classes. A class that a file names is
    never imported or instantiated: whoever wrote the file would choose which code runs.

    Args:
        checkpoint: What `read_checkpoint` returned.
        name: What to call the checkpoint in messages.
        without: Arguments that are left out, as they are given otherwise.

    Raises:
        InputError: They are not a dictionary, or one of them names a class of another package.
    """
    found = checkpoint.get("hyper_parameters", {})
    if not all(isinstance(key, str) for key in found):
        raise InputError(f"{name} is damaged: its hyper_parameters are not a dictionary of names")
    # Lightning adds names with an underscore, for a way to make the method that is not used here
    settings = {key: v for key, v in found.items() if key[0:1] != "_" and key not in without}
    for key, value in settings.items():
        if (path := _foreign_class(value, depth=0)) is not None:
            raise InputError(
                f"{name} was trained with {key}={path}, a class that is not of this library, and a "
                f"checkpoint does not decide which code runs: pass it yourself, as in "
                f"load_from_checkpoint(file, {key}=...)"
            )
    return settings


def network_weights(checkpoint: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the tensors of the network in a checkpoint, under the network's names.

    Args:
        checkpoint: What `read_checkpoint` returned.
        name: What to call the checkpoint in messages.

    Raises:
        InputError: It holds no dictionary of named tensors.
    """
    weights = checkpoint.get("state_dict")
    if not isinstance(weights, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    ):
        raise InputError(f"{name} is damaged: its state_dict is not a dictionary of named tensors")
    plain = {unwrapped_name(key): value for key, value in weights.items()}
    return {
        key.removeprefix(_NETWORK): value
        for key, value in plain.items()
        if key.startswith(_NETWORK)
    }


def run_image_size(file: Path) -> tuple[int, int]:
    """Return the height and width of images, in pixels, in the settings of a checkpoint's run.

    Raises:
        InputError: They are not there.
    """
    config = run_of(file) / CONFIG
    try:
        settings = read_settings(config)
        height, width = settings["data"]["init_args"]["size"]
        require_size((height, width))
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{config} does not tell the size of images ({error}): say with --size what the model "
            'was trained with, such as --size "[256,128]"'
        ) from error
    return height, width


_DEEPEST = 20  # levels of lists and dictionaries in an argument


def _foreign_class(value: Any, depth: int) -> str | None:
    """Return the path of a class of another package that a value names, if there is one."""
    if depth > _DEEPEST:
        return "a value of endless depth"
    if isinstance(value, Mapping):
        path = value.get("class_path")
        if path is not None and not str(path).startswith(f"{_OWN}."):
            return str(path)
        value = value.values()
    elif not isinstance(value, list | tuple):
        return None
    found = (_foreign_class(each, depth + 1) for each in value)
    return next((path for path in found if path is not None), None)
