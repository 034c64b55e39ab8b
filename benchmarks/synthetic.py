"""How hard the synthetic persons are: raw pixels, colours, an untrained and a supervised network.

    python benchmarks/synthetic.py --train-minutes 10 --json synthetic.json

draws the set, scores nearest neighbours under the Market-1501 protocol on raw pixels, colour
histograms and an untrained network, each also camera-normalised, then trains the same network with
the true identities and scores it again.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from lightning_reid.clustering import camera_normalize
from lightning_reid.data import parse_market_folder
from lightning_reid.data.synthetic import draw_synthetic_persons
from lightning_reid.metrics import retrieval_metrics

SIZE = (64, 32)
IDENTITIES_PER_BATCH, IMAGES_PER_IDENTITY = 8, 4
LEARNING_RATE = 3.5e-4
MARGIN = 0.3


@dataclass(frozen=True)
class Images:
    """Pictures ``(N, 3, H, W)`` from 0 to 1 with identity and camera ``(N,)``."""

    pictures: Tensor
    identities: Tensor
    cameras: Tensor


@dataclass(frozen=True)
class Score:
    """Mean average precision in percent, of plain and of camera-normalised features."""

    plain: float
    camera_normalized: float


def read_folder(folder: Path) -> Images:
    """Reads all images of a folder at the size the network takes."""
    samples = parse_market_folder(folder)
    pictures = []
    for sample in samples:
        with Image.open(sample.path) as image:
            small = image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR)
        pictures.append(torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255.0)
    return Images(
        torch.stack(pictures),
        torch.tensor([sample.identity for sample in samples]),
        torch.tensor([int(sample.camera.lstrip("c")) for sample in samples]),
    )


def pixels(pictures: Tensor) -> Tensor:
    """Returns the raw pixels ``(N, 3HW)``."""
    return pictures.flatten(1)


def histograms(pictures: Tensor, bins: int = 8) -> Tensor:
    """Returns square roots of joint RGB histograms ``(N, 3 * bins**3)`` of three body stripes."""
    index = (pictures * bins).long().clamp_(max=bins - 1)
    joint = (index[:, 0] * bins + index[:, 1]) * bins + index[:, 2]
    stripes = [stripe.flatten(1) for stripe in joint.chunk(3, dim=1)]
    counts = [functional.one_hot(s, bins**3).sum(dim=1) for s in stripes]
    return torch.cat(counts, dim=1).float().sqrt()


def standardize(pictures: Tensor) -> Tensor:
    """Applies the usual statistics of natural images."""
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    return (pictures - mean[:, None, None]) / std[:, None, None]


@torch.no_grad()
def embed(network: nn.Module, pictures: Tensor) -> Tensor:
    """Returns the network's features ``(N, D)``."""
    network.eval()
    return torch.cat([network(standardize(batch)) for batch in pictures.split(256)])


def score(query: Images, gallery: Images, features: Tensor) -> Score:
    """Scores features of query and gallery, one after the other, by mAP.

    Args:
        query: The query images.
        gallery: The gallery images.
        features: ``(Q + G, D)``.

    Returns:
        The mAP of the unit features and of the camera-normalised unit features.
    """
    unit = functional.normalize(features)
    cameras = torch.cat([query.cameras, gallery.cameras])
    q = len(query.identities)
    scores = [
        100.0
        * retrieval_metrics(
            f[:q],
            f[q:],
            query.identities,
            gallery.identities,
            query.cameras,
            gallery.cameras,
        )["mAP"]
        for f in (unit, camera_normalize(unit, cameras))
    ]
    return Score(*scores)


def augment(pictures: Tensor) -> Tensor:
    """Flips, shifts, recolours and partly erases each image ``(N, 3, H, W)``."""
    height, width = SIZE
    gains = 1.0 + 0.2 * torch.randn(len(pictures), 3, 1, 1)
    padded = functional.pad(pictures * gains, (3, 3, 5, 5))
    varied = []
    for picture in padded:
        top, left = int(torch.randint(11, ())), int(torch.randint(7, ()))
        crop = picture[:, top : top + height, left : left + width].clone()
        if torch.rand(()) < 0.4:
            y, x = int(torch.randint(height - 16, ())), int(torch.randint(width - 12, ()))
            crop[:, y : y + 16, x : x + 12] = 0.5
        varied.append(crop.flip(2) if torch.rand(()) < 0.5 else crop)
    return torch.stack(varied)


def batches(labels: Tensor) -> Iterator[Tensor]:
    """Yields image indices of P identities with K images each, for ever."""
    members = [(labels == label).nonzero().flatten() for label in labels.unique()]
    while True:
        chosen = torch.randperm(len(members))[:IDENTITIES_PER_BATCH].tolist()
        picks = [torch.randint(len(members[i]), (IMAGES_PER_IDENTITY,)) for i in chosen]
        yield torch.cat([members[i][pick] for i, pick in zip(chosen, picks, strict=True)])


def batch_hard_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean margin loss of each image's furthest match and nearest other."""
    distance = torch.cdist(features, features)
    same = labels[:, None] == labels
    furthest = distance.masked_fill(~same, 0.0).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    return functional.relu(furthest - nearest + MARGIN).mean()


def train(network: nn.Module, images: Images, minutes: float) -> int:
    """Trains with cross-entropy and batch-hard triplets; returns the number of steps."""
    identities, labels = images.identities.unique(return_inverse=True)
    classifier = nn.Linear(512, len(identities), bias=False)
    parameters = [*network.parameters(), *classifier.parameters()]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, weight_decay=5e-4)
    start, steps = time.monotonic(), 0
    network.train()
    for index in batches(labels):
        spent = (time.monotonic() - start) / (60.0 * minutes)
        if spent >= 1.0:
            break
        warm = min(1.0, (steps + 1) / 100)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * warm * (0.1 if spent > 0.7 else 1.0)
        features = network(standardize(augment(images.pictures[index])))
        entropy = functional.cross_entropy(classifier(features), labels[index], label_smoothing=0.1)
        loss = entropy + batch_hard_triplet(features, labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return steps


def resnet18() -> nn.Module:
    """Returns a ResNet-18 with random weights that ends in its pooled features."""
    network = torchvision.models.resnet18(weights=None)
    network.fc = nn.Identity()
    return network


def provenance() -> dict[str, Any]:
    """Says on what, with what and when something was measured."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or None,
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{m.__name__: m.__version__ for m in (np, PIL, torch, torchvision)},
        },
    }


def measure(root: Path, train_minutes: float) -> dict[str, Any]:
    """Draws the set and takes every measurement.

    Args:
        root: The folder to draw into.
        train_minutes: How long to train with the true identities; 0 skips it.

    Returns:
        Scores by kind of feature, and how long drawing and training took.
    """
    start = time.monotonic()
    draw_synthetic_persons(root)
    drawing = time.monotonic() - start
    query, gallery, training = (
        read_folder(root / folder)
        for folder in track(("query", "bounding_box_test", "bounding_box_train"), "Reading")
    )
    pictures = torch.cat([query.pictures, gallery.pictures])
    torch.manual_seed(0)
    network = resnet18()
    scores = {
        "raw pixels": score(query, gallery, pixels(pictures)),
        "colour histograms": score(query, gallery, histograms(pictures)),
        "untrained ResNet-18": score(query, gallery, embed(network, pictures)),
    }
    steps = 0
    if train_minutes > 0:
        steps = train(network, training, train_minutes)
        scores["supervised ResNet-18"] = score(query, gallery, embed(network, pictures))
    counts = {"train": training, "query": query, "gallery": gallery}
    return {
        "images": {name: len(images.identities) for name, images in counts.items()},
        "seconds_to_draw": round(drawing, 1),
        "train_minutes": train_minutes,
        "train_steps": steps,
        "mAP": {
            name: {
                "plain": round(value.plain, 1),
                "camera_normalized": round(value.camera_normalized, 1),
            }
            for name, value in scores.items()
        },
        **provenance(),
    }


def main() -> None:
    """Measures, prints a table and writes the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="where to draw; default: a temporary folder")
    parser.add_argument("--train-minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, help="of the network; default: one for each core")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.root or Path(folder) / "synthetic_persons"
        result = measure(root, arguments.train_minutes)
    table = Table("features", "mAP %", "camera-normalised", title="Synthetic persons")
    for name, value in result["mAP"].items():
        table.add_row(name, f"{value['plain']:.1f}", f"{value['camera_normalized']:.1f}")
    console = Console()
    console.print(table)
    console.print(f"drawn in {result['seconds_to_draw']} s, {result['train_steps']} training steps")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
