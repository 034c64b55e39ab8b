"""Short whole runs of every method with all that is random, and how to compare what they leave."""

import csv
import math
from pathlib import Path

import torch
from command_line import EASY_CLUSTERS, arguments
from every_method import METHODS, options_of

NAMES = [cls.__name__ for cls in METHODS]
BATCHES = 3

# everything that is random is on
RANDOM = [
    "--model.dropout=0.3",
    "--data.augmentation.pad=3",
    "--data.augmentation.jitter=0.2",
    "--data.augmentation.rotate=10",
    "--data.augmentation.shift=0.1",
]
SCHEDULE = [
    "--trainer.max_epochs=4",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_model_summary=false",
    "--model.warmup_epochs=2",
    "--model.milestones=[3]",
]
# both stages, several rounds, soft labels: whatever a method comes to in a whole run
OWN = {
    "CAP": ["--model.inter_camera_epoch=2"],
    "CALR": [
        "--trainer.max_epochs=5",
        "--model.local_epochs=1",  # in each of three cameras
        "--model.align_epochs=1",
        "--model.weight_epoch=1",
        "--model.refinement=cosine",
    ],
    "PCSL": ["--model.soft_epoch=1"],
    "ReliableSoftLabels": [
        "--model.num_clusters=6",
        "--model.epochs_per_round=2",
        "--model.threshold=0.5",
    ],
}


def command(name, root, folder, *options):
    """A run of a method with all that it has, with a worker or without, with a test or without."""
    place = NAMES.index(name)
    own = EASY_CLUSTERS if "clusterer" in options_of(METHODS[place]) else []
    own = [] if name == "ReliableSoftLabels" else own  # k-means
    made = arguments("fit", root, folder, *own, *RANDOM, *SCHEDULE, *OWN.get(name, []), *options)
    made[1] = f"--model={name}"
    made += [f"--data.num_workers={place % 2}", f"--evaluate={str(place % 3 == 0).lower()}"]
    return made


def read(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def differences(ours, theirs, place=""):
    """Where two checkpoints differ, bit for bit, beside time, folder and tests before training."""
    if place == "/loops/test_loop":
        return []
    if isinstance(ours, dict):
        kept = [{k: v for k, v in d.items() if "seconds/" not in str(k)} for d in (ours, theirs)]
        if kept[0].keys() != kept[1].keys():
            return [place]
        return [d for k in kept[0] for d in differences(kept[0][k], kept[1][k], f"{place}/{k}")]
    if isinstance(ours, (list, tuple)):
        if len(ours) != len(theirs):
            return [place]
        pairs = zip(ours, theirs, strict=True)
        return [d for i, pair in enumerate(pairs) for d in differences(*pair, f"{place}/{i}")]
    if isinstance(ours, torch.Tensor):
        return [] if _bits(ours) == _bits(theirs) else [place]
    if isinstance(ours, float) and math.isnan(ours):
        return [] if math.isnan(theirs) else [place]
    if place.endswith(("/dirpath", "_path")):
        ours, theirs = Path(ours).name, Path(theirs).name
        return [] if place.endswith("/dirpath") or ours == theirs else [place]
    return [] if type(ours) is type(theirs) and ours == theirs else [place]


def _bits(tensor):
    dense = tensor.to_dense().contiguous()
    return dense.shape, dense.dtype, dense.numpy().tobytes()


def lines(folder):
    """What was logged, beside seconds; what was replayed stands there once."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in rows)  # none is cut off
    return [
        {name: value for name, value in row.items() if value and "seconds/" not in name}
        for row in rows
    ]
