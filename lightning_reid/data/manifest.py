"""Lists of images that people write themselves: a row for each, and what is known of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np

from lightning_reid.data.samples import UNKNOWN, Integers, Samples
from lightning_reid.data.strings import Strings
from lightning_reid.data.tables import Table, open_table
from lightning_reid.data.text_columns import Names, Texts
from lightning_reid.errors import InputError
from lightning_reid.local_paths import local_path

SPLITS = ("train", "query", "gallery")
TRAIN, QUERY, GALLERY = range(len(SPLITS))

_NEEDED = ("path", "camera")
_NAMES = ("camera", "identity", "tracklet", "split")
_FURTHER = ("frame", "time")  # known by name, but only kept
_COLUMNS = ("path", *_NAMES, *_FURTHER)
_MOST_TIMES = len(SPLITS)
_NOBODY = "-1"
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


@dataclass(frozen=True)
class Manifest:
    """All rows of a manifest.

    Attributes:
        samples: the images, in the order of the rows.
        splits: ``(N,)`` positions in ``SPLITS``; None if the manifest does not tell.
        identity_names: of the identities in ``samples``, by their number.
        no_identities: how often each spelling of an identity, such as ``"NA"``, was taken for an
            empty cell.
        place: where a row, counted from 0, is found; for messages.
    """

    samples: Samples
    splits: Integers | None
    identity_names: list[str]
    place: Callable[[int], str]
    no_identities: Mapping[str, int] = field(default_factory=dict)


def read_manifest(
    file: str | Path, columns: Mapping[str, str] | None = None, option: str = "columns"
) -> Manifest:
    r"""The rows of a CSV or Parquet file.

    The file alone is read; no image is looked for. :class:`~lightning_reid.ManifestData` tells what
    the columns may hold.

    Args:
        file: the manifest; paths in it are relative to its folder.
        columns: the file's names of the columns ``path``, ``camera``, ``identity``, ``tracklet``,
            ``frame``, ``time`` and ``split``, where they differ.
        option: what messages call ``columns``.

    Returns:
        All rows: ``samples``, the ``splits`` if the file tells them, and ``identity_names``.

    Raises:
        InputError: naming file and line, if it cannot be read, lacks a column, a path or a camera,
            or lists an image twice.
        MissingPackageError: if it is a Parquet file and pyarrow is not installed.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "crops.csv")
        ...     written = file.write_text("file,camera,identity\n1.jpg,gate,Ann\n2.jpg,hall,\n")
        ...     manifest = read_manifest(file, columns={"path": "file"})
        >>> manifest.samples.camera_names, manifest.samples.identities.tolist()
        (['gate', 'hall'], [0, -1])
        >>> manifest.identity_names
        ['Ann']
    """
    return collect(open_table(file), local_path(file).parent, columns, option)


def collect(
    table: Table,
    folder: Path,
    columns: Mapping[str, str] | None = None,
    option: str = "columns",
) -> Manifest:
    """The rows of a table; see :func:`read_manifest`.

    Args:
        table: one row for every image.
        folder: that paths are relative to.
        columns: the table's names of columns, where they differ.
        option: what messages call ``columns``.

    Raises:
        InputError: as there.
    """
    known, further = _positions(table, columns or {}, option)
    paths = _Paths(table, folder)
    names = {name: Names() for name in _NAMES if name in known}
    texts = {name: Texts() for name in further}
    for chunk in table.chunks():
        paths.add(chunk[known["path"]])
        for name, column in names.items():
            column.add(chunk[known[name]])
        for name, text in texts.items():
            text.add(chunk[further[name]])
    if not paths.count:
        raise InputError(f"{table.name} lists no images")

    cameras, camera_names = names["camera"].finish()
    _require_all(cameras, "camera", table)
    identities, identity_names = _finish(names.get("identity"), paths.count)
    tracklets = _finish(names.get("tracklet"), paths.count)
    splits = _splits(names["split"], table) if "split" in names else None
    samples = Samples(
        paths.texts.finish(),
        cameras,
        camera_names,
        identities,
        *_within_cameras(*tracklets, cameras),
        further={name: text.finish() for name, text in texts.items()},
    )
    _refuse_repeated(samples.paths, np.concatenate(paths.hashes), splits, table)
    no_identities = names["identity"].nothings() if "identity" in names else {}
    return Manifest(samples, splits, identity_names, table.place, no_identities)


def prefix_of(folder: Path) -> str:
    """What to put before a path relative to a folder."""
    return str(folder / "x").removesuffix("x")


def _positions(
    table: Table, columns: Mapping[str, str], option: str
) -> tuple[dict[str, int], dict[str, int]]:
    """Positions in the table of the columns that are used, and of those that are only kept."""
    for name in columns:
        if name not in _COLUMNS:
            raise InputError(f"{option}: {name!r} is none of {', '.join(_COLUMNS)}")
    there: dict[str, int] = {}
    for i, name in enumerate(table.columns):
        if name in there:
            raise InputError(f"{table.name} has two columns {name!r}; rename one of them")
        if name:  # a data frame's index and a spreadsheet's empty columns have none
            there[name] = i
    theirs = {name: columns.get(name, name) for name in _COLUMNS}
    if not columns and (reason := _why_no_header(table.columns)):
        raise InputError(f"{table.name} {reason}")
    for name, wanted in theirs.items():
        if wanted not in there and (name in _NEEDED or name in columns):
            raise InputError(
                f"{table.name} has no column {wanted!r}; its columns are {', '.join(there)}. Say "
                f'which one holds the {name}: {option} "{{{name}: ...}}"'
            )
    ours = {name: there[wanted] for name, wanted in theirs.items() if wanted in there}
    further = {name: i for name, i in there.items() if i not in ours.values()}
    return ours, further | {name: ours[name] for name in _FURTHER if name in ours}


def _why_no_header(columns: Sequence[str]) -> str | None:
    """Return why the first line of a list does not name its columns; None if it may do so."""
    first = next(filter(None, columns), "")
    if first.startswith(("[", "{")):
        return "is JSON; save it as CSV or Parquet, with the columns path and camera"
    if any(Path(name).suffix.lower() in _IMAGES for name in columns):
        return (
            f"has no header: its first line is an image ({first}); write one above that names the "
            "columns, such as path,camera"
        )
    return None


def require_images(paths: Sequence[str], file: Path, tried: int) -> None:
    """Raise an InputError if none of the first images of a list is there.

    Args:
        paths: The list's images, absolute.
        file: The list.
        tried: How many are looked for; single ones may be missing.
    """
    first = list(islice(paths, tried))
    if any(Path(path).is_file() for path in first):
        return
    backslashes = "; it was written on Windows: replace \\ by /" if "\\" in first[0] else ""
    raise InputError(
        f"no image {Path(first[0]).absolute()}, the first in {file}; paths are relative to the "
        f"folder of the list{backslashes}"
    )


class _Paths:
    """The column of paths, with a hash of each to find those that are listed twice."""

    def __init__(self, table: Table, folder: Path) -> None:
        self.count = 0
        self.texts = Texts()
        self.hashes: list[Integers] = []
        self._next_look = 1 << 16
        self._table = table
        self._folder = prefix_of(folder)
        self._plain = prefix_of(Path(os.path.normpath(folder)))

    def add(self, values: Sequence[str]) -> None:
        """The next rows."""
        if not all(map(str.strip, values)):
            row = next(i for i, value in enumerate(values) if not value.strip())
            _refuse(self._table, self.count + row, "no path")
        if any("\0" in value for value in values):
            row = next(i for i, value in enumerate(values) if "\0" in value)
            _refuse(self._table, self.count + row, "a path with a zero byte, as no file has")
        # a Path for each of a million takes seconds
        full = [v if os.path.isabs(v) else self._folder + v for v in values]  # noqa: PTH117
        self.count += len(full)
        self.texts.add(full)
        plain = [_plain(v if os.path.isabs(v) else self._plain + v) for v in values]  # noqa: PTH117
        self.hashes.append(np.fromiter(map(hash, plain), dtype=np.int64, count=len(full)))
        if self.count >= self._next_look:
            self._next_look = 2 * self.count
            self._refuse_many_times()

    def _refuse_many_times(self) -> None:
        """Raise an InputError early if a path comes again and again, which takes few bytes."""
        ordered = np.sort(np.concatenate(self.hashes))
        if (ordered[_MOST_TIMES:] == ordered[:-_MOST_TIMES]).any():
            raise InputError(
                f"{self._table.name} lists an image more than {_MOST_TIMES} times; training, query "
                "and gallery may have it once each"
            )


def _plain(path: str) -> str:
    """One spelling for one file, without ``./``, ``../`` and ``//``."""
    return os.path.normpath(path) if "./" in path or "//" in path else path


def _finish(names: Names | None, count: int) -> tuple[Integers, list[str]]:
    """Numbers of names that need not be known."""
    return names.finish(unknown=_NOBODY) if names else (np.full(count, UNKNOWN), [])


def _within_cameras(
    tracklets: Integers, names: Sequence[str], cameras: Integers
) -> tuple[Integers, Strings]:
    """Numbers and names of tracklets, so that equal names in two cameras have two numbers."""
    known = tracklets != UNKNOWN
    pairs = cameras[known] * len(names) + tracklets[known]
    distinct, numbers = np.unique(pairs, return_inverse=True)
    numbered = np.full(len(tracklets), UNKNOWN)
    numbered[known] = numbers
    return numbered, Strings(names[pair % len(names)] for pair in distinct)


def _splits(names: Names, table: Table) -> Integers:
    numbers, found = names.finish()
    _require_all(numbers, "split", table)
    for number, name in enumerate(found):
        if name not in SPLITS:
            row = int((numbers == number).argmax())
            _refuse(table, row, f"split {name!r} is none of {', '.join(SPLITS)}")
    return np.array([SPLITS.index(name) for name in found])[numbers]


def _require_all(numbers: Integers, column: str, table: Table) -> None:
    if (numbers == UNKNOWN).any():
        missing = numbers == UNKNOWN
        more = f" (nor have {missing.sum() - 1} others)" if missing.sum() > 1 else ""
        _refuse(table, int(missing.argmax()), f"no {column}{more}; every row needs one")


def _refuse_repeated(
    paths: Strings, hashes: Integers, splits: Integers | None, table: Table
) -> None:
    """Raise an InputError if a path is twice in a split, or in training and test.

    A query image may be in the gallery, too: it is never its own match there.
    """
    if splits is None:
        splits = np.full(len(paths), TRAIN)
    for tested in (QUERY, GALLERY):
        rows = np.flatnonzero((splits == TRAIN) | (splits == tested))
        rows = rows[hashes[rows].argsort(kind="stable")]
        again = np.flatnonzero(hashes[rows[1:]] == hashes[rows[:-1]])
        for i in again[rows[again + 1].argsort()]:
            first, second = int(rows[i]), int(rows[i + 1])
            if os.path.normpath(paths[first]) == os.path.normpath(paths[second]):
                other = f" as {paths[second]!r}" if paths[first] != paths[second] else ""
                raise InputError(
                    f"{table.name}: {paths[first]!r} is listed twice: {table.place(first)} "
                    f"({SPLITS[splits[first]]}) and {table.place(second)}{other} "
                    f"({SPLITS[splits[second]]})"
                    + (f", and {len(again) - 1} more" if len(again) > 1 else "")
                )


def _refuse(table: Table, row: int, why: str) -> NoReturn:
    raise InputError(f"{table.name}, {table.place(row)}: {why}")
