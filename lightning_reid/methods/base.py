"""What all methods share: the network, its optimizer, and evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from typing_extensions import Self

from lightning_reid.callbacks import PseudoLabelCallback
from lightning_reid.clustering.clusterers import Clusterer
from lightning_reid.datamodules.base import Supervision
from lightning_reid.errors import (
    InputError,
    reading,
    refuse_unknown,
    require,
    require_one_of,
)
from lightning_reid.labels import PseudoLabels
from lightning_reid.lightning import OptimizerLRSchedulerConfig, pl, rank_zero_info
from lightning_reid.lightning.internals import loaded_checkpoint
from lightning_reid.lightning.restoring import require_restorable, require_restorable_optimizers
from lightning_reid.methods.loading import load_method
from lightning_reid.metrics import Evaluation, RetrievalMetrics
from lightning_reid.models import EmbeddingNetwork, divide_batch
from lightning_reid.models.checkpoint_content import method_of, network_weights
from lightning_reid.models.positions import adaptable_names
from lightning_reid.models.precision import at_least_float32
from lightning_reid.models.tensor_names import UnwrappedNames, unwrapped

Batch = dict[str, Tensor]

# Training in 16-true is not among them: Adam divides by what float16 rounds to zero.
_PRECISIONS = ("32-true", "64-true", "bf16-true", "bf16-mixed", "16-mixed")
_SHARDING = (
    pl.strategies.FSDPStrategy,
    pl.strategies.DeepSpeedStrategy,
    pl.strategies.ModelParallelStrategy,
)

_SET_GROUP = (
    ". Its running statistics are those of the first; set samples_per_bn_group to change that"
)


if TYPE_CHECKING:
    _restricted_classmethod = classmethod
else:
    # Lightning's refuses to be called on an instance, which would stay as it is
    _restricted_classmethod = type(vars(pl.LightningModule)["load_from_checkpoint"])


class ReIDModule(UnwrappedNames, pl.LightningModule, ABC):
    """Base of all methods: embeds images, evaluates them, and keeps labels through checkpoints.

    A method adds :meth:`label`, :meth:`adopt` and ``training_step``.

    Args:
        backbone: name of a torchvision or ``timm/`` classification network, or a module.
        weights: torchvision's name of pretrained weights, a file, or None for random ones.
        pooling: ``"avg"`` or ``"gem"`` (generalised mean).
        last_stride: stride of the network's last stage; 1 keeps a finer map, as in all papers.
        neck: batch norm between pooling and embedding; without it the embedding is the pooled
            feature (Sun & Jung).
        dropout: probability of zeroing a value of the embedding in training; 0 in most papers.
        samples_per_bn_group: images that batch norm sees in training, whatever the number of
            devices, see :class:`~lightning_reid.models.GroupBatchNorm`; None: the batch of a
            device. The published codes of CAP and O2CAP see 32 and PUL's 16, each on one GPU;
            CALR's sees 64, as four GPUs share its batch of 256.
        optimizer: ``"adam"``, or ``"sgd"`` with momentum 0.9 (Sun & Jung).
        learning_rate: 3.5e-4 in CAP, O2CAP and CALR.
        weight_decay: 5e-4 in CAP, O2CAP and CALR.
        warmup_epochs: epochs over which the rate rises linearly from a hundredth; 10 in O2CAP.
        milestones: epochs after which the rate is multiplied by ``gamma``; 20 and 40 in O2CAP.
        gamma: see ``milestones``.
        evaluation: what validation and test report; by default retrieval with the embeddings as
            they are and camera-normalised.
        weights_size: Height and width in pixels of the images that ``weights`` were trained on;
            needed only where the file of a vision transformer does not tell, which is an error.
        stem_relu: False leaves out the ReLU after a ResNet's first convolution, as CAP's code does.
        unknown: refused; the error names similar arguments.

    Attributes:
        supervision: what the method may know about who is on the training images, see
            :meth:`~lightning_reid.ReIDDataModule.training_labels`.
        datamodule_needs: what the data module must have beside ``label_dataloader`` and ``assign``.

    Raises:
        UnknownArgumentError: if there is no such argument.
        InputError: if there is no such backbone or optimizer, or a number is out of its range.
        DownloadError: if pretrained weights cannot be fetched.

    Example:
        >>> from lightning_reid.clustering import KMeansClusterer
        >>> from lightning_reid.labels import cluster_images, group_means
        >>> from lightning_reid.losses import cluster_contrastive_loss
        >>> class Mine(ReIDModule):
        ...     def label(self, features, cameras, epoch, known=None):
        ...         return cluster_images(KMeansClusterer(100), features, cameras)
        ...     def adopt(self, labels, features):
        ...         self.means = group_means(features, self.labels.hard)
        ...     def training_step(self, batch, batch_idx):
        ...         targets = self.labels.hard[batch["index"]]
        ...         return cluster_contrastive_loss(self.embed(batch["image"]), targets, self.means)
        >>> Mine(torch.nn.Conv2d(3, 8, 5), weights=None).embed(torch.rand(2, 3, 64, 32)).shape
        torch.Size([2, 8])
    """

    supervision: ClassVar[Supervision] = "none"
    datamodule_needs: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        backbone: str | nn.Module = "resnet50",
        weights: str | Path | None = "IMAGENET1K_V1",
        pooling: Literal["avg", "gem"] = "avg",
        last_stride: Literal[1, 2] = 1,
        neck: bool = True,
        dropout: float = 0.0,
        samples_per_bn_group: int | None = None,
        optimizer: Literal["adam", "sgd"] = "adam",
        learning_rate: float = 3.5e-4,
        weight_decay: float = 5e-4,
        warmup_epochs: int = 10,
        milestones: Sequence[int] = (20, 40),
        gamma: float = 0.1,
        evaluation: Evaluation | None = None,
        weights_size: tuple[int, int] | None = None,
        stem_relu: bool = True,
        **unknown: Any,
    ) -> None:
        refuse_unknown(type(self), unknown)
        super().__init__()
        require("dropout", dropout, 0, 1)
        require_one_of("optimizer", optimizer, ("adam", "sgd"))
        require("learning_rate", learning_rate, 0)
        require("weight_decay", weight_decay, 0)
        require("warmup_epochs", warmup_epochs, 0)
        require("the smallest of milestones", min(milestones, default=0), 0)
        require("gamma", gamma, 0)
        # a module cannot be written to a checkpoint as a plain value
        self.save_hyperparameters(ignore=["backbone"] if isinstance(backbone, nn.Module) else [])
        # a checkpoint brings its own weights: loading it must not look for others
        self.hparams.update(weights=None, weights_size=None)
        self.network = EmbeddingNetwork(
            backbone,
            weights,
            pooling,
            last_stride,
            dropout,
            neck,
            samples_per_bn_group,
            weights_size,
            stem_relu,
        )
        self.samples_per_bn_group = samples_per_bn_group
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.milestones = tuple(milestones)
        self.gamma = gamma
        self.evaluation = self._keep_evaluation(evaluation or Evaluation())
        self.retrieval = RetrievalMetrics(**vars(self.evaluation))
        self.labels: PseudoLabels | None = None
        self._given_labels: PseudoLabels | None = None
        self._clusterers: list[Clusterer] = []
        self._images: Tensor | None = None
        self._given: list[list[dict[str, Any]]] = []  # settings of the optimizers, by group

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings of images: ``(B, 3, H, W)`` to ``(B, D)`` unit rows, at least float32."""
        embeddings: Tensor = self.network(images)
        return embeddings

    def forward(self, images: Tensor) -> Tensor:
        """Return :meth:`embed` of the images, which a subclass may override."""
        return self.embed(images)

    def label_features(self, images: Tensor) -> Tensor:
        """Features that labels are made from, ``(B, 3, H, W)`` to ``(B, D)``; the embeddings."""
        return self.embed(images)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Convert the network as asked; heads and whatever a method adds stay at least float32."""
        if recurse:
            for name, part in self.named_children():
                part._apply(fn if name == "network" else at_least_float32(fn))  # type: ignore[no-untyped-call]
        super()._apply(at_least_float32(fn), recurse=False)  # type: ignore[no-untyped-call]
        return self

    @_restricted_classmethod
    def load_from_checkpoint(
        cls,  # noqa: N805 - a class method by its decorator
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a method from a checkpoint; nothing in the file is executed.

        The file decides about numbers, texts and settings of this library's own classes alone. A
        backbone that was given as a module and a clusterer of another class are not made from it:
        pass them, as in ``O2CAP.load_from_checkpoint(file, backbone=Mine(), clusterer=Other())``.

        Args:
            checkpoint_path: The file, the folder of a run, an address such as ``s3://...``, or an
                open file.
            map_location: Where tensors are put, as for ``torch.load``; by default where they were
                saved, or on the CPU if there is no accelerator.
            hparams_file: A YAML file with the arguments that the method was made with; by default
                those in the checkpoint.
            strict: Whether names must match; by default ``strict_loading`` of the method.
            weights_only: False allows any object in the file and is for trusted files alone.
            kwargs: Arguments that replace those in the checkpoint.

        Returns:
            The method; of an abstract class such as ``ReIDModule`` the one that wrote the file, if
            it is one of this library's.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: The file is not a checkpoint of this class, or holds what is not made.
        """
        return load_method(
            cls, checkpoint_path, kwargs, map_location, hparams_file, strict, weights_only
        )

    def labels_due(self, epoch: int, interval: int) -> bool:
        """Whether an epoch wants labels of its own; ``interval`` is the callback's."""
        return epoch % interval == 0

    def before_labels(self, epoch: int) -> None:
        """Called before the features are extracted that the labels of an epoch are made from."""

    @abstractmethod
    def label(
        self, features: Tensor, cameras: Tensor, epoch: int, known: Tensor | None = None
    ) -> PseudoLabels:
        """Make labels; changes nothing.

        With several processes every one is asked, with the same features; those of the first hold.

        Args:
            features: of all training images, ``(N, D)``, from :meth:`label_features`; unit rows
                unless a method makes others.
            cameras: their cameras, ``(N,)``.
            epoch: the epoch that the labels are for.
            known: ``(N,)``, what the method's supervision lets it know; None if that is nothing.
        """

    def set_labels(self, labels: PseudoLabels) -> None:
        """Take the labels in use, whenever they are made or restored from a checkpoint.

        Args:
            labels: Labels of all training images, on any device.
        """
        self.labels, self._given_labels = labels.to(self.device), labels

    def adopt(self, labels: PseudoLabels, features: Tensor) -> None:
        """Derive from new labels what training needs beside them, such as a memory.

        Args:
            labels: Labels of all training images; they become those in use.
            features: What they were made from, ``(N, D)``.
        """
        if labels is not self._given_labels:  # the callback gave them before
            self.set_labels(labels)

    def advice(self, mostly_outliers: bool) -> str:
        """What to change where a labelling found too few clusters."""
        if not self._clusterers:
            return "there must be two people at least"
        advice = self._clusterers[0].advice(mostly_outliers)
        normalizes = getattr(self, "normalize_cameras", True)
        return advice if normalizes else f"{advice}, or try normalize_cameras=true"

    def check_requirements(self) -> None:
        """Raise an error if ``fit`` would lack a package or a file, before anything is computed."""
        for clusterer in self._clusterers:
            clusterer.require_packages()

    def setup(self, stage: str) -> None:
        """Take the data set's protocol of evaluation; check what ``fit`` needs.

        Raises:
            InputError: if the data module lacks something, the groups of batch norm fit neither
                the batch nor the Trainer, or the Trainer's precision or strategy is not supported.
        """
        self._require_supported(stage)
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        protocol = self.evaluation.protocol or getattr(datamodule, "protocol", None)
        self.retrieval.evaluation = replace(self.evaluation, protocol=protocol)
        if stage == "fit":
            self.check_fit(datamodule, self.trainer)
            self._tell_batch_norm(getattr(datamodule, "batch_size", None))

    def check_fit(self, datamodule: Any, trainer: pl.Trainer) -> None:
        """Raise an error if ``fit`` cannot work, before anything is computed or written.

        Args:
            datamodule: Set up for ``fit``.
            trainer: The Trainer that is to fit; it need not have started its processes.

        Raises:
            InputError: If the data module lacks something, the training images lack the labels that
                the method needs, or the groups of batch norm fit neither batch nor Trainer.
            MissingPackageError: If a package is not installed.
        """
        self.check_requirements()
        missing = [name for name in self.datamodule_needs if not hasattr(datamodule, name)]
        if missing:
            raise InputError(
                f"{type(self).__name__} needs a data module with {' and '.join(missing)}, as "
                f"ReIDDataModule has; {type(datamodule).__name__} has not"
            )
        if hasattr(datamodule, "training_labels"):
            datamodule.training_labels(self.supervision)
        if (batch_size := getattr(datamodule, "batch_size", None)) is not None:
            self._batch_norm_images(batch_size, trainer)

    def _require_supported(self, stage: str) -> None:
        """Raise an InputError if a precision or strategy of the Trainer does not work here."""
        strategy = self.trainer.strategy
        if isinstance(strategy, _SHARDING):
            raise InputError(
                f"strategy {type(strategy).__name__} splits the network over devices, which is not "
                "supported: choose ddp, where each device holds all of it"
            )
        precision = self.trainer.precision
        if precision not in _PRECISIONS and (precision != "16-true" or stage == "fit"):
            raise InputError(
                f"precision {precision} is not supported{' for training' * (stage == 'fit')}: "
                f"choose one of {', '.join(_PRECISIONS)}"
            )

    def _tell_batch_norm(self, batch_size: int | None) -> None:
        """Say how many images batch norm will see, which decides about results."""
        if batch_size is None:
            return
        seen, synchronized = self._batch_norm_images(batch_size, self.trainer)
        ranks = self.trainer.world_size
        alone = ranks > 1 and not (self.samples_per_bn_group or synchronized)
        rank_zero_info(
            f"Batch norm sees {seen} images at a time; a batch is {batch_size} images on each of "
            f"{ranks} devices" + (_SET_GROUP if alone else "")
        )

    def _batch_norm_images(self, batch_size: int, trainer: pl.Trainer) -> tuple[int, bool]:
        """Return how many images batch norm sees at a time, and whether it is synchronized."""
        ranks, group = trainer.world_size, self.samples_per_bn_group
        synchronized = ranks > 1 and getattr(trainer.strategy, "_layer_sync", None) is not None
        if synchronized and group:
            raise InputError(
                f"samples_per_bn_group={group} and the Trainer's sync_batchnorm=True exclude each "
                "other: leave one out"
            )
        if synchronized and trainer.strategy.root_device.type == "cpu":
            raise InputError(
                "the Trainer's sync_batchnorm=True works on GPUs alone; "
                f"samples_per_bn_group={ranks * batch_size} does the same everywhere"
            )
        seen = group or (ranks * batch_size if synchronized else batch_size)
        divide_batch(batch_size, seen, ranks)
        if seen == 1 and not isinstance(self.network.neck, nn.Identity):
            raise InputError(
                "batch_size=1 gives batch norm a single image, whose embedding it would make zero: "
                "batch_size must be at least 2"
            )
        return seen, synchronized

    def keep_clusterer(
        self, clusterer: Clusterer | Mapping[str, Any], name: str = "clusterer"
    ) -> Clusterer:
        """Take a clusterer, or its settings from a checkpoint; checkpoints keep its settings."""
        if isinstance(clusterer, Mapping):
            clusterer = Clusterer.from_settings(clusterer)
        if not isinstance(clusterer, Clusterer):
            raise TypeError(
                f"clusterer must be a Clusterer, such as DensityClusterer(), not {clusterer!r}"
            )
        self.hparams[name] = clusterer.settings()
        self._clusterers.append(clusterer)
        return clusterer

    def _keep_evaluation(self, evaluation: Evaluation | Mapping[str, Any]) -> Evaluation:
        """Take what to report, or its settings from a checkpoint; checkpoints keep its settings."""
        if isinstance(evaluation, Mapping):
            evaluation = Evaluation.from_settings(evaluation)
        if not isinstance(evaluation, Evaluation):
            raise TypeError(f"evaluation must be an Evaluation, not {evaluation!r}")
        self.hparams["evaluation"] = evaluation.settings()
        return evaluation

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer, with linear warm-up and steps, by epochs."""
        trained = [p for p in self.parameters() if p.requires_grad]
        rate, decay = self.learning_rate, self.weight_decay
        optimizer: torch.optim.Optimizer
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(trained, rate, momentum=0.9, weight_decay=decay)
        else:
            optimizer = torch.optim.Adam(trained, rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.learning_rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule}}

    def learning_rate_factor(self, epoch: int) -> float:
        """By what the learning rate is multiplied in an epoch."""
        risen = epoch / self.warmup_epochs if self.warmup_epochs else 1.0
        warmup = min(1.0, 0.01 + 0.99 * risen)
        return warmup * self.gamma ** sum(epoch >= m for m in self.milestones)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Embed a batch of query and gallery images."""
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Embed a batch of query and gallery images."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log retrieval under the data module's ``validation_name``."""
        self._log_retrieval(getattr(self.trainer.datamodule, "validation_name", "val"))  # type: ignore[attr-defined]

    def on_test_epoch_end(self) -> None:
        """Log retrieval under ``test/``."""
        self._log_retrieval("test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Batch:
        """Embeddings with the camera and position of their images."""
        embeddings = self.embed(batch["image"])
        return {"embedding": embeddings, "camera": batch["camera"], "index": batch["index"]}

    def _evaluate(self, batch: Batch) -> None:
        self.retrieval.update(
            self.embed(batch["image"]),
            batch["identity"],
            batch["camera"],
            batch["is_query"],
            batch["index"],
        )

    def _log_retrieval(self, name: str) -> None:
        # a sanity check or a dry run sees a few queries and no gallery: there is nothing to compute
        if not (self.trainer.sanity_checking or self.trainer.fast_dev_run):  # type: ignore[attr-defined]
            results = self.retrieval.compute()
            # every rank computed the same from all images: their mean is the number
            values = {f"{name}/{key}": value for key, value in results.items()}
            self.log_dict(values, sync_dist=True)
        self.retrieval.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the method's name and its :meth:`training_state`; the callback keeps the labels."""
        checkpoint["lightning_reid"] = {
            "method": type(self).__name__,
            "state": self.training_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the training state.

        Raises:
            InputError: if the checkpoint was not written by this method.
        """
        self.require_own(checkpoint)
        if self._trainer is not None:
            require_restorable(self._trainer, checkpoint)
        with reading(f"the checkpoint is damaged: its state of {type(self).__name__}"):
            self.load_training_state(checkpoint["lightning_reid"]["state"])

    def require_own(self, checkpoint: dict[str, Any], name: str = "the checkpoint") -> None:
        """Raise an InputError unless this method wrote the checkpoint, of a network like this.

        Args:
            checkpoint: what was read.
            name: what to call it.
        """
        method = method_of(checkpoint, name)
        if method != type(self).__name__:
            raise InputError(
                f"{name} was written by {method}, the model is {type(self).__name__}; "
                f"choose --model={method} or start from its backbone with --model.weights=<file>"
            )
        weights = network_weights(checkpoint, name)
        network = unwrapped(self.network)
        adapted = adaptable_names(network)
        theirs, own = (
            {k: getattr(v, "shape", None) for k, v in state.items() if k not in adapted}
            for state in (weights, network.state_dict())
        )
        if theirs and theirs != own:
            first = next(k for k in [*own, *theirs] if theirs.get(k) != own.get(k))
            saved, given = (
                settings.get("backbone", "given as a module")
                if isinstance(settings, Mapping)
                else "unknown"
                for settings in (checkpoint.get("hyper_parameters", {}), self.hparams)
            )
            raise InputError(
                f"{name} holds another network (backbone {saved}) than the settings give "
                f"(backbone {given}), which differ in {first}: take its own, --config <its run "
                "folder>/config.yaml, or load_from_checkpoint(file, backbone=...) in Python"
            )

    def on_fit_start(self) -> None:
        """Bring what a checkpoint restored to the device that the network has moved to since.

        Its optimizers are restored after this.
        """
        for schedule in self._own_schedules():
            for place, group in enumerate(schedule.optimizer.param_groups):
                if group["initial_lr"] != self.learning_rate:  # LearningRateFinder found another
                    schedule.base_lrs[place] = group["initial_lr"] = self.learning_rate
                    group["lr"] = self.learning_rate * self.learning_rate_factor(0)
        self._given = [[_settings_of(g) for g in o.param_groups] for o in self.trainer.optimizers]
        require_restorable_optimizers(self.trainer, loaded_checkpoint(self.trainer))
        if self.labels is not None:
            self.load_training_state(self.training_state())

    def on_train_start(self) -> None:
        """Let the optimizer's settings be those that were given where a run goes on.

        Raises:
            InputError: if the checkpoint was made with another optimizer.
        """
        if self.trainer.ckpt_path is None:
            return
        for optimizer, given in zip(self.trainer.optimizers, self._given, strict=False):
            for schedule in self._own_schedules():
                if schedule.optimizer is optimizer:
                    self._put_settings(given, schedule)

    def _own_schedules(self) -> list[Any]:
        """Return the schedules of :meth:`configure_optimizers` that the Trainer uses."""
        schedules: list[Any] = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        factor = self.learning_rate_factor
        return [s for s in schedules if factor in getattr(s, "lr_lambdas", ())]

    def _put_settings(self, given: list[dict[str, Any]], schedule: Any) -> None:
        factor = self.learning_rate_factor(schedule.last_epoch)
        groups = schedule.optimizer.param_groups
        for place, (group, own) in enumerate(zip(groups, given, strict=True)):
            if not own.keys() <= group.keys():
                raise InputError(
                    f"the checkpoint was not made with optimizer={self.optimizer}: go on with its "
                    "own, or begin with its weights (--model.weights)"
                )
            schedule.base_lrs[place] = own["initial_lr"]
            group.update({**own, "lr": own["initial_lr"] * factor})

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Remember which images are trained on, in case their loss has to be told of."""
        self._images = batch["index"] if isinstance(batch, dict) else None

    def on_before_backward(self, loss: Tensor) -> None:
        """Stop before a loss that is no number reaches the weights.

        Raises:
            InputError: naming the images of the batch.
        """
        if loss.isfinite():
            return
        paths = getattr(self.trainer.datamodule, "paths", None)  # type: ignore[attr-defined]
        images = [] if self._images is None else self._images.tolist()
        names = [str(paths("train")[i]) if paths else str(i) for i in images]
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        raise InputError(
            f"the loss became {float(loss)} in epoch {self.current_epoch}: lower the learning rate "
            f"(now {rate:.3g}) or clip gradients (--trainer.gradient_clip_val 1), and go on with "
            f"--ckpt_path last. The batch held {', '.join(names)}"
        )

    def training_state(self) -> dict[str, Any]:
        """What training needs beside the weights and labels, such as a memory: tensors."""
        return {}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`training_state` gave."""

    @property
    def remembers(self) -> bool:
        """Whether a checkpoint brings back what :meth:`adopt` made.

        So it is where a method has a :meth:`training_state` or :meth:`load_training_state` of its
        own, or nothing to adopt; otherwise a resumed run adopts its labels anew.
        """
        own, base = type(self), ReIDModule
        kept = own.training_state is not base.training_state
        kept |= own.load_training_state is not base.load_training_state
        return kept or own.adopt is base.adopt

    def current_labels(self) -> PseudoLabels:
        """The labels in use.

        Raises:
            RuntimeError: if there are none yet.
        """
        if self.labels is None:
            raise RuntimeError(
                f"{type(self).__name__} has no labels: PseudoLabelCallback must run before training"
            )
        return self.labels

    def gather(self, *tensors: Tensor) -> list[Tensor]:
        """The batches of all ranks, in rank order; gradients flow back to where they belong."""
        if self.trainer.world_size == 1:
            return list(tensors)
        gathered = [self.all_gather(t, sync_grads=t.requires_grad) for t in tensors]
        return [t.flatten(0, 1) for t in gathered if isinstance(t, Tensor)]

    def configure_callbacks(self) -> list[pl.Callback]:
        """A :class:`~lightning_reid.PseudoLabelCallback`, unless the Trainer was given one."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        given = any(isinstance(callback, PseudoLabelCallback) for callback in callbacks)
        return [] if given else [PseudoLabelCallback()]


def _settings_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """What an optimizer does with a group of parameters."""
    return {name: value for name, value in group.items() if name != "params"}
