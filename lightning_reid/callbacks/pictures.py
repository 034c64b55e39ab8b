"""Pictures and tables of a run, made while it trains and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Subset

from lightning_reid.callbacks.extraction import extract_features
from lightning_reid.callbacks.pseudo_labels import PseudoLabelCallback
from lightning_reid.data import ShardSampler
from lightning_reid.distributed import first_rank_only
from lightning_reid.errors import require, require_one_of
from lightning_reid.lightning import TensorBoardLogger, WandbLogger, isolate_rng, pl, rank_zero_info
from lightning_reid.lightning.restoring import require_measurements
from lightning_reid.metrics import RetrievalMetrics
from lightning_reid.models import EmbeddingNetwork
from lightning_reid.report.attention import attention_maps
from lightning_reid.report.contents import picture_file
from lightning_reid.report.curves import draw_labellings, draw_loss, draw_over_epochs
from lightning_reid.report.embedding_map import sample_clusters
from lightning_reid.report.evaluated import Evaluated
from lightning_reid.report.figures import as_image, figures_freed
from lightning_reid.report.labelled import Labelled
from lightning_reid.report.tables import read_losses, write_table
from lightning_reid.run_folder import folder_of
from lightning_reid.whole_files import whole_file

Drawings = Mapping[str, Callable[[], Image.Image | None]]

_OF_EVALUATION = ("cmc", "camera_pairs", "worst_rankings", "typical_rankings", "attention")
_OF_LABELS = ("clusters", "map_by_camera", "map_by_cluster")
_OVER_EPOCHS = ("map_over_epochs", "clusters_over_epochs", "loss_over_epochs")


class Pictures(pl.Callback):
    """Draw what tells how good a model is, and where it fails.

    Pictures become ``pictures/<name>.png`` of the run folder and are sent to the loggers for
    TensorBoard and Weights & Biases; :data:`~lightning_reid.report.contents.CONTENTS` tells what
    each shows. They are drawn

    - after a test or a validation of its own: ``cmc``, ``camera_pairs`` (which becomes a table
      too, ``tables/camera_pairs.csv``), ``worst_rankings``, ``typical_rankings`` and ``attention``,
      from the true identities of the test images;
    - after every evaluation of a ``fit``: ``map_over_epochs``;
    - after every labelling: ``clusters_over_epochs``;
    - after every epoch: ``loss_over_epochs``, from what a :class:`~lightning_reid.callbacks.Page`
      has written down;
    - when training ends: ``clusters``, ``map_by_camera`` and ``map_by_cluster``, from pseudo labels
      alone. For these some training images are embedded once more.

    Works with a module whose ``retrieval`` is a :class:`~lightning_reid.RetrievalMetrics`, with one
    that a :class:`~lightning_reid.PseudoLabelCallback` labels for, and with data modules that have
    ``camera_names``, ``paths(split)`` and ``train_cameras``. What needs something that is missing
    is left out. Nothing is drawn in a ``fast_dev_run``. Training does not notice: random numbers,
    weights and modes are as before.

    Args:
        num_queries: rows of each picture of rankings; as many images show attention.
        num_results: gallery images in a row.
        only: names of the pictures to draw; None: all of them.
        every_n_epochs: draw the pictures that are made when training ends after so many epochs too;
            0: not.
        max_points: training images that are embedded for them.

    Raises:
        InputError: if a number is out of its range or a name unknown.

    Example:
        >>> Pictures(only=["cmc", "clusters"], every_n_epochs=10).only
        ('cmc', 'clusters')
        >>> Pictures(num_queries=0)
        Traceback (most recent call last):
            ...
        lightning_reid.errors.InputError: num_queries must be at least 1, not 0
    """

    def __init__(
        self,
        num_queries: int = 8,
        num_results: int = 10,
        only: Sequence[str] | None = None,
        every_n_epochs: int = 0,
        max_points: int = 2000,
    ) -> None:
        require("num_queries", num_queries, 1)
        require("num_results", num_results, 1)
        require("every_n_epochs", every_n_epochs, 0)
        require("max_points", max_points, 1)
        names = (*_OF_EVALUATION, *_OVER_EPOCHS, *_OF_LABELS)
        for name in only or ():
            require_one_of("a picture of only", name, names)
        self.num_queries = num_queries
        self.num_results = num_results
        self.only = names if only is None else tuple(only)
        self.every_n_epochs = every_n_epochs
        self.max_points = max_points
        self.evaluations: list[dict[str, float]] = []
        self._tested_before = False
        self._num_drawn = 0  # labellings
        self._told = False

    def state_dict(self) -> dict[str, Any]:
        """The mAP of all evaluations so far, by epoch."""
        return {"evaluations": self.evaluations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        place = "callbacks/Pictures/evaluations"
        self.evaluations = require_measurements(state_dict.get("evaluations"), place, "epoch")

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier run; a checkpoint that is resumed is read after this."""
        if stage != "fit":
            return
        epoch = trainer.current_epoch
        goes_on = epoch > 0 or self._tested_before
        self.evaluations = [e for e in self.evaluations if goes_on and e["epoch"] <= epoch]
        self._num_drawn, self._tested_before = 0, False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the labelling for this epoch, and the losses before it."""
        self._draw_labellings(trainer)
        self._draw_losses(trainer)
        epoch, every = trainer.current_epoch, self.every_n_epochs
        if every and epoch and epoch % every == 0:
            self._draw_labels(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the last labelling."""
        self._draw_labellings(trainer)
        self._draw_losses(trainer)
        self._draw_labels(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw from what the metric has collected, before it is reset."""
        if _is_command(trainer, "validate"):
            self._draw_evaluation(trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw from what the metric has collected, before it is reset."""
        self._draw_evaluation(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the curve of the epochs so far."""
        if not _is_command(trainer, "validate"):
            name = getattr(_datamodule(trainer), "validation_name", "val")
            self._remember(trainer, trainer.current_epoch + 1, name)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the curve of the epochs so far, unless it is not known where in it a test belongs.

        That is so for the weights of a checkpoint.
        """
        if trainer.ckpt_path is None:
            self._tested_before = trainer.current_epoch == 0
            self._remember(trainer, trainer.current_epoch, "test")

    def _draw_evaluation(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metric = getattr(pl_module, "retrieval", None)
        if not isinstance(metric, RetrievalMetrics) or _rehearses(trainer):
            return
        with metric.sync_context():
            seen = metric.collect()
        if not seen.is_query.any() or seen.is_query.all():
            return
        dataset = _dataset(trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders)
        evaluated = Evaluated(
            seen,
            _camera_names(trainer, seen.cameras),
            _paths(trainer, dataset, seen.index),
            self._attention(trainer, pl_module, dataset),
            metric.evaluation.normalize_cameras,
            metric.evaluation.cross_camera_only,
            self.num_queries,
            self.num_results,
        )
        drawings = {name: getattr(evaluated, name) for name in _OF_EVALUATION}

        def draw(folder: Path) -> None:
            if evaluated.scores.valid.any():
                self._save(trainer, folder, drawings)
                write_table(folder, "camera_pairs", *evaluated.pair_rows())

        with _unnoticed(pl_module):
            self._on_first_rank(trainer, draw)

    def _attention(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, dataset: Any
    ) -> Callable[[list[int]], Tensor | None] | None:
        network = getattr(pl_module, "network", None)
        if not isinstance(network, EmbeddingNetwork) or not hasattr(dataset, "__getitem__"):
            return None

        def attend(index: list[int]) -> Tensor | None:
            batch = torch.stack([dataset[i]["image"] for i in index])
            images = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
            network.eval()
            with trainer.precision_plugin.forward_context():
                maps = attention_maps(network, images)
            if maps is None and not self._told:
                rank_zero_info("No picture of attention: the backbone gives no feature map")
                self._told = True
            return maps

        return attend

    def _draw_labellings(self, trainer: pl.Trainer) -> None:
        labelling = _labelling(trainer)
        if labelling is None or _rehearses(trainer):
            return
        history = labelling.history
        if len(history) == self._num_drawn:
            return
        self._num_drawn = len(history)

        drawing = {"clusters_over_epochs": lambda: as_image(draw_labellings(history))}
        with isolate_rng():
            self._on_first_rank(trainer, lambda folder: self._save(trainer, folder, drawing))

    def _draw_losses(self, trainer: pl.Trainer) -> None:
        folder = folder_of(trainer)  # before anything that may differ between ranks, as logs may
        if _rehearses(trainer) or not trainer.is_global_zero:
            return
        losses = read_losses(folder)
        if losses:
            drawing = {"loss_over_epochs": lambda: as_image(draw_loss(losses))}
            with isolate_rng():
                self._save(trainer, folder, drawing)

    def _draw_labels(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        labelling = _labelling(trainer)
        wanted = {*_OF_LABELS} & {*self.only}
        if labelling is None or labelling.labels is None or not wanted or _rehearses(trainer):
            return
        datamodule = _datamodule(trainer)
        labels = labelling.labels.hard.cpu().numpy()
        with _unnoticed(pl_module):
            loader = datamodule.label_dataloader()
            if not isinstance(loader, DataLoader):
                return
            sample = sample_clusters(labels, self.max_points)
            some = _loader_of_some(trainer, loader, sample)
            extracted = extract_features(trainer, pl_module, some)
            if extracted.unreadable is not None:
                readable = ~extracted.unreadable
                sample = sample[readable.cpu().numpy()]
                extracted = extracted._replace(
                    features=extracted.features[readable], cameras=extracted.cameras[readable]
                )
            cameras = getattr(datamodule, "train_cameras", None)
            labelled = Labelled(
                labels,
                sample,
                # which labels need not be made from unit rows
                normalize(extracted.features.float()).cpu().numpy(),
                extracted.cameras.cpu().numpy(),
                _camera_names(trainer, extracted.cameras),
                None if cameras is None else cameras.numpy(),
                datamodule.paths("train") if hasattr(datamodule, "paths") else None,
            )
            drawings = {name: getattr(labelled, name) for name in _OF_LABELS}
            self._on_first_rank(trainer, lambda folder: self._save(trainer, folder, drawings))

    def _remember(self, trainer: pl.Trainer, epoch: int, evaluation: str) -> None:
        """Add what an evaluation logged to what others did at other epochs, and draw it."""
        folder = folder_of(trainer)  # before anything that may differ between ranks, as logs may
        means = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(f"{evaluation}/") and name.endswith("/mAP")
        }
        if not means or _rehearses(trainer):
            return
        before = [e for e in self.evaluations if e["epoch"] == epoch]
        others = [e for e in self.evaluations if e["epoch"] != epoch]
        now = {**(before[0] if before else {}), **means, "epoch": float(epoch)}
        self.evaluations = sorted([*others, now], key=lambda e: e["epoch"])
        curves: dict[str, list[tuple[float, float]]] = {}
        for found in self.evaluations:
            for name, value in found.items():
                if name != "epoch" and value == value:
                    curve = curves.setdefault(_curve_name(name), [])
                    curve.append((found["epoch"], value))
        if curves and trainer.is_global_zero:
            drawing = {"map_over_epochs": lambda: as_image(draw_over_epochs(curves, "mAP"))}
            with isolate_rng():
                self._save(trainer, folder, drawing)

    def _on_first_rank(self, trainer: pl.Trainer, draw: Callable[[Path], None]) -> None:
        """Draw into the run folder; the other ranks wait, as long as it takes."""
        folder = folder_of(trainer)
        first_rank_only(trainer, lambda: draw(folder))

    def _save(self, trainer: pl.Trainer, folder: Path, drawings: Drawings) -> None:
        for name, drawing in drawings.items():
            if name not in self.only:
                continue
            file = picture_file(folder, name)
            with figures_freed():
                picture = drawing()
            if picture is None:
                file.unlink(missing_ok=True)  # of other data
                continue
            with whole_file(file) as stream:
                picture.save(stream, "PNG")
            _send(trainer, name, picture)


def _send(trainer: pl.Trainer, name: str, picture: Image.Image) -> None:
    """Hand a picture to the loggers that show pictures."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(
                f"pictures/{name}", np.asarray(picture), trainer.global_step, dataformats="HWC"
            )
        elif isinstance(logger, WandbLogger):
            logger.log_image(f"pictures/{name}", [picture], trainer.global_step)


@contextmanager
def _unnoticed(pl_module: pl.LightningModule) -> Iterator[None]:
    """Random numbers and the modes of all layers are afterwards what they were."""
    modes = [(layer, layer.training) for layer in pl_module.modules()]
    try:
        with isolate_rng():
            yield
    finally:
        for layer, training in modes:
            layer.training = training


def _loader_of_some(trainer: pl.Trainer, loader: DataLoader[Any], sample: Any) -> DataLoader[Any]:
    """Some images of a loader, each rank its share."""
    some = Subset(loader.dataset, sample.tolist())
    ranks = {"num_replicas": trainer.world_size, "rank": trainer.global_rank}
    shares = len(some) >= trainer.world_size
    return DataLoader(
        some,
        batch_size=loader.batch_size or 64,
        sampler=ShardSampler(some, **ranks) if shares else None,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        multiprocessing_context=loader.multiprocessing_context,
    )


def _curve_name(key: str) -> str:
    """As in ``"test monitor, camera-normalised"``."""
    plain = key.removesuffix("/mAP").replace("camera_normalized", "camera-normalised")
    return plain.replace("/", ", ").replace("_", " ")


def _is_command(trainer: pl.Trainer, name: str) -> bool:
    return bool(trainer.state.fn == name)  # the stage would tell of validations during fit too


def _rehearses(trainer: pl.Trainer) -> bool:
    return bool(trainer.fast_dev_run or trainer.sanity_checking)  # type: ignore[attr-defined]


def _datamodule(trainer: pl.Trainer) -> Any:
    return trainer.datamodule  # type: ignore[attr-defined]


def _labelling(trainer: pl.Trainer) -> PseudoLabelCallback | None:
    callbacks: Iterable[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((c for c in callbacks if isinstance(c, PseudoLabelCallback)), None)


def _dataset(loaders: Any) -> Any:
    """The data set that was evaluated; None if there were several, or it is not known."""
    if isinstance(loaders, Sequence):
        loaders = loaders[0] if len(loaders) == 1 else None
    return getattr(loaders, "dataset", None)


def _paths(trainer: pl.Trainer, dataset: Any, index: Tensor) -> Sequence[str] | None:
    """Image files by index, from whoever knows them."""
    paths = getattr(dataset, "paths", None)
    if paths is None and trainer.testing and hasattr(_datamodule(trainer), "paths"):
        paths = _datamodule(trainer).paths("test")
    return paths if paths is not None and int(index.max()) < len(paths) else None


def _camera_names(trainer: pl.Trainer, cameras: Tensor) -> list[str]:
    """By number; numbers from 1 where there are no names."""
    names = list(getattr(_datamodule(trainer), "camera_names", []))
    return names + [f"camera {i + 1}" for i in range(len(names), int(cameras.max()) + 1)]
