"""Files that are gone, and files that only cannot be seen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence


def unseen(paths: Iterable[str], folders: Sequence[str] = ()) -> list[str]:
    """Return those of some paths of which nobody can tell whether their file is there.

    A file is gone only if the folder that it was in is there, can be listed and does not show it.
    Otherwise its disk may not be mounted, or a permission is missing. An empty folder tells
    nothing: it may be where a disk is usually mounted.

    Args:
        paths: Absolute paths.
        folders: Folders that were listed just now, with all below them: a folder inside them that
            is empty, or is missing itself, is so.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as disk:
        ...     open(f"{disk}/other.jpg", "w").close()
        ...     gone = f"{disk}/gone.jpg"
        ...     unseen([gone]), unseen([f"{disk}/nas/1.jpg"]) == [f"{disk}/nas/1.jpg"]
        ([], True)
        >>> unseen([gone]) == [gone]  # now that the folder is gone as well
        True
    """
    showing: dict[str, bool] = {}
    return [path for path in paths if not _is_certain(path, folders, showing)]


def _is_certain(path: str, folders: Sequence[str], showing: dict[str, bool]) -> bool:
    """Return whether it can be told that a file is there, or is not.

    Args:
        path: Of the file.
        folders: See :func:`unseen`.
        showing: For each folder whether it shows what is in it, as far as is known.
    """
    # not Path, which takes seconds for each of a million
    try:
        os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        if os.path.islink(path):  # noqa: PTH114 # what it leads to cannot be seen
            return False
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder not in showing:
            showing[folder] = _shows(folder, folders)
        return showing[folder]
    except OSError:
        return False
    return True


def _shows(folder: str, folders: Sequence[str]) -> bool:
    """Return whether a file that a folder does not show is not in it."""
    listed = any(folder == top or folder.startswith(f"{top}{os.sep}") for top in folders)
    try:
        with os.scandir(folder) as entries:
            return listed or any(True for _ in entries)
    except FileNotFoundError:
        is_link = os.path.islink(folder)  # noqa: PTH114
        return listed and not is_link and _shows(os.path.dirname(folder), folders)  # noqa: PTH120
    except OSError:
        return False
