"""What a folder of images holds."""

from __future__ import annotations

import os
from pathlib import Path

from lightning_reid.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def image_names(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[str]:
    """Names of the images in a folder, sorted.

    Raises:
        InputError: if there is no such folder, or it holds no image.
    """
    endings = tuple(suffixes)
    names = [entry.name for entry in _entries(folder) if entry.name.lower().endswith(endings)]
    if not names:
        raise InputError(f"no images ({', '.join(sorted(suffixes))}) in {folder}")
    return sorted(names)


def folder_names(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted.

    Raises:
        InputError: if there is no such folder, or it holds no other.
    """
    names = [entry.name for entry in _entries(folder) if entry.is_dir()]
    if not names:
        raise InputError(f"no folders in {folder}; check the root of the data")
    return sorted(names)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; check the root of the data")
    with os.scandir(folder) as entries:
        return list(entries)
