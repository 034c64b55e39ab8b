"""Whether pseudo labels can be trusted, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

Kind = Literal["good", "bad", "open"]
Statistics = Mapping[str, float]

_FEW = 2  # clusters
_PART, _MOSTLY = 0.3, 0.8  # outliers
_NOBODY, _HALF = 0.05, 0.5
_NONE, _ALL = 0.01, 0.99  # reliable labels
_CHANGE = 0.05  # of the silhouette
_JUMPING, _STABLE = 0.5, 0.9  # agreement with the labels before
_SETTLING = 5  # epochs in which labels may change


class Advice(NamedTuple):
    """What to change in how labels are made: as the method itself says."""

    coarser: str = "change the settings of the clusterer"
    finer: str = coarser


class Sign(NamedTuple):
    """What a statistic tells: that all is well, that it is not, or what is to be judged by eye."""

    kind: Kind
    sentence: str


def signs_of(first: Statistics, last: Statistics, advice: Advice) -> list[Sign]:
    """What the statistics of the first and the last labelling tell about the labels.

    The thresholds are ours, chosen to catch what has gone plainly wrong; no publication gives any.
    Bad are: at most 2 clusters; outliers above 0.8 (good: at most 0.3); clusters across cameras
    below 0.05 (good: from 0.5), not judged where labels are made within cameras; a silhouette that
    fell by more than 0.05 since the first labelling (good: rose by it); agreement with the labels
    before below 0.5 from 5 epochs after the first (good: from 0.9); reliable labels below 0.01 or
    above 0.99 of the images; soft labels across cameras below 0.05; more than half of the images
    without their label after refinement.

    Args:
        first: statistics under ``labels/`` and ``epoch``, as in ``tables/labels.csv``.
        last: the same of the newest labelling; what is missing or NaN is not spoken of.
        advice: of the method, where clusters are too fine or too coarse.

    Example:
        >>> last = {"labels/clusters": 703.0, "labels/outlier_share": 0.97}
        >>> signs = signs_of(last, last, Advice(coarser="raise eps"))
        >>> sentences(signs, "bad")
        ['97 % of the images are outliers: raise eps']
    """
    begun, now = _known(first), _known(last)
    return [
        *_clusters(now, advice),
        *_outliers(now, advice),
        *_cameras(now),
        *_silhouette(begun, now),
        *_stability(begun, now),
        *_of_methods(now),
    ]


def sentences(signs: list[Sign], kind: Kind) -> list[str]:
    """Those of one kind."""
    return [sign.sentence for sign in signs if sign.kind == kind]


def _clusters(now: Statistics, advice: Advice) -> Iterator[Sign]:
    count = now.get("clusters")
    if count is None:
        return
    told = f"{count:,.0f} clusters"
    if count <= _FEW:
        nearly = "nearly everybody is taken for the same person"
        yield Sign("bad", f"{told}: {nearly}; {advice.finer}")
    else:
        yield Sign("open", f"{told}: compare with the number of individuals you expect")


def _outliers(now: Statistics, advice: Advice) -> Iterator[Sign]:
    share = now.get("outlier_share")
    if share is None:
        return
    if share > _MOSTLY:
        yield Sign("bad", f"{_percent(share)} of the images are outliers: {advice.coarser}")
    elif share <= _PART:
        yield Sign("good", f"{_percent(share)} outliers")


def _cameras(now: Statistics) -> Iterator[Sign]:
    share = now.get("cross_camera_share")
    if share is None:
        return
    if _within_cameras(now):
        yield Sign(
            "open",
            f"{_percent(share)} of the clusters span cameras, which tells nothing here: they are "
            "made within cameras",
        )
    elif share < _NOBODY:
        yield Sign(
            "bad",
            f"{_percent(share)} of the clusters span cameras: each camera is learnt on its own; "
            "try normalize_cameras",
        )
    elif share >= _HALF:
        yield Sign("good", f"{_percent(share)} of the clusters span cameras")


def _silhouette(begun: Statistics, now: Statistics) -> Iterator[Sign]:
    # the cameras that CALR begins with, one after the other, are not alike
    alike = begun.get("camera") == now.get("camera")
    if not alike or "silhouette" not in begun or "silhouette" not in now:
        return
    before, after = begun["silhouette"], now["silhouette"]
    if after < before - _CHANGE:
        yield Sign(
            "bad", f"the silhouette fell from {before:.2f} to {after:.2f}: clusters may be merging"
        )
    elif after > before + _CHANGE:
        yield Sign("good", f"the silhouette rose from {before:.2f} to {after:.2f}")


def _stability(begun: Statistics, now: Statistics) -> Iterator[Sign]:
    agreement = now.get("stability")
    if agreement is None or "camera" in now:
        return
    settled = now.get("epoch", 0) - begun.get("epoch", 0) >= _SETTLING
    if agreement < _JUMPING and settled:
        yield Sign(
            "bad",
            f"labels keep jumping: their agreement with those before is {agreement:.2f} (1: the "
            "same)",
        )
    elif agreement >= _STABLE:
        yield Sign("good", f"labels are stable (agreement {agreement:.2f})")


def _of_methods(now: Statistics) -> Iterator[Sign]:
    """Statistics that some methods alone have."""
    reliable = now.get("reliable_share")
    if reliable is not None:
        told = f"{_percent(reliable)} of the images have reliable labels"
        extreme = not _NONE <= reliable <= _ALL
        yield Sign("bad", f"{told}: change threshold") if extreme else Sign("good", told)
    if now.get("soft_mass", 1) < _NOBODY:
        yield Sign(
            "bad",
            f"soft labels across cameras sum to {now['soft_mass']:.2f}: nobody is found there",
        )
    if now.get("removed_share", 0) > _HALF:
        yield Sign(
            "bad",
            f"{_percent(now['removed_share'])} of the images lost their label in refinement: the "
            "local labels are too fine",
        )


def _within_cameras(now: Statistics) -> bool:
    return "soft_mass" in now or "camera" in now


def _known(statistics: Statistics) -> dict[str, float]:
    """Without prefix, and without NaN."""
    return {
        name.removeprefix("labels/"): value
        for name, value in statistics.items()
        if value == value and not name.startswith("diagnostics/")
    }


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
