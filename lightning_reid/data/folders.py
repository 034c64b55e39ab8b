"""Images in folders: which names are those of images, and which files are left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from lightning_reid.errors import InputError
from lightning_reid.lightning import rank_zero_warn

# the formats that read_image reads, by the endings of their files; a name may have capitals
IMAGE_FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    ".webp": "WEBP",
    ".gif": "GIF",
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".avif": "AVIF",
    **dict.fromkeys((".jp2", ".j2k"), "JPEG2000"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
}
IMAGE_SUFFIXES = tuple(IMAGE_FORMATS)

# written by operating systems and storage devices, not by people
_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "#recycle", "$recycle.bin", "__macosx", "lost+found", "system volume information"}
)
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})


def is_image_name(name: str) -> bool:
    """Return whether a file name ends as those of images do, in small letters or capitals."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def format_of_name(name: str) -> str | None:
    """Return the format that the ending of a file name stands for, such as ``"JPEG"``, or None."""
    return IMAGE_FORMATS.get(os.path.splitext(name)[1].lower())  # noqa: PTH122 # of each of a million


def is_hidden(name: str) -> bool:
    """Return whether a file or folder does not count: ``._1.jpg``, ``.DS_Store``, ``@eaDir``."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one that can be reached."""
    if entry.is_symlink():  # is_dir raises an error for a link that leads to itself
        return os.path.isdir(entry.path)  # noqa: PTH112
    return entry.is_dir()


def _is_image(entry: os.DirEntry[str]) -> bool:
    return is_image_name(entry.name) and not is_folder(entry)


def entries_of(folder: str | Path) -> list[os.DirEntry[str]]:
    """Files and folders in a folder, sorted by name, without hidden ones.

    Raises:
        InputError: if the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise InputError(f"cannot list the folder {folder}: {error.strerror}") from error
    return sorted(shown, key=lambda entry: entry.name)


class ImageFolders:
    """Images in the folders of a published layout; warns at the end of what was left out.

    Hidden files do not count, nor what operating systems leave behind, such as ``Thumbs.db``.

    Args:
        root: Folder that all folders are in; named in the warning.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     for name in ("1.jpg", "2.WebP", "._1.jpg", "Thumbs.db"):
        ...         Path(root, name).touch()
        ...     with ImageFolders(root) as folders:
        ...         print(folders.images(Path(root)))
        ['1.jpg', '2.WebP']
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._others = 0
        self._first = ""

    def images(self, folder: Path) -> list[str]:
        """List the names of the images in a folder, sorted.

        Raises:
            InputError: If there is no such folder, or it holds no image.
        """
        names, others = self._split(folder, _is_image)
        if not names:
            raise InputError(
                f"no images ({', '.join(IMAGE_SUFFIXES)}) in {folder}"
                + (f"; what is there, such as {others[0]!r}, has other endings" if others else "")
            )
        return names

    def folders(self, folder: Path) -> list[str]:
        """List the names of the folders in a folder, sorted.

        Raises:
            InputError: If there is no such folder, or it holds no other.
        """
        names, _ = self._split(folder, is_folder)
        if not names:
            raise InputError(f"no folders in {folder}; check the root of the data")
        return names

    def _split(
        self, folder: Path, is_wanted: Callable[[os.DirEntry[str]], bool]
    ) -> tuple[list[str], list[str]]:
        """Return the names in a folder that are wanted, and the others, which are counted."""
        if not os.path.isdir(folder):  # noqa: PTH112  # which raises for names that are too long
            raise InputError(f"no folder {folder}; check the root of the data")
        names: list[str] = []
        others: list[str] = []
        for entry in entries_of(folder):
            if entry.name.lower() not in _SYSTEM_FILES:
                (names if is_wanted(entry) else others).append(entry.name)
        if others:
            self._first = self._first or os.path.relpath(folder / others[0], self.root)
            self._others += len(others)
        return names, others

    def __enter__(self) -> ImageFolders:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._others and error is None:
            warn_of_left_out(self.root, self._others, self._first)


def warn_of_left_out(folder: str | Path, count: int, first: str) -> None:
    """Warn of files in a published layout that are not read.

    Args:
        folder: Where they are.
        count: How many there are.
        first: One of them.
    """
    files = "1 file or folder" if count == 1 else f"{count:,} files or folders"
    rank_zero_warn(
        f"left out {files} in {folder}, such as {first!r}: not where this layout has images, or "
        f"with other endings than {', '.join(IMAGE_SUFFIXES)}"
    )
