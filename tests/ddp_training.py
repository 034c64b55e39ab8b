"""Every method trained by one, two and three processes, one run after the other.

Usage: ddp_training.py DATA_FOLDER OUTPUT_FOLDER

The processes are forked from this one, so that everything is imported once. Each keeps what it
saw in OUTPUT_FOLDER/<case>-<precision>-<processes>-<rank>.pt, what batch norm alone did in
batch-norm-<processes>-<rank>.pt, and what came of a user's own loaders in
own-<processes>-<rank>.pt.
"""

import os
import socket
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from every_method import METHODS, options_of
from pytorch_lightning.strategies import DDPStrategy
from small_methods import market, state_of
from torch import distributed as dist
from torch import multiprocessing
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from lightning_reid import CALR, O2CAP, Market1501
from lightning_reid.clustering import DensityClusterer, KMeansClusterer
from lightning_reid.errors import InputError
from lightning_reid.models import GroupBatchNorm

PROCESSES = (1, 2, 3)
BATCH = 24  # images of all processes
GROUP = 4  # of batch norm: several in each process

DENSITY = DensityClusterer(k1=8, k2=2, eps=0.6, min_samples=2)
# every method as it is, and choices that take other paths
CASES = {
    **{cls.__name__: (cls, {}) for cls in METHODS},
    "O2CAP-normalized": (O2CAP, {"normalize_cameras": True, "clusterer": DENSITY}),
    "O2CAP-one-bn-group": (O2CAP, {"samples_per_bn_group": BATCH}),
    "CALR-stage-2": (CALR, {"refinement": "none"}),
}
# the usual batch norm, of the images of each process: in one process these are groups
DEVICE_BN = {f"O2CAP-bn-of-{count}": count for count in PROCESSES[1:]}
# short phases, so that few epochs on few images pass through everything that a method does
SETTINGS = {
    "clusterer": KMeansClusterer(num_clusters=5),  # over cameras, untrained as the network is
    "samples_per_bn_group": GROUP,
    "dropout": 0.0,
    "threshold": 0.5,
    "warmup_epochs": 0,
    "local_epochs": 1,
    "epochs_per_round": 1,
    "align_epochs": 1,
}
LATER = ("soft_epoch", "inter_camera_epoch", "weight_epoch")
EPOCHS = {"CALR": 5}  # one for each of three cameras, then two; two for the others
# Adam's first step goes as far for a gradient that is nothing but rounding as for any other
PRECISIONS = {
    "64-true": {"optimizer": "adam", "learning_rate": 1e-3, **dict.fromkeys(LATER, 1)},
    "32-true": {"optimizer": "sgd", "learning_rate": 1e-2, **dict.fromkeys(LATER, 0)},
}

BN_PROCESSES = 4
BN_BATCH = 16
BN_GROUPS = {"within": 2, "each": 4, "pairs": 8, "all": 16}
BN_LAYERS = {"usual": {}, "cumulative": {"momentum": None}, "no-weights": {"affine": False}}


class Layers(torch.nn.Sequential):
    """A network such as people use, but of two layers."""

    num_features = 24

    def __init__(self):
        super().__init__(*layer(3, 8, 4), *layer(8, self.num_features, 2))


def layer(channels, features, stride):
    """Half as many pixels, or fewer, with batch norm."""
    convolution = torch.nn.Conv2d(channels, features, 5, stride, padding=2, bias=False)
    return convolution, torch.nn.BatchNorm2d(features), torch.nn.ReLU()


class Kept(pl.Callback):
    """What was drawn, lost, labelled and remembered, step by step."""

    def __init__(self):
        names = ("index", "cameras", "losses", "labels", "memories", "states")
        self.result = {name: [] for name in names}

    def on_train_epoch_start(self, trainer, pl_module):
        self.result["labels"].append(pl_module.labels.hard.clone())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.result["index"].append(batch["index"])
        self.result["cameras"].append(batch["camera"])
        self.result["losses"].append(outputs["loss"].detach())
        self.result["memories"].append(memory_of(pl_module))  # the module moves it after this
        self.result["states"].append(state_of(pl_module))

    def on_train_epoch_end(self, trainer, pl_module):
        self.result["memories"].append(memory_of(pl_module))  # new labels are made after this

    def on_train_end(self, trainer, pl_module):
        self.result["labels"].append(pl_module.labels.hard.clone())
        self.result["memories"].append(memory_of(pl_module))
        self.result["states"].append(state_of(pl_module))
        logged = trainer.callback_metrics.items()
        self.result["logged"] = {k: float(v) for k, v in logged if "seconds" not in k}


def memory_of(module):
    """A copy of the memory; nothing where there is none."""
    return getattr(module, "memory", torch.empty(0)).clone()


def options(case, precision, processes):
    """A method and its arguments; None where a case is not for so many processes."""
    if case in DEVICE_BN:
        group = BATCH // DEVICE_BN[case] if processes == 1 else None
        if processes not in (1, DEVICE_BN[case]):
            return None
        cls, own = O2CAP, {"samples_per_bn_group": group}
    else:
        cls, own = CASES[case]
    settings = {**SETTINGS, **PRECISIONS[precision]}
    taken = {name: value for name, value in settings.items() if name in options_of(cls)}
    return cls, {**taken, **own}


def train(rank, processes, case, precision, root, folder):
    """Fit and test; returns what there is to compare."""
    cls, settings = options(case, precision, processes)
    pl.seed_everything(0, verbose=False)
    # as without a seed: only the first rank has the weights of one process
    torch.manual_seed(rank)
    model, kept = cls(backbone=Layers(), weights=None, **settings), Kept()
    data = market(root, batch_size=BATCH // processes)
    runner = trainer(
        processes,
        folder,
        precision=precision,
        max_epochs=EPOCHS.get(cls.__name__, 2),
        max_steps=-1 if precision == "64-true" else 1,
        use_distributed_sampler=processes == 2,  # makes no difference
        callbacks=[kept],
    )
    runner.fit(model, data)
    (test,) = runner.test(model, data, verbose=False)
    return {**kept.result, "test": test}


def trainer(processes, folder, **kwargs):
    """A silent Trainer for so many processes."""
    ddp = {"strategy": DDPStrategy(process_group_backend="gloo")} if processes > 1 else {}
    return pl.Trainer(
        accelerator="cpu",
        devices=processes,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **ddp,
        **kwargs,
    )


def train_all(rank, processes, port, root, folder):
    """What one process does."""
    if processes > 1:
        join(rank, processes, port)
    for case in (*CASES, *DEVICE_BN):
        for precision in PRECISIONS:
            if options(case, precision, processes):
                result = train(rank, processes, case, precision, root, folder)
                torch.save(result, folder / f"{case}-{precision}-{processes}-{rank}.pt")


class Undealt(Sampler):
    """Draws as another sampler does; Lightning does not know that."""

    def __init__(self, sampler):
        self.sampler = sampler

    def __iter__(self):
        return iter(self.sampler)

    def __len__(self):
        return len(self.sampler)


class OwnData(pl.LightningDataModule):
    """What a user may write who does not think of several processes."""

    def __init__(self, root, own_sampler):
        super().__init__()
        self.own_sampler = own_sampler
        self.images = market(root, batch_size=8)
        self.images.setup("fit")  # without a Trainer: for one process
        self.assign = self.images.assign
        self.label_dataloader = self.images.label_dataloader

    def train_dataloader(self):
        loader = self.images.train_dataloader()
        sampler = self.own_sampler(loader.sampler)
        return DataLoader(loader.dataset, loader.batch_size, sampler=sampler)


class OwnLabelLoader(Market1501):
    """Another order of the images to be labelled, or all of them for every process."""

    def __init__(self, *args, own_loader, **kwargs):
        super().__init__(*args, **kwargs)
        self.own_loader = own_loader

    def label_dataloader(self):
        return self.own_loader(super().label_dataloader().dataset)


def padded(dataset):
    """As Lightning does it: in random order, the first images once more at the end."""
    sampler = DistributedSampler(dataset, dist.get_world_size(), dist.get_rank(), shuffle=True)
    return DataLoader(dataset, 16, sampler=sampler)


def plain(own_sampler):
    return lambda root: OwnData(root, own_sampler)


def labelled(own_loader):
    settings = {"size": (32, 16), "batch_size": 12, "batches_per_epoch": 2, "num_workers": 0}
    return lambda root: OwnLabelLoader(root, own_loader=own_loader, **settings)


# data module and settings of the Trainer
OWN = {
    "dealt-out": (plain(Undealt), {}),
    "drawn-twice": (plain(Undealt), {"use_distributed_sampler": False}),
    "for-one-process": (plain(lambda sampler: sampler), {}),
    "labels-unshared": (labelled(partial(DataLoader, batch_size=16)), {}),
    "labels-padded": (labelled(padded), {}),
    "labels-dropped": (labelled(partial(DataLoader, batch_size=16, drop_last=True)), {}),
    "synchronized": (partial(market, batch_size=12), {"sync_batchnorm": True}),
}


def train_own(rank, processes, port, root, folder):
    """The labels that a user's own loaders lead to, or the error."""
    join(rank, processes, port)
    results = {}
    for name, (own_data, settings) in OWN.items():
        cls, kwargs = options("O2CAP", "64-true", processes)
        pl.seed_everything(0, verbose=False)
        model = cls(backbone=Layers(), weights=None, **kwargs)
        runner = trainer(processes, folder, precision="64-true", max_steps=1, **settings)
        kept = Kept()
        runner.callbacks.append(kept)
        try:
            runner.fit(model, own_data(root))
            results[name] = kept.result["labels"][0]
        except InputError as error:
            results[name] = str(error)
    torch.save(results, folder / f"own-{processes}-{rank}.pt")


def normalize_all(rank, processes, port, folder):
    """Batch norm alone: what comes out, the gradients, the running statistics."""
    join(rank, processes, port)
    if processes > 1:
        dist.init_process_group("gloo", rank=rank, world_size=processes)
    results = {}
    for layer, options in BN_LAYERS.items():
        for group, size in BN_GROUPS.items():
            results[layer, group] = normalize(rank, processes, size, **options)
    torch.save(results, folder / f"batch-norm-{processes}-{rank}.pt")


def normalize(rank, processes, size, **options):
    """Two steps of one layer on this process's share of the same images."""
    torch.manual_seed(0)
    norm = GroupBatchNorm(5, size, **options).double()
    results = {}
    for step in range(2):
        images, direction = torch.randn(2, BN_BATCH, 5, 3, 2, dtype=torch.float64) * (1 + step)
        own = images.chunk(processes)[rank].requires_grad_()
        normalized = norm(own)
        (normalized * direction.chunk(processes)[rank]).sum().backward()
        results[f"normalized-{step}"], results[f"gradient-{step}"] = normalized.detach(), own.grad
    if norm.affine:
        results["weight"], results["bias"] = norm.weight.grad, norm.bias.grad
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = deepcopy(norm).float()(own.bfloat16())
    assert half.dtype == torch.bfloat16
    return {**results, "half": half, **dict(norm.named_buffers())}


def join(rank, processes, port):
    """As a launcher would tell a process who it is."""
    os.environ.update(
        LOCAL_RANK=f"{rank}", WORLD_SIZE=f"{processes}", MASTER_ADDR="127.0.0.1", MASTER_PORT=port
    )


def start(work, processes, *args):
    """Fork processes and wait for them; if one fails, all do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = f"{free.getsockname()[1]}"
    args = (processes, port, *args)
    multiprocessing.start_processes(work, args, nprocs=processes, start_method="fork")


def main():
    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for processes in (1, BN_PROCESSES):
        start(normalize_all, processes, folder)
    for processes in PROCESSES:
        start(train_all, processes, root, folder)
    start(train_own, 2, root, folder)


if __name__ == "__main__":
    main()
