"""Labels within each camera as files, in our form and in that of CALR's published ones."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_reid.array_files import read_array, read_arrays
from lightning_reid.errors import InputError
from lightning_reid.local_paths import local_path
from lightning_reid.whole_files import whole_file

_ARRAYS = ("names", "cameras", "local_labels")
_FIELDS = 3  # file, local label, camera


class LocalLabels(NamedTuple):
    """Clusters within each camera.

    Attributes:
        names: of the N image files, without folders.
        labels: ``(N,)`` int64, cluster within the camera.
        cameras: ``(N,)`` int64.

    Example:
        >>> labels = LocalLabels(["a.jpg", "b.jpg"], np.array([0, 1]), cameras=np.array([3, 3]))
        >>> dict(zip(labels.names, labels.labels.tolist()))
        {'a.jpg': 0, 'b.jpg': 1}
    """

    names: list[str]
    labels: NDArray[np.int64]
    cameras: NDArray[np.int64]


def save_local_labels(
    file: str | Path, paths: Iterable[str | Path], labels: Any, cameras: Any
) -> None:
    """Write an npz file with the arrays ``names``, ``cameras`` and ``local_labels``.

    Args:
        file: to write; its folder is made.
        paths: ``(N,)`` of the images; their names are kept, without folders.
        labels: ``(N,)`` clusters within a camera.
        cameras: ``(N,)``, from 0.

    Raises:
        InputError: If the lengths differ, labels or cameras are no whole numbers, or two images
            have the same name.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "run", "local_labels.npz")
        ...     save_local_labels(file, ["gate/a.jpg", "gate/b.jpg"], labels=[0, 1], cameras=[0, 0])
        ...     print(np.load(file)["names"].tolist())
        ['a.jpg', 'b.jpg']
    """
    path = local_path(file)
    local = _checked(path, [_base_name(image) for image in paths], labels, cameras)
    names = np.array(local.names, dtype=np.str_)
    with whole_file(path) as stream:  # by name, NumPy could add a suffix
        np.savez(stream, names=names, cameras=local.cameras, local_labels=local.labels)


def load_local_labels(
    file: str | Path, paths: Sequence[str | Path], cameras: Tensor | None = None
) -> Tensor:
    """Read the local labels of images, which are found by name, whatever their folders.

    Args:
        file: see :func:`read_local_labels`. Images that are not asked for are passed over.
        paths: ``(N,)`` of the images.
        cameras: ``(N,)`` of the images; if given, the file must tell the same images apart by
            camera, whatever the numbers.

    Returns:
        ``(N,)`` int64 in the order of ``paths``.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file cannot be used, an image has no label in it, two images have the
            same name, or the cameras are others.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "local_labels.npz")
        ...     save_local_labels(file, ["a.jpg", "b.jpg"], labels=[0, 1], cameras=[0, 0])
        ...     print(load_local_labels(file, ["elsewhere/b.jpg", "elsewhere/a.jpg"]))
        tensor([1, 0])
    """
    path = local_path(file)
    local = read_local_labels(path)
    names = [_base_name(image) for image in paths]
    _require_distinct(names, f"{path}: the images to label")
    labels = dict(zip(local.names, local.labels.tolist(), strict=True))
    missing = [name for name in names if name not in labels]
    if missing and len(missing) == len(names):
        raise InputError(
            f"{path} has local labels that name other files: {len(labels)} of them, but none of "
            f"the {len(names)} images to label, {missing[0]} for example"
        )
    if missing:
        raise InputError(
            f"{path} has no local label for {len(missing)} of {len(names)} images, the first of "
            f"which is {missing[0]}"
        )
    if cameras is not None:
        told = dict(zip(local.names, local.cameras.tolist(), strict=True))
        _require_same_cameras(path, [told[name] for name in names], cameras.tolist())
    return torch.tensor([labels[name] for name in names], dtype=torch.int64)


def read_local_labels(file: str | Path) -> LocalLabels:
    """Read a file that :func:`save_local_labels` wrote, or CALR's published ones.

    Args:
        file: npz file with the arrays ``names``, ``cameras`` and ``local_labels``; or npy file
            with a row (file, local label, camera) of strings for each image; or a folder with
            such npy files at any depth, as CALR's code has one for each camera.

    Returns:
        Names, labels and cameras, in the order of the file or, in a folder, of the paths.

    Raises:
        FileNotFoundError: If there is no such file, or no npy file in the folder.
        InputError: If it is not as described, or names an image twice.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "camera_3.npy")  # as CALR's code has them
        ...     np.save(file, np.array([["a.jpg", "0", "3"], ["b.jpg", "1", "3"]]))
        ...     print(read_local_labels(file).labels.tolist())
        [0, 1]
    """
    path = local_path(file)
    if not path.is_dir():
        return _checked(path, *_columns(path))
    parts = [_columns(part) for part in sorted(path.rglob("*.npy"))]
    if not parts:
        raise FileNotFoundError(f"{path} has no npy file with local labels")
    names, labels, cameras = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _checked(path, names, labels, cameras)


def _require_same_cameras(path: Path, told: Sequence[int], own: Sequence[int]) -> None:
    pairs = set(zip(told, own, strict=True))
    if not len(pairs) == len(set(told)) == len(set(own)):
        raise InputError(
            f"{path} has images in other cameras than the data: its {len(set(told))} cameras and "
            f"the data's {len(set(own))} do not correspond"
        )


def _columns(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Names, labels and cameras as a file holds them."""
    if not zipfile.is_zipfile(path):
        return _columns_of_rows(path, read_array(path))
    arrays = read_arrays(path, _ARRAYS)
    return arrays["names"], arrays["local_labels"], arrays["cameras"]


def _columns_of_rows(
    path: Path, rows: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    if rows.ndim != 2 or rows.shape[1] != _FIELDS or rows.dtype.kind != "U":
        raise InputError(
            f"{path} must hold strings in rows (file, local label, camera), not {rows.dtype} of "
            f"shape {rows.shape}"
        )
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _checked(path: Path, names: Iterable[str], labels: Any, cameras: Any) -> LocalLabels:
    own_names = [_base_name(name) for name in names]
    own_labels = _whole_numbers(path, "local labels", labels)
    own_cameras = _whole_numbers(path, "cameras", cameras)
    if not len(own_names) == len(own_labels) == len(own_cameras):
        raise InputError(
            f"{path}: {len(own_names)} names, {len(own_labels)} local labels and "
            f"{len(own_cameras)} cameras must be equally many"
        )
    _require_distinct(own_names, f"{path}: the images with a local label")
    return LocalLabels(own_names, own_labels, own_cameras)


def _whole_numbers(path: Path, what: str, given: Any) -> NDArray[np.int64]:
    array = given.cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    try:
        numbers = array.astype(np.int64)
    except ValueError as error:
        raise InputError(f"{path}: {what} must be whole numbers: {error}") from error
    if array.ndim != 1 or (array.dtype.kind == "f" and (numbers != array).any()):
        raise InputError(f"{path}: {what} must be whole numbers (N,), not {array.shape}")
    return numbers


def _require_distinct(names: Sequence[str], which: str) -> None:
    if len(set(names)) < len(names):
        name, times = Counter(names).most_common(1)[0]
        raise InputError(f"{which} must have different names, and {name} comes {times} times")


def _base_name(path: str | Path) -> str:
    """The name after the last slash of either kind: the file may come from another system."""
    return str(path).replace("\\", "/").rsplit("/", 1)[-1]
