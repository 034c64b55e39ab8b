"""Make a method from its checkpoint, without trusting the file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import IO, TYPE_CHECKING, Any, TypeVar

import torch

from lightning_reid.errors import InputError, reading
from lightning_reid.models.checkpoint_content import (
    hyper_parameters_of,
    method_of,
    network_weights,
)
from lightning_reid.models.checkpoint_files import read_checkpoint
from lightning_reid.models.trained import NETWORK_SETTINGS, require_network
from lightning_reid.settings_files import read_settings

if TYPE_CHECKING:
    from lightning_reid.methods.base import ReIDModule

Method = TypeVar("Method", bound="ReIDModule")
Source = str | os.PathLike[str] | IO[bytes]


def load_method(
    base: type[Method],
    source: Source,
    arguments: Mapping[str, Any],
    map_location: Any = None,
    hparams_file: str | Path | None = None,
    strict: bool | None = None,
    weights_only: bool | None = None,
) -> Method:
    """Make the method that a checkpoint holds; see :meth:`ReIDModule.load_from_checkpoint`."""
    name = str(source) if isinstance(source, str | os.PathLike) else "the checkpoint"
    checkpoint = _read(source, map_location, weights_only)
    method = _class_of(base, method_of(checkpoint, name), name)
    if hparams_file is not None:
        content = read_settings(Path(hparams_file))
        checkpoint = {**checkpoint, "hyper_parameters": content}
        method_of(checkpoint, str(hparams_file))
    settings = hyper_parameters_of(checkpoint, name, without=arguments)
    if isinstance(settings.get("backbone"), str):
        own = {key: settings[key] for key in NETWORK_SETTINGS if key in settings}
        own |= {key: arguments[key] for key in NETWORK_SETTINGS if key in arguments}
        require_network(own, network_weights(checkpoint, name), name)
    # the checkpoint brings its own weights: no others are looked for
    settings = _accepted(method, {**settings, "weights": None}) | dict(arguments)
    with reading(
        f"{name} does not make a {method.__name__} (arguments of load_from_checkpoint replace "
        "those in the file)",
        user_errors=True,
    ):
        module = method(**settings)
    module.require_own(checkpoint, name)  # an error names the file
    weights = checkpoint["state_dict"]
    with reading(f"{name} is damaged"):
        module.configure_model()
        module.on_load_checkpoint(checkpoint)
    try:
        module.load_state_dict(weights, module.strict_loading if strict is None else strict)
    except RuntimeError as error:
        raise InputError(
            f"the weights in {name} do not fit {method.__name__}: {shorten(str(error), 300)}"
        ) from error
    device = next((v.device for v in weights.values() if isinstance(v, torch.Tensor)), "cpu")
    return module.to(device)


def _read(source: Source, map_location: Any, weights_only: bool | None) -> Any:
    if isinstance(source, str) and "://" in source:
        import fsspec  # type: ignore[import-untyped]  # Lightning needs it

        with fsspec.open(source, "rb") as file:
            return _read(file, map_location, weights_only)
    map_location = map_location or _if_available
    if weights_only is False:
        return torch.load(source, map_location=map_location, weights_only=False)
    return read_checkpoint(
        Path(source) if isinstance(source, str | os.PathLike) else source, map_location
    )


def _if_available(storage: Any, location: str) -> Any:
    """Put a tensor where it was saved, or on the CPU where there is no accelerator."""
    return None if location == "cpu" or torch.accelerator.is_available() else storage.cpu()


def _class_of(base: type[Method], written: str, name: str) -> type[Method]:
    """Return the class to make: ``base``, or its subclass in this library that has the name."""
    from lightning_reid.methods.base import ReIDModule

    if written == base.__name__ and not inspect.isabstract(base):
        return base
    if found := {kind.__name__: kind for kind in _own_methods(base)}.get(written):
        return found
    own = {kind.__name__ for kind in _own_methods(ReIDModule)}  # type: ignore[type-abstract]
    whose = "" if written in own else ", which is not a method of this library"
    raise InputError(
        f"{name} was written by {written}{whose}; {base.__name__} cannot load it: call "
        f"{written}.load_from_checkpoint, or start a {_model(base)} from its backbone with "
        "weights=<the file>"
    )


def _model(base: type[ReIDModule]) -> str:
    return "method" if inspect.isabstract(base) else base.__name__


def _own_methods(base: type[Method]) -> Iterator[type[Method]]:
    """Yield the concrete subclasses in this library, the class itself among them."""
    if base.__module__.startswith("lightning_reid.") and not inspect.isabstract(base):
        yield base
    for below in base.__subclasses__():
        yield from _own_methods(below)


def _accepted(method: type[ReIDModule], settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the constructor does not take: its class decides that itself."""
    parameters = inspect.signature(method).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return settings
    return {name: value for name, value in settings.items() if name in parameters}
