"""Which methods a data set can be used with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

import lightning_reid
from lightning_reid import ReIDDataModule, ReIDModule, ReliableSoftLabels
from lightning_reid.errors import InputError

_NEEDS = {
    "none": "images and cameras",
    "intra_camera": "labels within each camera",
    "full": "identities",
}


@dataclass(frozen=True)
class Suitability:
    """Whether a method can train on a data set.

    Args:
        method: its name.
        needs: what it must know of the training images.
        runs: whether it can.
        remark: why not, or what else it wants.

    Example:
        >>> answer = Suitability("PCSL", "labels within each camera", False, remark="no tracklets")
        >>> f"{answer.method}: {'yes' if answer.runs else 'no'}, {answer.remark}"
        'PCSL: no, no tracklets'
    """

    method: str
    needs: str
    runs: bool
    remark: str = ""


def suitable_methods(datamodule: ReIDDataModule) -> list[Suitability]:
    """Ask for every method of the package whether the training images will do.

    Args:
        datamodule: set up for ``fit``.
    """
    return [_suitability(method, datamodule) for method in _methods()]


def _methods() -> Iterator[type[ReIDModule]]:
    for name in lightning_reid.__all__:
        value = getattr(lightning_reid, name)
        if isinstance(value, type) and issubclass(value, ReIDModule) and value is not ReIDModule:
            yield value


def _suitability(method: type[ReIDModule], datamodule: ReIDDataModule) -> Suitability:
    name, needs = method.__name__, _NEEDS[method.supervision]
    missing = [need for need in method.datamodule_needs if not hasattr(datamodule, need)]
    if missing:
        return Suitability(name, needs, False, f"the data module has no {' and no '.join(missing)}")
    try:
        labels = datamodule.training_labels(method.supervision)
    except InputError as error:
        return Suitability(name, needs, False, str(error))
    if labels is not None and len(torch.unique(labels[labels >= 0])) < 2:
        return Suitability(name, needs, False, "all training images have the same label")
    if issubclass(method, ReliableSoftLabels):
        source = "wants a model of other, labelled people: --model.weights <checkpoint>"
        return Suitability(name, needs, True, source)
    return Suitability(name, needs, True)
