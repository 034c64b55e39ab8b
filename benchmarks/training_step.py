"""What O2CAP's loss costs, forward and backward, against a loop over the images of a batch.

    python benchmarks/training_step.py [--json FILE]

The loop restates the formulas image by image and camera by camera, as the published code is
written. Both run in one process, on the same tensors; their losses and gradients are compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from measurement import median_seconds, report
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from lightning_reid.losses import offline_online_proxy_loss, update_memory

TEMPERATURE, NEGATIVES, POSITIVES, BALANCE = 0.07, 50, 3, 0.15


def loop_loss(
    embeddings: Tensor,
    clusters: Tensor,
    own: Tensor,
    cameras: Tensor,
    proxies: Tensor,
    proxy_clusters: Tensor,
    proxy_cameras: Tensor,
) -> Tensor:
    """O2CAP's loss, one image after the other."""
    similarity = embeddings @ proxies.T
    total = embeddings.new_zeros(())
    for camera in cameras.unique():
        images = (cameras == camera).nonzero()[:, 0]
        offline, online = embeddings.new_zeros(()), embeddings.new_zeros(())
        for i in images:
            positive = (proxy_clusters == clusters[i]).nonzero()[:, 0]
            others = similarity[i].detach().clone()
            others[positive] = -10
            negative = others.sort(descending=True)[1][:NEGATIVES]
            offline = offline + _loss(similarity[i], positive, negative)

            score = BALANCE * similarity[i].detach() + (1 - BALANCE) * (proxies[own[i]] @ proxies.T)
            best = []
            for other in proxy_cameras.unique():
                rows = (proxy_cameras == other).nonzero()[:, 0]
                best.append(rows[score[rows].argmax()])
            candidates = torch.stack(best)
            positive = candidates[score[candidates].sort(descending=True)[1][:POSITIVES]]
            score[positive] = -10
            negative = score.sort(descending=True)[1][:NEGATIVES]
            online = online + _loss(similarity[i], positive, negative)
        total = total + (offline + online) / len(images)
    return total


def _loss(similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    logits = similarity[torch.cat([positive, negative])] / TEMPERATURE
    return -log_softmax(logits, 0)[: len(positive)].mean()


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--proxies", type=int, default=3000)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    size, count = arguments.batch, arguments.proxies
    proxies = normalize(torch.randn(count, arguments.dimensions), dim=1)
    proxy_cameras, proxy_clusters = (
        torch.arange(count) % arguments.cameras,
        torch.arange(count) // 4,
    )
    own = torch.randint(count, (size // 4,)).repeat_interleave(4)
    noise = torch.randn(size, arguments.dimensions)
    embeddings = normalize(proxies[own] + 0.02 * noise, dim=1).requires_grad_()
    batch = (embeddings, proxy_clusters[own], own, proxy_cameras[own])
    memory = (proxies, proxy_clusters, proxy_cameras)

    def vectorised() -> Tensor:
        embeddings.grad = None
        loss = sum(offline_online_proxy_loss(*batch, *memory), torch.zeros(()))
        loss.backward()
        return loss

    def loop() -> Tensor:
        embeddings.grad = None
        loss = loop_loss(*batch, *memory)
        loss.backward()
        return loss

    torch.testing.assert_close(loop(), vectorised())
    gradient = embeddings.grad
    loop()
    torch.testing.assert_close(embeddings.grad, gradient)
    fast, slow = median_seconds(vectorised, 15, 3), median_seconds(loop, 3, 0)
    moving = median_seconds(lambda: update_memory(proxies, embeddings, own, 0.2), 15)
    rows = [
        ("loop over images", 1000 * slow, 1.0),
        ("vectorised", 1000 * fast, slow / fast),
        ("memory update", 1000 * moving, float("nan")),
    ]
    title = (
        f"O2CAP's loss at {size} x {count} x {arguments.dimensions}, {arguments.cameras} cameras"
    )
    report(title, ("what", "milliseconds", "times faster"), rows, arguments.json)


if __name__ == "__main__":
    main()
