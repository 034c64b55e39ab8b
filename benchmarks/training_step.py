"""What O2CAP's loss costs, forward and backward, against loops over the images of a batch.

    python benchmarks/training_step.py [--json FILE]

Two loops restate the formulas. ``image by image`` is the definition: the loss of one image, its
similarities included, summed. ``shared product`` forms the similarities of the batch in one matrix
product and loops over the rest. All run in one process on the same tensors; losses and gradients
are compared. The time of the matrix products alone bounds what any implementation can reach.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from measurement import median_seconds, report
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from lightning_reid.losses import offline_proxy_loss, online_proxy_loss, update_memory

TEMPERATURE, NEGATIVES, POSITIVES, BALANCE = 0.07, 50, 3, 0.15


class Problem(NamedTuple):
    """A batch and a memory."""

    embeddings: Tensor
    clusters: Tensor
    own: Tensor
    cameras: Tensor
    proxies: Tensor
    proxy_clusters: Tensor
    proxy_cameras: Tensor


def make_problem(batch: int, count: int, dimensions: int, cameras: int) -> Problem:
    """Embeddings around random proxies, four images each, as a sampler draws them."""
    torch.manual_seed(0)
    proxies = normalize(torch.randn(count, dimensions), dim=1)
    proxy_cameras, proxy_clusters = torch.arange(count) % cameras, torch.arange(count) // 4
    own = torch.randint(count, (batch // 4,)).repeat_interleave(4)
    noise = torch.randn(batch, dimensions)
    embeddings = normalize(proxies[own] + 0.02 * noise, dim=1).requires_grad_()
    return Problem(
        embeddings,
        proxy_clusters[own],
        own,
        proxy_cameras[own],
        proxies,
        proxy_clusters,
        proxy_cameras,
    )


def vectorised(problem: Problem) -> Tensor:
    """The library's."""
    p = problem
    similarity = p.embeddings @ p.proxies.T
    offline = offline_proxy_loss(
        p.embeddings, p.clusters, p.cameras, p.proxies, p.proxy_clusters, similarity=similarity
    )
    online = online_proxy_loss(
        p.embeddings, p.own, p.cameras, p.proxies, p.proxy_cameras, similarity=similarity
    )
    return offline + online


def image_by_image(problem: Problem) -> Tensor:
    """Sum over the cameras of the mean of the losses of single images."""
    counts = problem.cameras.bincount()
    return sum(
        image_loss(problem, i, f @ problem.proxies.T) / counts[problem.cameras[i]]
        for i, f in enumerate(problem.embeddings)
    )


def shared_product(problem: Problem) -> Tensor:
    """The same, with one matrix product for the similarities of all images."""
    counts = problem.cameras.bincount()
    similarity = problem.embeddings @ problem.proxies.T
    return sum(
        image_loss(problem, i, s) / counts[problem.cameras[i]] for i, s in enumerate(similarity)
    )


def image_loss(problem: Problem, i: int, similarity: Tensor) -> Tensor:
    """Offline and online loss of image ``i``, whose similarity to every proxy is given."""
    _, clusters, own, _, proxies, proxy_clusters, proxy_cameras = problem
    positive = (proxy_clusters == clusters[i]).nonzero()[:, 0]
    others = similarity.detach().clone()
    others[positive] = -10
    offline = proxy_loss(similarity, positive, others.sort(descending=True)[1][:NEGATIVES])

    score = BALANCE * similarity.detach() + (1 - BALANCE) * (proxies[own[i]] @ proxies.T)
    best = []
    for camera in proxy_cameras.unique():
        rows = (proxy_cameras == camera).nonzero()[:, 0]
        best.append(rows[score[rows].argmax()])
    candidates = torch.stack(best)
    positive = candidates[score[candidates].sort(descending=True)[1][:POSITIVES]]
    score[positive] = -10
    online = proxy_loss(similarity, positive, score.sort(descending=True)[1][:NEGATIVES])
    return offline + online


def proxy_loss(similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean log loss of the positives among positives and negatives."""
    logits = similarity[torch.cat([positive, negative])] / TEMPERATURE
    return -log_softmax(logits, 0)[: len(positive)].mean()


def backward(loss: Callable[[Problem], Tensor], problem: Problem) -> tuple[Tensor, Tensor]:
    """The loss and its gradient."""
    value = loss(problem)
    (gradient,) = torch.autograd.grad(value, problem.embeddings)
    return value, gradient


def products(problem: Problem) -> Tensor:
    """The matrix products that the loss cannot do without: similarities, scores, gradient."""
    similarity = problem.embeddings.detach() @ problem.proxies.T
    scores = problem.proxies[problem.own[::4]] @ problem.proxies.T
    return similarity @ problem.proxies + scores.sum()


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--proxies", type=int, default=3000)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    size = arguments.batch, arguments.proxies, arguments.dimensions
    problem = make_problem(*size, arguments.cameras)

    for loop in (image_by_image, shared_product):
        torch.testing.assert_close(backward(loop, problem), backward(vectorised, problem))
    fast = median_seconds(lambda: backward(vectorised, problem), 15, 3)
    seconds = {
        "vectorized": fast,
        "its matrix products alone": median_seconds(lambda: products(problem), 15, 3),
        "image by image": median_seconds(lambda: backward(image_by_image, problem), 3, 0),
        "shared product": median_seconds(lambda: backward(shared_product, problem), 3, 0),
        "memory update": median_seconds(
            lambda: update_memory(problem.proxies, problem.embeddings, problem.own, 0.2), 15
        ),
    }
    rows = [(name, 1000 * value, value / fast) for name, value in seconds.items()]
    title = f"O2CAP's loss at {' x '.join(map(str, size))}, {arguments.cameras} cameras"
    report(title, ("what", "milliseconds", "times vectorized"), rows, arguments.json)


if __name__ == "__main__":
    main()
