"""Losses against camera-aware proxies (CAP, AAAI 2021; O2CAP, TIP 2022).

Everything here takes the memory as data: gradients reach the embeddings only. A loss of a batch is
the *sum over the cameras in the batch of the mean over their images*, as in the published code, so
rare cameras weigh as much as frequent ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_reid.indices import checked_indices

_NEVER = float("-inf")


def offline_proxy_loss(
    embeddings: Tensor,
    clusters: Tensor,
    cameras: Tensor,
    proxies: Tensor,
    proxy_clusters: Tensor,
    temperature: float = 0.07,
    num_negatives: int = 50,
    similarity: Tensor | None = None,
) -> Tensor:
    """Pull towards all proxies of the own cluster, away from the hardest others.

    Positives are all proxies of the image's cluster, its own camera's among them; negatives the
    ``num_negatives`` other proxies that resemble the image most (all where there are fewer).

    Args:
        embeddings: ``(B, D)`` unit rows; the only argument with a gradient.
        clusters: cluster of every image, ``(B,)``; the loss is NaN if a cluster has no proxy, as an
            outlier's has not: leave these out.
        cameras: camera of every image, ``(B,)``.
        proxies: the memory, ``(P, D)`` unit rows.
        proxy_clusters: cluster of every proxy, ``(P,)``.
        temperature: 0.07 in the published code.
        num_negatives: 50 in the published code.
        similarity: ``embeddings @ proxies.T``, ``(B, P)``, if another loss has formed it already.

    Returns:
        Scalar, at least float32.

    Raises:
        ValueError: if shapes disagree, or clusters, proxies or cameras are no whole numbers.

    Example:
        >>> proxies = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> clusters = torch.tensor([0, 0, 1])  # cluster 0 was seen by two cameras
        >>> image, own, camera = torch.tensor([[1.0, 0.0]]), torch.tensor([0]), torch.tensor([0])
        >>> offline_proxy_loss(image, own, camera, proxies, clusters)  # at least ln 2
        tensor(0.6931)
        >>> offline_proxy_loss(image.flip(1), own, camera, proxies, clusters)  # 1 / 0.07
        tensor(14.2857)
    """
    clusters, cameras = checked_indices(len(embeddings), clusters=clusters, cameras=cameras)
    (proxy_clusters,) = checked_indices(len(proxies), proxy_clusters=proxy_clusters)
    similarity = _similarity(embeddings, proxies, similarity)
    positive = clusters[:, None] == proxy_clusters[None]
    negative = _hardest(similarity.detach().masked_fill(positive, _NEVER), num_negatives)
    losses = _mean_log_loss(similarity / temperature, positive, positive | negative)
    return sum_of_camera_means(losses, cameras)


def online_proxy_loss(
    embeddings: Tensor,
    own_proxies: Tensor,
    cameras: Tensor,
    proxies: Tensor,
    proxy_cameras: Tensor,
    temperature: float = 0.07,
    num_negatives: int = 50,
    num_positives: int = 3,
    balance: float = 0.15,
    similarity: Tensor | None = None,
    scores: Tensor | None = None,
) -> Tensor:
    """Pull towards the proxies that look like the same person in other cameras right now.

    Proxies are scored by :func:`association_scores`. The best proxy of every camera is a candidate;
    the ``num_positives`` best candidates are positives whatever their cluster, the
    ``num_negatives`` best of the rest negatives. Guard of ours: never more positives than there are
    cameras with proxies (the published code would turn hard negatives into positives), never more
    negatives than proxies.

    Args:
        embeddings: ``(B, D)`` unit rows; the only argument with a gradient.
        own_proxies: row of the image's own proxy, ``(B,)``.
        cameras: camera of every image, ``(B,)``.
        proxies: the memory, ``(P, D)`` unit rows.
        proxy_cameras: camera of every proxy, ``(P,)``.
        temperature: 0.07 in the published code.
        num_negatives: 50 in the published code.
        num_positives: 3 in the published code.
        balance: weight of the image against its proxy in the score, 0.15 in the published code.
        similarity: ``embeddings @ proxies.T``, ``(B, P)``, if another loss has formed it already.
        scores: ``(B, P)``, what proxies are chosen by, if not the published scores.

    Returns:
        Scalar, at least float32.

    Raises:
        ValueError: if shapes disagree, or own proxies or cameras are no whole numbers.

    Example:
        >>> proxies = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> cameras = torch.tensor([0, 1, 0, 1])  # 0 and 1 look like one person in two cameras
        >>> near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> own, camera = torch.tensor([0]), torch.tensor([0])
        >>> online_proxy_loss(near, own, camera, proxies, cameras, num_positives=2)  # ln 2
        tensor(0.6931)
        >>> online_proxy_loss(far, own, camera, proxies, cameras, num_positives=2)
        tensor(14.9789)
    """
    own_proxies, cameras = checked_indices(
        len(embeddings), own_proxies=own_proxies, cameras=cameras
    )
    (proxy_cameras,) = checked_indices(len(proxies), proxy_cameras=proxy_cameras)
    proxies = proxies.detach()
    similarity = _similarity(embeddings, proxies, similarity)
    if scores is None:
        scores = association_scores(embeddings, own_proxies, proxies, balance, similarity)
    positive = _best_of_cameras(scores, proxy_cameras, num_positives)
    negative = _hardest(scores.masked_fill(positive, _NEVER), num_negatives)
    losses = _mean_log_loss(similarity / temperature, positive, positive | negative)
    return sum_of_camera_means(losses, cameras)


@torch.no_grad()
def association_scores(
    embeddings: Tensor,
    own_proxies: Tensor,
    proxies: Tensor,
    balance: float = 0.15,
    similarity: Tensor | None = None,
) -> Tensor:
    """How much each proxy looks like an image's person, to O2CAP.

    ``balance * (embedding . proxy) + (1 - balance) * (own proxy . proxy)``

    Args:
        embeddings: ``(B, D)`` unit rows.
        own_proxies: row of the image's own proxy, ``(B,)``.
        proxies: the memory, ``(P, D)`` unit rows.
        balance: weight of the image against its proxy, 0.15 in the published code.
        similarity: ``embeddings @ proxies.T``, ``(B, P)``, if it has been formed already.

    Returns:
        ``(B, P)``, without a gradient.

    Raises:
        ValueError: if own proxies are not so many whole numbers.
        IndexError: on the CPU, if an own proxy is no row of the memory, such as -1 of an outlier.

    Example:
        >>> image, proxies = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> association_scores(image, torch.tensor([0]), proxies, balance=0.5)  # own proxy: 1 and 0
        tensor([[0.8000, 0.4000]])
        >>> association_scores(image, torch.tensor([0]), proxies, balance=1)  # by the image alone
        tensor([[0.6000, 0.8000]])
    """
    (own_proxies,) = checked_indices(len(embeddings), own_proxies=own_proxies)
    if similarity is None:
        similarity = embeddings @ proxies.T
    # images share proxies: score each proxy of the batch once
    batch_proxies, which = torch.unique(own_proxies, return_inverse=True)
    own = proxies.index_select(0, batch_proxies)  # which refuses -1, where [-1] is the last one
    return balance * similarity + (1 - balance) * (own @ proxies.T)[which]


def intra_camera_proxy_loss(
    embeddings: Tensor,
    own_proxies: Tensor,
    cameras: Tensor,
    proxies: Tensor,
    proxy_cameras: Tensor,
    temperature: float = 0.07,
    similarity: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the own proxy among the proxies of the image's own camera (CAP).

    Args:
        embeddings: ``(B, D)`` unit rows; the only argument with a gradient.
        own_proxies: row of the image's own proxy, ``(B,)``.
        cameras: camera of every image, ``(B,)``.
        proxies: the memory, ``(P, D)`` unit rows.
        proxy_cameras: camera of every proxy, ``(P,)``.
        temperature: 0.07 in the published code.
        similarity: ``embeddings @ proxies.T``, ``(B, P)``, if another loss has formed it already.

    Returns:
        Scalar, at least float32.

    Raises:
        ValueError: if shapes disagree, or own proxies or cameras are no whole numbers.

    Example:
        >>> image, own, camera = torch.tensor([[0.6, 0.8]]), torch.tensor([0]), torch.tensor([0])
        >>> proxies = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> intra_camera_proxy_loss(image, own, camera, proxies, torch.tensor([0, 0]))
        tensor(2.9130)
        >>> intra_camera_proxy_loss(image, own, camera, proxies, torch.tensor([0, 1]))  # no rival
        tensor(0.)
    """
    own_proxies, cameras = checked_indices(
        len(embeddings), own_proxies=own_proxies, cameras=cameras
    )
    (proxy_cameras,) = checked_indices(len(proxies), proxy_cameras=proxy_cameras)
    similarity = _similarity(embeddings, proxies, similarity)
    same_camera = cameras[:, None] == proxy_cameras[None]
    own = torch.zeros_like(same_camera).scatter_(1, own_proxies[:, None], True)
    losses = _mean_log_loss(similarity / temperature, own, same_camera)
    return sum_of_camera_means(losses, cameras)


def sum_of_camera_means(losses: Tensor, cameras: Tensor) -> Tensor:
    """Sum over the cameras in the batch of the mean of their images' losses.

    Args:
        losses: one loss an image, ``(B,)``.
        cameras: camera of every image, ``(B,)``.

    Returns:
        Scalar; 0 for an empty batch.

    Raises:
        ValueError: if the cameras are not as many whole numbers as there are losses.

    Example:
        >>> losses, cameras = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 1])
        >>> sum_of_camera_means(losses, cameras)  # (1 + 3) / 2 + 5
        tensor(7.)
    """
    (cameras,) = checked_indices(len(losses), cameras=cameras)
    count = torch.bincount(cameras)[cameras]
    return (losses / count).sum()


def _similarity(embeddings: Tensor, proxies: Tensor, known: Tensor | None) -> Tensor:
    """``(B, P)``, at least float32: half precision would round small losses to 0."""
    similarity = embeddings @ proxies.detach().T if known is None else known
    return similarity.to(torch.promote_types(similarity.dtype, torch.float32))


def _hardest(score: Tensor, count: int) -> Tensor:
    """Mask of the ``count`` highest scores of every row; -inf is never taken."""
    value, index = score.topk(min(count, score.shape[1]), dim=1, sorted=False)
    mask = torch.zeros_like(score, dtype=torch.bool)
    return mask.scatter_(1, index, value > _NEVER)


def _best_of_cameras(score: Tensor, proxy_cameras: Tensor, count: int) -> Tensor:
    """Mask of the best proxy of each of the ``count`` best cameras of every row."""
    batch, num_proxies = score.shape
    num_cameras = int(proxy_cameras.max()) + 1
    camera = proxy_cameras.expand(batch, -1)
    best = score.new_full((batch, num_cameras), _NEVER)
    best.scatter_reduce_(1, camera, score, "amax")
    # equal scores within a camera: the first proxy stands for it
    position = torch.arange(num_proxies, device=score.device).expand(batch, -1)
    candidate = torch.where(score == best.gather(1, camera), position, num_proxies)
    winner = torch.full_like(best, num_proxies, dtype=torch.int64)
    winner.scatter_reduce_(1, camera, candidate, "amin")
    chosen_camera = best.topk(min(count, num_cameras), dim=1, sorted=False).indices
    # a camera without proxies has no winner: it marks a column that is cut off
    mask = torch.zeros(batch, num_proxies + 1, dtype=torch.bool, device=score.device)
    return mask.scatter_(1, winner.gather(1, chosen_camera), True)[:, :num_proxies]


def _mean_log_loss(logits: Tensor, positive: Tensor, considered: Tensor) -> Tensor:
    """``-mean over positives of log softmax over the considered``, per row."""
    total = logits.masked_fill(~considered, _NEVER).logsumexp(1)
    return total - (logits * positive).sum(1) / positive.sum(1)
