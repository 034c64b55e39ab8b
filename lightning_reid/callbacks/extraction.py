"""Features of all training images, each rank its share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_reid.clustering.progress import shown
from lightning_reid.distributed import (
    gather_rows,
)
from lightning_reid.errors import InputError
from lightning_reid.labels import OUTLIER, group_means
from lightning_reid.lightning import pl


class Extracted(NamedTuple):
    """Features of all training images, in order, and what may be known about who is on them.

    Attributes:
        features: ``(N, D)``; for an image that could not be read, the mean of its camera.
        cameras: ``(N,)``.
        known: ``(N,)`` labels, if the batches have them.
        unreadable: ``(N,)`` bool, if the batches tell.
    """

    features: Tensor
    cameras: Tensor
    known: Tensor | None = None
    unreadable: Tensor | None = None


@torch.no_grad()
def extract_features(
    trainer: pl.Trainer, pl_module: pl.LightningModule, loader: Iterable[dict[str, Tensor]]
) -> Extracted:
    """Embed every image of the loader, in order of ``index``, each rank its share.

    Args:
        trainer: tells device, precision and ranks.
        pl_module: its ``label_features``, or ``embed`` if it has none, is called in evaluation mode
            without gradients.
        loader: batches of ``"image"``, ``"camera"``, ``"index"`` and perhaps ``"label"``.

    Returns:
        ``features`` ``(N, D)``, ``cameras`` ``(N,)`` and, if the batches tell them, ``known``
        labels and which images were ``unreadable``, ``(N,)`` each, on the module's device.

    Raises:
        InputError: if a feature is NaN or infinite, the loader does not give every image of its
            data set, or no image can be read.

    Example:
        >>> from lightning_reid.lightning import pl
        >>> from lightning_reid.methods import CAP
        >>> trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
        >>> module = CAP(backbone=torch.nn.Conv2d(3, 8, 5), weights=None)
        >>> index, cameras = torch.tensor([1, 0]), torch.tensor([6, 5])  # in any order
        >>> batch = {"image": torch.rand(2, 3, 64, 32), "camera": cameras, "index": index}
        >>> extracted = extract_features(trainer, module, [batch])
        >>> extracted.features.shape, extracted.cameras.tolist()
        (torch.Size([2, 8]), [5, 6])
    """
    was_training = pl_module.training
    pl_module.eval()
    embed: Any = getattr(pl_module, "label_features", pl_module.embed)
    columns: list[dict[str, Tensor]] = []
    with trainer.precision_plugin.forward_context():
        for batch in _shown(trainer, loader):
            batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
            batch["feature"] = embed(batch.pop("image"))
            columns.append(batch)
    pl_module.train(was_training)
    gathered = {
        name: gather_rows(trainer, torch.cat([part[name] for part in columns]))
        for name in columns[0]
    }
    index = gathered["index"]
    whole = None if trainer.fast_dev_run else getattr(loader, "dataset", None)  # type: ignore[attr-defined]
    order = _once_each(index, None if whole is None else len(whole))
    made = {name: column[order] for name, column in gathered.items()}
    features, cameras = made["feature"], made["camera"]
    finite = features.isfinite().all(1)
    if not finite.all():
        bad = int(index[order[~finite][0]])
        raise InputError(f"the feature of {_image_name(trainer, bad)} is NaN or infinite")
    if "readable" not in made:
        return Extracted(features, cameras, made.get("label"))
    unreadable = ~made["readable"]
    _note_unreadable(trainer, index[order[unreadable]])
    features = _with_stand_ins(features, cameras, unreadable)
    return Extracted(features, cameras, made.get("label"), unreadable)


def _shown(trainer: pl.Trainer, loader: Iterable[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    total = len(loader)  # type: ignore[arg-type]
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        total = min(total, int(trainer.limit_train_batches))
    watched = trainer.progress_bar_callback is not None and trainer.is_global_zero
    batches = islice(loader, total)
    yield from shown(batches, "Extracting features", total) if watched else batches


def _once_each(index: Tensor, count: int | None) -> Tensor:
    """Where each image stands first, in order; all ``count`` of them must be there.

    Loaders that the ranks do not share, or whose sampler pads, give images twice.
    """
    ordered, order = index.sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    order = order[first]
    if count is not None and len(order) != count:
        raise InputError(
            f"label_dataloader() gave {len(order)} of {count} training images; it must give every "
            "one: no sampler that leaves some out, and no drop_last"
        )
    return order


def _with_stand_ins(features: Tensor, cameras: Tensor, unreadable: Tensor) -> Tensor:
    """For images that could not be read, the mean of their camera: far from nothing and nobody."""
    if unreadable.all():
        raise InputError("no training image can be read; check the root of the data")
    means = group_means(features, cameras.masked_fill(unreadable, OUTLIER))
    # a camera of which nothing could be read has none
    means = torch.cat([means, means.new_zeros(int(cameras.max()) + 1 - len(means), means.shape[1])])
    of_all = group_means(features, unreadable.to(torch.int64).neg())
    stand_ins = torch.where(means.any(1, keepdim=True), means, of_all)
    # the means have length 1, features need not
    stand_ins = stand_ins * features[~unreadable].norm(dim=1).mean()
    return torch.where(unreadable[:, None], stand_ins[cameras].to(features.dtype), features)


def _note_unreadable(trainer: pl.Trainer, index: Tensor) -> None:
    note = getattr(trainer.datamodule, "note_unreadable", None)  # type: ignore[attr-defined]
    if note is not None:
        note("train", index)


def _image_name(trainer: pl.Trainer, index: int) -> str:
    paths = getattr(trainer.datamodule, "paths", None)  # type: ignore[attr-defined]
    return paths("train")[index] if paths else f"training image {index}"
