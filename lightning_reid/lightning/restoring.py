"""State in a checkpoint, compared with what the Trainer is about to restore it into.

Lightning takes states as they are: a value of the wrong type is noticed where it is used, which may
be epochs later, and paths in them are deleted when the next checkpoint is saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from lightning_reid.errors import InputError
from lightning_reid.lightning import ModelCheckpoint, pl

DAMAGED = "the checkpoint is damaged"  # how messages begin of which only the caller knows the file

_MOST = 2**53  # a float holds every whole number up to it
_MOST_SEED = 2**64  # what torch draws where none is given
_OWN = ("lightning.", "lightning_fabric.", "lightning_reid.", "pytorch_lightning.")
_NEVER_OF_A_FILE = (MemoryError, torch.OutOfMemoryError, OSError, NameError, ImportError)
_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
_SCORES = ("best_model_score", "current_score", "kth_value")
_PARTS = {
    "restore_callbacks": "callbacks",
    "restore_loops": "loops",
    "restore_lr_schedulers": "lr_schedulers",
    "restore_optimizers": "optimizer_states",
    "restore_optimizers_and_schedulers": "optimizer_states",
    "restore_precision_plugin_state": "precision",
}


def require_restorable(trainer: pl.Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Compare the loops and callbacks in a checkpoint with a Trainer's own.

    Args:
        trainer: About to restore them.
        checkpoint: What was read.

    Raises:
        InputError: A value is of another type than the Trainer's, or a number out of range.
    """
    if trainer.state.fn != "fit":
        return
    own = {"fit_loop": trainer.fit_loop.state_dict()}
    _require_like(checkpoint.get("loops", own), own, "loops")
    states = checkpoint.get("callbacks", {})
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        state = states.get(callback.state_key)
        if state is None or not type(callback).__module__.startswith(_OWN):
            continue
        place = f"callbacks/{callback.state_key}"
        _require_like(state, callback.state_dict(), place)
        if isinstance(callback, ModelCheckpoint):
            _require_scores(state, place)


def forget_foreign_files(trainer: pl.Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Take files outside a run out of the states of its ``ModelCheckpoint`` callbacks.

    They delete the files of their state once there are newer ones. Those of a run folder that was
    copied are the original's, and those in a stranger's checkpoint may be any.

    Args:
        trainer: About to restore the callbacks.
        checkpoint: What was read; changed in place.
    """
    states = checkpoint.get("callbacks", {})
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        state = states.get(callback.state_key)
        if not isinstance(callback, ModelCheckpoint) or not isinstance(state, dict):
            continue
        folder = Path(callback.dirpath or trainer.default_root_dir).absolute()
        for name in _PATHS:
            if name in state and not _is_in(state[name], folder):
                state[name] = ""
        models = state.get("best_k_models")
        if isinstance(models, Mapping):
            state["best_k_models"] = {k: v for k, v in models.items() if _is_in(k, folder)}


def require_restorable_optimizers(trainer: pl.Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Compare the states of optimizers and schedules in a checkpoint with a Trainer's own.

    Args:
        trainer: About to restore them; its optimizers have been made.
        checkpoint: What was read.

    Raises:
        InputError: A value is of another type, a number out of range, or a tensor of another shape
            than the parameter that it belongs to.
    """
    states = checkpoint.get("optimizer_states", [])
    for place, (optimizer, state) in enumerate(zip(trainer.optimizers, states, strict=False)):
        where = f"optimizer_states/{place}"
        own = optimizer.state_dict()
        _require_like(state, own, where)
        if {"state", "param_groups"} - state.keys():
            raise _damaged(where, "must hold state and param_groups")
        if len(state["param_groups"]) != len(own["param_groups"]):
            continue  # torch says what is wrong with them
        _require_like(state["param_groups"], own["param_groups"], f"{where}/param_groups")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        _require_moments(state, parameters, where)
    schedules = checkpoint.get("lr_schedulers", [])
    configs = trainer.lr_scheduler_configs
    for place, (config, state) in enumerate(zip(configs, schedules, strict=False)):
        _require_like(state, config.scheduler.state_dict(), f"lr_schedulers/{place}")


def require_measurements(found: Any, place: str, needed: str) -> list[dict[str, float]]:
    """Return rows of numbers by name from a checkpoint.

    Args:
        found: What is in its place.
        place: Where, for messages.
        needed: A name that every row has.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(found, list):
        raise _damaged(place, "must be a list")
    for row in found:
        if not isinstance(row, Mapping) or not all(
            isinstance(name, str) and isinstance(value, int | float) for name, value in row.items()
        ):
            raise _damaged(place, "must hold numbers by name")
        if needed not in row:
            raise _damaged(place, f"must have {needed} in every row")
    return [dict(row) for row in found]


def blamed_part(error: BaseException) -> str | None:
    """Return the part of a checkpoint that an error came from when it was restored or first used.

    Errors in code of the user's are none of these.
    """
    if isinstance(error, _NEVER_OF_A_FILE):
        return None
    frames = list(_frames(error))
    modules = [str(frame.f_globals.get("__name__", "")) for frame in frames]
    if not modules or not modules[-1].startswith((*_OWN, "torch.")):
        return None
    last = next((m for m in reversed(modules) if not _is_inside_torch(m)), "")
    if last.startswith("torch.optim."):
        return "optimizer_states"
    for frame, module in zip(reversed(frames), reversed(modules), strict=True):
        name = frame.f_code.co_name
        if module.endswith(".checkpoint_connector") and name in _PARTS:
            return _PARTS[name]
        if ".migration" in module:
            return "pytorch-lightning_version"
    return None


def _require_like(found: Any, like: Any, place: str) -> None:
    """Raise an InputError if a value, or one inside it, is of another type than an example."""
    if like is None or found is None:
        return
    if isinstance(like, Mapping):
        if not isinstance(found, Mapping):
            raise _damaged(place, f"must be a dictionary, not {type(found).__name__}")
        for name, value in like.items():
            if name in found:
                _require_like(found[name], value, f"{place}/{name}")
    elif isinstance(like, list | tuple):
        if not isinstance(found, list | tuple):
            raise _damaged(place, f"must be a list, not {type(found).__name__}")
        for number, (one, other) in enumerate(zip(found, like, strict=False)):
            _require_like(one, other, f"{place}/{number}")
    elif isinstance(like, Tensor) or type(like) in (int, float):
        _require_number(found, like, place)
    elif type(found) is not type(like):
        raise _damaged(place, f"must be a {type(like).__name__}, not {type(found).__name__}")


def _require_number(found: Any, like: Any, place: str) -> None:
    if isinstance(found, Tensor):
        if isinstance(like, Tensor) and found.ndim == like.ndim and not found.is_complex():
            return
        if found.ndim == 0 and type(like) is float:
            return
        raise _damaged(place, "must be a number, not a tensor")
    whole = isinstance(like, int)
    if isinstance(found, bool) or not isinstance(found, int if whole else int | float):
        raise _damaged(place, f"must be a {'whole ' * whole}number, not {type(found).__name__}")
    most = _MOST_SEED if place.endswith("/seed") else _MOST
    if (isinstance(found, int) and abs(found) > most) or (whole and found < 0 <= like):
        raise _damaged(place, "is out of range")


def _require_scores(state: Mapping[str, Any], place: str) -> None:
    """Raise an InputError unless what a ``ModelCheckpoint`` compares is a single number."""
    models = state.get("best_k_models") or {}
    scores = {name: state.get(name) for name in _SCORES} | dict(models)
    for name, score in scores.items():
        number = isinstance(score, Tensor) and score.ndim == 0 and not score.is_complex()
        if score is not None and not number:
            raise _damaged(f"{place}/{name}", "must be a single number")


def _require_moments(state: Mapping[str, Any], parameters: list[Tensor], place: str) -> None:
    for number, kept in state["state"].items():
        where = f"{place}/state/{number}"
        if type(number) is not int or not 0 <= number < len(parameters):
            raise _damaged(where, "belongs to no parameter")
        if not isinstance(kept, Mapping):
            raise _damaged(where, f"must be a dictionary, not {type(kept).__name__}")
        parameter = parameters[number]
        for name, value in kept.items():
            if not isinstance(value, Tensor):
                continue
            shape = value.shape if value.layout is torch.strided else None
            if shape not in (parameter.shape, torch.Size()) or value.is_complex():
                raise _damaged(
                    f"{where}/{name}",
                    f"must have the shape {tuple(parameter.shape)}, not {tuple(value.shape)}",
                )


def _damaged(place: str, why: str) -> InputError:
    return InputError(f"{DAMAGED}: its {place} {why}")


def _is_in(path: Any, folder: Path) -> bool:
    """Return whether a path is that of a file in a folder, without any ``..``."""
    if not isinstance(path, str) or "://" in path or ".." in Path(path).parts:
        return False
    return folder in Path(path).absolute().parents


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _is_inside_torch(module: str) -> bool:
    return module.startswith("torch.") and not module.startswith("torch.optim.")
