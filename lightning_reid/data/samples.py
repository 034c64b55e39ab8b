"""Images as the parsers describe them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from lightning_reid.data.strings import Strings
from lightning_reid.errors import InputError

Integers = npt.NDArray[np.int64]
UNKNOWN = -1


class Sample(NamedTuple):
    """An image file, the camera that took it and, where known, who is on it.

    Attributes:
        path: image file.
        camera: name of the camera; the data module numbers the names from 0.
        identity: true identity, from 0; None where unknown. Never reaches a training batch of a
            method that must not see it.
        tracklet: name of the track that a tracker put the image in, within its camera; None where
            it is in none.

    Example:
        >>> Sample("gate/0001.jpg", "gate")  # who is on it need not be known
        Sample(path='gate/0001.jpg', camera='gate', identity=None, tracklet=None)
    """

    path: str
    camera: str
    identity: int | None = None
    tracklet: str | None = None


class Samples(Sequence[Sample]):
    """Images as columns: a million of them are a few arrays, which worker processes share.

    Args:
        paths: image files.
        cameras: ``(N,)`` position of each image's camera in ``camera_names``.
        camera_names: names of cameras; not all of them need to occur.
        identities: ``(N,)``, -1 where unknown; None: unknown for all.
        tracklets: ``(N,)`` positions in ``tracklet_names``, -1 for none; None: none for all.
        tracklet_names: names of tracklets.
        further: further columns, which nothing here uses.

    Raises:
        ValueError: if columns differ in length.

    Example:
        >>> images = Samples.of([Sample("gate/1.jpg", "gate", 7), Sample("hall/2.jpg", "hall")])
        >>> images.cameras.tolist(), images.camera_names, images.identities.tolist()
        ([0, 1], ['gate', 'hall'], [7, -1])
        >>> images[1]
        Sample(path='hall/2.jpg', camera='hall', identity=None, tracklet=None)
    """

    def __init__(
        self,
        paths: Strings,
        cameras: Integers,
        camera_names: Sequence[str],
        identities: Integers | None = None,
        tracklets: Integers | None = None,
        tracklet_names: Strings | None = None,
        further: Mapping[str, Strings] | None = None,
    ) -> None:
        count = len(paths)
        self.paths = paths
        self.cameras = cameras
        self.camera_names = list(camera_names)
        self.identities = np.full(count, UNKNOWN) if identities is None else identities
        self.tracklets = np.full(count, UNKNOWN) if tracklets is None else tracklets
        self.tracklet_names = tracklet_names or Strings()
        self.further = dict(further or {})
        columns = (self.cameras, self.identities, self.tracklets, *self.further.values())
        if any(len(column) != count for column in columns):
            raise ValueError(f"columns of {[len(c) for c in columns]} values for {count} images")

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Samples:
        """Columns of a list of images; paths may be ``Path`` objects, and cameras numbers.

        A camera that is None becomes -1 in ``cameras``, which a data module refuses.

        Raises:
            InputError: If an identity does not fit into 64 bits.
        """
        if isinstance(samples, cls):
            return samples
        listed = list(samples)
        cameras, camera_names = numbered([_name(sample.camera) for sample in listed])
        tracklets, tracklet_names = numbered([sample.tracklet for sample in listed])
        paths = [os.fspath(sample.path) for sample in listed]
        identities = [UNKNOWN if s.identity is None else s.identity for s in listed]
        return cls(
            Strings(paths),
            cameras,
            camera_names,
            identity_column(identities, paths),
            tracklets,
            Strings(tracklet_names),
        )

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Samples: ...

    def __getitem__(self, index: int | slice) -> Sample | Samples:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        identity, tracklet = int(self.identities[index]), int(self.tracklets[index])
        return Sample(
            self.paths[index],
            self.camera_names[self.cameras[index]],
            None if identity == UNKNOWN else identity,
            None if tracklet == UNKNOWN else self.tracklet_names[tracklet],
        )

    def take(self, indices: Integers) -> Samples:
        """The images at these positions, in this order."""
        return Samples(
            self.paths.take(indices),
            self.cameras[indices],
            self.camera_names,
            self.identities[indices],
            self.tracklets[indices],
            self.tracklet_names,
            {name: column.take(indices) for name, column in self.further.items()},
        )

    def __add__(self, other: Samples) -> Samples:
        """Both, one after the other; columns that only one of them has are left out."""
        names = list(dict.fromkeys([*self.camera_names, *other.camera_names]))
        position = {name: i for i, name in enumerate(names)}
        moved = np.array([position[name] for name in other.camera_names], dtype=np.int64)
        tracklets = np.where(
            other.tracklets == UNKNOWN, UNKNOWN, other.tracklets + len(self.tracklet_names)
        )
        return Samples(
            self.paths + other.paths,
            np.concatenate([self.cameras, moved[other.cameras]]),
            names,
            np.concatenate([self.identities, other.identities]),
            np.concatenate([self.tracklets, tracklets]),
            self.tracklet_names + other.tracklet_names,
            {
                name: column + other.further[name]
                for name, column in self.further.items()
                if name in other.further
            },
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Samples, list)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of a list

    @property
    def camera_set(self) -> list[str]:
        """Names of the cameras that took at least one of the images."""
        return [self.camera_names[number] for number in np.unique(self.cameras)]

    def camera_numbers(self, names: Sequence[str]) -> Integers:
        """``(N,)`` position of each image's camera in a list that has all of them."""
        position = {name: i for i, name in enumerate(names)}
        numbers = [position.get(name, UNKNOWN) for name in self.camera_names]
        return np.array(numbers, dtype=np.int64)[self.cameras]


def identity_column(identities: Sequence[int], paths: Sequence[str]) -> Integers:
    """Convert identities to ``(N,)`` int64.

    Args:
        identities: Of N images.
        paths: The images, for the message.

    Raises:
        InputError: If an identity does not fit into 64 bits.
    """
    try:
        return np.array(identities, dtype=np.int64)
    except OverflowError as error:
        largest = np.iinfo(np.int64).max
        row = next(i for i, identity in enumerate(identities) if abs(identity) > largest)
        raise InputError(
            f"{paths[row]}: the identity {identities[row]} is beyond {largest}, the largest that "
            "can be stored; number the people from 0, or use ManifestData, where identities are "
            "names"
        ) from error


def _name(camera: Any) -> str | None:
    """Of a camera, which people may number."""
    return None if camera is None else str(camera)


def numbered(values: Sequence[Any]) -> tuple[Integers, list[Any]]:
    """Position of each value among the distinct ones, in order of appearance; -1 for None.

    Args:
        values: N of them.

    Returns:
        ``(N,)`` numbers, and the distinct values.
    """
    position: dict[Any, int] = {None: UNKNOWN}
    numbers = np.fromiter(
        (position.setdefault(value, len(position) - 1) for value in values),
        dtype=np.int64,
        count=len(values),
    )
    return numbers, [value for value in position if value is not None]
