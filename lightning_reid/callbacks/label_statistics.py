"""What tells whether a labelling can be trusted, without identities."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lightning_reid.labels import PseudoLabels
from lightning_reid.metrics import rand_agreement


def label_statistics(
    labels: PseudoLabels, cameras: Tensor, before: PseudoLabels | None
) -> dict[str, float]:
    """What tells whether a labelling can be trusted, without identities.

    Args:
        labels: the new labels, on the CPU.
        cameras: ``(N,)``, on the CPU.
        before: the labels before, for the agreement with them.

    Returns:
        Plain numbers under ``labels/``.

    Example:
        >>> from lightning_reid.labels import PseudoLabels
        >>> cameras = torch.tensor([0, 1, 0, 0])
        >>> labels = PseudoLabels.from_clusters(torch.tensor([0, 0, 1, -1]), cameras)
        >>> found = label_statistics(labels, cameras, before=labels)
        >>> found["labels/clusters"], found["labels/proxies"], found["labels/outlier_share"]
        (2.0, 3.0, 0.25)
        >>> found["labels/cross_camera_share"], found["labels/stability"]
        (0.5, 1.0)
    """
    hard = labels.hard.numpy()
    inlier = hard >= 0
    sizes = np.bincount(hard[inlier]) if inlier.any() else np.zeros(1, dtype=np.int64)
    pairs = np.unique(np.stack([hard, cameras.numpy()], 1)[inlier], axis=0)
    spread = np.bincount(pairs[:, 0]) if len(pairs) else np.zeros(1)
    small, median, large = np.quantile(sizes, (0.1, 0.5, 0.9))
    return {
        "labels/clusters": float(labels.num_clusters),
        "labels/proxies": float(labels.num_groups),
        "labels/outliers": float((~inlier).sum()),
        "labels/outlier_share": float((~inlier).mean()),
        "labels/size_q10": float(small),
        "labels/size_median": float(median),
        "labels/size_q90": float(large),
        "labels/cross_camera_share": float((spread > 1).mean()),
        "labels/stability": rand_agreement(before.hard, labels.hard) if before else float("nan"),
        **{f"labels/{key}": float(value) for key, value in labels.statistics.items()},
    }
