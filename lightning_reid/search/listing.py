"""The images of a gallery: a folder, a list, or single files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from lightning_reid.data import Samples, Strings, read_manifest
from lightning_reid.data.file_pattern import FolderTable
from lightning_reid.data.folders import IMAGE_SUFFIXES, is_hidden, is_image_name
from lightning_reid.data.manifest import collect, require_images
from lightning_reid.data.samples import Integers
from lightning_reid.errors import InputError
from lightning_reid.local_paths import local_path

Source: TypeAlias = str | Path | Sequence[str | Path]

_LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
_MISSING = (-1, -1)
_TRIED = 100  # images of a list of which one has to be there, as single ones may have gone
UNKNOWN_CAMERA = ""


@dataclass(frozen=True)
class Listing:
    """N images and what tells whether a file has changed.

    Args:
        images: absolute paths, and cameras, whose name is empty where unknown.
        stamps: ``(N, 2)`` size in bytes and time of the last change in nanoseconds; -1 for a file
            that is not there.
    """

    images: Samples
    stamps: Integers

    @classmethod
    def of(cls, images: Samples) -> Listing:
        """Look at files as they are now."""
        return cls(images, _stamps(images.paths))

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """``(N,)`` which files could not be found."""
        return self.stamps[:, 0] < 0

    @classmethod
    def empty(cls) -> Listing:
        """No image."""
        return cls(Samples.of([]), np.empty((0, 2), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.images)

    def __add__(self, other: Listing) -> Listing:
        both = np.concatenate([self.stamps, other.stamps])
        return Listing(self.images + other.images, both)

    def take(self, rows: Integers) -> Listing:
        """The images in these rows, in this order."""
        return Listing(self.images.take(rows), self.stamps[rows])

    def camera(self, row: int) -> str:
        """Name of the camera of an image; empty where unknown."""
        return self.images[row].camera


def list_images(
    source: Source, pattern: str | None = None, columns: Mapping[str, str] | None = None
) -> Listing:
    """The images of a gallery, each once.

    Args:
        source: a folder, with all below it; a list (CSV or Parquet) as ``ManifestData`` takes it,
            with cameras; an image; or several of these.
        pattern: of the paths in a folder, with ``{camera}``, see
            :class:`~lightning_reid.ManifestData`.
        columns: what a list calls the columns ``path`` and ``camera``, where it differs, such as
            ``{"path": "file"}``.

    Raises:
        InputError: if there is no such file or folder, or nothing in it is an image.
    """
    images = Samples.of([])
    for part in _parts(source):
        images = images + _images(part, pattern, columns)
    return Listing.of(_distinct(images))


def folders_of(source: Source) -> list[str]:
    """Return the folders, absolute, among what a gallery is made of."""
    return [str(path) for path in map(_absolute, _parts(source)) if path.is_dir()]


def _parts(source: Source) -> Sequence[str | Path]:
    return [source] if isinstance(source, (str, Path)) else source


def _absolute(source: str | Path) -> Path:
    # one spelling for one file, but links are kept: their names are those that people know
    return Path(os.path.abspath(local_path(source)))  # noqa: PTH100


def _images(source: str | Path, pattern: str | None, columns: Mapping[str, str] | None) -> Samples:
    path = _absolute(source)
    try:
        path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise InputError(f"cannot read {source}: {error.strerror}") from error
        raise InputError(f"there is no image, list or folder {source}") from error
    is_list = path.suffix.lower() in _LIST_SUFFIXES and not path.is_dir()
    if columns and not is_list:
        raise InputError(f"columns are those of a list (CSV or Parquet), and {source} is none")
    if path.is_dir():
        if pattern is not None:
            return _without_identities(collect(FolderTable(path, pattern), path).samples)
        return _unknown_cameras(_image_files(path))
    if not path.is_file():
        raise InputError(f"there is no image, list or folder {source}")
    if pattern is not None:
        raise InputError(f"a pattern is for a folder, and {source} is a file")
    if is_list:
        samples = _without_identities(read_manifest(path, columns).samples)
        require_images(samples.paths, path, _TRIED)
        return samples
    return _unknown_cameras([str(path)])


def _without_identities(samples: Samples) -> Samples:
    """Paths and cameras alone."""
    return Samples(samples.paths, samples.cameras, samples.camera_names)


def _unknown_cameras(paths: Sequence[str]) -> Samples:
    return Samples(Strings(paths), np.zeros(len(paths), dtype=np.int64), [UNKNOWN_CAMERA])


def _image_files(folder: Path) -> list[str]:
    """Images below a folder; hidden names, such as those that begin with a dot, do not count.

    Links to folders come after the folders themselves, and only if they lead elsewhere.
    """
    found: list[str] = []
    seen: set[str] = set()  # a link may lead to where it is
    starts = [str(folder)]
    for start in starts:  # links that are met are added
        for inside, folders, names in os.walk(start, onerror=_refuse):
            real = os.path.realpath(inside)
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            below = [f"{inside}{os.sep}{name}" for name in folders]
            starts += filter(os.path.islink, below)
            found += [
                f"{inside}{os.sep}{name}"
                for name in sorted(names)
                if is_image_name(name) and not is_hidden(name)
            ]
    if not found:
        raise InputError(f"no images ({', '.join(IMAGE_SUFFIXES)}) in {folder} or below it")
    return found


def _refuse(error: OSError) -> NoReturn:
    """Raise an InputError for a folder that cannot be listed: its images are not gone."""
    raise InputError(f"cannot list the folder {error.filename}: {error.strerror}") from error


def _distinct(images: Samples) -> Samples:
    """Without the second and further rows of a file."""
    first: dict[str, int] = {}
    for row, path in enumerate(images.paths):
        first.setdefault(path, row)
    if len(first) == len(images):
        return images
    return images.take(np.fromiter(first.values(), dtype=np.int64, count=len(first)))


def _stamps(paths: Iterable[str]) -> Integers:
    return np.array([_stamp(path) for path in paths], dtype=np.int64).reshape(-1, 2)


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path for each of a million takes seconds
    except (OSError, ValueError):  # reading it will tell, if it is to be read
        return _MISSING
    return status.st_size, status.st_mtime_ns
