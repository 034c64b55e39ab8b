"""How hard the drawn people are: raw pixels, colours, an untrained and a supervised network.

    python benchmarks/synthetic.py [--train-minutes 10] [--json FILE]

Draws the set, scores nearest neighbours under the Market-1501 protocol on raw pixels, colour
histograms and the demo's network with random weights, then trains that network with the true
identities and scores it again. Pixels, colours and the untrained network should stay under 35 %
mAP, supervision should pass 80 %.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from measurement import report
from pytorch_lightning import seed_everything
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, normalize, one_hot, relu

from lightning_reid import PseudoLabels, RetrievalMetrics, SyntheticPersons
from lightning_reid.data import Augmentation, read_image
from lightning_reid.models import EmbeddingNetwork

MARGIN, LEARNING_RATE, WEIGHT_DECAY = 0.3, 3.5e-4, 5e-4


def pixels(pictures: Tensor) -> Tensor:
    """Raw pixels of pictures from 0 to 1."""
    return pictures.flatten(1)


def histograms(pictures: Tensor, bins: int = 8) -> Tensor:
    """Square roots of the joint colour histograms of three stripes of the body."""
    index = (pictures * bins).long().clamp_(max=bins - 1)
    joint = (index[:, 0] * bins + index[:, 1]) * bins + index[:, 2]
    counts = [one_hot(stripe.flatten(1), bins**3).sum(1) for stripe in joint.chunk(3, dim=1)]
    return torch.cat(counts, dim=1).float().sqrt()


def score(data: SyntheticPersons, features: Tensor) -> tuple[float, float]:
    """MAP in percent of the unit features, plain and camera-normalised."""
    batches = list(data.test_dataloader())
    columns = [torch.cat([b[name] for b in batches]) for name in ("identity", "camera", "is_query")]
    metric = RetrievalMetrics(normalize_cameras=True)
    metric.update(normalize(features), *columns, torch.arange(len(features)))
    result = metric.compute()
    return 100 * result["mAP"], 100 * result["camera_normalized/mAP"]


@torch.no_grad()
def embed(network: nn.Module, data: SyntheticPersons) -> Tensor:
    """Embeddings of the test images, in order."""
    network.eval()
    return torch.cat([network(batch["image"]) for batch in data.test_dataloader()])


def triplet_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Margin between each image's furthest match and nearest other (batch-hard)."""
    distance = torch.cdist(embeddings, embeddings)
    same = labels[:, None] == labels
    furthest = distance.masked_fill(~same, 0).amax(1)
    nearest = distance.masked_fill(same, float("inf")).amin(1)
    return relu(furthest - nearest + MARGIN).mean()


def supervise(network: EmbeddingNetwork, data: SyntheticPersons, minutes: float) -> int:
    """Train with true identities; returns the number of steps."""
    assert data.train_identities is not None
    labels = data.train_identities.unique(return_inverse=True)[1]
    data.assign(PseudoLabels(labels))
    classifier = nn.Linear(network.embedding_dim, int(labels.max()) + 1, bias=False)
    parameters = [*network.parameters(), *classifier.parameters()]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    network.train()
    start, steps, epoch = time.monotonic(), 0, 0
    while True:
        data.sampler.set_epoch(epoch)
        epoch += 1
        for batch in data.train_dataloader():
            spent = (time.monotonic() - start) / (60 * minutes)
            if spent > 1:
                return steps
            rate = min(1, (steps + 1) / 100) * (0.1 if spent > 0.7 else 1)
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
            target = labels[batch["index"]]
            features = network.features(batch["image"])
            logits = classifier(network.neck(features))
            loss = cross_entropy(logits, target, label_smoothing=0.1)
            loss = loss + triplet_loss(features, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1


def main() -> None:
    """Draw, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train-minutes", type=float, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seed_everything(0, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        data = SyntheticPersons(
            Path(folder) / "persons",
            size=(64, 32),
            batches_per_epoch=60,
            num_workers=0,
            augmentation=Augmentation(pad=3),
        )
        start = time.perf_counter()
        data.prepare_data()
        drawing = time.perf_counter() - start
        data.setup()
        images = torch.stack([read_image(path) for path in data.paths("test")])
        pictures = interpolate(images / 255, data.size, mode="bilinear", antialias=True)
        network = EmbeddingNetwork("resnet18", weights=None)
        rows = [
            ("raw pixels", *score(data, pixels(pictures))),
            ("color histograms", *score(data, histograms(pictures))),
            ("untrained ResNet-18", *score(data, embed(network, data))),
        ]
        steps = supervise(network, data, arguments.train_minutes)
        rows.append(("supervised ResNet-18", *score(data, embed(network, data))))
        further = {
            "seconds_to_draw": drawing,
            "train_minutes": arguments.train_minutes,
            "train_steps": steps,
            "images": len(data.train_samples) + len(images),
        }
    columns = ("features", "mAP %", "camera-normalized mAP %")
    report("Drawn people", columns, rows, arguments.json, **further)
    print(f"drawn in {drawing:.1f} s; {steps} supervised steps")


if __name__ == "__main__":
    main()
