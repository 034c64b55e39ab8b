"""When labels are made: at every epoch boundary, for the epoch to come."""

from __future__ import annotations

import math
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from lightning_reid.callbacks.extraction import Extracted, extract_features
from lightning_reid.callbacks.label_statistics import label_statistics
from lightning_reid.clustering import Clusterer
from lightning_reid.distributed import (
    first_rank_only,
    follow_first_rank,
    require_own_batches,
    seed_of,
)
from lightning_reid.errors import InputError, require
from lightning_reid.labels import OUTLIER, PseudoLabels
from lightning_reid.lightning import pl, rank_zero_info, rank_zero_warn
from lightning_reid.metrics import (
    bcubed_quality,
    cluster_quality,
    cross_camera_quality,
    soft_label_accuracy,
)

_DIAGNOSTICS = "diagnostics/"


class NoClustersError(InputError):
    """The first labelling found nothing to train on; the message says what to change.

    Example:
        >>> issubclass(NoClustersError, ValueError)  # as all that is raised for unfit input
        True
    """


class PseudoLabelCallback(pl.Callback):
    """Extract features, label, assign, adopt: before the first epoch and after every ``interval``.

    Works with any LightningModule that has ``embed``, ``label`` and ``adopt`` and any data module
    that has ``label_dataloader`` and ``assign`` (see :class:`~lightning_reid.ReIDModule` and
    :class:`~lightning_reid.ReIDDataModule`). A module may also have ``labels_due(epoch,
    interval)``, to tell itself which epochs want labels, and ``before_labels(epoch)``. Where the
    data module's batches have a ``"label"``, ``label`` is given those of all images as a fourth
    argument.

    A resumed run goes on with the labels of its checkpoint. A module whose ``remembers`` is not
    true is given them once more, with features of the present weights: what it made of them is the
    same as before, if labels are made after every epoch.

    Every epoch begins with torch's random numbers seeded anew, from (seed, epoch, rank), so that a
    resumed run equals one that was not interrupted.

    After a refresh it logs, under ``labels/``, the number of clusters, proxies and outliers, the
    sizes of clusters, the share of them that spans several cameras, the agreement with the labels
    before (adjusted Rand index), the seconds spent, and whatever the module's ``label`` put in
    ``statistics``, such as the silhouette.

    With ``fast_dev_run`` only as many batches are labelled as will be trained on, and where these
    hold no clusters, arbitrary ones stand in, so that every line runs. With ``overfit_batches``
    labels are made once.

    Args:
        interval: epochs between two labellings; 1 in the papers. Methods with a rhythm of their
            own (``ReliableSoftLabels``, ``PCSL``, ``Supervised``) do not heed it.
        diagnostics: where the data module knows true identities, log under ``diagnostics/`` how
            well the labels agree with them. They reach nothing but the log: no callback can watch
            them, so that none stops a run or chooses a checkpoint by them.

    Raises:
        NoClustersError: if the first labelling finds fewer than two clusters. A later one that does
            is reported and the labels before are kept.
        InputError: if ``interval`` is below 1.
        TypeError: when ``fit`` begins, if the data module lacks ``label_dataloader`` or ``assign``.

    Example:
        >>> from lightning_reid.lightning import pl
        >>> callback = PseudoLabelCallback(interval=2)  # labels for epochs 0, 2, 4, ...
        >>> trainer = pl.Trainer(callbacks=[callback], accelerator="cpu", logger=False)
        >>> callback.history  # one entry a labelling, once trainer.fit() has begun
        []
    """

    def __init__(self, interval: int = 1, diagnostics: bool = True) -> None:
        require("interval", interval, 1)
        self.interval = interval
        self.diagnostics = diagnostics
        self.labels: PseudoLabels | None = None
        self.history: list[dict[str, float]] = []
        self.seed: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """The labels in use, what was logged about all so far, and the seed."""
        labels = self.labels.state_dict() if self.labels else None
        return {"labels": labels, "history": self.history, "seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        if state_dict["labels"] is not None:
            self.labels = PseudoLabels.from_state_dict(state_dict["labels"])
        self.history = list(state_dict["history"])
        self.seed = state_dict["seed"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier run; a checkpoint that is resumed is read after this."""
        if stage == "fit":
            self.labels, self.history, self.seed = None, [], None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Label for the first epoch, or hand out the labels that a checkpoint brought."""
        if self.seed is None:
            self.seed = first_rank_only(trainer, torch.initial_seed)
        # not later: the first batches are drawn before on_train_start
        if self.labels is not None:
            datamodule = _datamodule(trainer)
            count = len(datamodule.label_dataloader().dataset)
            if len(self.labels) != count:
                raise InputError(
                    f"the checkpoint has labels for {len(self.labels)} training images, this data "
                    f"has {count}; go on with the same data, or start from its weights"
                )
            datamodule.assign(self.labels)
            self._adopt_again(trainer, pl_module)
            return
        # not 0 where a Trainer that has trained is given more epochs
        _write(trainer, self.refresh(trainer, pl_module, trainer.current_epoch))

    @torch.no_grad()
    def _adopt_again(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let a module that does not remember what it made of the labels make it again."""
        if getattr(pl_module, "remembers", False) or self.labels is None:
            return
        # the weights are those that the labels were made with, and so are the features
        loader = _datamodule(trainer).label_dataloader()
        extracted = extract_features(trainer, pl_module, loader)
        pl_module.adopt(self.labels, extracted.features)  # type: ignore[operator]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin every epoch with random numbers of its own: a resumed run draws them again."""
        self._seed_epoch(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Once more with the first batch, if that is one to train on.

        The loader draws a number whenever it is iterated anew: after the hook above, but before it
        in the first epoch of a process.
        """
        if batch_idx == 0:
            require_own_batches(trainer, batch["index"])
            self._seed_epoch(trainer)

    def _seed_epoch(self, trainer: pl.Trainer) -> None:
        torch.manual_seed(seed_of(self.seed or 0, trainer.current_epoch, trainer.global_rank))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Label for the next epoch, before the checkpoint of this one is written."""
        _tell_if_cut_short(trainer)
        # running statistics: without groups of its own, batch norm saw other images on every rank,
        # and DDP hands out those of the first not before the next training step
        follow_first_rank(trainer, pl_module.buffers())
        # after the last epoch too: the log then tells about the final network, and a longer run
        # that starts from its checkpoint finds the labels it would have made itself
        epoch = trainer.current_epoch + 1
        if trainer.overfit_batches or not self._due(pl_module, epoch):  # type: ignore[attr-defined]
            return
        statistics = self.refresh(trainer, pl_module, epoch)
        # for callbacks that watch them; Lightning would write them after the checkpoint, so that a
        # kill in between could take the lines of an epoch that a resumed run does not repeat
        watched = {name: v for name, v in statistics.items() if not name.startswith(_DIAGNOSTICS)}
        pl_module.log_dict(watched, logger=False, rank_zero_only=True)
        _write(trainer, {"epoch": trainer.current_epoch, **statistics})

    def _due(self, pl_module: pl.LightningModule, epoch: int) -> bool:
        if hasattr(pl_module, "labels_due"):
            return bool(pl_module.labels_due(epoch, self.interval))  # type: ignore[operator]
        return epoch % self.interval == 0

    @torch.no_grad()
    def refresh(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int
    ) -> dict[str, float]:
        """Make labels and put them to use; returns what is to be logged."""
        datamodule = _datamodule(trainer)
        if (before_labels := getattr(pl_module, "before_labels", None)) is not None:
            before_labels(epoch)
        start = perf_counter()
        extracted = extract_features(trainer, pl_module, datamodule.label_dataloader())
        seconds = perf_counter() - start
        # every rank: they share the search for neighbours
        known = () if extracted.known is None else (extracted.known,)
        own: PseudoLabels = pl_module.label(  # type: ignore[operator]
            extracted.features, extracted.cameras, epoch, *known
        )
        made = first_rank_only(trainer, lambda: own.to("cpu"))
        if extracted.unreadable is not None:
            made = made.without(extracted.unreadable.cpu())
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            extracted = _pad(extracted, len(datamodule.label_dataloader().dataset))
            made = _rehearsal(made, extracted.cameras.cpu())
        statistics = {
            "labels/seconds/extraction": seconds,
            **label_statistics(made, extracted.cameras.cpu(), self.labels),
            **(_diagnosed(made, extracted.cameras, datamodule) if self.diagnostics else {}),
        }
        if made.num_clusters < 2:
            self._too_few_clusters(pl_module, made, epoch)
            return {**statistics, "labels/stability": math.nan}  # nothing has stayed
        self._warn_if_small(made, datamodule)
        self.history.append({"epoch": float(epoch), **statistics})
        self.labels = made
        datamodule.assign(made)
        pl_module.adopt(made, extracted.features)  # type: ignore[operator]
        return statistics

    def _too_few_clusters(
        self, pl_module: pl.LightningModule, made: PseudoLabels, epoch: int
    ) -> None:
        found = (
            f"labelling for epoch {epoch} found {made.num_clusters} clusters and "
            f"{int((made.hard < 0).sum())} outliers among {len(made)} images"
        )
        advice = advice_of(pl_module, made.mostly_outliers)
        if self.labels is None:
            raise NoClustersError(f"{found}; there is nothing to train on: {advice}")
        rank_zero_warn(f"{found}; the labels before are kept. If this lasts, {advice}")

    def _warn_if_small(self, made: PseudoLabels, datamodule: Any) -> None:
        batch_size = getattr(datamodule, "batch_size", 0)
        per_group = made.images_per_group or int(getattr(datamodule, "images_per_group", 1))
        per_batch = batch_size // per_group
        if made.sampling != "images" and made.num_groups < per_batch:
            rank_zero_warn(
                f"{made.num_groups} groups are fewer than the {per_batch} that a batch draws: "
                f"groups repeat within a batch; lower batch_size={batch_size}, or see to it that "
                "there are more"
            )


def label_history(trainer: pl.Trainer) -> list[dict[str, float]]:
    """Statistics of every labelling of a run, oldest first; none without pseudo labels.

    Args:
        trainer: of the run, with its :class:`~lightning_reid.PseudoLabelCallback`.

    Example:
        >>> from lightning_reid.lightning import pl
        >>> callback = PseudoLabelCallback()
        >>> callback.history.append({"epoch": 0.0, "labels/clusters": 703.0})  # as fit() does
        >>> label_history(pl.Trainer(callbacks=[callback], accelerator="cpu", logger=False))
        [{'epoch': 0.0, 'labels/clusters': 703.0}]
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    relabelling = [c for c in callbacks if isinstance(c, PseudoLabelCallback)]
    return relabelling[0].history if relabelling else []


def advice_of(pl_module: pl.LightningModule, mostly_outliers: bool) -> str:
    """What to change where a module makes too few clusters.

    Args:
        pl_module: that makes labels.
        mostly_outliers: whether it is because most images are outliers.
    """
    adviser = pl_module if hasattr(pl_module, "advice") else getattr(pl_module, "clusterer", None)
    advice = getattr(adviser, "advice", Clusterer.advice)
    return str(advice(mostly_outliers))


def _diagnosed(made: PseudoLabels, cameras: Tensor, datamodule: Any) -> dict[str, float]:
    """How well labels agree with true identities; nothing where these are not known."""
    identities = _identities(datamodule)
    if identities is None:
        return {}
    across = cross_camera_quality(made.hard, identities, cameras.cpu())
    quality = {
        **cluster_quality(made.hard, identities),
        **bcubed_quality(made.hard, identities),
        **{f"cross_camera_{name}": value for name, value in across.items()},
    }
    if made.soft is not None:
        quality["soft_label_accuracy"] = soft_label_accuracy(made.soft, made.hard, identities)
    return {f"{_DIAGNOSTICS}{name}": value for name, value in quality.items()}


def _write(trainer: pl.Trainer, statistics: dict[str, float]) -> None:
    """Hand statistics to the loggers at once, with the number of the last step."""
    for logger in trainer.loggers:
        logger.log_metrics(statistics, step=max(0, trainer.global_step - 1))


def _tell_if_cut_short(trainer: pl.Trainer) -> None:
    progress, count = trainer.fit_loop.epoch_loop.batch_progress, trainer.num_training_batches
    if progress.current.ready < count < math.inf:  # loaders may not know their length
        rank_zero_warn(
            f"epoch {trainer.current_epoch} was ended after {progress.current.ready} of its "
            f"{count} batches, by max_steps or max_time: a run that goes on from its checkpoint "
            "begins the next one"
        )


def _pad(extracted: Extracted, num_images: int) -> Extracted:
    """As if all images had been extracted; the missing ones will be outliers."""
    padded = (None if c is None else _padded(c, num_images) for c in extracted)
    return Extracted(*padded)  # type: ignore[arg-type]  # the first two are there


def _rehearsal(made: PseudoLabels, cameras: Tensor) -> PseudoLabels:
    """Labels of the first images, padded with outliers; arbitrary ones where there were none."""
    if made.num_clusters < 2:
        rank_zero_info("fast_dev_run: too few images to cluster, arbitrary labels stand in")
        arbitrary = torch.arange(len(made)) % max(2, len(made) // 4)
        made = PseudoLabels.from_clusters(arbitrary, cameras[: len(made)], made.statistics)
    count = len(cameras)
    return replace(
        made,
        hard=_padded(made.hard, count, OUTLIER),
        proxies=None if made.proxies is None else _padded(made.proxies, count, OUTLIER),
        soft=None if made.soft is None else _padded(made.soft.to_dense(), count),
    )


def _padded(rows: Tensor, count: int, value: int = 0) -> Tensor:
    """Further rows of a value, up to a count."""
    further = rows.new_full((count - len(rows), *rows.shape[1:]), value)
    return torch.cat([rows, further])


def _identities(datamodule: Any) -> Tensor | None:
    identities: Tensor | None = getattr(datamodule, "train_identities", None)
    return identities


def _datamodule(trainer: pl.Trainer) -> Any:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if not (hasattr(datamodule, "label_dataloader") and hasattr(datamodule, "assign")):
        raise TypeError(
            "PseudoLabelCallback needs a data module with label_dataloader() and assign(labels); "
            f"the Trainer was given {type(datamodule).__name__}"
        )
    return datamodule
