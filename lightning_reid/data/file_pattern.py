"""What the paths of images tell, by a pattern such as ``{camera}/{tracklet}/*.jpg``."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lightning_reid.data.folders import entries_of, is_folder, is_image_name
from lightning_reid.data.tables import ROWS, Chunk, Table
from lightning_reid.errors import InputError
from lightning_reid.lightning import rank_zero_warn

_SPECIAL = re.compile(r"(\{[^{}]*\}|\*\*/|\*\*|\*)")
_MEANING = {"*": r"[^/]*", "**/": r"(?:[^/]+/)*", "**": r".+"}
_OPEN = ("*", "}")  # a pattern that ends so says nothing of endings


class FolderTable(Table):
    """The images below a folder whose paths match a pattern: a row each, a column for each field.

    Files and folders whose names begin with a dot do not count, nor what storage devices add
    (``@eaDir``). Where the pattern ends with ``*`` or a field, a file has to end as images do.

    Args:
        root: the folder.
        pattern: see :func:`compile_pattern`; has to match the path inside ``root``.

    Raises:
        InputError: if there is no such folder, or the pattern is not as described; while reading,
            if no file matches.
    """

    def __init__(self, root: Path, pattern: str) -> None:
        if not root.is_dir():
            raise InputError(f"no folder {root}; with a pattern the root is the folder of images")
        self.root = root
        self.pattern = pattern
        self._expression = compile_pattern(pattern)
        super().__init__(str(root), ["path", *self._expression.groupindex])

    def chunks(self) -> Iterator[Chunk]:
        """All columns of some rows at a time; warns of files that do not match."""
        matches = self._matches()
        while rows := list(islice(matches, ROWS)):
            yield list(zip(*rows, strict=True))

    def place(self, row: int) -> str:
        """The path inside the folder."""
        return next(islice(self._matches(), row, None))[0]

    def _matches(self) -> Iterator[tuple[str, ...]]:
        """Path and fields of every file that matches."""
        matching, others, other, image = 0, 0, "", ""
        images = Counter[str]()  # that do not match, by their endings
        tells_ending = not self.pattern.endswith(_OPEN)
        for path in _files_below(self.root):
            match = self._expression.fullmatch(path)
            if match and (tells_ending or is_image_name(path)):
                matching += 1
                yield path, *match.groups()
            else:
                others, other = others + 1, other or path
                if is_image_name(path):
                    images[path[path.rindex(".") :]] += 1
                    image = image or path
        if not matching:
            raise InputError(
                f"no image in {self.root} matches the pattern {self.pattern!r}; "
                + (f"there are {others} others, such as {other!r}" if others else "there is none")
            )
        if others:
            rank_zero_warn(
                f"left out {others} {'file' if others == 1 else 'files'} in {self.root} that the "
                f"pattern {self.pattern!r} does not match, the first of them {other!r}"
                + _among(images, image)
            )


def _among(images: Counter[str], first: str) -> str:
    """Count the images among the files that do not match, by ending."""
    if not images:
        return ""
    endings = ", ".join(f"{count} {ending}" for ending, count in images.most_common())
    return f"; {images.total()} of them are images ({endings}), such as {first!r}"


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern; its groups are the fields.

    Args:
        pattern: a path with ``/`` between folders. ``{camera}`` stands for a part of a name, as
            short as the rest allows, and equal wherever the same field stands again; ``*`` for any
            part of a name; ``**`` for any number of folders; everything else for itself.

    Raises:
        InputError: if braces do not match, a field is no name, ``**`` is only part of a name, or
            ``{camera}`` is missing.
    """
    for name in pattern.split("/"):
        if "**" in name and name != "**":
            raise InputError(f"pattern {pattern!r}: ** stands for whole folders, not within a name")
    expression, fields = "", set[str]()
    for part in _SPECIAL.split(pattern):
        field = part[1:-1] if part.startswith("{") and part.endswith("}") else None
        if field is None:
            if "{" in part or "}" in part:
                raise InputError(f"pattern {pattern!r}: a brace without its other half")
            expression += _MEANING.get(part, re.escape(part))
        elif field in fields:
            expression += f"(?P={field})"
        else:
            expression += f"(?P<{_checked(field, pattern)}>[^/]+?)"
            fields.add(field)
    if "camera" not in fields:
        raise InputError(
            f"pattern {pattern!r} has no field {{camera}}; write, for example, "
            "'{camera}/{tracklet}/*.jpg' or '{identity}_c{camera}_*.jpg'"
        )
    return re.compile(expression, re.DOTALL)


def _checked(field: str, pattern: str) -> str:
    if not (field.isidentifier() and field.isascii()) or field == "path":
        raise InputError(
            f"pattern {pattern!r}: {{{field}}} is no field; a field is a word of letters, digits "
            "and _, and 'path' is the file itself"
        )
    return field


def _files_below(
    folder: Path | str, inside: str = "", above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[str]:
    """Paths inside a folder, sorted folder by folder; links are followed, but not in circles."""
    status = os.stat(folder)  # noqa: PTH116 # of an entry's path
    own = (status.st_dev, status.st_ino)
    if own in above:
        return
    for entry in entries_of(folder):
        if is_folder(entry):
            yield from _files_below(entry.path, f"{inside}{entry.name}/", above | {own})
        else:
            yield inside + entry.name
