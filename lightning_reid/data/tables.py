"""Tables of text in CSV and Parquet files, read some hundred rows at a time."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from lightning_reid.errors import InputError, MissingPackageError
from lightning_reid.local_paths import local_path

# of a chunk: below the 700 lists at which Python's garbage collector begins to look, which made
# reading three times slower
ROWS = 1 << 9

Chunk = Sequence[Sequence[str]]

_DELIMITERS = ",;\t"
_PARQUET = (".parquet", ".pq")
_PARQUET_ROWS = 1 << 14
# what some bytes of a file can claim to hold is refused before it takes memory
_LONGEST_LINE = 1_000_000  # characters; csv refuses parts of a longer line, as cells that are open
_LONGEST_TEXT = 32_768  # bytes of a cell; paths have 4,096 at most
_UNPACKED, _ALWAYS = 50, 1 << 26  # bytes of text for each byte of the file, and that many anyway


class Table(ABC):
    """Named columns of text.

    They are handed out in chunks, as a million rows of Python strings would take gigabytes.

    Args:
        name: of the file or folder, for messages.
        columns: their names.
    """

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self.name = name
        self.columns = list(columns)

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """All columns of some rows at a time; an empty cell is ``""``."""

    @abstractmethod
    def place(self, row: int) -> str:
        """Where a row, counted from 0, is found, such as ``line 7``."""


def open_table(file: str | Path) -> Table:
    """A CSV file or, by its suffix ``.parquet`` or ``.pq``, a Parquet file.

    Raises:
        InputError: if it is missing, empty or of another format.
        MissingPackageError: if it is a Parquet file and pyarrow is not installed.
    """
    file = local_path(file)
    if not file.is_file():
        raise InputError(f"no file {file}; check the path of the manifest")
    return ParquetTable(file) if file.suffix.lower() in _PARQUET else CsvTable(file)


class CsvTable(Table):
    """A CSV file in UTF-8; its first line names the columns.

    A byte-order mark, any end of line, and blank lines are taken as they come. Columns are
    separated by commas, semicolons or tabs, whichever the first line has most of.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        first = next(self._records(), None)
        if first is None:
            raise InputError(f"{file} is empty; its first line names the columns: path,camera")
        super().__init__(str(file), [name.strip() for name in first[1]])

    def chunks(self) -> Iterator[Chunk]:
        """All columns of some rows at a time."""
        records = self._records()
        next(records)  # the names
        width = len(self.columns)
        while rows := [row for _, row in islice(records, ROWS)]:
            if {*map(len, rows)} != {width}:
                raise self._ragged()
            yield list(zip(*rows, strict=True))

    def place(self, row: int) -> str:
        """The line on which a row begins."""
        line, _ = next(islice(self._records(), row + 1, None))
        return f"line {line}"

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """First line and cells of all rows, that of the names included."""
        try:
            with self.file.open(encoding="utf-8-sig", newline="") as text:
                delimiter = max(_DELIMITERS, key=text.readline(_LONGEST_LINE).count)
                text.seek(0)
                lines = iter(partial(text.readline, _LONGEST_LINE), "")
                reader = csv.reader(lines, delimiter=delimiter, strict=True)
                line = 1
                for row in reader:
                    if row:
                        yield line, row
                    line = reader.line_num + 1
        except UnicodeDecodeError as error:
            raise self._no_utf8() from error
        except csv.Error as error:
            raise InputError(f"{self.file}, line {reader.line_num}: {error}") from error

    def _no_utf8(self) -> InputError:
        content = self.file.read_text(encoding="utf-8", errors="replace")
        readable, _, _ = content.partition("\ufffd")
        return InputError(
            f"{self.file}, line {readable.count(chr(10)) + 1}: no UTF-8 text; save the manifest "
            "as CSV in UTF-8"
        )

    def _ragged(self) -> InputError:
        line, row = next(found for found in self._records() if len(found[1]) != len(self.columns))
        return InputError(
            f"{self.file}, line {line}: {len(row)} values for the {len(self.columns)} columns "
            f"{', '.join(self.columns)}; put a value that holds the separator in double quotes"
        )


class ParquetTable(Table):
    """A Parquet file; numbers and times become text, columns of lists and bytes are left out."""

    def __init__(self, file: Path) -> None:
        try:
            from pyarrow import ArrowException, parquet, types
        except ImportError as error:
            raise MissingPackageError(
                f'{file}: Parquet files need pyarrow: pip install "lightning-reid[parquet]", '
                "or save the manifest as CSV"
            ) from error
        self.file = file
        self._damage = (ArrowException, OSError, UnicodeDecodeError)
        try:
            with parquet.ParquetFile(file) as opened:
                schema = opened.schema_arrow
        except self._damage as error:
            raise self._unreadable(error) from error
        kinds = "nested", "binary", "large_binary", "fixed_size_binary"
        no_text = [getattr(types, f"is_{kind}") for kind in kinds]
        flat = [field.name for field in schema if not any(is_(field.type) for is_ in no_text)]
        super().__init__(str(file), flat)

    def chunks(self) -> Iterator[Chunk]:
        """All columns of some rows at a time."""
        from pyarrow import parquet

        try:
            # dictionaries hold a text once, however many rows have it
            with parquet.ParquetFile(self.file, read_dictionary=self.columns) as opened:
                left = _ALWAYS + _UNPACKED * self.file.stat().st_size
                for batch in opened.iter_batches(batch_size=_PARQUET_ROWS, columns=self.columns):
                    chunk = []
                    for name in self.columns:
                        left -= self._require_short(name, batch.column(name))
                        if left < 0:
                            raise InputError(
                                f"{self.file} holds more than {_UNPACKED} times the text that its "
                                "size allows: save it as CSV"
                            )
                        chunk.append(_texts(batch.column(name)))
                    yield chunk
        except self._damage as error:
            raise self._unreadable(error) from error

    def place(self, row: int) -> str:
        """The row, counted from 1."""
        return f"row {row + 1}"

    def _require_short(self, name: str, column: Any) -> int:
        """Return the bytes of text in a column; raise an InputError if one is too long."""
        from pyarrow import compute, types

        dictionary = types.is_dictionary(column.type)
        values = column.dictionary if dictionary else column
        if not (types.is_string(values.type) or types.is_large_string(values.type)):
            return 8 * len(column)
        lengths = compute.binary_length(values)
        longest = compute.max(lengths).as_py() or 0
        if longest > _LONGEST_TEXT:
            raise InputError(
                f"{self.file}: a text of {longest:,} bytes in the column {name!r}; at most "
                f"{_LONGEST_TEXT:,} are read"
            )
        each = lengths.take(column.indices) if dictionary else lengths
        return compute.sum(each).as_py() or 0

    def _unreadable(self, error: Exception) -> InputError:
        return InputError(f"{self.file} cannot be read as a Parquet file: {error}")


def _texts(column: Any) -> list[str]:
    whole = column.dictionary_decode() if hasattr(column, "dictionary_decode") else column
    return ["" if value is None else str(value) for value in whole.to_pylist()]
