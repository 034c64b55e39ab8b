"""The lists of names and tracks that describe MARS."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from lightning_reid.data.market import JUNK
from lightning_reid.data.samples import Integers, Samples
from lightning_reid.data.strings import Strings
from lightning_reid.data.tracklets import spread
from lightning_reid.errors import InputError

_NAME = re.compile(r"(?P<identity>00-1|\d{4})C(?P<camera>\d)T\d+F\d+\.\w+")
_SOURCE = "it comes with the evaluation code of MARS (github.com/liangzheng06/MARS-evaluation)"


def parse_mars(
    root: str | Path,
    split: Literal["train", "query", "gallery"],
    frames_per_tracklet: int | None = 1,
) -> Samples:
    """Images of one split; only the lists in ``info`` are read, not the images.

    The gallery is all test tracks but junk, those of the queries among them, as in the authors'
    evaluation: the camera rule keeps a query from finding itself, and without the other queries 140
    of them would have no match.

    Args:
        root: folder with ``bbox_train``, ``bbox_test`` and ``info``.
        split: which one.
        frames_per_tracklet: see :func:`parse_mars_tracks`.

    Returns:
        Samples as from :func:`parse_mars_tracks`.

    Raises:
        InputError: if a list is missing, cannot be read or does not fit the others.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from scipy.io import savemat
        >>> with TemporaryDirectory() as root:
        ...     info = Path(root, "info")
        ...     info.mkdir()
        ...     names = "0001C1T0001F001.jpg 0001C2T0001F001.jpg"
        ...     written = (info / "train_name.txt").write_text(names)
        ...     tracks = {"track_train_info": [[1, 1, 1, 1], [2, 2, 1, 2]]}
        ...     savemat(info / "tracks_train_info.mat", tracks)
        ...     print(parse_mars(root, "train").tracklet_names[0])
        0001C1T0001
    """
    root = Path(root)
    part = "train" if split == "train" else "test"
    tracks = _read_matrix(root / f"info/tracks_{part}_info.mat", f"track_{part}_info")
    if split == "query":
        file = root / "info/query_IDX.mat"
        queries = _read_matrix(file, "query_IDX").ravel()
        if (queries < 1).any() or (queries > len(tracks)).any():
            raise InputError(f"{file} names tracks beyond the {len(tracks)} that are listed")
        tracks = tracks[queries - 1]
    file = _existing(root / f"info/{part}_name.txt")
    names = file.read_text(encoding="utf-8-sig", errors="surrogateescape").split()
    return parse_mars_tracks(names, tracks, root / f"bbox_{part}", frames_per_tracklet)


def parse_mars_tracks(
    names: Sequence[str],
    tracks: Integers,
    image_folder: str | Path,
    frames_per_tracklet: int | None = 1,
) -> Samples:
    """Images of tracks.

    Args:
        names: file names such as ``0001C1T0001F001.jpg`` in the order of ``train_name.txt`` or
            ``test_name.txt``; they lie in folders called as their first four characters.
        tracks: ``(T, 4)`` first and last name of each track, counted from 1, its identity and its
            camera. Those of identity -1 (junk) are left out; 0 (distractors) is kept.
        image_folder: ``bbox_train`` or ``bbox_test``.
        frames_per_tracklet: evenly spaced frames of each track, 1 being the middle one; None: all.

    Returns:
        Samples, track by track; cameras are called ``c1``, ``c2``, ..., tracklets
        ``0001C1T0001``, ...

    Raises:
        InputError: if a track reaches beyond the names, or a name is of another form, identity or
            camera than its track.

    Example:
        >>> names = ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg", "0001C2T0001F001.jpg"]
        >>> tracks = np.array([[1, 2, 1, 1], [3, 3, 1, 2]])  # first, last, identity, camera
        >>> samples = parse_mars_tracks(names, tracks, "bbox_train", frames_per_tracklet=None)
        >>> [(sample.identity, sample.camera, sample.tracklet) for sample in samples]
        [(1, 'c1', '0001C1T0001'), (1, 'c1', '0001C1T0001'), (1, 'c2', '0001C2T0001')]
    """
    _check_tracks(tracks, len(names), image_folder)
    tracks = tracks[tracks[:, 2] != JUNK]
    spreads = [spread(1 + last - first, frames_per_tracklet) for first, last, *_ in tracks.tolist()]
    lengths = np.array([len(frames) for frames in spreads], dtype=np.int64)
    frames = np.fromiter(chain.from_iterable(spreads), dtype=np.int64)
    chosen = [names[i] for i in (frames + np.repeat(tracks[:, 0] - 1, lengths)).tolist()]
    identities, cameras = np.repeat(tracks[:, 2], lengths), np.repeat(tracks[:, 3], lengths)
    _check_names(chosen, identities, cameras, image_folder)
    folder = f"{Path(image_folder)}{os.sep}"
    distinct, numbers = np.unique(cameras, return_inverse=True)
    return Samples(
        Strings(f"{folder}{name[:4]}{os.sep}{name}" for name in chosen),
        numbers,
        [f"c{camera}" for camera in distinct],
        identities,
        np.repeat(np.arange(len(tracks)), lengths),
        Strings(chosen[end - 1].partition("F")[0] for end in lengths.cumsum().tolist()),
    )


def _read_matrix(file: Path, name: str) -> Integers:
    """A matrix of whole numbers from a MATLAB file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    _existing(file)
    try:
        matrix: Integers = np.asarray(loadmat(file)[name], dtype=np.int64)
    except (KeyError, NotImplementedError, OSError, ValueError, MatReadError, zlib.error) as error:
        raise InputError(f"cannot read {name} from {file}: {error}; {_SOURCE}") from error
    return matrix


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise InputError(f"no file {file}; {_SOURCE}: copy it there, or check the root of the data")
    return file


def _check_tracks(tracks: Integers, count: int, image_folder: str | Path) -> None:
    if tracks.shape[1:] != (4,):
        raise InputError(f"tracks of {image_folder} are rows of 4 numbers, not {tracks.shape[1:]}")
    first, last = tracks[:, 0], tracks[:, 1]
    wrong = np.flatnonzero((first < 1) | (first > last) | (last > count))
    if len(wrong):
        raise InputError(
            f"a track of {image_folder} goes from image {first[wrong[0]]} to {last[wrong[0]]}, but "
            f"{count} names are listed: the lists do not belong together"
        )


def _check_names(
    names: list[str], identities: Integers, cameras: Integers, image_folder: str | Path
) -> None:
    told = np.fromiter(chain.from_iterable(map(_parse_name, names)), np.int64).reshape(-1, 2)
    wrong = np.flatnonzero((told[:, 0] != identities) | (told[:, 1] != cameras))
    if len(wrong):
        at = wrong[0]
        raise InputError(
            f"the tracks of {image_folder} say identity {identities[at]} and camera {cameras[at]} "
            f"of {names[at]}: the lists do not belong together"
        )


def _parse_name(name: str) -> tuple[int, int]:
    """Identity and camera."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(
            f"cannot tell identity and camera from the name {name!r} in the lists of MARS; "
            "expected one such as 0001C1T0001F001.jpg"
        )
    return int(match["identity"].removeprefix("00")), int(match["camera"])
