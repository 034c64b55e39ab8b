"""Names of tensors that do not depend on how a network is compiled or wrapped."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

# What torch.compile, activation checkpointing and FSDP put into the names of tensors.
_WRAPPERS = re.compile(
    r"(?:(?<=\.)|^)(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\."
)
_PARALLEL = (nn.DataParallel, DistributedDataParallel)
_PARALLEL_NAME = "module."


def unwrapped_name(name: str) -> str:
    """Remove from a tensor's name what wrappers such as `torch.compile` add to it.

    Example:
        >>> unwrapped_name("network._orig_mod.backbone.layer1._orig_mod.0.weight")
        'network.backbone.layer1.0.weight'
    """
    return _WRAPPERS.sub("", name)


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside the wrappers of `torch.compile` and data parallelism, if any."""
    while True:
        if isinstance(module, _PARALLEL):
            module = module.module
        elif isinstance(inner := module._modules.get("_orig_mod"), nn.Module):
            module = inner
        else:
            return module


class UnwrappedNames(nn.Module):
    """A module whose state dict has the same names whether its parts are wrapped or not.

    So a checkpoint fits a network that is compiled and one that is not, whichever wrote it.
    """

    def state_dict(self, *args: Any, prefix: str = "", **kwargs: Any) -> Any:
        """Return the state dict, as of any module, under the names without wrappers."""
        state = super().state_dict(*args, prefix=prefix, **kwargs)
        parallel = _parallel_prefixes(self)
        _rename(state, prefix, lambda name: _plain(name, parallel))
        return state

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Give the tensors the names that the wrapped parts look for."""
        parallel = _parallel_prefixes(self)
        own = {
            _plain(name, parallel): name
            for named in (self.named_parameters, self.named_buffers)
            for name, _ in named(remove_duplicate=False)
        }
        _rename(state_dict, prefix, lambda name: own.get(plain := unwrapped_name(name), plain))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _parallel_prefixes(module: nn.Module) -> list[str]:
    """Return the names of the data parallel parts, those inside others first."""
    parts = [name for name, part in module.named_modules() if isinstance(part, _PARALLEL)]
    return [f"{name}." for name in sorted(parts, key=len, reverse=True)]


def _plain(name: str, parallel: list[str]) -> str:
    for start in parallel:
        if name.startswith(start + _PARALLEL_NAME):
            name = start + name[len(start + _PARALLEL_NAME) :]
    return unwrapped_name(name)


def _rename(state: dict[str, Any], prefix: str, name_of: Callable[[str], str]) -> None:
    """Rename the tensors behind a prefix, in place; their order stays."""
    names = {
        name: prefix + name_of(name[len(prefix) :]) if name.startswith(prefix) else name
        for name in state
    }
    if any(name != wanted for name, wanted in names.items()):
        renamed = {names[name]: value for name, value in state.items()}
        state.clear()
        state.update(renamed)
