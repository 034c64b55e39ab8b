"""The base of all data modules: camera-tagged images in, batches without identities out."""

from __future__ import annotations

import gc
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_reid.data import (
    Augmentation,
    ImageCache,
    ImageDataset,
    LabelSampler,
    OnError,
    Sample,
    Samples,
    ShardSampler,
    test_transform,
    train_transform,
)
from lightning_reid.data.images import MAX_PIXELS
from lightning_reid.data.matches import has_match
from lightning_reid.data.samples import UNKNOWN
from lightning_reid.data.text_columns import natural_order
from lightning_reid.datamodules.published import Published, say_differences
from lightning_reid.errors import (
    InputError,
    refuse_unknown,
    require,
    require_one_of,
    require_size,
)
from lightning_reid.labels import PseudoLabels
from lightning_reid.lightning import pl, rank_zero_warn
from lightning_reid.local_paths import local_path
from lightning_reid.messages import left_out

Split = Literal["train", "query", "gallery"]
Supervision = Literal["none", "intra_camera", "full"]
Known = Literal["identity", "tracklet"]


class ReIDDataModule(pl.LightningDataModule, ABC):
    """Training images with cameras; query and gallery images with cameras and identities.

    A data set is a subclass with one method, :meth:`samples`. Training batches are
    ``{"image", "camera", "index"}``: no identity, no path; plus ``"label"`` for a module whose
    ``supervision`` asks for it (see :meth:`training_labels`). Evaluation batches add
    ``"identity"`` and ``"is_query"``.

    Args:
        root: folder of the data set.
        size: height and width in pixels that images are resized to; 256 x 128 in the papers.
        batch_size: images in a training batch of one rank; 32 in CAP and O2CAP.
        images_per_group: images of each proxy or cluster in a batch; 4 in CAP and O2CAP.
        batches_per_epoch: training batches in an epoch; 400 in O2CAP. None: as many as hold every
            training image once; ``"clustered"``: every image that the present labels do not leave
            out, as in CAP's code.
        eval_batch_size: images in a batch that is only embedded; changes speed, not results.
        num_workers: processes that load images; None: one fewer than there are cores, at most 4.
        cache: ``"ram"`` keeps decoded, resized images in memory, shared between the workers of a
            process, for sets that fit; None reads every image again whenever it is drawn.
        on_error: ``"stop"`` ends the run at an image that cannot be read; ``"skip"`` leaves it out,
            and names it at the end. It then keeps its place, without a label.
        max_pixels: Largest height times width of an image file; a larger one counts as unreadable,
            as a few bytes can claim any size.
        within_camera: what a method may know that asks for labels within each camera:
            ``"identity"`` or ``"tracklet"``; None: the identity where it is known, else the
            tracklet.
        augmentation: how training images are varied.
        val: ``"test"`` watches the test set during ``fit`` under ``test_monitor/...``, a name that
            should never drive a checkpoint; None: no validation.
        seed: of the order in which images are drawn; None: the seed given to ``seed_everything``,
            else 0.
        unknown: refused; the error names similar arguments.

    Raises:
        UnknownArgumentError: if there is no such argument.
        InputError: if ``size`` is no height and width, a number is out of its range, or ``cache``,
            ``on_error``, ``within_camera`` or ``val`` none of its values; in ``setup``, if a split
            has no images or no query has a match in another camera.

    Example:
        >>> from lightning_reid.data import Sample
        >>> class Office(ReIDDataModule):
        ...     def samples(self, split):
        ...         names = ["gate/1.jpg", "gate/2.jpg", "hall/1.jpg"]
        ...         return [Sample(f"{self.root}/{name}", camera=name[:4]) for name in names]
        >>> office = Office("path/to/office", batch_size=64)
        >>> office.setup("fit")
        >>> office.camera_names, office.train_cameras.tolist()
        (['gate', 'hall'], [0, 0, 1])
    """

    def __init__(
        self,
        root: str | Path,
        size: tuple[int, int] = (256, 128),
        batch_size: int = 32,
        images_per_group: int = 4,
        batches_per_epoch: int | Literal["clustered"] | None = 400,
        eval_batch_size: int = 128,
        num_workers: int | None = None,
        cache: Literal["ram"] | None = None,
        on_error: OnError = "stop",
        max_pixels: int = MAX_PIXELS,
        within_camera: Known | None = None,
        augmentation: Augmentation | None = None,
        val: Literal["test"] | None = None,
        seed: int | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(type(self), unknown)
        super().__init__()
        require_size(size)
        require("batch_size", batch_size, 1)
        require("images_per_group", images_per_group, 1)
        if batches_per_epoch is not None and batches_per_epoch != "clustered":
            require("batches_per_epoch", batches_per_epoch, 1)
        require("eval_batch_size", eval_batch_size, 1)
        if num_workers is not None:
            require("num_workers", num_workers, 0)
        if cache is not None:
            require_one_of("cache", cache, ("ram",))
        require_one_of("on_error", on_error, ("stop", "skip"))
        require("max_pixels", max_pixels, 1)
        if within_camera is not None:
            require_one_of("within_camera", within_camera, ("identity", "tracklet"))
        if val is not None:
            require_one_of("val", val, ("test",))
        if seed is not None:
            require("seed", seed, 0)
        self.root = local_path(root)
        self.size = size
        self.batch_size = batch_size
        self.images_per_group = images_per_group
        self.batches_per_epoch = batches_per_epoch
        self.eval_batch_size = eval_batch_size
        self.num_workers = min(4, (os.cpu_count() or 1) - 1) if num_workers is None else num_workers
        self.cache = cache
        self.on_error = on_error
        self.max_pixels = max_pixels
        self.within_camera = within_camera
        self.augmentation = augmentation or Augmentation()
        self.val = val
        self.seed = seed
        self.camera_names: list[str] = []
        self.train_samples = Samples.of([])
        self.query_samples = Samples.of([])
        self.gallery_samples = Samples.of([])
        self.sampler: LabelSampler | None = None
        self._sampling_trainer: pl.Trainer | None = None
        self._caches: dict[str, ImageCache] = {}
        self._unreadable: set[str] = set()

    @abstractmethod
    def samples(self, split: Split) -> Iterable[Sample]:
        """The images of one split, in a fixed order; raises an error that names what is missing.

        Every image needs a camera.
        """

    @property
    def has_test(self) -> bool:
        """Whether there are query and gallery images to test on."""
        return True

    @property
    def protocol(self) -> Literal["market", "cuhk03"]:
        """How a test counts unless told, see :class:`~lightning_reid.metrics.Evaluation`."""
        return "market"

    @property
    def validation_name(self) -> str:
        """Under which name ``validate`` and the validation during ``fit`` report."""
        return "test_monitor"

    @property
    def published(self) -> Published | None:
        """What is known of the data set as published, to compare with; None: nothing."""
        return None

    @property
    def train_identities(self) -> Tensor | None:
        """True identities of the training images, ``(N,)``, for diagnostics; None if unknown."""
        return _identities(self.train_samples)

    @property
    def train_cameras(self) -> Tensor:
        """Cameras of the training images, ``(N,)``, by their position in ``camera_names``."""
        return self._cameras(self.train_samples)

    def training_labels(self, supervision: Supervision) -> Tensor | None:
        """What a method may know about who is on the training images, ``(N,)`` int64.

        Args:
            supervision: of the method. ``"none"``: nothing. ``"intra_camera"``: identities or
                tracklets (see ``within_camera``), as numbers from 0 within each camera, in an order
                of its own, so that equal numbers in two cameras mean nothing; -1 for images in no
                tracklet. ``"full"``: identities, numbered from 0.

        Raises:
            InputError: if the data does not have them.
        """
        if supervision == "none":
            return None
        if supervision == "full":
            return _numbered(self._known("identity", supervision))
        known = self.within_camera
        if known is None:
            known = "identity" if self.train_identities is not None else "tracklet"
        return self._within_cameras(self._known(known, supervision))

    def _known(self, what: Known, supervision: Supervision) -> Tensor:
        """Identities of all training images, or tracklets of some."""
        identities = self.train_identities if what == "identity" else None
        tracklets = torch.from_numpy(self.train_samples.tracklets)
        if identities is not None:
            return identities
        if what == "tracklet" and (tracklets >= 0).any():
            return tracklets
        lacking = "identities"
        if supervision == "intra_camera":
            lacking = "tracklets" if self.within_camera == "tracklet" else "identities or tracklets"
        unknown = self.train_samples.identities == UNKNOWN
        have_none = f"the training images in {self.root} have no {lacking}"
        if self.within_camera != "tracklet" and not unknown.all():
            first = self.train_samples.paths[int(unknown.argmax())]
            have_none = (
                f"{int(unknown.sum())} of the {len(unknown)} training images in {self.root} have "
                f"no identity, such as {first}"
            )
            have_none += ", and none is in a tracklet" if supervision == "intra_camera" else ""
        raise InputError(
            f"{have_none}, which this method needs (supervision {supervision!r}); CAP, O2CAP and "
            "CALR need none"
        )

    def _within_cameras(self, known: Tensor) -> Tensor:
        cameras = self.train_cameras
        labels = torch.full_like(known, UNKNOWN)
        for camera in range(int(cameras.max()) + 1):
            own = (cameras == camera) & (known >= 0)
            if own.any():
                numbers = _numbered(known[own])
                rng = np.random.default_rng((self._seed(), camera))
                labels[own] = torch.from_numpy(rng.permutation(int(numbers.max()) + 1))[numbers]
        if not (labels > 0).any():
            raise InputError(
                f"in {self.root} every camera shows one person only: without labels of people "
                "within each camera use CAP, O2CAP or CALR, which need none"
            )
        return labels

    @classmethod
    def load_from_checkpoint(cls, *_: Any, **__: Any) -> NoReturn:
        """Refuse: Lightning would import and call what the checkpoint names.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"checkpoints hold no settings of {cls.__name__}: make it with its arguments, which "
            "the run's config.yaml has"
        )

    def setup(self, stage: str | None = None) -> None:
        """Read the lists of files that the stage needs (``fit``, ``validate``, ``test``, ...)."""
        read: dict[str, Samples] = {}
        only_train = stage == "predict" and not self.has_test
        if (stage in ("fit", None) or only_train) and not self.train_samples:
            read["train"] = self.train_samples = read_split(self, "train")
        tested = self.val == "test" if stage == "fit" else not only_train
        if tested and not self.query_samples:
            read["query"] = self.query_samples = read_split(self, "query")
            read["gallery"] = self.gallery_samples = read_split(self, "gallery")
            _check_matches(self.query_samples, self.gallery_samples, self.root)
        say_differences(self.published, read, self.root)
        # those of the training first: their numbers do not depend on what else has been read
        own = self.train_samples.camera_set
        others = {*self.query_samples.camera_set, *self.gallery_samples.camera_set} - {*own}
        self.camera_names = [*sorted(own, key=natural_order), *sorted(others, key=natural_order)]
        if self.train_samples and stage in ("fit", None):
            self._setup_training()

    def teardown(self, stage: str) -> None:
        """Name the images that could not be read."""
        if self._unreadable:
            warnings.warn(left_out(sorted(self._unreadable)), stacklevel=1)
            self._unreadable = set()

    def _setup_training(self) -> None:
        cameras = self.train_samples.camera_set
        if len(cameras) == 1:
            rank_zero_warn(
                f"all {len(self.train_samples)} training images in {self.root} are from one "
                f"camera, {cameras[0]!r}: nothing can be learnt across cameras"
            )
        if self.sampler is not None and self._sampling_trainer is self.trainer:
            return  # a second setup within a run: the loader that is in use draws from it
        self._sampling_trainer = self.trainer
        self.sampler = LabelSampler(
            self.train_samples,  # type: ignore[arg-type]  # only its length is used
            self.batch_size,
            self.images_per_group,
            self._batches_per_epoch(),
            seed=self._seed(),
            reshuffle=not (self.trainer and self.trainer.overfit_batches),  # type: ignore[attr-defined]
            **self._ranks(),
        )

    def assign(self, labels: PseudoLabels) -> None:
        """Draw training batches by these labels from now on.

        Raises:
            ValueError: if there are more or fewer labels than training images.
        """
        self._training_sampler().assign(
            labels.groups,
            labels.sampling,
            self.train_cameras,
            labels.images_per_group,
            labels.batches_per_epoch,
            labels.soft,
        )

    def resume_at(self, epoch: int, batches: int) -> None:
        """Leave out the first batches of an epoch, which a resumed run has trained on already.

        Args:
            epoch: The epoch, from 0.
            batches: Batches of one process.
        """
        self._training_sampler().resume_at(epoch, batches)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """P x K batches of augmented training images, drawn by the current labels."""
        sampler = self._training_sampler()
        if self.batch_size != sampler.batch_size:  # BatchSizeFinder sets it
            sampler.resize(self.batch_size, self._batches_per_epoch())
            if sampler.batch_size != self.batch_size:
                rank_zero_warn(
                    f"batch_size={self.batch_size} is not a multiple of images_per_group: "
                    f"training takes batches of {sampler.batch_size}"
                )
                self.batch_size = sampler.batch_size
        if self.trainer:
            # workers of a resumed run draw the first batches before Lightning tells the sampler the
            # epoch, and before the Trainer's current_epoch counts the one that the checkpoint ended
            progress = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(progress.processed)  # type: ignore[attr-defined]
        transform = train_transform(self.size, self.augmentation)
        dataset = self._dataset("train", transform, self._training_columns())
        return self._loader(dataset, sampler, self.batch_size, persistent=True)

    def _training_sampler(self) -> LabelSampler:
        if self.sampler is None:
            raise RuntimeError(f'call {type(self).__name__}.setup("fit") before training batches')
        return self.sampler

    def label_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Every training image once, in order, not augmented; each rank its share."""
        transform = test_transform(self.size)
        dataset = self._dataset("train", transform, self._training_columns())
        return self._eval_loader(dataset)

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | list[Any]:
        """The test set if asked to watch it (always for the command ``validate``), else nothing."""
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        watch = self.val == "test" or not fitting
        if watch:
            return self.test_dataloader()
        # Lightning would warn of the empty list, which is just what is meant
        warnings.filterwarnings("ignore", "Total length of .* across ranks is zero")
        return []

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Query images, then gallery images, once each; each rank its share."""
        samples = self._images("test")
        identities = _identities(samples)
        if identities is None:
            raise InputError(f"the test images in {self.root} have no identities to test against")
        is_query = torch.arange(len(samples)) < len(self.query_samples)
        columns = {"identity": identities, "is_query": is_query}
        return self._eval_loader(self._dataset("test", test_transform(self.size), columns))

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Query and gallery images, as for ``test``; without a test set the training images."""
        if self._embedded == "test":
            return self.test_dataloader()
        return self._eval_loader(self._dataset("train", test_transform(self.size), {}))

    def paths(self, split: Literal["train", "test", "predict"]) -> Sequence[str]:
        """Image files in the order of a batch's ``"index"``.

        Args:
            split: ``"train"``; ``"test"``: query, then gallery; ``"predict"``: what ``predict``
                embeds.
        """
        return self._images(self._embedded if split == "predict" else split).paths

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Leave out what could not be read; in training another image of the batch stands in.

        Raises:
            InputError: if no image of a training batch could be read.
        """
        if not (isinstance(batch, dict) and "readable" in batch):
            return batch
        readable = batch.pop("readable")
        split: Literal["train", "test"] = "test" if "is_query" in batch else "train"
        self.note_unreadable(split, batch["index"][~readable])
        kept = readable.nonzero()[:, 0]
        if split == "train":
            if not len(kept):
                raise InputError(f"no image of a batch can be read: {', '.join(self._unreadable)}")
            kept = torch.where(readable, torch.arange(len(readable)), kept[0])
        return {name: column[kept] for name, column in batch.items()}

    def note_unreadable(self, split: Literal["train", "test"], index: Tensor) -> None:
        """Remember images that could not be read, to name them when the run ends."""
        paths = self.paths(split)
        self._unreadable |= {paths[i] for i in index.tolist()}

    @property
    def _embedded(self) -> Literal["train", "test"]:
        """What ``predict`` embeds."""
        return "test" if self.query_samples else "train"

    def _images(self, split: Literal["train", "test"]) -> Samples:
        return self.train_samples if split == "train" else self.query_samples + self.gallery_samples

    def _dataset(
        self, split: Literal["train", "test"], transform: Any, columns: dict[str, Tensor]
    ) -> ImageDataset:
        samples = self._images(split)
        if self.cache and split not in self._caches:
            self._caches[split] = ImageCache(len(samples), self.size)
        return ImageDataset(
            samples.paths,
            self._cameras(samples),
            transform,
            columns,
            self.on_error,
            self._caches.get(split),
            self.max_pixels,
        )

    def _cameras(self, samples: Samples) -> Tensor:
        return torch.from_numpy(samples.camera_numbers(self.camera_names))

    def _training_columns(self) -> dict[str, Tensor]:
        """What the method may see of the training images besides pixels and cameras."""
        module = self.trainer.lightning_module if self.trainer else None
        labels = self.training_labels(getattr(module, "supervision", "none"))
        return {} if labels is None else {"label": labels}

    def _batches_per_epoch(self) -> int | Literal["clustered"]:
        if self.batches_per_epoch is not None:
            return self.batches_per_epoch
        world_size = self._ranks()["num_replicas"]
        return max(1, len(self.train_samples) // (self.batch_size * world_size))

    def _eval_loader(self, dataset: Dataset[Any]) -> DataLoader[dict[str, Any]]:
        ranks = self._ranks()
        count = len(dataset)  # type: ignore[arg-type]
        if count < ranks["num_replicas"]:
            raise InputError(
                f"{count} images cannot be shared by {ranks['num_replicas']} processes: take fewer "
                "(--trainer.devices)"
            )
        return self._loader(dataset, ShardSampler(dataset, **ranks), self.eval_batch_size)

    def _loader(
        self,
        dataset: Dataset[Any],
        sampler: Sampler[Any],
        batch_size: int,
        persistent: bool = False,
    ) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            worker_init_fn=_keep_imports_shared,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=persistent and self.num_workers > 0,
        )

    def _ranks(self) -> dict[str, int]:
        if self.trainer is None:
            return {"num_replicas": 1, "rank": 0}
        return {"num_replicas": self.trainer.world_size, "rank": self.trainer.global_rank}

    def _seed(self) -> int:
        # seed_everything leaves its seed here, and every rank inherits it
        return int(os.environ.get("PL_GLOBAL_SEED", 0)) if self.seed is None else self.seed


def read_split(datamodule: ReIDDataModule, split: Split) -> Samples:
    """The images of one split, as columns.

    Raises:
        InputError: if there are none, or one has no camera.
    """
    samples = Samples.of(datamodule.samples(split))
    if not len(samples):
        raise InputError(f"{datamodule.root} has no {split} images")
    nowhere = samples.cameras == UNKNOWN  # which would count from the end as an index
    if nowhere.any():
        more = f" (nor have {nowhere.sum() - 1} others)" if nowhere.sum() > 1 else ""
        raise InputError(
            f"the {split} image {samples.paths[int(nowhere.argmax())]} has no camera{more}; "
            "every image needs the name of one"
        )
    return samples


def _identities(samples: Samples) -> Tensor | None:
    """Identities, if they are known for all images."""
    identities = torch.from_numpy(samples.identities)
    return identities if len(identities) and bool((identities >= 0).all()) else None


def _numbered(values: Tensor) -> Tensor:
    """The position of each value among the distinct ones, from 0."""
    numbers: Tensor = torch.unique(values, return_inverse=True)[1]
    return numbers


def _check_matches(query: Samples, gallery: Samples, root: Path) -> None:
    """Raise an InputError unless some query has its person in another camera of the gallery."""
    if not has_match(query, gallery).any():
        names = sorted({*query.camera_set, *gallery.camera_set}, key=natural_order)
        raise InputError(
            f"none of the {len(query)} query images in {root} has a match in the gallery from "
            f"another camera (cameras: {', '.join(names)}), so there is nothing to test"
        )


def _keep_imports_shared(_worker: int) -> None:
    """Let a worker's garbage collector leave alone what was imported before it was forked.

    A full run of it would touch, and so copy, more than 100 MB in every worker.
    """
    gc.freeze()
