"""What a training step of each method costs besides backbone, optimizer and data.

    python benchmarks/method_overhead.py [--json FILE]

The network is a stand-in that hands its input on, so that pooling, neck, losses forward and
backward, and the move of the memory are what is left. 3000 proxies (clusters, persons, identities)
in six cameras, batches of 64 of 2048 dimensions: at most 60 ms on two cores are asked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from measurement import median_seconds, report
from torch import Tensor, nn

from lightning_reid import CALR, CAP, O2CAP, PCSL, PseudoLabels, ReIDModule, Supervised
from lightning_reid import ReliableSoftLabels as ReliableSoft
from lightning_reid.labels import cross_camera_soft_labels
from lightning_reid.losses import camera_entropy_weights

DIMENSIONS, CAMERAS, IMAGES_PER_PROXY = 2048, 6, 4


class Given(nn.Module):
    """A backbone that returns its input."""

    num_features = DIMENSIONS

    def forward(self, images: Tensor) -> Tensor:
        """Maps of one pixel."""
        return images


def labels_for(method: ReIDModule, proxies: Tensor, cameras: Tensor) -> PseudoLabels:
    """Labels as the method makes them, of images of the given proxies."""
    clusters = proxies // CAMERAS
    if isinstance(method, (CAP, O2CAP)):
        return PseudoLabels.from_clusters(clusters, cameras)
    if isinstance(method, CALR):
        weights = camera_entropy_weights(proxies, torch.randint(CAMERAS, cameras.shape))
        return PseudoLabels(proxies, class_weights=weights)
    if isinstance(method, ReliableSoft):
        soft = torch.rand(len(proxies), int(proxies.max()) + 1).pow(8)
        return PseudoLabels(proxies, soft=soft / soft.sum(1, keepdim=True))
    if isinstance(method, PCSL):
        features = torch.randn(int(proxies.max()) + 1, 64)
        soft = cross_camera_soft_labels(features, torch.arange(len(features)) % CAMERAS).tocsr()
        rows = soft[proxies.numpy()].tocoo()
        places = torch.stack([torch.tensor(rows.row), torch.tensor(rows.col)])
        sparse = torch.sparse_coo_tensor(places, rows.data, rows.shape, check_invariants=True)
        own = torch.arange(len(features)) % CAMERAS
        return PseudoLabels(proxies, proxies=proxies, proxy_cameras=own, soft=sparse)
    return PseudoLabels(proxies)


def step(method: Any, batch: dict[str, Tensor]) -> None:
    """Forward, backward, memory."""
    result = method.training_step(batch, 0)
    loss = result["loss"] if isinstance(result, dict) else result
    loss.backward()
    method.on_train_batch_end(result, batch, 0)
    batch["image"].grad = None


def prepared(kind: type[ReIDModule], count: int, **settings: Any) -> Any:
    """A method with labels and, where it has one, a head of this size; it logs nothing."""
    method: Any = kind(backbone=Given(), weights=None, **settings)
    method.log = method.log_dict = lambda *_, **__: None
    method.gather = lambda *tensors: list(tensors)
    if hasattr(method, "head"):
        method.head_size = CAMERAS if kind is CALR else count
        method.head = method.make_head(method.head_size)
    proxies = torch.arange(count).repeat_interleave(IMAGES_PER_PROXY)
    cameras = proxies % CAMERAS
    labels = labels_for(method, proxies, cameras)
    method.adopt(labels, torch.nn.functional.normalize(torch.randn(len(proxies), DIMENSIONS)))
    return method.train()


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--proxies", type=int, default=3000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    settings = {CAP: {"inter_camera_epoch": 0}}
    rows = []
    for kind in (CAP, O2CAP, CALR, PCSL, ReliableSoft, Supervised):
        method = prepared(kind, arguments.proxies, **settings.get(kind, {}))
        groups = torch.randperm(arguments.proxies)[: arguments.batch // IMAGES_PER_PROXY]
        index = (groups[:, None] * IMAGES_PER_PROXY + torch.arange(IMAGES_PER_PROXY)).flatten()
        images = torch.randn(len(index), DIMENSIONS, 1, 1, requires_grad=True)
        cameras = (index // IMAGES_PER_PROXY) % CAMERAS
        batch = {"image": images, "camera": cameras, "index": index}
        seconds = median_seconds(lambda m=method, b=batch: step(m, b), 30, 5)
        rows.append((kind.__name__, 1000 * seconds))
    title = f"Overhead of a step, batch {arguments.batch}, {arguments.proxies} proxies"
    report(title, ("method", "milliseconds"), rows, arguments.json)


if __name__ == "__main__":
    main()
