"""Whether a data set is the one that was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lightning_reid.data import Samples
from lightning_reid.data.samples import Integers
from lightning_reid.lightning import rank_zero_info
from lightning_reid.messages import listed

_LISTED = 8  # cameras that a sentence lists


@dataclass(frozen=True)
class Counts:
    """What is known of one split; what is None or empty is not compared.

    Args:
        images: how many there are.
        identities: how many; that of the distractors, 0, is one of them.
        cameras: images and identities of each camera, by its name; None where only the name is
            known.
        tracklets: how many there are.
    """

    images: int | None = None
    identities: int | None = None
    cameras: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    tracklets: int | None = None


@dataclass(frozen=True)
class Published:
    """A published data set: its name, and what is known of ``train``, ``query``, ``gallery``."""

    name: str
    splits: Mapping[str, Counts]


def from_c1(*counts: tuple[int, int] | None) -> dict[str, tuple[int, int] | None]:
    """Counts of the cameras ``c1``, ``c2``, ... for :class:`Counts`."""
    return {f"c{number}": count for number, count in enumerate(counts, start=1)}


def count(samples: Samples) -> Counts:
    """What :class:`Counts` holds, of these images."""
    names = samples.camera_set
    cameras = samples.camera_numbers(names)
    known, tracked = samples.identities >= 0, samples.tracklets >= 0
    pairs = np.unique(np.stack([cameras, samples.identities])[:, known], axis=1)
    tracklets = np.unique(np.stack([cameras, samples.tracklets])[:, tracked], axis=1)
    per_camera = zip(_numbers(cameras, len(names)), _numbers(pairs[0], len(names)), strict=True)
    return Counts(
        images=len(samples),
        identities=len(np.unique(pairs[1])),
        cameras=dict(zip(names, per_camera, strict=True)),
        tracklets=tracklets.shape[1],
    )


def differences(split: str, samples: Samples, published: Counts) -> list[str]:
    """How images differ from what was published.

    Args:
        split: what the sentences call these images.
        samples: the images that were found.
        published: what there should be.

    Returns:
        Sentences such as ``train: 12,000 images, the published set has 12,936: 936 are missing
        (c3 -700, c5 -236)``; none if all is as published.
    """
    found = count(samples)
    shifts = {
        camera: np.subtract(found.cameras.get(camera) or (0, 0), expected).tolist()
        for camera, expected in published.cameras.items()
        if expected is not None
    }
    images = {camera: images for camera, (images, _) in shifts.items()}
    identities = {camera: identities for camera, (_, identities) in shifts.items()}
    sentences = [
        *_number("images", found.images, published.images, images),
        *_number("identities", found.identities, published.identities, identities),
        *_number("tracklets", found.tracklets, published.tracklets, {}),
    ]
    if published.cameras:
        missing = [camera for camera in published.cameras if camera not in found.cameras]
        further = [camera for camera in found.cameras if camera not in published.cameras]
        if missing:
            sentences.append(f"nothing from {listed(missing, _LISTED)}")
        if further:
            told = listed(further, _LISTED)
            sentences.append(f"images from {told}, unknown to the published set")
    return [f"{split}: {sentence}" for sentence in sentences]


def say_differences(published: Published | None, found: Mapping[str, Samples], root: Path) -> None:
    """Log, in one line, how the splits that were read differ from the published ones.

    Nothing is wrong with a difference: people use the layouts of public sets for their own.
    """
    if published is None:
        return
    sentences = [
        sentence
        for split, samples in found.items()
        if split in published.splits
        for sentence in differences(split, samples, published.splits[split])
    ]
    if sentences:
        rank_zero_info(
            f"{root} differs from the published {published.name} (fine for a set of your own in "
            f"its layout): {'; '.join(sentences)}"
        )


def _number(
    what: str, found: int | None, expected: int | None, per_camera: Mapping[str, int]
) -> list[str]:
    """A sentence on a number that differs in all or in some cameras, or none."""
    if found is None or expected is None:
        return []
    shifts = [f"{camera} {shift:+,}" for camera, shift in per_camera.items() if shift]
    where = f" ({listed(shifts, _LISTED)})" if shifts else ""
    missing = expected - found
    if not missing:
        return [f"as many {what} as published, but in other cameras{where}"] if shifts else []
    gap = f"{missing:,} {'is' if missing == 1 else 'are'} missing"
    if missing < 0:
        gap = f"{-missing:,} too many"
    return [f"{found:,} {what}, the published set has {expected:,}: {gap}{where}"]


def _numbers(cameras: Integers, count: int) -> list[int]:
    """How often each camera occurs."""
    numbers: list[int] = np.bincount(cameras, minlength=count).tolist()
    return numbers
