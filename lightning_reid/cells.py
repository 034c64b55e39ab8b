"""Cells of CSV tables, whose texts come from names of files and cameras."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any, BinaryIO

# what spreadsheet programs calculate, wide letters among them, after any number of apostrophes
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")  # noqa: RUF001


def write_cells(stream: BinaryIO, rows: Iterable[Iterable[Any]]) -> None:
    r"""Write rows as CSV in UTF-8, texts by :func:`as_cell`, bytes of file names as they are.

    Args:
        stream: Where to; stays open.
        rows: Texts, and numbers, which stay numbers.

    Example:
        >>> written = io.BytesIO()
        >>> write_cells(written, [["camera", "shift"], ["-1", -0.5]])
        >>> written.getvalue()
        b"camera,shift\r\n'-1,-0.5\r\n"
    """
    text = io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="")
    csv.writer(text).writerows(
        [as_cell(value) if isinstance(value, str) else value for value in row] for row in rows
    )
    text.detach()


def as_cell(text: str) -> str:
    """Write a text as a cell of a CSV table that spreadsheet programs take for text.

    They calculate what begins with one of ``= + - @``: an apostrophe in front makes it text. All
    else stays as it is, so that other programs find the files that a table names.

    Example:
        >>> as_cell("=1+1"), as_cell("c1"), of_cell(as_cell("'-1"))
        ("'=1+1", 'c1', "'-1")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def of_cell(cell: str) -> str:
    """Return the text of a cell that :func:`as_cell` wrote, any other cell as it is."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
