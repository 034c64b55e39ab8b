"""Cells of CSV tables, whose texts come from names of files and cameras."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any, BinaryIO

from lightning_reid.messages import escaped, printable, prints

# what spreadsheet programs calculate, wide letters among them, after any number of apostrophes
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")  # noqa: RUF001
_CODE = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4}|.)")
_SHORT = {"n": "\n", "r": "\r", "t": "\t"}


def write_cells(stream: BinaryIO, rows: Iterable[Iterable[Any]]) -> None:
    r"""Write rows as CSV in UTF-8, their texts by :func:`as_cell`.

    Args:
        stream: Where to; stays open.
        rows: Texts, and numbers, which stay numbers.

    Example:
        >>> written = io.BytesIO()
        >>> write_cells(written, [["camera", "shift"], ["-1", -0.5]])
        >>> written.getvalue()
        b"camera,shift\r\n'-1,-0.5\r\n"
    """
    text = io.TextIOWrapper(stream, "utf-8", newline="")
    csv.writer(text).writerows(
        [as_cell(value) if isinstance(value, str) else value for value in row] for row in rows
    )
    text.detach()


def as_cell(text: str) -> str:
    r"""Write a text as a cell of a CSV table that neither spreadsheets nor terminals act on.

    Spreadsheet programs calculate what begins with one of ``= + - @``: an apostrophe in front makes
    it text. What has characters that do not print as themselves is written as shells do, ``$'...'``
    with ``\x1b`` for a byte and ``\u202e`` for a character. All else stays as it is, so that other
    programs find the files that a table names.

    Example:
        >>> print(as_cell("=1+1"), as_cell("c1"), as_cell("it's\a"))
        '=1+1 c1 $'it\'s\x07'
        >>> of_cell(as_cell("=1+1")), of_cell(as_cell("it's\a")) == "it's\a"
        ('=1+1', True)
    """
    if printable(text) != text or text.startswith("$'"):
        codes = (f"\\{c}" if c in "\\'" else c if prints(c) else escaped(c) for c in text)
        return f"$'{''.join(codes)}'"
    return f"'{text}" if _FORMULA.match(text) else text


def of_cell(cell: str) -> str:
    """Return the text of a cell that :func:`as_cell` wrote, any other cell as it is."""
    if cell.startswith("$'") and cell.endswith("'"):
        return _CODE.sub(_unescaped, cell[2:-1])
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _unescaped(found: re.Match[str]) -> str:
    """Return the character that a code in a cell stands for."""
    kind, digits = found[1][0], found[1][1:]
    if not digits:
        return _SHORT.get(kind, kind)
    code = int(digits, 16)
    return chr(code + 0xDC00) if kind == "x" and code >= 0x80 else chr(code)
