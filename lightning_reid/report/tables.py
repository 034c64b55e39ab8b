"""The tables of a run folder: ``tables/<name>.csv``."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Any

from lightning_reid.cells import of_cell, write_cells
from lightning_reid.errors import InputError
from lightning_reid.report.contents import table_file
from lightning_reid.report.label_columns import by_interest
from lightning_reid.whole_files import whole_file

FIT_COLUMNS = ("untrained", "trained")
EPOCH_COLUMNS = ("epoch", "loss", "seconds")


@dataclass(frozen=True)
class Table:
    """A header, and rows of text as long as it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_table(
    folder: Path, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Write a table into a run folder, in the place of the one before.

    Args:
        folder: of the run.
        name: of the table, without ending.
        header: names of the columns.
        rows: values; None and NaN are left empty, numbers are written in full, texts so that no
            program acts on them, see :func:`~lightning_reid.cells.as_cell`.
    """
    with whole_file(table_file(folder, name)) as stream:
        write_cells(stream, [header, *([_written(value) for value in row] for row in rows)])


def read_table(folder: Path, name: str, most: int | None = None) -> Table | None:
    """What :func:`write_table` wrote, as text; None if it is not there, or without a header.

    Args:
        folder: of the run.
        name: of the table, without ending.
        most: rows to read; None: all.

    Raises:
        InputError: if the file is no CSV.
    """
    file = table_file(folder, name)
    if not file.is_file():
        return None
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
            rows = ([of_cell(cell) for cell in row] for row in csv.reader(opened) if row)
            header = next(rows, [])
            kept = [_as_long_as(header, row) for row in islice(rows, most)]
    except csv.Error as error:
        raise InputError(f"{file} is no table: {error}; delete it") from error
    return Table(header, kept) if header else None


def write_retrieval(folder: Path, results: Mapping[str, float], column: str = "value") -> None:
    """Write test results as ``retrieval.csv``: ``measure``, then a column of numbers from 0 to 1.

    Args:
        folder: of the run.
        results: numbers by name; those under ``test/`` are written without it.
        column: ``"value"``, the only one then; or ``"untrained"`` or ``"trained"``, beside the
            other one, which is kept.
    """
    columns = FIT_COLUMNS if column in FIT_COLUMNS else (column,)
    known = {name: values for name, values in read_retrieval(folder).items() if name in columns}
    known[column] = {name.removeprefix("test/"): number for name, number in results.items()}
    measures = dict.fromkeys(measure for values in known.values() for measure in values)
    write_table(
        folder,
        "retrieval",
        ("measure", *columns),
        ((m, *(known.get(name, {}).get(m) for name in columns)) for m in measures),
    )


def read_retrieval(folder: Path) -> dict[str, dict[str, float]]:
    """The numbers of ``retrieval.csv`` by column and measure; none if it is not there.

    Raises:
        InputError: if it holds something else.
    """
    table = read_table(folder, "retrieval")
    if table is None:
        return {}
    columns: dict[str, dict[str, float]] = {}
    for place, name in enumerate(table.header[1:], 1):
        columns[name] = {
            row[0]: _number(row[place], folder, "retrieval") for row in table.rows if row[place]
        }
    return {name: values for name, values in columns.items() if values}


def forget_trained(folder: Path) -> None:
    """Take the results of the trained network out of ``retrieval.csv``: it is trained further."""
    known = read_retrieval(folder)
    if "trained" in known:
        write_retrieval(folder, {}, "trained")


def write_labels(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write ``labels.csv``: a row for every labelling, with all that was found out about it.

    Args:
        folder: of the run.
        history: of a :class:`~lightning_reid.PseudoLabelCallback`, oldest first: ``epoch``, which
            the labels were for, and what was logged under ``labels/`` and ``diagnostics/``. What
            tells most is written first, durations last.
    """
    names = by_interest(["epoch", *(name for statistics in history for name in statistics)])
    rows = [[statistics.get(name) for name in names] for statistics in history]
    write_table(folder, "labels", names, rows)


def read_labels(folder: Path) -> list[dict[str, float]]:
    """What :func:`write_labels` wrote, less what is empty; nothing if it is not there.

    Raises:
        InputError: if the table holds something else than numbers.
    """
    table = read_table(folder, "labels")
    if table is None:
        return []
    return [
        {
            name: _number(value, folder, "labels")
            for name, value in zip(table.header, row, strict=True)
            if value
        }
        for row in table.rows
    ]


def write_epoch(folder: Path, epoch: int, loss: float | None, seconds: float) -> None:
    """Add a row to ``epochs.csv``; of those that are there, the epochs before this one are kept.

    Args:
        folder: of the run.
        epoch: which one, from 0.
        loss: mean of its batches, if they had one.
        seconds: it took.
    """
    table = _epochs(folder)
    before = [] if table is None else [row for row in table.rows if float(row[0]) < epoch]
    write_table(folder, "epochs", EPOCH_COLUMNS, [*before, [epoch, loss, seconds]])


def read_losses(folder: Path) -> list[tuple[float, float]]:
    """Epoch and mean loss of what :func:`write_epoch` wrote, where there was a loss.

    Raises:
        InputError: if the table holds something else.
    """
    table = _epochs(folder)
    rows = [] if table is None else table.rows
    return [(float(epoch), float(loss)) for epoch, loss, *_ in rows if loss]


def _epochs(folder: Path) -> Table | None:
    """Read ``epochs.csv``, whose cells are numbers; a loss may be missing."""
    table = read_table(folder, "epochs")
    if table is None:
        return None
    if tuple(table.header) != EPOCH_COLUMNS:
        file = table_file(folder, "epochs")
        raise InputError(f"{file} must have the columns {', '.join(EPOCH_COLUMNS)}; delete it")
    for epoch, *others in table.rows:
        for cell in (epoch, *filter(None, others)):
            _number(cell, folder, "epochs")
    return table


def _number(cell: str, folder: Path, name: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        file = table_file(folder, name)
        raise InputError(
            f"{file} holds {shorten(cell, 50)!r} instead of a number; delete it"
        ) from error


def _as_long_as(header: Sequence[str], row: Sequence[str]) -> list[str]:
    """A row as it should be, whoever wrote it."""
    return [*row, *[""] * len(header)][: len(header)]


def _written(value: Any) -> Any:
    if value is None or value != value:
        return ""
    return int(value) if isinstance(value, float) and value.is_integer() else value
