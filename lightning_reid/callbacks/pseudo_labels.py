"""When labels are made: at every epoch boundary, for the epoch to come."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from hashlib import blake2b
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
    gather_rows,
    require_own_batches,
    seed_of,
)
from lightning_reid.errors import InputError, reading, require
from lightning_reid.labels import OUTLIER, PseudoLabels
from lightning_reid.lightning import (
    BatchSizeFinder,
    LearningRateFinder,
    pl,
    rank_zero_info,
    rank_zero_warn,
)
from lightning_reid.lightning.progress import (
    ResumePoint,
    begin,
    end_epoch,
    has_accumulated_gradients,
    loader_lengths,
    make_loaders_anew,
    resume_point,
    rewind,
    skip_batches,
)
from lightning_reid.lightning.requeue import RequeueSignal
from lightning_reid.lightning.restoring import forget_foreign_files, require_measurements
from lightning_reid.metrics import (
    bcubed_quality,
    cluster_quality,
    cross_camera_quality,
    soft_label_accuracy,
)

_DIAGNOSTICS = "diagnostics/"
_GRADIENTS = "accumulated_gradients"  # in a checkpoint


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
    interval)``, to tell itself which epochs want labels, ``before_labels(epoch)``, and
    ``label_features(images)``, if labels are made from other features than ``embed`` gives. Where
    the data module's batches have a ``"label"``, ``label`` is given those of all images as a fourth
    argument.

    The callback owns the labels: a checkpoint holds them once, with the epoch and a digest of the
    images they are for. A run may be resumed from a checkpoint that was taken at any moment but
    within a training step: the batches that are left of its epoch are trained on, and labels that
    are missing are made first. A module with ``set_labels(labels)`` is given them whenever they
    are made or restored. One whose ``remembers`` is not true is asked to ``adopt`` restored labels,
    with features of the present weights: what it derives from them is the same as before, if the
    checkpoint was taken between two epochs and labels are made after every epoch.

    Before every batch torch's random numbers are seeded from (seed, epoch, batch, rank), so that a
    resumed run equals one that was not interrupted.

    After a refresh it logs, under ``labels/``, the number of clusters, proxies and outliers, the
    sizes of clusters, the share of them that spans several cameras, the agreement with the labels
    before (adjusted Rand index), the seconds spent, and whatever the module's ``label`` put in
    ``statistics``, such as the silhouette. Callbacks can watch these numbers in every epoch: in one
    without new labels they are those of the last ones.

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
        self._forget()

    def _forget(self) -> None:
        self.labels: PseudoLabels | None = None
        self.history: list[dict[str, float]] = []
        self.seed: int | None = None
        self._labeled_epoch = 0  # the epoch that the labels are for
        self._images: str | None = None  # digest of the images that the labels are for
        self._point: ResumePoint | None = None
        self._gradients: dict[str, Tensor] = {}
        self._fitting = False
        self._loader_is_seeded = False
        self._requeue = RequeueSignal()

    def state_dict(self) -> dict[str, Any]:
        """Return the labels in use, what they are for, the log of all so far, and the seed."""
        return {
            "labels": self.labels.state_dict() if self.labels else None,
            "epoch": self._labeled_epoch,
            "images": self._images,
            "history": self.history,
            "seed": self.seed,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore labels, history and seed from a checkpoint.

        Raises:
            InputError: If it holds something else in their place.
        """
        place = "callbacks/PseudoLabelCallback"
        with reading(f"the checkpoint is damaged: its {place} cannot be restored"):
            if state_dict["labels"] is not None:
                self.labels = PseudoLabels.from_state_dict(state_dict["labels"])
            self._labeled_epoch = int(state_dict["epoch"])
            self._images = state_dict["images"]
            self.history = require_measurements(state_dict["history"], f"{place}/history", "epoch")
            self.seed = None if state_dict["seed"] is None else int(state_dict["seed"])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the gradients that wait for further batches, with ``accumulate_grad_batches``.

        Every process has its own: they are ``(processes, ...)`` for a parameter.
        """
        if self._fitting and has_accumulated_gradients(trainer):
            checkpoint[_GRADIENTS] = {
                name: gather_rows(trainer, parameter.grad[None])
                for name, parameter in pl_module.named_parameters()
                if parameter.grad is not None
            }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Find the batch that comes next, and let the Trainer's loops begin there.

        Raises:
            InputError: If the checkpoint was taken while a batch was trained on.
        """
        forget_foreign_files(trainer, checkpoint)
        # the Trainer's tuners restore checkpoints of their own after the run has begun
        if trainer.state.fn != "fit" or self._fitting:
            return
        if tuners := _tuners(trainer):
            raise InputError(
                f"{type(tuners[0]).__name__} cannot be used where a run is resumed: Lightning "
                "would restore the weights and forget the optimizer. Leave out one of the two"
            )
        state = checkpoint.get("callbacks", {}).get(self.state_key, {})
        with reading("the checkpoint is damaged: its loops cannot be restored"):
            point = resume_point(checkpoint, state.get("epoch", 0))
        if point is None:
            return
        if point.in_step:
            raise InputError(
                f"the checkpoint was taken within batch {point.batches} of epoch {point.epoch}, "
                "when an error ended training: its weights are those of no whole step. Resume from "
                "another one, such as the run's checkpoints/last.ckpt, or take its network alone "
                "(--model.weights)"
            )
        with reading("the checkpoint is damaged: its loops cannot be restored"):
            rewind(checkpoint, point)
        self._point = point
        self._gradients = checkpoint.get(_GRADIENTS, {})
        saved = {len(gradient) for gradient in self._gradients.values()}
        if saved and saved != {trainer.world_size}:
            raise InputError(
                f"the checkpoint was taken between two optimizer steps, when {saved.pop()} "
                f"processes accumulated gradients; it cannot be resumed in {trainer.world_size}: "
                "take as many, or another checkpoint"
            )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier run; a checkpoint that is resumed is read after this."""
        if stage == "fit":
            self._forget()
            _run_before_tuners(self, trainer)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Label for the first epoch, or use the labels that a checkpoint holds."""
        self._fitting = True
        if self.seed is None:
            self.seed = first_rank_only(trainer, torch.initial_seed)
        datamodule = _datamodule(trainer)
        # the Trainer restores its counters after this
        epoch = trainer.current_epoch if self._point is None else self._point.epoch
        images = images_digest(datamodule)
        # not later: the first batches are drawn before on_train_start
        if self.labels is not None:
            self._require_same_images(datamodule, images)
            datamodule.assign(self.labels)
            _set_labels(pl_module, self.labels)
            self._adopt_again(trainer, pl_module)
            if hasattr(datamodule, "resume_at"):
                batches = 0 if self._point is None else self._point.batches
                datamodule.resume_at(epoch, batches)
        self._images = images
        if self.labels is None:
            # not 0 where a Trainer that has trained is given more epochs
            _write(trainer, self.refresh(trainer, pl_module, epoch))
        # a sampler of somebody else draws its order when the loader is iterated, which is next
        self._seed(trainer, epoch)
        self._loader_is_seeded = True

    def _require_same_images(self, datamodule: Any, images: str | None) -> None:
        count = len(datamodule.label_dataloader().dataset)
        other = None not in (images, self._images) and images != self._images
        if self.labels is not None and (other or len(self.labels) != count):
            these = f"{len(self.labels)} training images, this data has {count}"
            raise InputError(
                f"the checkpoint has labels for {these}"
                + (" of other names, cameras or another order" if len(self.labels) == count else "")
                + ": resume with the list of images that the run began with, or start a new run "
                "from its network (--model.weights=<checkpoint>)"
            )

    @torch.no_grad()
    def _adopt_again(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let a module derive from the labels what its checkpoint does not hold."""
        if getattr(pl_module, "remembers", False) or self.labels is None:
            return
        point, made_for = self._point, self.history[-1]["epoch"] if self.history else None
        if point is not None and (point.in_epoch or made_for != point.epoch):
            rank_zero_warn(
                f"{type(pl_module).__name__} adopts the labels of its checkpoint with features of "
                "other weights than they were made with: the resumed run differs from one that was "
                "not interrupted. Save what adopt() derives, as ReIDModule.training_state does"
            )
        loader = _datamodule(trainer).label_dataloader()
        extracted = extract_features(trainer, pl_module, loader)
        pl_module.adopt(self.labels, extracted.features)  # type: ignore[operator]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Resume with the batch after those that the checkpoint has."""
        self._requeue.install(trainer)
        point = self._point
        if point is None:
            return
        begin(trainer, point)
        self._loader_is_seeded = not point.in_epoch  # else the next epoch to start is another one
        if not hasattr(trainer.datamodule, "resume_at"):  # type: ignore[attr-defined]
            skip_batches(trainer, point.batches)
            if point.in_epoch:
                self._seed(trainer, point.epoch, 2 * point.batches)
        parameters = dict(pl_module.named_parameters())
        for name, gradient in self._gradients.items():
            parameters[name].grad = gradient[trainer.global_rank].to(parameters[name].device)
        self._point, self._gradients = None, {}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed torch, unless the loader has been iterated already, as in the first epoch."""
        self._requeue.answer(trainer)
        if not self._loader_is_seeded:
            self._seed(trainer, trainer.current_epoch)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed torch from (seed, epoch, batch, rank): a resumed run draws the same numbers."""
        # another Trainer may have been given the module, or the data, in the meantime
        pl_module.trainer = trainer
        if (datamodule := trainer.datamodule) is not None:  # type: ignore[attr-defined]
            datamodule.trainer = trainer
        if batch_idx == 0:
            require_own_batches(trainer, batch)
        self._loader_is_seeded = False
        self._seed(trainer, trainer.current_epoch, 2 * batch_idx + 1)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save a checkpoint if SLURM is about to end the job; seed torch for the next batch.

        Data of somebody else may be augmented with torch's random numbers as it is loaded.
        """
        self._requeue.answer(trainer)
        self._seed(trainer, trainer.current_epoch, 2 * batch_idx + 2)

    def _seed(self, trainer: pl.Trainer, epoch: int, place: int = 0) -> None:
        """Seed torch for a place in an epoch: its start, the loading and the step of each batch."""
        torch.manual_seed(seed_of(self.seed or 0, epoch, place, trainer.global_rank))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Label for the next epoch, before the checkpoint of this one is written."""
        self._requeue.answer(trainer)
        end_epoch(trainer)
        # running statistics: without groups of its own, batch norm saw other images on every rank,
        # and DDP hands out those of the first not before the next training step
        follow_first_rank(trainer, pl_module.buffers())
        if _is_cut_short(trainer):
            return
        # after the last epoch too: the log then tells about the final network, and a longer run
        # that starts from its checkpoint finds the labels it would have made itself
        epoch = trainer.current_epoch + 1
        if self._is_due(trainer, pl_module, epoch):
            statistics = self.refresh(trainer, pl_module, epoch)
            _write(trainer, {"epoch": trainer.current_epoch, **statistics})
        elif self.history:
            statistics = {name: v for name, v in self.history[-1].items() if name != "epoch"}
        else:
            statistics = {}
        self._labeled_epoch = epoch
        # for callbacks that watch them, in every epoch. Lightning would write them after the
        # checkpoint, so that a kill in between could take the lines of an epoch that a resumed run
        # does not repeat
        watched = {name: v for name, v in statistics.items() if not name.startswith(_DIAGNOSTICS)}
        pl_module.log_dict(watched, logger=False, rank_zero_only=True)

    def _is_due(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int) -> bool:
        if trainer.overfit_batches:  # type: ignore[attr-defined]
            return False
        if hasattr(pl_module, "labels_due"):
            return bool(pl_module.labels_due(epoch, self.interval))  # type: ignore[operator]
        return epoch % self.interval == 0

    @torch.no_grad()
    def refresh(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int
    ) -> dict[str, float]:
        """Make labels and put them to use; return what is to be logged."""
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
        lengths = loader_lengths(trainer)
        datamodule.assign(made)
        if loader_lengths(trainer) != lengths:
            make_loaders_anew(trainer)
        _set_labels(pl_module, made)
        pl_module.adopt(made, extracted.features)  # type: ignore[operator]
        # last, so that an error on the way leaves them to be made again
        self.labels, self._labeled_epoch = made, epoch
        self.history.append({"epoch": float(epoch), **statistics})
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


def _is_cut_short(trainer: pl.Trainer) -> bool:
    """Return whether an epoch ends although batches are left; a resumed run trains on them."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    if progress.is_last_batch:
        return False
    rank_zero_warn(
        f"epoch {trainer.current_epoch} was ended after {progress.current.ready} of its "
        f"{trainer.num_training_batches} batches, by max_steps or max_time: no labels are made for "
        "the next one, and a run that is resumed from its checkpoint trains on the others first"
    )
    return True


def _tuners(trainer: pl.Trainer) -> list[pl.Callback]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [c for c in callbacks if isinstance(c, (BatchSizeFinder, LearningRateFinder))]


def _run_before_tuners(callback: pl.Callback, trainer: pl.Trainer) -> None:
    """Let a callback run before Lightning's tuners, which train in their ``on_fit_start``."""
    callbacks, tuners = trainer.callbacks, _tuners(trainer)  # type: ignore[attr-defined]
    if tuners:  # a new list: Lightning is looking through the old one
        trainer.callbacks = [callback, *(c for c in callbacks if c is not callback)]  # type: ignore[attr-defined]


def _set_labels(pl_module: pl.LightningModule, labels: PseudoLabels) -> None:
    if hasattr(pl_module, "set_labels"):
        pl_module.set_labels(labels)  # type: ignore[operator]


def images_digest(datamodule: Any) -> str | None:
    """Compute a digest of the training images: their paths below the root, in order, and cameras.

    Args:
        datamodule: Which need not be one of this library.

    Returns:
        Hexadecimal digits; None where the data module has no ``paths``.

    Example:
        >>> class Gate:
        ...     root, train_cameras = "old/gate", torch.tensor([0, 1])
        ...     def paths(self, split):
        ...         return [f"{self.root}/1.jpg", f"{self.root}/2.jpg"]
        >>> here, moved = Gate(), Gate()
        >>> moved.root = "new/gate"
        >>> images_digest(here) == images_digest(moved)
        True
    """
    if not hasattr(datamodule, "paths"):
        return None
    digest = blake2b(digest_size=16)
    root = os.path.join(getattr(datamodule, "root", ""), "")  # noqa: PTH118  # a prefix
    for path in datamodule.paths("train"):
        digest.update(os.fsencode(str(path).removeprefix(root)) + b"\0")
    cameras = getattr(datamodule, "train_cameras", None)
    if cameras is not None:
        digest.update(cameras.cpu().numpy().tobytes())
    return digest.hexdigest()


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
