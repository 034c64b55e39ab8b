"""Statistics of a labelling: how people call them, and which they want to see first."""

from __future__ import annotations

from collections.abc import Iterable

LABEL_NAMES = {
    "labels/clusters": "clusters",
    "labels/outlier_share": "outliers, share of images",
    "labels/cross_camera_share": "clusters that span cameras, share",
    "labels/silhouette": "silhouette of the clusters (-1 to 1)",
    "labels/stability": "agreement with the labels before (ARI)",
    "labels/reliable_share": "images with reliable labels, share",
    "labels/soft_mass": "soft labels across cameras, a person's sum",
    "labels/removed_share": "images that lost their label in refinement, share",
    "diagnostics/ari": "agreement with the true identities (ARI, diagnostic)",
}

_FIRST = ("epoch", *LABEL_NAMES)
_DURATIONS = "labels/seconds/"


def by_interest(names: Iterable[str]) -> list[str]:
    """Names of statistics: epoch and the named ones, then the others, durations last.

    Example:
        >>> by_interest(["labels/seconds/clustering", "labels/size_q10", "labels/clusters"])
        ['labels/clusters', 'labels/size_q10', 'labels/seconds/clustering']
    """
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    others, durations = len(ranks), len(ranks) + 1
    return sorted(
        dict.fromkeys(names),
        key=lambda name: durations if name.startswith(_DURATIONS) else ranks.get(name, others),
    )
