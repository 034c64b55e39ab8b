"""CALR's refinement: images that local clusters contradict leave their global cluster.

Li et al., "Camera-aware Label Refinement for Unsupervised Person Re-identification"
(arXiv 2403.16450); the steps are those of the published code.
"""

from __future__ import annotations

from math import cos, pi
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_reid.errors import require, require_one_of
from lightning_reid.indices import whole_numbers
from lightning_reid.labels.proxies import OUTLIER

Pivot = Literal["last", "best"]
Schedule = Literal["constant", "cosine"]


def refine_labels(
    global_labels: Any,
    local_labels: Any,
    cameras: Any,
    scores: Any,
    pivot: Pivot = "last",
    drop_probability: float = 1.0,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Drop the images that share their pivot's camera and cluster, but not its local cluster.

    A global cluster without a pivot stays as it is, and so does one whose pivot has no local
    label. Images of other cameras than the pivot's stay, and the pivot itself does, so that no
    cluster is lost.

    Args:
        global_labels: ``(N,)`` clusters over all cameras, -1 for outliers.
        local_labels: ``(N,)`` clusters within a camera; equal numbers in two cameras have
            nothing to do with each other. -1 is for none: such an image is in no local cluster,
            so also not in the pivot's. The published local labels have none of these.
        cameras: ``(N,)``, from 0.
        scores: ``(N,)`` of ``graph_scores``.
        pivot: see :func:`refinement_pivots`.
        drop_probability: Chance of such an image to be dropped. 1 in the published code; see
            :func:`self_paced_probability`.
        seed: Draws those that are, where the chance is below 1.

    Returns:
        The global labels ``(N,)``, -1 for dropped images and outliers.

    Raises:
        InputError: If ``pivot`` is unknown or ``drop_probability`` is not from 0 to 1.
        ValueError: If the arrays are not 1-D, differ in length, or hold other numbers.

    Example:
        >>> refine_labels(
        ...     global_labels=[0, 0, 0, 0],
        ...     local_labels=[7, 7, 8, 8],
        ...     cameras=[0, 0, 0, 1],
        ...     scores=[4.0, 3.0, 2.0, 1.0],
        ...     pivot="best",
        ... ).tolist()  # image 2: in camera 0, which holds it in another local cluster than image 0
        [0, 0, -1, 0]
    """
    require("drop_probability", drop_probability, 0, 1)
    labels, local, camera_of = (
        _integers(name, given)
        for name, given in [
            ("global_labels", global_labels),
            ("local_labels", local_labels),
            ("cameras", cameras),
        ]
    )
    if not len(labels) == len(local) == len(camera_of):
        raise ValueError(
            f"{len(labels)} global labels, {len(local)} local labels and {len(camera_of)} cameras"
        )
    pivots = refinement_pivots(labels, scores, pivot)
    pivot_of = np.append(pivots, OUTLIER)[labels]  # outliers, -1, take the last
    contradicted = (
        (pivot_of != OUTLIER)
        & (local[pivot_of] != OUTLIER)
        & (camera_of == camera_of[pivot_of])
        & (local != local[pivot_of])
    )
    drawn = np.random.default_rng(seed).random(len(labels)) < drop_probability
    return np.where(contradicted & drawn, OUTLIER, labels)


def refinement_pivots(global_labels: Any, scores: Any, pivot: Pivot = "last") -> NDArray[np.int64]:
    """Choose the image of each cluster that the others are compared with.

    Args:
        global_labels: ``(N,)`` clusters, -1 for outliers.
        scores: ``(N,)`` of ``graph_scores``.
        pivot: "last" is the last image of the cluster, in their order, whose score is above the
            mean over all N images, outliers among them, as the published code has it; a cluster
            may have none. "best" is the image of highest score, the first of equals; we take
            this, or the like, to be what was meant.

    Returns:
        ``(C,)`` row numbers, -1 for none; C is the largest label and one more.

    Raises:
        InputError: If ``pivot`` is unknown.
        ValueError: If the labels are no integers from -1, or the scores not as many finite
            numbers.

    Example:
        >>> labels, scores = [0, 0, 0, 1], [9.0, 8.0, 1.0, 2.0]  # their mean is 5
        >>> refinement_pivots(labels, scores, "last").tolist()
        [1, -1]
        >>> refinement_pivots(labels, scores, "best").tolist()
        [0, 3]
    """
    require_one_of("pivot", pivot, get_args(Pivot))
    labels = _integers("global_labels", global_labels)
    values = _array(scores).astype(np.float64)  # in which the mean of equal scores is exact
    if values.shape != labels.shape or not np.isfinite(values).all():
        raise ValueError(f"scores must be {len(labels)} finite numbers")
    member = labels != OUTLIER
    if pivot == "last":
        mean = values.sum() / max(len(values), 1)
        ranked = np.flatnonzero(member & (values > mean))[::-1]
    else:
        ranked = np.argsort(-values, kind="stable")
        ranked = ranked[member[ranked]]
    pivots = np.full(labels.max(initial=OUTLIER) + 1, OUTLIER, dtype=np.int64)
    clusters, first = np.unique(labels[ranked], return_index=True)
    pivots[clusters] = ranked[first]
    return pivots


def self_paced_probability(epoch: int, num_epochs: int, schedule: Schedule = "constant") -> float:
    """Chance to drop a contradicted image in an epoch.

    Args:
        epoch: from 0 to ``num_epochs``, which is after the last.
        num_epochs: in all.
        schedule: "constant" is 1, as the published code runs; "cosine" falls from 1 to 0.75 at
            the end, ``(1 + cos(pi * epoch / (3 * num_epochs))) / 2``, which stands in a comment
            there.

    Returns:
        A number from 0.75 to 1.

    Raises:
        InputError: If the schedule is unknown, the epoch below 0 or beyond the end, or there is
            none.

    Example:
        >>> self_paced_probability(30, num_epochs=50)
        1.0
        >>> round(self_paced_probability(50, 50, "cosine"), 3)
        0.75
    """
    require_one_of("schedule", schedule, get_args(Schedule))
    require("num_epochs", num_epochs, 1)
    require("epoch", epoch, 0, num_epochs)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + cos(pi * epoch / (3 * num_epochs)))


def _integers(name: str, given: Any) -> NDArray[np.int64]:
    array: NDArray[np.int64] = whole_numbers(name, given).cpu().numpy()
    if array.ndim != 1:
        raise ValueError(f"{name} must be integers (N,), not of shape {array.shape}")
    if array.min(initial=OUTLIER) < OUTLIER:
        raise ValueError(f"{name} must be at least -1, not {array.min()}")
    return array


def _array(given: Any) -> NDArray[Any]:
    return given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
